//! The sources of a configuration, kept across reloads where they can be.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use portolan_config as config;
use portolan_docker as docker;
use portolan_files as files;
use portolan_table::{LayerId, LayerOptions, WildcardDepth};
use portolan_telemetry::readiness::{Latch, Readiness};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::BuilderHandle;
use crate::translate;

/// Everything a source needs to run.
#[derive(Clone)]
pub(crate) struct SourceParts {
    /// The record table's writer.
    pub(crate) builder: BuilderHandle,
    /// Figures of Docker sources.
    pub(crate) docker: docker::Families,
    /// Figures of hosts sources.
    pub(crate) files: files::Families,
    /// What `/ready` looks at.
    pub(crate) readiness: Readiness,
    /// The tasks of sources.
    pub(crate) tasks: TaskTracker,
    /// Ends them all.
    pub(crate) stop: CancellationToken,
}

/// A source that runs, and its layer.
pub(crate) struct Source {
    /// What it was made from; the same again is the same source.
    key: Key,
    /// Its layer.
    pub(crate) layer: LayerId,
    /// Ends its tasks.
    stop: CancellationToken,
    /// One for each task: whether its first load is served, or failed.
    loads: Vec<watch::Receiver<bool>>,
}

/// Gives layers their numbers.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    /// The number to try next.
    next: u16,
}

/// What a source is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    /// A `docker-cluster` directive, and what its names point to.
    Docker(Box<config::DockerCluster>, HostIps),
    /// A `hosts` directive.
    Hosts(Box<config::Hosts>),
}

/// How long after a hand-over a query may still be at work that was routed
/// before it: a worker of a listener that ends looks up every 250 ms.
const RETIREMENT: Duration = Duration::from_secs(1);

/// The addresses that names point to, or why the host seems to have none.
type HostIps = Result<Vec<IpAddr>, docker::DetectError>;

/// The engine that is watched when nothing else is said.
const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

// === impl Key ===

impl Key {
    /// What a `docker-cluster` directive makes now. Where the host seems to
    /// have lost its addresses, that is what it made among `running`.
    pub(crate) fn docker(directive: &config::DockerCluster, running: &[Source]) -> Self {
        let before = running.iter().find_map(|source| match &source.key {
            Self::Docker(other, host_ips) if **other == *directive => Some(host_ips),
            Self::Docker(..) | Self::Hosts(_) => None,
        });
        let host_ips = last_known(host_ips(&directive.host), before);
        Self::Docker(Box::new(directive.clone()), host_ips)
    }
}

/// What was found, or what was known before if nothing was.
fn last_known(found: HostIps, before: Option<&HostIps>) -> HostIps {
    found.or_else(|error| before.cloned().unwrap_or(Err(error)))
}

// === impl Layers ===

impl Layers {
    /// A number that none of `used` has. They are given in turn, so that one
    /// that was given back rests for long: a change of its last source may
    /// still be on the way.
    pub(crate) fn number<'a>(&mut self, used: impl Iterator<Item = &'a Source> + Clone) -> LayerId {
        self.free(|layer| used.clone().all(|source| source.layer != layer))
    }

    /// The next number that is free.
    fn free(&mut self, is_free: impl Fn(LayerId) -> bool) -> LayerId {
        loop {
            let layer = LayerId(self.next);
            self.next = self.next.wrapping_add(1);
            if is_free(layer) {
                return layer;
            }
        }
    }
}

// === impl Source ===

impl Source {
    /// Starts a source on a layer of its own.
    pub(crate) async fn start(
        key: Key,
        layer: LayerId,
        parts: &SourceParts,
    ) -> anyhow::Result<Self> {
        let stop = parts.stop.child_token();
        let options = LayerOptions {
            wildcard_depth: match key {
                Key::Docker(..) => WildcardDepth::Any,
                Key::Hosts(_) => WildcardDepth::One,
            },
        };
        let loads = match &key {
            Key::Docker(directive, host_ips) => {
                let configs = docker_configs(directive, host_ips, layer)?;
                parts.builder.add_layer(layer, options).await;
                configs
                    .into_iter()
                    .map(|config| start_docker(config, parts, &stop))
                    .collect()
            }
            Key::Hosts(directive) => {
                parts.builder.add_layer(layer, options).await;
                let handle = files::HostsTask::spawn(
                    translate::hosts(directive, layer),
                    parts.builder.batches(),
                    parts.files.clone(),
                    &parts.tasks,
                    stop.clone(),
                );
                vec![handle.ready]
            }
        };
        Ok(Self {
            key,
            layer,
            stop,
            loads,
        })
    }

    /// Whether the source was made from `key`.
    pub(crate) fn is(&self, key: &Key) -> bool {
        self.key == *key
    }

    /// Waits until the first load is served or has failed.
    pub(crate) async fn loaded(&self) {
        for load in &self.loads {
            // An error says that the task has ended: nothing to wait for.
            drop(load.clone().wait_for(|done| *done).await);
        }
    }

    /// Makes readiness wait for the first sync: from now on the source is
    /// served. One that a reload only tries out does not count.
    pub(crate) fn count_for_readiness(&self, parts: &SourceParts) {
        if !matches!(self.key, Key::Docker(..)) {
            return;
        }
        for load in &self.loads {
            let latch = parts.readiness.latch("docker-cluster");
            if *load.borrow() {
                latch.release();
            }
            let (load, stop) = (load.clone(), self.stop.clone());
            parts.tasks.spawn(async move {
                stop.run_until_cancelled(hold_readiness(load, latch)).await;
            });
        }
    }

    /// Ends a source that was never served, and withdraws what it asserted.
    pub(crate) async fn discard(self, parts: &SourceParts) {
        self.stop.cancel();
        parts.builder.remove_layer(self.layer).await;
    }

    /// Ends a source that is served no more. What it asserted is withdrawn
    /// once no query can be at work that was routed before the hand-over: it
    /// would find that nobody knows the name.
    pub(crate) fn retire(self, parts: &SourceParts) {
        self.stop.cancel();
        let (builder, stop, layer) = (parts.builder.clone(), parts.stop.clone(), self.layer);
        parts.tasks.spawn(async move {
            stop.run_until_cancelled(tokio::time::sleep(RETIREMENT))
                .await;
            builder.remove_layer(layer).await;
        });
    }
}

/// Starts following one engine. The receiver turns true once the first sync
/// is served, or has failed and was reported.
fn start_docker(
    config: docker::Config,
    parts: &SourceParts,
    stop: &CancellationToken,
) -> watch::Receiver<bool> {
    let handle = docker::DockerTask::spawn(
        config,
        parts.builder.batches(),
        parts.docker.clone(),
        &parts.tasks,
        stop.clone(),
    );
    let (done, receiver) = watch::channel(false);
    let stop = stop.clone();
    parts.tasks.spawn(async move {
        stop.run_until_cancelled(note_first_sync(handle, done))
            .await;
    });
    receiver
}

/// Says when the first sync is over; then lives on with the source.
async fn note_first_sync(handle: docker::DockerHandle, done: watch::Sender<bool>) {
    let mut state = handle.ready.clone();
    let over = state
        .wait_for(|state| *state != docker::SyncState::Starting)
        .await
        .is_ok();
    if over {
        done.send_replace(true);
    }
    while state.changed().await.is_ok() {}
}

/// Holds readiness back until the first load is over; then lives on with the
/// source, since a latch that is dropped no longer counts.
async fn hold_readiness(mut load: watch::Receiver<bool>, latch: Latch) {
    if load.wait_for(|done| *done).await.is_ok() {
        latch.release();
        std::future::pending::<()>().await;
    }
}

/// One configuration for each engine of a directive.
fn docker_configs(
    directive: &config::DockerCluster,
    host_ips: &HostIps,
    layer: LayerId,
) -> anyhow::Result<Vec<docker::Config>> {
    let endpoints = endpoints(directive)?;
    report(&directive.host, host_ips);
    let host_ips = host_ips.clone().unwrap_or_default();
    Ok(endpoints
        .into_iter()
        .map(|(member, endpoint)| docker::Config {
            labels: directive.labels.clone(),
            ttl: directive.ttl,
            linger: directive.linger,
            healthy_only: directive.healthy_only,
            reverse: directive.reverse,
            max_names: directive.max_names,
            ..docker::Config::new(layer, member, endpoint, host_ips.clone())
        })
        .collect())
}

/// The engines of a directive: its own, else `DOCKER_HOST`, else the usual
/// socket. Each has the name that provenance shows.
fn endpoints(
    directive: &config::DockerCluster,
) -> anyhow::Result<Vec<(Arc<str>, docker::Endpoint)>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let cert_path = variable("DOCKER_CERT_PATH").map(PathBuf::from);
    if !directive.endpoints.is_empty() {
        return directive
            .endpoints
            .iter()
            .map(|endpoint| {
                let url = endpoint.as_str();
                let parsed = docker::Endpoint::parse(url, cert_path.as_deref())
                    .with_context(|| format!("plugin/docker-cluster: docker_socket {url}"))?;
                Ok((Arc::from(url), parsed))
            })
            .collect();
    }
    let host = variable("DOCKER_HOST");
    let verify = variable("DOCKER_TLS_VERIFY");
    let cert_path = cert_path.map(|path| path.to_string_lossy().into_owned());
    let from_env =
        docker::Endpoint::from_env(host.as_deref(), verify.as_deref(), cert_path.as_deref())
            .context("plugin/docker-cluster: DOCKER_HOST")?;
    match (from_env, host) {
        (Some(endpoint), Some(host)) => Ok(vec![(Arc::from(host), endpoint)]),
        _ => {
            let endpoint = docker::Endpoint::parse(DEFAULT_ENDPOINT, None)
                .context("plugin/docker-cluster: the usual socket")?;
            Ok(vec![(Arc::from(DEFAULT_ENDPOINT), endpoint)])
        }
    }
}

/// The addresses that names point to, as they are now.
fn host_ips(host: &config::HostAddresses) -> HostIps {
    let mut addresses: BTreeSet<IpAddr> = host.addresses.iter().copied().collect();
    if host.detect {
        match docker::detect_host_ips() {
            Ok(found) => addresses.extend(found),
            Err(error) if addresses.is_empty() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(addresses.into_iter().collect())
}

/// Says what was found out. Without an address, names that bring no target of
/// their own have none; that is said loudly.
fn report(host: &config::HostAddresses, found: &HostIps) {
    match found {
        Ok(addresses) if host.detect => {
            tracing::info!(plugin = "docker-cluster", ?addresses, "detected host IP");
        }
        Ok(_) => {}
        Err(error) => tracing::error!(
            plugin = "docker-cluster",
            "{error}; until then container names without portolan.target have no address"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_an_address_keeps_the_one_it_had() {
        let address = |last| Ok(vec![IpAddr::from([192, 0, 2, last])]);
        let none = || Err(docker::DetectError::NoAddress);
        for (found, before, expected) in [
            (address(1), None, address(1)),
            (address(1), Some(address(2)), address(1)),
            (address(1), Some(none()), address(1)),
            (none(), Some(address(2)), address(2)),
            (none(), Some(none()), none()),
            (none(), None, none()),
        ] {
            assert_eq!(last_known(found, before.as_ref()), expected);
        }
    }

    #[test]
    fn numbers_of_layers_are_given_in_turn_and_never_twice() {
        let mut layers = Layers::default();
        let first = layers.free(|_| true);
        assert_eq!(layers.free(|_| true), LayerId(1));
        for number in 2..=u16::MAX {
            assert_eq!(layers.free(|_| true), LayerId(number));
        }
        // The first one is still at work when all have had their turn.
        assert_eq!(layers.free(|layer| layer != first), LayerId(1));
    }
}

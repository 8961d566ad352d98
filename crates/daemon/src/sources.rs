//! The sources of a configuration, kept across reloads where they can be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use portolan_cluster as cluster;
use portolan_config as config;
use portolan_docker as docker;
use portolan_files as files;
use portolan_table::{Batch, LayerId, LayerOptions, WildcardDepth};
use portolan_telemetry::readiness::{Latch, Readiness};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::BuilderHandle;
use crate::host_ips::HostIps;
use crate::{clusters, host_ips, host_name, traefik, translate};

/// Everything a source needs to run.
#[derive(Clone)]
pub(crate) struct SourceParts {
    /// The record table's writer.
    pub(crate) builder: BuilderHandle,
    /// Figures of Docker sources.
    pub(crate) docker: docker::Families,
    /// Figures of hosts sources.
    pub(crate) files: files::Families,
    /// Figures of Traefik sources.
    pub(crate) traefik: files::traefik::Families,
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
    /// One for each engine: how far its first sync has come.
    syncs: Vec<watch::Receiver<docker::SyncState>>,
    /// Shares its records with other members.
    attachment: Option<Arc<cluster::Attachment>>,
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
    /// A `docker-cluster` directive.
    Docker(Box<DockerKey>),
    /// A `hosts` directive.
    Hosts(Box<config::Hosts>),
    /// A `traefik-externals` directive.
    Traefik(Box<TraefikKey>),
}

/// What a source of container names is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DockerKey {
    /// The directive, without what it says of the cluster.
    directive: config::DockerCluster,
    /// What its names point to.
    host_ips: HostIps,
    /// The member that its names are shared by.
    member: Option<cluster::Config>,
}

/// What a source of names in Traefik's files is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TraefikKey {
    /// The directive.
    directive: config::TraefikExternals,
    /// What its names point to.
    host_ips: HostIps,
}

/// How long after a hand-over a query may still be at work that was routed
/// before it: a worker of a listener that ends looks up every 100 ms.
const RETIREMENT: Duration = Duration::from_secs(1);

/// The engine that is watched when nothing else is said.
const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

// === impl Key ===

impl Key {
    /// What a `docker-cluster` directive makes now. Where the host seems to
    /// have lost its addresses, that is what it made among `running`.
    pub(crate) fn docker(directive: &config::DockerCluster, running: &[Source]) -> Self {
        let alone = config::DockerCluster {
            cluster: config::Cluster::default(),
            ..directive.clone()
        };
        let before = running.iter().find_map(|source| match &source.key {
            Self::Docker(other) if other.directive == alone => Some(&other.host_ips),
            _ => None,
        });
        Self::Docker(Box::new(DockerKey {
            host_ips: host_ips::find(&directive.host, before),
            member: clusters::identity(directive),
            directive: alone,
        }))
    }

    /// What a `traefik-externals` directive makes now. Where the host seems to
    /// have lost its addresses, that is what it made among `running`.
    pub(crate) fn traefik(directive: &config::TraefikExternals, running: &[Source]) -> Self {
        let before = running.iter().find_map(|source| match &source.key {
            Self::Traefik(other) if other.directive == *directive => Some(&other.host_ips),
            _ => None,
        });
        Self::Traefik(Box::new(TraefikKey {
            directive: directive.clone(),
            host_ips: host_ips::find(&directive.host, before),
        }))
    }
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
    /// Starts a source on a layer of its own. Its records are shared by
    /// `member`, if there is one.
    pub(crate) async fn start(
        key: Key,
        layer: LayerId,
        member: Option<&cluster::Cluster>,
        parts: &SourceParts,
    ) -> anyhow::Result<Self> {
        let stop = parts.stop.child_token();
        let options = LayerOptions {
            wildcard_depth: match key {
                Key::Docker(_) | Key::Traefik(_) => WildcardDepth::Any,
                Key::Hosts(_) => WildcardDepth::One,
            },
        };
        let mut attachment = None;
        let mut syncs = Vec::new();
        let loads = match &key {
            Key::Docker(docker) => {
                let configs = docker_configs(&docker.directive, &docker.host_ips, layer)?;
                parts.builder.add_layer(layer, options).await;
                attachment = member.map(|member| {
                    let (table, stop) = (parts.builder.batches(), stop.clone());
                    Arc::new(member.attach(layer, table, &parts.tasks, stop))
                });
                let batches = attachment
                    .as_ref()
                    .map_or_else(|| parts.builder.batches(), |shared| shared.batches());
                let addresses = docker.host_ips.as_deref().unwrap_or_default();
                if let Some(batch) = host_name::batch(&docker.directive, addresses, layer) {
                    // A table that is kept no more ends the process.
                    drop(batches.send(batch).await);
                }
                let tasks = configs.into_iter().map(|config| {
                    let (load, sync) = start_docker(config, batches.clone(), parts, &stop);
                    syncs.push(sync);
                    load
                });
                tasks.collect()
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
            Key::Traefik(traefik) => {
                parts.builder.add_layer(layer, options).await;
                let config = traefik::config(&traefik.directive, &traefik.host_ips, layer);
                let handle = files::traefik::TraefikTask::spawn(
                    config,
                    parts.builder.batches(),
                    parts.traefik.clone(),
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
            syncs,
            attachment,
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

    /// Shares its records with other members from now on.
    pub(crate) fn publish(&self, parts: &SourceParts) {
        let Some(attachment) = self.attachment.clone() else {
            return;
        };
        attachment.publish();
        let (syncs, stop) = (self.syncs.clone(), self.stop.clone());
        parts.tasks.spawn(async move {
            let synced = async {
                for mut sync in syncs {
                    let synced = |state: &docker::SyncState| *state == docker::SyncState::Synced;
                    if sync.wait_for(synced).await.is_err() {
                        return;
                    }
                }
                attachment.complete();
            };
            stop.run_until_cancelled(synced).await;
        });
    }

    /// Makes readiness wait for the first sync: from now on the source is
    /// served. One that a reload only tries out does not count.
    pub(crate) fn count_for_readiness(&self, parts: &SourceParts) {
        if !matches!(self.key, Key::Docker(_)) {
            return;
        }
        for load in &self.loads {
            hold_readiness(load, parts, self.stop.clone());
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

/// Starts following one engine. The first receiver turns true once the first
/// sync is served, or has failed and was reported.
fn start_docker(
    config: docker::Config,
    batches: mpsc::Sender<Batch>,
    parts: &SourceParts,
    stop: &CancellationToken,
) -> (watch::Receiver<bool>, watch::Receiver<docker::SyncState>) {
    let handle = docker::DockerTask::spawn(
        config,
        batches,
        parts.docker.clone(),
        &parts.tasks,
        stop.clone(),
    );
    let (done, receiver) = watch::channel(false);
    let sync = handle.ready.clone();
    let stop = stop.clone();
    parts.tasks.spawn(async move {
        stop.run_until_cancelled(note_first_sync(handle, done))
            .await;
    });
    (receiver, sync)
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

/// Holds readiness back until something is over, once for each.
pub(crate) fn hold_readiness(
    over: &watch::Receiver<bool>,
    parts: &SourceParts,
    stop: CancellationToken,
) {
    let latch = parts.readiness.latch("docker-cluster");
    if *over.borrow() {
        latch.release();
    }
    let held = release(over.clone(), latch);
    parts.tasks.spawn(async move {
        stop.run_until_cancelled(held).await;
    });
}

/// Releases a latch once something is over; then lives on, since a latch that
/// is dropped no longer counts.
async fn release(mut over: watch::Receiver<bool>, latch: Latch) {
    if over.wait_for(|over| *over).await.is_ok() {
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
    let lost = "container names without portolan.target have no address";
    host_ips::report("docker-cluster", lost, &directive.host, host_ips);
    let host_ips = host_ips.clone().unwrap_or_default();
    Ok(endpoints
        .into_iter()
        .map(|(member, endpoint)| docker::Config {
            labels: directive.labels.clone(),
            traefik_labels: directive.traefik_labels,
            ttl: directive.ttl,
            linger: directive.linger,
            healthy_only: directive.healthy_only,
            reverse: directive.reverse,
            max_names: directive.max_names,
            ..docker::Config::new(layer, member, endpoint, host_ips.clone())
        })
        .collect())
}

/// The sockets on this machine at which a directive's engines are.
pub(crate) fn sockets(directive: &config::DockerCluster) -> Vec<PathBuf> {
    let engines = endpoints(directive).unwrap_or_default();
    let paths = engines.iter().filter_map(|(url, _)| {
        let path = url.strip_prefix("unix://")?;
        Some(PathBuf::from(path))
    });
    paths.collect()
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
                    .with_context(|| format!("docker_socket {url}"))?;
                Ok((Arc::from(url), parsed))
            })
            .collect();
    }
    let host = variable("DOCKER_HOST");
    let verify = variable("DOCKER_TLS_VERIFY");
    let cert_path = cert_path.map(|path| path.to_string_lossy().into_owned());
    let from_env =
        docker::Endpoint::from_env(host.as_deref(), verify.as_deref(), cert_path.as_deref())
            .context("DOCKER_HOST")?;
    match (from_env, host) {
        (Some(endpoint), Some(host)) => Ok(vec![(Arc::from(host), endpoint)]),
        _ => {
            let endpoint =
                docker::Endpoint::parse(DEFAULT_ENDPOINT, None).context("the usual socket")?;
            Ok(vec![(Arc::from(DEFAULT_ENDPOINT), endpoint)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

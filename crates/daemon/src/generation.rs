//! One configuration at work: what is built from it, and handing over from
//! the one before.

mod build;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use portolan_config as config;
use portolan_config::Config;
use portolan_forward as forward;
use portolan_proto::Name;
use portolan_server::{ListenAddr, Routing};
use portolan_telemetry::admin::Endpoint;
use portolan_telemetry::errors::ErrorReporter;
use portolan_telemetry::readiness::Monitor;
use tokio_util::sync::CancellationToken;

use self::build::Build;
use crate::clusters;
use crate::clusters::Running;
use crate::parts::Parts;
use crate::place::Askers;
use crate::sources::{Key, Source};

/// What one configuration has at work.
pub(crate) struct Generation {
    /// Its sources.
    sources: Vec<Source>,
    /// Its members of clusters.
    clusters: Vec<Running>,
    /// Its caches, by what they were made from.
    caches: Vec<(CacheKey, Arc<forward::Cache>)>,
    /// Ends what belongs to it alone.
    stop: CancellationToken,
    /// How long to go on after the signal to stop.
    pub(crate) lameduck: Duration,
    /// The `consolidate` windows that are open.
    reporters: Vec<Arc<ErrorReporter>>,
}

/// A generation that is built and not served yet.
pub(crate) struct Next {
    /// Its sources that are new; the others are still with the generation
    /// before.
    fresh: Vec<Source>,
    /// What each of its sources was made from, in no particular order.
    keys: Vec<Key>,
    /// Its members of clusters.
    clusters: Vec<Running>,
    /// Its caches.
    caches: Vec<(CacheKey, Arc<forward::Cache>)>,
    /// Ends what belongs to it alone.
    stop: CancellationToken,
    /// What each listener routes, and where the admin endpoints are.
    pub(crate) plan: Plan,
    /// How long to go on after the signal to stop.
    lameduck: Duration,
    /// The `consolidate` windows.
    reporters: Vec<Arc<ErrorReporter>>,
    /// Directives in effect: server, zone, name.
    enabled: BTreeSet<(String, String, &'static str)>,
}

/// What is to be listened on.
#[derive(Default)]
pub(crate) struct Plan {
    /// DNS listeners.
    pub(crate) routings: BTreeMap<ListenAddr, Routing>,
    /// Admin endpoints.
    pub(crate) endpoints: Vec<Endpoint>,
    /// What `/ready` reports after it was ready once.
    pub(crate) monitor: Monitor,
    /// Zones by listener, for the banner.
    pub(crate) zones: Vec<(Name, ListenAddr)>,
    /// Who asks for all that.
    pub(crate) askers: Askers,
}

/// What a cache is made from.
#[derive(Clone, Debug, PartialEq)]
struct CacheKey {
    /// Zones of the server block.
    zones: Vec<Name>,
    /// The directive.
    directive: config::Cache,
    /// Where it gets its answers.
    forwards: Vec<config::Forward>,
}

// === impl Generation ===

impl Generation {
    /// Nothing at work.
    pub(crate) fn none() -> Self {
        Self {
            sources: Vec::new(),
            clusters: Vec::new(),
            caches: Vec::new(),
            stop: CancellationToken::new(),
            lameduck: Duration::ZERO,
            reporters: Vec::new(),
        }
    }

    /// Builds what `config` asks for, and starts its new sources. Nothing
    /// that is served changes. New sources get `patience` to load.
    ///
    /// # Errors
    ///
    /// What only the running system can tell: an upstream name that cannot be
    /// resolved, an interface that is not there, a file of weights that cannot
    /// be read.
    pub(crate) async fn prepare(
        &self,
        config: &Config,
        parts: &mut Parts,
        patience: Duration,
    ) -> anyhow::Result<Next> {
        let mut next = Next::new(parts);
        match Build::new(self, &mut next, parts).all(config).await {
            Ok(()) => {
                let all = async {
                    for source in &next.fresh {
                        source.loaded().await;
                    }
                };
                // What has not loaded by then is served when it has.
                drop(tokio::time::timeout(patience, all).await);
                clusters::settle(&next.clusters, &self.clusters).await;
                Ok(next)
            }
            Err(error) => {
                self.discard(next, parts).await;
                Err(error)
            }
        }
    }

    /// Makes `next` the current generation, once its listeners are served:
    /// ends what it does not use.
    pub(crate) fn hand_over(&mut self, next: Next, parts: &Parts) {
        let Next {
            fresh,
            keys,
            clusters,
            caches,
            stop,
            plan: _,
            lameduck,
            reporters,
            enabled,
        } = next;
        let before = std::mem::take(&mut self.sources);
        let (kept, ended): (Vec<_>, Vec<_>) = before
            .into_iter()
            .partition(|source| keys.iter().any(|key| source.is(key)));
        for source in &fresh {
            source.publish(&parts.sources);
        }
        self.sources = kept;
        self.sources.extend(fresh);
        let before = std::mem::replace(&mut self.clusters, clusters);
        clusters::hand_over(before, &self.clusters, &parts.tasks);
        parts.clusters.replace(&self.clusters);
        for source in ended {
            source.retire(&parts.sources);
        }
        self.stop.cancel();
        self.flush();
        self.stop = stop;
        parts
            .caches
            .replace(caches.iter().map(|(_, cache)| Arc::clone(cache)).collect());
        self.caches = caches;
        self.lameduck = lameduck;
        self.reporters = reporters;
        parts.plugin_enabled.reset();
        for (server, zone, name) in enabled {
            parts
                .plugin_enabled
                .with_label_values(&[&server, &zone, "", name])
                .set(1);
        }
    }

    /// Makes readiness wait for what is new in `next`, which is served from now
    /// on.
    pub(crate) fn count_for_readiness(&self, next: &Next, parts: &Parts) {
        for source in &next.fresh {
            source.count_for_readiness(&parts.sources);
        }
        clusters::count_for_readiness(&next.clusters, &self.clusters, &parts.sources);
    }

    /// Ends what was started for a generation that will not be.
    pub(crate) async fn discard(&self, next: Next, parts: &Parts) {
        next.stop.cancel();
        for source in next.fresh {
            source.discard(&parts.sources).await;
        }
        clusters::discard(next.clusters, &self.clusters).await;
    }

    /// Tells other members that this server ends.
    pub(crate) async fn leave(&self) {
        for running in &self.clusters {
            running.cluster.leave().await;
        }
    }

    /// Waits until a member ends, although nobody told it to.
    pub(crate) async fn member_ended(&self) {
        clusters::ended(&self.clusters).await;
    }

    /// Logs the errors that were being counted.
    pub(crate) fn flush(&self) {
        for reporter in &self.reporters {
            reporter.flush();
        }
    }
}

// === impl Next ===

impl Next {
    /// Nothing built yet.
    fn new(parts: &Parts) -> Self {
        Self {
            fresh: Vec::new(),
            keys: Vec::new(),
            clusters: Vec::new(),
            caches: Vec::new(),
            stop: parts.stop.child_token(),
            plan: Plan::default(),
            lameduck: Duration::ZERO,
            reporters: Vec::new(),
            enabled: BTreeSet::new(),
        }
    }
}

//! One configuration at work: what is built from it, and handing over from
//! the one before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use portolan_cluster::Cluster;
use portolan_config as config;
use portolan_config::{Config, ServerBlock};
use portolan_forward as forward;
use portolan_proto::Name;
use portolan_server::{
    Block, Hooks, ListenAddr, LocalLayer, Routing, SocketOptions, UnknownAction,
};
use portolan_table::LayerId;
use portolan_telemetry::admin::{Endpoint, Serves};
use portolan_telemetry::errors::{ErrorReporter, Level, Rule};
use portolan_telemetry::readiness::Monitor;
use tokio_util::sync::CancellationToken;

use crate::clusters::Running;
use crate::hooks::{Errors, Log};
use crate::parts::Parts;
use crate::place::{Askers, Place};
use crate::sources::{Key, Source};
use crate::{addresses, clusters, loadbalance, traefik, translate};

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

/// Blocks under construction, by listener.
type Routes = BTreeMap<ListenAddr, Route>;

/// What one listener has.
#[derive(Default)]
struct Route {
    /// Zones and their blocks.
    zones: Vec<(Name, Arc<Block>)>,
    /// What the first block says of its sockets that says something.
    sockets: Option<SocketOptions>,
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
        match self.fill(&mut next, config, parts).await {
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

    /// Fills in the next generation, block by block.
    async fn fill(
        &self,
        next: &mut Next,
        config: &Config,
        parts: &mut Parts,
    ) -> anyhow::Result<()> {
        let mut routes = Routes::new();
        for block in &config.blocks {
            self.add_block(next, &block.value, &mut routes, parts)
                .await?;
        }
        // Joyride tells its version where it serves names of containers.
        if config
            .blocks
            .iter()
            .any(|block| block.value.docker_cluster.is_some())
        {
            next.plan.endpoints.push(Endpoint {
                addr: config.version.to_string(),
                serves: Serves::Version,
            });
        }
        for (listener, Route { zones, sockets }) in routes {
            let label = listener.label();
            let counted = zones.iter().any(|(_, block)| block.hooks.metrics.is_some());
            let unrouted = counted.then(|| parts.server_families.block(&label, "dropped"));
            next.plan
                .zones
                .extend(zones.iter().map(|(zone, _)| (zone.clone(), listener)));
            next.plan.routings.insert(
                listener,
                Routing::new(zones, unrouted).on(sockets.unwrap_or_default()),
            );
        }
        Ok(())
    }

    /// Adds one server block to its listeners.
    async fn add_block(
        &self,
        next: &mut Next,
        block: &ServerBlock,
        routes: &mut Routes,
        parts: &mut Parts,
    ) -> anyhow::Result<()> {
        let zones: Vec<Name> = block.zones().cloned().collect();
        let local = self.local_layers(next, block, parts).await?;
        let resolver = self.resolver(next, block, &zones, parts).await?;
        let loadbalance = block
            .loadbalance
            .as_ref()
            .map(|directive| {
                loadbalance::start(&directive.value, &parts.tasks, &next.stop)
                    .with_context(|| Place::of("loadbalance", directive).to_string())
            })
            .transpose()?;
        let errors = block
            .errors
            .as_ref()
            .map(|errors| reporter(&errors.value, next, parts));
        let log = (!block.log.is_empty())
            .then(|| Arc::new(Log::new(block.log.iter().map(|rule| &rule.value))));
        let lookups = has_traefik(block).then(|| {
            let families = parts.sources.traefik.clone();
            Arc::new(traefik::Queries(families)) as Arc<_>
        });
        next.add_endpoints(block);
        for (port, (key, names)) in by_port(block) {
            for (listener, bind) in addresses::listeners(&block.bind, port)? {
                next.plan
                    .askers
                    .listener(listener, bind.unwrap_or_else(|| key.clone()));
                let zone = translate::longest_zone(&zones);
                let label = listener.label();
                let metrics = block
                    .prometheus
                    .as_ref()
                    .map(|_| parts.server_families.block(&label, &zone.to_string()));
                for name in handlers(block) {
                    next.enabled.insert((label.clone(), zone.to_string(), name));
                }
                let at_work = Arc::new(Block {
                    zone,
                    local: local.clone(),
                    resolver: resolver.clone(),
                    whoami: block.whoami.is_some(),
                    loadbalance: loadbalance.clone(),
                    hooks: Hooks {
                        log: log.clone().map(|log| log as Arc<_>),
                        errors: errors
                            .clone()
                            .map(|errors| Arc::new(Errors(errors)) as Arc<_>),
                        metrics,
                        lookups: lookups.clone(),
                    },
                });
                let route = routes.entry(listener).or_default();
                let sockets = block.multisocket.as_ref();
                let sockets = sockets.map(|sockets| translate::sockets(sockets.value));
                route.sockets = route.sockets.or(sockets);
                route.zones.extend(
                    names
                        .iter()
                        .map(|name| (name.clone(), Arc::clone(&at_work))),
                );
            }
        }
        Ok(())
    }

    /// The local stages of a block, their sources running.
    async fn local_layers(
        &self,
        next: &mut Next,
        block: &ServerBlock,
        parts: &mut Parts,
    ) -> anyhow::Result<Vec<LocalLayer>> {
        let mut layers = Vec::new();
        if let Some(hosts) = &block.hosts {
            let hosts = &hosts.value;
            let layer = self
                .source(next, Key::Hosts(Box::new(hosts.clone())), None, parts)
                .await?;
            layers.push(LocalLayer {
                layer,
                plugin: "hosts",
                zones: hosts.zones.clone(),
                fallthrough: translate::fallthrough(hosts.fallthrough.as_ref()),
                fallthrough_unsupported: hosts.fallthrough_unsupported,
                unknown: translate::unknown_action(hosts.unknown_action),
                unknown_ptr_falls_through: true,
                negative_ttl: hosts.negative_ttl,
            });
        }
        if let Some(directive) = &block.docker_cluster {
            let docker = &directive.value;
            let metrics = &parts.cluster_families;
            let member = Running::find(docker, &self.clusters, &mut next.clusters, metrics)
                .await
                .with_context(|| Place::of("docker-cluster", directive).to_string())?;
            let key = Key::docker(docker, &self.sources);
            let layer = self
                .source(next, key, member.as_deref(), parts)
                .await
                .with_context(|| Place::of("docker-cluster", directive).to_string())?;
            layers.push(LocalLayer {
                layer,
                plugin: "docker-cluster",
                zones: vec![Name::root()],
                fallthrough: translate::fallthrough(docker.fallthrough.as_ref()),
                fallthrough_unsupported: false,
                unknown: translate::unknown_action(docker.unknown_action),
                unknown_ptr_falls_through: false,
                negative_ttl: docker.negative_ttl,
            });
        }
        if let Some(traefik) = &block.traefik_externals
            && traefik.enabled
        {
            let traefik = &traefik.value;
            let key = Key::traefik(traefik, &self.sources);
            let layer = self.source(next, key, None, parts).await?;
            layers.push(LocalLayer {
                layer,
                plugin: traefik::PLUGIN,
                zones: vec![Name::root()],
                fallthrough: translate::fallthrough(traefik.fallthrough.as_ref()),
                fallthrough_unsupported: false,
                unknown: UnknownAction::Drop,
                unknown_ptr_falls_through: false,
                negative_ttl: traefik::NEGATIVE_TTL,
            });
        }
        Ok(layers)
    }

    /// The layer of a source: one that runs, or a new one.
    async fn source(
        &self,
        next: &mut Next,
        key: Key,
        member: Option<&Cluster>,
        parts: &mut Parts,
    ) -> anyhow::Result<LayerId> {
        let sources = self.sources.iter().chain(&next.fresh);
        let layer = match sources.clone().find(|source| source.is(&key)) {
            Some(source) => source.layer,
            None => {
                let layer = parts.layers.number(sources);
                let source = Source::start(key.clone(), layer, member, &parts.sources).await?;
                next.fresh.push(source);
                layer
            }
        };
        next.keys.push(key);
        Ok(layer)
    }

    /// The cache and the upstreams of a block.
    async fn resolver(
        &self,
        next: &mut Next,
        block: &ServerBlock,
        zones: &[Name],
        parts: &Parts,
    ) -> anyhow::Result<Option<forward::Resolver>> {
        if block.forward.is_empty() {
            return Ok(None);
        }
        let context = {
            // What it starts in the background belongs to the query runtime.
            let _queries = parts.queries.enter();
            forward::Context::new(
                parts.tasks.clone(),
                next.stop.clone(),
                parts.forward_families.clone(),
            )
            .with_max_in_flight(parts.pending)
            .with_socket_room(parts.socket_room.clone())
        };
        let mut stanzas = Vec::new();
        for directive in &block.forward {
            let place = Place::of("forward", directive);
            let config = translate::forward(&directive.value).with_context(|| place.to_string())?;
            let surroundings = context.clone();
            let building = parts
                .queries
                .spawn(async move { forward::Forward::build(config, &surroundings).await });
            stanzas.push(building.await?.with_context(|| place.to_string())?);
        }
        let cache = block.cache.as_ref().map(|directive| {
            let key = CacheKey {
                zones: zones.to_vec(),
                directive: directive.value.clone(),
                forwards: block
                    .forward
                    .iter()
                    .map(|forward| forward.value.clone())
                    .collect(),
            };
            self.cache(next, key, block, &context)
        });
        Ok(Some(forward::Resolver::new(cache, stanzas, &context)))
    }

    /// A cache: the one of the generation before if nothing about it changed
    /// and it is not to begin anew.
    fn cache(
        &self,
        next: &mut Next,
        key: CacheKey,
        block: &ServerBlock,
        context: &forward::Context,
    ) -> Arc<forward::Cache> {
        let kept = self.caches.iter().find(|(other, _)| *other == key);
        let cache = match kept.filter(|_| !key.directive.flush_on_reload) {
            Some((_, cache)) => Arc::clone(cache),
            None => {
                let port = block.keys.first().map_or(0, |key| key.value.port);
                let zones: Vec<String> = key.directive.zones.iter().map(Name::to_string).collect();
                let labels = forward::CacheLabels {
                    server: format!("dns://:{port}"),
                    zones: zones.join(","),
                    view: String::new(),
                };
                forward::Cache::new(translate::cache(&key.directive), &labels, context)
            }
        };
        next.caches.push((key, Arc::clone(&cache)));
        cache
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

    /// Adds the admin endpoints of a block.
    fn add_endpoints(&mut self, block: &ServerBlock) {
        let mut add = |address: &config::ListenAddress, serves: Serves, place: Place| {
            let addr = address.to_string();
            self.plan.askers.endpoint(&addr, place);
            self.plan.endpoints.push(Endpoint { addr, serves });
        };
        if let Some(health) = &block.health {
            let place = Place::of("health", health);
            add(&health.value.address, Serves::Health, place);
            self.lameduck = self.lameduck.max(health.value.lameduck);
        }
        if let Some(ready) = &block.ready {
            let place = Place::of("ready", ready);
            add(&ready.value.address, Serves::Ready, place);
            if ready.value.monitor == config::Monitor::Continuously {
                self.plan.monitor = Monitor::Continuously;
            }
        }
        if let Some(prometheus) = &block.prometheus {
            let place = Place::of("prometheus", prometheus);
            add(&prometheus.value.address, Serves::Metrics, place);
        }
    }
}

/// The names of a block by port, and the first key that has the port.
fn by_port(block: &ServerBlock) -> BTreeMap<u16, (Place, Vec<Name>)> {
    let mut ports = BTreeMap::new();
    for key in &block.keys {
        let (_, names) = ports
            .entry(key.value.port)
            .or_insert_with(|| (Place::of_key(key), Vec::new()));
        names.extend(key.value.zones.iter().cloned());
    }
    ports
}

/// The directives of a block that handle queries, as CoreDNS counts them.
fn handlers(block: &ServerBlock) -> Vec<&'static str> {
    [
        ("prometheus", block.prometheus.is_some()),
        ("errors", block.errors.is_some()),
        ("log", !block.log.is_empty()),
        ("loadbalance", block.loadbalance.is_some()),
        ("cache", block.cache.is_some()),
        ("hosts", block.hosts.is_some()),
        ("docker-cluster", block.docker_cluster.is_some()),
        (traefik::PLUGIN, has_traefik(block)),
        ("forward", !block.forward.is_empty()),
        ("whoami", block.whoami.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, present)| present.then_some(name))
    .collect()
}

/// Whether the names of Traefik's files are served.
fn has_traefik(block: &ServerBlock) -> bool {
    let traefik = block.traefik_externals.as_ref();
    traefik.is_some_and(|traefik| traefik.enabled)
}

/// The `errors` directive of a block, at work.
fn reporter(directive: &config::ErrorLog, next: &mut Next, parts: &Parts) -> Arc<ErrorReporter> {
    let rules = directive
        .consolidate
        .iter()
        .filter_map(|rule| {
            let rule = &rule.value;
            Some(Rule {
                period: rule.period,
                // The pattern compiled when the configuration was read.
                pattern: regex::Regex::new(&rule.pattern).ok()?,
                level: match rule.level {
                    config::ReportLevel::Error => Level::Error,
                    config::ReportLevel::Warning => Level::Warning,
                    config::ReportLevel::Info => Level::Info,
                    config::ReportLevel::Debug => Level::Debug,
                },
                show_first: rule.show_first,
            })
        })
        .collect();
    let reporter = Arc::new(ErrorReporter::new(rules));
    let (running, stop) = (Arc::clone(&reporter), next.stop.clone());
    parts.tasks.spawn(async move { running.run(stop).await });
    next.reporters.push(Arc::clone(&reporter));
    reporter
}

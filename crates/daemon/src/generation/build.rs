//! From a configuration to what it has at work.

use std::collections::BTreeMap;
use std::sync::Arc;

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

use super::{CacheKey, Generation, Next};
use crate::clusters::Running;
use crate::hooks::{Errors, Log};
use crate::parts::Parts;
use crate::place::Place;
use crate::sources::{Key, Source};
use crate::{addresses, loadbalance, traefik, translate};

/// A generation under construction.
pub(super) struct Build<'a> {
    /// The one before, of which is kept what did not change.
    before: &'a Generation,
    /// What is built so far.
    next: &'a mut Next,
    /// What generations share.
    parts: &'a mut Parts,
    /// Blocks by listener.
    routes: BTreeMap<ListenAddr, Route>,
}

/// What one listener has.
#[derive(Default)]
struct Route {
    /// Zones and their blocks.
    zones: Vec<(Name, Arc<Block>)>,
    /// What the first block says of its sockets that says something.
    sockets: Option<SocketOptions>,
}

// === impl Build ===

impl<'a> Build<'a> {
    /// Nothing built yet.
    pub(super) fn new(before: &'a Generation, next: &'a mut Next, parts: &'a mut Parts) -> Self {
        Self {
            before,
            next,
            parts,
            routes: BTreeMap::new(),
        }
    }

    /// Builds all of a configuration, block by block.
    pub(super) async fn all(mut self, config: &Config) -> anyhow::Result<()> {
        for block in &config.blocks {
            self.add_block(&block.value).await?;
        }
        // Joyride tells its version where it serves names of containers.
        if config
            .blocks
            .iter()
            .any(|block| block.value.docker_cluster.is_some())
        {
            self.next.plan.endpoints.push(Endpoint {
                addr: config.version.to_string(),
                serves: Serves::Version,
            });
        }
        for (listener, Route { zones, sockets }) in self.routes {
            let label = listener.label();
            let counted = zones.iter().any(|(_, block)| block.hooks.metrics.is_some());
            let unrouted = counted.then(|| self.parts.server_families.block(&label, "dropped"));
            self.next
                .plan
                .zones
                .extend(zones.iter().map(|(zone, _)| (zone.clone(), listener)));
            self.next.plan.routings.insert(
                listener,
                Routing::new(zones, unrouted).on(sockets.unwrap_or_default()),
            );
        }
        Ok(())
    }

    /// Adds one server block to its listeners.
    async fn add_block(&mut self, block: &ServerBlock) -> anyhow::Result<()> {
        let zones: Vec<Name> = block.zones().cloned().collect();
        let local = self.local_layers(block).await?;
        let resolver = self.resolver(block, &zones).await?;
        let loadbalance = block
            .loadbalance
            .as_ref()
            .map(|directive| {
                loadbalance::start(&directive.value, &self.parts.tasks, &self.next.stop)
                    .with_context(|| Place::of("loadbalance", directive).to_string())
            })
            .transpose()?;
        let errors = block
            .errors
            .as_ref()
            .map(|errors| self.reporter(&errors.value));
        let log = (!block.log.is_empty())
            .then(|| Arc::new(Log::new(block.log.iter().map(|rule| &rule.value))));
        let lookups = has_traefik(block).then(|| {
            let families = self.parts.sources.traefik.clone();
            Arc::new(traefik::Queries(families)) as Arc<_>
        });
        self.add_endpoints(block);
        for (port, (key, names)) in by_port(block) {
            for (listener, bind) in addresses::listeners(&block.bind, port)? {
                self.next
                    .plan
                    .askers
                    .listener(listener, bind.unwrap_or_else(|| key.clone()));
                let zone = translate::longest_zone(&zones);
                let label = listener.label();
                let metrics = block
                    .prometheus
                    .as_ref()
                    .map(|_| self.parts.server_families.block(&label, &zone.to_string()));
                for name in handlers(block) {
                    self.next
                        .enabled
                        .insert((label.clone(), zone.to_string(), name));
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
                let route = self.routes.entry(listener).or_default();
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
    async fn local_layers(&mut self, block: &ServerBlock) -> anyhow::Result<Vec<LocalLayer>> {
        let mut layers = Vec::new();
        if let Some(hosts) = &block.hosts {
            let hosts = &hosts.value;
            let layer = self
                .source(Key::Hosts(Box::new(hosts.clone())), None)
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
            let metrics = &self.parts.cluster_families;
            let member = Running::find(
                docker,
                &self.before.clusters,
                &mut self.next.clusters,
                metrics,
            )
            .await
            .with_context(|| Place::of("docker-cluster", directive).to_string())?;
            let key = Key::docker(docker, &self.before.sources);
            let layer = self
                .source(key, member.as_deref())
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
            let key = Key::traefik(traefik, &self.before.sources);
            let layer = self.source(key, None).await?;
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
    async fn source(&mut self, key: Key, member: Option<&Cluster>) -> anyhow::Result<LayerId> {
        let sources = self.before.sources.iter().chain(&self.next.fresh);
        let layer = match sources.clone().find(|source| source.is(&key)) {
            Some(source) => source.layer,
            None => {
                let layer = self.parts.layers.number(sources);
                let source = Source::start(key.clone(), layer, member, &self.parts.sources).await?;
                self.next.fresh.push(source);
                layer
            }
        };
        self.next.keys.push(key);
        Ok(layer)
    }

    /// The cache and the upstreams of a block.
    async fn resolver(
        &mut self,
        block: &ServerBlock,
        zones: &[Name],
    ) -> anyhow::Result<Option<forward::Resolver>> {
        if block.forward.is_empty() {
            return Ok(None);
        }
        let context = {
            // What it starts in the background belongs to the query runtime.
            let _queries = self.parts.queries.enter();
            forward::Context::new(
                self.parts.tasks.clone(),
                self.next.stop.clone(),
                self.parts.forward_families.clone(),
            )
            .with_max_in_flight(self.parts.pending)
            .with_socket_room(self.parts.socket_room.clone())
        };
        let mut stanzas = Vec::new();
        for directive in &block.forward {
            let place = Place::of("forward", directive);
            let config = translate::forward(&directive.value).with_context(|| place.to_string())?;
            let surroundings = context.clone();
            let building = self
                .parts
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
            self.cache(key, block, &context)
        });
        Ok(Some(forward::Resolver::new(cache, stanzas, &context)))
    }

    /// A cache: the one of the generation before if nothing about it changed
    /// and it is not to begin anew.
    fn cache(
        &mut self,
        key: CacheKey,
        block: &ServerBlock,
        context: &forward::Context,
    ) -> Arc<forward::Cache> {
        let kept = self.before.caches.iter().find(|(other, _)| *other == key);
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
        self.next.caches.push((key, Arc::clone(&cache)));
        cache
    }

    /// Adds the admin endpoints of a block.
    fn add_endpoints(&mut self, block: &ServerBlock) {
        let mut add = |address: &config::ListenAddress, serves: Serves, place: Place| {
            let addr = address.to_string();
            self.next.plan.askers.endpoint(&addr, place);
            self.next.plan.endpoints.push(Endpoint { addr, serves });
        };
        if let Some(health) = &block.health {
            let place = Place::of("health", health);
            add(&health.value.address, Serves::Health, place);
            self.next.lameduck = self.next.lameduck.max(health.value.lameduck);
        }
        if let Some(ready) = &block.ready {
            let place = Place::of("ready", ready);
            add(&ready.value.address, Serves::Ready, place);
            if ready.value.monitor == config::Monitor::Continuously {
                self.next.plan.monitor = Monitor::Continuously;
            }
        }
        if let Some(prometheus) = &block.prometheus {
            let place = Place::of("prometheus", prometheus);
            add(&prometheus.value.address, Serves::Metrics, place);
        }
    }

    /// The `errors` directive of a block, at work.
    fn reporter(&mut self, directive: &config::ErrorLog) -> Arc<ErrorReporter> {
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
        let (running, stop) = (Arc::clone(&reporter), self.next.stop.clone());
        self.parts
            .tasks
            .spawn(async move { running.run(stop).await });
        self.next.reporters.push(Arc::clone(&reporter));
        reporter
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

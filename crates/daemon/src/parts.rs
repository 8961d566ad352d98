//! What the configurations of one process share.

use std::sync::Arc;

use portolan_forward as forward;
use portolan_server::{Limits, Server};
use portolan_table::{Builder, Table};
use portolan_telemetry::metrics::Metrics;
use portolan_telemetry::readiness::Readiness;
use prometheus::{IntGaugeVec, Opts};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::BuilderHandle;
use crate::clusters::Shown;
use crate::flush::Caches;
use crate::memory;
use crate::sources::{Layers, SourceParts};

/// What generations share.
pub(crate) struct Parts {
    /// For sources.
    pub(crate) sources: SourceParts,
    /// The listeners.
    pub(crate) server: Arc<Server>,
    /// Figures of blocks.
    pub(crate) server_families: portolan_server::Families,
    /// Figures of upstreams and caches.
    pub(crate) forward_families: forward::Families,
    /// Figures of clusters.
    pub(crate) cluster_families: portolan_cluster::Families,
    /// Who is in them.
    pub(crate) clusters: Shown,
    /// The caches in effect.
    pub(crate) caches: Caches,
    /// Figure of the directives in effect.
    pub(crate) plugin_enabled: IntGaugeVec,
    /// The query runtime.
    pub(crate) queries: Handle,
    /// Queries that may wait for upstreams.
    pub(crate) pending: usize,
    /// Whether idle sockets to upstreams may be kept.
    pub(crate) socket_room: forward::SocketRoom,
    /// Tasks of upstreams, caches and logs.
    pub(crate) tasks: TaskTracker,
    /// Ends them.
    pub(crate) stop: CancellationToken,
    /// Numbers of layers.
    pub(crate) layers: Layers,
}

// === impl Parts ===

impl Parts {
    /// Builds it, with nothing to serve yet. Queries wait on `queries`.
    pub(crate) fn new(
        metrics: &Metrics,
        readiness: &Readiness,
        clusters: Shown,
        caches: Caches,
        queries: &Handle,
    ) -> anyhow::Result<Self> {
        let registry = metrics.registry();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let table = Arc::new(Table::new());
        let builder = BuilderHandle::spawn(
            Builder::new(Arc::clone(&table)),
            registry,
            &tasks,
            stop.clone(),
        )?;
        let descriptors = descriptors();
        let memory = memory::limit().unwrap_or(u64::MAX);
        let limits = Limits::within_descriptors(descriptors).within_memory(memory);
        let server_families = portolan_server::Families::register(registry)?;
        let server = Server::new(
            queries.clone(),
            table,
            server_families.clone(),
            limits,
            cores(),
        );
        let plugin_enabled = IntGaugeVec::new(
            Opts::new(
                "coredns_plugin_enabled",
                "Directives in effect, by server, zone and name.",
            ),
            &["server", "zone", "view", "name"],
        )?;
        registry.register(Box::new(plugin_enabled.clone()))?;
        Ok(Self {
            sources: SourceParts {
                builder,
                docker: portolan_docker::Families::register(registry)?,
                files: portolan_files::Families::register(registry)?,
                traefik: portolan_files::traefik::Families::register(registry)?,
                readiness: readiness.clone(),
                tasks: tasks.clone(),
                stop: stop.clone(),
            },
            server: Arc::new(server),
            server_families,
            forward_families: portolan_forward::Families::register(registry)?,
            cluster_families: portolan_cluster::Families::register(registry)?,
            clusters,
            caches,
            plugin_enabled,
            queries: queries.clone(),
            pending: limits.pending,
            socket_room: forward::SocketRoom::within(descriptors, memory, cores()),
            tasks,
            stop,
            layers: Layers::default(),
        })
    }
}

/// How many files the process may have open.
fn descriptors() -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => {
            // The soft limit guards old programs that use select(2).
            if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
                hard
            } else {
                soft
            }
        }
        Ok((soft, _)) => soft,
        Err(_) => 1024,
    }
}

/// How many cores the process may use, quotas respected.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

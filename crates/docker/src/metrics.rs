//! Metrics of the Docker sources.

use prometheus::Gauge;
use prometheus::IntCounter;
use prometheus::IntCounterVec;
use prometheus::IntGauge;
use prometheus::IntGaugeVec;
use prometheus::Opts;
use prometheus::Registry;

/// The metric families of all Docker sources of a process.
#[derive(Clone, Debug)]
pub struct Families {
    /// Whether an engine is connected and in step.
    pub(crate) connected: IntGaugeVec,
    /// Containers with names.
    pub(crate) containers: IntGaugeVec,
    /// Events received.
    pub(crate) events: IntCounterVec,
    /// Connections that replaced a lost one.
    pub(crate) reconnects: IntCounter,
    /// Connects, lists and inspects that failed.
    pub(crate) sync_errors: IntCounter,
    /// Names and targets in labels that were ignored.
    pub(crate) invalid_names: IntCounter,
    /// When a list was last taken over.
    pub(crate) last_sync: Gauge,
    /// Names of all containers, each counted once a container.
    pub(crate) names: IntGauge,
}

// === impl Families ===

impl Families {
    /// Creates the families and registers them.
    ///
    /// # Errors
    ///
    /// If the registry already has one of them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let families = Self {
            connected: IntGaugeVec::new(
                Opts::new(
                    "portolan_docker_connected",
                    "Whether the Docker Engine is connected and its containers are known.",
                ),
                &["endpoint"],
            )?,
            containers: IntGaugeVec::new(
                Opts::new("portolan_docker_containers", "Containers with names."),
                &["endpoint"],
            )?,
            events: IntCounterVec::new(
                Opts::new("portolan_docker_events_total", "Container events received."),
                &["endpoint", "action"],
            )?,
            reconnects: IntCounter::new(
                "portolan_docker_reconnects_total",
                "Connections to a Docker Engine that replaced a lost one.",
            )?,
            sync_errors: IntCounter::new(
                "portolan_docker_sync_errors_total",
                "Failed attempts to connect to a Docker Engine, to list or to inspect containers.",
            )?,
            invalid_names: IntCounter::new(
                "portolan_docker_invalid_names_total",
                "Names, targets and TTLs in container labels that were ignored.",
            )?,
            last_sync: Gauge::new(
                "portolan_docker_last_sync_timestamp_seconds",
                "When a container list was last taken over, as a Unix time.",
            )?,
            names: IntGauge::new(
                "portolan_docker_names",
                "Names that containers assert, counted once a container.",
            )?,
        };
        registry.register(Box::new(families.connected.clone()))?;
        registry.register(Box::new(families.containers.clone()))?;
        registry.register(Box::new(families.events.clone()))?;
        registry.register(Box::new(families.reconnects.clone()))?;
        registry.register(Box::new(families.sync_errors.clone()))?;
        registry.register(Box::new(families.invalid_names.clone()))?;
        registry.register(Box::new(families.last_sync.clone()))?;
        registry.register(Box::new(families.names.clone()))?;
        Ok(families)
    }
}

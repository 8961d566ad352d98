//! What a Docker source is told.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_table::LayerId;

use crate::endpoint::Endpoint;
use crate::labels::Wanted;

/// Labels that carry names unless others are configured.
pub const DEFAULT_LABELS: [&str; 2] = ["coredns.host.name", "joyride.host.name"];

/// TTL of records unless another is configured, in seconds.
pub const DEFAULT_TTL: u32 = 60;

/// How long the records of a stopped container are kept: longer than a
/// restart or a recreate takes.
pub const DEFAULT_LINGER: Duration = Duration::from_secs(5);

/// How many names one container may have.
pub const DEFAULT_MAX_NAMES: usize = 100;

/// How often the container list is compared with what events said.
pub const DEFAULT_RECONCILE: Duration = Duration::from_mins(1);

/// Configuration of one Docker source: one engine, one layer.
#[derive(Clone, Debug)]
pub struct Config {
    /// Layer that the records belong to.
    pub layer: LayerId,
    /// Cluster member, or engine, that the records are attributed to.
    pub member: Arc<str>,
    /// The engine.
    pub endpoint: Endpoint,
    /// Container labels that carry names, most important first.
    pub labels: Vec<String>,
    /// Whether the rules of Traefik's routers, as container labels have them,
    /// name containers as well.
    pub traefik_labels: bool,
    /// Where names point unless a container says otherwise.
    pub host_ips: Vec<IpAddr>,
    /// TTL of records unless a container says otherwise, in seconds.
    pub ttl: u32,
    /// How long the records of a stopped container are kept.
    pub linger: Duration,
    /// Whether a container with a health check must pass it first.
    pub healthy_only: bool,
    /// Whether addresses get PTR records.
    pub reverse: bool,
    /// How many names one container may have.
    pub max_names: usize,
    /// How often the container list is compared with what events said.
    pub reconcile: Duration,
}

// === impl Config ===

impl Config {
    /// A configuration with the defaults.
    pub fn new(
        layer: LayerId,
        member: Arc<str>,
        endpoint: Endpoint,
        host_ips: Vec<IpAddr>,
    ) -> Self {
        Self {
            layer,
            member,
            endpoint,
            labels: DEFAULT_LABELS.map(str::to_owned).to_vec(),
            traefik_labels: false,
            host_ips,
            ttl: DEFAULT_TTL,
            linger: DEFAULT_LINGER,
            healthy_only: false,
            reverse: false,
            max_names: DEFAULT_MAX_NAMES,
            reconcile: DEFAULT_RECONCILE,
        }
    }
    /// Which labels names come from.
    pub(crate) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            keys: &self.labels,
            rules: self.traefik_labels,
            max_names: self.max_names,
        }
    }
}

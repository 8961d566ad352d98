//! A server block at work.

use std::fmt;
use std::sync::Arc;

use portolan_forward::Resolver;
use portolan_proto::Name;
use portolan_proto::Qname;

use crate::ErrorLog;
use crate::LoadBalance;
use crate::LocalLayer;
use crate::LookupLog;
use crate::QueryLog;
use crate::metrics::BlockMetrics;

/// One server block: its stages, in the order in which they are tried.
#[derive(Debug)]
pub struct Block {
    /// Apex of the zone whose name metrics carry: the longest key.
    pub zone: Name,
    /// `hosts`, `docker-cluster`, `traefik-externals`, one after another.
    pub local: Vec<LocalLayer>,
    /// `cache` and `forward`.
    pub resolver: Option<Resolver>,
    /// `whoami`.
    pub whoami: bool,
    /// Order of addresses in answers from upstreams.
    pub loadbalance: Option<LoadBalance>,
    /// What watches the block.
    pub hooks: Hooks,
}

/// What watches a block.
#[derive(Clone, Default)]
pub struct Hooks {
    /// `log`.
    pub log: Option<Arc<dyn QueryLog>>,
    /// `errors`.
    pub errors: Option<Arc<dyn ErrorLog>>,
    /// `prometheus`.
    pub metrics: Option<Arc<BlockMetrics>>,
    /// Directives that count what they know.
    pub lookups: Option<Arc<dyn LookupLog>>,
}

// === impl Block ===

impl Block {
    /// Whether the block answers anything.
    pub(crate) fn has_handler(&self) -> bool {
        !self.local.is_empty() || self.resolver.is_some() || self.whoami
    }

    /// Whether a name is resolved elsewhere, if no local source knows it.
    pub(crate) fn claims(&self, qname: &Qname) -> bool {
        let resolver = self.resolver.as_ref();
        resolver.is_some_and(|resolver| resolver.claims(qname))
    }

    /// Whether names are resolved elsewhere, too.
    pub(crate) fn recursion_available(&self) -> bool {
        self.resolver.is_some()
    }
}

// === impl Hooks ===

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("log", &self.log.is_some())
            .field("errors", &self.errors.is_some())
            .field("metrics", &self.metrics.is_some())
            .field("lookups", &self.lookups.is_some())
            .finish()
    }
}

//! Which server block a query belongs to.

use std::sync::Arc;

use portolan_proto::Name;
use portolan_proto::Qname;
use portolan_proto::Rtype;

use crate::Block;
use crate::metrics::BlockMetrics;

/// The zones of one listener and the blocks that serve them.
#[derive(Debug, Default)]
pub struct Routing {
    /// Longest zone first, so that the first match is the closest.
    zones: Vec<(Name, Arc<Block>)>,
    /// Counts the queries that belong to no block.
    unrouted: Option<Arc<BlockMetrics>>,
}

// === impl Routing ===

impl Routing {
    /// Routes each zone to its block.
    pub fn new(
        zones: impl IntoIterator<Item = (Name, Arc<Block>)>,
        unrouted: Option<Arc<BlockMetrics>>,
    ) -> Self {
        let mut zones: Vec<_> = zones.into_iter().collect();
        zones.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.label_count()));
        Self { zones, unrouted }
    }

    /// The zone that is closest to `qname`, and its block. A DS query belongs
    /// to the parent side of a zone cut (RFC 4035 §3.1.4.1), so it goes to
    /// the shortest zone but the root.
    pub(crate) fn find(&self, qname: &Qname, qtype: Rtype) -> Option<(&Name, &Arc<Block>)> {
        let mut matching =
            self.zones.iter().filter(|(zone, _)| qname.is_within(zone)).map(|(z, b)| (z, b));
        if qtype != Rtype::DS {
            return matching.next();
        }
        let mut last = None;
        for found in matching {
            if found.0.is_root() && last.is_some() {
                break;
            }
            last = Some(found);
        }
        last
    }

    /// What counts a query that belongs to no block.
    pub(crate) fn unrouted(&self) -> Option<&BlockMetrics> {
        self.unrouted.as_deref()
    }
}

//! Which server block a query belongs to.

use std::sync::Arc;

use portolan_proto::Name;
use portolan_proto::Qname;
use portolan_proto::Rtype;

use crate::Block;
use crate::Hooks;
use crate::SocketOptions;
use crate::metrics::BlockMetrics;

/// The zones of one listener and the blocks that serve them.
#[derive(Debug, Default)]
pub struct Routing {
    /// Longest zone first, so that the first match is the closest.
    zones: Vec<(Name, Arc<Block>)>,
    /// What watches the queries that belong to no block: metrics, perhaps.
    unrouted: Hooks,
    /// The sockets of the listener.
    sockets: SocketOptions,
}

// === impl Routing ===

impl Routing {
    /// Routes each zone to its block. `unrouted` counts the queries that
    /// belong to none.
    pub fn new(
        zones: impl IntoIterator<Item = (Name, Arc<Block>)>,
        unrouted: Option<Arc<BlockMetrics>>,
    ) -> Self {
        let mut zones: Vec<_> = zones.into_iter().collect();
        zones.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.label_count()));
        let unrouted = Hooks {
            metrics: unrouted,
            ..Hooks::default()
        };
        Self {
            zones,
            unrouted,
            sockets: SocketOptions::default(),
        }
    }

    /// The same, on other sockets than the default ones.
    pub fn on(self, sockets: SocketOptions) -> Self {
        Self { sockets, ..self }
    }

    /// The sockets of the listener.
    pub(crate) fn sockets(&self) -> SocketOptions {
        self.sockets
    }

    /// The zone that is closest to `qname`, and its block. A DS query belongs
    /// to the parent side of a zone cut (RFC 4035 §3.1.4.1), so it goes to
    /// the shortest zone but the root.
    #[inline]
    pub(crate) fn find(&self, qname: &Qname, qtype: Rtype) -> Option<(&Name, &Arc<Block>)> {
        let mut matching = self
            .zones
            .iter()
            .filter(|(zone, _)| qname.is_within(zone))
            .map(|(z, b)| (z, b));
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

    /// What watches a query that belongs to no block.
    pub(crate) fn unrouted(&self) -> &Hooks {
        &self.unrouted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block;
    use crate::testing::name;

    /// The zone that is found among `zones`.
    fn found(zones: &[&str], qname: &str, qtype: Rtype) -> Option<String> {
        let zones = zones
            .iter()
            .map(|zone| (name(zone), Arc::new(block(Vec::new()))));
        let routing = Routing::new(zones, None);
        routing
            .find(&(&name(qname)).into(), qtype)
            .map(|(zone, _)| zone.to_string())
    }

    #[test]
    fn the_closest_zone_answers() {
        let zones = ["example.org", ".", "b.example.org", "org"];
        for (qname, zone) in [
            ("a.b.example.org", "b.example.org."),
            ("B.EXAMPLE.org", "b.example.org."),
            ("ab.example.org", "example.org."),
            ("bexample.org", "org."),
            ("example.net", "."),
            (".", "."),
        ] {
            assert_eq!(
                found(&zones, qname, Rtype::A).as_deref(),
                Some(zone),
                "{qname}"
            );
        }
    }

    #[test]
    fn a_name_outside_all_zones_is_nobodys() {
        assert_eq!(found(&["example.org"], "example.net", Rtype::A), None);
        assert_eq!(found(&["example.org"], "example.net", Rtype::DS), None);
        assert_eq!(found(&[], "example.net", Rtype::A), None);
    }

    #[test]
    fn ds_belongs_to_the_parent() {
        for (zones, zone) in [
            (&[".", "org", "example.org", "a.example.org"][..], "org."),
            (&["example.org", "a.example.org"], "example.org."),
            (&[".", "a.example.org"], "a.example.org."),
            (&[".", "example.net"], "."),
        ] {
            let found = found(zones, "a.example.org", Rtype::DS);
            assert_eq!(found.as_deref(), Some(zone), "{zones:?}");
        }
    }

    #[test]
    fn of_equal_zones_the_first_answers() {
        let (first, second) = (Arc::new(block(Vec::new())), Arc::new(block(Vec::new())));
        let zones = [(Name::root(), Arc::clone(&first)), (Name::root(), second)];
        let routing = Routing::new(zones, None);
        let (_, block) = routing.find(&(&Name::root()).into(), Rtype::A).unwrap();
        assert!(Arc::ptr_eq(block, &first));
    }
}

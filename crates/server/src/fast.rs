//! The short way from an ordinary query to the answer about a local name.
//!
//! It decides nothing of its own: block, layers and records are found by the
//! functions that [`handle`] uses, and what is not answered here goes there,
//! from the start and with nothing counted. The tests hold the two ways
//! against each other.
//!
//! [`handle`]: crate::handle::handle

use std::net::IpAddr;

use portolan_proto::Ordinary;
use portolan_proto::Qname;
use portolan_proto::Rcode;
use portolan_proto::ResponseHead;
use portolan_proto::Rtype;
use portolan_table::Snapshot;

use crate::Routing;
use crate::handle::Shared;
use crate::local;
use crate::local::End;
use crate::local::Local;
use crate::tally::Count;
use crate::tally::Tallies;
use crate::writer::UDP_PAYLOAD;

/// What a worker keeps at hand from query to query.
pub(crate) struct Desk {
    /// The name of the query in hand, in lower case.
    pub(crate) qname: Qname,
    /// The response to it, where it has to be written apart.
    pub(crate) response: Vec<u8>,
    /// What is counted.
    pub(crate) tallies: Tallies,
}

/// What is there for a batch of queries.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    /// What all listeners share.
    pub(crate) shared: &'a Shared,
    /// Which block answers.
    pub(crate) routing: &'a Routing,
    /// The record table.
    pub(crate) snapshot: &'a Snapshot,
}

// === impl Desk ===

impl Default for Desk {
    fn default() -> Self {
        Self {
            qname: Qname::default(),
            response: Vec::with_capacity(RESPONSE),
            tallies: Tallies::default(),
        }
    }
}

// === impl Batch ===

impl Batch<'_> {
    /// Answers a message that came over UDP, and appends the response to `out`.
    /// If it says that it did not, nothing was appended or counted.
    #[inline]
    pub(crate) fn answer(
        &self,
        message: &[u8],
        client: IpAddr,
        desk: &mut Desk,
        out: &mut Vec<u8>,
    ) -> bool {
        let Desk { qname, tallies, .. } = desk;
        let Some(query) = Ordinary::read(message, qname) else {
            return false;
        };
        let Some((_, block)) = self.routing.find(qname, query.qtype) else {
            return false;
        };
        // Those who watch single queries get the whole of them, transfers are
        // refused, and an order of addresses is a matter of its own.
        let is_plain = block.hooks.log.is_none() && block.loadbalance.is_none();
        if !is_plain || matches!(query.qtype, Rtype::AXFR | Rtype::IXFR) {
            return false;
        }
        let found = local::look_up(&block.local, self.snapshot, qname, query.qtype);
        let Local::Known {
            layer,
            chain,
            end: End::Answer(set),
        } = found
        else {
            return false;
        };
        let count = set.len();
        if !chain.is_empty() || set.as_wire().len() + 2 * count > query.room(UDP_PAYLOAD) {
            return false;
        }
        let head = ResponseHead {
            authoritative: true,
            recursion_available: block.recursion_available(),
            ..ResponseHead::new(Rcode::NOERROR)
        };
        let start = out.len();
        if count == 1 {
            query.answer(out, head, [set.record(0)], UDP_PAYLOAD);
        } else {
            let turn = self.shared.rotation.turn(qname, query.qtype);
            query.answer(out, head, set.rotated(turn), UDP_PAYLOAD);
        }
        if let Some(lookups) = &block.hooks.lookups {
            lookups.looked_up(query.qtype, Some(layer.plugin));
        }
        if let Some(metrics) = &block.hooks.metrics {
            let count = Count {
                v6: client.is_ipv6(),
                qtype: query.qtype,
                dnssec_ok: query.dnssec_ok(),
                request: message.len(),
                response: out.len() - start,
                rcode: Some(Rcode::NOERROR),
                plugin: layer.plugin,
            };
            tallies.observe(metrics, count);
        }
        true
    }
}

/// Room for a response, in octets. Those over UDP are shorter.
const RESPONSE: usize = 4096;

#[cfg(test)]
mod tests;

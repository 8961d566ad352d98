//! The short way from an ordinary query to the answer about a local name, or to
//! the upstreams that are to be asked about another one.
//!
//! It decides nothing of its own: block, layers and records are found by the
//! functions that [`handle`] uses, and what is neither answered here nor for
//! upstreams goes there, from the start and with nothing counted. The tests hold
//! the two ways against each other.
//!
//! Queries that arrived together are read together first ([`Batch::read`]), so
//! that their names wait for memory together.
//!
//! [`handle`]: crate::handle::handle

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;

use portolan_forward::Question;
use portolan_proto::Ordinary;
use portolan_proto::Qname;
use portolan_proto::Rcode;
use portolan_proto::ResponseHead;
use portolan_proto::ResponseWriter;
use portolan_proto::RrsetRef;
use portolan_proto::Rtype;
use portolan_table::Holdings;
use portolan_table::Snapshot;

use crate::Block;
use crate::Routing;
use crate::handle::Shared;
use crate::local;
use crate::local::End;
use crate::local::Local;
use crate::local::LocalLayer;
use crate::tally::Count;
use crate::tally::Tallies;
use crate::writer::Negative;
use crate::writer::UDP_PAYLOAD;

/// What a worker keeps at hand from batch to batch.
pub(crate) struct Desk {
    /// The names of the queries in hand, in lower case.
    pub(crate) qnames: Box<[Qname; AHEAD]>,
    /// A response, where it has to be written apart.
    pub(crate) response: Vec<u8>,
    /// What was looked for in the cache, and upstreams are asked if it was not
    /// there.
    pub(crate) missed: Option<Question>,
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

/// Queries that have been read together; `None` is no ordinary one.
pub(crate) struct Ahead<'m, 's> {
    /// The queries.
    queries: [Option<Ordinary<'m>>; AHEAD],
    /// What the names of each hold.
    holdings: [Holdings<'s>; AHEAD],
}

/// One query that has been read.
#[derive(Clone, Copy)]
pub(crate) struct Read<'r, 'm, 's> {
    /// The query.
    query: &'r Ordinary<'m>,
    /// Its name.
    qname: &'r Qname,
    /// What the name holds.
    holdings: Holdings<'s>,
}

/// Where the short way leads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate<'b> {
    /// To a response, which is counted.
    Response,
    /// To the upstreams of a block. That no local source knows the name is
    /// counted.
    Upstreams(&'b Arc<Block>),
    /// Nowhere. Nothing is counted.
    None,
}

/// Queries that are read together at most.
pub(crate) const AHEAD: usize = 32;

// === impl Desk ===

impl Default for Desk {
    fn default() -> Self {
        Self {
            qnames: Box::new([Qname::default(); AHEAD]),
            response: Vec::with_capacity(RESPONSE),
            missed: None,
            tallies: Tallies::default(),
        }
    }
}

// === impl Batch ===

impl<'a> Batch<'a> {
    /// Reads what is ordinary among some messages, [`AHEAD`] at most, and
    /// finds the names in the table.
    #[inline]
    pub(crate) fn read<'m>(
        &self,
        messages: impl Iterator<Item = &'m [u8]>,
        qnames: &mut [Qname; AHEAD],
    ) -> Ahead<'m, 'a> {
        let mut queries = [None; AHEAD];
        let mut holdings = [Holdings::default(); AHEAD];
        let mut count = 0;
        let places = queries.iter_mut().zip(qnames.iter_mut());
        for_each(messages.zip(places), |(message, (query, qname))| {
            count += 1;
            *query = Ordinary::read(message, qname);
        });
        let mut names = [&[][..]; AHEAD];
        for ((name, qname), query) in names.iter_mut().zip(qnames.iter()).zip(&queries) {
            if query.is_some() {
                *name = qname.as_wire();
            }
        }
        let names = names.get(..count).unwrap_or_default();
        let mut is_found = false;
        for_each(std::iter::once(names), |names| {
            self.snapshot.find_all(names, &mut holdings);
            is_found = true;
        });
        if !is_found {
            queries = [None; AHEAD];
        }
        Ahead { queries, holdings }
    }

    /// Answers a query that came over UDP, and appends the response to `out`.
    /// Where it leads elsewhere, nothing was appended.
    #[inline]
    pub(crate) fn answer(
        &self,
        read: Read<'_, '_, '_>,
        size: usize,
        client: IpAddr,
        tallies: &mut Tallies,
        out: &mut Vec<u8>,
    ) -> Fate<'a> {
        let Read { query, qname, .. } = read;
        let Some((_, block)) = self.routing.find(qname, query.qtype) else {
            return Fate::None;
        };
        // Those who watch single queries get the whole of them, transfers are
        // refused, and an order of addresses is a matter of its own.
        let is_plain = block.hooks.log.is_none() && block.loadbalance.is_none();
        if !is_plain || matches!(query.qtype, Rtype::AXFR | Rtype::IXFR) {
            return Fate::None;
        }
        let found = local::look_up(
            &block.local,
            self.snapshot,
            || read.holdings,
            qname,
            query.qtype,
        );
        let start = out.len();
        let head = ResponseHead {
            authoritative: true,
            recursion_available: block.recursion_available(),
            ..ResponseHead::new(Rcode::NOERROR)
        };
        let (layer, rcode) = match &found {
            Local::Known { layer, chain, end } if chain.is_empty() => match end {
                End::Answer(set) if self.tell(read, *set, head, out) => (*layer, Rcode::NOERROR),
                End::NoData if self.deny(read, layer, head, out) => (*layer, Rcode::NOERROR),
                _ => return Fate::None,
            },
            Local::Unknown { layer, exists } => match layer.denial(*exists) {
                Some(rcode) if self.deny(read, layer, ResponseHead { rcode, ..head }, out) => {
                    (*layer, rcode)
                }
                _ => return Fate::None,
            },
            Local::Next if block.claims(qname) => {
                Self::count_lookup(block, query.qtype, &found);
                return Fate::Upstreams(block);
            }
            Local::Known { .. } | Local::Next => return Fate::None,
        };
        Self::count_lookup(block, query.qtype, &found);
        if let Some(metrics) = &block.hooks.metrics {
            let count = Count {
                v6: client.is_ipv6(),
                qtype: query.qtype,
                dnssec_ok: query.dnssec_ok(),
                request: size,
                response: out.len() - start,
                rcode: Some(rcode),
                plugin: layer.plugin,
                duration: None,
            };
            tallies.observe(metrics, count);
        }
        Fate::Response
    }

    /// Counts what local sources know.
    #[inline]
    fn count_lookup(block: &Block, qtype: Rtype, found: &Local<'_>) {
        if let Some(lookups) = &block.hooks.lookups {
            lookups.looked_up(qtype, found.plugin());
        }
    }

    /// Appends a response of one RRset, if it fits.
    #[inline]
    fn tell(
        &self,
        Read { query, qname, .. }: Read<'_, '_, '_>,
        set: RrsetRef<'_>,
        head: ResponseHead,
        out: &mut Vec<u8>,
    ) -> bool {
        let count = set.len();
        if set.as_wire().len() + 2 * count > query.room(UDP_PAYLOAD) {
            return false;
        }
        if count == 1 {
            query.answer(out, head, [set.as_wire()], UDP_PAYLOAD);
        } else {
            let turn = self.shared.rotation.turn(qname, query.qtype);
            query.answer(out, head, set.rotated(turn), UDP_PAYLOAD);
        }
        true
    }

    /// Appends a response that says no, if it fits.
    #[inline]
    fn deny(
        &self,
        Read { query, qname, .. }: Read<'_, '_, '_>,
        layer: &LocalLayer,
        head: ResponseHead,
        out: &mut Vec<u8>,
    ) -> bool {
        let negative = Negative::about(qname, layer, self.snapshot.serial());
        let soa = negative.soa(ResponseWriter::QNAME);
        let fits = soa.wire_len() <= query.room(UDP_PAYLOAD);
        if fits {
            query.deny(out, head, soa, UDP_PAYLOAD);
        }
        fits
    }
}

// === impl Ahead ===

impl<'m, 's> Ahead<'m, 's> {
    /// The queries, with their names; `qnames` is what they were read into.
    #[inline]
    pub(crate) fn queries<'r>(
        &'r self,
        qnames: &'r [Qname; AHEAD],
    ) -> impl Iterator<Item = Option<Read<'r, 'm, 's>>> {
        let queries = self.queries.iter().zip(qnames).zip(&self.holdings);
        queries.map(|((query, qname), holdings)| {
            query.as_ref().map(|query| Read {
                query,
                qname,
                holdings: *holdings,
            })
        })
    }
}

/// Acts on each of some items. One that trips over a defect must not end the
/// worker, nor the others; the panic hook counts and logs it.
#[inline]
pub(crate) fn for_each<T>(mut items: impl Iterator<Item = T>, mut act: impl FnMut(T)) {
    while catch_unwind(AssertUnwindSafe(|| items.by_ref().for_each(&mut act))).is_err() {}
}

/// Room for a response, in octets. Those over UDP are shorter.
const RESPONSE: usize = 4096;

#[cfg(test)]
mod tests;

//! From a message to its response, or to what has to be asked elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use portolan_forward::Answer;
use portolan_forward::Known;
use portolan_forward::Question;
use portolan_forward::Resolver;
use portolan_forward::Transport as UpstreamTransport;
use portolan_proto::Class;
use portolan_proto::Ede;
use portolan_proto::Flags;
use portolan_proto::OPTION_TCP_KEEPALIVE;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::ReadError;
use portolan_proto::ResponseWriter;
use portolan_proto::Rrset;
use portolan_proto::RrsetRef;
use portolan_proto::Rtype;
use portolan_table::Snapshot;
use portolan_table::Table;

use crate::Block;
use crate::Event;
use crate::Families;
use crate::Hooks;
use crate::Routing;
use crate::Transport;
use crate::UnknownAction;
use crate::local;
use crate::local::End;
use crate::local::Local;
use crate::local::LocalLayer;
use crate::pending::Pending;
use crate::relay;
use crate::rotation::Rotation;
use crate::tally::Count;
use crate::tally::Tallies;
use crate::whoami;
use crate::writer;
use crate::writer::Frame;
use crate::writer::Negative;
use crate::writer::UDP_PAYLOAD;

/// What all listeners share while they answer.
pub(crate) struct Shared {
    /// The record table.
    pub(crate) table: Arc<Table>,
    /// What is counted.
    pub(crate) families: Families,
    /// Which address is first in which answer.
    pub(crate) rotation: Rotation,
}

/// A message and where it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    /// The octets.
    pub(crate) message: &'a [u8],
    /// Who sent them.
    pub(crate) client: SocketAddr,
    /// Address and port they were sent to.
    pub(crate) local: SocketAddr,
    /// How they came.
    pub(crate) transport: Transport,
    /// Idle time of the connection in units of 100 ms.
    pub(crate) tcp_idle: u16,
    /// When they were read.
    pub(crate) now: Instant,
}

/// What became of a message.
#[derive(Debug)]
pub(crate) enum Step {
    /// The response is in the buffer.
    Respond,
    /// There is no response.
    Silent,
    /// An upstream has to be asked; what, is in the buffer for questions, if the
    /// cache is known to have no answer to it.
    Resolve(Box<Pending>),
}

/// One decision of a block: who answered, with which code.
struct Outcome {
    /// Directive that answered.
    plugin: &'static str,
    /// Code of the response, which is in the buffer; `None` for silence.
    rcode: Option<Rcode>,
    /// What to tell the error log.
    error: Option<&'static str>,
}

/// What the stages of a block look at.
struct Stages<'a> {
    /// What all listeners share.
    shared: &'a Shared,
    /// The record table, as it is for all queries of a batch.
    snapshot: &'a Snapshot,
    /// The block.
    block: &'a Arc<Block>,
    /// The query.
    query: &'a Query<'a>,
    /// Where it came from.
    received: &'a Received<'a>,
    /// What the response has beyond its records.
    frame: Frame<'a>,
}

/// Handles one message, up to what needs an upstream.
pub(crate) fn handle(
    shared: &Shared,
    routing: &Routing,
    snapshot: &Snapshot,
    received: &Received<'_>,
    out: &mut Vec<u8>,
    missed: &mut Option<Question>,
    tallies: Option<&mut Tallies>,
) -> Step {
    *missed = None;
    let query = match Query::read(received.message) {
        Ok(query) => query,
        Err(error) => {
            shared.families.malformed.inc();
            return match error {
                ReadError::Ignore => Step::Silent,
                ReadError::Answer { id, flags, rcode } => {
                    ResponseWriter::bare(out, id, flags, rcode);
                    Step::Respond
                }
            };
        }
    };
    let block = routing.find(&query.qname, query.qtype);
    let block = block.map(|(_, block)| block);
    let mut refuse = |rcode| {
        let frame = Frame {
            recursion_available: block.is_some_and(|block| block.recursion_available()),
            ..frame(&query, received)
        };
        writer::empty(out, &query, &frame, rcode, false);
        Ok(Outcome::answered("", rcode))
    };
    let decision = match block {
        // RFC 6891 §6.1.3: version 0 is what we speak, whatever is asked.
        _ if query.edns.is_some_and(|edns| edns.version != 0) => refuse(Rcode::BADVERS),
        None => refuse(Rcode::REFUSED),
        Some(block) => Stages::new(shared, snapshot, block, &query, received).run(out, missed),
    };
    match decision {
        Ok(outcome) => {
            let hooks = block.map_or_else(|| routing.unrouted(), |block| &block.hooks);
            outcome.report(hooks, tallies, &query, received, out);
            if outcome.rcode.is_some() {
                Step::Respond
            } else {
                Step::Silent
            }
        }
        Err(pending) => Step::Resolve(pending),
    }
}

/// Handles an ordinary query that the short way has found to be for the
/// upstreams of a block: answers from the cache, or has them asked.
pub(crate) fn forward(
    shared: &Shared,
    snapshot: &Snapshot,
    block: &Arc<Block>,
    received: &Received<'_>,
    out: &mut Vec<u8>,
    missed: &mut Option<Question>,
    tallies: &mut Tallies,
) -> Step {
    // It is large, and stays where it is read.
    let query = Query::read(received.message);
    let (Ok(query), Some(resolver)) = (&query, &block.resolver) else {
        // An ordinary query is a query: neither is so.
        shared.families.malformed.inc();
        return Step::Silent;
    };
    let stages = Stages::new(shared, snapshot, block, query, received);
    match stages.forward(resolver, out, missed) {
        Ok(outcome) => {
            outcome.report(&block.hooks, Some(tallies), query, received, out);
            Step::Respond
        }
        Err(pending) => Step::Resolve(pending),
    }
}

/// What a response to `query` has beyond its records.
pub(crate) fn frame<'a>(query: &Query<'_>, received: &Received<'_>) -> Frame<'a> {
    let tcp = received.transport == Transport::Tcp;
    // RFC 7828 §3.2.1: over TCP only, and only to a client that sent it.
    let keepalive = tcp
        && query
            .edns
            .is_some_and(|edns| edns.options.find(OPTION_TCP_KEEPALIVE).is_some());
    Frame {
        limit: if tcp {
            usize::from(u16::MAX)
        } else {
            query.udp_limit(UDP_PAYLOAD)
        },
        recursion_available: false,
        tcp_keepalive: keepalive.then_some(received.tcp_idle),
        ede: None,
    }
}

// === impl Stages ===

impl<'a> Stages<'a> {
    /// The stages of a block, for a query.
    fn new(
        shared: &'a Shared,
        snapshot: &'a Snapshot,
        block: &'a Arc<Block>,
        query: &'a Query<'a>,
        received: &'a Received<'a>,
    ) -> Self {
        Self {
            shared,
            snapshot,
            block,
            query,
            received,
            frame: Frame {
                recursion_available: block.recursion_available(),
                ..frame(query, received)
            },
        }
    }

    /// Runs the stages in order.
    fn run(
        &self,
        out: &mut Vec<u8>,
        missed: &mut Option<Question>,
    ) -> Result<Outcome, Box<Pending>> {
        let query = self.query;
        if !self.block.has_handler() || matches!(query.qtype, Rtype::AXFR | Rtype::IXFR) {
            return Ok(self.empty(out, "", Rcode::REFUSED));
        }
        let internet = query.qclass == Class::IN;
        if internet && let Some(done) = self.local(self.snapshot, out) {
            return done;
        }
        if let Some(resolver) = &self.block.resolver
            && resolver.claims(&query.qname)
        {
            return self.forward(resolver, out, missed);
        }
        if !internet {
            return Ok(self.empty(out, "", Rcode::REFUSED));
        }
        if self.block.whoami {
            let Received {
                client, transport, ..
            } = *self.received;
            whoami::respond(out, query, &self.frame, client, transport);
            return Ok(Outcome::answered("whoami", Rcode::NOERROR));
        }
        Ok(Outcome {
            error: Some("no next plugin found"),
            ..self.empty(out, "", Rcode::SERVFAIL)
        })
    }

    /// Answers from the record table; `None` goes on to the next stage.
    fn local(
        &self,
        snapshot: &Snapshot,
        out: &mut Vec<u8>,
    ) -> Option<Result<Outcome, Box<Pending>>> {
        let Query { qname, qtype, .. } = self.query;
        let find = || snapshot.find(qname.as_wire());
        let found = local::look_up(&self.block.local, snapshot, find, qname, *qtype);
        if let Some(lookups) = &self.block.hooks.lookups {
            lookups.looked_up(*qtype, found.plugin());
        }
        match found {
            Local::Known { layer, chain, end } => {
                Some(self.known(snapshot, layer, &chain, end, out))
            }
            Local::Unknown { layer, exists } => {
                Some(Ok(self.unknown(snapshot, layer, exists, out)))
            }
            Local::Next => None,
        }
    }

    /// Answers about a known name.
    fn known(
        &self,
        snapshot: &Snapshot,
        layer: &LocalLayer,
        chain: &[RrsetRef<'_>],
        end: End<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, Box<Pending>> {
        let (query, frame) = (self.query, &self.frame);
        match end {
            End::Answer(set) => {
                let order = self.block.loadbalance.as_ref();
                let turn = if set.len() > 1 {
                    self.shared.rotation.turn(&query.qname, query.qtype)
                } else {
                    0
                };
                writer::positive(out, query, frame, chain, Some(set), order, turn);
            }
            End::NoData => {
                let absent = chain.last().and_then(|set| set.target());
                let absent = absent.unwrap_or(query.qname);
                let negative = Negative::about(&absent, layer, snapshot.serial());
                writer::negative(out, query, frame, Rcode::NOERROR, chain, negative);
            }
            End::Any => writer::any(out, query, frame),
            End::Outside(target) => {
                let resolver = self.block.resolver.as_ref();
                let resolver = resolver.filter(|resolver| {
                    let qname = (&target).into();
                    resolver.claims(&qname) && resolver.allows(&qname, self.received.client.ip())
                });
                if resolver.is_some() {
                    let chain = chain.iter().map(|set| set.to_rrset()).collect();
                    return Err(self.pending(layer.plugin, chain, Some(&target)));
                }
                writer::positive(out, query, frame, chain, None, None, 0);
            }
            End::Loop => {
                self.shared.families.cname_loops.inc();
                let outcome = self.empty(out, layer.plugin, Rcode::SERVFAIL);
                return Ok(Outcome {
                    error: Some("the chain of aliases does not end"),
                    ..outcome
                });
            }
        }
        Ok(Outcome::answered(layer.plugin, Rcode::NOERROR))
    }

    /// Answers about an unknown name that goes no further.
    fn unknown(
        &self,
        snapshot: &Snapshot,
        layer: &LocalLayer,
        exists: bool,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let rcode = match (layer.denial(exists), layer.unknown) {
            (Some(rcode), _) => rcode,
            (None, UnknownAction::Drop) => {
                return Outcome {
                    plugin: layer.plugin,
                    rcode: None,
                    error: None,
                };
            }
            (None, UnknownAction::ServFail) => {
                let outcome = self.empty(out, layer.plugin, Rcode::SERVFAIL);
                return Outcome {
                    error: Some("no such name, and no next stage"),
                    ..outcome
                };
            }
            (None, _) => return self.empty(out, layer.plugin, Rcode::REFUSED),
        };
        let negative = Negative::about(&self.query.qname, layer, snapshot.serial());
        writer::negative(out, self.query, &self.frame, rcode, &[], negative);
        Outcome::answered(layer.plugin, rcode)
    }

    /// Answers from the cache, or has an upstream asked what it `missed`.
    fn forward(
        &self,
        resolver: &Resolver,
        out: &mut Vec<u8>,
        missed: &mut Option<Question>,
    ) -> Result<Outcome, Box<Pending>> {
        let query = self.query;
        if !resolver.allows(&query.qname, self.received.client.ip()) {
            let frame = self.frame.with_ede(
                Ede::PROHIBITED,
                "this server resolves for its own networks only",
            );
            writer::empty(out, query, &frame, Rcode::REFUSED, false);
            return Ok(Outcome::answered("forward", Rcode::REFUSED));
        }
        let question = missed.get_or_insert_default();
        question.refill(query, upstream_transport(self.received.transport));
        let Some(known) = resolver.known(question, self.received.now) else {
            return Err(self.pending("forward", Vec::new(), None));
        };
        let rcode = match (known, self.block.loadbalance.as_ref()) {
            (Known::Kept(kept), None) => relay::write_kept(out, query, &self.frame, &kept),
            (known, order) => {
                let Answer { message, ede, .. } = known.into_answer(question);
                let rotation = &self.shared.rotation;
                let turn = order.map_or(0, |_| rotation.turn(&query.qname, query.qtype));
                relay::write(out, query, &self.frame, message, ede, order, turn)
            }
        };
        Ok(Outcome::answered("cache", rcode))
    }

    /// The query as something that waits for an upstream.
    fn pending(
        &self,
        plugin: &'static str,
        chain: Vec<Rrset>,
        target: Option<&portolan_proto::Name>,
    ) -> Box<Pending> {
        let block = Arc::clone(self.block);
        let (query, received) = (self.query, self.received);
        Box::new(Pending::new(block, query, received, plugin, chain, target))
    }

    /// Writes a response without records.
    fn empty(&self, out: &mut Vec<u8>, plugin: &'static str, rcode: Rcode) -> Outcome {
        writer::empty(out, self.query, &self.frame, rcode, false);
        Outcome::answered(plugin, rcode)
    }
}

/// The question to ask upstreams.
pub(crate) fn question(query: &Query<'_>, transport: Transport) -> Question {
    Question::from_query(query, upstream_transport(transport))
}

/// How a question travels that came in this way.
fn upstream_transport(transport: Transport) -> UpstreamTransport {
    match transport {
        Transport::Udp => UpstreamTransport::Udp,
        Transport::Tcp => UpstreamTransport::Tcp,
    }
}

// === impl Outcome ===

impl Outcome {
    /// A response that is no error.
    fn answered(plugin: &'static str, rcode: Rcode) -> Self {
        Self {
            plugin,
            rcode: Some(rcode),
            error: None,
        }
    }

    /// Tells metrics and logs.
    fn report(
        &self,
        hooks: &Hooks,
        tallies: Option<&mut Tallies>,
        query: &Query<'_>,
        received: &Received<'_>,
        out: &[u8],
    ) {
        let response = self.rcode.map_or(&[][..], |_| out);
        let mut event = event(query, received, self.plugin, self.rcode, response, None);
        // How long it took is told for the batch, where there is one.
        if tallies.is_none() || hooks.log.is_some() {
            event.duration = elapsed(received.now);
        }
        observe(hooks, &event, self.error, tallies);
    }
}

/// Describes a query and its response. How long it took is not said yet.
pub(crate) fn event<'a>(
    query: &'a Query<'a>,
    received: &Received<'_>,
    plugin: &'static str,
    rcode: Option<Rcode>,
    response: &'a [u8],
    upstream: Option<&'a str>,
) -> Event<'a> {
    let flags = match response.get(2..4) {
        Some([high, low]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    Event {
        query,
        client: received.client,
        local: received.local,
        transport: received.transport,
        rcode,
        flags: Flags(flags),
        response,
        plugin,
        upstream,
        duration: Duration::ZERO,
    }
}

/// Hands an event to what watches the block: to the metrics at once, or with
/// the other tallies of a worker.
pub(crate) fn observe(
    hooks: &Hooks,
    event: &Event<'_>,
    error: Option<&str>,
    tallies: Option<&mut Tallies>,
) {
    match (&hooks.metrics, tallies) {
        (Some(metrics), Some(tallies)) => tallies.observe(metrics, Count::of(event)),
        (Some(metrics), None) => metrics.observe(event),
        (None, _) => {}
    }
    if let (Some(errors), Some(error)) = (&hooks.errors, error) {
        errors.report(event.query, event.rcode.unwrap_or(Rcode::SERVFAIL), error);
    }
    if let Some(log) = &hooks.log {
        log.log(event);
    }
}

/// Time since a message was read.
#[expect(
    clippy::disallowed_methods,
    reason = "the duration of a query is read off the clock"
)]
pub(crate) fn elapsed(since: Instant) -> Duration {
    Instant::now().saturating_duration_since(since)
}

#[cfg(test)]
mod tests;

//! A query that waits for an upstream.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use portolan_forward::Answer;
use portolan_forward::Asker;
use portolan_forward::Failure;
use portolan_forward::Question;
use portolan_forward::Resolver;
use portolan_forward::Unfinished;
use portolan_proto::HEADER_LEN;
use portolan_proto::Name;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::Rrset;
use smallvec::SmallVec;

use crate::Block;
use crate::Event;
use crate::Transport;
use crate::handle;
use crate::handle::Received;
use crate::handle::Shared;
use crate::relay;
use crate::tally::Tallies;
use crate::udp::now;
use crate::writer;
use crate::writer::Frame;

/// A query, copied out of the buffer it was read into.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The block it belongs to.
    block: Arc<Block>,
    /// The message.
    message: SmallVec<[u8; MESSAGE]>,
    /// Octets of its question.
    question_len: usize,
    /// Who sent it.
    client: SocketAddr,
    /// Where it was sent to.
    local: SocketAddr,
    /// How it came.
    transport: Transport,
    /// Idle time of its connection in units of 100 ms.
    tcp_idle: u16,
    /// When it was read.
    received_at: Instant,
    /// Directive that answers.
    plugin: &'static str,
    /// Local CNAMEs that lead to `target`.
    chain: Vec<Rrset>,
    /// The name to ask for, if it is not the query's own.
    target: Option<Name>,
}

// === impl Pending ===

impl Pending {
    /// Copies a query.
    pub(crate) fn new(
        block: Arc<Block>,
        query: &Query<'_>,
        received: &Received<'_>,
        plugin: &'static str,
        chain: Vec<Rrset>,
        target: Option<&Name>,
    ) -> Self {
        Self {
            block,
            message: SmallVec::from_slice(received.message),
            question_len: query.question.len(),
            client: received.client,
            local: received.local,
            transport: received.transport,
            tcp_idle: received.tcp_idle,
            received_at: received.now,
            plugin,
            chain,
            target: target.cloned(),
        }
    }

    /// Asks the upstreams, or goes on with what a lane has begun, and writes the
    /// response. Thousands may wait here: what can be made anew afterwards is
    /// not kept.
    pub(crate) async fn finish(
        &self,
        shared: &Shared,
        begun: Option<Box<Unfinished>>,
        out: &mut Vec<u8>,
    ) {
        let result = match begun {
            Some(begun) => begun.finish().await,
            None => match self.resolve().await {
                Some(result) => result,
                None => return,
            },
        };
        out.reserve(RESPONSE);
        self.respond(shared, result, now(), None, out);
    }

    /// What the cache or the upstreams say; `None` if there is nothing to ask.
    async fn resolve(&self) -> Option<Result<Answer, Failure>> {
        let resolver = self.block.resolver.as_ref()?;
        let question = Arc::new(self.question()?);
        Some(match resolver.cached(&question, self.received_at) {
            Some(answer) => Ok(answer),
            None => resolver.resolve(&question, self.asker()).await,
        })
    }

    /// Writes the response. `at` is when there was all that it says.
    pub(crate) fn respond(
        &self,
        shared: &Shared,
        result: Result<Answer, Failure>,
        at: Instant,
        tallies: Option<&mut Tallies>,
        out: &mut Vec<u8>,
    ) {
        let Ok(query) = &Query::read(&self.message) else {
            return;
        };
        let frame = Frame {
            recursion_available: true,
            ..handle::frame(query, &self.received())
        };
        match result {
            Ok(answer) => {
                let answered = self.answered(shared, query, &frame, answer, out);
                let (rcode, upstream) = answered;
                let event = self.event(query, rcode, out, upstream.as_deref(), at);
                handle::observe(&self.block.hooks, &event, None, tallies);
            }
            Err(failure) => self.failed(query, &frame, &failure, at, out),
        }
    }

    /// Whom to ask.
    pub(crate) fn resolver(&self) -> Option<&Resolver> {
        self.block.resolver.as_ref()
    }

    /// How many of the places for queries that wait it takes: one, and one more
    /// for each 4 KiB of its message.
    pub(crate) fn places(&self) -> usize {
        places(self.message.len())
    }

    /// When it was read.
    pub(crate) fn received_at(&self) -> Instant {
        self.received_at
    }

    /// Who asks.
    pub(crate) fn client(&self) -> IpAddr {
        self.client.ip()
    }

    /// Who asks, and where.
    fn asker(&self) -> Asker {
        Asker {
            client: self.client,
            local: self.local.ip(),
        }
    }

    /// Refuses to wait, or to wait longer: too many queries do.
    pub(crate) fn reject(&self, reason: &str, out: &mut Vec<u8>) {
        let Ok(query) = Query::read(&self.message) else {
            return;
        };
        let frame = Frame {
            recursion_available: true,
            ..handle::frame(&query, &self.received())
        };
        let failure = Failure {
            rcode: Rcode::SERVFAIL,
            ede: None,
            message: reason.to_owned(),
        };
        self.failed(&query, &frame, &failure, now(), out);
    }

    /// Name, type and class that the query asks for, in wire form.
    pub(crate) fn octets(&self) -> &[u8] {
        let question = HEADER_LEN..HEADER_LEN + self.question_len;
        self.message.get(question).unwrap_or_default()
    }

    /// The question for the upstreams.
    pub(crate) fn question(&self) -> Option<Question> {
        let query = Query::read(&self.message).ok()?;
        let question = handle::question(&query, self.transport);
        Some(match &self.target {
            Some(target) => question.with_name(target),
            None => question,
        })
    }

    /// Passes an answer on. Gives the code of the response, and who gave the
    /// answer.
    fn answered(
        &self,
        shared: &Shared,
        query: &Query<'_>,
        frame: &Frame<'_>,
        answer: Answer,
        out: &mut Vec<u8>,
    ) -> (Rcode, Option<Arc<str>>) {
        let Answer {
            message,
            ede,
            upstream,
            ..
        } = answer;
        let rcode = if self.chain.is_empty() {
            let order = self.block.loadbalance.as_ref();
            let turn = order.map_or(0, |_| shared.rotation.turn(&query.qname, query.qtype));
            relay::write(out, query, frame, message, ede, order, turn)
        } else {
            relay::write_after(out, query, frame, &self.chain, &message, ede)
        };
        (rcode, upstream)
    }

    /// Tells the client that there is no answer.
    fn failed(
        &self,
        query: &Query<'_>,
        frame: &Frame<'_>,
        failure: &Failure,
        at: Instant,
        out: &mut Vec<u8>,
    ) {
        let frame = failure.ede.map_or(*frame, |ede| frame.with_ede(ede, ""));
        writer::empty(out, query, &frame, failure.rcode, false);
        let event = self.event(query, failure.rcode, out, None, at);
        handle::observe(&self.block.hooks, &event, Some(&failure.message), None);
    }

    /// Describes the query and its response. `at` is when there was all that it
    /// says.
    fn event<'a>(
        &self,
        query: &'a Query<'a>,
        rcode: Rcode,
        out: &'a [u8],
        upstream: Option<&'a str>,
        at: Instant,
    ) -> Event<'a> {
        let received = self.received();
        let event = handle::event(query, &received, self.plugin, Some(rcode), out, upstream);
        Event {
            duration: at.saturating_duration_since(self.received_at),
            ..event
        }
    }

    /// Where the query came from.
    fn received(&self) -> Received<'_> {
        Received {
            message: &self.message,
            client: self.client,
            local: self.local,
            transport: self.transport,
            tcp_idle: self.tcp_idle,
            now: self.received_at,
        }
    }
}

/// Places of a query with a message of so many octets.
fn places(octets: usize) -> usize {
    octets / OCTETS_PER_PLACE + 1
}

/// Octets that most queries fit.
const MESSAGE: usize = 80;

/// Octets that most responses fit.
const RESPONSE: usize = 512;

/// A message of so many octets takes a second place.
const OCTETS_PER_PLACE: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_query_takes_the_places_of_many() {
        assert_eq!(places(40), 1);
        assert_eq!(places(4_096), 2);
        assert_eq!(places(65_535), 16);
    }
}

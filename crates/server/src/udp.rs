//! UDP workers: one thread and one socket each.
//!
//! A worker receives what has arrived ([`inbox`]), answers it against one
//! routing and one snapshot of the table, and sends the responses together
//! ([`outbox`]). Nothing is allocated on the way of an ordinary query about a
//! local name, and nothing is waited for. Ordinary questions for upstreams it
//! asks itself ([`Lane`]), and waits for their answers and for queries at once.

mod inbox;
mod outbox;
mod peer;

use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use arc_swap::ArcSwap;
use nix::errno::Errno;
use nix::sys::socket::SockaddrIn;
use nix::sys::socket::SockaddrIn6;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt;
use portolan_datagram::Control;
use portolan_datagram::Local;
use portolan_datagram::send_one;
use portolan_forward::Arrival;
use portolan_forward::Asks;
use portolan_forward::Lane;
use portolan_forward::Question;
use portolan_forward::Resolver;
use portolan_forward::Unfinished;
use tokio_util::sync::CancellationToken;

use crate::Routing;
use crate::Transport;
use crate::fast::AHEAD;
use crate::fast::Batch;
use crate::fast::Desk;
use crate::fast::Fate;
use crate::fast::for_each;
use crate::handle;
use crate::handle::Received;
use crate::handle::Shared;
use crate::handle::Step;
use crate::pending::Pending;
use crate::server::Queries;
use crate::server::Waiting;

use inbox::Inbox;
use inbox::Query;
use outbox::Outbox;
use peer::Peer;

/// Reads one socket and answers what it reads.
pub(crate) struct Worker {
    /// The socket.
    pub(crate) socket: Arc<UdpSocket>,
    /// Where the socket is bound.
    pub(crate) bound: SocketAddr,
    /// Whether the kernel may put datagrams together and cut them up.
    pub(crate) segments: bool,
    /// Which block answers.
    pub(crate) routing: Arc<ArcSwap<Routing>>,
    /// What all listeners share.
    pub(crate) shared: Arc<Shared>,
    /// Where queries wait for upstreams.
    pub(crate) queries: Arc<Queries>,
    /// Ends the worker, once the socket is drained.
    pub(crate) stop: CancellationToken,
}

/// What goes out: responses, and questions to upstreams.
struct Mail<P> {
    /// Responses.
    outbox: Outbox<P>,
    /// Questions.
    lane: Lane<Errand<P>>,
    /// Counts them.
    waiting: Waiting,
    /// Whether no more questions are asked here.
    is_ending: bool,
}

/// A query whose question is under way.
struct Errand<P> {
    /// The query.
    pending: Box<Pending>,
    /// Who sent it.
    peer: P,
    /// The address it was sent to.
    local: Option<Local>,
}

// === impl Errand ===

impl<P> Asks for Errand<P> {
    fn resolver(&self) -> Option<&Resolver> {
        self.pending.resolver()
    }

    fn octets(&self) -> &[u8] {
        self.pending.octets()
    }

    fn question(&self) -> Option<Question> {
        self.pending.question()
    }
}

// === impl Worker ===

impl Worker {
    /// Answers until told to stop.
    pub(crate) fn run(self) {
        match self.bound {
            SocketAddr::V4(_) => self.serve::<SockaddrIn>(),
            SocketAddr::V6(_) => self.serve::<SockaddrIn6>(),
        }
    }

    /// Answers clients of one family.
    fn serve<P: Peer>(&self) {
        // Cache hits may start a refresh on the query runtime.
        let _runtime = self.queries.enter();
        // A kernel without it hands over each datagram by itself.
        let gro = sockopt::UdpGroSegment;
        let coalesced = self.segments && setsockopt(&self.socket, gro, &true).is_ok();
        let mut inbox = Inbox::<P>::new(coalesced);
        let mut desk = Desk::default();
        let mut mail = Mail::<P> {
            outbox: Outbox::new(self.segments),
            lane: Lane::new(),
            waiting: Waiting::new(&self.shared, 0),
            is_ending: false,
        };
        for turn in (0..TURNS).cycle() {
            // Where nobody waits for an upstream, there is nothing else to do.
            let waits = mail.lane.is_idle();
            let received = inbox.receive(&self.socket, waits);
            match received {
                Ok(()) => self.answer_all(&inbox, &mut mail, &mut desk),
                Err(Errno::EAGAIN) if waits && self.stop.is_cancelled() => return,
                // A wake-up, a signal, or an ICMP error about an earlier
                // response: the socket is as good as before.
                Err(_) => {}
            }
            if !mail.lane.is_idle() {
                self.pass_on(&mut mail, received.is_err(), &mut desk);
            }
            mail.waiting.set(mail.lane.waiting());
            if received.is_err() || turn == 0 {
                mail.lane.tidy();
            }
        }
    }

    /// Answers a batch.
    fn answer_all<P: Peer>(&self, inbox: &Inbox<P>, mail: &mut Mail<P>, desk: &mut Desk) {
        let now = now();
        let routing = self.routing.load();
        let snapshot = self.shared.table.load();
        let batch = Batch {
            shared: &self.shared,
            routing: &routing,
            snapshot: &snapshot,
        };
        for queries in inbox.queries().chunks(AHEAD) {
            let messages = queries.iter().map(|query| inbox.octets(query));
            let ahead = batch.read(messages, &mut desk.qnames);
            let Desk {
                qnames,
                response,
                missed,
                tallies,
            } = desk;
            let read = ahead.queries(qnames);
            for_each(queries.iter().zip(read), |(query, read)| {
                let (client, message) = (query.peer.ip(), inbox.octets(query));
                let mut fate = Fate::None;
                if let Some(read) = read {
                    mail.outbox.write(query.peer, query.local, |out| {
                        fate = batch.answer(read, message.len(), client, tallies, out);
                        matches!(fate, Fate::Response)
                    });
                }
                let step = match fate {
                    // It is in the outbox.
                    Fate::Response => Step::Silent,
                    Fate::Upstreams(block) => {
                        let received = self.received(query, message, now);
                        handle::forward(
                            &self.shared,
                            &snapshot,
                            block,
                            &received,
                            response,
                            missed,
                            tallies,
                        )
                    }
                    Fate::None => {
                        let received = self.received(query, message, now);
                        let tallies = Some(&mut *tallies);
                        handle::handle(
                            &self.shared,
                            &routing,
                            &snapshot,
                            &received,
                            response,
                            missed,
                            tallies,
                        )
                    }
                };
                match step {
                    Step::Respond => mail.outbox.push(response, query.peer, query.local),
                    Step::Resolve(pending) => {
                        self.resolve(pending, missed.as_ref(), query, mail);
                    }
                    Step::Silent => {}
                }
                if mail.outbox.is_full() {
                    self.flush(&mut mail.outbox);
                }
            });
        }
        if desk.tallies.has_any() {
            desk.tallies.flush(handle::elapsed(now));
        }
        self.flush(&mut mail.outbox);
    }

    /// Passes on what upstreams have answered; if it `waits`, it does so for the
    /// next answer or query.
    fn pass_on<P: Peer>(&self, mail: &mut Mail<P>, waits: bool, desk: &mut Desk) {
        let Mail {
            outbox,
            lane,
            is_ending,
            ..
        } = mail;
        let Desk {
            response, tallies, ..
        } = desk;
        *is_ending = self.stop.is_cancelled();
        for_each(std::iter::once(()), |()| {
            let each = |errand: Errand<P>, arrival| match arrival {
                Arrival::Answer { answer, at } => {
                    response.clear();
                    let tallies = Some(&mut *tallies);
                    let (pending, shared) = (&errand.pending, &self.shared);
                    pending.respond(shared, Ok(answer), at, tallies, response);
                    outbox.push(response, errand.peer, errand.local);
                    if outbox.is_full() {
                        self.flush(outbox);
                    }
                }
                Arrival::Unfinished(begun) => self.wait(errand, Some(begun)),
            };
            if *is_ending {
                lane.leave_all(each);
            } else {
                lane.poll(waits.then(|| self.socket.as_fd()), each);
            }
        });
        if tallies.has_any() {
            tallies.flush(Duration::ZERO);
        }
        self.flush(outbox);
    }

    /// What there is to know about a query.
    fn received<'a, P: Peer>(
        &self,
        query: &Query<P>,
        message: &'a [u8],
        now: Instant,
    ) -> Received<'a> {
        let ip = query
            .local
            .map_or_else(|| self.bound.ip(), |local| local.ip);
        Received {
            message,
            client: SocketAddr::new(query.peer.ip(), query.peer.to_std().port()),
            local: SocketAddr::new(ip.to_canonical(), self.bound.port()),
            transport: Transport::Udp,
            tcp_idle: 0,
            now,
        }
    }

    /// Has an upstream asked.
    fn resolve<P: Peer>(
        &self,
        pending: Box<Pending>,
        missed: Option<&Question>,
        query: &Query<P>,
        mail: &mut Mail<P>,
    ) {
        let errand = Errand {
            pending,
            peer: query.peer,
            local: query.local,
        };
        let left = match missed {
            Some(question) if !mail.is_ending => mail.lane.ask(question, errand),
            _ => Err(errand),
        };
        if let Err(errand) = left {
            self.wait(errand, None);
        }
    }

    /// Hands a query to the query runtime, and what of it has `begun`.
    fn wait<P: Peer>(&self, errand: Errand<P>, begun: Option<Box<Unfinished>>) {
        let socket = Arc::clone(&self.socket);
        let errors = self.shared.families.send_errors.clone();
        let (peer, local) = (errand.peer.to_std(), errand.local);
        let respond = move |response: &[u8]| {
            if !send(&socket, response, peer, local) {
                errors.inc();
            }
        };
        self.queries
            .spawn(&self.shared, errand.pending, begun, respond);
    }

    /// Sends the responses.
    fn flush<P: Peer>(&self, outbox: &mut Outbox<P>) {
        let lost = outbox.flush(&self.socket);
        if lost > 0 {
            self.shared.families.send_errors.inc_by(lost);
        }
    }
}

/// Batches between two looks for sockets that are not to be used again. There is
/// another one whenever there is nothing to do.
const TURNS: u32 = 1024;

/// Sends one response. Says whether the kernel took it.
fn send(socket: &UdpSocket, response: &[u8], peer: SocketAddr, local: Option<Local>) -> bool {
    let control = Control { local, segment: 0 };
    match peer {
        SocketAddr::V4(v4) => send_one(socket, response, &SockaddrIn::from(v4), control),
        SocketAddr::V6(v6) => send_one(socket, response, &SockaddrIn6::from(v6), control),
    }
}

/// When a message was read.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

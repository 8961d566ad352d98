//! The short way of a question to an upstream: over UDP, from one thread.
//!
//! A [`Lane`] asks for a thread that reads datagrams in batches itself, without
//! a task for each question and without another thread. It asks what is asked
//! in the ordinary way, and ends with an answer that ends the question. It
//! decides nothing of its own: whom to ask, what an answer is and what is kept
//! of it say those that the query runtime asks too. What is not ordinary is
//! not begun here; what is late, or not an answer, goes on there as
//! [`Unfinished`], with the socket, as if it had begun there.
//!
//! Its sockets are its own and used again as [`crate::idle`] tells. One that
//! something has reached while it was idle is closed when its turn comes, or its
//! time is up; until then the kernel keeps what reached it.

mod road;
mod sight;

use std::collections::VecDeque;
use std::hint::black_box;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use nix::sys::epoll::Epoll;
use nix::sys::epoll::EpollCreateFlags;
use nix::sys::epoll::EpollEvent;
use portolan_proto::Message;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use slab::Slab;
use tokio::time::Instant;

use crate::Answer;
use crate::Question;
use crate::Resolver;
use crate::idle::Idle;
use crate::metrics::UpstreamTally;
use crate::question::Hop;
use crate::resolver::Departure;
use crate::resolver::Read;
use crate::resolver::Unfinished;
use crate::sockets::Connected;
use crate::udp::Begun;
use crate::udp::UDP_PAYLOAD;
use crate::upstream::Upstream;
use road::Rest;
use road::Road;
use road::Ticket;

/// Asks upstreams over UDP for one thread. `T` is what belongs to a question.
#[derive(Debug)]
pub struct Lane<T> {
    /// What those of its sockets have to say that are watched; `None` where the
    /// system has no more of these, and everything goes the long way.
    epoll: Option<Epoll>,
    /// Its sockets, by the number that the system tells them by.
    sockets: Slab<Socket>,
    /// Questions without an answer.
    flights: Slab<Flight<T>>,
    /// Those of each upstream.
    roads: Vec<Road>,
    /// Tells a socket from another one that had its place.
    number: u64,
    /// Looks since the last one that waited.
    busy: u32,
    /// Room for a query.
    query: Vec<u8>,
    /// Room for a datagram.
    datagram: Box<[u8; RECEIVE]>,
    /// Room for what the sockets have to say.
    events: Box<[EpollEvent; EVENTS]>,
}

/// What belongs to a question.
pub trait Asks {
    /// Who has it asked.
    fn resolver(&self) -> Option<&Resolver>;

    /// Name, type and class of the question in wire form, spelled as the client
    /// did.
    fn octets(&self) -> &[u8];

    /// All of the question, once more: few answers need it. If there is none,
    /// nobody hears of the item again.
    fn question(&self) -> Option<Question>;
}

/// How a question ends in a lane.
#[derive(Debug)]
pub enum Arrival {
    /// With an answer.
    Answer {
        /// The answer.
        answer: Answer,
        /// When it was there to be read.
        at: std::time::Instant,
    },
    /// Not yet.
    Unfinished(Box<Unfinished>),
}

/// A socket. There are so many that each is new to the processor when its turn
/// comes: it has a cache line to itself.
#[derive(Debug)]
#[repr(align(64))]
struct Socket {
    /// The socket.
    connected: Connected,
    /// Tells it from another one that had its place.
    number: u64,
    /// The place of the question that it waits for the answer to.
    flight: Option<usize>,
    /// Whether the epoll holds it.
    is_watched: bool,
}

/// A question that was sent.
#[derive(Debug)]
struct Flight<T> {
    /// What belongs to it.
    item: T,
    /// The question.
    departure: Departure,
    /// The id of the query.
    id: u16,
    /// When it was sent.
    started: Instant,
    /// How often the upstream had refused a query before.
    refusals: u64,
}

// === impl Lane ===

impl<T: Asks> Lane<T> {
    /// A lane without sockets.
    pub fn new() -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).ok();
        if epoll.is_none() {
            tracing::warn!(
                plugin = "forward",
                "no epoll: every query takes the long way"
            );
        }
        Self {
            epoll,
            sockets: Slab::new(),
            flights: Slab::new(),
            roads: Vec::new(),
            number: 0,
            busy: 0,
            query: Vec::with_capacity(QUERY),
            datagram: Box::new([0; RECEIVE]),
            events: Box::new([EpollEvent::empty(); EVENTS]),
        }
    }

    /// Whether no question waits for an answer.
    pub fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    /// Questions without an answer.
    pub fn waiting(&self) -> usize {
        self.flights.len()
    }

    /// Asks the question of an item, if the cache has no answer to it. Gives back
    /// the item if it is one for [`Resolver::resolve`].
    ///
    /// # Errors
    ///
    /// The item, whose question was not asked.
    pub fn ask(&mut self, question: &Question, item: T) -> Result<(), T> {
        if self.waiting() >= MOST {
            return Err(item);
        }
        debug_assert_eq!(question.octets(), item.octets());
        let now = Instant::now();
        let resolver = item.resolver();
        let Some(departure) = resolver.and_then(|it| it.depart(question, now)) else {
            return Err(item);
        };
        let upstream = departure.first.upstream();
        let id = rand::random();
        self.query.clear();
        question.write_query(&mut self.query, id, Some(UDP_PAYLOAD), Hop::Udp);
        let refusals = upstream.refusals();
        let road = self.road(upstream);
        let sent = self.send(road, upstream, now);
        let socket = sent.and_then(|key| Some((key, self.sockets.get_mut(key)?)));
        let Some(((key, socket), road)) = socket.zip(self.roads.get_mut(road)) else {
            return Err(item);
        };
        departure.begin(question);
        road.tally.sent();
        let ticket = Ticket {
            key,
            number: socket.number,
            uses: socket.connected.uses,
            due: departure.first.due(now),
        };
        road.sent.push_back(ticket);
        if !socket.is_watched {
            road.near.push_back(ticket);
        }
        socket.flight = Some(self.flights.insert(Flight {
            item,
            departure,
            id,
            started: now,
            refusals,
        }));
        // The next one is in the cache of the processor when its turn comes.
        let next = road.idle.next();
        let next = next.and_then(|rest| self.sockets.get(rest.key));
        black_box(next.map(|socket| socket.number));
        Ok(())
    }

    /// Hands what it sees to have arrived, and what is late, to `each`. Waits for
    /// the first of that before, if it is to wait for something to read at a socket
    /// of the thread's own as well, or for a tenth of a second.
    ///
    /// That socket sends all responses. It is in no epoll: poll(2) holds it while
    /// it waits, and no longer.
    pub fn poll(&mut self, wait_for: Option<BorrowedFd<'_>>, mut each: impl FnMut(T, Arrival)) {
        if let Some(socket) = wait_for {
            self.count();
            self.wait(socket, &mut each);
        }
        let now = Instant::now();
        self.read_all(now, &mut each);
        self.leave_late(now, &mut each);
        self.count();
    }

    /// Leaves all questions to others.
    pub fn leave_all(&mut self, mut each: impl FnMut(T, Arrival)) {
        for index in 0..self.roads.len() {
            self.leave_sent(index, &mut each);
        }
        self.count();
    }

    /// Closes some idle sockets that are not to be used again, and forgets
    /// upstreams without any. There may be more: it takes its time.
    pub fn tidy(&mut self) {
        let now = Instant::now();
        for road in &mut self.roads {
            road.forget_answered(&self.sockets);
            for _ in 0..SWEEP {
                match road.idle.pop_invalid(now) {
                    Some(rest) => close(&mut self.sockets, rest),
                    None => break,
                }
            }
        }
        self.roads
            .retain(|road| !road.idle.is_empty() || !road.sent.is_empty());
    }

    /// Adds what was counted to what all count.
    fn count(&self) {
        for road in &self.roads {
            road.tally.flush();
        }
    }

    /// The way to an upstream.
    fn road(&mut self, upstream: &Arc<Upstream>) -> usize {
        let is_it = |road: &Road| Arc::ptr_eq(&road.upstream, upstream);
        self.roads.iter().position(is_it).unwrap_or_else(|| {
            self.roads.push(Road {
                upstream: Arc::clone(upstream),
                idle: Idle::default(),
                voids: upstream.voids(),
                sent: VecDeque::new(),
                near: VecDeque::new(),
                tally: UpstreamTally::new(upstream.metrics()),
            });
            self.roads.len() - 1
        })
    }

    /// Sends the query in hand, from an idle socket or a new one. Gives the
    /// place of the socket.
    fn send(&mut self, road: usize, upstream: &Arc<Upstream>, now: Instant) -> Option<usize> {
        let road = self.roads.get_mut(road)?;
        if road.voids != upstream.voids() {
            road.voids = upstream.voids();
            road.idle.void(now);
        }
        let chosen = road.idle.choose(now);
        let reused = match chosen {
            Some(Ok(rest)) => self.checked(rest),
            Some(Err(rest)) => {
                close(&mut self.sockets, rest);
                None
            }
            None => None,
        };
        let key = match reused {
            Some(key) => key,
            // It could not be kept: that is for those who share theirs.
            None if !upstream.has_room() => return None,
            None => self.open(upstream)?,
        };
        let socket = &mut self.sockets.get_mut(key)?.connected;
        socket.uses += 1;
        if rustix::net::send(&socket.io, &self.query, SendFlags::empty()).is_err() {
            if socket.uses > 1 {
                upstream.void();
            }
            self.sockets.remove(key);
            return None;
        }
        Some(key)
    }

    /// The place of an idle socket, unless something has reached it: whoever sent
    /// that may have laid in a guess. Then it is closed.
    fn checked(&mut self, rest: Rest) -> Option<usize> {
        let socket = self.sockets.get(rest.key);
        let socket = socket.filter(|_| rest.is_of(&self.sockets))?;
        let (io, room) = (&socket.connected.io, &mut self.datagram[..]);
        let received = rustix::net::recv(io, room, RecvFlags::empty());
        if matches!(received, Err(Errno::AGAIN)) {
            return Some(rest.key);
        }
        self.sockets.remove(rest.key);
        None
    }

    /// Opens a socket. Gives its place.
    fn open(&mut self, upstream: &Upstream) -> Option<usize> {
        // There would be no watching it.
        self.epoll.as_ref()?;
        let connected = upstream.connect().ok()?;
        self.number += 1;
        Some(self.sockets.insert(Socket {
            connected,
            number: self.number,
            flight: None,
            is_watched: false,
        }))
    }

    /// Reads a socket. Says whether its question no longer waits on it.
    fn read(&mut self, key: usize, now: Instant, each: &mut impl FnMut(T, Arrival)) -> bool {
        let Some(socket) = self.sockets.get_mut(key) else {
            return true;
        };
        let flight = socket.flight.and_then(|place| self.flights.get(place));
        let Some(flight) = flight else {
            // Whoever sent this may have laid in more.
            self.sockets.remove(key);
            return true;
        };
        let (io, room) = (&socket.connected.io, &mut self.datagram[..]);
        let received = rustix::net::recv(io, room, RecvFlags::empty());
        let arrived = match received.map_err(io::Error::from) {
            Ok((length, _)) => {
                let datagram = self.datagram.get(..length).unwrap_or_default();
                match flight
                    .departure
                    .read(flight.item.octets(), datagram, flight.id)
                {
                    Read::Answer(message) => {
                        self.arrive(key, message, now, each);
                        return true;
                    }
                    Read::Stray => return false,
                    Read::Other => Ok(datagram.to_vec()),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => Err(error),
        };
        let is_refusal = arrived.is_err();
        let upstream = Arc::clone(flight.departure.first.upstream());
        self.leave(key, Some(arrived), each);
        // What that upstream was sent meanwhile may be in vain.
        if is_refusal {
            let road = self.road(&upstream);
            self.leave_sent(road, each);
        }
        true
    }

    /// Ends a question with its answer.
    fn arrive(
        &mut self,
        key: usize,
        message: Message,
        now: Instant,
        each: &mut impl FnMut(T, Arrival),
    ) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let flight = socket.flight.take();
        let Some(flight) = flight.and_then(|place| self.flights.try_remove(place)) else {
            return;
        };
        let rest = Rest {
            key,
            number: socket.number,
            opened: socket.connected.opened,
            uses: socket.connected.uses,
        };
        let taken = now.saturating_duration_since(flight.started);
        self.let_go(key, taken);
        let upstream = flight.departure.first.upstream();
        let road = self.road(upstream);
        if let Some(road) = self.roads.get_mut(road) {
            let (metrics, rcode) = (upstream.metrics(), message.rcode());
            road.tally.answered(metrics, rcode, rest.uses > 1, taken);
            if let Some(rest) = road.idle.put_back(rest, now, upstream.has_room()) {
                close(&mut self.sockets, rest);
            }
        }
        let question = || flight.item.question();
        let answer = flight.departure.arrive(question, message, taken);
        let at = now.into_std();
        each(flight.item, Arrival::Answer { answer, at });
    }

    /// Leaves what is late to others.
    fn leave_late(&mut self, now: Instant, each: &mut impl FnMut(T, Arrival)) {
        for index in 0..self.roads.len() {
            while let Some(road) = self.roads.get_mut(index)
                && let Some(ticket) = road.pop_late(&self.sockets, now)
            {
                self.leave(ticket.key, None, each);
            }
        }
    }

    /// Leaves all that was sent on a road to others.
    fn leave_sent(&mut self, index: usize, each: &mut impl FnMut(T, Arrival)) {
        while let Some(road) = self.roads.get_mut(index)
            && let Some(ticket) = road.pop_waiting(&self.sockets)
        {
            self.leave(ticket.key, None, each);
        }
    }

    /// Leaves a question to others, with its socket and what has arrived.
    fn leave(
        &mut self,
        key: usize,
        arrived: Option<io::Result<Vec<u8>>>,
        each: &mut impl FnMut(T, Arrival),
    ) {
        let Some(socket) = self.sockets.try_remove(key) else {
            return;
        };
        // It is not closed, only listened to by somebody else.
        if socket.is_watched
            && let Some(epoll) = &self.epoll
        {
            let _: Result<(), _> = epoll.delete(&socket.connected.io);
        }
        for road in &mut self.roads {
            road.near.retain(|ticket| ticket.number != socket.number);
        }
        let flight = socket.flight;
        let flight = flight.and_then(|place| self.flights.try_remove(place));
        if let Some(flight) = flight
            && let Some(question) = flight.item.question()
        {
            let begun = Box::new(Begun {
                socket: socket.connected,
                id: flight.id,
                started: flight.started,
                refusals: flight.refusals,
                arrived,
            });
            let unfinished = flight.departure.leave(question, begun);
            each(flight.item, Arrival::Unfinished(Box::new(unfinished)));
        }
    }
}

impl<T: Asks> Default for Lane<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Closes a socket, if it is there.
fn close(sockets: &mut Slab<Socket>, rest: Rest) {
    if rest.is_of(sockets) {
        sockets.remove(rest.key);
    }
}

const _: () = assert!(size_of::<Socket>() == 64);

/// Most questions that wait in a lane. More go the long way, where there are
/// bounds for each client.
const MOST: usize = 256;

/// Octets of a datagram that are read.
const RECEIVE: usize = 4096;

/// Most sockets to one upstream that are closed together.
const SWEEP: usize = 32;

/// Octets that most queries fit.
const QUERY: usize = 512;

/// What the system tells of at a time.
const EVENTS: usize = 128;

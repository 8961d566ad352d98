//! How a lane sees that answers are there.
//!
//! Where there is nothing else to do than to wait for them, an epoll tells. That
//! has its price: the epoll is woken by all that leaves a socket that it holds,
//! too. A thread that always has something to do sees it by reading, for an
//! upstream answers in order, or nearly. A question that one sent after it
//! overtakes, or that has no answer after [`PROMPT`], is watched all the same.

use std::hint::black_box;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use nix::sys::epoll::EpollEvent;
use nix::sys::epoll::EpollFlags;
use nix::sys::epoll::EpollTimeout;
use tokio::time::Instant;

use super::Arrival;
use super::Asks;
use super::Lane;
use super::road::Ticket;

impl<T: Asks> Lane<T> {
    /// Waits until a socket that waits for an answer or that one has something to
    /// say, or something is late.
    pub(super) fn wait(&mut self, socket: BorrowedFd<'_>, each: &mut impl FnMut(T, Arrival)) {
        self.watch_all(each);
        let Some(epoll) = &self.epoll else {
            return;
        };
        let wanted = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [socket, epoll.0.as_fd()].map(wanted);
        // A signal is as good as nothing.
        let _: Result<_, _> = poll(&mut fds, self.timeout());
        self.busy = 0;
    }

    /// Reads the answers that are there.
    pub(super) fn read_all(&mut self, now: Instant, each: &mut impl FnMut(T, Arrival)) {
        self.busy = self.busy.saturating_add(1);
        for index in 0..self.roads.len() {
            self.read_near(index, now, each);
        }
        let near: usize = self.roads.iter().map(|road| road.near.len()).sum();
        if self.flights.len() > near {
            self.read_watched(now, each);
        }
    }

    /// Lets the epoll go of a socket that has had its answer after such a time, if
    /// it is as well without.
    pub(super) fn let_go(&mut self, key: usize, taken: Duration) {
        if self.busy > BUSY
            && taken < PROMPT / 2
            && let Some(socket) = self.sockets.get_mut(key)
            && socket.is_watched
            && let Some(epoll) = &self.epoll
        {
            socket.is_watched = epoll.delete(&socket.connected.io).is_err();
        }
    }

    /// How long there is nothing to do if nothing arrives.
    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let due = self.roads.iter().filter_map(|road| road.sent.front());
        let least = due.map(|ticket| ticket.due.saturating_duration_since(now));
        let least = least.min().map_or(PAUSE, |least| least.min(PAUSE));
        // Not before it is due.
        u16::try_from(least.as_millis() + 1).map_or(PollTimeout::ZERO, PollTimeout::from)
    }

    /// Has all sockets watched that wait for an answer.
    fn watch_all(&mut self, each: &mut impl FnMut(T, Arrival)) {
        for index in 0..self.roads.len() {
            while let Some(ticket) = self.take_near(index, 0) {
                self.watch(ticket.key, each);
            }
        }
    }

    /// Has a socket watched that waits for an answer.
    fn watch(&mut self, key: usize, each: &mut impl FnMut(T, Arrival)) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        debug_assert!(!socket.is_watched);
        let data = u64::try_from(key).unwrap_or(u64::MAX);
        let event = EpollEvent::new(EpollFlags::EPOLLIN, data);
        let epoll = self.epoll.as_ref();
        socket.is_watched = epoll.is_some_and(|it| it.add(&socket.connected.io, event).is_ok());
        if !socket.is_watched {
            self.leave(key, None, each);
        }
    }

    /// Takes out one of those that wait on a road on sockets that are not watched.
    fn take_near(&mut self, index: usize, place: usize) -> Option<Ticket> {
        self.roads.get_mut(index)?.near.remove(place)
    }

    /// Reads the sockets of a road that wait for an answer and are not watched, as
    /// far as answers are there.
    fn read_near(&mut self, index: usize, now: Instant, each: &mut impl FnMut(T, Arrival)) {
        let mut silent = 0;
        while silent < SILENT
            && let Some(ticket) = self.take_near(index, silent)
        {
            if !ticket.waits(&self.sockets) || self.read(ticket.key, now, each) {
                // These were overtaken, unless they came while this was read.
                for _ in 0..std::mem::take(&mut silent) {
                    if let Some(ticket) = self.take_near(index, 0)
                        && !self.read(ticket.key, now, each)
                    {
                        self.watch(ticket.key, each);
                    }
                }
            } else if self.is_slow(ticket.key, now) {
                self.watch(ticket.key, each);
            } else if let Some(road) = self.roads.get_mut(index) {
                road.near.insert(silent, ticket);
                silent += 1;
            }
        }
    }

    /// Whether a socket waits for an answer that has taken [`PROMPT`].
    fn is_slow(&self, key: usize, now: Instant) -> bool {
        let flight = self.sockets.get(key).and_then(|socket| socket.flight);
        let flight = flight.and_then(|place| self.flights.get(place));
        flight.is_some_and(|flight| now.saturating_duration_since(flight.started) >= PROMPT)
    }

    /// Reads the sockets that are watched and have something to say.
    fn read_watched(&mut self, now: Instant, each: &mut impl FnMut(T, Arrival)) {
        let epoll = self.epoll.as_ref();
        let none = EpollTimeout::ZERO;
        let count = epoll.map_or(0, |it| it.wait(&mut *self.events, none).unwrap_or(0));
        self.touch(count);
        for index in 0..count {
            if let Some(event) = self.events.get(index) {
                self.read(key(event), now, each);
            }
        }
    }

    /// Reads of the sockets that have something to say, and of their questions, to
    /// have them in the caches of the processor: each is waited for otherwise.
    fn touch(&self, count: usize) {
        let events = self.events.iter().take(count);
        let sockets = events.filter_map(|event| self.sockets.get(key(event)));
        let flights = sockets.filter_map(|socket| self.flights.get(socket.flight?));
        black_box(flights.fold(0, |touched, it| touched ^ it.item.octets().len()));
    }
}

/// The place of the socket that an event is about.
fn key(event: &EpollEvent) -> usize {
    usize::try_from(event.data()).unwrap_or(usize::MAX)
}

/// How long an answer may take before its socket is watched.
const PROMPT: Duration = Duration::from_millis(2);

/// Sockets to one upstream that are read in vain before the rest are left for the
/// next time.
const SILENT: usize = 4;

/// Looks since the last that waited, after which sockets are no longer watched.
const BUSY: u32 = 16;

/// Longest pause without a look at what there is to do.
const PAUSE: Duration = Duration::from_millis(100);

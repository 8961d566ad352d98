//! What a lane has on the way to one upstream.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;
use tokio::time::Instant;

use super::Socket;
use crate::idle::Idle;
use crate::idle::Port;
use crate::metrics::UpstreamTally;
use crate::upstream::Upstream;

/// The way to one upstream.
#[derive(Debug)]
pub(super) struct Road {
    /// The upstream.
    pub(super) upstream: Arc<Upstream>,
    /// Sockets that are idle.
    pub(super) idle: Idle<Rest>,
    /// How often those to the upstream had turned out to be of no use.
    pub(super) voids: u64,
    /// Questions that were sent, in this order, some of which may have been
    /// answered. One that is late before those that were sent before it waits
    /// for these: times to one upstream differ little.
    pub(super) sent: VecDeque<Ticket>,
    /// Those of them, in this order, that wait on sockets that are not watched.
    pub(super) near: VecDeque<Ticket>,
    /// What is counted of it.
    pub(super) tally: UpstreamTally,
}

/// A question that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    /// The place of its socket.
    pub(super) key: usize,
    /// The socket.
    pub(super) number: u64,
    /// Which of its queries.
    pub(super) uses: u32,
    /// When it is late.
    pub(super) due: Instant,
}

/// An idle socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// Its place.
    pub(super) key: usize,
    /// The socket.
    pub(super) number: u64,
    /// When it was opened.
    pub(super) opened: Instant,
    /// Queries that it was used for.
    pub(super) uses: u32,
}

// === impl Road ===

impl Road {
    /// Forgets the first questions as far as they have been answered.
    pub(super) fn forget_answered(&mut self, sockets: &Slab<Socket>) {
        let sent = &mut self.sent;
        while sent.front().is_some_and(|ticket| !ticket.waits(sockets)) {
            sent.pop_front();
        }
    }

    /// Takes out the first question that waits.
    pub(super) fn pop_waiting(&mut self, sockets: &Slab<Socket>) -> Option<Ticket> {
        self.forget_answered(sockets);
        self.sent.pop_front()
    }

    /// Takes out the first question, if it is late.
    pub(super) fn pop_late(&mut self, sockets: &Slab<Socket>, now: Instant) -> Option<Ticket> {
        self.forget_answered(sockets);
        self.sent.pop_front_if(|first| first.due <= now)
    }
}

// === impl Ticket ===

impl Ticket {
    /// Whether the question still waits.
    pub(super) fn waits(&self, sockets: &Slab<Socket>) -> bool {
        sockets.get(self.key).is_some_and(|socket| {
            socket.number == self.number
                && socket.connected.uses == self.uses
                && socket.flight.is_some()
        })
    }
}

// === impl Rest ===

impl Rest {
    /// Whether the socket is there.
    pub(super) fn is_of(&self, sockets: &Slab<Socket>) -> bool {
        let is_it = |socket: &Socket| socket.number == self.number;
        sockets.get(self.key).is_some_and(is_it)
    }
}

impl Port for Rest {
    fn opened(&self) -> Instant {
        self.opened
    }

    fn uses(&self) -> u32 {
        self.uses
    }
}

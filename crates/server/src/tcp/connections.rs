//! The open connections, and what is held for them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::Families;
use crate::Limits;

/// The open connections of all listeners.
pub(crate) struct Connections {
    /// Bounds on them.
    limits: Limits,
    /// What is counted.
    pub(super) families: Families,
    /// The connections by number.
    open: Mutex<Table>,
    /// What is held for all, those that are being closed as well.
    pub(super) held: Held,
}

/// The connections by number, and the number that the last one got.
type Table = (u64, BTreeMap<u64, Open>);

/// What is known of an open connection.
struct Open {
    /// Address of the client.
    client: IpAddr,
    /// When the last message was read.
    active: Instant,
    /// What is held for it.
    held: Arc<Held>,
    /// Closes it.
    close: CancellationToken,
}

/// Octets that are held.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Of responses that clients have not taken yet.
    unsent: AtomicUsize,
    /// Of messages that clients have begun and not finished.
    unfinished: AtomicUsize,
}

/// What octets are held of. Each has a bound of its own: whoever begins
/// messages and does not finish them takes nothing from those who wait for
/// responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Responses that clients have not taken yet.
    Unsent,
    /// Messages that clients have begun and not finished.
    Unfinished,
}

/// Octets that are counted until it is dropped.
pub(super) struct Share {
    /// How many.
    octets: usize,
    /// Of what.
    kind: Kind,
    /// Those of the connection.
    held: Arc<Held>,
    /// All connections.
    connections: Arc<Connections>,
}

// === impl Connections ===

impl Connections {
    /// No connections yet.
    pub(crate) fn new(limits: Limits, families: Families) -> Self {
        Self {
            limits,
            families,
            open: Mutex::default(),
            held: Held::default(),
        }
    }

    /// Notes a new connection. If there are too many, the one that has been
    /// silent longest is closed: of the same client if that one has too many.
    pub(super) fn add(
        &self,
        client: IpAddr,
        held: Arc<Held>,
        close: CancellationToken,
        now: Instant,
    ) -> u64 {
        let mut guard = self.lock();
        let (next, open) = &mut *guard;
        let of_client = open.values().filter(|other| other.client == client).count();
        let victim = if of_client >= self.limits.connections_per_client {
            oldest(open.iter().filter(|(_, other)| other.client == client))
        } else if open.len() >= self.limits.connections {
            oldest(open.iter())
        } else {
            None
        };
        if let Some(victim) = victim.and_then(|number| open.remove(&number)) {
            victim.close.cancel();
            self.families.evicted.inc();
        }
        *next += 1;
        open.insert(
            *next,
            Open {
                client,
                active: now,
                held,
                close,
            },
        );
        self.count(open);
        *next
    }

    /// Notes that a message was read.
    pub(super) fn touch(&self, number: u64, now: Instant) {
        if let Some(open) = self.lock().1.get_mut(&number) {
            open.active = now;
        }
    }

    /// Forgets a connection.
    pub(super) fn remove(&self, number: u64) {
        let mut guard = self.lock();
        guard.1.remove(&number);
        self.count(&guard.1);
    }

    /// Closes connections, those first for which most is held, until no more
    /// is held for the others than may be.
    fn relieve(&self, kind: Kind) {
        let mut guard = self.lock();
        let open = &mut guard.1;
        let octets = |open: &Open| open.held.of(kind).load(Ordering::Relaxed);
        // What is held for one that was closed before goes with it, soon.
        let mut held: usize = open.values().map(octets).sum();
        while held > self.limit(kind)
            && let Some((&number, octets)) = open
                .iter()
                .map(|(number, open)| (number, octets(open)))
                .max_by_key(|(_, octets)| *octets)
            && let Some(victim) = open.remove(&number)
        {
            victim.close.cancel();
            self.families.evicted.inc();
            held = held.saturating_sub(octets);
        }
    }

    /// Whether more is held than may be, by those that are being closed as well.
    pub(super) fn is_over(&self, kind: Kind) -> bool {
        self.held.of(kind).load(Ordering::Relaxed) > self.limit(kind)
    }

    /// Most octets that may be held.
    fn limit(&self, kind: Kind) -> usize {
        match kind {
            Kind::Unsent => self.limits.unsent,
            Kind::Unfinished => self.limits.unfinished,
        }
    }

    /// Shows how many there are.
    fn count(&self, open: &BTreeMap<u64, Open>) {
        self.families
            .connections
            .set(i64::try_from(open.len()).unwrap_or(i64::MAX));
    }

    /// The connections. A panic elsewhere leaves them as good as they were.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection that has been silent longest.
fn oldest<'a>(open: impl Iterator<Item = (&'a u64, &'a Open)>) -> Option<u64> {
    open.min_by_key(|(_, open)| open.active)
        .map(|(number, _)| *number)
}

// === impl Held ===

impl Held {
    /// Octets of one kind.
    pub(super) fn of(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Unsent => &self.unsent,
            Kind::Unfinished => &self.unfinished,
        }
    }
}

// === impl Share ===

impl Share {
    /// Nothing yet, of a connection.
    pub(super) fn new(kind: Kind, held: &Arc<Held>, connections: &Arc<Connections>) -> Self {
        Self {
            octets: 0,
            kind,
            held: Arc::clone(held),
            connections: Arc::clone(connections),
        }
    }

    /// Counts so many. If more are held than may be, connections are closed.
    pub(super) fn set(&mut self, octets: usize) {
        let before = std::mem::replace(&mut self.octets, octets);
        let (own, all) = (self.held.of(self.kind), self.connections.held.of(self.kind));
        if let Some(fewer) = before.checked_sub(octets) {
            own.fetch_sub(fewer, Ordering::Relaxed);
            all.fetch_sub(fewer, Ordering::Relaxed);
            return;
        }
        let more = octets - before;
        own.fetch_add(more, Ordering::Relaxed);
        let held = all.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        if held > self.connections.limit(self.kind) {
            self.connections.relieve(self.kind);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests;

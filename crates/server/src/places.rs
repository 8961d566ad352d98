//! Places for queries that wait for upstreams.
//!
//! There are so many, and of these so many for one client: without the latter,
//! one that asks for names of a slow server takes all of them, and hears all
//! answers at once when the server wakes up (CVE-2024-33655).
//!
//! Half of them, of each client's too, are for good: who has one waits to the
//! end. So something is answered, however slow everything is. For the others,
//! where none is left, the query that has waited longest gives its place up, if
//! it has waited for longer than nearly all answers take. So names whose
//! servers are dead, however many are asked for, keep nobody from asking for
//! others. Memory stays bounded: there are never more queries than places, but
//! for those that have been told and are about to go.
//!
//! Clients share [`COUNTS`] counts by a keyed hash: that bounds the space, and
//! of two that meet, each leaves the other fewer places.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::Limits;

/// The places, taken and free.
#[derive(Debug)]
pub(crate) struct Places {
    /// Nobody outside knows who meets whom.
    hasher: RandomState,
    /// Most queries.
    all: usize,
    /// Of these, queries of one client.
    per_client: usize,
    /// How long one may keep its place when another wants it.
    grace: Duration,
    /// Who has which.
    taken: Mutex<Taken>,
}

/// Who has which place.
#[derive(Debug)]
struct Taken {
    /// Places of all.
    all: Count,
    /// Queries of each client.
    clients: Box<[Count]>,
    /// The queries, in the order in which they came.
    queries: BTreeMap<u64, Waiter>,
    /// The number of the next one.
    next: u64,
}

/// How many.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// In all.
    all: usize,
    /// Of these, for good.
    kept: usize,
}

/// A query that waits.
#[derive(Debug)]
struct Waiter {
    /// Since when.
    since: Instant,
    /// Whose it is.
    client: usize,
    /// Places it takes.
    size: usize,
    /// Whether it has them for good.
    is_kept: bool,
    /// Dropped when it has to go.
    _stay: oneshot::Sender<Infallible>,
}

/// The place of one query; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where it is.
    places: Arc<Places>,
    /// Its number.
    number: u64,
    /// Closed when the query has to go.
    stay: oneshot::Receiver<Infallible>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// All are taken.
    Everybody,
    /// The client has as many as it may.
    Client,
}

// === impl Places ===

impl Places {
    /// Nobody waits.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            hasher: RandomState::new(),
            all: limits.pending,
            per_client: limits.pending_per_client,
            grace: limits.pending_grace,
            taken: Mutex::new(Taken {
                all: Count::default(),
                clients: vec![Count::default(); COUNTS].into(),
                queries: BTreeMap::new(),
                next: 0,
            }),
        }
    }

    /// Takes `size` places for a query of `client` that came at `now`.
    pub(crate) fn enter(
        self: &Arc<Self>,
        client: IpAddr,
        size: usize,
        now: Instant,
    ) -> Result<Place, Full> {
        let hash = self.hasher.hash_one(network(client));
        let client = usize::try_from(hash % COUNTS as u64).unwrap_or_default();
        let is_late = |waiter: &Waiter| now.saturating_duration_since(waiter.since) >= self.grace;
        let mut taken = self.lock();
        if taken.client(client).all >= self.per_client {
            let is_theirs = |waiter: &Waiter| waiter.client == client;
            taken.make_room(is_late, is_theirs).ok_or(Full::Client)?;
        }
        while taken.all.all + size > self.all {
            taken.make_room(is_late, |_| true).ok_or(Full::Everybody)?;
        }
        let is_kept = taken.client(client).kept < self.per_client / 2
            && taken.all.kept + size <= self.all / 2;
        let (sender, stay) = oneshot::channel();
        let number = taken.add(Waiter {
            since: now,
            client,
            size,
            is_kept,
            _stay: sender,
        });
        Ok(Place {
            places: Arc::clone(self),
            number,
            stay,
        })
    }

    /// Who has which.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Taken ===

impl Taken {
    /// Queries of a client.
    fn client(&self, client: usize) -> Count {
        self.clients.get(client).copied().unwrap_or_default()
    }

    /// Adds a query. Gives its number.
    fn add(&mut self, waiter: Waiter) -> u64 {
        let number = self.next;
        self.next += 1;
        self.all.add(waiter.size, waiter.is_kept);
        if let Some(count) = self.clients.get_mut(waiter.client) {
            count.add(1, waiter.is_kept);
        }
        self.queries.insert(number, waiter);
        number
    }

    /// Takes a query out, if it is still there.
    fn remove(&mut self, number: u64) -> Option<()> {
        let waiter = self.queries.remove(&number)?;
        self.all.remove(waiter.size, waiter.is_kept);
        if let Some(count) = self.clients.get_mut(waiter.client) {
            count.remove(1, waiter.is_kept);
        }
        Some(())
    }

    /// Takes the first of those queries out that are late and not there for
    /// good, if there is one.
    fn make_room(
        &mut self,
        is_late: impl Fn(&Waiter) -> bool,
        is_one: impl Fn(&Waiter) -> bool,
    ) -> Option<()> {
        let mut late = self.queries.iter().take_while(|(_, query)| is_late(query));
        let (number, _) = late.find(|(_, query)| !query.is_kept && is_one(query))?;
        self.remove(*number)
    }
}

// === impl Count ===

impl Count {
    /// Counts some.
    fn add(&mut self, size: usize, is_kept: bool) {
        self.all += size;
        self.kept += if is_kept { size } else { 0 };
    }

    /// Counts some no longer.
    fn remove(&mut self, size: usize, is_kept: bool) {
        self.all -= size;
        self.kept -= if is_kept { size } else { 0 };
    }
}

// === impl Place ===

impl Place {
    /// Waits until the query has to go.
    pub(crate) async fn is_wanted(&mut self) {
        // Nothing is ever sent.
        drop((&mut self.stay).await);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // It is gone already if another query wanted it.
        let _: Option<()> = self.places.lock().remove(self.number);
    }
}

// === impl Full ===

impl Full {
    /// What logs say.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Everybody => "too many queries wait for upstreams",
            Self::Client => "too many queries of one client wait for upstreams",
        }
    }
}

/// What one client has to itself: an IPv4 address, or an IPv6 network of 64
/// bits.
fn network(client: IpAddr) -> u128 {
    match client {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

/// How many counts there are.
const COUNTS: usize = 4096;

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    /// How long a place may be kept.
    const GRACE: Duration = Duration::from_millis(500);

    #[test]
    fn a_client_has_so_many_places_and_no_more() {
        let places = places(100, 2);
        let now = now();
        let enter = || places.enter(client(1), 1, now);
        let first = enter().unwrap();
        let _second = enter().unwrap();
        assert_eq!(enter().unwrap_err(), Full::Client);
        assert_eq!(enter().unwrap_err(), Full::Client);
        drop(first);
        let _third = enter().unwrap();
        assert_eq!(enter().unwrap_err(), Full::Client);
    }

    #[test]
    fn others_have_places_of_their_own() {
        let places = places(1_000, 1);
        let now = now();
        let _first = places.enter(client(1), 1, now).unwrap();
        // Of 254 others, few share its count.
        let others: Vec<_> = (2..=255)
            .filter_map(|last| places.enter(client(last), 1, now).ok())
            .collect();
        assert!(others.len() > 200, "{}", others.len());
        drop(others);
        let taken = places.lock();
        let clients: usize = taken.clients.iter().map(|client| client.all).sum();
        assert_eq!((clients, taken.all.all), (1, 1));
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let places = places(100, 1);
        let now = now();
        let enter = |text: &str| places.enter(text.parse().unwrap(), 1, now).ok();
        let _first = enter("2001:db8:0:1::1").unwrap();
        assert!(enter("2001:db8:0:1:ffff::2").is_none());
    }

    #[test]
    fn a_large_query_takes_many() {
        let places = places(16, 100);
        let now = now();
        let large = places.enter(client(1), 16, now).unwrap();
        let full = places.enter(client(2), 1, now).unwrap_err();
        assert_eq!(full, Full::Everybody);
        drop(large);
        let _small = places.enter(client(2), 1, now).unwrap();
    }

    #[test]
    fn whoever_has_waited_longest_makes_room_in_the_end() {
        let places = places(4, 100);
        let start = now();
        let enter = |at| places.enter(client(1), 1, start + at);
        // Two are there for good.
        let mut kept = [
            enter(Duration::ZERO).unwrap(),
            enter(Duration::ZERO).unwrap(),
        ];
        let mut first = enter(Duration::ZERO).unwrap();
        let mut second = enter(GRACE / 2).unwrap();
        assert_eq!(enter(GRACE / 2).unwrap_err(), Full::Everybody);
        assert!(!has_to_go(&mut first));
        let mut third = enter(GRACE).unwrap();
        assert!(has_to_go(&mut first));
        assert!(!has_to_go(&mut second));
        assert_eq!(enter(GRACE).unwrap_err(), Full::Everybody);
        // What was given up is not given back twice.
        drop(first);
        assert_eq!(enter(GRACE).unwrap_err(), Full::Everybody);
        let _fourth = enter(GRACE * 3 / 2).unwrap();
        assert!(has_to_go(&mut second));
        assert!(!has_to_go(&mut third));
        assert!(!kept.iter_mut().any(has_to_go));
        drop(kept);
        let _fifth = enter(GRACE * 3 / 2).unwrap();
        assert_eq!(places.lock().all.kept, 1);
    }

    #[test]
    fn a_client_with_too_many_makes_room_for_itself() {
        let places = places(100, 2);
        let start = now();
        let mut other = places.enter(client(1), 1, start).unwrap();
        let mut kept = places.enter(client(2), 1, start).unwrap();
        let mut own = places.enter(client(2), 1, start).unwrap();
        let _next = places.enter(client(2), 1, start + GRACE).unwrap();
        assert!(has_to_go(&mut own));
        assert!(!has_to_go(&mut kept) && !has_to_go(&mut other));
    }

    /// So many places, and so many for a client.
    fn places(pending: usize, pending_per_client: usize) -> Arc<Places> {
        Arc::new(Places::new(&Limits {
            pending,
            pending_per_client,
            pending_grace: GRACE,
            ..Limits::default()
        }))
    }

    /// A client.
    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Whether another query wants its place.
    fn has_to_go(place: &mut Place) -> bool {
        place.stay.try_recv() == Err(TryRecvError::Closed)
    }

    /// The time.
    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

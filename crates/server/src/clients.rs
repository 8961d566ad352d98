//! How many queries of one client wait.

use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

/// Counts the queries of each client that wait, up to a bound.
///
/// Without it, one client that asks for names of a slow server takes all
/// places, and hears all answers at once when the server wakes up
/// (CVE-2024-33655). Clients share [`COUNTS`] counts by a keyed hash: that
/// bounds the space, and of two that meet, each leaves the other fewer places.
#[derive(Debug)]
pub(crate) struct Clients {
    /// Nobody outside knows who meets whom.
    hasher: RandomState,
    /// Queries that wait.
    counts: Box<[AtomicUsize]>,
    /// Most of them.
    limit: usize,
}

/// The place of one query; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where it is counted.
    clients: Arc<Clients>,
    /// In which count.
    index: usize,
}

// === impl Clients ===

impl Clients {
    /// Nobody waits, and of one client `limit` may.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            counts: std::iter::repeat_with(AtomicUsize::default)
                .take(COUNTS)
                .collect(),
            limit,
        }
    }

    /// A place for a query of `client`, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let hash = self.hasher.hash_one(network(client));
        let index = usize::try_from(hash % COUNTS as u64).unwrap_or_default();
        let place = Place {
            clients: Arc::clone(self),
            index,
        };
        // One that does not fit gives its count back at once.
        let before = self.counts.get(index)?.fetch_add(1, Ordering::Relaxed);
        (before < self.limit).then_some(place)
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(count) = self.clients.counts.get(self.index) {
            count.fetch_sub(1, Ordering::Relaxed);
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
    use super::*;

    #[test]
    fn a_client_has_so_many_places_and_no_more() {
        let clients = Arc::new(Clients::new(2));
        let client = IpAddr::from([192, 0, 2, 1]);
        let first = clients.enter(client).unwrap();
        let _second = clients.enter(client).unwrap();
        assert!(clients.enter(client).is_none());
        assert!(clients.enter(client).is_none());
        drop(first);
        let _third = clients.enter(client).unwrap();
        assert!(clients.enter(client).is_none());
    }

    #[test]
    fn others_have_places_of_their_own() {
        let clients = Arc::new(Clients::new(1));
        let _first = clients.enter(IpAddr::from([192, 0, 2, 1])).unwrap();
        // Of 255 others, few share its count.
        let others: Vec<_> = (2..=255)
            .filter_map(|last| clients.enter(IpAddr::from([192, 0, 2, last])))
            .collect();
        assert!(others.len() > 200, "{}", others.len());
        drop(others);
        let counted = clients.counts.iter().map(|c| c.load(Ordering::Relaxed));
        assert_eq!(counted.sum::<usize>(), 1);
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let clients = Arc::new(Clients::new(1));
        let enter = |text: &str| clients.enter(text.parse().unwrap());
        let _first = enter("2001:db8:0:1::1").unwrap();
        assert!(enter("2001:db8:0:1:ffff::2").is_none());
    }
}

//! How many queries more a stanza may send because an upstream is slow.
//!
//! A second query for a slow first one is worth its while when the first is
//! lost, and a waste when its answer is under way. Which it was shows later:
//! an attempt whose query has been answered by another goes on in the
//! background. If its answer comes, the second query was needless, and has
//! used up what [`SHARE`] queries earn; if not, it is given back.
//!
//! Some answers come so late that nobody waits for them to find out
//! ([`GRACE`]): the query is given back, and taken again if they come.
//!
//! When all is used up, more patience is called for
//! ([`crate::policy::Patience`]). It is never forbidden to ask another
//! upstream: under loss, every second query is one that was needed. What is not
//! earned yet is owed.

use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

/// Queries that earn one second query: 5 %.
const SHARE: i32 = 20;

/// Most second queries that can be saved up.
const MAX_SAVED: i32 = 10;

/// Most second queries that can be owed.
const MAX_OWED: i32 = 100;

/// How long after its query was answered an attempt is held to be lost.
pub(crate) const GRACE: Duration = Duration::from_millis(250);

/// Most attempts that go on in the background.
const MAX_STRAGGLERS: usize = 256;

/// The account of one stanza.
#[derive(Debug)]
pub(crate) struct Hedging {
    /// What is saved up, in queries; less than nothing is owed.
    saved: AtomicI32,
    /// Places in the background.
    stragglers: Arc<Semaphore>,
}

// === impl Hedging ===

impl Hedging {
    /// Nothing is earned yet.
    pub(crate) fn new() -> Self {
        Self {
            saved: AtomicI32::new(0),
            stragglers: Arc::new(Semaphore::new(MAX_STRAGGLERS)),
        }
    }

    /// Takes in a query.
    pub(crate) fn query(&self) {
        self.change(1);
    }

    /// Whether there is enough for a second query.
    pub(crate) fn can_spend(&self) -> bool {
        self.saved.load(Ordering::Relaxed) >= SHARE
    }

    /// Takes in a second query.
    pub(crate) fn spend(&self) {
        self.change(-SHARE);
    }

    /// Takes in that so many second queries were needed.
    pub(crate) fn give_back(&self, count: usize) {
        let count = i32::try_from(count).unwrap_or(MAX_OWED);
        self.change(count.saturating_mul(SHARE));
    }

    /// A place in the background, if there is one.
    pub(crate) fn straggle(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.stragglers).try_acquire_owned().ok()
    }

    /// Changes what is saved up, within bounds.
    fn change(&self, by: i32) {
        let changed = |saved: i32| {
            let bounds = (-SHARE * MAX_OWED, SHARE * MAX_SAVED);
            let changed = saved.saturating_add(by).clamp(bounds.0, bounds.1);
            // Mostly all that may be is saved up.
            (changed != saved).then_some(changed)
        };
        let _ = self
            .saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_twenty_queries_may_be_asked_twice_from_the_first_on() {
        let hedging = Hedging::new();
        let mut second = 0;
        for queries in 1..=2000 {
            hedging.query();
            if hedging.can_spend() {
                hedging.spend();
                second += 1;
            }
            assert_eq!(second, queries / 20);
        }
    }

    #[test]
    fn what_is_saved_up_and_what_is_owed_have_bounds() {
        let hedging = Hedging::new();
        let affordable = || {
            let mut count = 0;
            while hedging.can_spend() {
                hedging.spend();
                count += 1;
            }
            count
        };
        hedging.give_back(1000);
        assert_eq!(affordable(), MAX_SAVED);
        for _ in 0..1000 {
            hedging.spend();
        }
        for _ in 0..SHARE * (MAX_OWED + 1) {
            assert!(!hedging.can_spend());
            hedging.query();
        }
        assert_eq!(affordable(), 1);
    }

    #[test]
    fn what_was_needed_costs_nothing() {
        let hedging = Hedging::new();
        hedging.give_back(1);
        for _ in 0..1000 {
            assert!(hedging.can_spend());
            hedging.spend();
            hedging.give_back(1);
        }
    }
}

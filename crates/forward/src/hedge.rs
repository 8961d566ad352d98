//! How many queries more a stanza may send because an upstream is slow.
//!
//! A second query for a slow first one is worth its while when the first is
//! lost, and a waste when its answer is under way. Which it was shows later:
//! an attempt whose query has been answered by another goes on in the
//! background. If its answer comes, the second query was needless, and has
//! used up what [`SHARE`] queries earn; if not, it is given back.
//!
//! When all is used up, more patience is called for
//! ([`crate::policy::patience`]). It is never forbidden to ask another
//! upstream: under loss, every second query is one that was needed.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

/// Queries that earn one second query: 5 %.
const SHARE: u32 = 20;

/// Most second queries that can be saved up.
const MAX_SAVED: u32 = 20;

/// Most attempts that go on in the background.
const MAX_STRAGGLERS: usize = 256;

/// The account of one stanza.
#[derive(Debug)]
pub(crate) struct Hedging {
    /// What is saved up, in queries.
    saved: AtomicU32,
    /// Places in the background.
    stragglers: Arc<Semaphore>,
}

// === impl Hedging ===

impl Hedging {
    /// Everything is saved up.
    pub(crate) fn new() -> Self {
        Self {
            saved: AtomicU32::new(SHARE * MAX_SAVED),
            stragglers: Arc::new(Semaphore::new(MAX_STRAGGLERS)),
        }
    }

    /// Takes in a query. Says whether second ones are to be spared.
    pub(crate) fn query(&self) -> bool {
        self.change(|saved| saved + 1) < SHARE
    }

    /// Takes in a second query.
    pub(crate) fn spend(&self) {
        self.change(|saved| saved.saturating_sub(SHARE));
    }

    /// Takes in that a second query was needed.
    pub(crate) fn give_back(&self) {
        self.change(|saved| saved + SHARE);
    }

    /// A place in the background, if there is one.
    pub(crate) fn straggle(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.stragglers).try_acquire_owned().ok()
    }

    /// Changes what is saved up, and says what was.
    fn change(&self, change: impl Fn(u32) -> u32) -> u32 {
        let bounded = |saved| Some(change(saved).min(SHARE * MAX_SAVED));
        self.saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, bounded)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_twenty_queries_may_be_asked_twice() {
        let hedging = Hedging::new();
        for _ in 0..MAX_SAVED {
            assert!(!hedging.query());
            hedging.spend();
        }
        let mut second = 0;
        for _ in 0..2000 {
            if !hedging.query() {
                hedging.spend();
                second += 1;
            }
        }
        assert!((95..=105).contains(&second), "{second}");
    }

    #[test]
    fn what_was_needed_costs_nothing() {
        let hedging = Hedging::new();
        for _ in 0..1000 {
            assert!(!hedging.query());
            hedging.spend();
            hedging.give_back();
        }
    }
}

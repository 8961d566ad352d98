//! What an entry takes of the memory, and counting it.

use prometheus::IntGauge;

use super::Entry;
use super::key::Key;
use crate::metrics::StoreMetrics;

/// What one entry takes, in the figures of its half for as long as it is
/// there: until nobody who was given it holds it any more.
#[derive(Debug)]
pub(super) struct Held {
    /// Octets it takes.
    octets: u64,
    /// Octets that all entries take.
    size: IntGauge,
    /// How many entries there are.
    entries: IntGauge,
}

// === impl Held ===

impl Held {
    /// Counts what an entry under a key takes.
    pub(super) fn new(key: &Key, entry: &Entry, metrics: &StoreMetrics) -> Self {
        let octets = [
            allocated(key.as_octets().len()),
            allocated(size_of::<Entry>() + COUNTS),
            entry
                .message()
                .heap_sizes()
                .into_iter()
                .map(allocated)
                .sum(),
            SLOT,
        ];
        let held = Self {
            octets: u64::try_from(octets.into_iter().sum::<usize>()).unwrap_or(u64::MAX),
            size: metrics.size.clone(),
            entries: metrics.entries.clone(),
        };
        held.size.add(held.figure());
        held.entries.inc();
        held
    }

    /// Octets it takes.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// The same as metrics count.
    fn figure(&self) -> i64 {
        i64::try_from(self.octets).unwrap_or(i64::MAX)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.size.sub(self.figure());
        self.entries.dec();
    }
}

/// Octets that the allocator takes to give `octets`: usual ones have a word
/// before each piece and round up to two.
fn allocated(octets: usize) -> usize {
    match octets {
        0 => 0,
        _ => (octets + size_of::<usize>()).next_multiple_of(2 * size_of::<usize>()),
    }
}

/// Octets of the two counts of an [`Arc`](std::sync::Arc).
const COUNTS: usize = 2 * size_of::<usize>();

/// Octets of the places in lists and tables: its own, that of the half entry
/// that is remembered after it had to go, and those not taken yet.
const SLOT: usize = 128;

//! One half of a cache: entries by key, within bounds.
//!
//! Which entry goes when there is no room is decided by quick-cache's kind of
//! CLOCK-Pro: an entry that was never asked for again goes before one that
//! was, so that a million names that are asked for once do not drive out the
//! few that everybody asks for.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use quick_cache::DefaultHashBuilder;
use quick_cache::Lifecycle;
use quick_cache::OptionsBuilder;
use quick_cache::Weighter;
use quick_cache::sync;

use super::Entry;
use super::Names;
use super::config::Bounds;
use super::held::Held;
use super::key::Key;
use crate::metrics::StoreMetrics;

/// Entries by key. The number of entries and the octets they take are both
/// bounded.
#[derive(Debug)]
pub(crate) struct Store {
    /// The entries.
    entries: sync::Cache<Box<[u8]>, Arc<Entry>, ByWeight, DefaultHashBuilder, CountEvictions>,
    /// Metrics.
    metrics: StoreMetrics,
}

/// Weighs an entry by the octets it takes. Each weighs at least what it would
/// if as many as may be shared all octets, so that one bound is for both.
#[derive(Clone, Debug)]
struct ByWeight {
    /// The least weight.
    least: u64,
}

/// Octets that a shard has room for: several of the largest answers.
const SHARD: u64 = 256 << 10;

/// Most shards, each with a lock of its own.
const MAX_SHARDS: u64 = 16;

/// Less than any entry takes.
const SMALLEST_ENTRY: u64 = 256;

/// Counts the entries that have to make room.
#[derive(Clone, Debug)]
struct CountEvictions(StoreMetrics);

// === impl Store ===

impl Store {
    /// An empty store.
    pub(super) fn new(bounds: Bounds, metrics: StoreMetrics) -> Self {
        let least = bounds.octets / bounds.entries.max(1);
        let weight = match least {
            0 => bounds.octets,
            least => least.saturating_mul(bounds.entries),
        };
        // What is remembered of those that had to go is bounded by this.
        let expected = bounds.entries.min(bounds.octets / SMALLEST_ENTRY);
        let shards = 1 << (weight / SHARD).clamp(1, MAX_SHARDS).ilog2();
        let options = OptionsBuilder::new()
            .estimated_items_capacity(usize::try_from(expected).unwrap_or(usize::MAX))
            .weight_capacity(weight)
            .shards(shards)
            .build()
            .expect("the capacities are set");
        Self {
            entries: sync::Cache::with_options(
                options,
                ByWeight { least },
                DefaultHashBuilder::default(),
                CountEvictions(metrics.clone()),
            ),
            metrics,
        }
    }

    /// The entry under a key.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key.as_octets())
    }

    /// Puts an entry under a key.
    pub(crate) fn insert(&self, key: &Key, mut entry: Entry) {
        entry.hold(Held::new(key, &entry, &self.metrics));
        if let Some(before) = self.entries.peek(key.as_octets()) {
            entry.inherit(&before);
        }
        self.entries.insert(key.as_octets().into(), Arc::new(entry));
    }

    /// Drops the entry under a key.
    pub(crate) fn remove(&self, key: &Key) {
        self.entries.remove(key.as_octets());
    }

    /// Drops all entries.
    pub(crate) fn clear(&self) {
        self.entries.clear();
    }

    /// Drops the entries of some names. Says how many those were.
    pub(super) fn forget(&self, names: &Names) -> usize {
        let dropped = AtomicUsize::new(0);
        self.entries.retain(|key, _| {
            let goes = Key::parts_of(key).is_some_and(|(name, qtype)| names.include(name, qtype));
            dropped.fetch_add(usize::from(goes), Ordering::Relaxed);
            !goes
        });
        dropped.into_inner()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The metrics.
    pub(crate) fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }
}

// === impl ByWeight ===

impl Weighter<Box<[u8]>, Arc<Entry>> for ByWeight {
    fn weight(&self, _key: &Box<[u8]>, entry: &Arc<Entry>) -> u64 {
        entry.octets().max(self.least)
    }
}

// === impl CountEvictions ===

impl Lifecycle<Box<[u8]>, Arc<Entry>> for CountEvictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _key: Box<[u8]>, entry: Arc<Entry>) {
        // Nor does one that a newer one of its own key takes the place of
        // make room.
        if !entry.is_replaced() {
            self.0.evictions.inc();
        }
    }
}

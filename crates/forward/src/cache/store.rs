//! One half of a cache: entries by key, within bounds.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use portolan_proto::Name;
use quick_cache::DefaultHashBuilder;
use quick_cache::Lifecycle;
use quick_cache::Weighter;
use quick_cache::sync;

use super::Entry;
use super::key::Key;
use crate::metrics::StoreMetrics;

/// Entries by key. The number of entries and the octets they hold are
/// bounded: a large entry counts for several.
#[derive(Debug)]
pub(crate) struct Store {
    /// The entries.
    entries: sync::Cache<Box<[u8]>, Arc<Entry>, ByWeight, DefaultHashBuilder, CountEvictions>,
    /// Metrics.
    metrics: StoreMetrics,
}

/// Weighs an entry.
#[derive(Clone, Debug)]
struct ByWeight;

/// Counts the entries that have to make room.
#[derive(Clone, Debug)]
struct CountEvictions(StoreMetrics);

// === impl Store ===

impl Store {
    /// An empty store with room for `capacity` entries.
    pub(crate) fn new(capacity: usize, metrics: StoreMetrics) -> Self {
        let capacity = capacity.max(1);
        let store = Self {
            entries: sync::Cache::with(
                capacity,
                u64::try_from(capacity).unwrap_or(u64::MAX),
                ByWeight,
                DefaultHashBuilder::default(),
                CountEvictions(metrics.clone()),
            ),
            metrics,
        };
        // The cache before a reload may have left a figure.
        store.count();
        store
    }

    /// The entry under a key.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key.as_octets())
    }

    /// Puts an entry under a key.
    pub(crate) fn insert(&self, key: &Key, entry: Entry) {
        if let Some(before) = self.entries.peek(key.as_octets()) {
            entry.inherit(&before);
        }
        self.entries.insert(key.as_octets().into(), Arc::new(entry));
        self.count();
    }

    /// Drops the entry under a key.
    pub(crate) fn remove(&self, key: &Key) {
        if self.entries.remove(key.as_octets()).is_some() {
            self.count();
        }
    }

    /// Drops all entries.
    pub(crate) fn clear(&self) {
        self.entries.clear();
        self.count();
    }

    /// Drops the entries of the names at or below one. Says how many those
    /// were.
    pub(crate) fn forget(&self, name: &Name) -> usize {
        let dropped = AtomicUsize::new(0);
        self.entries.retain(|key, _| {
            let is_below = Key::name_of(key)
                .and_then(|wire| Name::from_wire(wire).ok())
                .is_some_and(|owner| owner.is_within(name));
            dropped.fetch_add(usize::from(is_below), Ordering::Relaxed);
            !is_below
        });
        self.count();
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

    /// Writes down how many entries there are.
    fn count(&self) {
        let count = i64::try_from(self.entries.len()).unwrap_or(i64::MAX);
        self.metrics.entries.set(count);
    }
}

// === impl ByWeight ===

impl Weighter<Box<[u8]>, Arc<Entry>> for ByWeight {
    fn weight(&self, _key: &Box<[u8]>, entry: &Arc<Entry>) -> u64 {
        entry.weight()
    }
}

// === impl CountEvictions ===

impl Lifecycle<Box<[u8]>, Arc<Entry>> for CountEvictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _key: Box<[u8]>, _entry: Arc<Entry>) {
        self.0.evictions.inc();
    }
}

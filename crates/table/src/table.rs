//! Where readers find the current snapshot.

use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::Guard;

use crate::Snapshot;

/// The current snapshot, shared by the one [`Builder`](crate::Builder) and all
/// readers.
pub struct Table {
    /// The snapshot that queries are answered from.
    current: ArcSwap<Snapshot>,
}

/// A snapshot on loan: cheap to take, to be given back within one query.
pub type SnapshotGuard = Guard<Arc<Snapshot>>;

// === impl Table ===

impl Table {
    /// A table without names.
    pub fn new() -> Self {
        Self {
            current: ArcSwap::from_pointee(Snapshot::empty()),
        }
    }

    /// The current snapshot, without a lock and without waiting.
    pub fn load(&self) -> SnapshotGuard {
        self.current.load()
    }

    /// The current snapshot, to be kept for longer than one query.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Makes a snapshot the current one and gives back the one before.
    pub(crate) fn swap(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        self.current.swap(snapshot)
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

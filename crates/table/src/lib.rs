//! The record table: rows, layers, snapshots, lookup.
//!
//! A source asserts [`Row`]s; the [`Builder`], the only writer, merges the
//! rows of all sources and publishes a [`Snapshot`]; readers load it from the
//! [`Table`] and look names up. A snapshot never changes, so a reader sees all
//! of a change or nothing of it, and takes no lock.
//!
//! The crate knows no clock, no task and no socket. When to publish, in which
//! order layers answer, and how a chain of CNAMEs is followed ([`MAX_CHAIN`])
//! are up to its callers.

#![forbid(unsafe_code)]

mod builder;
mod claim;
mod explain;
mod figures;
mod lookup;
mod merge;
mod packed;
mod row;
mod shard;
mod snapshot;
mod table;
mod wire;

pub use builder::Builder;
pub use explain::Explanation;
pub use explain::Reason;
pub use figures::Figures;
pub use figures::LayerFigures;
pub use lookup::Lookup;
pub use lookup::MAX_CHAIN;
pub use merge::MAX_VALUES;
pub use row::Batch;
pub use row::Caption;
pub use row::Change;
pub use row::LayerId;
pub use row::LayerOptions;
pub use row::Row;
pub use row::Source;
pub use row::WildcardDepth;
pub use snapshot::Holdings;
pub use snapshot::Snapshot;
pub use table::SnapshotGuard;
pub use table::Table;

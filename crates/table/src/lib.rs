//! The record table: rows, layers, snapshots, lookup.
#![forbid(unsafe_code)]

mod row;

pub use row::Batch;
pub use row::Change;
pub use row::LayerId;
pub use row::LayerOptions;
pub use row::Row;
pub use row::Source;
pub use row::WildcardDepth;

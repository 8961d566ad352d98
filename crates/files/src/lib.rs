//! Files on disk to record changes.
//!
//! A hosts file becomes rows of the record table: [`HostsTask`] loads the files
//! of one `hosts` directive, follows them for as long as it runs, and sends
//! what changed as [`Batch`](portolan_table::Batch)es. It does not know the
//! table's lookup, the Corefile or who asks.
//!
//! The decisions are apart from the work, so that another kind of file can be
//! followed the same way:
//!
//! - `paths` lists what a path stands for now: a file, a directory's files, a
//!   pattern's matches; `points` says which places to watch to hear of a change.
//! - `state` decides, without a clock or a disk, which file to read, what to
//!   keep although it is gone, and when to look again.
//! - `read` reads one file within bounds and tells a finished file from one
//!   that is still being written.
//! - `watch` wakes the task when the operating system reports a change.
//! - `parse` knows the hosts format, and `task` drives all of it.

#![forbid(unsafe_code)]

mod config;
mod metrics;
mod parse;
mod paths;
mod points;
mod read;
mod state;
mod task;
mod watch;

pub use config::Config;
pub use config::DEFAULT_RELOAD;
pub use config::DEFAULT_TTL;
pub use config::InlineLine;
pub use metrics::Families;
pub use parse::MAX_NAMES_PER_LINE;
pub use parse::MAX_NAMES_PER_POINTER;
pub use paths::MAX_FILES;
pub use read::MAX_FILE_SIZE;
pub use task::HostsHandle;
pub use task::HostsTask;

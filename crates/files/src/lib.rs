//! Files on disk to record changes.
//!
//! A [hosts file](hosts) and a [file of Traefik's](traefik) become rows of the
//! record table: a task loads the files of one directive, follows them for as
//! long as it runs, and sends what changed as
//! [`Batch`](portolan_table::Batch)es. It does not know the table's lookup, the
//! Corefile or who asks.
//!
//! What the formats have in common is apart from them, and the decisions are
//! apart from the work:
//!
//! - `paths` lists what a path stands for now: a file, a directory's files, a
//!   pattern's matches; `points` says which places to watch to hear of a change.
//! - `state` decides, without a clock or a disk, which file to read, what to
//!   keep although it is gone, and when to look again.
//! - `read` reads one file within bounds and tells a finished file from one
//!   that is still being written.
//! - `watch` wakes the task when the operating system reports a change.
//! - `follow` drives all of it for a task.

#![forbid(unsafe_code)]

#[cfg(test)]
mod fixture;
mod follow;
pub mod hosts;
mod paths;
mod points;
mod read;
mod state;
pub mod traefik;
mod watch;

pub use follow::Handle;
pub use hosts::Config;
pub use hosts::Families;
pub use hosts::HostsTask;
pub use hosts::InlineLine;

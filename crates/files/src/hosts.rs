//! Hosts files: the format, and the task that follows the files of one
//! `hosts` directive.

mod config;
mod metrics;
mod parse;
mod task;

pub use config::Config;
pub use config::DEFAULT_RELOAD;
pub use config::DEFAULT_TTL;
pub use config::InlineLine;
pub use metrics::Families;
pub use parse::MAX_NAMES_PER_LINE;
pub use parse::MAX_NAMES_PER_POINTER;
pub use task::HostsTask;

/// Longest hosts file that is read, in octets.
pub const MAX_FILE_SIZE: u64 = 64 << 20;

/// Files that one directory or pattern stands for at most; the first by name.
pub const MAX_FILES: usize = 4096;

//! Log lines on standard output, as JSON or in the form of CoreDNS.
//!
//! Events reach this module through `tracing`. Each becomes one line, is put in
//! a bounded queue, and is written by a thread of its own ([`queue`]). Whoever
//! logs never waits for standard output, whatever state that is in.
//!
//! Three event targets mean something to the formatter:
//!
//! - [`QUERY_TARGET`] is the query log: as text the message alone, as JSON with
//!   all fields;
//! - [`BANNER_TARGET`] is start-up output: as text the bare message without a
//!   level, and nothing at all when [`LogConfig::quiet`] is set;
//! - [`PLUGIN_TARGET`] and targets that begin with `portolan` are the server's
//!   own; all others are libraries and are heard from WARN upward.
//!
//! Spans are not printed: a line carries the fields of its event.

mod json;
mod layer;
mod queue;
mod text;
mod value;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::reload;

use self::layer::LineLayer;
use self::queue::Queue;

pub use self::queue::DroppedLines;
pub use self::text::escape;

/// What log lines look like and which are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// Also write lines of level DEBUG of the server's own code.
    pub debug: bool,
    /// Leave out the banner.
    pub quiet: bool,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, with typed fields.
    #[default]
    Json,
    /// `[INFO] plugin/NAME: text key=value`, as CoreDNS writes.
    Text,
}

/// Keeps logging alive; dropping it writes what is queued, for a bounded time.
#[derive(Debug)]
#[must_use = "dropping the guard ends logging"]
pub struct LogGuard {
    /// The lines on their way out.
    queue: Arc<Queue>,
    /// Changes the level while running.
    filter: reload::Handle<Targets, Registry>,
    /// As given to [`init`].
    config: LogConfig,
}

/// Logging could not be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InitError {
    /// Standard output could not be duplicated.
    #[error("cannot open standard output for logging")]
    Stdout(#[source] io::Error),
    /// The writer thread did not start.
    #[error("cannot start the log writer thread")]
    Thread(#[source] io::Error),
    /// Logging was set up before.
    #[error("logging is already set up")]
    AlreadySet(#[source] SetGlobalDefaultError),
}

/// The target of query log events.
pub const QUERY_TARGET: &str = "query";

/// The target of start-up output that `-quiet` leaves out.
pub const BANNER_TARGET: &str = "banner";

/// A target for events that speak for a directive.
pub const PLUGIN_TARGET: &str = "plugin";

/// Longest time that dropping a [`LogGuard`] waits for standard output.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Sends all `tracing` events of the process to standard output.
pub fn init(config: LogConfig) -> Result<LogGuard, InitError> {
    // A descriptor of our own: the lock and the buffer of `io::stdout` would
    // make whoever else touches it wait for a stalled reader.
    let stdout = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(InitError::Stdout)?;
    let queue = Queue::spawn(File::from(stdout)).map_err(InitError::Thread)?;
    let (subscriber, filter) = subscriber(config, &queue);
    tracing::subscriber::set_global_default(subscriber).map_err(InitError::AlreadySet)?;
    Ok(LogGuard {
        queue,
        filter,
        config,
    })
}

// === impl LogGuard ===

impl LogGuard {
    /// The count of lines that were dropped, for metrics.
    pub fn dropped_lines(&self) -> DroppedLines {
        self.queue.dropped_lines()
    }

    /// Starts or stops writing lines of level DEBUG, as a reload may ask for.
    pub fn set_debug(&self, debug: bool) {
        let config = LogConfig {
            debug,
            ..self.config
        };
        // This fails only when the subscriber is gone, and with it the log.
        let _ = self.filter.reload(targets(config));
    }

    /// Waits until all lines are written, at most for `limit`; says whether
    /// they were.
    pub fn flush(&self, limit: Duration) -> bool {
        self.queue.flush(limit)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.queue.close();
        self.queue.flush(FLUSH_LIMIT);
    }
}

/// The subscriber that writes to `queue`, and the handle to change its filter.
fn subscriber(
    config: LogConfig,
    queue: &Arc<Queue>,
) -> (
    impl tracing::Subscriber + Send + Sync + use<>,
    reload::Handle<Targets, Registry>,
) {
    let (filter, handle) = reload::Layer::new(targets(config));
    let layer = LineLayer::new(config.format, Arc::clone(queue));
    (
        tracing_subscriber::registry().with(layer.with_filter(filter)),
        handle,
    )
}

/// Which events become lines.
fn targets(config: LogConfig) -> Targets {
    let ours = if config.debug {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    let banner = if config.quiet {
        LevelFilter::OFF
    } else {
        LevelFilter::INFO
    };
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets([
            // A target is matched by its beginning: this is every crate of ours.
            ("portolan", ours),
            (PLUGIN_TARGET, ours),
            (QUERY_TARGET, LevelFilter::INFO),
            (BANNER_TARGET, banner),
            // It calls an error what any stranger can cause; what matters of it
            // is told by the cluster.
            ("memberlist", LevelFilter::OFF),
        ])
}

//! The running `errors` directive.

use std::future;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{ErrorLog, Failure, Level, Line, Rule};

/// Consolidates the errors of many threads and logs them.
#[derive(Debug, Default)]
pub struct ErrorReporter {
    /// Decides what is logged.
    log: ErrorLog,
    /// A window may have been opened.
    opened: Notify,
}

// === impl ErrorReporter ===

impl ErrorReporter {
    /// A reporter that consolidates by `rules`.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            log: ErrorLog::new(rules),
            opened: Notify::new(),
        }
    }

    /// Takes one error, from any thread.
    pub fn report(&self, failure: &Failure<'_>) {
        let before = self.next_end();
        emit(self.log.report(failure, now()));
        if self.next_end() != before {
            self.opened.notify_one();
        }
    }

    /// Closes windows on time until `stop`, and all of them then.
    ///
    /// Cancel safe: windows stay as they are.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.window_end() => emit(self.log.handle_timeout(now())),
                () = self.opened.notified() => {}
            }
        }
        self.flush();
    }

    /// Sums up all windows; later errors are logged at once.
    pub fn flush(&self) {
        emit(self.log.flush());
    }

    /// The end of the first window, where one is open.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.log.poll_timeout()
    }

    /// Waits for the end of the first window, for ever when none is open.
    async fn window_end(&self) {
        match self.next_end() {
            Some(end) => time::sleep_until(end.into()).await,
            None => future::pending().await,
        }
    }
}

/// Sends `lines` to the log.
fn emit(lines: Vec<Line>) {
    for Line { level, text } in lines {
        match level {
            Level::Debug => debug!(target: "plugin", plugin = "errors", "{text}"),
            Level::Info => info!(target: "plugin", plugin = "errors", "{text}"),
            Level::Warning => warn!(target: "plugin", plugin = "errors", "{text}"),
            Level::Error => error!(target: "plugin", plugin = "errors", "{text}"),
        }
    }
}

/// The clock that windows are measured by.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
fn now() -> Instant {
    Instant::now()
}

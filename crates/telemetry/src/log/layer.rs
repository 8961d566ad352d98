//! The `tracing` layer that turns events into queued lines.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::queue::Queue;
use super::{LogFormat, json, text};

/// Formats every event it sees and queues the line.
pub(super) struct LineLayer {
    /// The form of a line.
    format: LogFormat,
    /// Where lines go.
    queue: Arc<Queue>,
}

// === impl LineLayer ===

impl LineLayer {
    /// A layer that writes lines in `format` to `queue`.
    pub(super) fn new(format: LogFormat, queue: Arc<Queue>) -> Self {
        Self { format, queue }
    }
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = match self.format {
            LogFormat::Json => json::format(event, now()),
            LogFormat::Text => text::format(event),
        };
        self.queue.push(&line);
    }
}

/// The wall clock, for the time stamp.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

//! A log that tests can read.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use super::queue::Queue;
use super::{LogConfig, LogGuard, subscriber};

/// A sink that can be read afterward.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    /// What was written.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.bytes().clone()).expect("lines are UTF-8")
    }

    /// The bytes so far.
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().expect("nobody panics while writing")
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `say` with a log that writes to `sink`.
pub(super) fn with_log(
    config: LogConfig,
    sink: impl Write + Send + 'static,
    say: impl FnOnce(&LogGuard),
) -> LogGuard {
    let queue = Queue::spawn(sink).expect("the thread starts");
    let (subscriber, filter) = subscriber(config, &queue);
    let guard = LogGuard {
        queue,
        filter,
        config,
    };
    tracing::subscriber::with_default(subscriber, || say(&guard));
    guard
}

/// All that `say` logs.
pub(crate) fn capture(config: LogConfig, say: impl FnOnce()) -> String {
    let sink = Sink::default();
    drop(with_log(config, sink.clone(), |_| say()));
    sink.text()
}

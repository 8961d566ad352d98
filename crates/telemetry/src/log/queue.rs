//! The bounded queue between those who log and standard output.
//!
//! Lines are appended to one buffer under a lock that is held for the copy
//! alone. A thread of its own takes the buffer, leaves an empty one, and writes.
//! When standard output stalls the buffer fills, and further lines are dropped
//! and counted; when it fails (a closed pipe, a full disk) the lines of the
//! failed write are. Only the writer thread ever waits for standard output.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Log lines waiting to be written.
pub(super) struct Queue {
    /// What is waiting, and what the writer is doing.
    state: Mutex<State>,
    /// Wakes the writer: there is something to write, or no more will come.
    work: Condvar,
    /// Wakes whoever flushes: a write has ended.
    written: Condvar,
    /// Lines that were lost.
    dropped: DroppedLines,
}

/// The count of log lines that were dropped because standard output was slow
/// or failed.
#[derive(Debug, Clone, Default)]
pub struct DroppedLines(Arc<AtomicU64>);

/// The part of [`Queue`] under the lock.
#[derive(Debug, Default)]
struct State {
    /// Whole lines, each with its line end.
    pending: Vec<u8>,
    /// The writer is writing what it took.
    writing: bool,
    /// No more lines are taken; the writer ends when `pending` is empty.
    closed: bool,
}

/// The writer's end of the queue.
struct Writer<W> {
    /// Where lines go.
    sink: W,
    /// The last write broke off within a line.
    torn: bool,
}

// === impl Queue ===

impl Queue {
    /// Creates a queue and the thread that writes it to `sink`.
    pub(super) fn spawn<W>(sink: W) -> io::Result<Arc<Self>>
    where
        W: Write + Send + 'static,
    {
        let queue = Arc::new(Self {
            state: Mutex::default(),
            work: Condvar::new(),
            written: Condvar::new(),
            dropped: DroppedLines::default(),
        });
        let writer = Writer { sink, torn: false };
        let lines = Arc::clone(&queue);
        // Nobody joins this thread: it may be stuck in a write for ever.
        thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(&lines))?;
        Ok(queue)
    }

    /// Queues one line, which includes its line end, or drops and counts it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.closed || state.pending.len().saturating_add(line.len()) > QUEUE_BYTES {
            drop(state);
            self.dropped.add(1);
            return;
        }
        let was_empty = state.pending.is_empty();
        state.pending.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.work.notify_one();
        }
    }

    /// Takes no more lines, and lets the writer end after the last one.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    /// Waits until all lines are written, at most for `limit`; says whether
    /// they were.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let busy = |state: &mut State| state.writing || !state.pending.is_empty();
        let waited = self.written.wait_timeout_while(self.lock(), limit, busy);
        let (_state, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        !outcome.timed_out()
    }

    /// A handle on the count of lost lines.
    pub(super) fn dropped_lines(&self) -> DroppedLines {
        self.dropped.clone()
    }

    /// Waits for lines and takes them in exchange for `empty`; `None` at the
    /// end.
    fn take(&self, empty: Vec<u8>) -> Option<Vec<u8>> {
        let idle = |state: &mut State| state.pending.is_empty() && !state.closed;
        let waited = self.work.wait_while(self.lock(), idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.pending.is_empty() {
            return None;
        }
        state.writing = true;
        Some(mem::replace(&mut state.pending, empty))
    }

    /// Tells those who flush that the writer has ended a write.
    fn wrote(&self) {
        self.lock().writing = false;
        self.written.notify_all();
    }

    /// Locks the state; a poisoned lock still holds whole lines.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

// === impl DroppedLines ===

impl DroppedLines {
    /// Lines dropped since the start.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts `lines` more.
    fn add(&self, lines: u64) {
        self.0.fetch_add(lines, Ordering::Relaxed);
    }
}

// === impl Writer ===

impl<W: Write> Writer<W> {
    /// Writes until the queue is closed and empty.
    fn run(mut self, queue: &Queue) {
        let mut spare = Vec::new();
        while let Some(mut lines) = queue.take(mem::take(&mut spare)) {
            let lost = self.write(&lines);
            queue.dropped.add(lost);
            queue.wrote();
            lines.clear();
            lines.shrink_to(SPARE_BYTES);
            spare = lines;
        }
    }

    /// Writes `lines` and returns how many of them were lost.
    fn write(&mut self, lines: &[u8]) -> u64 {
        // A line cut off by a failed write must not swallow the next one.
        if self.torn && self.write_all(b"\n") != 1 {
            return count_lines(lines);
        }
        let written = self.write_all(lines);
        let (done, rest) = lines.split_at(written);
        self.torn = !rest.is_empty() && done.last().is_some_and(|&byte| byte != b'\n');
        count_lines(rest)
    }

    /// Writes as much of `bytes` as can be written and returns how much it was.
    fn write_all(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..)
            && !rest.is_empty()
        {
            match self.sink.write(rest) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Standard output may be a non-blocking pipe.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::park_timeout(RETRY_INTERVAL);
                }
                Err(_) => break,
            }
        }
        written
    }
}

/// Counts the line ends in `lines`.
fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().map(|&byte| u64::from(byte == b'\n')).sum()
}

/// Most bytes of lines that wait to be written; as many again may be in the
/// hands of the writer.
pub(super) const QUEUE_BYTES: usize = 4 << 20;

/// Memory that the writer keeps between writes.
const SPARE_BYTES: usize = 64 << 10;

/// How long the writer waits for a non-blocking pipe to drain.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::{PipeReader, Read as _, pipe};
    use std::time::Instant;

    use super::*;

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let (reader, queue) = piped();
        for number in 0..1000 {
            queue.push(format!("line {number}\n").as_bytes());
        }
        queue.close();

        let text = read_all(reader);

        let expected: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        assert_eq!(text, expected);
        assert_eq!(queue.dropped_lines().get(), 0);
    }

    #[test]
    fn a_stalled_reader_neither_blocks_nor_grows_the_queue() {
        let (reader, queue) = piped();
        let line = format!("{}\n", "x".repeat(1023));
        let count = 4 * QUEUE_BYTES / line.len();

        let start = now();
        for _ in 0..count {
            queue.push(line.as_bytes());
        }
        let pushed = start.elapsed();
        let flushed = queue.flush(Duration::from_millis(50));

        assert!(pushed < Duration::from_secs(5), "pushing took {pushed:?}");
        assert!(!flushed, "a stalled reader cannot be flushed to");
        assert!(queue.lock().pending.len() <= QUEUE_BYTES);
        let dropped = queue.dropped_lines().get();
        assert!(dropped > 0);

        // When the reader comes back, every line is either there or counted.
        queue.close();
        let text = read_all(reader);
        assert!(text.lines().all(|read| read.len() == 1023));
        assert_eq!(
            text.lines().count() as u64 + queue.dropped_lines().get(),
            count as u64
        );
    }

    #[test]
    fn a_closed_pipe_counts_and_keeps_going() {
        let (reader, queue) = piped();
        drop(reader);

        queue.push(b"one\n");
        assert!(queue.flush(LONG));
        queue.push(b"two\nthree\n");
        assert!(queue.flush(LONG));

        assert_eq!(queue.dropped_lines().get(), 3);
    }

    #[test]
    fn a_full_disk_counts_and_keeps_going() {
        let full = OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full exists");
        let queue = Queue::spawn(full).expect("the thread starts");

        queue.push(b"one\n");
        assert!(queue.flush(LONG));

        assert_eq!(queue.dropped_lines().get(), 1);
    }

    #[test]
    fn a_line_cut_off_does_not_swallow_the_next() {
        let sink = Patchy {
            room: 6,
            out: Vec::new(),
        };
        let mut writer = Writer { sink, torn: false };

        let lost = writer.write(b"one\ntwo\n");
        writer.sink.room = 100;
        let lost_later = writer.write(b"three\n");

        assert_eq!((lost, lost_later), (1, 0));
        assert_eq!(writer.sink.out, b"one\ntw\nthree\n");
    }

    #[test]
    fn a_closed_queue_drops_and_counts() {
        let (_reader, queue) = piped();
        queue.close();

        queue.push(b"late\n");

        assert_eq!(queue.dropped_lines().get(), 1);
    }

    /// Long enough for any machine.
    const LONG: Duration = Duration::from_secs(20);

    /// A sink that takes `room` bytes and then fails.
    struct Patchy {
        /// Bytes that still fit.
        room: usize,
        /// What was written.
        out: Vec<u8>,
    }

    impl Write for Patchy {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.out.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue that writes to a pipe.
    fn piped() -> (PipeReader, Arc<Queue>) {
        let (reader, writer) = pipe().expect("a pipe");
        (reader, Queue::spawn(writer).expect("the thread starts"))
    }

    /// Everything until the writer has closed the pipe.
    fn read_all(mut reader: PipeReader) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("lines are UTF-8");
        text
    }

    /// The time, to measure with.
    #[expect(clippy::disallowed_methods, reason = "a test measures real time")]
    fn now() -> Instant {
        Instant::now()
    }
}

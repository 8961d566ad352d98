//! The lines to one upstream: which one a query takes, and when a new one is
//! opened.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::line::Line;
use crate::line::LineStanding;

/// Queries that wait on a line before another line is opened.
const DEPTH: usize = 8;

/// Most lines to one upstream that takes many queries on each.
const MAX_LINES: usize = 16;

/// Most lines to one upstream that takes one query on each.
const MAX_SERIAL_LINES: usize = 512;

/// The lines to one upstream.
#[derive(Debug)]
pub(crate) struct Lines {
    /// The lines, oldest first.
    lines: Mutex<Vec<Line>>,
    /// Bounds.
    limits: Limits,
    /// Whether the upstream closes a connection after one response.
    is_serial: AtomicBool,
}

/// Bounds of the lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long a line may be idle.
    pub(crate) expire: Duration,
    /// How long a line is given queries.
    pub(crate) max_age: Option<Duration>,
    /// How many lines may be idle; 0 means no bound of its own.
    pub(crate) max_idle: usize,
}

/// A line for a query, and whether its connection was there already.
pub(crate) struct Chosen {
    /// The line.
    pub(crate) line: Line,
    /// Whether its connection was there already.
    pub(crate) reused: bool,
}

// === impl Lines ===

impl Lines {
    /// No lines yet.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            lines: Mutex::default(),
            limits,
            is_serial: AtomicBool::new(false),
        }
    }

    /// The line that the next query takes: the one with the fewest that wait,
    /// the youngest of several so that the surplus expires, or a new one.
    pub(crate) fn choose(&self, now: Instant, open: impl FnOnce() -> Line) -> Chosen {
        let mut lines = self.lock();
        lines.retain(|line| self.limits.allow(line.standing(now), now));
        let (depth, most) = if self.is_serial.load(Ordering::Relaxed) {
            (1, MAX_SERIAL_LINES)
        } else {
            (DEPTH, MAX_LINES)
        };
        let best = lines
            .iter()
            .rev()
            .map(|line| (line, line.standing(now)))
            .min_by_key(|(_, standing)| standing.waiting);
        if let Some((line, standing)) = best
            && (standing.waiting < depth || lines.len() >= most)
        {
            return Chosen {
                line: line.clone(),
                reused: standing.open,
            };
        }
        let line = open();
        lines.push(line.clone());
        Chosen {
            line,
            reused: false,
        }
    }

    /// Takes in a line that was opened for another purpose.
    pub(crate) fn adopt(&self, line: Line) {
        self.lock().push(line);
    }

    /// Lets go of the lines that are idle and more than allowed, the oldest
    /// first.
    pub(crate) fn settle(&self, now: Instant) {
        if self.limits.max_idle == 0 {
            return;
        }
        let mut lines = self.lock();
        let is_idle = |line: &Line| line.standing(now).waiting == 0;
        let mut surplus = lines
            .iter()
            .filter(|line| is_idle(line))
            .count()
            .saturating_sub(self.limits.max_idle);
        lines.retain(|line| {
            let goes = surplus > 0 && is_idle(line);
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// Takes in that a query was lost with its line.
    pub(crate) fn lost(&self, line: &Line) {
        if line.took_one_query_only() {
            self.is_serial.store(true, Ordering::Relaxed);
        }
    }

    /// Takes in that a line carried several queries.
    pub(crate) fn carried_several(&self) {
        self.is_serial.store(false, Ordering::Relaxed);
    }

    /// How long a line may be idle.
    pub(crate) fn expire(&self) -> Duration {
        self.limits.expire
    }

    /// The lines.
    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Limits ===

impl Limits {
    /// Whether a line may be given another query.
    fn allow(&self, standing: LineStanding, now: Instant) -> bool {
        let young = self
            .max_age
            .is_none_or(|age| now.saturating_duration_since(standing.begun) < age);
        let idle =
            standing.waiting == 0 && now.saturating_duration_since(standing.used) >= self.expire;
        standing.usable && young && !idle
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::dial::Dialed;

    #[tokio::test]
    async fn queries_share_a_line_until_it_is_full() {
        let lines = lines(None, 0);
        for _ in 0..2 * DEPTH {
            wait_on(&lines).await;
        }
        assert_eq!(lines.lock().len(), 2);
    }

    #[tokio::test]
    async fn an_upstream_that_closes_after_one_response_gets_one_query_a_line() {
        let lines = lines(None, 0);
        lines.is_serial.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            wait_on(&lines).await;
        }
        assert_eq!(lines.lock().len(), 3);
        lines.carried_several();
        wait_on(&lines).await;
        assert_eq!(lines.lock().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_line_is_given_no_more() {
        let lines = lines(Some(Duration::from_millis(500)), 0);
        wait_on(&lines).await;
        tokio::time::advance(Duration::from_millis(400)).await;
        assert!(lines.choose(Instant::now(), || panic!("another")).reused);
        tokio::time::advance(Duration::from_millis(200)).await;
        let chosen = lines.choose(Instant::now(), open);
        assert!(!chosen.reused);
    }

    #[tokio::test]
    async fn no_more_lines_stay_idle_than_allowed() {
        let lines = lines(None, 1);
        for _ in 0..3 {
            lines.adopt(open());
        }
        lines.settle(Instant::now());
        assert_eq!(lines.lock().len(), 1);
    }

    /// Lines that expire after 10 s.
    fn lines(max_age: Option<Duration>, max_idle: usize) -> Lines {
        Lines::new(Limits {
            expire: Duration::from_secs(10),
            max_age,
            max_idle,
        })
    }

    /// Has a query wait for ever.
    async fn wait_on(lines: &Lines) {
        let line = lines.choose(Instant::now(), open).line;
        TaskTracker::new().spawn(async move {
            let frame = |id: u16| [&[0, 2][..], &id.to_be_bytes()].concat();
            line.ask(frame).await.ok();
        });
        yield_now().await;
        yield_now().await;
    }

    /// A line to a peer that says nothing.
    fn open() -> Line {
        let dialed = async {
            let (near, far) = tokio::io::duplex(64 * 1024);
            TaskTracker::new().spawn(async move {
                let _far = far;
                std::future::pending::<()>().await;
            });
            Ok(Dialed {
                stream: Box::new(near),
                local: None,
            })
        };
        let (line, driver) = Line::new(dialed, Duration::from_secs(10));
        TaskTracker::new().spawn(driver);
        line
    }
}

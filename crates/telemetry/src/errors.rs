//! The `errors` directive: failed queries in the log, similar ones consolidated.
//!
//! [`ErrorLog`] decides, with the time as an argument: an error that matches a
//! rule opens a window and is counted, and when the window ends one line says
//! how many there were. [`ErrorReporter`] runs it: it reads the clock, sends the
//! lines to the log and closes windows on time.

mod reporter;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use regex::Regex;

pub use self::reporter::ErrorReporter;

/// Consolidates errors by rule.
#[derive(Debug, Default)]
pub struct ErrorLog {
    /// In the order of the configuration: the first that matches decides.
    rules: Vec<Rule>,
    /// One window for each rule, and whether there will be more.
    state: Mutex<State>,
}

/// One `consolidate` rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// How long errors are collected after the first.
    pub period: Duration,
    /// The errors that the rule is about, by their text.
    pub pattern: Regex,
    /// The level of the rule's lines.
    pub level: Level,
    /// Log the first error of a window at once.
    pub show_first: bool,
}

/// The level of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Level {
    /// For those who look for a defect.
    Debug,
    /// For the record.
    Info,
    /// Worth an alert.
    Warning,
    /// Broken; what CoreDNS takes where no level is given.
    #[default]
    Error,
}

/// A query that failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// The rcode that the client was given, as a number.
    pub rcode: u16,
    /// The qname, in lower case.
    pub name: &'a str,
    /// The qtype.
    pub qtype: &'a str,
    /// What went wrong; rules match on this alone.
    pub text: &'a str,
}

/// A line to be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// Its text.
    pub text: String,
}

/// The part of [`ErrorLog`] that changes.
#[derive(Debug, Default)]
struct State {
    /// The window of each rule, where one is open.
    windows: Vec<Option<Window>>,
    /// Nothing is collected any more.
    closed: bool,
}

/// Errors collected for a rule.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// When it is summed up.
    ends: Instant,
    /// Errors so far, never none.
    count: u64,
}

// === impl ErrorLog ===

impl ErrorLog {
    /// A log that consolidates by `rules`.
    pub fn new(rules: Vec<Rule>) -> Self {
        let windows = vec![None; rules.len()];
        Self {
            rules,
            state: Mutex::new(State {
                windows,
                closed: false,
            }),
        }
    }

    /// Takes one error and returns what is to be logged now.
    pub fn report(&self, failure: &Failure<'_>, now: Instant) -> Vec<Line> {
        // Matching is the costly part and needs no lock.
        let rule = self
            .rules
            .iter()
            .position(|rule| rule.pattern.is_match(failure.text));
        let Some((index, rule)) = rule.and_then(|index| Some((index, self.rules.get(index)?)))
        else {
            return vec![Line {
                level: Level::Error,
                text: failure.to_string(),
            }];
        };
        let mut state = self.lock();
        let closed = state.closed;
        let Some(window) = state.windows.get_mut(index).filter(|_| !closed) else {
            drop(state);
            return vec![Line {
                level: Level::Error,
                text: failure.to_string(),
            }];
        };
        let mut lines = Vec::new();
        if let Some(over) = window.take_if(|window| window.ends <= now) {
            lines.extend(rule.summary(over));
        }
        if let Some(window) = window {
            window.count = window.count.saturating_add(1);
        } else {
            *window = Some(Window {
                ends: now + rule.period,
                count: 1,
            });
            if rule.show_first {
                lines.push(Line {
                    level: rule.level,
                    text: failure.to_string(),
                });
            }
        }
        lines
    }

    /// When [`ErrorLog::handle_timeout`] should be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.lock()
            .windows
            .iter()
            .flatten()
            .map(|window| window.ends)
            .min()
    }

    /// Sums up the windows that have ended.
    pub fn handle_timeout(&self, now: Instant) -> Vec<Line> {
        self.sum_up(&mut self.lock(), |window| window.ends <= now)
    }

    /// Sums up all windows and collects no more: what comes now is logged at
    /// once.
    pub fn flush(&self) -> Vec<Line> {
        let mut state = self.lock();
        state.closed = true;
        self.sum_up(&mut state, |_| true)
    }

    /// Sums up the windows that are `over`.
    fn sum_up(&self, state: &mut State, over: impl Fn(&Window) -> bool) -> Vec<Line> {
        let windows = self.rules.iter().zip(&mut state.windows);
        let ended = windows.filter_map(|(rule, window)| {
            let window = window.take_if(|window| over(window))?;
            rule.summary(window)
        });
        ended.collect()
    }

    /// Locks the windows; a poisoned lock still holds valid ones.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Rule ===

impl Rule {
    /// The line at the end of a window, unless its only error was shown.
    fn summary(&self, window: Window) -> Option<Line> {
        if self.show_first && window.count == 1 {
            return None;
        }
        let text = format!(
            "{} errors like '{}' occurred in last {}",
            window.count,
            self.pattern,
            GoDuration(self.period),
        );
        Some(Line {
            level: self.level,
            text,
        })
    }
}

// === impl Failure ===

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}: {}",
            self.rcode, self.name, self.qtype, self.text
        )
    }
}

/// A duration as Go prints it: `1h0m0s`, `5m0s`, `1.5s`, `250ms`.
#[derive(Debug, Clone, Copy)]
pub struct GoDuration(pub Duration);

// === impl GoDuration ===

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match nanos {
            0 => return f.write_str("0s"),
            1..1_000 => return write!(f, "{nanos}ns"),
            1_000..1_000_000 => return write_fraction(f, nanos, 1_000, "µs"),
            1_000_000..1_000_000_000 => return write_fraction(f, nanos, 1_000_000, "ms"),
            _ => {}
        }
        let minutes = self.0.as_secs() / 60;
        if minutes >= 60 {
            write!(f, "{}h", minutes / 60)?;
        }
        if minutes > 0 {
            write!(f, "{}m", minutes % 60)?;
        }
        write_fraction(f, nanos % 60_000_000_000, 1_000_000_000, "s")
    }
}

/// Writes `nanos / unit` exactly, without zeros at the end.
fn write_fraction(
    f: &mut fmt::Formatter<'_>,
    nanos: u128,
    unit: u128,
    symbol: &str,
) -> fmt::Result {
    write!(f, "{}", nanos / unit)?;
    let digits = usize::try_from(unit.ilog10()).unwrap_or_default();
    let fraction = format!("{:0digits$}", nanos % unit);
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        write!(f, ".{fraction}")?;
    }
    f.write_str(symbol)
}

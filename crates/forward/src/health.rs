//! When an upstream is asked last, when it is down, and when it is probed.
//!
//! ```text
//!          failed                    probe fails, more than max_fails in a row
//!  good ──────────> suspect (probed) ─────────────────────────> down (probed)
//!    ^                 │                                           │
//!    └─────────────────┴──────── any response: a probe's, a query's ┘
//! ```
//!
//! A failure in a query makes a suspect at once: the next query asks the
//! others first, unless the order is fixed; then a probe has to fail as well,
//! or [`FAILING`] queries in a row.
//! The first probe follows a failure without delay, though
//! probes never follow one another closer than [`Health::gap`], however often
//! queries fail: an upstream that refuses connections while it answers probes
//! is not flooded.

use std::time::Duration;
use std::time::Instant;

use crate::policy::Standing;

/// Least time between two probes.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// Time between a probe that succeeded and the next one, at most.
const MAX_GAP: Duration = Duration::from_millis(500);

/// How long an upstream that is not probed stays a suspect.
const SUSPECT_HOLD: Duration = Duration::from_secs(1);

/// Failures of queries in a row that count as much as a failed probe.
const FAILING: u32 = 3;

/// Health of one upstream.
#[derive(Debug)]
pub(crate) struct Health {
    /// More failed probes in a row than this and the upstream is down; 0
    /// means never, and no probes.
    max_fails: u32,
    /// Time between probes while they fail.
    interval: Duration,
    /// Failed probes in a row.
    fails: u32,
    /// Failures of queries since the last response.
    misses: u32,
    /// Until when the upstream is a suspect, if nothing else clears it.
    suspect: Suspicion,
    /// When the next probe is due; `None` without probing.
    next_probe: Option<Instant>,
    /// When the last probe was sent.
    last_probe: Option<Instant>,
    /// Whether somebody waits for [`Self::poll_timeout`].
    watched: bool,
}

/// Whether an upstream has failed lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspicion {
    /// It has not.
    None,
    /// Until then.
    Until(Instant),
    /// Until it responds.
    Probed,
}

/// What became of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing worth telling.
    None,
    /// It is down now.
    Down,
    /// It was down and has responded.
    Up,
}

// === impl Health ===

impl Health {
    /// An upstream that is good until proven otherwise.
    pub(crate) fn new(max_fails: u32, interval: Duration) -> Self {
        Self {
            max_fails,
            interval: interval.max(MIN_INTERVAL),
            fails: 0,
            misses: 0,
            suspect: Suspicion::None,
            next_probe: None,
            last_probe: None,
            watched: false,
        }
    }

    /// How the upstream stands.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        if self.is_down() {
            return Standing::Down;
        }
        match self.suspect {
            Suspicion::None => Standing::Good,
            Suspicion::Until(until) if now >= until => Standing::Good,
            Suspicion::Probed if self.fails > 0 || self.misses >= FAILING => Standing::Failing,
            Suspicion::Until(_) | Suspicion::Probed => Standing::Suspect,
        }
    }

    /// Takes in a failure of a query. Says whether somebody has to begin to
    /// wait for [`Self::poll_timeout`].
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        self.misses = self.misses.saturating_add(1);
        if self.max_fails == 0 {
            self.suspect = Suspicion::Until(now + SUSPECT_HOLD);
            return false;
        }
        self.suspect = Suspicion::Probed;
        if self.next_probe.is_none() {
            let earliest = self.last_probe.map(|last| last + self.gap());
            self.next_probe = Some(earliest.map_or(now, |earliest| earliest.max(now)));
        }
        !std::mem::replace(&mut self.watched, true)
    }

    /// Takes in a response to a query.
    pub(crate) fn answered(&mut self) -> Change {
        let change = if self.is_down() {
            Change::Up
        } else {
            Change::None
        };
        self.fails = 0;
        self.misses = 0;
        self.suspect = Suspicion::None;
        self.next_probe = None;
        change
    }

    /// When to call [`Self::handle_timeout`]; `None` lets whoever waits go.
    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        self.watched = self.next_probe.is_some();
        self.next_probe
    }

    /// Says whether to probe now. `jitter` is 0 to 1.
    pub(crate) fn handle_timeout(&mut self, now: Instant, jitter: f64) -> bool {
        if self.next_probe.is_none_or(|due| now < due) {
            return false;
        }
        self.last_probe = Some(now);
        // A tenth more or less, lest many probe in step.
        self.next_probe = Some(now + self.interval.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0)));
        true
    }

    /// Takes in the outcome of a probe.
    pub(crate) fn probed(&mut self, alive: bool) -> Change {
        if alive {
            return self.answered();
        }
        let was_down = self.is_down();
        self.fails = self.fails.saturating_add(1);
        if self.is_down() && !was_down {
            Change::Down
        } else {
            Change::None
        }
    }

    /// Whether too many probes failed.
    fn is_down(&self) -> bool {
        self.max_fails > 0 && self.fails > self.max_fails
    }

    /// Least time between a probe and the next one that a failure asks for.
    fn gap(&self) -> Duration {
        self.interval.min(MAX_GAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_makes_a_suspect_and_one_probe_at_once() {
        let (mut health, now) = health(2);
        assert_eq!(health.standing(now), Standing::Good);
        assert!(health.failed(now));
        assert_eq!(health.standing(now), Standing::Suspect);
        assert_eq!(health.poll_timeout(), Some(now));
        assert!(health.handle_timeout(now, 0.5));
        assert_eq!(health.probed(true), Change::None);
        assert_eq!(health.standing(now), Standing::Good);
        assert_eq!(health.poll_timeout(), None);
    }

    #[test]
    fn more_than_max_fails_probes_make_it_down_and_one_response_up() {
        let (mut health, mut now) = health(2);
        health.failed(now);
        let (mut changes, mut standings) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            now = health.poll_timeout().unwrap();
            assert!(health.handle_timeout(now, 0.5));
            changes.push(health.probed(false));
            standings.push(health.standing(now));
        }
        assert_eq!(
            standings,
            [
                Standing::Failing,
                Standing::Failing,
                Standing::Down,
                Standing::Down
            ]
        );
        assert_eq!(
            changes,
            [Change::None, Change::None, Change::Down, Change::None]
        );
        assert_eq!(health.standing(now), Standing::Down);
        assert_eq!(health.probed(true), Change::Up);
        assert_eq!(health.standing(now), Standing::Good);
    }

    #[test]
    fn failures_in_a_row_count_as_a_failed_probe() {
        let (mut health, now) = health(2);
        for expected in [Standing::Suspect, Standing::Suspect, Standing::Failing] {
            health.failed(now);
            assert_eq!(health.standing(now), expected);
        }
        health.answered();
        health.failed(now);
        assert_eq!(health.standing(now), Standing::Suspect);
    }

    #[test]
    fn a_response_to_a_query_ends_the_probes() {
        let (mut health, now) = health(1);
        health.failed(now);
        assert!(health.handle_timeout(now, 0.0));
        health.probed(false);
        assert_eq!(health.answered(), Change::None);
        assert_eq!(health.poll_timeout(), None);
    }

    #[test]
    fn probes_keep_their_interval_within_a_tenth() {
        for (jitter, millis) in [(0.0, 450), (0.5, 500), (1.0, 550)] {
            let (mut health, now) = health(2);
            health.failed(now);
            health.handle_timeout(now, jitter);
            let next = health.poll_timeout().unwrap();
            assert_eq!((next - now).as_millis(), millis);
            assert!(!health.handle_timeout(next - Duration::from_millis(1), 0.5));
        }
    }

    #[test]
    fn failures_between_answered_probes_do_not_flood() {
        let (mut health, start) = health(2);
        let mut probes = 0;
        // A thousand failures in one second, each probe answered at once.
        for millisecond in 0..1000 {
            let now = start + Duration::from_millis(millisecond);
            health.failed(now);
            if health.handle_timeout(now, 0.5) {
                probes += 1;
                health.probed(true);
            }
        }
        assert_eq!(probes, 2);
    }

    #[test]
    fn only_the_first_failure_asks_for_a_watcher() {
        let (mut health, now) = health(2);
        assert!(health.failed(now));
        assert!(!health.failed(now));
        health.answered();
        assert!(!health.failed(now), "the watcher has not gone yet");
        health.answered();
        assert_eq!(health.poll_timeout(), None);
        assert!(health.failed(now));
    }

    #[test]
    fn max_fails_0_never_probes_and_never_takes_down() {
        let (mut health, now) = health(0);
        for _ in 0..100 {
            assert!(!health.failed(now));
            health.probed(false);
        }
        assert_eq!(health.poll_timeout(), None);
        assert_eq!(health.standing(now), Standing::Suspect);
        assert_eq!(health.standing(now + SUSPECT_HOLD), Standing::Good);
    }

    #[test]
    fn an_interval_of_nothing_is_no_busy_loop() {
        let mut health = Health::new(2, Duration::ZERO);
        let (_, now) = self::health(2);
        health.failed(now);
        health.handle_timeout(now, 0.0);
        assert!(health.poll_timeout().unwrap() >= now + Duration::from_millis(45));
    }

    /// Health with probes every 500 ms, and a time.
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn health(max_fails: u32) -> (Health, Instant) {
        (
            Health::new(max_fails, Duration::from_millis(500)),
            Instant::now(),
        )
    }
}

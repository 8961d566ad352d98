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
//!
//! The first probe follows a failure without delay. However often queries
//! fail, the next one waits: for the interval after a probe that failed, for
//! [`Health::gap`] after one that was answered, so that an upstream that
//! refuses connections while it answers probes is not flooded. An upstream
//! that stays down is probed less and less often, up to [`MAX_BACKOFF`],
//! unless queries need it: one that failed there, or had nowhere to go, asks
//! for a probe as soon as the interval allows.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::policy::Standing;

/// Least time between two probes.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// Time between a probe that succeeded and the next one, at most: an upstream
/// that breaks after that is not to go unnoticed for a long interval.
const MAX_GAP: Duration = Duration::from_millis(500);

/// Time between two probes of an upstream that stays down, at most, where the
/// interval is not longer.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// How long an upstream that is not probed stays a suspect.
const SUSPECT_HOLD: Duration = Duration::from_secs(1);

/// Times that the interval is doubled, at most: enough for the shortest.
const MAX_DOUBLINGS: u32 = 8;

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

/// Health of one upstream, for all who ask it.
#[derive(Debug)]
pub(crate) struct SharedHealth {
    /// Whether there is nothing to be told: mostly so, and then nobody takes
    /// the lock.
    is_well: AtomicBool,
    /// The health.
    health: Mutex<Health>,
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
        self.hurry(now);
        self.suspect = Suspicion::Probed;
        !std::mem::replace(&mut self.watched, true)
    }

    /// Takes in that the answer to a query is overdue, which may be the name's
    /// fault: that is worth a probe, and no suspicion. Says whether somebody has
    /// to begin to wait for [`Self::poll_timeout`].
    pub(crate) fn doubted(&mut self, now: Instant) -> bool {
        if self.max_fails == 0 {
            return false;
        }
        self.hurry(now);
        !std::mem::replace(&mut self.watched, true)
    }

    /// Takes in that a query had no other upstream to go to, and none went
    /// here. Says whether a probe is due sooner for that.
    pub(crate) fn missed(&mut self, now: Instant) -> bool {
        let before = self.next_probe;
        before.is_some_and(|before| self.hurry(now) < before)
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
        // Up to a fifth more, lest many probe in step.
        self.next_probe = Some(now + self.pause().mul_f64(1.0 + 0.2 * jitter.clamp(0.0, 1.0)));
        true
    }

    /// Takes in the outcome of a probe.
    pub(crate) fn probed(&mut self, alive: bool) -> Change {
        if alive {
            return self.answered();
        }
        let was_down = self.is_down();
        self.fails = self.fails.saturating_add(1);
        // Queries that failed while the probe was under way knew no better
        // than to ask for one after the gap.
        if let Some((next, last)) = self.next_probe.zip(self.last_probe) {
            self.next_probe = Some(next.max(last + self.interval));
        }
        if self.is_down() && !was_down {
            Change::Down
        } else {
            Change::None
        }
    }

    /// Whether a response would change nothing.
    fn is_well(&self) -> bool {
        self.fails == 0
            && self.misses == 0
            && self.suspect == Suspicion::None
            && self.next_probe.is_none()
    }

    /// Whether too many probes failed.
    fn is_down(&self) -> bool {
        self.max_fails > 0 && self.fails > self.max_fails
    }

    /// Has a probe sent as soon as the interval allows, and says when.
    fn hurry(&mut self, now: Instant) -> Instant {
        let gap = if self.fails > 0 {
            self.interval
        } else {
            self.gap()
        };
        let earliest = self.last_probe.map_or(now, |last| last + gap);
        let wanted = earliest.max(now);
        let due = self.next_probe.map_or(wanted, |next| next.min(wanted));
        self.next_probe = Some(due);
        due
    }

    /// Least time between a probe that was answered and the next one.
    fn gap(&self) -> Duration {
        self.interval.min(MAX_GAP)
    }

    /// Time to the next probe, if this one fails: the interval until the
    /// upstream is down, then twice as long each time.
    fn pause(&self) -> Duration {
        let doublings = self.fails.saturating_sub(self.max_fails).min(MAX_DOUBLINGS);
        let most = MAX_BACKOFF.max(self.interval);
        self.interval.saturating_mul(1 << doublings).min(most)
    }
}

// === impl SharedHealth ===

impl SharedHealth {
    /// Shares it.
    pub(crate) fn new(health: Health) -> Self {
        Self {
            is_well: AtomicBool::new(health.is_well()),
            health: Mutex::new(health),
        }
    }

    /// How the upstream stands.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        if self.is_well.load(Ordering::Acquire) {
            return Standing::Good;
        }
        self.change(|health| health.standing(now))
    }

    /// Takes in a response to a query.
    pub(crate) fn answered(&self) -> Change {
        if self.is_well.load(Ordering::Acquire) {
            return Change::None;
        }
        self.change(Health::answered)
    }

    /// Takes in anything else.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Health) -> R) -> R {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut health);
        self.is_well.store(health.is_well(), Ordering::Release);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_what_is_kept() {
        let (health, now) = health(1);
        let shared = SharedHealth::new(health);
        assert_eq!(shared.standing(now), Standing::Good);
        assert!(shared.change(|health| health.failed(now)));
        assert_eq!(shared.standing(now), Standing::Suspect);
        assert_eq!(shared.answered(), Change::None);
        assert_eq!(shared.standing(now), Standing::Good);
        for (change, at) in [(Change::None, 2), (Change::Down, 4)] {
            let at = now + at * MAX_BACKOFF;
            shared.change(|health| health.failed(at - MAX_BACKOFF));
            assert!(shared.change(|health| health.handle_timeout(at, 0.0)));
            assert_eq!(shared.change(|health| health.probed(false)), change);
        }
        assert_eq!(shared.standing(now), Standing::Down);
        assert_eq!(shared.answered(), Change::Up);
        assert_eq!(shared.answered(), Change::None);
    }

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
    fn a_doubt_is_a_probe_and_no_suspicion() {
        let (mut health, start) = health(2);
        assert!(health.doubted(start));
        assert_eq!(health.standing(start), Standing::Good);
        assert!(health.handle_timeout(start, 0.5));
        health.probed(true);
        // The next one is no sooner due than after a failure.
        assert!(!health.doubted(start + Duration::from_millis(1)));
        let due = health.poll_timeout().unwrap();
        assert_eq!(due, start + Duration::from_millis(500));
        let (mut unprobed, now) = self::health(0);
        assert!(!unprobed.doubted(now));
        assert_eq!(unprobed.poll_timeout(), None);
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
    fn probes_keep_their_interval_and_up_to_a_fifth_more() {
        for (jitter, millis) in [(0.0, 500), (0.5, 550), (1.0, 600)] {
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
    fn an_upstream_that_stays_down_is_probed_less_and_less() {
        let (mut health, mut now) = health(2);
        health.failed(now);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert!(health.handle_timeout(now, 0.0));
            health.probed(false);
            let next = health.poll_timeout().unwrap();
            pauses.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(pauses, [500, 500, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
        // Until a query needs it.
        assert!(health.handle_timeout(now, 0.0));
        assert!(health.missed(now));
        assert_eq!(
            health.poll_timeout(),
            Some(now + Duration::from_millis(500))
        );
        assert!(!health.missed(now), "that is soon enough");
        health.failed(now + Duration::from_secs(1));
        let due = health.poll_timeout().unwrap();
        assert_eq!(due, now + Duration::from_millis(500));
    }

    #[test]
    fn however_many_queries_fail_there_is_one_probe_an_interval() {
        for alive in [true, false] {
            let (mut health, start) = health(2);
            let mut probed = Vec::new();
            for millisecond in 0..20_000 {
                let now = start + Duration::from_millis(millisecond);
                health.failed(now);
                health.missed(now);
                if health.handle_timeout(now, 0.0) {
                    probed.push(now);
                    health.probed(alive);
                }
            }
            assert!(probed.len() <= 40, "{}", probed.len());
            assert!(
                probed
                    .windows(2)
                    .all(|pair| pair[1] - pair[0] >= Duration::from_millis(500))
            );
        }
    }

    #[test]
    fn queries_that_fail_while_a_probe_is_under_way_do_not_bring_the_next_one_forward() {
        let interval = Duration::from_secs(30);
        let (_, start) = health(2);
        for (alive, expected) in [(true, MAX_GAP), (false, interval)] {
            let mut health = Health::new(2, interval);
            health.failed(start);
            assert!(health.handle_timeout(start, 0.0));
            let meanwhile = start + Duration::from_millis(100);
            health.failed(meanwhile);
            health.probed(alive);
            health.failed(meanwhile);
            assert_eq!(health.poll_timeout(), Some(start + expected), "{alive}");
        }
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
        assert!(health.poll_timeout().unwrap() >= now + MIN_INTERVAL);
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

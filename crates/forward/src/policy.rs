//! Which upstream to ask next.
//!
//! A [`Plan`] is made for each query. It goes through the upstreams in the
//! order of the policy, better standings before worse ones, and starts over
//! until the attempts are used up. An upstream that gave an answer that was
//! kept back is not asked again.

use std::time::Duration;

use rand::Rng;
use rand::seq::SliceRandom as _;
use smallvec::SmallVec;

use crate::MAX_UPSTREAMS;

/// Most times one query is sent to one upstream on one transport
/// (RFC 9520 §3.1: three).
pub(crate) const MAX_SENDS: usize = 3;

/// Times the upstreams are gone through: once more than that, over TCP.
const ROUNDS: usize = MAX_SENDS + 1;

/// Order in which upstreams are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Drawn anew for each query.
    #[default]
    Random,
    /// Each query begins with the upstream after the one the query before
    /// began with.
    RoundRobin,
    /// As configured.
    Sequential,
    /// The one that answers fastest first; one query in [`EXPLORE`] draws the
    /// order, so that the others are measured too.
    Fastest,
}

/// How an upstream stands, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It has not failed lately.
    Good,
    /// It has failed, or been slow, in a query.
    Suspect,
    /// A probe has failed as well.
    Failing,
    /// Too many probes have.
    Down,
}

/// How long an upstream takes to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoundTrip {
    /// As a rule.
    pub(crate) smoothed: Duration,
    /// How far from that, as a rule.
    pub(crate) variation: Duration,
}

/// What a plan goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// How the upstream stands.
    pub(crate) standing: Standing,
    /// How long it takes; `None` before its first answer.
    pub(crate) round_trip: Option<Duration>,
}

/// The attempts of one query.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Upstreams by their index, in order.
    order: Order,
    /// Upstreams that are not asked again: a bit for each index.
    settled: u32,
    /// Attempts taken from the plan, the skipped ones included.
    cursor: usize,
    /// Attempts that failed.
    failures: usize,
    /// Most attempts that may fail.
    max_failures: usize,
    /// Whether an attempt has failed as soon as it is slow.
    counts_slow: bool,
    /// Whether every upstream is down.
    all_down: bool,
}

/// Indexes of upstreams, mostly of few.
type Order = SmallVec<[usize; 4]>;

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Index of the upstream.
    pub(crate) upstream: usize,
    /// How often the query went through all upstreams before.
    pub(crate) round: u32,
}

// === impl Policy ===

impl Policy {
    /// The order for one query. `turn` grows by one with each.
    fn order(self, candidates: &[Candidate], turn: usize, rng: &mut impl Rng) -> Order {
        let count = candidates.len();
        let mut order: Order = (0..count).collect();
        match self {
            Self::Random => order.shuffle(rng),
            Self::Fastest if turn % EXPLORE == EXPLORE - 1 => order.shuffle(rng),
            // One that was never asked comes first.
            Self::Fastest => order.sort_by_key(|&index| {
                candidates
                    .get(index)
                    .and_then(|candidate| candidate.round_trip)
            }),
            Self::RoundRobin if count > 0 => order.rotate_left(turn % count),
            Self::RoundRobin | Self::Sequential => {}
        }
        order
    }

    /// The place of a standing in the order. A fixed order is kept until a
    /// probe says that it cannot be: those further back may not know the same
    /// names.
    fn rank(self, standing: Option<Standing>) -> Option<Standing> {
        match (self, standing) {
            (Self::Sequential, Some(Standing::Suspect)) => Some(Standing::Good),
            _ => standing,
        }
    }
}

// === impl Plan ===

impl Plan {
    /// Plans a query. `max_failures` is the setting: 0 is no bound but
    /// [`ROUNDS`]; `None` is twice the number of upstreams, where slow
    /// attempts do not count: under loss, the next datagram may be the one
    /// that arrives. If all upstreams are down, each is tried once: one of
    /// them may be back.
    pub(crate) fn new(
        policy: Policy,
        candidates: &[Candidate],
        turn: usize,
        max_failures: Option<usize>,
        rng: &mut impl Rng,
    ) -> Self {
        let count = candidates.len();
        let standing = |index: usize| candidates.get(index).map(|candidate| candidate.standing);
        let all_down = candidates
            .iter()
            .all(|candidate| candidate.standing == Standing::Down);
        let policy = if all_down { Policy::Random } else { policy };
        let mut order = policy.order(candidates, turn, rng);
        order.sort_by_key(|&index| policy.rank(standing(index)));
        let counts_slow = all_down || max_failures.is_some();
        let max_failures = match max_failures {
            None => 2 * count,
            Some(0) => ROUNDS * count,
            Some(bound) => bound,
        };
        Self {
            order,
            settled: 0,
            cursor: 0,
            failures: 0,
            max_failures: if all_down {
                max_failures.min(count)
            } else {
                max_failures
            },
            counts_slow,
            all_down,
        }
    }

    /// Whether every upstream is down.
    pub(crate) fn all_down(&self) -> bool {
        self.all_down
    }

    /// The next attempt, if there is one.
    pub(crate) fn next(&mut self) -> Option<Attempt> {
        if self.failures >= self.max_failures {
            return None;
        }
        let count = self.order.len();
        while self.cursor < ROUNDS * count {
            let round = self.cursor / count;
            let upstream = *self.order.get(self.cursor % count)?;
            self.cursor += 1;
            if self.settled & bit(upstream) == 0 {
                return Some(Attempt {
                    upstream,
                    round: u32::try_from(round).unwrap_or(u32::MAX),
                });
            }
        }
        None
    }

    /// Whether there is another attempt.
    pub(crate) fn has_next(&self) -> bool {
        let mut ahead = self.clone();
        ahead.next().is_some()
    }

    /// Notes that the newest attempt takes longer than its patience.
    pub(crate) fn slow(&mut self) {
        self.failures += usize::from(self.counts_slow);
    }

    /// Notes that an attempt failed, perhaps after it was [`Self::slow`].
    pub(crate) fn failed(&mut self, was_slow: bool) {
        self.failures += usize::from(!(was_slow && self.counts_slow));
    }

    /// Notes that an upstream gave an answer and need not be asked again.
    pub(crate) fn settle(&mut self, upstream: usize) {
        self.settled |= bit(upstream);
    }
}

/// The bit of an upstream, of which there are [`MAX_UPSTREAMS`] at most.
fn bit(upstream: usize) -> u32 {
    const { assert!(MAX_UPSTREAMS <= 32) };
    1 << (upstream % 32)
}

/// How long to wait for an upstream before the next one is asked too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// As a rule: twice its smoothed round trip, 50 to 250 ms. Where the next
    /// one has been asked before, what is slow there will not be faster for it:
    /// up to 1 s. Twice that in the last rounds.
    pub(crate) usual: Duration,
    /// Where that has led to many queries more: as long as an answer takes that
    /// is not out of the ordinary (RFC 6298 §2.3), 75 ms to 1 s.
    pub(crate) longest: Duration,
}

// === impl Patience ===

impl Patience {
    /// The patience with an upstream in a round. `is_repeat` says that all
    /// have been asked.
    pub(crate) fn new(round_trip: Option<RoundTrip>, round: u32, is_repeat: bool) -> Self {
        let most = if is_repeat { MAX_REPEAT } else { MAX_PATIENCE };
        let unknown = if is_repeat {
            UNKNOWN_REPEAT
        } else {
            MAX_PATIENCE
        };
        let usual = round_trip.map_or(unknown, |known| {
            (2 * known.smoothed).clamp(MIN_PATIENCE, most)
        });
        let longest = round_trip.map_or(unknown, |known| {
            ordinary(known).clamp(MIN_SPARING, MAX_SPARING).max(usual)
        });
        let times = if round < LAST_ROUND { 1 } else { 2 };
        Self {
            usual: times * usual,
            longest: times * longest,
        }
    }

    /// At least so long.
    pub(crate) fn at_least(self, least: Duration) -> Self {
        Self {
            usual: self.usual.max(least),
            longest: self.longest.max(least),
        }
    }
}

/// How long an answer takes that is not out of the ordinary (RFC 6298 §2.3),
/// at least [`MIN_OVERDUE`]. After that it is worth a probe to know whether the
/// upstream is still there: one that has ended refuses the probe at once, and
/// the rest of the [`Patience`] need not be had.
pub(crate) fn overdue(round_trip: RoundTrip) -> Duration {
    ordinary(round_trip).max(MIN_OVERDUE)
}

/// The longest that an answer takes as a rule (RFC 6298 §2.3).
fn ordinary(round_trip: RoundTrip) -> Duration {
    round_trip.smoothed + 4 * round_trip.variation
}

/// The round from which on there is no hurry.
const LAST_ROUND: u32 = 2;

/// Least patience: what a client does not notice.
const MIN_PATIENCE: Duration = Duration::from_millis(50);

/// Least time before an answer is overdue.
const MIN_OVERDUE: Duration = Duration::from_millis(20);

/// Most patience before the last round, and that with an upstream that has
/// never answered.
const MAX_PATIENCE: Duration = Duration::from_millis(250);

/// Most patience before a query is repeated.
const MAX_REPEAT: Duration = Duration::from_secs(1);

/// Patience before a query is repeated to an upstream that has never
/// answered: one second (RFC 6298 §2.1) would leave too few attempts.
const UNKNOWN_REPEAT: Duration = Duration::from_millis(500);

/// Least patience when queries are to be spared.
const MIN_SPARING: Duration = Duration::from_millis(75);

/// Most of it.
const MAX_SPARING: Duration = Duration::from_secs(1);

/// One query in so many is not asked of the fastest.
const EXPLORE: usize = 32;

#[cfg(test)]
mod tests {
    use rand::RngExt as _;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::Standing::Down;
    use super::Standing::Failing;
    use super::Standing::Good;
    use super::Standing::Suspect;
    use super::*;

    #[test]
    fn sequential_keeps_the_order_and_starts_over() {
        let mut plan = plan(Policy::Sequential, &[Good, Good, Good], 0, None);
        assert_eq!(all_failing(&mut plan), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn round_robin_begins_one_further_each_time() {
        let firsts: Vec<usize> = (0..5)
            .map(|turn| {
                let mut plan = plan(Policy::RoundRobin, &[Good, Good, Good], turn, None);
                plan.next().unwrap().upstream
            })
            .collect();
        assert_eq!(firsts, [0, 1, 2, 0, 1]);
    }

    #[test]
    fn random_begins_with_each_about_equally_often() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut counts = [0; 3];
        for _ in 0..3000 {
            let mut plan = Plan::new(Policy::Random, &candidates(&[Good; 3]), 0, None, &mut rng);
            counts[plan.next().unwrap().upstream] += 1;
        }
        assert!(
            counts.iter().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn suspects_come_after_the_good_and_the_down_last() {
        for policy in [Policy::Random, Policy::RoundRobin, Policy::Sequential] {
            let mut plan = plan(policy, &[Down, Failing, Good], 0, None);
            let order = all_failing(&mut plan);
            assert_eq!(order[..3], [2, 1, 0], "{policy:?}");
        }
    }

    #[test]
    fn a_fixed_order_is_kept_until_a_probe_has_failed() {
        for (policy, standing, first) in [
            (Policy::Sequential, Suspect, 0),
            (Policy::Sequential, Failing, 1),
            (Policy::RoundRobin, Suspect, 1),
            (Policy::Random, Suspect, 1),
        ] {
            let mut plan = plan(policy, &[standing, Good], 0, None);
            assert_eq!(plan.next().unwrap().upstream, first, "{policy:?}");
        }
    }

    #[test]
    fn attempts_end_at_the_configured_number_of_failures() {
        for (setting, expected) in [
            (None, 4),
            (Some(1), 1),
            (Some(3), 3),
            (Some(0), 8),
            (Some(99), 8),
        ] {
            let mut plan = plan(Policy::Sequential, &[Good, Good], 0, setting);
            assert_eq!(all_failing(&mut plan).len(), expected, "{setting:?}");
        }
    }

    #[test]
    fn slow_attempts_count_where_a_number_is_set() {
        for (setting, expected) in [(None, 8), (Some(1), 1), (Some(3), 3), (Some(0), 8)] {
            let mut plan = plan(Policy::Sequential, &[Good, Good], 0, setting);
            let mut sent = 0;
            while plan.next().is_some() {
                sent += 1;
                plan.slow();
            }
            assert_eq!(sent, expected, "{setting:?}");
        }
    }

    #[test]
    fn a_slow_attempt_that_fails_has_failed_once() {
        for (setting, expected) in [(None, 4), (Some(3), 3)] {
            let mut plan = plan(Policy::Sequential, &[Good, Good], 0, setting);
            let mut sent = 0;
            while plan.next().is_some() {
                sent += 1;
                plan.slow();
                plan.failed(true);
            }
            assert_eq!(sent, expected, "{setting:?}");
        }
    }

    #[test]
    fn loss_of_a_quarter_and_more_costs_no_query_and_little_time() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut latencies = Vec::new();
        for turn in 0..650 {
            let mut plan = Plan::new(
                Policy::RoundRobin,
                &candidates(&[Good; 2]),
                turn,
                None,
                &mut rng,
            );
            let mut now = Duration::ZERO;
            while let Some(attempt) = plan.next() {
                // A query or its response gets lost.
                if rng.random_range(0..100) >= 28 {
                    latencies.push(now + Duration::from_millis(1));
                    break;
                }
                now += Patience::new(Some(known(1, 0)), attempt.round, true).longest;
                plan.slow();
            }
        }
        latencies.sort_unstable();
        assert_eq!(latencies.len(), 650, "none is lost");
        assert!(latencies[643] <= Duration::from_millis(350), "99 of 100");
    }

    #[test]
    fn all_down_tries_each_once() {
        let mut plan = plan(Policy::Sequential, &[Down, Down, Down], 0, None);
        assert!(plan.all_down());
        let mut order = all_failing(&mut plan);
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2]);
        let mut plan = self::plan(Policy::Sequential, &[Down, Down], 0, None);
        plan.next();
        plan.slow();
        plan.next();
        plan.slow();
        assert_eq!(plan.next(), None, "slow or not");
        assert!(!self::plan(Policy::Sequential, &[Down, Suspect], 0, None).all_down());
    }

    #[test]
    fn an_upstream_that_answered_is_not_asked_again() {
        let mut plan = plan(Policy::Sequential, &[Good, Good], 0, None);
        let first = plan.next().unwrap();
        plan.settle(first.upstream);
        assert_eq!(all_failing(&mut plan), [1, 1, 1, 1]);
    }

    #[test]
    fn answers_kept_back_do_not_use_up_attempts() {
        let mut plan = plan(Policy::Sequential, &[Good; 4], 0, Some(1));
        for expected in 0..4 {
            let attempt = plan.next().unwrap();
            assert_eq!(attempt.upstream, expected);
            plan.settle(attempt.upstream);
        }
        assert_eq!(plan.next(), None);
    }

    #[test]
    fn no_upstreams_are_no_plan() {
        assert_eq!(plan(Policy::RoundRobin, &[], 7, None).next(), None);
    }

    #[test]
    fn the_fastest_is_asked_first_and_who_is_not_known_before() {
        let with = |millis: Option<u64>| Candidate {
            standing: Good,
            round_trip: millis.map(Duration::from_millis),
        };
        let candidates = [with(Some(30)), with(Some(10)), with(None), with(Some(20))];
        let mut rng = StdRng::seed_from_u64(1);
        let mut plan = Plan::new(Policy::Fastest, &candidates, 0, None, &mut rng);
        assert_eq!(all_failing(&mut plan)[..4], [2, 1, 3, 0]);
        let mut candidates = candidates;
        candidates[2].standing = Suspect;
        let mut plan = Plan::new(Policy::Fastest, &candidates, 0, None, &mut rng);
        assert_eq!(all_failing(&mut plan)[..4], [1, 3, 0, 2]);
    }

    #[test]
    fn the_fastest_is_not_asked_always() {
        let with = |millis| Candidate {
            standing: Good,
            round_trip: Some(Duration::from_millis(millis)),
        };
        let mut rng = StdRng::seed_from_u64(1);
        let others = (0..3200)
            .filter(|&turn| {
                let candidates = [with(10), with(20)];
                let mut plan = Plan::new(Policy::Fastest, &candidates, turn, None, &mut rng);
                plan.next().unwrap().upstream == 1
            })
            .count();
        assert!((30..70).contains(&others), "{others}");
    }

    #[test]
    fn patience_follows_the_round_trip_within_bounds() {
        for (round_trip, round, is_repeat, usual, longest) in [
            (None, 0, false, 250, 250),
            (None, 0, true, 500, 500),
            (Some((1, 0)), 0, false, 50, 75),
            (Some((40, 100)), 0, false, 80, 440),
            (Some((30, 50)), 0, false, 60, 230),
            (Some((3000, 0)), 0, false, 250, 1000),
            (Some((1, 0)), 1, true, 50, 75),
            (Some((1, 0)), 2, true, 100, 150),
            (Some((300, 0)), 0, true, 600, 600),
            (Some((3000, 0)), 0, true, 1000, 1000),
        ] {
            let round_trip = round_trip.map(|(smoothed, variation)| known(smoothed, variation));
            let patience = Patience::new(round_trip, round, is_repeat);
            assert_eq!(
                (patience.usual.as_millis(), patience.longest.as_millis()),
                (usual, longest),
                "{round_trip:?} {round} {is_repeat}"
            );
        }
    }

    #[test]
    fn an_answer_is_overdue_after_what_is_ordinary_and_not_at_once() {
        for (smoothed, variation, expected) in [(1, 0, 20), (1, 4, 20), (10, 5, 30)] {
            assert_eq!(
                overdue(known(smoothed, variation)).as_millis(),
                expected,
                "{smoothed} {variation}"
            );
        }
    }

    /// A round trip in milliseconds.
    fn known(smoothed: u64, variation: u64) -> RoundTrip {
        RoundTrip {
            smoothed: Duration::from_millis(smoothed),
            variation: Duration::from_millis(variation),
        }
    }

    /// Upstreams of which only the standing is known.
    fn candidates(standings: &[Standing]) -> Vec<Candidate> {
        let candidate = |&standing| Candidate {
            standing,
            round_trip: None,
        };
        standings.iter().map(candidate).collect()
    }

    /// A plan with a fixed seed.
    fn plan(
        policy: Policy,
        standings: &[Standing],
        turn: usize,
        max_failures: Option<usize>,
    ) -> Plan {
        let mut rng = StdRng::seed_from_u64(7);
        Plan::new(policy, &candidates(standings), turn, max_failures, &mut rng)
    }

    /// The upstreams asked when every attempt fails.
    fn all_failing(plan: &mut Plan) -> Vec<usize> {
        let mut asked = Vec::new();
        while let Some(attempt) = plan.next() {
            asked.push(attempt.upstream);
            plan.failed(false);
        }
        asked
    }
}

//! Histories of whole clusters, and what has to hold in each of them.
//!
//! N ledgers, a virtual clock, a network that loses, delays, reorders and
//! doubles, a membership that finds out late, wrongly or without telling, and
//! a world in which containers start and stop and processes crash, leave, come
//! back or stand still. A [`History`] is generated, so that a failure shrinks
//! to a short one, and prints as one line per step.
//!
//! Each process has a clock of its own that shows something else: what the
//! others' clocks show is never compared, so that there is no skew to try.
//!
//! What has to hold is in [`check`]. That the checks see anything is shown by
//! breaking the protocol: see [`Flaw`].

use proptest::prelude::*;

use self::history::History;
use self::world::Flaw;
use self::world::World;

mod check;
mod history;
mod membership;
mod network;
mod process;
mod world;

proptest! {
    #![proptest_config(cases(6.0))]

    #[test]
    fn two_to_four_members_keep_the_promises(history in history::histories(2..=4, 14)) {
        let outcome = run(&history);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}

proptest! {
    #![proptest_config(cases(4.0))]

    #[test]
    fn three_to_eight_members_keep_the_promises(history in history::histories(3..=8, 14)) {
        let outcome = run(&history);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}

proptest! {
    #![proptest_config(cases(2.0))]

    #[test]
    fn members_keep_the_promises_in_long_histories(history in history::histories(2..=5, 40)) {
        let outcome = run(&history);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}

proptest! {
    #![proptest_config(cases(0.04))]

    #[test]
    fn nine_to_nineteen_members_keep_the_promises(history in history::histories(9..=19, 10)) {
        let outcome = run(&history);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}

proptest! {
    #![proptest_config(cases(0.008))]

    #[test]
    fn twenty_to_fifty_members_keep_the_promises(history in history::histories(20..=50, 8)) {
        let outcome = run(&history);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}

#[test]
fn the_checks_see_a_protocol_that_is_broken() {
    for flaw in [Flaw::NoRepair, Flaw::Hearsay, Flaw::NoLeave, Flaw::Hasty] {
        assert!(is_seen(flaw), "{flaw:?}");
    }
}

/// Plays a history by the protocol.
fn run(history: &History) -> Result<(), String> {
    World::new(history, None).play()
}

/// Whether one of some histories goes wrong with a flaw.
fn is_seen(flaw: Flaw) -> bool {
    let config = ProptestConfig {
        failure_persistence: None,
        cases: 500,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let seed = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, seed);
    let outcome = runner.run(&history::histories(2..=8, 14), |history| {
        World::new(&history, Some(flaw))
            .play()
            .map_err(TestCaseError::fail)
    });
    outcome.is_err()
}

/// So many times the number of cases that `PROPTEST_CASES` says, 256 by
/// default.
fn cases(factor: f64) -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = (f64::from(config.cases) * factor).ceil();
    ProptestConfig {
        cases: format!("{cases:.0}").parse().unwrap(),
        failure_persistence: None,
        ..config
    }
}

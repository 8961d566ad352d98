//! What happens in a cluster, and when.

use std::fmt;
use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;

/// What happens in a cluster.
#[derive(Clone)]
pub(super) struct History {
    /// Decides all that is left to chance.
    pub(super) seed: u64,
    /// Number of hosts.
    pub(super) hosts: usize,
    /// How good the network is.
    pub(super) weather: Weather,
    /// How long the records of a member that failed are kept, in milliseconds.
    pub(super) dead_hold: u64,
    /// The steps, each with the time since the one before, in milliseconds.
    pub(super) steps: Vec<(u64, Step)>,
}

/// How good a network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// Longest time under way, in milliseconds. Less is as likely.
    pub(super) latency: u64,
    /// Of a hundred datagrams so many are lost.
    pub(super) loss: u32,
    /// Of a hundred datagrams so many come twice.
    pub(super) doubled: u32,
    /// Of a hundred events of membership so many are lost.
    pub(super) lost_events: u32,
}

/// One thing that happens. Hosts and containers are taken modulo their number;
/// what is not possible does not happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A container starts, or starts anew with another address.
    Start(usize, u64),
    /// A container stops.
    Stop(usize, u64),
    /// So many containers start at once.
    Burst(usize, u64),
    /// All containers stop at once.
    StopAll(usize),
    /// A process is killed.
    Crash(usize),
    /// A process ends in good order.
    Leave(usize),
    /// A process starts.
    Boot(usize),
    /// A process is killed and starts again after that many milliseconds.
    Restart(usize, u64),
    /// A process ends in good order and starts again after that many
    /// milliseconds.
    Upgrade(usize, u64),
    /// A process stands still.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// Nothing gets from one host to another any more.
    Cut(usize, usize),
    /// Nothing gets between two hosts any more.
    Unplug(usize, usize),
    /// Hosts whose bit is set are cut off from the others.
    Split(u64),
    /// All links work.
    Heal,
    /// One member wrongly takes another for dead.
    Slander(usize, usize),
}

// === impl History ===

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} hosts, seed {}, {:?}",
            self.hosts, self.seed, self.weather
        )?;
        writeln!(f, "dead_hold {} ms", self.dead_hold)?;
        let mut at = 0;
        for (gap, step) in &self.steps {
            at += gap;
            let seconds = at / 1_000;
            writeln!(f, "{seconds:>5}.{:03}  {step:?}", at % 1_000)?;
        }
        Ok(())
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        fmt::Display::fmt(self, f)
    }
}

/// Any history of so many hosts, with so many steps at most.
pub(super) fn histories(
    hosts: RangeInclusive<usize>,
    most: usize,
) -> impl Strategy<Value = History> {
    let gap = prop_oneof![4 => 0..50u64, 4 => 0..3_000u64, 1 => 3_000..20_000u64];
    let hold = prop_oneof![3 => Just(0u64), 1 => 1..6_000u64];
    (
        any::<u64>(),
        hosts,
        weather(),
        hold,
        vec((gap, step()), 1..=most),
    )
        .prop_map(|(seed, hosts, weather, dead_hold, steps)| History {
            seed,
            hosts,
            weather,
            dead_hold,
            steps,
        })
}

/// Any network.
fn weather() -> impl Strategy<Value = Weather> {
    let loss = prop_oneof![3 => Just(0u32), 3 => 0..5u32, 1 => 5..30u32];
    let doubled = prop_oneof![Just(0u32), 0..20u32];
    let lost_events = prop_oneof![2 => Just(0u32), 1 => 0..50u32];
    let latency = prop_oneof![1..5u64, 5..150u64];
    (latency, loss, doubled, lost_events).prop_map(|(latency, loss, doubled, lost_events)| {
        Weather {
            latency,
            loss,
            doubled,
            lost_events,
        }
    })
}

/// Any step.
fn step() -> impl Strategy<Value = Step> {
    let host = || 0..50usize;
    let container = || 0..5u64;
    let soon = || prop_oneof![0..500u64, 0..12_000u64];
    prop_oneof![
        6 => (host(), container()).prop_map(|(host, key)| Step::Start(host, key)),
        6 => (host(), container()).prop_map(|(host, key)| Step::Stop(host, key)),
        1 => (host(), 2..400u64).prop_map(|(host, count)| Step::Burst(host, count)),
        1 => host().prop_map(Step::StopAll),
        2 => host().prop_map(Step::Crash),
        2 => host().prop_map(Step::Leave),
        2 => host().prop_map(Step::Boot),
        3 => (host(), soon()).prop_map(|(host, after)| Step::Restart(host, after)),
        2 => (host(), soon()).prop_map(|(host, after)| Step::Upgrade(host, after)),
        1 => host().prop_map(Step::Pause),
        1 => host().prop_map(Step::Resume),
        2 => (host(), host()).prop_map(|(from, to)| Step::Cut(from, to)),
        1 => (host(), host()).prop_map(|(one, other)| Step::Unplug(one, other)),
        2 => any::<u64>().prop_map(Step::Split),
        3 => Just(Step::Heal),
        2 => (host(), host()).prop_map(|(viewer, subject)| Step::Slander(viewer, subject)),
    ]
}

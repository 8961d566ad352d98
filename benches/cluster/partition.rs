//! Networks that are apart for a while.

use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::Verdict;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use crate::experiment::binary;
use crate::report::Report;

/// How many nodes are on each side.
const SHAPES: [(usize, usize); 3] = [(1, 2), (2, 2), (5, 5)];

/// How long a side may take to know that the other one is not there.
const DETECTION: Duration = Duration::from_secs(19);

/// How long anything may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came out of one shape.
#[derive(Default)]
struct Outcome {
    /// From the cut until both sides know no more of the other.
    apart: Vec<Duration>,
    /// From the end of the cut until everybody is right.
    healed: Vec<Duration>,
    /// What was wrong at the end of each cut, and after it.
    verdicts: Vec<Verdict>,
}

/// Cuts networks of all shapes at a time, for so many seconds; while they are
/// apart, names come and go on both sides.
pub(crate) fn run(seconds: u64, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let outcomes: Vec<anyhow::Result<Outcome>> = thread::scope(|scope| {
        let start = |shape| scope.spawn(move || cut(shape, seconds, rounds));
        let running = SHAPES.map(start);
        let end = |running: thread::ScopedJoinHandle<'_, _>| {
            running.join().unwrap_or_else(|_| Err(anyhow!("panicked")))
        };
        running.into_iter().map(end).collect()
    });
    for ((left, right), outcome) in SHAPES.into_iter().zip(outcomes) {
        let outcome = outcome?;
        let bar = Some(Duration::from_secs(5));
        report.extend(&format!("{left}|{right} apart"), outcome.apart, None);
        report.extend(&format!("{left}|{right} healed"), outcome.healed, bar);
        outcome
            .verdicts
            .iter()
            .for_each(|verdict| report.judge(verdict));
    }
    Ok(())
}

/// Cuts a network of one shape.
fn cut(shape: (usize, usize), seconds: u64, rounds: usize) -> anyhow::Result<Outcome> {
    let (left, right) = shape;
    let mut outcome = Outcome::default();
    let mut cluster = Cluster::on_hosts(binary(), left + right)?;
    cluster.start()?;
    let all = cluster.all();
    let sides = [all[..left].to_vec(), all[left..].to_vec()];
    for round in 0..rounds {
        let start = clock();
        cluster.network()?.split(left)?;
        for side in &sides {
            let first = side.first().copied().unwrap_or_default();
            let name = format!("round{round}-{first}.cluster.test");
            cluster.node_mut(first).run(&name, &[&name]);
            let former = format!("round{}-{first}.cluster.test", round.wrapping_sub(1));
            cluster.node_mut(first).destroy(&former);
        }
        let mut apart = Duration::ZERO;
        for side in &sides {
            cluster.try_settle(side, &cluster.truth(side), DETECTION)?;
            apart = apart.max(start.elapsed());
        }
        outcome.apart.push(apart);
        pause(Duration::from_secs(seconds).saturating_sub(start.elapsed()));
        for side in &sides {
            let verdict = cluster.verdict(side, &cluster.truth(side))?;
            outcome.verdicts.push(verdict);
        }
        cluster.network()?.heal()?;
        let truth = cluster.truth(&all);
        outcome.healed.push(cluster.settle(&all, &truth, PATIENCE)?);
        // It stays so.
        pause(Duration::from_secs(5));
        outcome.verdicts.push(cluster.verdict(&all, &truth)?);
    }
    Ok(outcome)
}

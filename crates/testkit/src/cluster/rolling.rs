//! All nodes are restarted, one after another, while all are asked.

use std::time::Duration;

use super::Bounds;
use super::Cluster;
use super::Series;
use crate::client::Load;
use crate::client::Plan;
use crate::client::Report;
use crate::process::clock;
use crate::process::pause;

/// What became of the queries.
#[derive(Debug, Default)]
pub struct Rolled {
    /// Queries sent.
    pub sent: usize,
    /// Queries without an answer.
    pub lost: usize,
    /// Wrong answers, each with its node.
    pub wrong: Vec<String>,
    /// From the signal to being ready again.
    pub restarts: Series,
    /// From being ready again to everybody knowing everything.
    pub settled: Series,
}

// === impl Rolled ===

impl Rolled {
    /// Adds what became of the queries to a node.
    fn add(&mut self, number: usize, report: &Report) {
        self.sent += report.sent;
        self.lost += report.lost;
        for wrong in &report.wrong {
            let line = format!("node {number}: {} {}", wrong.name, wrong.reason);
            self.wrong.push(line);
        }
    }
}

/// Restarts every node, each while all others are asked `rate` times a second
/// for every name.
///
/// Nobody asks a node that is down: from the signal to end until it says that
/// it is ready. The names that it alone has may be gone meanwhile; all others
/// have to be answered as ever, and after it is back and everybody knows it,
/// its own as well.
///
/// # Errors
///
/// If a node does not end, start or come back.
pub fn restart_all(cluster: &mut Cluster, rate: u32) -> anyhow::Result<Rolled> {
    let all = cluster.all();
    let truth = cluster.truth(&all);
    let bounds = Bounds::exactly(truth.clone());
    let names: Vec<String> = truth.names().into_iter().map(str::to_owned).collect();
    let plan = Plan {
        names,
        ..Plan::new("", rate, LONGEST)
    };
    let mut rolled = Rolled::default();
    let mut loads: Vec<Option<Load>> = Vec::new();
    for number in &all {
        loads.push(Some(start_load(cluster, *number, &plan, &bounds)?));
    }
    pause(BETWEEN);
    for (number, load) in loads.iter_mut().enumerate() {
        if let Some(load) = load.take() {
            rolled.add(number, &load.stop());
        }
        bounds.set(cluster.truth(&cluster.all_but(number)), truth.clone());
        let start = clock();
        cluster.node_mut(number).stop()?;
        cluster.node_mut(number).start()?;
        cluster.node(number).await_ready()?;
        rolled.restarts.add(start.elapsed());
        *load = Some(start_load(cluster, number, &plan, &bounds)?);
        rolled.settled.add(cluster.settle(&all, &truth, RETURN)?);
        // Answers from before are judged by then.
        pause(Duration::from_millis(100));
        bounds.set(truth.clone(), truth.clone());
        pause(BETWEEN);
    }
    for (number, load) in loads.into_iter().enumerate() {
        if let Some(load) = load {
            rolled.add(number, &load.stop());
        }
    }
    Ok(rolled)
}

/// Begins to ask a node.
fn start_load(
    cluster: &Cluster,
    number: usize,
    plan: &Plan,
    bounds: &Bounds,
) -> anyhow::Result<Load> {
    let bounds = bounds.clone();
    let judge = move |name: &str, answer: &_| bounds.check(name, answer);
    cluster.node(number).load(plan, judge)
}

/// How long all goes on between two restarts.
const BETWEEN: Duration = Duration::from_millis(700);

/// How long a node may take to be known everywhere again.
const RETURN: Duration = Duration::from_secs(20);

/// Longer than all of it.
const LONGEST: Duration = Duration::from_secs(120);

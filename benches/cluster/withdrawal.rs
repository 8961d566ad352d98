//! How fast the names of a node are withdrawn that is no longer there, and how
//! fast they are back.

use std::time::Duration;

use anyhow::Context as _;
use portolan_testkit::client::Plan;
use portolan_testkit::cluster::Bounds;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::process::Signal;
use portolan_testkit::process::pause;

use crate::experiment::binary;
use crate::report::Report;

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is told to.
    Leave,
    /// It is killed.
    Kill,
    /// It is stopped, and goes on later.
    Freeze,
    /// Its cable is pulled, and plugged in later.
    Unplug,
}

/// The node that ends, the last of five.
const VICTIM: usize = 4;

/// A name that it has, and another node as well.
const SHARED: &str = "shared.cluster.test";

/// How long anything may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(40);

// === impl End ===

impl End {
    /// What the withdrawal has to keep.
    fn bar(self) -> Option<Duration> {
        match self {
            Self::Leave => Some(Duration::from_millis(600)),
            Self::Kill => Some(Duration::from_secs(7)),
            Self::Freeze | Self::Unplug => None,
        }
    }

    /// Ends the node.
    fn end(self, cluster: &mut Cluster) -> anyhow::Result<()> {
        match self {
            Self::Leave => cluster.node(VICTIM).signal(Signal::SIGTERM),
            Self::Kill => cluster.node(VICTIM).signal(Signal::SIGKILL),
            Self::Freeze => cluster.node(VICTIM).signal(Signal::SIGSTOP),
            Self::Unplug => cluster.network()?.unplug(VICTIM),
        }
    }

    /// Lets it be there again.
    fn undo(self, cluster: &mut Cluster) -> anyhow::Result<()> {
        match self {
            Self::Leave | Self::Kill => {
                cluster.node_mut(VICTIM).reap()?;
                cluster.node_mut(VICTIM).start()
            }
            Self::Freeze => cluster.node(VICTIM).signal(Signal::SIGCONT),
            Self::Unplug => cluster.network()?.plug(VICTIM),
        }
    }
}

/// Ends the node and lets it be there again.
pub(crate) fn run(end: End, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::on_hosts(binary(), VICTIM + 1)?;
    for number in [1, VICTIM] {
        cluster.node_mut(number).put("shared", &[SHARED]);
    }
    cluster.start()?;
    let all = cluster.all();
    let others = cluster.all_but(VICTIM);
    let (apart, together) = (cluster.truth(&others), cluster.truth(&all));
    for round in 0..rounds {
        pause(Duration::from_secs(2));
        let bounds = Bounds::exactly(together.clone());
        bounds.set(apart.clone(), together.clone());
        let plan = Plan::new(SHARED, 200, Duration::from_secs(120));
        let judge = move |name: &str, answer: &_| bounds.check(name, answer);
        let load = cluster.node(0).load(&plan, judge)?;
        end.end(&mut cluster)?;
        let name = Cluster::own_name(VICTIM);
        let times = cluster.spread(&others, &name, &[], PATIENCE)?;
        report.extend("withdrawn, last node", times.into_iter().max(), end.bar());
        report.judge(&cluster.verdict(&others, &apart)?);
        end.undo(&mut cluster)?;
        let back = cluster
            .settle(&all, &together, PATIENCE)
            .with_context(|| format!("round {round}"))?;
        report.add("back", back, None);
        let answers = load.stop();
        let example = format!("{:?}", answers.wrong.first());
        report.count("lost queries for a shared name", answers.lost, "");
        report.count(
            "wrong answers for a shared name",
            answers.wrong.len(),
            &example,
        );
    }
    Ok(())
}

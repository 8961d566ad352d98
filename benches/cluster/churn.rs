//! 1,000 containers start and stop all over 10 nodes.

use std::time::Duration;

use portolan_testkit::cluster::Churn;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use crate::experiment::binary;
use crate::report::Report;

/// What happens meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing.
    None,
    /// One packet in fifty is lost on its way to each host.
    Loss,
    /// One node is killed and started again and again.
    Reboot,
}

/// Changes in a round.
const CHANGES: u32 = 1_000;

/// Changes a second.
const RATE: u32 = 100;

/// From one death of the node that restarts to the next, in changes.
const REBOOT_EVERY: u32 = 200;

/// From its death to its start, in changes.
const REBOOT_AFTER: u32 = 60;

/// How long it may take until everybody is right.
const PATIENCE: Duration = Duration::from_secs(20);

/// As long as three exchanges of everything take.
const LATER: Duration = Duration::from_secs(46);

/// Changes, looks when all is right, and looks again later.
pub(crate) fn run(trouble: Trouble, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = if trouble == Trouble::Loss {
        let mut cluster = Cluster::on_hosts(binary(), 10)?;
        cluster.network()?.lose(0.02)?;
        cluster
    } else {
        Cluster::on_loopback(binary(), 10)?
    };
    cluster.start()?;
    let all = cluster.all();
    for round in 0..rounds {
        let mut churn = Churn::new(u64::try_from(round)?, 100);
        let start = clock();
        for change in 0..CHANGES {
            churn.step(&mut cluster);
            if trouble == Trouble::Reboot {
                reboot(&mut cluster, change)?;
            }
            pause((Duration::from_secs(1) * change / RATE).saturating_sub(start.elapsed()));
        }
        let truth = cluster.truth(&all);
        let (time, verdict) = cluster.try_settle(&all, &truth, PATIENCE)?;
        report.add("all right after the last change", time, None);
        report.judge(&verdict);
        pause(LATER);
        report.judge(&cluster.verdict(&all, &truth)?);
    }
    Ok(())
}

/// Kills or starts the last node, if it is time to.
fn reboot(cluster: &mut Cluster, change: u32) -> anyhow::Result<()> {
    let last = cluster.nodes().len() - 1;
    match change % REBOOT_EVERY {
        0 => cluster.node_mut(last).kill(),
        REBOOT_AFTER => cluster.node_mut(last).start(),
        _ => Ok(()),
    }
}

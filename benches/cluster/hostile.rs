//! Garbage at the gossip port.

use std::time::Duration;

use portolan_testkit::client::Plan;
use portolan_testkit::cluster::Bounds;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::send_datagrams;
use portolan_testkit::cluster::send_garbage;
use portolan_testkit::cluster::send_kill_payloads;
use portolan_testkit::process::pause;

use crate::experiment::binary;
use crate::report::Report;

/// Datagrams of a round.
const DATAGRAMS: usize = 100_000;

/// Connections of a round.
const CONNECTIONS: usize = 500;

/// How long anything may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a node is looked at when nothing comes any more.
const REST: Duration = Duration::from_secs(5);

/// Sends it, and looks whether it costs anything.
pub(crate) fn run(rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    for round in 0..rounds {
        let seed = u64::try_from(round)?;
        let mut cluster = Cluster::on_loopback(binary(), 3)?;
        cluster.start()?;
        let all = cluster.all();
        let bounds = Bounds::exactly(cluster.truth(&all));
        let plan = Plan::new(&Cluster::own_name(1), 200, Duration::from_secs(120));
        let judge = move |name: &str, answer: &_| bounds.check(name, answer);
        let load = cluster.node(0).load(&plan, judge)?;
        let target = cluster.node(0).gossip();
        let before = cluster.node(0).cpu_time()?;
        let payloads = send_kill_payloads(target)?;
        let connections = send_garbage(target, seed, CONNECTIONS)?;
        send_datagrams(target, seed, DATAGRAMS)?;
        let used = cluster.node(0).cpu_time()?.saturating_sub(before);
        report.add("processor time of all that", used, None);
        let answers = load.stop();
        let before = cluster.node(0).cpu_time()?;
        pause(REST);
        let used = cluster.node(0).cpu_time()?.saturating_sub(before);
        report.add("processor time of 5 s after", used, Some(REST / 20));
        let example = format!("{:?}", answers.wrong.first());
        report.count("lost queries", answers.lost, "");
        report.count("wrong answers", answers.wrong.len(), &example);
        drop((payloads, connections));
        cluster.node_mut(0).run("after", &["after.cluster.test"]);
        let (_, verdict) = cluster.try_settle(&all, &cluster.truth(&all), PATIENCE)?;
        report.judge(&verdict);
    }
    Ok(())
}

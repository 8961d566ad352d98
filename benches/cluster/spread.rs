//! How fast names come and go everywhere.

use std::time::Duration;

use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::Truth;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use crate::experiment::binary;
use crate::report::Report;

/// Names of the node that has many.
const MANY: usize = 10_000;

/// How long anything may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts and stops a container at one node after another; the time is that
/// of the last node.
pub(crate) fn run(
    nodes: usize,
    bar_millis: u64,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let bar = Some(Duration::from_millis(bar_millis));
    let mut cluster = Cluster::on_loopback(binary(), nodes)?;
    report.add("joined", cluster.start()?, None);
    pause(Duration::from_secs(2));
    let all = cluster.all();
    for round in 0..rounds {
        let number = round % nodes;
        let name = format!("round{round}.cluster.test");
        let host_ip = cluster.node(number).settings.host_ip;
        cluster.node_mut(number).run(&name, &[&name]);
        let times = cluster.spread(&all, &name, &[host_ip], PATIENCE)?;
        report.extend("added, last node", times.into_iter().max(), bar);
        pause(Duration::from_millis(300));
        cluster.node_mut(number).destroy(&name);
        let times = cluster.spread(&all, &name, &[], PATIENCE)?;
        report.extend("removed, last node", times.into_iter().max(), bar);
        pause(Duration::from_millis(300));
    }
    report.judge(&cluster.verdict(&all, &cluster.truth(&all))?);
    Ok(())
}

/// Gives one of 10 nodes 10,000 names, and takes them away again. The time is
/// from when it answers them all itself until all others do.
pub(crate) fn burst(rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let bar = Some(Duration::from_secs(1));
    let mut cluster = Cluster::on_loopback(binary(), 10)?;
    cluster.start()?;
    let others = cluster.all_but(0);
    let names: Vec<String> = (0..MANY).map(|n| format!("many{n}.cluster.test")).collect();
    for _ in 0..rounds {
        for (what, is_there) in [("10,000 added", true), ("10,000 removed", false)] {
            let origin = cluster.node_mut(0);
            origin.stop_engine();
            for name in &names {
                if is_there {
                    origin.put(name, &[name]);
                } else {
                    origin.forget(name);
                }
            }
            origin.resume_engine()?;
            let truth = cluster.truth(&cluster.all());
            let mut sample = Truth::default();
            for name in names.iter().step_by(100).chain(names.last()) {
                sample.forget(name);
                let addresses = truth.addresses(name);
                addresses.iter().for_each(|ip| sample.add(name, *ip));
            }
            cluster.settle(&[0], &sample, PATIENCE)?;
            let start = clock();
            cluster.settle(&others, &sample, PATIENCE)?;
            report.add(what, start.elapsed(), bar);
            report.judge(&cluster.verdict(&cluster.all(), &truth)?);
        }
    }
    Ok(())
}

//! What somebody on the network may send to the gossip port.

use std::time::Duration;

use anyhow::ensure;
use portolan_testkit::client::Plan;
use portolan_testkit::cluster::Bounds;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::send_datagrams;
use portolan_testkit::cluster::send_garbage;
use portolan_testkit::cluster::send_kill_payloads;
use portolan_testkit::process::pause;

use super::site::PATIENCE;
use super::site::on_loopback;

/// Datagrams to send.
const DATAGRAMS: usize = 20_000;

/// Connections with garbage to open.
const CONNECTIONS: usize = 200;

/// Checks that every node is there, idle, and takes part.
fn ensure_unharmed(cluster: &mut Cluster, name: &str) -> anyhow::Result<()> {
    let before: Vec<Duration> = cpu_times(cluster)?;
    pause(Duration::from_secs(2));
    for (before, after) in before.into_iter().zip(cpu_times(cluster)?) {
        let used = after.saturating_sub(before);
        ensure!(used < Duration::from_millis(300), "{used:?} of 2 s");
    }
    let all = cluster.all();
    cluster.node_mut(0).run(name, &[name]);
    cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
    cluster.node_mut(0).destroy(name);
    cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
    for node in cluster.nodes() {
        let panics = node.lines().into_iter().find(|line| line.contains("panic"));
        ensure!(panics.is_none(), "{panics:?}");
    }
    Ok(())
}

/// Processor time that each node has used.
fn cpu_times(cluster: &Cluster) -> anyhow::Result<Vec<Duration>> {
    cluster.nodes().iter().map(|node| node.cpu_time()).collect()
}

#[test]
fn payloads_that_kill_others_and_garbage_harm_nobody() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    cluster.start()?;
    let bounds = Bounds::exactly(cluster.truth(&cluster.all()));
    let plan = Plan::new(&Cluster::own_name(1), 100, Duration::from_secs(100));
    let judge = move |name: &str, answer: &_| bounds.check(name, answer);
    let load = cluster.node(0).load(&plan, judge)?;
    let target = cluster.node(0).gossip();

    let payloads = send_kill_payloads(target)?;
    ensure_unharmed(&mut cluster, "payloads.cluster.test")?;
    let connections = send_garbage(target, 1, CONNECTIONS)?;
    ensure_unharmed(&mut cluster, "connections.cluster.test")?;
    drop((payloads, connections));
    send_datagrams(target, 2, DATAGRAMS)?;
    ensure_unharmed(&mut cluster, "datagrams.cluster.test")?;
    let report = load.stop();
    report.ensure_flawless(500)
}

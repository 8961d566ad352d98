//! Nodes that end, die, freeze and come back.

use std::time::Duration;

use anyhow::ensure;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::Series;
use portolan_testkit::process::Signal;

use super::site::DETECTION;
use super::site::PATIENCE;
use super::site::on_hosts;
use super::site::on_loopback;
use super::site::report;

/// Waits until the third of three nodes is withdrawn at the others.
fn await_withdrawal(cluster: &Cluster, what: &str) -> anyhow::Result<Duration> {
    let name = Cluster::own_name(2);
    let mut series = Series::default();
    series.extend(cluster.spread(&[0, 1], &name, &[], DETECTION)?);
    report(what, &series);
    cluster.settle(&[0, 1], &cluster.truth(&[0, 1]), Duration::ZERO)?;
    Ok(series.worst())
}

/// Waits until all nodes know everything again.
fn await_return(cluster: &Cluster, what: &str) -> anyhow::Result<()> {
    let all = cluster.all();
    let mut series = Series::default();
    series.add(cluster.settle(&all, &cluster.truth(&all), PATIENCE)?);
    report(what, &series);
    Ok(())
}

#[test]
fn a_node_that_leaves_is_withdrawn_at_once() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    cluster.start()?;
    cluster.node(2).signal(Signal::SIGTERM)?;
    let time = await_withdrawal(&cluster, "left")?;
    let status = cluster.node_mut(2).reap()?;
    ensure!(status.success(), "{status}");
    ensure!(time < Duration::from_secs(2), "{time:?}");
    cluster.node_mut(2).start()?;
    await_return(&cluster, "back after leaving")
}

#[test]
fn a_killed_node_is_withdrawn() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    cluster.start()?;
    cluster.node_mut(2).kill()?;
    await_withdrawal(&cluster, "killed")?;
    cluster.node_mut(2).start()?;
    await_return(&cluster, "back after being killed")
}

#[test]
fn a_frozen_node_is_withdrawn_until_it_goes_on() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    cluster.start()?;
    cluster.node(2).signal(Signal::SIGSTOP)?;
    await_withdrawal(&cluster, "frozen")?;
    // What happens meanwhile is learnt later, and what went is gone.
    cluster.node_mut(0).run("new", &["new.cluster.test"]);
    cluster.node_mut(1).destroy("self");
    cluster.settle(&[0, 1], &cluster.truth(&[0, 1]), PATIENCE)?;
    cluster.node(2).signal(Signal::SIGCONT)?;
    await_return(&cluster, "back after being frozen")
}

#[test]
fn a_node_whose_cable_is_pulled_is_withdrawn_until_it_is_back() -> anyhow::Result<()> {
    let Some(mut cluster) = on_hosts(3)? else {
        return Ok(());
    };
    cluster.start()?;
    cluster.network()?.unplug(2)?;
    await_withdrawal(&cluster, "unplugged")?;
    cluster.settle(&[2], &cluster.truth(&[2]), DETECTION)?;
    cluster.node_mut(2).run("new", &["new.cluster.test"]);
    cluster.settle(&[2], &cluster.truth(&[2]), PATIENCE)?;
    cluster.network()?.plug(2)?;
    await_return(&cluster, "back after being plugged in")
}

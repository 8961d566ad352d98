//! Nodes that are back before anybody noticed.

use std::time::Duration;

use anyhow::Context as _;
use portolan_testkit::client::Plan;
use portolan_testkit::cluster::Bounds;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::process::pause;

use super::site::EXCHANGE;
use super::site::PATIENCE;
use super::site::on_loopback;

#[test]
fn a_restart_faster_than_detection_neither_flaps_nor_loses() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    cluster.start()?;
    let all = cluster.all();
    let truth = cluster.truth(&all);
    let bounds = Bounds::exactly(truth.clone());
    let plan = Plan::new(&Cluster::own_name(0), 200, Duration::from_secs(60));
    let judge = move |name: &str, answer: &_| bounds.check(name, answer);
    let load = cluster.node(2).load(&plan, judge)?;
    for _ in 0..3 {
        cluster.node_mut(0).kill()?;
        cluster.node_mut(0).start()?;
        cluster.node(0).await_ready()?;
        cluster.settle(&all, &truth, PATIENCE)?;
        pause(Duration::from_secs(1));
    }
    // The dead instances are found dead meanwhile.
    pause(Duration::from_secs(12));
    let report = load.stop();
    report.ensure_flawless(1_000).with_context(|| {
        let outputs = [0, 2].map(|number| cluster.node(number).output());
        outputs.join("\n")
    })?;
    cluster.settle(&all, &truth, Duration::ZERO)?;
    Ok(())
}

#[test]
fn told_to_stop_while_it_starts_a_node_says_good_bye() -> anyhow::Result<()> {
    let mut cluster = on_loopback(2)?;
    cluster.node_mut(0).start()?;
    cluster.node(0).await_ready()?;
    let node = cluster.node_mut(1);
    node.start()?;
    // It waits for what the other knows, and serves nobody yet.
    node.await_line(&["member joined"])?;
    node.stop()?;
    cluster.node(0).await_line(&["member leaves", "node2"])?;
    Ok(())
}

#[test]
fn what_went_while_its_node_was_down_stays_gone() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    let node = cluster.node_mut(0);
    node.put("gone", &["gone.cluster.test"]);
    node.put("stays", &["stays.cluster.test"]);
    cluster.start()?;
    cluster.node_mut(0).kill()?;
    cluster.node_mut(0).destroy("gone");
    cluster.node_mut(0).start()?;
    let all = cluster.all();
    cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
    // Nobody hands it back.
    pause(EXCHANGE);
    cluster.settle(&all, &cluster.truth(&all), Duration::ZERO)?;
    Ok(())
}

#[test]
fn a_node_that_is_restarted_knows_the_others_when_it_is_ready() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    cluster.start()?;
    for _ in 0..3 {
        let node = cluster.node_mut(1);
        node.stop()?;
        node.start()?;
        node.await_ready()?;
        let all = cluster.all();
        cluster.settle(&[1], &cluster.truth(&all), Duration::ZERO)?;
    }
    Ok(())
}

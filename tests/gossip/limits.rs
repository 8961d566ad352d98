//! What a member may claim, and what others make of the rest.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::Node;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;

use super::site::PATIENCE;
use super::site::on_loopback;

/// Label that names are in.
const LABEL: &str = "joyride.host.name";

/// Lets a member have the records of five containers: each has the address of
/// its name, and the name of its address.
const OF_FIVE: &str = "cluster_max_records 10";

/// How many of these names a node answers.
fn answered(node: &Node, names: &[String]) -> anyhow::Result<usize> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let replies = node.probe().sweep(&names, Duration::from_secs(5))?;
    let answered = replies.values().filter(|reply| !reply.addresses.is_empty());
    Ok(answered.count())
}

/// Waits until a node answers so many of these names.
fn await_answered(node: &Node, names: &[String], count: usize) -> anyhow::Result<()> {
    let is_so = || (answered(node, names).ok()? == count).then_some(());
    wait_for(is_so).with_context(|| format!("{:?}\n{}", answered(node, names), node.show_members()))
}

/// Reloads a node; checks that it took what it was given.
fn reload(node: &Node) -> anyhow::Result<()> {
    ensure!(node.reload()?, "{}", node.output());
    Ok(())
}

/// Checks that something is counted at a node, and told.
fn ensure_told(node: &Node, metric: &str, line: &str) -> anyhow::Result<()> {
    let counted = || (node.metric(metric, &[]).ok()? > 0.0).then_some(());
    wait_for(counted).with_context(|| format!("{metric}\n{}", node.output()))?;
    node.await_line(&[line]).map(drop)
}

#[test]
fn names_outside_the_zones_of_a_node_are_ignored_there() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    let settings = cluster.node(1).settings.clone();
    cluster
        .node_mut(1)
        .settings
        .property("cluster_allowed_zones cluster.test home.test");
    cluster.start()?;
    let node = cluster.node_mut(0);
    // One container with both kinds of names, and one each.
    node.run("both", &["in.home.test", "out.example.org"]);
    node.run("in", &["also-in.cluster.test"]);
    node.run("out", &["home.test.example.org"]);
    let all = cluster.all();
    let truth = cluster.truth(&all);
    let mut within = cluster.truth(&all);
    cluster.settle(&[0, 2], &truth, PATIENCE)?;
    for name in ["out.example.org", "home.test.example.org"] {
        within.withdraw(name);
    }
    cluster.settle(&[1], &within, PATIENCE)?;
    ensure_told(
        cluster.node(1),
        "portolan_cluster_refused_records_total",
        "records of a member ignored",
    )?;
    // A node is not bound by its own zones.
    cluster.node_mut(1).run("own", &["own.example.org"]);
    let owner = cluster.node(1).settings.host_ip;
    cluster.spread(&all, "own.example.org", &[owner], PATIENCE)?;
    cluster.node_mut(1).destroy("own");

    // A reload opens and closes them.
    let narrow = std::mem::replace(&mut cluster.node_mut(1).settings, settings);
    reload(cluster.node(1))?;
    cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
    cluster.node_mut(1).settings = narrow;
    reload(cluster.node(1))?;
    within.forget("own.example.org");
    cluster.settle(&[1], &within, PATIENCE)?;
    Ok(())
}

#[test]
fn a_member_shares_no_more_records_than_it_may_have() -> anyhow::Result<()> {
    let mut cluster = on_loopback(2)?;
    let unlimited = cluster.node(0).settings.clone();
    let mut names = vec![Cluster::own_name(0)];
    for number in 0..8 {
        let name = format!("many{number}.cluster.test");
        cluster.node_mut(0).put(&name, &[&name]);
        names.push(name);
    }
    cluster.node_mut(0).settings.property(OF_FIVE);
    for number in cluster.all() {
        cluster.node_mut(number).start()?;
    }
    await_answered(cluster.node(0), &names, 9)?;
    // Those that are known are a part, and stay so.
    await_answered(cluster.node(1), &names, 5)?;
    pause(Duration::from_secs(2));
    await_answered(cluster.node(1), &names, 5)?;
    ensure_told(
        cluster.node(0),
        "portolan_cluster_unshared_records",
        "more records than a member may have",
    )?;
    // Where one goes there is room for another.
    cluster.node_mut(0).destroy("many0.cluster.test");
    cluster.node_mut(0).destroy("self");
    await_answered(cluster.node(0), &names, 7)?;
    await_answered(cluster.node(1), &names, 5)?;
    cluster.node_mut(0).settings = unlimited;
    reload(cluster.node(0))?;
    await_answered(cluster.node(1), &names, 7)?;
    let unshared = cluster
        .node(0)
        .metric("portolan_cluster_unshared_records", &[])?;
    ensure!(unshared == 0.0, "{unshared}");
    Ok(())
}

#[test]
fn a_member_that_has_more_than_it_may_is_not_believed_at_all() -> anyhow::Result<()> {
    let mut cluster = on_loopback(2)?;
    let unlimited = cluster.node(1).settings.clone();
    cluster.node_mut(1).settings.property(OF_FIVE);
    cluster.start()?;
    // What was known before the excess stays.
    let mut names = vec![Cluster::own_name(0)];
    for number in 0..8 {
        let name = format!("many{number}.cluster.test");
        cluster.node_mut(0).put(&name, &[&name]);
        names.push(name);
    }
    let control = cluster.node(0).control();
    for name in names.iter().skip(1) {
        control.start(name);
    }
    await_answered(cluster.node(0), &names, 9)?;
    ensure_told(
        cluster.node(1),
        "portolan_cluster_refused_records_total",
        "records of a member ignored",
    )?;
    pause(Duration::from_secs(3));
    let known = answered(cluster.node(1), &names)?;
    ensure!(
        (1..=5).contains(&known),
        "{known}\n{}",
        cluster.node(1).show_members()
    );
    // It is told, and not again and again.
    let told = cluster.node(1).lines();
    let told = told.iter().filter(|line| line.contains("member ignored"));
    ensure!(told.count() < 20, "{}", cluster.node(1).output());
    cluster.node_mut(1).settings = unlimited;
    reload(cluster.node(1))?;
    await_answered(cluster.node(1), &names, 9)
}

#[test]
fn addresses_that_mean_the_asking_host_are_served_at_home_only() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    cluster.node_mut(1).settings.host_ip = Ipv4Addr::LOCALHOST;
    for number in cluster.all() {
        cluster.node_mut(number).start()?;
    }
    let local = FakeContainer::new("local", LABEL, "local.cluster.test");
    let local = local.with("portolan.target", "127.0.0.1");
    cluster.node(0).control().run(local);
    let mixed = FakeContainer::new("mixed", LABEL, "mixed.cluster.test");
    let mixed = mixed.with("portolan.target", "127.0.0.1 192.0.2.77");
    cluster.node(0).control().run(mixed);
    let (home, known) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 77));
    cluster.spread(&[0], "local.cluster.test", &[home], PATIENCE)?;
    cluster.spread(&[0], "mixed.cluster.test", &[home, known], PATIENCE)?;
    // The good record of a container is not lost for the bad one.
    cluster.spread(&[1, 2], "mixed.cluster.test", &[known], PATIENCE)?;
    cluster.spread(&[1, 2], "local.cluster.test", &[], PATIENCE)?;
    cluster.spread(&[1], &Cluster::own_name(1), &[home], PATIENCE)?;
    cluster.spread(&[0, 2], &Cluster::own_name(1), &[], PATIENCE)?;
    pause(Duration::from_secs(2));
    let replies = [0, 2].map(|number| cluster.node(number).ask(&Cluster::own_name(1)));
    for reply in replies {
        ensure!(reply?.addresses == BTreeSet::new(), "served elsewhere");
    }
    // Their own nodes do not share them, and say so.
    for owner in [0, 1] {
        ensure_told(
            cluster.node(owner),
            "portolan_cluster_refused_records_total",
            "an address that no host has",
        )?;
    }
    Ok(())
}

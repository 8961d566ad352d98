//! Nodes that are not to share anything.

use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;

use super::site::PATIENCE;
use super::site::on_hosts;
use super::site::on_loopback;

/// A key.
const KEY: &str = "0123456789abcdef";

/// Another key.
const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210";

/// How long strangers try.
const TRIES: Duration = Duration::from_secs(12);

/// Starts two nodes that are friends and others that are strangers; checks
/// that no name crosses, whatever happens.
fn ensure_apart(cluster: &mut Cluster) -> anyhow::Result<()> {
    for number in cluster.all() {
        cluster.node_mut(number).start()?;
    }
    cluster.settle(&[0, 1], &cluster.truth(&[0, 1]), 2 * PATIENCE)?;
    let all = cluster.all();
    for number in &all {
        let name = format!("new{number}.cluster.test");
        cluster.node_mut(*number).run("new", &[&name]);
    }
    pause(TRIES);
    cluster.settle(&[0, 1], &cluster.truth(&[0, 1]), PATIENCE)?;
    for stranger in 2..all.len() {
        cluster.settle(&[stranger], &cluster.truth(&[stranger]), PATIENCE)?;
    }
    Ok(())
}

/// Waits until a stranger says why it cannot join, or a friend why it lets
/// somebody be, in words that have this one.
fn await_reason(cluster: &Cluster, stranger: usize, word: &str) -> anyhow::Result<()> {
    let says_why = |line: &String| {
        let is_seen = line.contains("\"WARN\"") || line.contains("\"INFO\"");
        let is_about = line.contains("cannot join") || line.contains("refused to talk");
        is_seen && is_about && line.contains(word)
    };
    let find = || {
        let tellers = [stranger, 0, 1].map(|number| cluster.node(number));
        tellers
            .into_iter()
            .find_map(|node| node.lines().into_iter().find(says_why))
    };
    wait_for(find)
        .map(drop)
        .with_context(|| format!("nobody says {word}\n{}", cluster.node(stranger).output()))
}

#[test]
fn without_the_key_no_name_crosses_and_the_log_says_why() -> anyhow::Result<()> {
    let mut cluster = on_loopback(4)?;
    for (number, key) in [
        (0, Some(KEY)),
        (1, Some(KEY)),
        (2, Some(OTHER_KEY)),
        (3, None),
    ] {
        if let Some(key) = key {
            cluster.node_mut(number).settings.set("CLUSTER_SECRET", key);
        }
    }
    ensure_apart(&mut cluster)?;
    for stranger in [2, 3] {
        await_reason(&cluster, stranger, "secret")?;
    }
    Ok(())
}

#[test]
fn with_another_label_no_name_crosses_and_the_log_says_why() -> anyhow::Result<()> {
    let mut cluster = on_loopback(4)?;
    for (number, label) in [(0, "home"), (1, "home"), (2, "lab")] {
        let line = format!("cluster_label {label}");
        cluster.node_mut(number).settings.property(&line);
    }
    ensure_apart(&mut cluster)?;
    for stranger in [2, 3] {
        await_reason(&cluster, stranger, "cluster_label")?;
    }
    Ok(())
}

#[test]
fn with_a_key_nodes_share_names_as_without() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    for node in cluster.nodes_mut() {
        node.settings.set("CLUSTER_SECRET", OTHER_KEY);
    }
    cluster.start()?;
    let all = cluster.all();
    cluster.node_mut(2).run("new", &["new.cluster.test"]);
    cluster.node_mut(1).destroy("self");
    cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
    Ok(())
}

#[test]
fn from_outside_the_networks_no_name_crosses() -> anyhow::Result<()> {
    let Some(mut cluster) = on_hosts(3)? else {
        return Ok(());
    };
    for number in [0, 1] {
        let network = cluster.network()?;
        let line = format!(
            "cluster_networks {}/32 {}",
            network.address(0),
            network.address(1)
        );
        cluster.node_mut(number).settings.property(&line);
    }
    ensure_apart(&mut cluster)?;
    for number in [0, 1] {
        let members = cluster.node(number).members()?;
        ensure!(members.len() == 2, "{members:?}");
        let refused = cluster
            .node(number)
            .metric("portolan_cluster_refused_total", &[])?;
        ensure!(refused > 0.0, "{}", cluster.node(number).output());
    }
    Ok(())
}

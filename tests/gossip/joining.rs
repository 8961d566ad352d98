//! How nodes find each other by seeds.

use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::Member;
use portolan_testkit::cluster::Node;
use portolan_testkit::cluster::Series;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;

use super::site::PATIENCE;
use super::site::on_hosts;
use super::site::on_loopback;
use super::site::report;

/// A node that has seeds and is not told to join them.
const ALONE: &str = "\
.:53 {
    docker-cluster {
        docker_socket DOCKER_SOCKET
        host_ip HOST_IP
        linger 0s
        unknown_action nxdomain
    }
    health :8080
    ready :8080
    prometheus :8080
}
";

/// A node that is told to share and nothing else about it.
const ENABLED: &str = "\
.:53 {
    docker-cluster {
        docker_socket DOCKER_SOCKET
        host_ip HOST_IP
        cluster_enabled true
    }
    health :8080
    ready :8080
    prometheus :8080
}
";

/// How long a node may take to start for which there is nobody to wait.
const START: Duration = Duration::from_millis(1_500);

/// Waits until all nodes know everything.
fn await_all(cluster: &Cluster) -> anyhow::Result<Duration> {
    let all = cluster.all();
    cluster.settle(&all, &cluster.truth(&all), 2 * PATIENCE)
}

#[test]
fn no_seed_has_to_be_first() -> anyhow::Result<()> {
    for order in [[2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let mut cluster = on_loopback(3)?;
        for (started, number) in (1..).zip(order) {
            cluster.node_mut(number).start()?;
            cluster.node(number).await_ready()?;
            let there: Vec<usize> = order.into_iter().take(started).collect();
            cluster.settle(&there, &cluster.truth(&there), 2 * PATIENCE)?;
            pause(Duration::from_secs(1));
        }
    }
    Ok(())
}

#[test]
fn seeds_that_are_nobody_are_no_hindrance() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    let seed = cluster.node(0).seed();
    // Not there, not resolvable, not a member, and itself.
    let nobody = format!("{}:9", cluster.node(0).place().ip);
    for number in cluster.all() {
        let own = cluster.node(number).seed();
        cluster.node_mut(number).settings.seeds = vec![
            "seed.invalid:7946".to_owned(),
            nobody.clone(),
            cluster.node(0).place().admin.to_string(),
            own,
            seed.clone(),
        ];
    }
    cluster.start()?;
    Ok(())
}

#[test]
fn a_seed_without_an_engine_is_a_seed_all_the_same() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    for number in cluster.all() {
        cluster.node_mut(number).settings.seeds = vec![cluster.node(0).seed()];
    }
    cluster.node_mut(0).stop_engine();
    for number in cluster.all() {
        cluster.node_mut(number).start()?;
    }
    let all = cluster.all();
    cluster.settle(&all, &cluster.truth(&[1, 2]), 2 * PATIENCE)?;
    cluster.node_mut(0).resume_engine()?;
    await_all(&cluster)?;
    // An engine that goes away takes nothing along.
    cluster.node_mut(0).stop_engine();
    pause(Duration::from_secs(3));
    cluster.settle(&all, &cluster.truth(&all), Duration::ZERO)?;
    Ok(())
}

#[test]
fn two_nodes_with_one_name_both_work_and_are_told() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    for number in [0, 1] {
        "node1".clone_into(&mut cluster.node_mut(number).settings.name);
    }
    cluster.start()?;
    for number in [0, 1] {
        cluster
            .node(number)
            .await_line(&["WARN", "name", "node1"])?;
    }
    for number in cluster.all() {
        cluster
            .node_mut(number)
            .run("new", &[&format!("new{number}.cluster.test")]);
    }
    await_all(&cluster)?;
    Ok(())
}

#[test]
fn unless_clustering_is_enabled_nodes_share_nothing() -> anyhow::Result<()> {
    let Some(mut cluster) = on_hosts(2)? else {
        return Ok(());
    };
    for node in cluster.nodes_mut() {
        node.settings.corefile = Some(ALONE.to_owned());
        node.start()?;
        node.await_ready()?;
    }
    pause(Duration::from_secs(3));
    for number in cluster.all() {
        cluster.settle(&[number], &cluster.truth(&[number]), Duration::ZERO)?;
        let listening = cluster
            .network()?
            .namespace(number)
            .run(&["ss", "-lntuH"], "")?;
        ensure!(!listening.contains(":7946"), "{listening}");
    }
    Ok(())
}

#[test]
fn a_node_that_is_alone_does_not_wait_for_others() -> anyhow::Result<()> {
    let Some(mut cluster) = on_hosts(1)? else {
        return Ok(());
    };
    let mut series = Series::default();
    cluster.node_mut(0).settings.corefile = Some(ENABLED.to_owned());
    for _ in 0..3 {
        cluster.node_mut(0).start()?;
        let host_ip = cluster.node(0).settings.host_ip;
        series.extend(cluster.spread(&[0], &Cluster::own_name(0), &[host_ip], PATIENCE)?);
        cluster.node(0).await_ready()?;
        cluster.node_mut(0).stop()?;
    }
    report("alone, from start to answer", &series);
    ensure!(series.median() < START, "{series}");
    Ok(())
}

#[test]
fn members_are_listed() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    cluster.start()?;
    for node in cluster.nodes() {
        let lists_all = || lists_all(&cluster, &node.members().ok()?).then_some(());
        wait_for(lists_all).with_context(|| node.show_members())?;
    }
    Ok(())
}

/// Whether a list of members has every node, with its records.
fn lists_all(cluster: &Cluster, members: &[Member]) -> bool {
    let is_listed = |node: &Node| {
        let is_it = |member: &&Member| {
            member.name == node.settings.name
                && member.address == Some(node.seed())
                && member.records > 0
                && member.served
                && member.complete
        };
        members.iter().filter(is_it).count() == 1
    };
    members.len() == cluster.nodes().len() && cluster.nodes().iter().all(is_listed)
}

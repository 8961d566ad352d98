//! What a reload changes of a member, and what it cannot.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::cluster::Bounds;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;
use tempfile::TempDir;

use super::site::PATIENCE;
use super::site::on_loopback;

/// A key.
const OLD: &str = "0123456789abcdef";

/// The key that takes its place.
const NEW: &str = "a passphrase that came later";

/// Begins to ask a node for the names that all have from the start, which all
/// stay.
fn ask(cluster: &Cluster, number: usize, owners: &[usize]) -> anyhow::Result<Load> {
    let bounds = Bounds::exactly(cluster.truth(owners));
    let names = owners.iter().map(|owner| Cluster::own_name(*owner));
    let plan = Plan {
        names: names.collect(),
        ..Plan::new("", 100, Duration::from_secs(60))
    };
    let judge = move |name: &str, answer: &_| bounds.check(name, answer);
    cluster.node(number).load(&plan, judge)
}

/// Reloads a node; checks that it took what it was given.
fn reload(cluster: &Cluster, number: usize) -> anyhow::Result<()> {
    let node = cluster.node(number);
    ensure!(node.reload()?, "{}", node.output());
    Ok(())
}

/// Reloads a node; checks that it keeps what it had, and says why.
fn ensure_refused(cluster: &Cluster, number: usize) -> anyhow::Result<()> {
    let node = cluster.node(number);
    ensure!(!node.reload()?, "{}", node.output());
    node.await_line(&["takes a restart"]).map(drop)
}

/// The TTL that a node gives with a name.
fn ttl(cluster: &Cluster, number: usize, name: &str) -> anyhow::Result<u32> {
    let client = Client::udp(cluster.node(number).place().dns);
    let response = client.query(name, RecordType::A)?;
    let record = response.answers.first().context("no answer")?;
    Ok(record.ttl)
}

/// The id of the first node, as the second knows it.
fn first_id(cluster: &Cluster) -> anyhow::Result<String> {
    let name = &cluster.node(0).settings.name;
    // What is shown is as old as 100 ms.
    let only = || {
        let mut members = cluster.node(1).members().ok()?;
        members.retain(|member| member.name == *name);
        let member = members.pop()?;
        members.is_empty().then_some(member.id)
    };
    wait_for(only).with_context(|| cluster.node(1).show_members())
}

#[test]
fn keys_are_changed_without_losing_a_name() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let file = |number: usize| directory.path().join(format!("secret{number}"));
    let write = |path: &Path, keys: &[&str]| fs::write(path, keys.join("\n"));
    let mut cluster = on_loopback(4)?;
    for number in cluster.all() {
        write(&file(number), &[OLD])?;
        let line = format!("cluster_secret_file {}", file(number).display());
        cluster.node_mut(number).settings.property(&line);
    }
    let friends = [0, 1, 2];
    for number in friends {
        cluster.node_mut(number).start()?;
    }
    cluster.settle(&friends, &cluster.truth(&friends), 2 * PATIENCE)?;
    let load = ask(&cluster, 2, &friends)?;
    for (step, keys) in [&[OLD, NEW][..], &[NEW, OLD], &[NEW]]
        .into_iter()
        .enumerate()
    {
        for number in friends {
            write(&file(number), keys)?;
            reload(&cluster, number)?;
            // Names cross while some are ahead of others.
            let name = format!("step{step}-{number}.cluster.test");
            cluster.node_mut(number).run(&name, &[&name]);
            cluster.settle(&friends, &cluster.truth(&friends), PATIENCE)?;
        }
    }
    load.stop().ensure_flawless(50)?;
    // Who starts with the new key is one of them; who has the old one is not.
    cluster.node_mut(1).stop()?;
    cluster.settle(&[0], &cluster.truth(&[0, 2]), PATIENCE)?;
    cluster.node_mut(1).start()?;
    cluster.node_mut(3).start()?;
    cluster.settle(&friends, &cluster.truth(&friends), PATIENCE)?;
    pause(Duration::from_secs(4));
    cluster.settle(&friends, &cluster.truth(&friends), Duration::ZERO)?;
    cluster.settle(&[3], &cluster.truth(&[3]), Duration::ZERO)?;
    Ok(())
}

#[test]
fn a_reload_that_takes_a_restart_is_refused_and_changes_nothing() -> anyhow::Result<()> {
    let mut cluster = on_loopback(2)?;
    cluster.start()?;
    let all = cluster.all();
    let id = first_id(&cluster)?;
    let kept = cluster.node(0).settings.clone();
    let load = ask(&cluster, 1, &all)?;
    for (change, line) in [
        "node_name other",
        "cluster_label other",
        "cluster_advertise_addr 127.0.0.1:7950",
        "cluster_networks 127.0.0.0/8",
    ]
    .into_iter()
    .enumerate()
    {
        let settings = &mut cluster.node_mut(0).settings;
        settings.property("ttl 7");
        settings.property(line);
        ensure_refused(&cluster, 0)?;
        cluster.node_mut(0).settings = kept.clone();
        let name = format!("after{change}.cluster.test");
        cluster.node_mut(0).run(&name, &[&name]);
        cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
        ensure!(ttl(&cluster, 0, &name)? == 60, "a part was taken");
        ensure!(first_id(&cluster)? == id, "{}", cluster.node(1).output());
    }
    pause(Duration::from_secs(1));
    load.stop().ensure_flawless(50)
}

#[test]
fn a_reload_keeps_the_member_and_shares_what_it_changes() -> anyhow::Result<()> {
    let mut cluster = on_loopback(2)?;
    cluster.start()?;
    let all = cluster.all();
    let id = first_id(&cluster)?;
    let load = ask(&cluster, 1, &all)?;
    let name = Cluster::own_name(0);
    ensure!(ttl(&cluster, 1, &name)? == 60, "another TTL at first");

    cluster.node_mut(0).settings.property("ttl 7");
    reload(&cluster, 0)?;
    let is_shared = || (ttl(&cluster, 1, &name).ok()? == 7).then_some(());
    wait_for(is_shared).with_context(|| cluster.node(1).show_members())?;
    pause(Duration::from_secs(1));
    load.stop().ensure_flawless(50)?;

    // Other labels make other names.
    let other = FakeContainer::new("other", "test.name", "other.cluster.test");
    cluster.node(0).control().run(other);
    cluster.node_mut(0).settings.property("label test.name");
    reload(&cluster, 0)?;
    let host_ip = cluster.node(0).settings.host_ip;
    cluster.spread(&all, "other.cluster.test", &[host_ip], PATIENCE)?;
    cluster.spread(&all, &name, &[], PATIENCE)?;
    ensure!(first_id(&cluster)? == id, "{}", cluster.node(1).output());
    let withdrawn = cluster
        .node(1)
        .metric("portolan_cluster_withdrawals_total", &[])?;
    ensure!(withdrawn == 0.0, "{}", cluster.node(1).output());
    Ok(())
}

//! How fast a name comes and goes everywhere.

use std::time::Duration;

use anyhow::ensure;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::Series;
use portolan_testkit::cluster::Truth;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use super::site::PATIENCE;
use super::site::on_loopback;
use super::site::report;

/// Names of the node that has many.
const MANY: usize = 10_000;

/// Starts and stops a container at one node after another; checks that every
/// node answers its name, and that none does afterwards.
fn names_come_and_go(nodes: usize, rounds: usize, limit: Duration) -> anyhow::Result<()> {
    let mut cluster = on_loopback(nodes)?;
    let mut joined = Series::default();
    joined.add(cluster.start()?);
    report("joined", &joined);
    let all = cluster.all();
    let (mut added, mut removed) = (Series::default(), Series::default());
    for round in 0..rounds {
        let number = round % nodes;
        let name = format!("round{round}.cluster.test");
        cluster.node_mut(number).run(&name, &[&name]);
        let host_ip = cluster.node(number).settings.host_ip;
        let times = cluster.spread(&all, &name, &[host_ip], PATIENCE)?;
        added.extend(times.into_iter().max());
        // Changes in a row are sent together: this is about single ones.
        pause(Duration::from_millis(50));
        cluster.node_mut(number).destroy(&name);
        let times = cluster.spread(&all, &name, &[], PATIENCE)?;
        removed.extend(times.into_iter().max());
    }
    report(&format!("{nodes} nodes, added"), &added);
    report(&format!("{nodes} nodes, removed"), &removed);
    let worst = added.worst().max(removed.worst());
    ensure!(worst < limit, "{worst:?}");
    cluster.settle(&all, &cluster.truth(&all), Duration::ZERO)?;
    Ok(())
}

#[test]
fn a_name_comes_and_goes_at_3_nodes() -> anyhow::Result<()> {
    names_come_and_go(3, 9, Duration::from_secs(1))
}

#[test]
fn a_name_comes_and_goes_at_10_nodes() -> anyhow::Result<()> {
    names_come_and_go(10, 6, Duration::from_secs(2))
}

#[test]
fn a_name_comes_and_goes_at_30_nodes() -> anyhow::Result<()> {
    names_come_and_go(30, 3, Duration::from_secs(5))
}

#[test]
fn a_node_with_10000_names_shares_them_all() -> anyhow::Result<()> {
    let mut cluster = on_loopback(10)?;
    cluster.start()?;
    let origin = cluster.node_mut(0);
    origin.stop_engine();
    for number in 0..MANY {
        let name = format!("many{number}.cluster.test");
        origin.put(&name, &[&name]);
    }
    origin.resume_engine()?;
    let sample = sample(&cluster);
    cluster.settle(&[0], &sample, PATIENCE)?;
    let start = clock();
    cluster.settle(&cluster.all_but(0), &sample, PATIENCE)?;
    let mut series = Series::default();
    series.add(start.elapsed());
    report("10,000 names to 9 other nodes", &series);
    ensure!(series.worst() < Duration::from_secs(5), "{series}");
    let all = cluster.all();
    cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
    Ok(())
}

/// One in a hundred of the many names.
fn sample(cluster: &Cluster) -> Truth {
    let mut sample = Truth::default();
    for number in (0..MANY).step_by(100).chain([MANY - 1]) {
        let name = format!("many{number}.cluster.test");
        sample.add(&name, cluster.node(0).settings.host_ip);
    }
    sample
}

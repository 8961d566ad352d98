//! Names that several nodes have: Joyride deletes them everywhere when the
//! container of one of them stops.

use std::time::Duration;

use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::cluster::Bounds;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::process::pause;

use super::site::DETECTION;
use super::site::PATIENCE;
use super::site::on_loopback;

/// A name that two nodes have.
const SHARED: &str = "shared.cluster.test";

/// Three nodes, of which the first two have a name in common.
fn cluster() -> anyhow::Result<Cluster> {
    let mut cluster = on_loopback(3)?;
    for number in [0, 1] {
        cluster.node_mut(number).put("shared", &[SHARED]);
    }
    cluster.start()?;
    Ok(cluster)
}

/// Asks the third node for the name, again and again; the first node has it
/// all the time, the second perhaps.
fn ask(cluster: &Cluster) -> anyhow::Result<Load> {
    let all = cluster.truth(&cluster.all());
    let bounds = Bounds::exactly(all.clone());
    bounds.set(cluster.truth(&[0, 2]), all);
    let plan = Plan::new(SHARED, 200, Duration::from_secs(60));
    let judge = move |name: &str, answer: &_| bounds.check(name, answer);
    cluster.node(2).load(&plan, judge)
}

#[test]
fn a_name_of_two_nodes_survives_the_stop_at_one() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    let load = ask(&cluster)?;
    pause(Duration::from_millis(200));
    cluster.node_mut(1).destroy("shared");
    let all = cluster.all();
    cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
    cluster.node_mut(1).run("shared", &[SHARED]);
    cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
    pause(Duration::from_millis(200));
    load.stop().ensure_flawless(50)
}

#[test]
fn a_name_of_two_nodes_survives_the_leave_of_one() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    let load = ask(&cluster)?;
    cluster.node_mut(1).stop()?;
    cluster.settle(&[0, 2], &cluster.truth(&[0, 2]), PATIENCE)?;
    load.stop().ensure_flawless(50)
}

#[test]
fn a_name_of_two_nodes_survives_the_death_of_one() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    let load = ask(&cluster)?;
    cluster.node_mut(1).kill()?;
    cluster.settle(&[0, 2], &cluster.truth(&[0, 2]), DETECTION)?;
    load.stop().ensure_flawless(50)
}

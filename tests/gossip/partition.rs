//! Networks that fall apart, and what holds together all the same.

use std::time::Duration;

use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::Series;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use super::site::DETECTION;
use super::site::PATIENCE;
use super::site::on_hosts;
use super::site::report;

#[test]
fn a_partition_of_20_seconds_heals() -> anyhow::Result<()> {
    let Some(mut cluster) = on_hosts(3)? else {
        return Ok(());
    };
    cluster.start()?;
    let start = clock();
    cluster.network()?.split(1)?;
    // What changes on either side is right there, and what the other side had
    // is withdrawn.
    cluster.node_mut(0).run("left", &["left.cluster.test"]);
    cluster.node_mut(1).run("right", &["right.cluster.test"]);
    cluster.node_mut(2).destroy("self");
    cluster.settle(&[0], &cluster.truth(&[0]), DETECTION)?;
    cluster.settle(&[1, 2], &cluster.truth(&[1, 2]), DETECTION)?;
    pause(Duration::from_secs(20).saturating_sub(start.elapsed()));
    cluster.network()?.heal()?;
    let all = cluster.all();
    let mut series = Series::default();
    series.add(cluster.settle(&all, &cluster.truth(&all), PATIENCE)?);
    report("healed", &series);
    Ok(())
}

#[test]
fn nodes_that_cannot_hear_each_other_learn_through_others() -> anyhow::Result<()> {
    let Some(mut cluster) = on_hosts(3)? else {
        return Ok(());
    };
    cluster.start()?;
    let all = cluster.all();
    let mut series = Series::default();
    for (round, is_mutual) in [(0, false), (1, true)] {
        let network = cluster.network()?;
        if is_mutual {
            network.cut(0, 1)?;
        } else {
            network.block(0, 1)?;
        }
        // Long enough to be found dead by those who do not ask others.
        for step in 0..6 {
            let name = format!("new{round}-{step}.cluster.test");
            cluster.node_mut(step % 2).run(&name, &[&name]);
            series.add(cluster.settle(&all, &cluster.truth(&all), PATIENCE)?);
            pause(Duration::from_secs(1));
        }
        cluster.network()?.heal()?;
    }
    report("through others", &series);
    cluster.node_mut(0).destroy("self");
    cluster.spread(&all, &Cluster::own_name(0), &[], PATIENCE)?;
    Ok(())
}

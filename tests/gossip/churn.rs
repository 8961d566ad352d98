//! Containers that come and go all over the cluster: in Joyride's, with five
//! nodes or more, every one that stops comes back for ever.

use std::time::Duration;

use portolan_testkit::cluster::Churn;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::Series;
use portolan_testkit::process::pause;

use super::site::EXCHANGE;
use super::site::PATIENCE;
use super::site::on_hosts;
use super::site::on_loopback;
use super::site::report;

/// Changes a second.
const RATE: u32 = 40;

/// Starts and stops so many containers; checks that what is answered in the
/// end is right, and stays so.
fn stays_right(cluster: &mut Cluster, changes: u32) -> anyhow::Result<()> {
    let mut churn = Churn::new(u64::from(changes), 40);
    for _ in 0..changes {
        churn.step(cluster);
        pause(Duration::from_secs(1) / RATE);
    }
    let all = cluster.all();
    let truth = cluster.truth(&all);
    let mut series = Series::default();
    series.add(cluster.settle(&all, &truth, PATIENCE)?);
    report(&format!("after {changes} changes"), &series);
    pause(EXCHANGE);
    cluster.settle(&all, &truth, Duration::ZERO)?;
    Ok(())
}

#[test]
fn stopped_containers_never_come_back() -> anyhow::Result<()> {
    let mut cluster = on_loopback(6)?;
    cluster.start()?;
    stays_right(&mut cluster, 200)
}

#[test]
fn lost_packets_lose_no_name_and_bring_none_back() -> anyhow::Result<()> {
    let Some(mut cluster) = on_hosts(6)? else {
        return Ok(());
    };
    cluster.network()?.lose(0.02)?;
    cluster.start()?;
    stays_right(&mut cluster, 200)
}

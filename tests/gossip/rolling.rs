//! All nodes are restarted, one after another, while all answer.

use anyhow::ensure;
use portolan_testkit::cluster::restart_all;

use super::site::on_loopback;
use super::site::report;

/// Queries a second at each node.
const RATE: u32 = 100;

#[test]
fn a_rolling_restart_loses_no_query_and_answers_none_wrongly() -> anyhow::Result<()> {
    let mut cluster = on_loopback(5)?;
    for number in cluster.all() {
        let node = cluster.node_mut(number);
        for container in 0..5 {
            node.put(
                &format!("c{container}"),
                &[&format!("c{container}-{number}.cluster.test")],
            );
        }
        // A name of all, and one of two.
        node.put("all", &["all.cluster.test"]);
        node.put("pair", &[&format!("pair{}.cluster.test", number / 2)]);
    }
    cluster.start()?;
    let rolled = restart_all(&mut cluster, RATE)?;
    report("restarted", &rolled.restarts);
    report("settled", &rolled.settled);
    ensure!(rolled.sent > 3_000, "{} queries", rolled.sent);
    ensure!(
        rolled.lost == 0 && rolled.wrong.is_empty(),
        "{} of {} lost, wrong: {:#?}",
        rolled.lost,
        rolled.sent,
        rolled.wrong
    );
    Ok(())
}

//! All nodes restart, one after another, while all are asked.

use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::restart_all;

use crate::experiment::binary;
use crate::report::Report;

/// Nodes.
const NODES: usize = 5;

/// Containers of each.
const CONTAINERS: usize = 20;

/// Queries a second at each.
const RATE: u32 = 500;

/// Restarts all nodes, so many times.
pub(crate) fn run(rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::on_loopback(binary(), NODES)?;
    for number in cluster.all() {
        let node = cluster.node_mut(number);
        for container in 0..CONTAINERS {
            let name = format!("c{container}-{number}.cluster.test");
            node.put(&name, &[&name]);
        }
        // A name of all, and one of two.
        node.put("all", &["all.cluster.test"]);
        node.put("pair", &[&format!("pair{}.cluster.test", number / 2)]);
    }
    cluster.start()?;
    for _ in 0..rounds {
        let rolled = restart_all(&mut cluster, RATE)?;
        let example = rolled.wrong.first().cloned().unwrap_or_default();
        report.count("lost queries", rolled.lost, "");
        report.count("wrong answers", rolled.wrong.len(), &example);
        report.add(
            "from signal to ready, worst of 5",
            rolled.restarts.worst(),
            None,
        );
        report.add("known everywhere, worst of 5", rolled.settled.worst(), None);
    }
    Ok(())
}

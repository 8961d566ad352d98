//! How nodes find each other without seeds.

use portolan_testkit::cluster::Cluster;

use super::site::PATIENCE;
use super::site::on_hosts;

/// Nodes without seeds.
fn without_seeds(count: usize) -> anyhow::Result<Option<Cluster>> {
    let cluster = on_hosts(count)?;
    Ok(cluster.map(|mut cluster| {
        for node in cluster.nodes_mut() {
            node.settings.seeds.clear();
        }
        cluster
    }))
}

#[test]
fn broadcasts_make_a_cluster() -> anyhow::Result<()> {
    let Some(mut cluster) = without_seeds(3)? else {
        return Ok(());
    };
    cluster.start()?;
    Ok(())
}

#[test]
fn two_clusters_that_hear_of_each_other_become_one() -> anyhow::Result<()> {
    let Some(mut cluster) = without_seeds(4)? else {
        return Ok(());
    };
    cluster.network()?.split(2)?;
    for number in cluster.all() {
        cluster.node_mut(number).start()?;
    }
    for half in [[0, 1], [2, 3]] {
        cluster.settle(&half, &cluster.truth(&half), 2 * PATIENCE)?;
    }
    cluster.network()?.heal()?;
    let all = cluster.all();
    cluster.settle(&all, &cluster.truth(&all), 2 * PATIENCE)?;
    Ok(())
}

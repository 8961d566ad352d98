//! The Corefile of a cluster as people write it first.

use std::net::Ipv4Addr;

use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::Settings;

use super::site::PATIENCE;
use super::site::on_hosts;

/// The file, but for addresses. `SEEDS` stands for the two others, `NAME` for
/// the name of the node, `UPSTREAM` for addresses that nobody has.
const COREFILE: &str = "\
.:54 {
    docker-cluster {
        docker_socket DOCKER_SOCKET
        host_ip HOST_IP
        label coredns.host.name
        label joyride.host.name
        ttl 60

        # Clustering via memberlist (SWIM protocol)
        cluster_enabled true
        cluster_port 7946
        cluster_seeds SEEDS
        node_name NAME

        fallthrough
    }

    forward . UPSTREAM
    errors
    health :8080
    prometheus :9153
    cache 300
}
";

/// Three nodes with that file.
fn cluster() -> anyhow::Result<Option<Cluster>> {
    let Some(mut cluster) = on_hosts(3)? else {
        return Ok(None);
    };
    for number in cluster.all() {
        let seeds: Vec<String> = cluster
            .all_but(number)
            .into_iter()
            .map(|other| cluster.node(other).seed())
            .collect();
        let upstreams = [
            cluster.network()?.address(198),
            cluster.network()?.address(199),
        ];
        let upstreams = upstreams.map(|ip: Ipv4Addr| ip.to_string()).join(" ");
        let corefile = COREFILE
            .replace("SEEDS", &seeds.join(","))
            .replace("NAME", &format!("coredns-node-{}", number + 1))
            .replace("UPSTREAM", &upstreams);
        let node = cluster.node_mut(number);
        node.settings = Settings {
            corefile: Some(corefile),
            ..node.settings.clone()
        };
        node.move_to(54)?;
    }
    Ok(Some(cluster))
}

#[test]
fn the_corefile_of_the_brief_makes_a_cluster() -> anyhow::Result<()> {
    let Some(mut cluster) = cluster()? else {
        return Ok(());
    };
    for number in cluster.all() {
        cluster.node_mut(number).start()?;
    }
    let all = cluster.all();
    for number in cluster.all() {
        let host_ip = cluster.node(number).settings.host_ip;
        cluster.spread(&all, &Cluster::own_name(number), &[host_ip], 2 * PATIENCE)?;
    }
    // Both have it, and one lets it go.
    for number in [0, 1] {
        cluster.node_mut(number).run("both", &["both.ilude.com"]);
    }
    cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
    cluster.node_mut(0).destroy("both");
    cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
    Ok(())
}

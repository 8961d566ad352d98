//! What only the whole cluster, or all of them together, tells.

use std::net::IpAddr;

use crate::config::ServerBlock;
use crate::diagnostic::ConfigError;
use crate::diagnostic::Sink;
use crate::directive::docker_cluster::DockerCluster;
use crate::directive::docker_cluster::cluster::Cluster;
use crate::position::Located;
use crate::position::Position;
use crate::scope::Scope;

/// Checks one cluster.
pub(super) fn check(scope: &mut Scope<'_>, position: &Position, cluster: &Cluster) {
    if !cluster.enabled {
        return;
    }
    if cluster.discovery_port == cluster.port {
        let message = format!(
            "discovery_port and cluster_port are both {}: they need a port each",
            cluster.port
        );
        scope.error_in(position, message);
    }
    let advertised = cluster.advertise.iter().map(|advertise| advertise.address);
    let exposed = advertised
        .chain([cluster.bind_address])
        .find(|address| is_exposed(*address));
    if let (Some(address), true) = (exposed, cluster.secrets.is_empty()) {
        let message = format!(
            "clustering without a secret, and {address} is no private address: \
             anybody who reaches it can join; set CLUSTER_SECRET"
        );
        scope.sink.warn(position, message);
    }
}

/// Notes clusters that would bind the same port. Directives that are alike
/// are one.
pub(crate) fn check_together(blocks: &[Located<ServerBlock>], sink: &mut Sink) {
    let mut members: Vec<&Located<DockerCluster>> = Vec::new();
    let directives = blocks
        .iter()
        .filter_map(|block| block.docker_cluster.as_ref());
    for directive in directives.filter(|directive| directive.cluster.enabled) {
        if members.contains(&directive) {
            continue;
        }
        let other = members
            .iter()
            .find(|other| clash(&other.cluster, &directive.cluster));
        if let Some(other) = other {
            let message = format!(
                "this docker-cluster and the one at {} differ and share cluster port {}: give \
                 this one a cluster_port and a discovery_port of its own, or make them alike",
                other.position, directive.cluster.port
            );
            let error = ConfigError::plugin("docker-cluster", &directive.position, message);
            sink.error(error);
        }
        members.push(directive);
    }
}

/// Whether two clusters would bind the same port of the same address.
fn clash(one: &Cluster, other: &Cluster) -> bool {
    let (first, second) = (
        one.bind_address.to_canonical(),
        other.bind_address.to_canonical(),
    );
    // A socket of all IPv6 addresses takes IPv4 as well.
    let covers =
        |all: IpAddr, address: IpAddr| all.is_unspecified() && (all.is_ipv6() || address.is_ipv4());
    let overlap = first == second || covers(first, second) || covers(second, first);
    one.port == other.port && overlap
}

/// Whether an address is one that the Internet may reach.
fn is_exposed(address: IpAddr) -> bool {
    let is_ours = match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_unspecified()
                || address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                // RFC 6598: shared address space, 100.64.0.0/10.
                || first == 100 && second & 0xc0 == 64
        }
        IpAddr::V6(address) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    };
    !is_ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_private_are_exposed() {
        for (text, exposed) in [
            ("0.0.0.0", false),
            ("127.0.0.2", false),
            ("10.1.2.3", false),
            ("172.31.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.0.1", false),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("192.0.2.1", true),
            ("::", false),
            ("::1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("2001:db8::1", true),
            ("::ffff:10.0.0.1", false),
            ("::ffff:192.0.2.1", true),
        ] {
            let address = text.parse().expect("an address");
            assert_eq!(is_exposed(address), exposed, "{text}");
        }
    }

    #[test]
    fn clusters_clash_where_ports_and_addresses_meet() {
        let cluster = |address: &str, port| Cluster {
            bind_address: address.parse().expect("an address"),
            port,
            ..Cluster::default()
        };
        for (one, other, expected) in [
            ("0.0.0.0", "0.0.0.0", true),
            ("0.0.0.0", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.0", "::1", false),
            ("::", "::1", true),
            ("::", "192.0.2.1", true),
            ("::", "0.0.0.0", true),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                let clashes = clash(&cluster(one, 7), &cluster(other, 7));
                assert_eq!(clashes, expected, "{one} {other}");
                assert!(!clash(&cluster(one, 7), &cluster(other, 8)));
            }
        }
    }
}

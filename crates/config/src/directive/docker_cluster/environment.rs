//! The environment variables of `docker-cluster`. They beat the file; an
//! empty one counts as not set.

use crate::directive::docker_cluster::DockerCluster;
use crate::directive::docker_cluster::DockerEndpoint;
use crate::directive::docker_cluster::HostAddresses;
use crate::directive::docker_cluster::bad_endpoint;
use crate::directive::docker_cluster::cluster;
use crate::directive::docker_cluster::cluster::Cluster;
use crate::directive::docker_cluster::cluster::ClusterSecret;
use crate::directive::docker_cluster::cluster::is_true;
use crate::directive::unknown_action::UnknownAction;
use crate::directive::unknown_action::VALID_ACTIONS;
use crate::position::Position;
use crate::scope::Scope;

/// Applies every variable. What is wrong names the variable and stands at the
/// directive it would have changed.
pub(super) fn apply(scope: &mut Scope<'_>, position: &Position, docker: &mut DockerCluster) {
    apply_legacy(scope, position, docker);
    if let Some(host) = host_of_environment(scope, position) {
        docker.host = host;
    }
    if let Some(value) = scope.variable("DOCKER_SOCKET") {
        docker.endpoints.clear();
        for text in list(&value) {
            match DockerEndpoint::parse(text) {
                Some(endpoint) => docker.endpoints.push(endpoint),
                None => scope.error_in(position, bad_endpoint("DOCKER_SOCKET env var", text)),
            }
        }
    }
    if let Some(value) = scope.variable("DNS_UNKNOWN_ACTION") {
        match UnknownAction::parse(&value) {
            Some(action) => docker.unknown_action = action,
            None => scope.error_in(
                position,
                format!("invalid DNS_UNKNOWN_ACTION env var: {value} ({VALID_ACTIONS})"),
            ),
        }
    }
    apply_cluster(scope, position, &mut docker.cluster);
}

/// What `HOSTIP` says, if it is set.
pub(crate) fn host_of_environment(
    scope: &mut Scope<'_>,
    position: &Position,
) -> Option<HostAddresses> {
    let value = scope.variable("HOSTIP")?;
    let host = HostAddresses::parse(list(&value));
    Some(host.unwrap_or_else(|text| {
        let message = format!("invalid HOSTIP env var: {text} (an address)");
        scope.error_in(position, message);
        // The error keeps this from being used.
        HostAddresses::detected()
    }))
}

/// Applies the variables of Joyride 1, which the others beat.
fn apply_legacy(scope: &mut Scope<'_>, position: &Position, docker: &mut DockerCluster) {
    if let Some(value) = scope.variable("JOYRIDE_ENABLE_SERF") {
        docker.cluster.enabled = is_true(&value);
        scope.sink.warn(
            position,
            "JOYRIDE_ENABLE_SERF is deprecated: use CLUSTER_ENABLED",
        );
    }
    if let Some(value) = scope.variable("JOYRIDE_NXDOMAIN_ENABLED") {
        // Any other value leaves the action as it is.
        if is_true(&value) {
            docker.unknown_action = UnknownAction::NxDomain;
        }
        scope.sink.warn(
            position,
            "JOYRIDE_NXDOMAIN_ENABLED is deprecated: use DNS_UNKNOWN_ACTION=nxdomain",
        );
    }
}

/// Applies the variables of the cluster. They are checked also when there is
/// no cluster.
fn apply_cluster(scope: &mut Scope<'_>, position: &Position, into: &mut Cluster) {
    if let Some(value) = scope.variable("CLUSTER_ENABLED") {
        into.enabled = is_true(&value);
    }
    if let Some(value) = scope.variable("CLUSTER_PORT") {
        match cluster::parse_port(&value) {
            Ok(port) => into.port = port,
            Err(problem) => scope.error_in(position, problem.text("CLUSTER_PORT env var", &value)),
        }
    }
    if let Some(value) = scope.variable("CLUSTER_SEEDS") {
        match cluster::parse_seeds(&value) {
            Ok(seeds) => into.seeds = seeds,
            Err(seed) => scope.error_in(
                position,
                format!("invalid CLUSTER_SEEDS env var: {seed} (host:port)"),
            ),
        }
    }
    if let Some(value) = scope.variable("NODE_NAME") {
        into.node_name = Some(value);
    }
    if let Some(value) = scope.variable("CLUSTER_BIND_ADDR") {
        match value.parse() {
            Ok(address) => into.bind_address = address,
            Err(_) => scope.error_in(
                position,
                format!("invalid CLUSTER_BIND_ADDR env var: {value} (an address)"),
            ),
        }
    }
    if let Some(value) = scope.variable("DISCOVERY_PORT") {
        match cluster::parse_discovery_port(&value) {
            Some(port) => into.discovery_port = port,
            None => scope.error_in(position, format!("invalid DISCOVERY_PORT env var: {value}")),
        }
    }
    if let Some(value) = scope.variable("CLUSTER_SECRET") {
        into.secret = ClusterSecret::new(&value);
        if into.secret.is_none() {
            // The value itself must not reach a log.
            let length = value.len();
            let rule = format!("{length} octets long, must be 16, 24 or 32");
            scope.error_in(position, format!("invalid CLUSTER_SECRET env var: {rule}"));
        }
    }
}

/// The items of a list with commas or white space.
fn list(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|item| !item.is_empty())
}

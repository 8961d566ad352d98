//! The environment variables of `docker-cluster`. They beat the file; an
//! empty one counts as not set.

use portolan_proto::Name;

use crate::directive::docker_cluster::DockerCluster;
use crate::directive::docker_cluster::DockerEndpoint;
use crate::directive::docker_cluster::HostAddresses;
use crate::directive::docker_cluster::bad_endpoint;
use crate::directive::docker_cluster::cluster::Cluster;
use crate::directive::docker_cluster::values;
use crate::directive::docker_cluster::values::list;
use crate::directive::unknown_action::UnknownAction;
use crate::directive::unknown_action::VALID_ACTIONS;
use crate::position::Position;
use crate::scope::Scope;
use crate::words::is_true;

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
    apply_host_name(scope, position, docker);
    apply_cluster(scope, position, &mut docker.cluster);
}

/// Applies the name of the host, which Joyride 1 published when told to.
fn apply_host_name(scope: &mut Scope<'_>, position: &Position, docker: &mut DockerCluster) {
    let Some(text) = scope.variable("JOYRIDE_HOSTNAME") else {
        return;
    };
    let entry = scope.variable("JOYRIDE_HOSTNAME_DNS_ENTRY");
    if !entry.is_some_and(|value| is_true(&value)) {
        return;
    }
    match Name::from_ascii_or_idn(&text) {
        Ok(name) if !name.is_root() && !name.is_wildcard() => docker.host_name = Some(name),
        // It is no reason to serve nothing at all.
        _ => scope.sink.warn(
            position,
            format!("invalid JOYRIDE_HOSTNAME env var: {text}: it has no effect"),
        ),
    }
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

/// Applies the variables of the cluster, the secret apart. They are checked
/// also when there is no cluster.
fn apply_cluster(scope: &mut Scope<'_>, position: &Position, into: &mut Cluster) {
    if let Some(value) = scope.variable("CLUSTER_ENABLED") {
        into.enabled = is_true(&value);
    }
    let mut set = Setter { scope, position };
    set.put("NODE_NAME", &mut into.node_name, |value| {
        values::node_name(value).map(Some)
    });
    set.put("CLUSTER_PORT", &mut into.port, values::port);
    set.put("CLUSTER_SEEDS", &mut into.seeds, values::seeds);
    set.put(
        "CLUSTER_BIND_ADDR",
        &mut into.bind_address,
        values::bind_address,
    );
    set.put("CLUSTER_ADVERTISE_ADDR", &mut into.advertise, |value| {
        values::advertise_address(value).map(Some)
    });
    set.put(
        "DISCOVERY_PORT",
        &mut into.discovery_port,
        values::discovery_port,
    );
    set.put("CLUSTER_LABEL", &mut into.label, values::label);
    set.put("CLUSTER_NETWORKS", &mut into.networks, values::networks);
    set.put(
        "CLUSTER_ALLOWED_ZONES",
        &mut into.allowed_zones,
        values::zones,
    );
    set.put("CLUSTER_DEAD_HOLD", &mut into.dead_hold, values::dead_hold);
    set.put(
        "CLUSTER_LEAVE_HOLD",
        &mut into.leave_hold,
        values::leave_hold,
    );
}

/// Puts variables in the place of what the file says.
struct Setter<'s, 'a> {
    /// The surroundings of the directive.
    scope: &'s mut Scope<'a>,
    /// Where mistakes stand.
    position: &'s Position,
}

// === impl Setter ===

impl Setter<'_, '_> {
    /// Reads a variable, if it is set.
    fn put<T>(&mut self, name: &str, into: &mut T, parse: impl FnOnce(&str) -> Result<T, String>) {
        let Some(value) = self.scope.variable(name) else {
            return;
        };
        match parse(&value) {
            Ok(parsed) => *into = parsed,
            Err(problem) => {
                let message = format!("invalid {name} env var: {problem}");
                self.scope.error_in(self.position, message);
            }
        }
    }
}

//! `docker-cluster`, and the environment that beats it.

use std::time::Duration;

use portolan_config::DockerCluster;
use portolan_config::UnknownAction;

use crate::support::assert_refused;
use crate::support::assert_warned;
use crate::support::in_root;
use crate::support::load_with;
use crate::support::stanza;

/// The stanza of an empty block in an environment.
fn in_environment(variables: &[(&str, &str)]) -> Result<DockerCluster, String> {
    let loaded = load_with(". {\n docker-cluster\n}", variables)?;
    let block = loaded
        .config
        .blocks
        .into_iter()
        .next()
        .expect("a block")
        .value;
    Ok(block.docker_cluster.expect("docker-cluster").value)
}

#[test]
fn an_empty_block_has_every_default() {
    let docker = in_environment(&[]).expect("accepted");
    assert!(docker.endpoints.is_empty() && docker.host.addresses.is_empty());
    assert!(docker.host.detect && docker.reverse);
    assert!(!docker.healthy_only && !docker.traefik_labels);
    assert_eq!(docker.labels, ["coredns.host.name", "joyride.host.name"]);
    assert_eq!(
        (docker.ttl, docker.negative_ttl, docker.max_names),
        (60, 30, 100)
    );
    assert_eq!(
        (docker.unknown_action, docker.fallthrough),
        (UnknownAction::Drop, None)
    );
    assert_eq!(docker.linger, Duration::from_secs(5));
    assert!(!docker.cluster.enabled);
    assert_eq!(
        (docker.cluster.port, docker.cluster.discovery_port),
        (7946, 8889)
    );
    assert_eq!(docker.cluster.bind_address.to_string(), "0.0.0.0");
}

#[test]
fn every_property_is_kept() {
    let block = stanza(
        "docker-cluster { docker_socket unix:///a.sock tcp://b:2375 ; docker_socket /c.sock ; \
         host_ip 192.0.2.1 2001:db8::1 ; label a b ; label c ; ttl 0 ; fallthrough example.org ; \
         unknown_action Refused ; linger 10s ; healthy_only ; traefik_labels ; no_reverse ; negative_ttl 5 ; \
         max_names 10000 ; cluster_enabled no ; cluster_port 7 ; cluster_seeds x:1,y ; \
         node_name n ; cluster_bind_addr 192.0.2.3 ; discovery_port 0 }",
    );
    let docker = block.docker_cluster.expect("docker-cluster");
    let endpoints: Vec<&str> = docker.endpoints.iter().map(|e| e.as_str()).collect();
    assert_eq!(
        endpoints,
        ["unix:///a.sock", "tcp://b:2375", "unix:///c.sock"]
    );
    assert_eq!(
        (docker.host.addresses.len(), docker.host.detect),
        (2, false)
    );
    assert_eq!(docker.labels, ["a", "b", "c"]);
    assert_eq!(
        (docker.ttl, docker.negative_ttl, docker.max_names),
        (0, 5, 10_000)
    );
    assert_eq!(docker.unknown_action, UnknownAction::Refused);
    assert!(docker.healthy_only && docker.traefik_labels && !docker.reverse);
    assert_eq!(
        (docker.cluster.port, docker.cluster.discovery_port),
        (7, 8889)
    );
    assert_eq!(docker.cluster.seeds.len(), 2);
    assert_eq!(docker.cluster.node_name.as_deref(), Some("n"));
}

#[test]
fn unknown_actions_have_joyride_names() {
    for (name, action) in [
        ("drop", UnknownAction::Drop),
        ("timeout", UnknownAction::Drop),
        ("none", UnknownAction::Drop),
        ("NXDOMAIN", UnknownAction::NxDomain),
        ("nodata", UnknownAction::NoData),
        ("servfail", UnknownAction::ServFail),
    ] {
        let docker = stanza(&format!("docker-cluster {{ unknown_action {name} }}"));
        assert_eq!(
            docker
                .docker_cluster
                .expect("docker-cluster")
                .unknown_action,
            action
        );
    }
}

#[test]
fn an_unspecified_host_address_means_detect() {
    let host = |text: &str| {
        let block = stanza(&format!("docker-cluster {{ host_ip {text} }}"));
        block.docker_cluster.expect("docker-cluster").value.host
    };
    assert!(host("0.0.0.0").detect && host("0.0.0.0").addresses.is_empty());
    assert!(host("0.0.0.0 2001:db8::1").detect && host("0.0.0.0 2001:db8::1").addresses.len() == 1);
}

#[test]
fn what_is_refused() {
    for (text, fragment) in [
        ("ttl x", "invalid ttl: x"),
        ("ttl -1", "invalid ttl: -1"),
        ("ttl 2147483648", "invalid ttl: 2147483648"),
        (
            "unknown_action x",
            "invalid unknown_action: x (valid: drop, nxdomain",
        ),
        ("host_ip x", "invalid host_ip: x"),
        (
            "host_ip",
            "Wrong argument count or unexpected line ending after 'host_ip'",
        ),
        ("docker_socket foo://x", "invalid docker_socket: foo://x"),
        ("docker_socket x", "invalid docker_socket: x"),
        ("docker_socket ssh://x", "invalid docker_socket: ssh://x"),
        ("docker_socket unix://x", "invalid docker_socket: unix://x"),
        ("cluster_port x", "invalid cluster_port: x"),
        ("cluster_port 0", "cluster port must be between 1 and 65535"),
        (
            "cluster_port 65536",
            "cluster port must be between 1 and 65535",
        ),
        ("cluster_seeds a:b:c", "invalid cluster_seeds: a:b:c"),
        ("cluster_bind_addr x", "invalid cluster_bind_addr: x"),
        ("discovery_port x", "invalid discovery_port: x"),
        (
            "cluster_secret 0123456789abcdef",
            "set the environment variable CLUSTER_SECRET",
        ),
        ("max_names 0", "max_names must be between 1 and 10000"),
        ("max_names 10001", "max_names must be between 1 and 10000"),
        ("linger 5", "time: missing unit"),
        (
            "lable x",
            "unknown property 'lable' (did you mean 'label'?)",
        ),
        ("x", "unknown property 'x'"),
    ] {
        assert_refused(
            &in_root(&format!("docker-cluster {{ {text} }}")),
            &["plugin/docker-cluster: Corefile:3:", fragment],
        );
    }
}

#[test]
fn a_bad_variable_is_named() {
    for (name, value, fragment) in [
        ("HOSTIP", "x", "invalid HOSTIP env var: x"),
        ("DOCKER_SOCKET", "x", "invalid DOCKER_SOCKET env var: x"),
        (
            "DNS_UNKNOWN_ACTION",
            "x",
            "invalid DNS_UNKNOWN_ACTION env var: x (valid: drop, nxdomain",
        ),
        ("CLUSTER_PORT", "x", "invalid CLUSTER_PORT env var: x"),
        (
            "CLUSTER_PORT",
            "0",
            "cluster port must be between 1 and 65535",
        ),
        (
            "CLUSTER_SEEDS",
            "a:b:c",
            "invalid CLUSTER_SEEDS env var: a:b:c",
        ),
        (
            "CLUSTER_BIND_ADDR",
            "x",
            "invalid CLUSTER_BIND_ADDR env var: x",
        ),
        (
            "CLUSTER_SECRET",
            "your-shared-secret-key",
            "invalid CLUSTER_SECRET env var: 22 octets long",
        ),
        ("DISCOVERY_PORT", "x", "invalid DISCOVERY_PORT env var: x"),
        (
            "COREDNS_VERSION_PORT",
            "x",
            "invalid COREDNS_VERSION_PORT env var: x",
        ),
    ] {
        let errors = in_environment(&[(name, value)]).expect_err(name);
        assert!(errors.contains(fragment), "{errors}");
        assert!(errors.contains("Corefile:"), "{errors}");
        assert!(
            name != "CLUSTER_SECRET" || !errors.contains(value),
            "the secret is shown"
        );
    }
}

#[test]
fn arguments_are_told_to_have_no_effect() {
    assert_warned(
        &in_root("docker-cluster example.org"),
        &["argument 'example.org' has no effect"],
    );
}

#[test]
fn variables_that_change_nothing_or_much_are_told() {
    let text = ". {\n traefik-externals {\n directory /a\n }\n}";
    let variables = [
        ("HOSTIP", "192.0.2.1"),
        ("TRAEFIK_EXTERNALS_ENABLED", "No"),
        ("TRAEFIK_EXTERNALS_TTL", "bad"),
    ];
    let loaded = load_with(text, &variables).expect("accepted");
    for expected in [
        "invalid TRAEFIK_EXTERNALS_TTL env var: bad",
        "TRAEFIK_EXTERNALS_ENABLED is off",
    ] {
        let mut warnings = loaded.warnings.iter();
        assert!(warnings.any(|w| w.message.contains(expected)), "{expected}");
    }
}

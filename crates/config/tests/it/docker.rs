//! `docker-cluster`, and the environment that beats it.

use std::time::Duration;

use portolan_config::DockerCluster;
use portolan_config::UnknownAction;

use crate::support::assert_refused;
use crate::support::assert_warned;
use crate::support::in_root;
use crate::support::load;
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
fn the_environment_beats_the_file() {
    let text = ". {\n docker-cluster {\n host_ip 192.0.2.1\n docker_socket /a\n ttl 5\n unknown_action drop\n cluster_seeds a\n }\n}";
    let variables = [
        ("HOSTIP", "192.0.2.7, 2001:db8::7"),
        ("DOCKER_SOCKET", "tcp://proxy:2375"),
        ("DNS_UNKNOWN_ACTION", "NXDOMAIN"),
        ("CLUSTER_PORT", "7000"),
        ("CLUSTER_SEEDS", "b:1, c"),
        ("NODE_NAME", "node1"),
        ("CLUSTER_BIND_ADDR", "192.0.2.2"),
        ("CLUSTER_SECRET", "0123456789abcdef"),
        ("DISCOVERY_PORT", "9000"),
        ("TZ", "Europe/Berlin"),
        ("HOST_IP", "not used"),
    ];
    let loaded = load_with(text, &variables).expect("accepted");
    let docker = loaded
        .config
        .blocks
        .first()
        .expect("a block")
        .docker_cluster
        .clone();
    let docker = docker.expect("docker-cluster");
    assert_eq!(docker.host.addresses.len(), 2);
    assert_eq!(docker.endpoints.len(), 1);
    assert_eq!(docker.unknown_action, UnknownAction::NxDomain);
    assert_eq!(
        (docker.cluster.port, docker.cluster.discovery_port),
        (7000, 9000)
    );
    assert_eq!(docker.cluster.seeds.len(), 2);
    assert_eq!(docker.cluster.node_name.as_deref(), Some("node1"));
    assert_eq!(docker.cluster.secrets.len(), 1);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let names = [
        "HOSTIP",
        "DOCKER_SOCKET",
        "DNS_UNKNOWN_ACTION",
        "CLUSTER_PORT",
        "CLUSTER_SECRET",
    ];
    let empty: Vec<(&str, &str)> = names.iter().map(|name| (*name, "")).collect();
    assert_eq!(in_environment(&empty), in_environment(&[]));
}

#[test]
fn the_variables_of_joyride_1_are_weaker() {
    let action =
        |variables: &[(&str, &str)]| in_environment(variables).expect("accepted").unknown_action;
    assert_eq!(
        action(&[("JOYRIDE_NXDOMAIN_ENABLED", "yes")]),
        UnknownAction::NxDomain
    );
    assert_eq!(
        action(&[("JOYRIDE_NXDOMAIN_ENABLED", "false")]),
        UnknownAction::Drop
    );
    assert_eq!(
        action(&[
            ("JOYRIDE_NXDOMAIN_ENABLED", "1"),
            ("DNS_UNKNOWN_ACTION", "drop")
        ]),
        UnknownAction::Drop
    );
    let enabled =
        |variables: &[(&str, &str)]| in_environment(variables).expect("accepted").cluster.enabled;
    assert!(enabled(&[("JOYRIDE_ENABLE_SERF", "true")]));
    assert!(!enabled(&[("JOYRIDE_ENABLE_SERF", "off")]));
    assert!(!enabled(&[
        ("JOYRIDE_ENABLE_SERF", "true"),
        ("CLUSTER_ENABLED", "off")
    ]));
    assert!(enabled(&[("CLUSTER_ENABLED", "YES")]));
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
fn the_version_address_may_be_a_port_alone() {
    for (value, shown) in [
        (":8081", ":8081"),
        ("9000", ":9000"),
        ("127.0.0.1:1", "127.0.0.1:1"),
    ] {
        let loaded = load_with(". {\n whoami\n}", &[("COREDNS_VERSION_PORT", value)]);
        assert_eq!(loaded.expect("accepted").config.version.to_string(), shown);
    }
    assert_eq!(
        load(". {\n whoami\n}")
            .expect("accepted")
            .config
            .version
            .port,
        8081
    );
}

#[test]
fn arguments_are_told_to_have_no_effect() {
    assert_warned(
        &in_root("docker-cluster example.org"),
        &["argument 'example.org' has no effect"],
    );
}

#[test]
fn traefik_externals_follows_its_variables() {
    let text = ". {\n traefik-externals {\n directory /a\n }\n}";
    let variables = [
        ("HOSTIP", "192.0.2.1"),
        ("TRAEFIK_EXTERNALS_ENABLED", "No"),
        ("TRAEFIK_EXTERNALS_DIRECTORY", "/b"),
        ("TRAEFIK_EXTERNALS_ENV_FILE", "/c"),
        ("TRAEFIK_EXTERNALS_TTL", "bad"),
    ];
    let loaded = load_with(text, &variables).expect("accepted");
    let traefik = loaded
        .config
        .blocks
        .first()
        .expect("a block")
        .traefik_externals
        .clone();
    let traefik = traefik.expect("traefik-externals");
    assert_eq!((traefik.enabled, traefik.ttl), (false, 60));
    assert_eq!(traefik.directory, std::path::Path::new("/b"));
    assert_eq!(
        traefik.env_file.as_deref(),
        Some(std::path::Path::new("/c"))
    );
    for expected in [
        "invalid TRAEFIK_EXTERNALS_TTL env var: bad",
        "TRAEFIK_EXTERNALS_ENABLED is off",
    ] {
        let mut warnings = loaded.warnings.iter();
        assert!(warnings.any(|w| w.message.contains(expected)), "{expected}");
    }
}

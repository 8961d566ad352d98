//! The `cluster_…` properties of `docker-cluster`, their variables, and what
//! several clusters do to one another.

use std::time::Duration;

use portolan_config::Cluster;
use portolan_config::ClusterAddress;
use portolan_config::ClusterSeed;

use crate::support::load;
use crate::support::load_with;

/// A property, its variable if it has one, and what is wrong with a value.
type Refused = (&'static str, &'static str, &'static str, &'static str);

/// The cluster of a `docker-cluster` whose block has these lines.
fn cluster(lines: &str, variables: &[(&str, &str)]) -> Result<Cluster, String> {
    let loaded = load_with(&corefile(lines), variables)?;
    let mut blocks = loaded.config.blocks.into_iter();
    let block = blocks.next().expect("a block").value;
    Ok(block.docker_cluster.expect("docker-cluster").value.cluster)
}

/// A Corefile with a `docker-cluster` at 2:2, whose lines begin at 3:1.
fn corefile(lines: &str) -> String {
    format!(". {{\n docker-cluster {{\n{lines}\n }}\n}}\n")
}

/// The warnings of a cluster that is enabled.
fn warnings(lines: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let text = corefile(&format!("cluster_enabled true\n{lines}"));
    let loaded = load_with(&text, variables).unwrap_or_else(|errors| panic!("{lines}\n{errors}"));
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_cluster_has_defaults() {
    let cluster = cluster("", &[]).expect("accepted");
    assert_eq!(cluster, Cluster::default());
    assert_eq!(
        (cluster.dead_hold, cluster.leave_hold),
        (Duration::ZERO, Duration::from_millis(400))
    );
    assert_eq!((cluster.max_records, cluster.label.as_str()), (65_536, ""));
    assert!(cluster.networks.is_empty() && cluster.allowed_zones.is_empty());
    assert!(cluster.advertise.is_none() && cluster.secrets.is_empty());
}

/// Every property and its variable, with values that differ.
const SETTINGS: [(&str, &str, &str, &str); 10] = [
    ("cluster_enabled", "true", "CLUSTER_ENABLED", "no"),
    ("cluster_port", "7000", "CLUSTER_PORT", "7001"),
    ("cluster_seeds", "a:1", "CLUSTER_SEEDS", "b:2,c"),
    ("node_name", "one", "NODE_NAME", "two"),
    ("cluster_bind_addr", "127.0.0.1", "CLUSTER_BIND_ADDR", "::1"),
    (
        "cluster_advertise_addr",
        "10.0.0.1",
        "CLUSTER_ADVERTISE_ADDR",
        "[fd00::1]:7002",
    ),
    ("discovery_port", "9000", "DISCOVERY_PORT", "9001"),
    ("cluster_label", "here", "CLUSTER_LABEL", "the other"),
    (
        "cluster_networks",
        "10.0.0.0/8",
        "CLUSTER_NETWORKS",
        "10.1.0.0/16 10.2.0.1,fd00::/8",
    ),
    (
        "cluster_allowed_zones",
        "example.org",
        "CLUSTER_ALLOWED_ZONES",
        "example.net, lan",
    ),
];

#[test]
fn every_property_is_kept() {
    let lines: Vec<String> = SETTINGS
        .iter()
        .map(|(property, value, ..)| format!("{property} {value}"))
        .chain(["cluster_dead_hold 24h".to_owned()])
        .chain(["cluster_leave_hold 1m".to_owned()])
        .chain(["cluster_max_records 1000000".to_owned()])
        .collect();
    let cluster = cluster(&lines.join("\n"), &[]).expect("accepted");
    assert_eq!(
        cluster,
        Cluster {
            enabled: true,
            port: 7000,
            seeds: vec![ClusterSeed {
                host: "a".to_owned(),
                port: Some(1)
            }],
            node_name: Some("one".to_owned()),
            bind_address: "127.0.0.1".parse().expect("an address"),
            advertise: Some(ClusterAddress {
                address: "10.0.0.1".parse().expect("an address"),
                port: None
            }),
            discovery_port: 9000,
            label: "here".to_owned(),
            networks: vec!["10.0.0.0/8".parse().expect("a network")],
            allowed_zones: vec!["example.org.".parse().expect("a name")],
            dead_hold: Duration::from_secs(86_400),
            leave_hold: Duration::from_secs(60),
            max_records: 1_000_000,
            secrets: Vec::new(),
        }
    );
}

#[test]
fn each_variable_beats_its_property() {
    let holds = [
        ("cluster_dead_hold", "1s", "CLUSTER_DEAD_HOLD", "2s"),
        ("cluster_leave_hold", "1s", "CLUSTER_LEAVE_HOLD", "2s"),
    ];
    for (property, value, variable, other) in SETTINGS.into_iter().chain(holds) {
        let read = |line: &str, variables: &[(&str, &str)]| {
            cluster(line, variables).unwrap_or_else(|errors| panic!("{property}: {errors}"))
        };
        let of_file = read(&format!("{property} {value}"), &[]);
        let of_variable = read("", &[(variable, other)]);
        let both = read(&format!("{property} {value}"), &[(variable, other)]);
        let empty = read(&format!("{property} {value}"), &[(variable, "")]);
        assert_ne!(of_file, both, "{property}");
        assert_eq!(of_variable, both, "{property}");
        assert_eq!(of_file, empty, "{property}");
    }
}

#[test]
fn lists_add_up() {
    let cluster = cluster(
        "cluster_networks 10.0.0.0/8,192.168.0.1 fd00::/8\ncluster_networks 127.0.0.1\n\
         cluster_allowed_zones a b\ncluster_allowed_zones c",
        &[],
    );
    let cluster = cluster.expect("accepted");
    let networks: Vec<String> = cluster.networks.iter().map(ToString::to_string).collect();
    assert_eq!(
        networks,
        ["10.0.0.0/8", "192.168.0.1/32", "fd00::/8", "127.0.0.1/32"]
    );
    assert_eq!(cluster.allowed_zones.len(), 3);
}

/// Values that are refused, in the file and in the environment alike.
const REFUSED: &[Refused] = &[
    ("cluster_port", "CLUSTER_PORT", "x", "x"),
    (
        "cluster_port",
        "CLUSTER_PORT",
        "0",
        "cluster port must be between 1 and 65535, got 0",
    ),
    (
        "cluster_seeds",
        "CLUSTER_SEEDS",
        "a:b:c",
        "a:b:c (host:port)",
    ),
    (
        "cluster_bind_addr",
        "CLUSTER_BIND_ADDR",
        "x",
        "x (an address of this host, or 0.0.0.0 or ::)",
    ),
    (
        "cluster_advertise_addr",
        "CLUSTER_ADVERTISE_ADDR",
        "node1:7946",
        "node1:7946 (one address of this host, such as 192.0.2.1 or [2001:db8::1]:7946)",
    ),
    (
        "cluster_advertise_addr",
        "CLUSTER_ADVERTISE_ADDR",
        "0.0.0.0",
        "0.0.0.0 (one address of this host",
    ),
    ("discovery_port", "DISCOVERY_PORT", "65536", "65536"),
    (
        "cluster_label",
        "CLUSTER_LABEL",
        "caf\u{e9}",
        "\"caf\u{e9}\" (1 to 128 printable ASCII characters)",
    ),
    (
        "cluster_networks",
        "CLUSTER_NETWORKS",
        "10.0.0.0/33",
        "10.0.0.0/33 (a network such as 192.0.2.0/24, or an address)",
    ),
    (
        "cluster_networks",
        "CLUSTER_NETWORKS",
        ",",
        "\",\" (a list of nothing)",
    ),
    (
        "cluster_allowed_zones",
        "CLUSTER_ALLOWED_ZONES",
        "a..b",
        "zone is not a valid domain name: a..b",
    ),
    (
        "cluster_allowed_zones",
        "CLUSTER_ALLOWED_ZONES",
        "10.0.0.0/8",
        "10.0.0.0/8 (a name: addresses are judged by the names they answer with)",
    ),
    (
        "cluster_dead_hold",
        "CLUSTER_DEAD_HOLD",
        "24h1s",
        "24h1s (0s to 24h)",
    ),
    (
        "cluster_dead_hold",
        "CLUSTER_DEAD_HOLD",
        "-1s",
        "-1s (0s to 24h)",
    ),
    (
        "cluster_leave_hold",
        "CLUSTER_LEAVE_HOLD",
        "61s",
        "61s (0s to 60s)",
    ),
    (
        "cluster_leave_hold",
        "CLUSTER_LEAVE_HOLD",
        "1",
        "time: missing unit in duration \"1\"",
    ),
    ("cluster_max_records", "", "0", "0 (1 to 1000000)"),
    (
        "cluster_max_records",
        "",
        "1000001",
        "1000001 (1 to 1000000)",
    ),
];

#[test]
fn a_bad_value_is_refused_in_the_file_and_in_the_environment() {
    for (property, variable, value, problem) in REFUSED {
        let errors = cluster(&format!("{property} {value}"), &[]).expect_err(property);
        let column = property.len() + 2;
        let expected = format!(
            "plugin/docker-cluster: Corefile:3:{column} - Error during parsing: \
             invalid {property}: {problem}"
        );
        assert!(errors.starts_with(&expected), "{errors}\n{expected}");
        if variable.is_empty() {
            continue;
        }
        let errors = cluster("", &[(variable, value)]).expect_err(variable);
        let expected = format!(
            "plugin/docker-cluster: Corefile:2:2 - Error during parsing: \
             invalid {variable} env var: {problem}"
        );
        assert!(errors.starts_with(&expected), "{errors}\n{expected}");
    }
}

#[test]
fn the_second_bad_item_of_a_list_has_its_own_column() {
    let errors = cluster("cluster_networks 10.0.0.0/8 x", &[]).expect_err("refused");
    assert!(errors.contains("Corefile:3:29 - "), "{errors}");
}

#[test]
fn a_property_has_one_value_unless_it_is_a_list() {
    for property in [
        "cluster_advertise_addr 10.0.0.1 10.0.0.2",
        "cluster_label a b",
        "cluster_dead_hold 1s 2s",
        "cluster_max_records 1 2",
        "cluster_secret_file /a /b",
        "cluster_advertise_addr",
        "cluster_label",
        "cluster_networks",
        "cluster_allowed_zones",
        "cluster_leave_hold",
        "cluster_secret_file",
    ] {
        let errors = cluster(property, &[]).expect_err(property);
        assert!(errors.contains("Corefile:3:"), "{errors}");
        assert!(errors.contains("Wrong argument count"), "{errors}");
    }
}

#[test]
fn a_misspelled_property_is_suggested() {
    for (word, meant) in [
        ("cluster_advertise_address", "cluster_advertise_addr"),
        ("cluster_lable", "cluster_label"),
        ("cluster_network", "cluster_networks"),
        ("cluster_allowed_zone", "cluster_allowed_zones"),
        ("cluster_deadhold", "cluster_dead_hold"),
        ("cluster-leave-hold", "cluster_leave_hold"),
        ("cluster_max_record", "cluster_max_records"),
        ("cluster_secrets_file", "cluster_secret_file"),
    ] {
        let errors = cluster(&format!("{word} x"), &[]).expect_err(word);
        assert!(
            errors.contains(&format!("(did you mean '{meant}'?)")),
            "{errors}"
        );
    }
}

#[test]
fn clustering_without_a_secret_warns_where_anybody_may_reach_it() {
    let secret = [("CLUSTER_SECRET", "0123456789abcdef")];
    for (lines, address) in [
        ("", None),
        ("cluster_bind_addr 10.0.0.1", None),
        ("cluster_bind_addr ::1", None),
        ("cluster_advertise_addr 100.64.0.1:7946", None),
        ("cluster_bind_addr 192.0.2.1", Some("192.0.2.1")),
        (
            "cluster_advertise_addr [2001:db8::1]:7946",
            Some("2001:db8::1"),
        ),
        (
            "cluster_bind_addr 10.0.0.1\ncluster_advertise_addr 192.0.2.2",
            Some("192.0.2.2"),
        ),
    ] {
        let expected: Vec<String> = address
            .iter()
            .map(|address| {
                format!(
                    "Corefile:2:2 - Warning: clustering without a secret, and {address} is no \
                     private address: anybody who reaches it can join; set CLUSTER_SECRET"
                )
            })
            .collect();
        assert_eq!(warnings(lines, &[]), expected, "{lines}");
        assert!(warnings(lines, &secret).is_empty(), "{lines}");
        let off = load(&corefile(lines)).expect("accepted");
        assert_eq!(off.warnings, [], "{lines}");
    }
}

#[test]
fn seeds_without_clustering_are_nothing_to_warn_about() {
    let loaded = load_with(
        &corefile("cluster_seeds a:1"),
        &[("CLUSTER_SEEDS", "a:1"), ("NODE_NAME", "a")],
    );
    assert_eq!(loaded.expect("accepted").warnings, []);
}

#[test]
fn discovery_and_membership_have_a_port_each() {
    for (lines, port) in [
        ("cluster_port 8889", 8889),
        ("discovery_port 7946", 7946),
        ("cluster_port 9\ndiscovery_port 9\ncluster_seeds a", 9),
    ] {
        let enabled = format!("cluster_enabled yes\n{lines}");
        let errors = cluster(&enabled, &[]).expect_err(lines);
        assert_eq!(
            errors,
            format!(
                "plugin/docker-cluster: Corefile:2:2 - Error during parsing: discovery_port and \
                 cluster_port are both {port}: they need a port each"
            )
        );
        assert!(cluster(lines, &[]).is_ok(), "{lines}");
    }
}

/// Two blocks with a `docker-cluster` each, at 2:2 and 7:2.
fn two_blocks(first: &str, second: &str) -> String {
    let block =
        |lines: &str| format!(" docker-cluster {{\n cluster_enabled true\n {lines}\n }}\n}}\n");
    format!(".:54 {{\n{}.:55 {{\n{}", block(first), block(second))
}

#[test]
fn clusters_that_differ_do_not_share_a_port() {
    for (first, second) in [
        ("ttl 1", "ttl 2"),
        ("cluster_bind_addr 10.0.0.1", "ttl 60"),
        ("cluster_bind_addr ::", "cluster_bind_addr 10.0.0.1"),
        ("cluster_label a", "cluster_label b"),
    ] {
        let errors = load(&two_blocks(first, second)).expect_err(first);
        assert_eq!(
            errors,
            "plugin/docker-cluster: Corefile:8:2 - Error during parsing: this docker-cluster and \
             the one at Corefile:2:2 differ and share cluster port 7946: give this one a \
             cluster_port and a discovery_port of its own, or make them alike"
        );
    }
}

#[test]
fn clusters_that_are_alike_or_apart_are_accepted() {
    for (first, second) in [
        ("ttl 1", "ttl 1"),
        ("ttl 1", "cluster_port 7947"),
        ("cluster_bind_addr 10.0.0.1", "cluster_bind_addr 10.0.0.2"),
        ("ttl 1", "cluster_enabled false"),
    ] {
        load(&two_blocks(first, second)).unwrap_or_else(|errors| panic!("{first}\n{errors}"));
    }
}

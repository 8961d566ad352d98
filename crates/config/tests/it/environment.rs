//! The environment, variable by variable: what it sets beats the file, and an
//! empty one is not set.

use std::collections::BTreeSet;
use std::path::Path;

use portolan_config::Config;
use portolan_config::ServerBlock;

use crate::support::load_with;

/// A file that sets everything the environment can.
const FILE: &str = "\
. {
    hosts /nonexistent/hosts.d/hosts
    docker-cluster {
        docker_socket unix:///file.sock
        host_ip 192.0.2.1
        unknown_action refused
        cluster_enabled true
        cluster_port 7001
        cluster_seeds file
        node_name file
        cluster_bind_addr 127.0.0.1
        discovery_port 8001
    }
    traefik-externals {
        directory /file
        host_ip 192.0.2.1
        ttl 61
        env_file /file.env
    }
}
";

/// Variable, value, and what the configuration shows that the file does not.
const CASES: &[(&str, &str, &str)] = &[
    ("HOSTIP", "192.0.2.9", "docker 192.0.2.9 traefik 192.0.2.9"),
    (
        "HOSTIP",
        "192.0.2.7, 2001:db8::7",
        "docker 192.0.2.7 2001:db8::7 traefik 192.0.2.7 2001:db8::7",
    ),
    ("DOCKER_SOCKET", "tcp://a:2375", "engines tcp://a:2375"),
    ("DOCKER_SOCKET", "/bare.sock", "engines unix:///bare.sock"),
    ("DNS_UNKNOWN_ACTION", "NXDOMAIN", "unknown NxDomain"),
    ("DNS_UNKNOWN_ACTION", "timeout", "unknown Drop"),
    ("DNS_UNKNOWN_ACTION", "None", "unknown Drop"),
    ("JOYRIDE_NXDOMAIN_ENABLED", "yes", "unknown NxDomain"),
    ("JOYRIDE_NXDOMAIN_ENABLED", "no", "unknown Refused"),
    ("JOYRIDE_ENABLE_SERF", "off", "clustered false"),
    ("JOYRIDE_ENABLE_SERF", "1", "clustered true"),
    ("CLUSTER_ENABLED", "on", "clustered false"),
    ("CLUSTER_ENABLED", "Yes", "clustered true"),
    ("CLUSTER_PORT", "7002", "port 7002"),
    ("DISCOVERY_PORT", "8002", "discovery 8002"),
    ("DISCOVERY_PORT", "0", "discovery 8889"),
    ("CLUSTER_SECRET", "0123456789abcdef", "secrets 1"),
    ("CLUSTER_SEEDS", " a:1,,b ", "seeds 2"),
    ("NODE_NAME", "n", "node n"),
    ("CLUSTER_BIND_ADDR", "192.0.2.3", "bind 192.0.2.3"),
    (
        "COREDNS_VERSION_PORT",
        "127.0.0.1:9000",
        "version 127.0.0.1:9000",
    ),
    ("COREDNS_VERSION_PORT", "9000", "version :9000"),
    ("COREDNS_VERSION_PORT", ":9000", "version :9000"),
    ("TRAEFIK_EXTERNALS_ENABLED", "No", "externals false"),
    ("TRAEFIK_EXTERNALS_ENABLED", "0", "externals false"),
    ("TRAEFIK_EXTERNALS_ENABLED", "off", "externals true"),
    ("TRAEFIK_EXTERNALS_DIRECTORY", "/t", "directory /t"),
    ("TRAEFIK_EXTERNALS_ENV_FILE", "/e", "env_file /e"),
    ("TRAEFIK_EXTERNALS_TTL", "5", "ttl 5"),
    ("TRAEFIK_EXTERNALS_TTL", "x", "ttl 61"),
    (
        "HOSTS_DIRECTORY",
        "/d",
        "hosts /nonexistent/hosts.d/hosts /d",
    ),
    (
        "HOSTS_DIRECTORY",
        "/nonexistent/hosts.d",
        "hosts /nonexistent/hosts.d",
    ),
    ("JOYRIDE_LOG_QUERIES", "true", "log 1"),
    ("JOYRIDE_LOG_QUERIES", "false", "log 0"),
    ("JOYRIDE_LOG_DEBUG", "True", "debug true"),
    ("JOYRIDE_LOG_DEBUG", "0", "debug false"),
];

#[test]
fn each_variable_beats_the_file() -> Result<(), String> {
    for (name, value, expected) in CASES {
        let shown = shown(&[(name, value)])?;
        for part in expected.split(" traefik ") {
            assert!(
                shown.contains(part),
                "{name}={value}: no {part:?} in\n{shown}"
            );
        }
    }
    Ok(())
}

#[test]
fn an_empty_variable_changes_nothing() -> Result<(), String> {
    let untouched = shown(&[])?;
    for (name, _, _) in CASES {
        assert_eq!(shown(&[(name, "")])?, untouched, "{name}");
    }
    Ok(())
}

#[test]
fn variables_of_others_are_harmless() -> Result<(), String> {
    let others = [
        ("HOST_IP", "not an address"),
        ("TZ", "Europe/Berlin"),
        ("JOYRIDE_DOCKER_TAG", "main"),
        ("PUID", "1001"),
        ("CLUSTER_NONSENSE", "x"),
    ];
    assert_eq!(shown(&others)?, shown(&[])?);
    Ok(())
}

#[test]
fn the_names_of_today_beat_those_of_joyride_1() -> Result<(), String> {
    for (variables, expected) in [
        (
            [
                ("JOYRIDE_NXDOMAIN_ENABLED", "true"),
                ("DNS_UNKNOWN_ACTION", "drop"),
            ],
            "unknown Drop",
        ),
        (
            [
                ("JOYRIDE_ENABLE_SERF", "true"),
                ("CLUSTER_ENABLED", "false"),
            ],
            "clustered false",
        ),
    ] {
        assert!(shown(&variables)?.contains(expected), "{variables:?}");
    }
    Ok(())
}

#[test]
fn the_names_of_joyride_1_are_told_to_be_replaced() -> Result<(), String> {
    for (name, today) in [
        ("JOYRIDE_NXDOMAIN_ENABLED", "DNS_UNKNOWN_ACTION=nxdomain"),
        ("JOYRIDE_ENABLE_SERF", "CLUSTER_ENABLED"),
    ] {
        for (value, expected) in [("true", 1), ("false", 1), ("", 0)] {
            let warnings = load_with(FILE, &[(name, value)])?.warnings;
            let note = format!("{name} is deprecated: use {today}");
            let told = warnings.iter().map(ToString::to_string);
            let told = told.filter(|warning| warning.contains(&note)).count();
            assert_eq!(told, expected, "{name}={value}");
        }
    }
    Ok(())
}

#[test]
fn an_address_is_wanted_even_if_the_directive_is_switched_off() {
    for (name, value) in [("HOSTIP", "nonsense"), ("HOSTIP", "192.0.2.1 nonsense")] {
        let variables = [(name, value), ("TRAEFIK_EXTERNALS_ENABLED", "false")];
        let text = ". {\n traefik-externals {\n directory /a\n }\n}";
        let errors = load_with(text, &variables).expect_err("refused");
        assert!(errors.contains("invalid HOSTIP env var"), "{errors}");
    }
}

#[test]
fn references_of_the_file_are_replaced_before_it_is_read() -> Result<(), String> {
    // The last is what Joyride's own file has as a comment, and could not read.
    for (reference, variables, expected) in [
        ("{$DNS_UPSTREAM}", &[("DNS_UPSTREAM", "192.0.2.1")][..], 1),
        ("{%DNS_UPSTREAM%}", &[("DNS_UPSTREAM", "192.0.2.1")], 1),
        ("{$DNS_UPSTREAM:8.8.8.8 1.1.1.1}", &[], 2),
    ] {
        let text = format!(". {{\n forward . {reference}\n}}");
        let config = load_with(&text, variables)?.config;
        let forwards = config.blocks.first().map(|block| &block.value.forward);
        let upstreams = forwards
            .and_then(|all| all.first())
            .map_or(0, |forward| forward.value.to.len());
        assert_eq!(upstreams, expected, "{text}");
    }
    Ok(())
}

#[test]
fn every_variable_is_tested_and_documented() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = read(&root.join("src"), "rs")?;
    let tests = read(&root.join("tests"), "rs")?;
    let pages = read(&root.join("../../docs"), "md")?;
    let is_variable = |text: &&str| {
        let is_letter = |c: char| c.is_ascii_uppercase() || c == '_';
        let is_long = text.len() > 4 && text.contains('_');
        (is_long || *text == "HOSTIP") && text.chars().all(is_letter)
    };
    let variables: BTreeSet<&str> = sources.split('"').filter(is_variable).collect();
    assert!(variables.len() > 25, "{variables:?}");
    for variable in variables {
        let literal = format!("\"{variable}\"");
        assert!(tests.contains(&literal), "no test has {variable}");
        let code = format!("`{variable}");
        assert!(pages.contains(&code), "no page has {variable}");
    }
    Ok(())
}

/// All files of a directory, and below it, with an extension.
fn read(directory: &Path, extension: &str) -> std::io::Result<String> {
    let mut all = String::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            all.push_str(&read(&path, extension)?);
        } else if path.extension().is_some_and(|found| found == extension) {
            all.push_str(&std::fs::read_to_string(path)?);
        }
    }
    Ok(all)
}

#[test]
fn the_host_has_a_name_if_it_is_to_have_an_entry() -> Result<(), String> {
    for (name, entry, expected) in [
        ("nas.example.org", "true", "named nas.example.org."),
        ("nas", "YES", "named nas."),
        ("nas.example.org", "false", "named none"),
        ("nas.example.org", "", "named none"),
        ("", "true", "named none"),
        ("*.example.org", "true", "named none"),
        ("a..b", "true", "named none"),
    ] {
        let variables = [
            ("JOYRIDE_HOSTNAME", name),
            ("JOYRIDE_HOSTNAME_DNS_ENTRY", entry),
        ];
        let shown = shown(&variables)?;
        assert!(shown.contains(expected), "{variables:?}\n{shown}");
    }
    Ok(())
}

#[test]
fn a_log_of_the_file_s_own_stays_as_it_is() -> Result<(), String> {
    let text = ". {\n log example.org\n whoami\n}";
    let variables = [("JOYRIDE_LOG_QUERIES", "true")];
    let with = load_with(text, &variables)?.config.blocks.remove(0).value;
    let without = load_with(text, &[])?.config.blocks.remove(0).value;
    assert_eq!(with, without);
    Ok(())
}

/// What the environment can set, line by line, with [`FILE`] beneath it.
fn shown(variables: &[(&str, &str)]) -> Result<String, String> {
    let mut config = load_with(FILE, variables)?.config;
    let block = config.blocks.remove(0).value;
    Ok(lines(&config, &block).unwrap_or_default().join("\n"))
}

/// The lines of [`shown`].
fn lines(config: &Config, block: &ServerBlock) -> Option<Vec<String>> {
    let docker = &block.docker_cluster.as_ref()?.value;
    let traefik = &block.traefik_externals.as_ref()?.value;
    let hosts = &block.hosts.as_ref()?.value;
    let cluster = &docker.cluster;
    let texts = |values: Vec<String>| values.join(" ");
    Some(vec![
        format!(
            "docker {}",
            texts(
                docker
                    .host
                    .addresses
                    .iter()
                    .map(ToString::to_string)
                    .collect()
            )
        ),
        format!(
            "traefik {}",
            texts(
                traefik
                    .host
                    .addresses
                    .iter()
                    .map(ToString::to_string)
                    .collect()
            )
        ),
        format!(
            "engines {}",
            texts(docker.endpoints.iter().map(ToString::to_string).collect())
        ),
        format!("unknown {:?}", docker.unknown_action),
        format!(
            "named {}",
            docker
                .host_name
                .as_ref()
                .map_or_else(|| "none".to_owned(), ToString::to_string)
        ),
        format!("clustered {}", cluster.enabled),
        format!("port {}", cluster.port),
        format!("discovery {}", cluster.discovery_port),
        format!("seeds {}", cluster.seeds.len()),
        format!("node {}", cluster.node_name.as_deref().unwrap_or_default()),
        format!("bind {}", cluster.bind_address),
        format!("secrets {}", cluster.secrets.len()),
        format!("version {}", config.version),
        format!("externals {}", traefik.enabled),
        format!("directory {}", traefik.directory.display()),
        format!(
            "env_file {}",
            traefik
                .env_file
                .as_ref()
                .map_or_else(String::new, |file| file.display().to_string())
        ),
        format!("ttl {}", traefik.ttl),
        format!(
            "hosts {}",
            texts(
                hosts
                    .files
                    .iter()
                    .map(|file| file.display().to_string())
                    .collect()
            )
        ),
        format!("log {}", block.log.len()),
        format!("debug {}", block.debug.is_some()),
    ])
}

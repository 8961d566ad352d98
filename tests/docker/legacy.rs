//! What setups of Joyride 1 rely on, turned on by the environment.

use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::process::Launch;
use tempfile::TempDir;

use super::fake::FakeEngine;
use super::server::Server;
use crate::support::portolan;

/// Joyride 2's file in short, with an answer for names that nobody knows.
const COREFILE: &str = "\
.:DNS_PORT {
    bind 127.0.0.1
    hosts hosts.d/hosts {
        fallthrough
    }
    docker-cluster {
        host_ip 192.168.16.61
        unknown_action nxdomain
    }
    health 127.0.0.1:HEALTH_PORT
}
";

/// The directory that Joyride 1 read as a whole.
fn with_hosts(launch: Launch) -> Launch {
    launch
        .file("hosts.d/hosts", "192.0.2.1 named.example\n")
        .file("hosts.d/hosts.static", "192.0.2.2 static.example\n")
        .file("hosts.d/.hidden", "192.0.2.3 hidden.example\n")
        .file("hosts.d/hosts.bak", "192.0.2.4 backup.example\n")
}

#[test]
fn every_file_of_the_directory_is_read_when_the_environment_says_so() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    let launch = || with_hosts(portolan().env("DOCKER_HOST", &engine.host()));
    let today = Server::launch(launch(), COREFILE)?;
    today.await_addresses("named.example", &["192.0.2.1"])?;
    today.await_rcode("static.example", ResponseCode::NXDomain)?;

    let before = Server::launch(launch().env("HOSTS_DIRECTORY", "hosts.d"), COREFILE)?;
    before.await_addresses("named.example", &["192.0.2.1"])?;
    before.await_addresses("static.example", &["192.0.2.2"])?;
    for name in ["hidden.example", "backup.example"] {
        before.await_rcode(name, ResponseCode::NXDomain)?;
    }
    Ok(())
}

#[test]
fn the_host_has_a_name_of_its_own() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    let launch = |entry: &str| {
        portolan()
            .env("DOCKER_HOST", &engine.host())
            .env("JOYRIDE_HOSTNAME", "nas.example")
            .env("JOYRIDE_HOSTNAME_DNS_ENTRY", entry)
    };
    let with = Server::launch(launch("true"), COREFILE)?;
    with.await_host("nas.example")?;
    let without = Server::launch(launch("false"), COREFILE)?;
    without.await_rcode("nas.example", ResponseCode::NXDomain)?;
    Ok(())
}

#[test]
fn labels_have_spaces_between_names_and_underscores_in_them() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    let names = "one.example two_three.example";
    engine
        .control()
        .run(FakeContainer::new("c1", "joyride.host.name", names));
    let server = Server::launch(portolan().env("DOCKER_HOST", &engine.host()), COREFILE)?;
    for name in names.split(' ') {
        server.await_host(name)?;
    }
    Ok(())
}

#[test]
fn queries_and_details_are_logged_when_the_environment_says_so() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    engine.control().run(FakeContainer::new(
        "c1",
        "joyride.host.name",
        "found.example",
    ));
    for (value, expected) in [("true", true), ("false", false)] {
        let launch = portolan()
            .env("DOCKER_HOST", &engine.host())
            .env("JOYRIDE_LOG_QUERIES", value)
            .env("JOYRIDE_LOG_DEBUG", value);
        let server = Server::launch(launch, COREFILE)?;
        server.await_rcode("asked.example", ResponseCode::NXDomain)?;
        server.await_host("found.example")?;
        if expected {
            server.process().wait_for_line("asked.example")?;
            server.process().wait_for_line("\"level\":\"DEBUG\"")?;
        } else {
            ensure!(
                server.count_lines("asked.example") == 0,
                "{}",
                server.output()
            );
            ensure!(server.count_lines("DEBUG") == 0, "{}", server.output());
        }
    }
    Ok(())
}

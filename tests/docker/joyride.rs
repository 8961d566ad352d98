//! Joyride's Corefile: what it did, and what it promised to do.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use hickory_proto::rr::Record;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Query;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::process::Launch;
use tempfile::TempDir;

use super::engine::Engine;
use super::fake::FakeEngine;
use super::server::HOST_IP;
use super::server::Server;
use super::server::ensure_no_data;
use crate::support::needs;
use crate::support::portolan;

/// The file that Joyride ships, but for ports and paths.
const COREFILE: &str = "\
.:DNS_PORT {
    hosts hosts.d/hosts {
        fallthrough
    }
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 0.0.0.0
        label coredns.host.name
        label joyride.host.name
        ttl 60
    }
    traefik-externals {
        directory external-enabled
        host_ip 0.0.0.0
        ttl 60
        fallthrough
    }
    errors
    health :HEALTH_PORT
    prometheus :METRICS_PORT
}
";

/// That of a cluster, as it stands.
pub(crate) const COREFILE_CLUSTER: &str = "\
.:54 {
    hosts /etc/hosts.d/hosts {
        fallthrough
    }
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 0.0.0.0
        label coredns.host.name
        label joyride.host.name
        ttl 60
    }
    errors
    health :5454
    prometheus :9153
}
";

/// The hosts file in its image.
const HOSTS: &str = "\
# static entries
10.99.99.1 static-host.example.com
10.99.99.2 nas.example.com nas-alias
10.99.99.3 multi-alias.example.com alias1 alias2
";

/// How long silence has to last.
const SILENCE: Duration = Duration::from_millis(700);

#[test]
fn names_of_labels_and_of_the_hosts_file_are_answered() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let _new = engine.run_labelled(&[("coredns.host.name", "new.example.com")])?;
    let _old = engine.run_labelled(&[(
        "joyride.host.name",
        "one.example.com, two.example.com,three.example.com",
    )])?;
    let server = Server::launch(joyride(), COREFILE)?;
    for name in [
        "new.example.com",
        "one.example.com",
        "two.example.com",
        "three.example.com",
    ] {
        server.await_host(name)?;
    }
    for (address, names) in [
        ("10.99.99.1", &["static-host.example.com"][..]),
        ("10.99.99.2", &["nas.example.com", "nas-alias"]),
        (
            "10.99.99.3",
            &["multi-alias.example.com", "alias1", "alias2"],
        ),
    ] {
        for name in names {
            server.await_addresses(name, &[address])?;
        }
    }
    let (status, body) = server.health()?;
    ensure!((status, body.as_str()) == (200, "OK"), "{status} {body}");
    Ok(())
}

#[test]
fn a_known_name_is_known_for_every_type() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let _app = engine.run_labelled(&[("joyride.host.name", "app.example.com")])?;
    let server = Server::launch(joyride(), COREFILE)?;
    server.await_host("app.example.com")?;
    for name in ["app.example.com", "static-host.example.com"] {
        for qtype in [RecordType::AAAA, RecordType::HTTPS, RecordType::MX] {
            ensure_no_data(&server.udp().query(name, qtype)?)?;
        }
    }
    Ok(())
}

#[test]
fn the_environment_beats_the_file() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    let app = FakeContainer::new("c1", "joyride.host.name", "app.example.com");
    engine.control().run(app);
    for (variable, value) in [
        ("DNS_UNKNOWN_ACTION", "NXDOMAIN"),
        ("JOYRIDE_NXDOMAIN_ENABLED", "true"),
    ] {
        let launch = joyride()
            .env("DOCKER_SOCKET", &engine.host())
            .env(variable, value);
        let server = Server::launch(launch, COREFILE)?;
        server.await_host("app.example.com")?;
        for client in [server.udp(), server.tcp()] {
            let response = client.query("unknown.example.com", RecordType::A)?;
            let code = response.metadata.response_code;
            ensure!(code == ResponseCode::NXDomain, "{response:?}");
            let is_soa = |record: &Record| matches!(record.data, RData::SOA(_));
            ensure!(response.authorities.iter().all(is_soa), "{response:?}");
            ensure!(response.authorities.len() == 1, "{response:?}");
        }
    }
    Ok(())
}

#[test]
fn an_unknown_name_gets_no_answer_and_is_counted() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let _app = engine.run_labelled(&[("joyride.host.name", "app.example.com")])?;
    let server = Server::launch(joyride(), COREFILE)?;
    server.await_host("app.example.com")?;
    let dropped = || server.metric("portolan_queries_dropped_total", &["docker-cluster"]);
    let before = dropped()?;

    for qtype in [RecordType::A, RecordType::AAAA, RecordType::HTTPS] {
        let unknown = Query::new("unknown.example.com", qtype).encode()?;
        for client in [server.udp(), server.tcp()] {
            let answer = client.timeout(SILENCE).exchange(&unknown)?;
            ensure!(answer.is_none(), "{qtype}: {answer:02x?}");
        }
    }

    let counted = dropped()? - before;
    ensure!(
        (counted - 6.0).abs() < 0.5,
        "{counted} queries dropped, not 6"
    );
    Ok(())
}

#[test]
fn silence_on_a_connection_does_not_end_it() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let _app = engine.run_labelled(&[("joyride.host.name", "app.example.com")])?;
    let server = Server::launch(joyride(), COREFILE)?;
    server.await_host("app.example.com")?;
    let mut connection = server.tcp().connect()?;
    connection.send(&Query::new("unknown.example.com", RecordType::A).encode()?)?;
    let known = Query::new("app.example.com", RecordType::A);
    let responses = connection.pipeline(&[known])?;
    ensure!(responses.len() == 1, "{responses:?}");
    Ok(())
}

#[test]
fn dig_times_out_for_an_unknown_name() -> anyhow::Result<()> {
    let Some(_engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    if !needs(&["dig"]) {
        return Ok(());
    }
    let server = Server::launch(joyride(), COREFILE)?;
    let port = server.dns().port().to_string();
    let output = Command::new("dig")
        .args(["@127.0.0.1", "-p", &port, "+time=1", "+tries=1"])
        .arg("unknown.example.com")
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(9), "{}: {text}", output.status);
    ensure!(text.contains("timed out"), "{text}");
    ensure!(
        !text.contains("NXDOMAIN") && !text.contains("REFUSED"),
        "{text}"
    );
    Ok(())
}

/// The binary as Joyride's image starts it: the address of the host is in the
/// environment, in the file is a placeholder.
fn joyride() -> Launch {
    portolan()
        .env("HOSTIP", &HOST_IP.to_string())
        .file("hosts.d/hosts", HOSTS)
        .file("external-enabled/none.yml", "# no routers\n")
}

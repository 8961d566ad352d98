//! A machine without Docker.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;
use tempfile::TempDir;

use super::fake::FakeEngine;
use super::fake::container;
use super::server::Server;
use super::server::addresses;
use super::upstream::OUTSIDE;
use super::upstream::Upstream;
use crate::support::portolan;

/// All three places that names come from.
const COREFILE: &str = "\
.:DNS_PORT {
    hosts hosts.d/hosts {
        fallthrough
    }
    docker-cluster {
        DOCKER_SOCKET
        host_ip 192.168.16.61
        label NAMES_LABEL
        fallthrough
    }
    forward . UPSTREAM
    ready :READY_PORT
    health :HEALTH_PORT
}
";

/// What is said about an engine that is not there.
const COMPLAINT: &str = "cannot connect to Docker daemon";

#[test]
fn a_server_without_docker_answers_and_says_so_once() -> anyhow::Result<()> {
    for in_environment in [false, true] {
        let directory = TempDir::new()?;
        let socket = format!("unix://{}/docker.sock", directory.path().display());
        let (server, _upstream) = start(&socket, in_environment)?;
        server.process().wait_for_line(COMPLAINT)?;
        let is_ready = || server.ready().is_ok_and(|(status, _)| status == 200);
        ensure!(
            wait_for(|| is_ready().then_some(())).is_some(),
            "never ready"
        );
        let (status, _) = server.health()?;
        ensure!(status == 200, "/health: {status}");
        server.await_addresses("nas.example.org", &["192.0.2.10"])?;
        for client in [server.udp(), server.tcp()] {
            let response = client.query("www.example.net", RecordType::A)?;
            ensure!(
                addresses(&response) == [IpAddr::V4(OUTSIDE)],
                "{response:?}"
            );
        }
        // Several attempts later.
        pause(Duration::from_millis(3_500));
        let lines = server.count_lines("Docker daemon");
        ensure!(lines == 1, "said {lines} times:\n{}", server.output());
    }
    Ok(())
}

#[test]
fn names_come_as_soon_as_docker_does() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    for (place, socket) in [
        ("its directory is there", "docker.sock"),
        ("its directory is not there", "run/docker/docker.sock"),
    ] {
        let path = directory.path().join(socket);
        let (server, _upstream) = start(&format!("unix://{}", path.display()), false)?;
        server.process().wait_for_line(COMPLAINT)?;
        server.await_addresses("app.example.org", &[&OUTSIDE.to_string()])?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let engine = FakeEngine::start_at(&path)?;
        engine.control().run(container("c1", "app.example.org"));
        server.await_host("app.example.org")?;
        ensure!(
            server.count_lines(COMPLAINT) == 1,
            "{place}:\n{}",
            server.output()
        );
    }
    Ok(())
}

/// Starts a server that looks for Docker at `socket`, and its upstream.
fn start(socket: &str, in_environment: bool) -> anyhow::Result<(Server, Upstream)> {
    let upstream = Upstream::start()?;
    let launch = portolan().file("hosts.d/hosts", "192.0.2.10 nas.example.org\n");
    let (launch, line) = if in_environment {
        (launch.env("DOCKER_HOST", socket), String::new())
    } else {
        (launch, format!("docker_socket {socket}"))
    };
    let corefile = COREFILE
        .replace("DOCKER_SOCKET", &line)
        .replace("UPSTREAM", &upstream.addr().to_string());
    Ok((Server::launch(launch, &corefile)?, upstream))
}

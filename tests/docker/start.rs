//! The first moments of a server.

use std::time::Duration;

use anyhow::ensure;
use tempfile::TempDir;

use super::engine::wall_clock;
use super::fake::FakeEngine;
use super::fake::container;
use super::latency::Poll;
use super::server::HOST_IP;
use super::server::Server;
use super::server::addresses;
use super::upstream::Upstream;
use crate::support::portolan;

/// Names that are not there come from the upstream.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket SOCKET
        host_ip 192.168.16.61
        label NAMES_LABEL
        fallthrough
    }
    forward . UPSTREAM
    cache 300
    health :HEALTH_PORT
    ready :READY_PORT
    prometheus :METRICS_PORT
}
";

/// Names, one a container.
const NAMES: usize = 100;

/// How often a server is started to see whether it loses queries.
const STARTS: usize = 40;

/// How long a build that is not optimized may take to answer.
const FIRST_ANSWER: Duration = Duration::from_millis(500);

#[test]
fn the_first_answer_comes_soon_and_knows_all_names_timing() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    for number in 0..NAMES {
        let name = format!("n{number}.example.org");
        engine
            .control()
            .put(container(&format!("c{number}"), &name));
    }
    let upstream = Upstream::start()?;
    let corefile = COREFILE
        .replace("SOCKET", &engine.host())
        .replace("UPSTREAM", &upstream.addr().to_string());
    let start = wall_clock();
    let server = Server::spawn(portolan(), &corefile)?;
    let poll = Poll::every(Duration::from_micros(500));
    let first = poll.responded(server.dns(), "n99.example.org")?.wait()?;
    let took = first.at.saturating_sub(start);
    eprintln!("first answer {took:?} after the start");
    ensure!(
        addresses(&first.response) == [HOST_IP],
        "{:?}",
        first.response
    );
    ensure!(upstream.count() == 0, "the upstream was asked");
    ensure!(took < FIRST_ANSWER, "{took:?}\n{}", server.output());
    Ok(())
}

#[test]
fn a_server_that_starts_loses_no_query_timing() -> anyhow::Result<()> {
    let corefile = ".:DNS_PORT {\n whoami\n}\n";
    for _ in 0..STARTS {
        let server = Server::spawn(portolan(), corefile)?;
        let poll = Poll::every(Duration::ZERO).responded(server.dns(), "example.org")?;
        poll.wait()?;
    }
    Ok(())
}

#[test]
fn an_engine_that_dawdles_does_not_hold_up_the_start() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    engine.control().delay_lists(Duration::from_secs(2));
    engine.control().put(container("c1", "app.example.org"));
    let upstream = Upstream::start()?;
    let corefile = COREFILE
        .replace("SOCKET", &engine.host())
        .replace("UPSTREAM", &upstream.addr().to_string());
    let server = Server::start(&corefile)?;
    let (status, body) = server.ready()?;
    ensure!(
        status == 503 && body.contains("docker-cluster"),
        "/ready: {status} {body}"
    );
    let found = server.addresses("app.example.org")?;
    ensure!(found == [super::upstream::OUTSIDE], "{found:?}");
    server.await_host("app.example.org")?;
    let (status, _) = server.ready()?;
    ensure!(status == 200, "/ready: {status}");
    Ok(())
}

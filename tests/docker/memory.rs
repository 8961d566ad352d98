//! What a thousand names cost.

use anyhow::ensure;
use tempfile::TempDir;

use super::fake::FakeEngine;
use super::fake::container;
use super::server::HOST_IP;
use super::server::Server;

/// Everything that a server usually has.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket SOCKET
        host_ip 192.168.16.61
        label NAMES_LABEL
        fallthrough
    }
    forward . 127.0.0.1:9
    cache 300
    errors
    health :HEALTH_PORT
    ready :READY_PORT
    prometheus :METRICS_PORT
}
";

/// Names, one a container.
const NAMES: usize = 1_000;

/// Bound for a build that is not optimized, in KiB.
const RESIDENT_KIB: u64 = 40 * 1024;

#[test]
fn a_thousand_names_stay_small() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    for number in 0..NAMES {
        let name = format!("n{number}.example.org");
        engine
            .control()
            .put(container(&format!("c{number}"), &name));
    }
    let server = Server::start(&COREFILE.replace("SOCKET", &engine.host()))?;
    for number in 0..NAMES {
        server.await_host(&format!("n{number}.example.org"))?;
    }
    let (status, _) = server.ready()?;
    ensure!(status == 200, "/ready: {status}");
    let found = server.addresses("N999.example.org")?;
    ensure!(found == [HOST_IP], "{found:?}");
    let resident = server.process().resident_kib()?;
    eprintln!("{NAMES} names: {resident} KiB resident");
    ensure!(resident < RESIDENT_KIB, "{resident} KiB resident");
    Ok(())
}

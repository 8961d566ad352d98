//! Containers with a health check.

use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use portolan_testkit::process::wait_for;
use std::time::Duration;

use super::engine::Container;
use super::engine::Engine;
use super::engine::names_label;
use super::server::Server;

/// Only healthy containers are answered; unknown names are denied.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.168.16.61
        label NAMES_LABEL
        healthy_only
        linger 1s
        unknown_action nxdomain
    }
}
";

#[test]
fn a_name_is_there_while_its_container_is_healthy_timing() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let server = Server::start(COREFILE)?;
    let sick = run_checked(&engine, "sick.example.org")?;
    let _unchecked = engine.run_named("unchecked.example.org")?;
    server.await_host("unchecked.example.org")?;
    // The first check is a second away.
    ensure!(
        server.addresses("sick.example.org")?.is_empty(),
        "not healthy yet"
    );

    sick.exec(&["touch", "/healthy"])?;
    server.await_host("sick.example.org")?;

    sick.exec(&["rm", "/healthy"])?;
    server.await_rcode("sick.example.org", ResponseCode::NXDomain)?;

    sick.exec(&["touch", "/healthy"])?;
    server.await_host("sick.example.org")?;
    server.await_host("unchecked.example.org")
}

#[test]
fn a_server_that_starts_later_knows_who_is_healthy_timing() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let well = run_checked(&engine, "well.example.org")?;
    let sick = run_checked(&engine, "sick.example.org")?;
    well.exec(&["touch", "/healthy"])?;
    for (container, health) in [(&well, "healthy"), (&sick, "unhealthy")] {
        let format = [
            "inspect",
            "-f",
            "{{.State.Health.Status}}",
            container.name(),
        ];
        let is_known = || engine.docker(&format).is_ok_and(|found| found == health);
        ensure!(
            wait_for(|| is_known().then_some(())).is_some(),
            "never {health}"
        );
    }
    let server = Server::start(COREFILE)?;
    server.await_host("well.example.org")?;
    portolan_testkit::process::pause(Duration::from_millis(300));
    ensure!(
        server.addresses("sick.example.org")?.is_empty(),
        "it is not healthy"
    );
    Ok(())
}

/// Runs a container that is healthy while it has the file `/healthy`.
fn run_checked(engine: &Engine, name: &str) -> anyhow::Result<Container> {
    engine.run(&[
        "--health-cmd=/bin/busybox test -f /healthy",
        "--health-interval=1s",
        "--health-retries=1",
        &format!("--label={}={name}", names_label()),
    ])
}

//! Names that several containers have.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::process::pause;

use super::engine::Engine;
use super::engine::names_label;
use super::server::Server;
use super::server::addresses;

/// Names of stopped containers stay for a second, unknown names are denied.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.168.16.61
        label NAMES_LABEL
        linger 1s
        unknown_action nxdomain
    }
}
";

#[test]
fn a_name_lives_until_the_last_of_its_containers() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let first = engine.run_named("both.example.org")?;
    let second = engine.run_named("both.example.org, second.example.org")?;
    let server = Server::start(COREFILE)?;
    server.await_host("both.example.org")?;
    server.await_host("second.example.org")?;

    second.stop()?;
    server.await_rcode(
        "second.example.org",
        hickory_proto::op::ResponseCode::NXDomain,
    )?;
    server.await_host("both.example.org")?;

    first.stop()?;
    server.await_rcode(
        "both.example.org",
        hickory_proto::op::ResponseCode::NXDomain,
    )
}

#[test]
fn containers_with_targets_of_their_own_answer_in_turns() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let run = |target: &str| {
        engine.run_labelled(&[
            (&names_label(), "both.example.org"),
            ("portolan.target", target),
        ])
    };
    let first = run("192.0.2.1")?;
    let _second = run("192.0.2.2")?;
    let server = Server::start(COREFILE)?;
    server.await_addresses("both.example.org", &["192.0.2.1", "192.0.2.2"])?;

    let mut leaders: BTreeSet<IpAddr> = BTreeSet::new();
    for _ in 0..4 {
        let response = server.udp().query("both.example.org", RecordType::A)?;
        let addresses = addresses(&response);
        ensure!(addresses.len() == 2, "{response:?}");
        leaders.extend(addresses.first());
    }
    ensure!(leaders.len() == 2, "always {leaders:?} first");

    first.remove()?;
    server.await_addresses("both.example.org", &["192.0.2.2"])
}

#[test]
fn a_container_that_comes_back_within_the_linger_keeps_its_share() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let app = engine.run_named("app.example.org")?;
    let server = Server::start(&COREFILE.replace("linger 1s", "linger 3s"))?;
    server.await_host("app.example.org")?;
    app.stop()?;
    app.start()?;
    // The timer of the stop must not hit the container that runs again.
    pause(Duration::from_secs(4));
    server.await_host("app.example.org")
}

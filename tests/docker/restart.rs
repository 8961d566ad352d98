//! Containers that go away for a moment.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use portolan_testkit::client::Answer;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::process::pause;

use super::engine::Container;
use super::engine::Engine;
use super::server::HOST_IP;
use super::server::Server;
use super::upstream::Upstream;

/// Names that are not there come from the upstream, with another address.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.168.16.61
        label NAMES_LABEL
        fallthrough
    }
    forward . UPSTREAM
    cache 300
}
";

#[test]
fn a_restart_loses_no_query_timing() -> anyhow::Result<()> {
    under_load(Duration::from_secs(6), |_, app| {
        for _ in 0..3 {
            app.restart()?;
            pause(Duration::from_millis(500));
        }
        Ok(())
    })
}

#[test]
fn a_stop_and_a_start_soon_after_lose_no_query_timing() -> anyhow::Result<()> {
    under_load(Duration::from_secs(6), |_, app| {
        app.stop()?;
        pause(Duration::from_secs(3));
        app.start()
    })
}

#[test]
fn a_container_that_is_made_anew_loses_no_query_timing() -> anyhow::Result<()> {
    // Longer than names linger: the old container must not take the name of
    // the new one along.
    under_load(Duration::from_secs(8), |engine, app| {
        app.remove()?;
        let _new = engine.run_named("app.example.org")?;
        pause(Duration::from_secs(6));
        Ok(())
    })
}

#[test]
fn a_frozen_container_keeps_its_names_timing() -> anyhow::Result<()> {
    // Longer than names linger.
    under_load(Duration::from_secs(8), |_, app| {
        app.pause()?;
        pause(Duration::from_secs(6));
        app.unpause()
    })
}

/// Does something to a container while its name is asked for 50 times a
/// second, and checks that every answer is there and right.
fn under_load(
    duration: Duration,
    disturb: impl FnOnce(&Engine, &Container) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let app = engine.run_named("app.example.org")?;
    let upstream = Upstream::start()?;
    let server = Server::start(&COREFILE.replace("UPSTREAM", &upstream.addr().to_string()))?;
    server.await_host("app.example.org")?;
    let load = Load::start(
        server.dns(),
        &Plan::new("app.example.org", 50, duration),
        points_to_host,
    )?;
    pause(Duration::from_millis(500));
    disturb(&engine, &app)?;
    load.wait().ensure_flawless(1)
}

/// Whether an answer says that a name points to the host.
pub(super) fn points_to_host(_name: &str, answer: &Answer) -> Result<(), String> {
    match (answer.rcode, answer.addresses.as_slice()) {
        (ResponseCode::NoError, [IpAddr::V4(HOST_IP)]) => Ok(()),
        _ => Err(format!("{answer:?}")),
    }
}

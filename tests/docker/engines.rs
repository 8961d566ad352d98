//! Several engines under one server, and one that is very busy.

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use portolan_testkit::process::wait_for;
use tempfile::TempDir;

use super::fake::FakeEngine;
use super::fake::container;
use super::server::Server;

/// Names of stopped containers are gone at once, unknown names are denied.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket SOCKETS
        host_ip 192.168.16.61
        label NAMES_LABEL
        linger 0s
        unknown_action nxdomain
    }
    prometheus :METRICS_PORT
}
";

/// Containers of the busy engine.
const CONTAINERS: usize = 5_000;

#[test]
fn engines_share_names_and_keep_their_own() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let [one, two] = ["one.sock", "two.sock"].map(|name| directory.path().join(name));
    let (one, two) = (FakeEngine::start_at(&one)?, FakeEngine::start_at(&two)?);
    // The same id on both: engines that were cloned do that.
    one.control()
        .run(container("c1", "both.example.org one.example.org"));
    two.control()
        .run(container("c1", "both.example.org two.example.org"));
    let sockets = format!("{} {}", one.host(), two.host());
    let server = Server::start(&COREFILE.replace("SOCKETS", &sockets))?;
    for name in ["one", "two", "both"] {
        server.await_host(&format!("{name}.example.org"))?;
    }

    one.control().destroy("c1");
    server.await_rcode("one.example.org", ResponseCode::NXDomain)?;
    server.await_host("both.example.org")?;

    // An engine that is gone takes nothing along.
    drop(one);
    server
        .process()
        .wait_for_line("lost connection to Docker daemon")?;
    server.await_host("both.example.org")?;
    server.await_host("two.example.org")?;

    two.control().destroy("c1");
    server.await_rcode("both.example.org", ResponseCode::NXDomain)
}

#[test]
fn a_burst_of_events_ends_in_the_truth() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    let server = Server::start(&COREFILE.replace("SOCKETS", &engine.host()))?;
    server.process().wait_for_line("synced 0 containers")?;
    let control = engine.control();
    for number in 0..CONTAINERS {
        control.run(container(
            &format!("c{number}"),
            &format!("n{number}.example.org"),
        ));
    }
    for number in (0..CONTAINERS).filter(|number| number % 2 == 1) {
        control.destroy(&format!("c{number}"));
    }
    let containers = || server.metric("portolan_docker_containers", &[]);
    let expected = f64::from(u32::try_from(CONTAINERS / 2)?);
    let is_settled = || containers().is_ok_and(|count| (count - expected).abs() < 0.5);
    wait_for(|| is_settled().then_some(()))
        .with_context(|| format!("{:?} containers, not {expected}", containers()))?;
    for number in (0..CONTAINERS).step_by(100) {
        server.await_host(&format!("n{number}.example.org"))?;
        let odd = format!("n{}.example.org", number + 1);
        server.await_rcode(&odd, ResponseCode::NXDomain)?;
    }
    ensure!(server.count_lines("panicked") == 0, "{}", server.output());
    Ok(())
}

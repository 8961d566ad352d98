//! Upstreams that ask the server what it asks them.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::process::PATIENCE;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;

use super::answer::rcode;
use super::server::Server;

/// How long it takes at most until a loop is found, on a machine that has
/// time for it.
const SOON: Duration = Duration::from_secs(2);

/// What is logged about it.
const TOLD: &str = "forwarding loop: upstream asks";

#[test]
fn a_server_that_is_its_own_upstream_fails_soon_and_says_so_once() -> anyhow::Result<()> {
    let server = Server::start(".:PORT {\n errors\n loop\n forward . 127.0.0.1:PORT\n}\n")?;
    assert!(fails_soon(&server)?, "{}", server.output());
    let told = || server.output().matches(TOLD).count();
    wait_for(|| (told() > 0).then_some(()));
    assert_eq!(told(), 1, "{}", server.output());
    let used = server.cpu_seconds()?;
    pause(Duration::from_secs(2));
    assert!(server.cpu_seconds()? - used < 0.5, "still going round");
    Ok(())
}

/// Whether names fail, three of them soon. Not all have to be: the machine may
/// have other things to do.
fn fails_soon(server: &Server) -> anyhow::Result<bool> {
    let mut soon = 0;
    for index in 0..20 {
        let start = clock();
        let response = server
            .udp()
            .timeout(PATIENCE)
            .query(&format!("{index}.example"), RecordType::A)?;
        assert_eq!(rcode(&response), ResponseCode::ServFail);
        soon += usize::from(start.elapsed() < SOON);
        if soon == 3 {
            return Ok(true);
        }
    }
    Ok(false)
}

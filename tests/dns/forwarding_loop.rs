//! Upstreams that ask the server what it asks them.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use super::answer::rcode;
use super::server::Server;

#[test]
fn a_server_that_is_its_own_upstream_fails_soon_and_says_so_once() -> anyhow::Result<()> {
    let server = Server::start(".:PORT {\n errors\n loop\n forward . 127.0.0.1:PORT\n}\n")?;
    for name in ["one.example", "two.example", "three.example"] {
        let start = clock();
        let response = server.udp().query(name, RecordType::A)?;
        assert_eq!(rcode(&response), ResponseCode::ServFail);
        assert!(start.elapsed() < Duration::from_secs(2), "{name}");
    }
    let told = server
        .output()
        .matches("forwarding loop: upstream asks")
        .count();
    assert_eq!(told, 1, "{}", server.output());
    let used = server.cpu_seconds()?;
    pause(Duration::from_secs(2));
    assert!(server.cpu_seconds()? - used < 0.1, "still going round");
    Ok(())
}

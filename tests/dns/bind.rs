//! `bind`: where the server listens.

use std::net::TcpStream;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;

use super::answer::rcode;
use super::server::Server;

/// Whether somebody answers at an address, over UDP and TCP alike.
fn answers(server: &Server, ip: &str) -> anyhow::Result<bool> {
    let addr = server.at(ip)?;
    let udp = Client::udp(addr).timeout(Duration::from_millis(500));
    let udp = udp.query("x.test", RecordType::A);
    let over_udp = udp.is_ok_and(|response| rcode(&response) == ResponseCode::NoError);
    let over_tcp = TcpStream::connect(addr).is_ok();
    assert_eq!(over_udp, over_tcp, "UDP and TCP differ on {addr}");
    Ok(over_udp)
}

#[test]
fn without_bind_every_address_of_both_families_is_served() -> anyhow::Result<()> {
    let server = Server::start(".:PORT {\n whoami\n}\n")?;
    for ip in ["127.0.0.1", "127.0.0.2", "::1"] {
        assert!(answers(&server, ip)?, "{ip}");
    }
    Ok(())
}

#[test]
fn an_address_alone_is_served() -> anyhow::Result<()> {
    let server = Server::start(".:PORT {\n bind 127.0.0.1\n whoami\n}\n")?;
    assert!(answers(&server, "127.0.0.1")?);
    assert!(!answers(&server, "127.0.0.2")?);
    assert!(!answers(&server, "::1")?);
    Ok(())
}

#[test]
fn an_interface_is_all_its_addresses() -> anyhow::Result<()> {
    let server = Server::start(".:PORT {\n bind lo\n whoami\n}\n")?;
    assert!(answers(&server, "127.0.0.1")?);
    assert!(answers(&server, "::1")?);
    assert!(!answers(&server, "127.0.0.2")?);
    let server = Server::start(".:PORT {\n bind lo {\n except ::1\n }\n whoami\n}\n")?;
    assert!(answers(&server, "127.0.0.1")?);
    assert!(!answers(&server, "::1")?);
    Ok(())
}

#[test]
fn addresses_of_one_port_may_belong_to_different_blocks() -> anyhow::Result<()> {
    let server = Server::start(
        ".:PORT {\n bind 127.0.0.1\n whoami\n}\n.:PORT {\n bind 127.0.0.2\n hosts none {\n \
         unknown_action nxdomain\n }\n}\n",
    )?;
    let second = Client::udp(server.at("127.0.0.2")?);
    assert_eq!(
        rcode(&server.udp().query("x.test", RecordType::A)?),
        ResponseCode::NoError
    );
    assert_eq!(
        rcode(&second.query("x.test", RecordType::A)?),
        ResponseCode::NXDomain
    );
    Ok(())
}

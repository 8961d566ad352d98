//! What is on the wire when an upstream does not prove its name: nothing that
//! says what was asked. The network is the test's own, and all of it is heard.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Query;
use portolan_testkit::netns::Capture;
use portolan_testkit::netns::Namespace;
use portolan_testkit::netns::Packet;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;
use portolan_testkit::tls::Identity;
use portolan_testkit::tls::Validity;

use super::answer::NETWORK_ERROR;
use super::answer::ede;
use super::answer::rcode;
use super::encrypted::NAME;
use super::encrypted::Trust;
use super::server::Server;
use super::unbound::Unbound;
use super::unbound::corefile;
use super::upstream::Upstream;
use crate::support::needs;
use crate::support::needs_root;

/// A label that nothing else has.
const SECRET: &str = "betelgeuse";

/// Asks for it a few times; gives the packets that are not between client and
/// server.
fn overheard(
    capture: &Capture,
    server: &Server,
    code: ResponseCode,
) -> anyhow::Result<Vec<Packet>> {
    let (before, port) = (capture.packets().len(), server.addr().port());
    for number in 0..3 {
        let start = clock();
        let query = Query::new(&format!("n{number}.{SECRET}.example"), RecordType::A).edns(1232);
        let response = server.udp().ask(&query)?;
        assert_eq!(rcode(&response), code, "{}", server.output());
        if code == ResponseCode::ServFail {
            assert_eq!(ede(&response), Some(NETWORK_ERROR));
        }
        assert!(start.elapsed() < Duration::from_secs(3));
    }
    // Probes as well: they begin at once, and come every half second.
    pause(Duration::from_millis(700));
    let all = capture.packets().split_off(before);
    Ok(all
        .into_iter()
        .filter(|packet| packet.from != port && packet.to != port)
        .collect())
}

#[test]
fn no_packet_says_what_was_asked_where_no_name_is_proved() -> anyhow::Result<()> {
    if !needs_root() || !needs(&["unbound", "ip"]) {
        return Ok(());
    }
    let namespace = Namespace::new()?;
    namespace.run(&["ip", "link", "set", "lo", "up"], "")?;
    let capture = Capture::start(&namespace)?;
    namespace.enter(|| {
        let trust = Trust::new()?;
        for (what, identity) in [
            (
                "wrong name",
                trust.identity("other.example", Validity::Current)?,
            ),
            ("expired", trust.identity(NAME, Validity::Expired)?),
            ("not yet valid", trust.identity(NAME, Validity::Future)?),
            ("self-signed", Identity::self_signed(&[NAME])?),
            (
                "another authority",
                Trust::new()?.identity(NAME, Validity::Current)?,
            ),
        ] {
            let behind = Upstream::answering(60)?;
            let unbound = Unbound::start(&identity, behind.addr())?;
            let ports = unbound.ports();
            for upstream in [ports.tls_upstream(NAME), ports.https_upstream(NAME)] {
                let server = Server::start(&corefile(&upstream, &trust.path()))?;
                let packets = overheard(&capture, &server, ResponseCode::ServFail)?;
                let port: u16 = upstream.rsplit(':').next().unwrap_or_default().parse()?;
                assert!(
                    packets.iter().any(|packet| packet.to == port),
                    "{what}: nobody tried"
                );
                for packet in packets {
                    assert!(packet.is_tcp, "{what}, {upstream}: a datagram: {packet:?}");
                    let other = packet.from != port && packet.to != port;
                    assert!(!other, "{what}, {upstream}: to somebody else: {packet:?}");
                    assert!(!packet.contains(SECRET.as_bytes()), "{what}: {packet:?}");
                }
            }
            assert_eq!(behind.count(), 0, "{what}");
        }
        // Nor where the name is proved; and in the clear it would have been seen.
        let behind = Upstream::answering(60)?;
        let unbound = Unbound::start(&trust.identity(NAME, Validity::Current)?, behind.addr())?;
        let server = Server::start(&unbound.ports().over_tls(NAME, &trust.path()))?;
        let packets = overheard(&capture, &server, ResponseCode::NoError)?;
        let clear = |packet: &Packet| packet.contains(SECRET.as_bytes());
        let back = behind.addr().port();
        assert!(
            packets
                .iter()
                .filter(|p| clear(p))
                .all(|p| p.to == back || p.from == back)
        );
        let plain = Server::start(&format!(".:PORT {{\n forward . {}\n}}\n", behind.addr()))?;
        let seen = wait_for(|| {
            let packets = overheard(&capture, &plain, ResponseCode::NoError).ok()?;
            packets.iter().any(clear).then_some(())
        });
        assert!(seen.is_some(), "the ears are deaf");
        Ok(())
    })
}

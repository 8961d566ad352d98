//! `whoami`: the client as the server sees it.

use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;

use super::answer::rcode;
use super::server::Server;

/// The address, the owner of the SRV and its port, from the additional
/// section.
fn client_of(message: &Message) -> Option<(IpAddr, String, u16)> {
    let [address, service] = message.additionals.as_slice() else {
        return None;
    };
    let address = match &address.data {
        RData::A(a) => IpAddr::V4(a.0),
        RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
        _ => return None,
    };
    let RData::SRV(srv) = &service.data else {
        return None;
    };
    let plain = (srv.priority, srv.weight, srv.target.is_root()) == (0, 0, true);
    plain.then(|| (address, service.name.to_ascii(), srv.port))
}

#[test]
fn it_tells_address_port_and_transport() -> anyhow::Result<()> {
    let server = Server::start(".:PORT {\n whoami\n}\n")?;
    let v6 = server.at("::1")?;
    for (client, ip, service) in [
        (server.udp(), "127.0.0.1", "_udp."),
        (server.tcp(), "127.0.0.1", "_tcp."),
        (Client::udp(v6), "::1", "_udp."),
        (Client::tcp(v6), "::1", "_tcp."),
    ] {
        for (name, qtype) in [
            ("Any.Example.org", RecordType::A),
            ("17.0.0.10.in-addr.arpa", RecordType::PTR),
        ] {
            let response = client.query(name, qtype)?;
            assert_eq!(rcode(&response), ResponseCode::NoError);
            assert!(response.metadata.authoritative && response.answers.is_empty());
            let (address, owner, port) = client_of(&response).expect("two records");
            assert_eq!(address, ip.parse::<IpAddr>()?);
            assert!(
                owner.eq_ignore_ascii_case(&format!("{service}{name}.")),
                "{owner}"
            );
            assert!(port >= 1024, "{port}");
            assert!(response.additionals.iter().all(|record| record.ttl == 0));
        }
    }
    Ok(())
}

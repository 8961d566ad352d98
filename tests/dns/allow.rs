//! Who may have names resolved elsewhere.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::client::Query;

use super::answer::PROHIBITED;
use super::answer::addresses;
use super::answer::ede;
use super::answer::ips;
use super::answer::rcode;
use super::server::Server;
use super::upstream::Upstream;

/// A server that knows local.test and resolves the rest for some.
fn server(upstream: &Upstream, allow: &str) -> anyhow::Result<Server> {
    let corefile = format!(
        "\
.:PORT {{
    hosts hosts {{
        fallthrough
    }}
    forward . {} {{
        {allow}
    }}
    cache
}}
",
        upstream.addr()
    );
    Server::with_hosts(&corefile, "192.0.2.7 local.test\n")
}

#[test]
fn others_are_refused_and_hear_local_names_all_the_same() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let server = server(&upstream, "allow_from 10.0.0.0/8")?;
    let v6 = server.at("::1")?;
    for client in [server.udp(), server.tcp(), Client::udp(v6), Client::tcp(v6)] {
        let query = Query::new("a.outside", RecordType::A);
        let response = client.ask(&query.clone().edns(1232))?;
        assert_eq!(rcode(&response), ResponseCode::Refused);
        assert_eq!(ede(&response), Some(PROHIBITED));
        assert!(response.answers.is_empty());
        let response = client.ask(&query)?;
        assert_eq!(
            (rcode(&response), response.edns.is_none()),
            (ResponseCode::Refused, true)
        );
        let response = client.query("local.test", RecordType::A)?;
        assert_eq!(addresses(&response), ips(&["192.0.2.7"]));
    }
    assert_eq!(upstream.count(), 0);
    Ok(())
}

#[test]
fn what_is_kept_for_some_is_not_told_to_others() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let server = server(&upstream, "allow_from 127.0.0.2/32")?;
    // Over UDP, a client asks from the address that it asks.
    let allowed = Client::udp(server.at("127.0.0.2")?);
    for _ in 0..2 {
        let response = allowed.query("a.outside", RecordType::A)?;
        assert_eq!(rcode(&response), ResponseCode::NoError);
    }
    for client in server.both() {
        let response = client.query("a.outside", RecordType::A)?;
        assert_eq!(rcode(&response), ResponseCode::Refused);
    }
    assert_eq!(upstream.count(), 1);
    Ok(())
}

#[test]
fn this_host_may_ask_unless_told_otherwise() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    for allow in ["", "allow_from 127.0.0.0/8 ::1/128"] {
        let server = server(&upstream, allow)?;
        let v6 = server.at("::1")?;
        for client in [server.udp(), server.tcp(), Client::udp(v6), Client::tcp(v6)] {
            let response = client.query("a.outside", RecordType::A)?;
            assert_eq!(rcode(&response), ResponseCode::NoError, "{allow}");
        }
    }
    Ok(())
}

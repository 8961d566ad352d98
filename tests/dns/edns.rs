//! EDNS(0): what comes back, and what does not (RFC 6891).

use hickory_proto::op::Message;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::EdnsCode;
use portolan_testkit::client::Query;
use portolan_testkit::upstream::Reply;

use super::answer::option;
use super::answer::options;
use super::answer::rcode;
use super::server::Server;
use super::upstream::Upstream;

/// A known name, a forwarded one, a failing one and one of nobody.
fn corefile(upstream: &Upstream) -> String {
    format!(
        "\
test:PORT {{
    hosts hosts {{
        unknown_action nxdomain
    }}
}}
outside:PORT {{
    forward . {}
    cache
}}
failing:PORT {{
    hosts
}}
",
        upstream.addr()
    )
}

/// A name for each way that a query can go.
const NAMES: [(&str, ResponseCode); 5] = [
    ("a.test", ResponseCode::NoError),
    ("b.test", ResponseCode::NXDomain),
    ("www.outside", ResponseCode::NoError),
    ("x.failing", ResponseCode::ServFail),
    ("nobody.example", ResponseCode::Refused),
];

/// The code that BADVERS shares with BADSIG.
const BADVERS: u16 = 16;

/// Starts the server and its upstream.
fn start() -> anyhow::Result<(Server, Upstream)> {
    let upstream = Upstream::answering(60)?;
    let server = Server::with_hosts(&corefile(&upstream), "192.0.2.1 a.test\n")?;
    Ok((server, upstream))
}

/// Whether DO is set.
fn dnssec_ok(message: &Message) -> bool {
    message
        .edns
        .as_ref()
        .is_some_and(|edns| edns.flags().dnssec_ok)
}

#[test]
fn an_opt_comes_back_to_those_who_send_one() -> anyhow::Result<()> {
    let (server, _upstream) = start()?;
    for client in server.both() {
        // Twice, so that the cache answers as well.
        for (name, code) in NAMES.into_iter().chain(NAMES) {
            let query = Query::new(name, RecordType::A);
            let response = client.ask(&query)?;
            assert_eq!(rcode(&response), code, "{name}");
            assert!(response.edns.is_none(), "{name}: {response:?}");

            for secure in [false, true] {
                let response = client.ask(&query.clone().edns(4096).dnssec_ok(secure))?;
                assert_eq!(rcode(&response), code, "{name}");
                let edns = response.edns.as_ref().expect("an OPT");
                assert_eq!((edns.version(), edns.max_payload()), (0, 1232), "{name}");
                assert_eq!(dnssec_ok(&response), secure, "{name}");
            }
        }
    }
    Ok(())
}

#[test]
fn another_version_is_told_ours() -> anyhow::Result<()> {
    let (server, upstream) = start()?;
    for client in server.both() {
        for (name, _) in NAMES {
            for version in [1, 255] {
                let query = Query::new(name, RecordType::A).edns_version(version);
                let response = client.ask(&query)?;
                assert_eq!(u16::from(rcode(&response)), BADVERS, "{name}");
                let edns = response.edns.as_ref().expect("an OPT");
                assert_eq!(edns.version(), 0);
                assert!(response.answers.is_empty() && response.authorities.is_empty());
            }
        }
        let query = Query::new("a.test", RecordType::TXT)
            .class(DNSClass::CH)
            .edns_version(1);
        assert_eq!(u16::from(rcode(&client.ask(&query)?)), BADVERS);
    }
    assert_eq!(upstream.count(), 0);
    Ok(())
}

#[test]
fn options_are_not_echoed_and_do_no_harm() -> anyhow::Result<()> {
    let (server, _upstream) = start()?;
    for client in server.both() {
        // NSID, client subnet, cookie, padding, one of nobody.
        for (code, data) in [
            (3, &b""[..]),
            (8, b"\0\x01\x18\0\xc0\0\x02"),
            (10, b"12345678"),
            (12, b"\0\0\0\0"),
            (65001, b"anything"),
        ] {
            for (name, expected) in NAMES {
                let response = client.ask(&Query::new(name, RecordType::A).option(code, data))?;
                assert_eq!(rcode(&response), expected, "{name} {code}");
                let only_errors = options(&response).iter().all(|code| *code == 15);
                assert!(only_errors, "{name} {code}: {response:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn keepalive_is_answered_over_tcp_alone() -> anyhow::Result<()> {
    let (server, _upstream) = start()?;
    for (name, _) in NAMES {
        let query = Query::new(name, RecordType::A);
        let asking = query.clone().option(11, b"");
        let idle = |response: &Message| option(response, EdnsCode::Keepalive);
        // 10 s in units of 100 ms (RFC 7828 §3.1).
        assert_eq!(
            idle(&server.tcp().ask(&asking)?),
            Some(vec![0, 100]),
            "{name}"
        );
        assert_eq!(
            idle(&server.tcp().ask(&query.clone().edns(1232))?),
            None,
            "{name}"
        );
        assert_eq!(idle(&server.udp().ask(&asking)?), None, "{name}");
    }
    Ok(())
}

#[test]
fn what_one_hop_says_stays_on_that_hop() -> anyhow::Result<()> {
    let (server, upstream) = start()?;
    let query = Query::new("cookie.outside", RecordType::A)
        .edns(4096)
        .option(10, b"12345678");
    server.udp().ask(&query)?;
    let asked = upstream.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].edns_payload, Some(1232));
    assert!(!asked[0].dnssec_ok);
    server
        .udp()
        .ask(&Query::new("cookie.outside", RecordType::A).dnssec_ok(true))?;
    assert!(upstream.asked()[1].dnssec_ok);
    Ok(())
}

#[test]
fn an_upstream_is_asked_over_tcp_how_long_the_connection_may_be_idle() -> anyhow::Result<()> {
    for (options, tcp) in [("force_tcp", true), ("prefer_udp", false)] {
        // No more queries on this connection, it says.
        let upstream =
            Upstream::start(|query| Reply::to(query).a([192, 0, 2, 1], 60).keepalive(0).send())?;
        let server = Server::start(&format!(
            ".:PORT {{\n forward . {} {{\n {options}\n }}\n}}\n",
            upstream.addr()
        ))?;
        for number in 0..3 {
            let query = Query::new(&format!("n{number}.test"), RecordType::A).option(11, b"");
            let response = server.udp().ask(&query)?;
            assert_eq!(rcode(&response), ResponseCode::NoError);
            // RFC 7828 §3.2.1: what an upstream says is of its own hop.
            assert_eq!(option(&response, EdnsCode::Keepalive), None);
        }
        for query in upstream.asked() {
            assert_eq!(query.tcp, tcp);
            // Empty in a query; a datagram has no idle time.
            assert_eq!(query.keepalive, tcp.then(Vec::new), "{query:?}");
        }
        if tcp {
            assert!(upstream.connections() >= 3, "{}", upstream.connections());
        }
    }
    Ok(())
}

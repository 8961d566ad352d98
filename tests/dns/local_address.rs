//! A host with several addresses: the response comes from the one that was
//! asked (RFC 5625 §5).

use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::client::Query;
use portolan_testkit::process::wait_for;

use super::answer::addresses;
use super::answer::ips;
use super::server::Server;
use super::upstream::Upstream;

/// A server on all addresses that knows local.test and forwards the rest.
fn server(upstream: &Upstream) -> anyhow::Result<Server> {
    let corefile = format!(
        ".:PORT {{\n log\n hosts hosts {{\n fallthrough\n }}\n forward . {}\n cache\n}}\n",
        upstream.addr()
    );
    Server::with_hosts(&corefile, "192.0.2.7 local.test\n")
}

/// Who answers a client that listens to everybody.
fn answering(client: &str, server: SocketAddr, name: &str) -> anyhow::Result<SocketAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(client.parse::<IpAddr>()?, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.send_to(&Query::new(name, RecordType::A).encode()?, server)?;
    let (_, source) = socket.recv_from(&mut [0; 512])?;
    Ok(source)
}

#[test]
fn the_address_that_was_asked_answers() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let server = server(&upstream)?;
    // At once, from an upstream, from the cache.
    for name in ["local.test", "a.outside", "a.outside"] {
        for (client, ip) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.2"),
            ("127.0.0.2", "127.0.0.1"),
            ("127.9.9.9", "127.1.2.3"),
            ("0.0.0.0", "127.0.0.3"),
            ("::1", "::1"),
            ("::", "::1"),
        ] {
            let asked = server.at(ip)?;
            assert_eq!(answering(client, asked, name)?, asked, "{client} {name}");
        }
    }
    Ok(())
}

#[test]
fn a_wildcard_of_each_family_answers_from_the_address_asked() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let corefile = format!(
        ".:PORT {{\n bind 0.0.0.0 ::\n forward . {}\n cache\n}}\n",
        upstream.addr()
    );
    let server = Server::start(&corefile)?;
    for (client, ip) in [
        ("127.0.0.1", "127.0.0.2"),
        ("0.0.0.0", "127.0.0.3"),
        ("::", "::1"),
    ] {
        let asked = server.at(ip)?;
        for _ in 0..2 {
            assert_eq!(answering(client, asked, "a.outside")?, asked, "{client}");
        }
    }
    Ok(())
}

#[test]
fn an_address_of_an_interface_answers_for_itself() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let corefile = format!(
        ".:PORT {{\n bind 127.0.0.1 127.0.0.2\n forward . {}\n}}\n",
        upstream.addr()
    );
    let server = Server::start(&corefile)?;
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let asked = server.at(ip)?;
        assert_eq!(answering("127.0.0.5", asked, "a.outside")?, asked);
    }
    Ok(())
}

#[test]
fn a_client_is_of_the_family_it_came_by() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let server = server(&upstream)?;
    let v6 = server.at("::1")?;
    for client in [server.udp(), server.tcp(), Client::udp(v6), Client::tcp(v6)] {
        let response = client.query("local.test", RecordType::A)?;
        assert_eq!(addresses(&response), ips(&["192.0.2.7"]));
    }
    let logged = || {
        let lines = server.process().lines();
        let about: Vec<String> = lines
            .into_iter()
            .filter(|line| line.contains("local.test."))
            .collect();
        (about.len() == 4).then_some(about)
    };
    let lines = wait_for(logged).expect("four lines in the log");
    let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(with("::ffff"), 0, "{lines:#?}");
    assert_eq!(
        (with(" 127.0.0.1:") + with("\"127.0.0.1:"), with("[::1]:")),
        (2, 2),
        "{lines:#?}"
    );
    Ok(())
}

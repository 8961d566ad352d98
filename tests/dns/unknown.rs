//! What becomes of names that nobody knows.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::client::Query;

use super::answer::rcode;
use super::answer::soa;
use super::server::Server;
use super::upstream::Upstream;

/// The directives that have names of their own, with room for a property.
/// No engine is at the socket: what is not known is not known.
const DIRECTIVES: [(&str, &str); 2] = [
    (
        "hosts",
        "hosts hosts {\n 192.0.2.1 below.known.test\n PROPERTY\n }",
    ),
    (
        "docker-cluster",
        "docker-cluster {\n docker_socket unix:///nonexistent/docker.sock\n host_ip 192.0.2.1\n \
         PROPERTY\n }",
    ),
];

/// A server with one directive.
fn server(directive: &str, property: &str) -> anyhow::Result<Server> {
    let directive = directive.replace("PROPERTY", property);
    Server::with_hosts(&format!(".:PORT {{\n {directive}\n}}\n"), "")
}

/// Whether a client hears nothing about `name` while others are answered.
fn is_silent(client: Client, name: &str) -> anyhow::Result<bool> {
    let query = Query::new(name, RecordType::A).encode()?;
    let heard = client
        .timeout(Duration::from_millis(300))
        .exchange(&query)?;
    Ok(heard.is_none())
}

#[test]
fn an_unknown_name_is_denied_refused_or_empty() -> anyhow::Result<()> {
    for (what, directive) in DIRECTIVES {
        for (action, expected, with_soa) in [
            ("nxdomain", ResponseCode::NXDomain, true),
            ("refused", ResponseCode::Refused, false),
            ("nodata", ResponseCode::NoError, true),
            ("servfail", ResponseCode::ServFail, false),
        ] {
            let server = server(directive, &format!("unknown_action {action}"))?;
            for client in server.both() {
                for qtype in [RecordType::A, RecordType::AAAA, RecordType::TXT] {
                    let response = client.query("x.y.test", qtype)?;
                    assert_eq!(rcode(&response), expected, "{what} {action}");
                    let negative = with_soa.then(|| ("x.y.test.".to_owned(), 30, 30));
                    assert_eq!(soa(&response), negative, "{what} {action}");
                    assert!(response.answers.is_empty());
                    assert_eq!(response.metadata.authoritative, with_soa);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn an_unknown_name_may_be_met_with_silence() -> anyhow::Result<()> {
    for (what, directive) in DIRECTIVES {
        let server = server(directive, "unknown_action drop")?;
        for client in server.both() {
            assert!(is_silent(client, "x.y.test")?, "{what}");
        }
    }
    // What is known is answered all the same.
    let server = server(DIRECTIVES[0].1, "unknown_action drop")?;
    let response = server.udp().query("below.known.test", RecordType::A)?;
    assert_eq!(rcode(&response), ResponseCode::NoError);
    // So Joyride has it where nothing is said.
    let server = self::server(DIRECTIVES[1].1, "")?;
    assert!(is_silent(server.udp(), "x.y.test")?);
    Ok(())
}

#[test]
fn a_silent_answer_keeps_a_connection() -> anyhow::Result<()> {
    let server = server(DIRECTIVES[0].1, "unknown_action drop")?;
    let mut connection = server.tcp().connect()?;
    // More than are answered at a time.
    for _ in 0..300 {
        connection.send(&Query::new("x.test", RecordType::A).encode()?)?;
    }
    let known = Query::new("below.known.test", RecordType::A);
    let responses = connection.pipeline(std::slice::from_ref(&known))?;
    assert_eq!(rcode(&responses[0]), ResponseCode::NoError);
    Ok(())
}

#[test]
fn a_name_above_a_known_one_exists() -> anyhow::Result<()> {
    let server = server(DIRECTIVES[0].1, "unknown_action nxdomain")?;
    for client in server.both() {
        for (name, expected) in [
            ("known.test", ResponseCode::NoError),
            ("test", ResponseCode::NoError),
            ("other.test", ResponseCode::NXDomain),
            ("x.below.known.test", ResponseCode::NXDomain),
        ] {
            let response = client.query(name, RecordType::A)?;
            assert_eq!(rcode(&response), expected, "{name}");
            assert!(response.answers.is_empty() && soa(&response).is_some());
        }
    }
    Ok(())
}

#[test]
fn the_soa_belongs_to_the_zone_of_the_block() -> anyhow::Result<()> {
    let server = Server::start(
        "example.org:PORT {\n hosts none {\n 192.0.2.1 a.example.org\n unknown_action \
         nxdomain\n }\n}\n",
    )?;
    for name in ["x.example.org", "a.example.org"] {
        let response = server.udp().query(name, RecordType::AAAA)?;
        assert_eq!(soa(&response), Some(("example.org.".to_owned(), 30, 30)));
    }
    Ok(())
}

#[test]
fn a_directive_that_ends_the_chain_does_not_hide_the_names_of_another() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let corefile = format!(
        "\
.:PORT {{
    hosts hosts {{
        unknown_action nxdomain
    }}
    docker-cluster {{
        docker_socket unix:///nonexistent/docker.sock
        host_ip 192.0.2.1
        fallthrough
    }}
    forward . {}
}}
",
        upstream.addr()
    );
    let server = Server::with_hosts(&corefile, "192.0.2.1 a.test\n")?;
    let response = server.udp().query("x.test", RecordType::A)?;
    assert_eq!(rcode(&response), ResponseCode::NXDomain);
    assert_eq!(upstream.count(), 0);
    Ok(())
}

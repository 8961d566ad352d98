//! `hosts`: names from files and from the configuration itself.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use hickory_proto::rr::RecordType;
use portolan_testkit::process::PATIENCE;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;
use std::time::Duration;

use super::answer::addresses;
use super::answer::ips;
use super::answer::rcode;
use super::answer::soa;
use super::answer::types;
use super::server::Server;
use super::upstream::Upstream;

/// A block whose hosts file is `hosts`, with further lines in it.
fn corefile(properties: &str, rest: &str) -> String {
    format!(".:PORT {{\n hosts hosts {{\n{properties}\n }}\n{rest}\n}}\n")
}

/// Names of both families, and a few wildcards.
const HOSTS: &str = "\
192.0.2.1    a.test Second.test # first
192.0.2.2    a.test
2001:db8::1  a.test
192.0.2.3    v4.test
192.0.2.9    *.wild.test
192.0.2.10   exact.wild.test
";

#[test]
fn a_missing_file_leaves_the_lines_of_the_configuration() -> anyhow::Result<()> {
    let server = Server::start(".:PORT {\n hosts nowhere {\n 10.0.0.1 example.org\n }\n}\n")?;
    for client in server.both() {
        let response = client.query("example.org", RecordType::A)?;
        assert_eq!(addresses(&response), ips(&["10.0.0.1"]));
        assert_eq!(response.answers[0].ttl, 3600);
    }
    server
        .process()
        .wait_for_line("File does not exist: nowhere")?;
    Ok(())
}

#[test]
fn a_name_has_the_addresses_of_each_family() -> anyhow::Result<()> {
    let server = Server::with_hosts(&corefile("ttl 77", ""), HOSTS)?;
    for client in server.both() {
        for (name, qtype, expected) in [
            ("a.test", RecordType::A, &["192.0.2.1", "192.0.2.2"][..]),
            ("A.TEST", RecordType::AAAA, &["2001:db8::1"]),
            ("second.test", RecordType::A, &["192.0.2.1"]),
        ] {
            let response = client.query(name, qtype)?;
            let mut found = addresses(&response);
            found.sort_unstable();
            assert_eq!(found, ips(expected), "{name} {qtype}");
            assert!(response.metadata.authoritative && !response.metadata.recursion_available);
            assert!(response.answers.iter().all(|record| record.ttl == 77));
            assert!(response.authorities.is_empty());
        }
    }
    Ok(())
}

#[test]
fn addresses_take_turns() -> anyhow::Result<()> {
    let server = Server::with_hosts(&corefile("", ""), HOSTS)?;
    for client in server.both() {
        let mut first = Vec::new();
        for _ in 0..8 {
            // As a stub resolver asks: both families in turn.
            first.push(addresses(&client.query("a.test", RecordType::A)?)[0]);
            client.query("a.test", RecordType::AAAA)?;
        }
        let before = first.clone();
        first.dedup();
        assert_eq!(first, before);
    }
    Ok(())
}

#[test]
fn a_known_name_lacks_other_types_with_a_soa() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let forward = format!(" forward . {}", upstream.addr());
    let server = Server::with_hosts(&corefile("negative_ttl 7\nfallthrough", &forward), HOSTS)?;
    for client in server.both() {
        for qtype in [
            RecordType::AAAA,
            RecordType::TXT,
            RecordType::HTTPS,
            RecordType::CNAME,
            RecordType::SOA,
            RecordType::Unknown(65280),
        ] {
            let response = client.query("v4.test", qtype)?;
            assert_eq!(rcode(&response), ResponseCode::NoError, "{qtype}");
            assert!(response.answers.is_empty() && response.metadata.authoritative);
            assert_eq!(
                soa(&response),
                Some(("v4.test.".to_owned(), 7, 7)),
                "{qtype}"
            );
        }
    }
    assert_eq!(upstream.count(), 0);
    Ok(())
}

#[test]
fn unsupported_types_fall_through_where_told_to() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let forward = format!(" forward . {}", upstream.addr());
    let properties = "fallthrough test\nfallthrough_unsupported";
    let hosts = format!("{HOSTS}192.0.2.4 v4.example\n");
    let server = Server::with_hosts(&corefile(properties, &forward), &hosts)?;
    for (name, qtype, asked) in [
        ("v4.test", RecordType::A, 0),
        ("v4.test", RecordType::AAAA, 0),
        ("v4.test", RecordType::TXT, 1),
        ("v4.example", RecordType::TXT, 1),
        ("x.test", RecordType::A, 2),
        ("x.example", RecordType::A, 2),
    ] {
        server.udp().query(name, qtype)?;
        assert_eq!(upstream.count(), asked, "{name} {qtype}");
    }
    Ok(())
}

#[test]
fn an_address_points_back_to_its_names() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let forward = format!(" forward . {}", upstream.addr());
    let server = Server::with_hosts(&corefile("", &forward), HOSTS)?;
    for client in server.both() {
        let response = client.query("1.2.0.192.in-addr.arpa", RecordType::PTR)?;
        let mut names: Vec<String> = response
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::PTR(ptr) => Some(ptr.0.to_ascii()),
                _ => None,
            })
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["a.test.", "second.test."]);
        assert!(response.metadata.authoritative);
        let v6 = format!("1.{}8.b.d.0.1.0.0.2.ip6.arpa", "0.".repeat(23));
        let response = client.query(&v6, RecordType::PTR)?;
        assert_eq!(types(&response.answers), [RecordType::PTR]);
        // A known address has no other type.
        let response = client.query("1.2.0.192.in-addr.arpa", RecordType::A)?;
        assert_eq!(
            (rcode(&response), response.answers.len()),
            (ResponseCode::NoError, 0)
        );
    }
    assert_eq!(upstream.count(), 0);
    // Unknown PTR names go on, although there is no fallthrough.
    server
        .udp()
        .query("99.2.0.192.in-addr.arpa", RecordType::PTR)?;
    assert_eq!(upstream.count(), 1);
    assert_eq!(
        rcode(&server.udp().query("x.test", RecordType::A)?),
        ResponseCode::ServFail
    );
    assert_eq!(upstream.count(), 1);
    Ok(())
}

#[test]
fn there_are_no_reverse_names_unless_wanted() -> anyhow::Result<()> {
    let server = Server::with_hosts(&corefile("no_reverse", ""), HOSTS)?;
    let response = server
        .udp()
        .query("1.2.0.192.in-addr.arpa", RecordType::PTR)?;
    assert_eq!(rcode(&response), ResponseCode::ServFail);
    Ok(())
}

#[test]
fn a_wildcard_stands_for_one_label() -> anyhow::Result<()> {
    let server = Server::with_hosts(&corefile("unknown_action nxdomain", ""), HOSTS)?;
    for client in server.both() {
        for (name, expected) in [
            ("x.wild.test", Some("192.0.2.9")),
            ("X.Wild.Test", Some("192.0.2.9")),
            ("exact.wild.test", Some("192.0.2.10")),
            ("*.wild.test", Some("192.0.2.9")),
            ("x.y.wild.test", None),
            ("x.exact.wild.test", None),
            ("wild.test", None),
        ] {
            let response = client.query(name, RecordType::A)?;
            assert_eq!(addresses(&response), ips(expected.as_slice()), "{name}");
            if expected.is_some() {
                // The owner is the name that was asked for.
                assert_eq!(response.answers[0].name.to_ascii(), format!("{name}."));
            }
        }
        // Known through the wildcard, and for every type.
        let response = client.query("x.wild.test", RecordType::AAAA)?;
        assert_eq!(
            (rcode(&response), soa(&response).is_some()),
            (ResponseCode::NoError, true)
        );
        let response = client.query("x.y.wild.test", RecordType::A)?;
        assert_eq!(rcode(&response), ResponseCode::NXDomain);
        // Something is below it: NXDOMAIN would deny that (RFC 8020).
        let response = client.query("wild.test", RecordType::A)?;
        assert_eq!(rcode(&response), ResponseCode::NoError);
    }
    Ok(())
}

#[test]
fn unknown_names_fail_or_fall_through() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let forward = format!(" forward . {}", upstream.addr());
    for (properties, within, outside) in [
        ("", false, false),
        ("fallthrough", true, true),
        ("fallthrough test", true, false),
    ] {
        let server = Server::with_hosts(&corefile(properties, &forward), HOSTS)?;
        for (name, passes) in [("x.test", within), ("x.example", outside)] {
            let response = server.udp().query(name, RecordType::A)?;
            let expected = if passes {
                ResponseCode::NoError
            } else {
                ResponseCode::ServFail
            };
            assert_eq!(rcode(&response), expected, "{properties} {name}");
        }
    }
    Ok(())
}

#[test]
fn a_changed_file_is_served_soon() -> anyhow::Result<()> {
    let server = Server::with_hosts(&corefile("unknown_action nxdomain", ""), HOSTS)?;
    let file = server.process().directory().join("hosts");
    std::fs::write(&file, "192.0.2.77 v4.test\n")?;
    let start = clock();
    loop {
        let found = addresses(&server.udp().query("v4.test", RecordType::A)?);
        let gone = rcode(&server.udp().query("a.test", RecordType::A)?) == ResponseCode::NXDomain;
        if found == ips(&["192.0.2.77"]) && gone {
            return Ok(());
        }
        assert!(start.elapsed() < PATIENCE, "{found:?}, {gone}");
        pause(Duration::from_millis(20));
    }
}

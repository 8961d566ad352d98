//! Which server block answers.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::process::wait_for;

use super::answer::addresses;
use super::answer::ips;
use super::answer::rcode;
use super::server::Server;

/// A block that knows one name of its zone.
fn knowing(key: &str, name: &str, last: u8) -> String {
    format!(
        "{key}:PORT {{\n hosts none {{\n 192.0.2.{last} {name}\n unknown_action nxdomain\n }}\n}}\n"
    )
}

#[test]
fn the_closest_zone_answers() -> anyhow::Result<()> {
    let blocks = [
        knowing(".", "www.b.example.org", 1),
        knowing("example.org", "www.b.example.org", 2),
        knowing("b.example.org", "www.b.example.org", 3),
    ];
    // In any order in the file.
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let server = Server::start(&order.map(|index| blocks[index].clone()).concat())?;
        for client in server.both() {
            let response = client.query("WWW.b.example.org", RecordType::A)?;
            assert_eq!(addresses(&response), ips(&["192.0.2.3"]));
            for name in ["www.example.org", "b.example.net", "xb.example.org"] {
                let response = client.query(name, RecordType::A)?;
                assert_eq!(rcode(&response), ResponseCode::NXDomain, "{name}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_name_of_no_zone_is_refused() -> anyhow::Result<()> {
    let server = Server::start("example.org:PORT {\n whoami\n}\nexample.net:PORT {\n whoami\n}\n")?;
    for client in server.both() {
        for (name, expected) in [
            ("www.example.org", ResponseCode::NoError),
            ("example.net", ResponseCode::NoError),
            ("example.com", ResponseCode::Refused),
            ("org", ResponseCode::Refused),
            ("wwwexample.org", ResponseCode::Refused),
            (".", ResponseCode::Refused),
        ] {
            let response = client.query(name, RecordType::A)?;
            assert_eq!(rcode(&response), expected, "{name}");
        }
    }
    Ok(())
}

#[test]
fn a_block_without_a_handler_refuses() -> anyhow::Result<()> {
    let server = Server::start("example.org:PORT {\n}\n.:PORT {\n errors\n}\n")?;
    for client in server.both() {
        for name in ["www.example.org", "www.example.net"] {
            let response = client.query(name, RecordType::A)?;
            assert_eq!(rcode(&response), ResponseCode::Refused, "{name}");
        }
    }
    Ok(())
}

#[test]
fn a_zone_may_be_written_in_capitals() -> anyhow::Result<()> {
    let server = Server::start("EXAMPLE.ORG.:PORT {\n whoami\n}\n")?;
    for name in ["www.example.org", "WWW.EXAMPLE.org"] {
        assert_eq!(
            rcode(&server.udp().query(name, RecordType::A)?),
            ResponseCode::NoError
        );
    }
    Ok(())
}

#[test]
fn a_chain_that_ends_without_an_answer_fails_and_says_so() -> anyhow::Result<()> {
    let server = Server::start(
        ".:PORT {\n errors\n hosts none {\n 192.0.2.1 a.test\n fallthrough\n }\n}\n",
    )?;
    for client in server.both() {
        assert_eq!(
            rcode(&client.query("X.test", RecordType::A)?),
            ResponseCode::ServFail
        );
    }
    let said = || {
        let lines = server.process().lines();
        let about = |line: &&String| line.contains("2 x.test. A: ");
        let lines: Vec<&String> = lines.iter().filter(about).collect();
        (lines.len() == 2
            && lines
                .iter()
                .all(|line| line.contains("no next plugin found")))
        .then_some(())
    };
    assert!(wait_for(said).is_some(), "{}", server.output());
    Ok(())
}

#[test]
fn ds_goes_to_the_parent() -> anyhow::Result<()> {
    // The parent denies, the child says NODATA, the root refuses.
    let server = Server::start(
        "\
.:PORT {
}
example.org:PORT {
    hosts none {
        192.0.2.1 www.example.org
        unknown_action nxdomain
    }
}
sub.example.org:PORT {
    hosts none {
        192.0.2.1 sub.example.org
    }
}
lone.example.net:PORT {
    hosts none {
        192.0.2.1 lone.example.net
    }
}
",
    )?;
    for client in server.both() {
        for (name, qtype, expected) in [
            ("sub.example.org", RecordType::DS, ResponseCode::NXDomain),
            ("sub.example.org", RecordType::A, ResponseCode::NoError),
            ("sub.example.org", RecordType::DNSKEY, ResponseCode::NoError),
            ("lone.example.net", RecordType::DS, ResponseCode::NoError),
            ("example.com", RecordType::DS, ResponseCode::Refused),
        ] {
            let response = client.query(name, qtype)?;
            assert_eq!(rcode(&response), expected, "{name} {qtype}");
        }
    }
    Ok(())
}

#[test]
fn an_address_range_is_its_reverse_zones() -> anyhow::Result<()> {
    for (key, names) in [
        (
            "10.0.0.0/15",
            &[
                ("whoami.0.10.in-addr.arpa", true),
                ("whoami.1.10.in-addr.arpa", true),
                ("whoami.2.10.in-addr.arpa", false),
            ][..],
        ),
        (
            "192.168.1.0/25",
            &[
                ("0.1.168.192.in-addr.arpa", true),
                ("1.1.168.192.in-addr.arpa", true),
                ("127.1.168.192.in-addr.arpa", true),
                ("128.1.168.192.in-addr.arpa", false),
                ("255.1.168.192.in-addr.arpa", false),
                ("0.2.168.192.in-addr.arpa", false),
            ],
        ),
        (
            "2001:db8::/32",
            &[
                ("1.8.b.d.0.1.0.0.2.ip6.arpa", true),
                ("1.9.b.d.0.1.0.0.2.ip6.arpa", false),
            ],
        ),
    ] {
        let server = Server::start(&format!("{key}:PORT {{\n whoami\n}}\n"))?;
        for client in server.both() {
            for (name, served) in names {
                let response = client.query(name, RecordType::PTR)?;
                let expected = if *served {
                    ResponseCode::NoError
                } else {
                    ResponseCode::Refused
                };
                assert_eq!(rcode(&response), expected, "{key} {name}");
                assert_eq!(
                    response.additionals.len(),
                    if *served { 2 } else { 0 },
                    "{name}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn blocks_share_a_port_and_keys_share_a_block() -> anyhow::Result<()> {
    let server = Server::start(
        "a.test:PORT b.test:PORT {\n whoami\n}\nc.test:PORT {\n hosts none {\n unknown_action \
         refused\n }\n}\n",
    )?;
    for (name, expected) in [
        ("x.a.test", ResponseCode::NoError),
        ("x.b.test", ResponseCode::NoError),
        ("x.c.test", ResponseCode::Refused),
    ] {
        assert_eq!(
            rcode(&server.udp().query(name, RecordType::A)?),
            expected,
            "{name}"
        );
    }
    Ok(())
}

//! Messages that are no queries, and queries that are not for us.
//!
//! A response, or what is too short to have an id, is never answered: an
//! answer to an answer is a loop (CVE-2024-2169). Everything else is owed an
//! answer (RFC 8906 §3), were it a header alone.

use std::net::UdpSocket;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Query;

use super::answer::rcode;
use super::answer::types;
use super::server::Server;
use super::upstream::Upstream;

/// One known name, and no upstream.
const COREFILE: &str = "\
.:PORT {
    bind 127.0.0.1
    errors
    hosts hosts {
        unknown_action nxdomain
    }
}
";

/// The known name.
const HOSTS: &str = "192.0.2.1 a.test\n";

/// Header of a query with id 0x1234 and RD: second 16 bits and counts to
/// follow.
const ID: [u8; 2] = [0x12, 0x34];

/// The question `a.test A IN`.
const QUESTION: &[u8] = b"\x01a\x04test\0\0\x01\0\x01";

/// An OPT of version 0.
const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";

/// A message: flags, counts, and what follows the header.
fn message(flags: u16, counts: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let mut out = ID.to_vec();
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend(counts.iter().flat_map(|count| [0, *count]));
    out.extend(parts.iter().copied().flatten());
    out
}

/// A query as it should be.
fn sound() -> Vec<u8> {
    message(0x0100, [1, 0, 0, 0], &[QUESTION])
}

/// What is never answered.
fn ignored() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..12).map(|length| sound()[..length].to_vec()).collect();
    all.push(message(0x8180, [1, 0, 0, 0], &[QUESTION]));
    all.push(message(0x8100, [0, 0, 0, 0], &[]));
    // A response that is malformed, and one of another opcode.
    all.push(message(0x8000, [9, 9, 9, 9], &[b"\xff"]));
    all.push(message(0xa800, [0, 0, 0, 0], &[]));
    all
}

/// What is answered with a header: flags and rcode of the answer.
fn header_only() -> Vec<(&'static str, Vec<u8>, u16)> {
    let name = |octets: &'static [u8]| message(0x0100, [1, 0, 0, 0], &[octets, b"\0\x01\0\x01"]);
    let mut cut = message(0x0100, [1, 0, 0, 1], &[QUESTION, OPT]);
    cut.pop();
    vec![
        ("IQUERY", message(0x0900, [1, 0, 0, 0], &[QUESTION]), 0x8904),
        ("STATUS", message(0x1100, [1, 0, 0, 0], &[QUESTION]), 0x9104),
        ("NOTIFY", message(0x2000, [1, 0, 0, 0], &[QUESTION]), 0xa004),
        ("UPDATE", message(0x2800, [1, 0, 0, 0], &[QUESTION]), 0xa804),
        ("opcode 15", message(0x7900, [0, 0, 0, 0], &[]), 0xf904),
        ("a header", message(0x0100, [0, 0, 0, 0], &[]), 0x8101),
        ("no question", message(0x0000, [0, 0, 0, 1], &[OPT]), 0x8001),
        (
            "two questions",
            message(0x0100, [2, 0, 0, 0], &[QUESTION, QUESTION]),
            0x8101,
        ),
        (
            "256 questions",
            [&ID[..], &[1, 0, 1, 0, 0, 0, 0, 0, 0, 0], QUESTION].concat(),
            0x8101,
        ),
        (
            "no question, though counted",
            message(0x0100, [1, 0, 0, 0], &[]),
            0x8101,
        ),
        (
            "two answers",
            message(0x0100, [1, 2, 0, 0], &[QUESTION]),
            0x8101,
        ),
        (
            "two authorities",
            message(0x0100, [1, 0, 2, 0], &[QUESTION]),
            0x8101,
        ),
        (
            "three additionals",
            message(0x0100, [1, 0, 0, 3], &[QUESTION]),
            0x8101,
        ),
        ("half a question", sound()[..20].to_vec(), 0x8101),
        ("a name without end", name(b"\x01a\x04test"), 0x8101),
        ("a pointer to itself", name(b"\xc0\x0c"), 0x8101),
        ("a label type of old", name(b"\x41a\0"), 0x8101),
        (
            "a record that is not there",
            message(0x0100, [1, 0, 0, 1], &[QUESTION]),
            0x8101,
        ),
        ("half an OPT", cut, 0x8101),
        (
            "two OPTs",
            message(0x0100, [1, 0, 0, 2], &[QUESTION, OPT, OPT]),
            0x8101,
        ),
        (
            "an OPT of somebody",
            message(0x0100, [1, 0, 0, 1], &[QUESTION, b"\x01a", OPT]),
            0x8101,
        ),
        (
            "an option longer than its OPT",
            message(
                0x0100,
                [1, 0, 0, 1],
                &[QUESTION, b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0a\0\x08"],
            ),
            0x8101,
        ),
        (
            "an OPT in the answer",
            message(0x0100, [1, 1, 0, 0], &[QUESTION, OPT]),
            0x8101,
        ),
        (
            "a datagram that is too long",
            [sound(), vec![0; 5000]].concat(),
            0x8101,
        ),
    ]
}

#[test]
fn responses_and_fragments_are_not_answered_over_udp() -> anyhow::Result<()> {
    let server = Server::with_hosts(COREFILE, HOSTS)?;
    for message in ignored() {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server.addr())?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.send(&message)?;
        // From one client, queries are answered in order.
        socket.send(&[&[0x56, 0x78], &sound()[2..]].concat())?;
        let mut buffer = [0; 512];
        socket.recv(&mut buffer)?;
        assert_eq!(buffer[..2], [0x56, 0x78], "{message:02x?}");
    }
    Ok(())
}

#[test]
fn responses_and_fragments_are_not_answered_over_tcp() -> anyhow::Result<()> {
    let server = Server::with_hosts(COREFILE, HOSTS)?;
    let mut connection = server.tcp().connect()?;
    for message in ignored() {
        connection.send(&message)?;
        connection.send(&[&[0x56, 0x78], &sound()[2..]].concat())?;
        let response = connection.receive()?.unwrap_or_default();
        assert_eq!(response[..2], [0x56, 0x78], "{message:02x?}");
    }
    Ok(())
}

#[test]
fn what_is_no_query_is_answered_with_a_header() -> anyhow::Result<()> {
    let server = Server::with_hosts(COREFILE, HOSTS)?;
    for client in server.both() {
        for (what, message, flags) in header_only() {
            if what == "a datagram that is too long" && client_is_tcp(&client) {
                continue;
            }
            let response = client.exchange(&message)?;
            let [high, low] = flags.to_be_bytes();
            let expected = vec![0x12, 0x34, high, low, 0, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(response, Some(expected), "{what} {client:?}");
        }
    }
    Ok(())
}

#[test]
fn records_beside_the_question_do_no_harm() -> anyhow::Result<()> {
    let server = Server::with_hosts(COREFILE, HOSTS)?;
    // a.test A IN 0 192.0.2.9, by a pointer to the question.
    let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\xc0\0\x02\x09";
    // A TSIG as others write it: owner k, type 250, class ANY, three octets.
    let tsig = b"\x01k\0\0\xfa\0\xff\0\0\0\0\0\x03abc";
    for client in server.both() {
        for (what, message) in [
            (
                "an answer",
                message(0x0100, [1, 1, 0, 0], &[QUESTION, record]),
            ),
            (
                "an authority",
                message(0x0100, [1, 0, 1, 0], &[QUESTION, record]),
            ),
            (
                "an additional",
                message(0x0100, [1, 0, 0, 1], &[QUESTION, record]),
            ),
            (
                "OPT and TSIG",
                message(0x0100, [1, 0, 0, 2], &[QUESTION, OPT, tsig]),
            ),
            (
                "what nobody counts",
                message(0x0100, [1, 0, 0, 0], &[QUESTION, b"more"]),
            ),
        ] {
            let response = client.exchange(&message)?.unwrap_or_default();
            assert_eq!(response.get(3).map(|octet| octet & 0x0f), Some(0), "{what}");
            assert_eq!(response.get(6..8), Some(&[0, 1][..]), "{what}");
        }
    }
    Ok(())
}

#[test]
fn flags_are_echoed_or_cleared_as_they_should_be() -> anyhow::Result<()> {
    let server = Server::with_hosts(COREFILE, HOSTS)?;
    // RD and CD come back, AA is ours; TC, RA, Z, AD and the code do not.
    for (sent, expected) in [
        (0x0000, 0x8400),
        (0x0100, 0x8500),
        (0x0110, 0x8510),
        (0x07ff, 0x8510),
        (0x00ef, 0x8400),
    ] {
        for client in server.both() {
            let message = message(sent, [1, 0, 0, 0], &[QUESTION]);
            let response = client.exchange(&message)?.unwrap_or_default();
            let [high, low] = u16::to_be_bytes(expected);
            assert_eq!(response.get(2..4), Some(&[high, low][..]), "{sent:04x}");
        }
    }
    Ok(())
}

#[test]
fn the_case_of_the_question_comes_back() -> anyhow::Result<()> {
    let server = Server::with_hosts(COREFILE, HOSTS)?;
    for client in server.both() {
        for name in ["a.test", "A.TEST", "a.TesT"] {
            let response = client.query(name, RecordType::A)?;
            assert_eq!(response.queries[0].name.to_ascii(), format!("{name}."));
            assert_eq!(response.answers[0].name.to_ascii(), format!("{name}."));
        }
    }
    Ok(())
}

#[test]
fn other_classes_are_refused_without_an_upstream() -> anyhow::Result<()> {
    let server = Server::with_hosts(COREFILE, HOSTS)?;
    for client in server.both() {
        for class in [DNSClass::CH, DNSClass::HS, DNSClass::NONE, DNSClass::ANY] {
            let query = Query::new("version.bind", RecordType::TXT).class(class);
            let response = client.ask(&query)?;
            assert_eq!(rcode(&response), ResponseCode::Refused, "{class}");
            let response = client.ask(&Query::new("a.test", RecordType::A).class(class))?;
            assert_eq!(rcode(&response), ResponseCode::Refused, "{class}");
            assert!(response.answers.is_empty());
        }
    }
    Ok(())
}

#[test]
fn other_classes_go_to_the_upstream_if_there_is_one() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let corefile = format!(".:PORT {{\n forward . {}\n}}\n", upstream.addr());
    let server = Server::start(&corefile)?;
    for (client, asked) in server.both().iter().zip(1..) {
        let query = Query::new("version.bind", RecordType::TXT).class(DNSClass::CH);
        let response = client.ask(&query)?;
        assert_eq!(rcode(&response), ResponseCode::NoError);
        // The question ends in type and class.
        let ends = upstream
            .asked()
            .iter()
            .filter(|q| q.question.ends_with(&[0, 16, 0, 3]))
            .count();
        assert_eq!(ends, asked);
    }
    Ok(())
}

#[test]
fn zone_transfers_are_refused_and_any_is_one_record() -> anyhow::Result<()> {
    let server = Server::with_hosts(COREFILE, HOSTS)?;
    for client in server.both() {
        for name in ["a.test", "test", "."] {
            for qtype in [RecordType::AXFR, RecordType::IXFR] {
                let response = client.query(name, qtype)?;
                assert_eq!(rcode(&response), ResponseCode::Refused, "{name} {qtype}");
                assert!(response.answers.is_empty() && response.authorities.is_empty());
            }
        }
        let response = client.query("a.test", RecordType::ANY)?;
        assert_eq!(rcode(&response), ResponseCode::NoError);
        assert_eq!(types(&response.answers), [RecordType::HINFO]);
    }
    Ok(())
}

#[test]
fn nonsense_does_no_harm() -> anyhow::Result<()> {
    let server = Server::with_hosts(COREFILE, HOSTS)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server.addr())?;
    // Multiplicative congruential numbers: the same nonsense every time.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap_or_default() % below
    };
    let full = message(
        0x0100,
        [1, 1, 0, 1],
        &[QUESTION, b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04abcd", OPT],
    );
    for round in 0..4000 {
        let mut message = full.clone();
        for _ in 0..=random(4) {
            let at = random(message.len());
            message[at] = u8::try_from(random(256))?;
        }
        message.truncate(message.len() - random(3) * random(20));
        socket.send(&message)?;
        if round % 100 == 0 {
            assert_eq!(
                rcode(&server.udp().query("a.test", RecordType::A)?),
                ResponseCode::NoError
            );
        }
    }
    assert_eq!(
        rcode(&server.tcp().query("a.test", RecordType::A)?),
        ResponseCode::NoError
    );
    assert!(!server.output().contains("panic"), "{}", server.output());
    Ok(())
}

/// Whether a client asks over TCP.
fn client_is_tcp(client: &portolan_testkit::client::Client) -> bool {
    format!("{client:?}").contains("Tcp")
}

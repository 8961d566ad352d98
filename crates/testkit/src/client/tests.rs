//! Tests of the client, against a server that answers, or does not, as the
//! name says.

use std::io::Read as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use hickory_proto::op;
use hickory_proto::op::Message;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::Name;
use hickory_proto::rr::RData;
use hickory_proto::rr::Record;
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::A;

use super::Client;
use super::Load;
use super::Plan;
use super::Query;

/// The one address that the server knows.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

#[test]
fn a_query_is_answered_over_udp_and_tcp() {
    for client in [Client::udp(udp_server()), Client::tcp(tcp_server())] {
        let response = client.query("WwW.example.org", RecordType::A).unwrap();
        assert_eq!(response.metadata.response_code, ResponseCode::NoError);
        assert_eq!(response.answers[0].data, RData::A(A(ADDRESS)));
        assert_eq!(response.queries[0].name.to_ascii(), "WwW.example.org.");
    }
}

#[test]
fn silence_is_an_error_and_no_octets() {
    let client = Client::udp(udp_server()).timeout(Duration::from_millis(50));
    let query = Query::new("silent.example.org", RecordType::A);
    assert!(client.ask(&query).is_err());
    assert_eq!(client.exchange(&query.encode().unwrap()).unwrap(), None);
}

#[test]
fn a_response_to_something_else_is_an_error() {
    let client = Client::udp(udp_server());
    for name in [
        "id.example.org",
        "question.example.org",
        "spelling.example.org",
    ] {
        assert!(client.query(name, RecordType::A).is_err(), "{name}");
    }
}

#[test]
fn only_loopback_servers_are_asked() {
    let server: SocketAddr = "192.0.2.1:53".parse().unwrap();
    for client in [Client::udp(server), Client::tcp(server)] {
        assert!(client.query("example.org", RecordType::A).is_err());
    }
    assert!(Load::start(server, &Plan::new("a", 1, Duration::ZERO), |_, _| Ok(())).is_err());
}

#[test]
fn a_query_is_encoded_as_asked() {
    let query = Query::new("example.org", RecordType::TXT)
        .id(7)
        .class(DNSClass::CH)
        .recursion_desired(false)
        .checking_disabled(true)
        .authentic_data(true)
        .edns(1400)
        .dnssec_ok(true)
        .edns_version(1)
        .option(10, &[1, 2, 3]);
    let octets = query.encode().unwrap();

    let read = portolan_proto::Query::read(&octets).unwrap();

    assert_eq!(read.id, 7);
    assert_eq!(read.flags.0, 0x0030);
    assert_eq!(read.qname.to_string(), "example.org.");
    assert_eq!((read.qtype.0, read.qclass.0), (16, 3));
    let edns = read.edns.unwrap();
    assert_eq!(
        (edns.udp_payload, edns.version, edns.dnssec_ok),
        (1400, 1, true)
    );
    assert_eq!(edns.options.find(10), Some(&[1, 2, 3][..]));

    let plain = Query::new("example.org", RecordType::A).encode().unwrap();
    let plain = portolan_proto::Query::read(&plain).unwrap();
    assert_eq!(plain.flags.0, 0x0100);
    assert_eq!(plain.edns, None);
}

#[test]
fn pipelined_answers_come_in_the_order_of_arrival() {
    let mut connection = Client::tcp(tcp_server()).connect().unwrap();
    let queries: Vec<_> = (0..200)
        .map(|index| Query::new(&format!("n{index}.example.org"), RecordType::A).id(index))
        .collect();

    let responses = connection.pipeline(&queries).unwrap();

    // The server answers two at a time, the second one first.
    let ids: Vec<u16> = responses.iter().map(|r| r.metadata.id).collect();
    assert_eq!(ids[..4], [1, 0, 3, 2]);
    assert_eq!(ids.len(), 200);
}

#[test]
fn a_connection_that_the_server_closes_is_seen() {
    let client = Client::tcp(tcp_server());
    let mut connection = client.connect().unwrap();
    assert!(!connection.closes_within(Duration::from_millis(20)).unwrap());
    // The server hangs up on an empty message.
    connection.send_octets(&[0]).unwrap();
    connection.send_octets(&[0]).unwrap();
    assert!(connection.closes_within(Duration::from_secs(5)).unwrap());
    assert_eq!(client.exchange(&[]).unwrap(), None);
}

#[test]
fn a_load_accounts_for_every_query() {
    let plan = Plan {
        names: ["good.example.org", "silent.example.org", "bad.example.org"]
            .map(str::to_owned)
            .to_vec(),
        patience: Duration::from_secs(1),
        ..Plan::new("", 600, Duration::from_millis(500))
    };
    let load = Load::start(udp_server(), &plan, |name, answer| {
        match (answer.rcode, answer.addresses.as_slice()) {
            (ResponseCode::NoError, [IpAddr::V4(ADDRESS)]) => Ok(()),
            _ => Err(format!("{name}: {answer:?}")),
        }
    })
    .unwrap();

    let report = load.wait();

    assert_eq!((report.sent, report.lost, report.answered), (300, 100, 200));
    assert_eq!(report.wrong.len(), 100);
    assert!(report.wrong.iter().all(|w| w.name == "bad.example.org"));
    assert_eq!(report.samples.len(), 300);
    assert!(report.samples[0].answer.is_some());
    assert!(report.samples[1].answer.is_none());
    assert!(report.p50 > Duration::ZERO);
    assert!(report.p50 <= report.p99 && report.p99 <= report.max);
    let first = report.samples[0].sent_at;
    let last = report.samples[299].sent_at;
    assert!(last - first >= Duration::from_millis(490));
}

#[test]
fn a_load_can_be_stopped_and_sees_a_server_that_is_down() {
    // Bound and dropped: nobody listens there.
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap();
    drop(server);
    let plan = Plan {
        patience: Duration::from_millis(50),
        ..Plan::new("a.example.org", 200, Duration::from_secs(60))
    };
    let load = Load::start(addr, &plan, |_, _| Ok(())).unwrap();
    while load.sent() < 20 {
        thread::yield_now();
    }

    let report = load.stop();

    assert!((20..500).contains(&report.sent), "{}", report.sent);
    assert_eq!(report.lost, report.sent);
    assert_eq!(report.max, Duration::ZERO);
}

#[test]
fn a_load_too_large_for_its_ids_is_refused() {
    let plan = Plan::new("a", 1_000_000, Duration::from_secs(1));
    assert!(Load::start("127.0.0.1:9".parse().unwrap(), &plan, |_, _| Ok(())).is_err());
}

/// A UDP server that lives as long as the tests.
fn udp_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            if let Some(response) = respond(&buffer[..length]) {
                socket.send_to(&response, client).unwrap();
            }
        }
    });
    addr
}

/// A TCP server that answers two queries at a time, the second one first, and
/// a single one if no other follows.
fn tcp_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut held: Option<Vec<u8>> = None;
            stream
                .set_read_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            loop {
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    match held.take() {
                        Some(response) => stream.write_all(&response).unwrap(),
                        None if stream.take_error().is_ok_and(|e| e.is_some()) => break,
                        None if stream.peek(&mut [0]).is_ok_and(|n| n == 0) => break,
                        None => {}
                    }
                    continue;
                }
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                if query.is_empty() || stream.read_exact(&mut query).is_err() {
                    break;
                }
                let response = respond(&query).unwrap();
                let length = u16::try_from(response.len()).unwrap();
                let framed = [&length.to_be_bytes(), &response[..]].concat();
                match held.take() {
                    None => held = Some(framed),
                    Some(first) => stream.write_all(&[framed, first].concat()).unwrap(),
                }
            }
        }
    });
    addr
}

/// Answers as the first label says.
fn respond(query: &[u8]) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(query).unwrap();
    message.metadata.message_type = op::MessageType::Response;
    let name = message.queries[0].name.clone();
    match name.iter().next()? {
        b"silent" => return None,
        b"bad" => message.metadata.response_code = ResponseCode::ServFail,
        b"id" => message.metadata.id ^= 1,
        b"question" => {
            message.queries[0].set_query_type(RecordType::AAAA);
        }
        b"spelling" => {
            let loud = name.to_ascii().to_ascii_uppercase();
            message.queries[0].set_name(Name::from_ascii(loud).ok()?);
        }
        _ => {
            let data = RData::A(A(ADDRESS));
            message.add_answer(Record::from_rdata(name, 60, data));
        }
    }
    message.to_vec().ok()
}

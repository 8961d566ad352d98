//! How long TCP connections are held, and what holding many does.

use std::io::ErrorKind;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Query;
use portolan_testkit::process::allow_open_files;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;
use portolan_testkit::upstream::Reply;

use super::answer::rcode;
use super::server::Server;
use super::upstream::Upstream;
use super::upstream::after;

/// A server that knows local.test and nothing else.
const COREFILE: &str = ".:PORT {\n hosts hosts {\n unknown_action nxdomain\n }\n}\n";

/// The one name.
const HOSTS: &str = "192.0.2.1 local.test\n";

/// How long until the server closes a connection, 15 s at most.
fn seconds_until_closed(stream: &mut TcpStream) -> anyhow::Result<f64> {
    let start = clock();
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    let read = stream.read(&mut [0]);
    assert!(matches!(read, Ok(0)), "{read:?}");
    Ok(start.elapsed().as_secs_f64())
}

#[test]
fn timing_silent_connections_are_closed_after_ten_seconds() -> anyhow::Result<()> {
    let server = Server::with_hosts(COREFILE, HOSTS)?;
    let mut fresh = TcpStream::connect(server.addr())?;
    let mut used = server.tcp().connect()?;
    used.pipeline(&[Query::new("local.test", RecordType::A)])?;
    let seconds = seconds_until_closed(&mut fresh)?;
    assert!((9.5..11.0).contains(&seconds), "{seconds}");
    assert!(used.closes_within(Duration::from_secs(1))?);
    Ok(())
}

#[test]
fn timing_half_a_message_is_waited_for_three_seconds() -> anyhow::Result<()> {
    let server = Server::with_hosts(COREFILE, HOSTS)?;
    let mut waiting = Vec::new();
    for part in [&b"\0"[..], b"\0\x20", b"\0\x20abcdef"] {
        let mut stream = TcpStream::connect(server.addr())?;
        stream.write_all(part)?;
        waiting.push(stream);
    }
    // An octet now and then does not help.
    let mut stream = TcpStream::connect(server.addr())?;
    let start = clock();
    while stream.write_all(b"\x01").is_ok() {
        assert!(start.elapsed() < Duration::from_secs(6), "still open");
        pause(Duration::from_millis(250));
    }
    assert!(start.elapsed() > Duration::from_millis(2_500));
    for mut stream in waiting {
        let seconds = seconds_until_closed(&mut stream)?;
        assert!(seconds < 1.0, "{seconds} more");
    }
    Ok(())
}

#[test]
fn timing_an_answer_that_takes_long_reaches_its_connection() -> anyhow::Result<()> {
    // Close to the time that all upstreams have together.
    let upstream =
        Upstream::start(|query| after(2_500, Reply::to(query).a([192, 0, 2, 1], 60).send()))?;
    let corefile = format!(
        ".:PORT {{\n forward . {} {{\n prefer_udp\n read_timeout 5s\n }}\n}}\n",
        upstream.addr()
    );
    let server = Server::start(&corefile)?;
    let mut connection = server.tcp().connect()?;
    let responses = connection.pipeline(&[Query::new("slow.test", RecordType::A)])?;
    assert_eq!(rcode(&responses[0]), ResponseCode::NoError);
    Ok(())
}

#[test]
fn timing_many_connections_of_one_client_slow_nobody_down() -> anyhow::Result<()> {
    // The connections, and what else there is.
    allow_open_files(1_500)?;
    let upstream = Upstream::answering(0)?;
    let corefile = format!(
        ".:PORT {{\n hosts hosts {{\n fallthrough\n }}\n forward . {}\n}}\n",
        upstream.addr()
    );
    let server = Server::with_hosts(&corefile, HOSTS)?;
    let mut open = Vec::new();
    for number in 0..1200 {
        let mut stream = TcpStream::connect(server.addr())?;
        if number % 2 == 1 {
            stream.write_all(b"\0")?;
        }
        open.push(stream);
    }
    // Half of the tries decide: the machine may be busy otherwise.
    let mut over_udp = Vec::new();
    let mut over_tcp = Vec::new();
    for round in 0..20 {
        for (client, times) in server.both().iter().zip([&mut over_udp, &mut over_tcp]) {
            let start = clock();
            let response = client.query("local.test", RecordType::A)?;
            times.push(start.elapsed());
            assert_eq!(rcode(&response), ResponseCode::NoError);
        }
        let outside = format!("n{round}.outside");
        let response = server.udp().query(&outside, RecordType::A)?;
        assert_eq!(rcode(&response), ResponseCode::NoError);
    }
    over_udp.sort_unstable();
    over_tcp.sort_unstable();
    eprintln!(
        "1,200 connections: UDP {:?}, a new connection {:?}",
        over_udp[10], over_tcp[10]
    );
    assert!(over_udp[10] < Duration::from_millis(10), "{over_udp:?}");
    assert!(over_tcp[10] < Duration::from_millis(100), "{over_tcp:?}");
    assert!(over_tcp[19] < Duration::from_secs(1), "{over_tcp:?}");
    // Twenty queries on one connection beside them.
    let queries: Vec<Query> = (0..20)
        .map(|_| Query::new("local.test", RecordType::A))
        .collect();
    assert_eq!(server.tcp().connect()?.pipeline(&queries)?.len(), 20);
    drop(open);
    Ok(())
}

#[test]
fn timing_a_client_that_does_not_listen_is_let_go() -> anyhow::Result<()> {
    let hosts: String = (1..=100)
        .map(|last| format!("192.0.2.{last} many.test\n"))
        .collect();
    let server = Server::with_hosts(COREFILE, &(hosts + HOSTS))?;
    let mut stream = TcpStream::connect(server.addr())?;
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let message = Query::new("many.test", RecordType::A).encode()?;
    let framed = [&u16::try_from(message.len())?.to_be_bytes(), &message[..]].concat();
    let burst = framed.repeat(1000);
    let start = clock();
    // Until the server hangs up; to a full pipe it may be said again.
    loop {
        assert!(start.elapsed() < Duration::from_secs(12), "still connected");
        match stream.write(&burst) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        let begun = clock();
        let response = server.udp().query("local.test", RecordType::A)?;
        assert_eq!(rcode(&response), ResponseCode::NoError);
        assert!(begun.elapsed() < Duration::from_millis(500));
    }
    assert!(server.process().resident_kib()? < 200_000);
    Ok(())
}

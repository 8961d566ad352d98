//! Lines of the query log, as text and as JSON.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::client::Query;
use portolan_testkit::process::wait_for;
use portolan_testkit::upstream::FakeUpstream;
use serde_json::Value;

use crate::cli::site::Site;

/// A server that logs every query.
const LOGGING: &str = ".:@dns {
    bind 127.0.0.1 ::1
    log
    hosts {
        192.0.2.1 a.example
        fallthrough ELSEWHERE
    }
    docker-cluster {
        docker_socket unix:///nonexistent/docker.sock
        host_ip 192.0.2.5
        fallthrough up.example
    }
    forward up.example UPSTREAM
}
";

/// The Corefile, with an upstream.
fn corefile(upstream: SocketAddr) -> String {
    LOGGING
        .replace("UPSTREAM", &upstream.to_string())
        .replace(" ELSEWHERE", "")
}

/// An upstream that is never asked.
fn nobody() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 1).into()
}

/// Sends a message from a port of its own: that port, and the response.
fn send(server: SocketAddr, message: &[u8]) -> anyhow::Result<(u16, Option<Vec<u8>>)> {
    let socket = UdpSocket::bind((server.ip(), 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.send(message)?;
    let mut buffer = vec![0; 4096];
    let response = socket.recv(&mut buffer).ok();
    Ok((
        socket.local_addr()?.port(),
        response.map(|length| buffer[..length].to_vec()),
    ))
}

/// Waits for the line of a client's port and takes its duration off.
fn line_of(site: &Site, port: u16) -> anyhow::Result<String> {
    let line = site.process.wait_for_line(&format!(":{port} - "))?;
    let (line, duration) = line.rsplit_once(' ').context("no duration")?;
    let seconds: f64 = duration.strip_suffix('s').context("no unit")?.parse()?;
    ensure!(seconds > 0.0 && seconds < 5.0, "{duration}");
    ensure!(!duration.contains(['e', 'E']), "{duration}");
    Ok(line.to_owned())
}

#[test]
fn the_text_of_a_line_is_that_of_coredns() -> anyhow::Result<()> {
    let site = Site::start(&corefile(nobody()))?;
    site.ports.await_address("a.example", [192, 0, 2, 1])?;
    for (query, in_quotes, result) in [
        (
            Query::new("a.example", RecordType::A),
            "A IN a.example. udp 27 false 512",
            "NOERROR qr,aa,rd",
        ),
        (
            Query::new("A.eXample", RecordType::A)
                .edns(1232)
                .dnssec_ok(true),
            "A IN a.example. udp 38 true 1232",
            "NOERROR qr,aa,rd",
        ),
        (
            Query::new("a.example", RecordType::AAAA)
                .recursion_desired(false)
                .edns(512),
            "AAAA IN a.example. udp 38 false 512",
            "NOERROR qr,aa",
        ),
        (
            Query::new("a.example", RecordType::Unknown(65280)),
            "TYPE65280 IN a.example. udp 27 false 512",
            "NOERROR qr,aa,rd",
        ),
    ] {
        let (port, response) = send(site.ports.server(), &query.encode()?)?;
        let length = response.context("no response")?.len();
        let expected = format!(
            "[INFO] 127.0.0.1:{port} - {} \"{in_quotes}\" {result} {length}",
            query.message_id()
        );
        let line = line_of(&site, port)?;
        // RA is there or not; it is not what this test is about.
        ensure!(line.replace(",ra", "") == expected, "{line}\n{expected}");
    }
    Ok(())
}

#[test]
fn clients_of_ipv6_stand_in_brackets_and_tcp_takes_65535() -> anyhow::Result<()> {
    let site = Site::start(&corefile(nobody()))?;
    let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], site.ports.dns));
    let query = Query::new("a.example", RecordType::A);
    let (port, _) = send(v6, &query.encode()?)?;
    let line = line_of(&site, port)?;
    ensure!(
        line.starts_with(&format!("[INFO] [::1]:{port} - ")),
        "{line}"
    );

    Client::tcp(site.ports.server()).query("a.example", RecordType::TXT)?;
    let line = site.process.wait_for_line("\"TXT IN a.example. tcp ")?;
    ensure!(line.contains(" tcp 27 false 65535\" NOERROR "), "{line}");
    Ok(())
}

#[test]
fn a_query_without_a_response_has_dashes() -> anyhow::Result<()> {
    let site = Site::start(&corefile(nobody()))?;
    let query = Query::new("nobody.example", RecordType::A);
    let (port, response) = send(site.ports.server(), &query.encode()?)?;
    ensure!(response.is_none(), "{response:?}");
    let line = line_of(&site, port)?;
    let id = query.message_id();
    let expected =
        format!("[INFO] 127.0.0.1:{port} - {id} \"A IN nobody.example. udp 32 false 512\" - - 0");
    ensure!(line == expected, "{line}\n{expected}");
    Ok(())
}

#[test]
fn a_name_cannot_forge_a_line() -> anyhow::Result<()> {
    for format in ["text", "json"] {
        let site = Site::start_with(&corefile(nobody()), |launch, _| {
            launch.args(["-log-format", format])
        })?;
        let mut message = Query::new("x.example", RecordType::A).encode()?;
        // Another first label: a line end, a terminal escape, a quote, a
        // backslash, a dot, octets that are no UTF-8.
        let label = b"\n[ERROR] forged\x1b[31m\"\\.\xff\xfe";
        let length = u8::try_from(label.len())?;
        message.splice(12..14, [&[length], &label[..]].concat());
        let (port, _) = send(site.ports.server(), &message)?;
        let lines = wait_for(|| {
            let lines = site.process.lines();
            let about = |line: &&String| line.contains("forged");
            let found: Vec<String> = lines.iter().filter(about).cloned().collect();
            (!found.is_empty()).then_some(found)
        });
        let lines = lines.with_context(|| site.output())?;
        let [line] = lines.as_slice() else {
            anyhow::bail!("{lines:?}");
        };
        ensure!(line.contains(&port.to_string()), "{line:?}");
        ensure!(!line.chars().any(char::is_control), "{line:?}");
        ensure!(!line.starts_with("[ERROR]"), "{line:?}");
        let escaped = r#"\010[error]\032forged\027[31m\"\\\.\255\254.example."#;
        if format == "text" {
            ensure!(line.contains(escaped), "{line}");
        } else {
            let value: Value = serde_json::from_str(line)?;
            let qname = value["qname"].as_str().unwrap_or_default();
            ensure!(qname == escaped, "{qname}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_typed_fields() -> anyhow::Result<()> {
    let upstream = FakeUpstream::answering().await?;
    let site = Site::start_with(&corefile(upstream.addr()), |launch, _| launch)?;
    let query = Query::new("www.up.example", RecordType::A)
        .edns(1400)
        .dnssec_ok(true);
    let (port, response) = send(site.ports.server(), &query.encode()?)?;
    let response = response.context("no response")?;
    let line = site
        .process
        .wait_for_line(&format!("\"client_port\":{port}"))?;
    let value: Value = serde_json::from_str(&line)?;
    for (field, expected) in [
        ("level", Value::from("INFO")),
        ("client_ip", Value::from("127.0.0.1")),
        ("client_port", Value::from(port)),
        ("qname", Value::from("www.up.example.")),
        ("qtype", Value::from("A")),
        ("qclass", Value::from("IN")),
        ("proto", Value::from("udp")),
        ("id", Value::from(query.message_id())),
        ("opcode", Value::from(0)),
        ("size", Value::from(43)),
        ("dnssec_ok", Value::from(true)),
        ("bufsize", Value::from(1400)),
        ("rcode", Value::from("NOERROR")),
        ("rflags", Value::from("qr,rd,ra")),
        ("response_size", Value::from(response.len())),
        ("plugin", Value::from("forward")),
        ("upstream", Value::from(upstream.addr().to_string())),
    ] {
        ensure!(
            value[field] == expected,
            "{field}: {} in {line}",
            value[field]
        );
    }
    ensure!(
        value["duration_seconds"]
            .as_f64()
            .is_some_and(|time| time > 0.0),
        "{line}"
    );
    let message = value["msg"].as_str().unwrap_or_default();
    ensure!(
        message.starts_with(&format!("127.0.0.1:{port} - ")),
        "{message}"
    );
    let time = value["time"].as_str().unwrap_or_default();
    ensure!(
        time.len() == 24 && time.ends_with('Z') && time.contains('T'),
        "{time}"
    );

    let (port, _) = send(
        site.ports.server(),
        &Query::new("x.example", RecordType::A).encode()?,
    )?;
    let line = site
        .process
        .wait_for_line(&format!("\"client_port\":{port}"))?;
    let value: Value = serde_json::from_str(&line)?;
    ensure!(value.get("rcode").is_some_and(Value::is_null), "{line}");
    ensure!(
        value["response_size"] == 0 && value["plugin"] == "docker-cluster",
        "{line}"
    );
    ensure!(value.get("upstream").is_none(), "{line}");
    // All other lines are objects with the same frame.
    for line in site.process.lines() {
        let value: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        for field in ["time", "level", "msg"] {
            ensure!(value[field].is_string(), "{field}: {line}");
        }
    }
    Ok(())
}

//! The endpoints as clients see them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::connection::{HEADER_TIMEOUT, MAX_CONNECTIONS};
use super::*;
use crate::log::DroppedLines;
use crate::metrics::BuildInfo;

#[test]
fn health_is_ok_without_a_line_end() {
    let admin = admin(&[("127.0.0.1:0", Serves::Health)]);

    let response = send(&admin, "GET", "/health", "");

    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(response.body, b"OK");
}

#[test]
fn members_are_json_beside_health() {
    let admin = admin(&[("127.0.0.1:0", Serves::Health)]);

    let response = send(&admin, "GET", "/members", "");

    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.body, b"[]");
}

#[test]
fn names_are_flushed_by_post_with_a_query() {
    let admin = admin(&[("127.0.0.1:0", Serves::Health)]);

    let done = send(&admin, "POST", "/cache/flush?name=a", "");
    let wrong = send(&admin, "POST", "/cache/flush?x", "");
    let empty = send(&admin, "POST", "/cache/flush", "");
    let page = send(
        &admin,
        "POST",
        "/cache/flush?name=a",
        "Origin: http://example.org\r\n",
    );

    assert_eq!((done.status, done.text()), (200, "{}"));
    assert_eq!(done.header("content-type"), Some("application/json"));
    assert_eq!((wrong.status, wrong.text()), (400, "what is \"x\"?\n"));
    assert_eq!((empty.status, empty.text()), (400, "what is \"\"?\n"));
    assert_eq!(page.status, 403);
    for method in ["GET", "HEAD", "DELETE"] {
        let refused = send(&admin, method, "/cache/flush?name=a", "");
        assert_eq!(refused.status, 405, "{method}");
    }
}

#[test]
fn the_version_is_json_and_other_methods_are_refused_in_words() {
    let admin = admin(&[("127.0.0.1:0", Serves::Version)]);

    let told = send(&admin, "GET", "/version", "");
    let refused = send(&admin, "POST", "/version", "");
    let elsewhere = send(&admin, "GET", "/", "");

    assert_eq!((told.status, told.text()), (200, "{}\n"));
    assert_eq!(told.header("content-type"), Some("application/json"));
    assert_eq!(
        (refused.status, refused.text()),
        (405, "Method not allowed\n")
    );
    assert_eq!(elsewhere.status, 404);
}

#[test]
fn a_version_that_cannot_be_told_keeps_nothing_else_from_being_served() {
    let taken = net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound").to_string();
    for addr in [taken.as_str(), ":http"] {
        let admin = admin(&[(addr, Serves::Version), ("127.0.0.1:0", Serves::Health)]);

        assert_eq!(admin.local_addrs().len(), 1, "{addr}");
        assert_eq!(send(&admin, "GET", "/health", "").status, 200, "{addr}");
    }
}

#[test]
fn the_version_yields_its_port_to_what_has_to_be_there() {
    let free = net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);

    let admin = admin(&[
        (&format!(":{port}"), Serves::Version),
        (&format!("127.0.0.1:{port}"), Serves::Health),
    ]);

    assert_eq!(admin.local_addrs().len(), 1);
    assert_eq!(send(&admin, "GET", "/health", "").status, 200);
}

#[test]
fn ready_follows_the_latches() {
    let admin = admin(&[("127.0.0.1:0", Serves::Ready)]);
    let readiness = admin.services.readiness.clone();
    let docker = readiness.latch("docker-cluster");
    let traefik = readiness.latch("traefik-externals");

    let both = send(&admin, "GET", "/ready", "");
    docker.release();
    let one = send(&admin, "GET", "/ready", "");
    traefik.release();
    let none = send(&admin, "GET", "/ready", "");
    readiness.shut_down();
    let end = send(&admin, "GET", "/ready", "");

    assert_eq!(
        (both.status, both.text()),
        (503, "docker-cluster,traefik-externals")
    );
    assert_eq!((one.status, one.text()), (503, "traefik-externals"));
    assert_eq!((none.status, none.text()), (200, "OK"));
    assert_eq!((end.status, end.text()), (503, "Shutting down"));
}

#[test]
fn metrics_are_text_of_prometheus() {
    let admin = admin(&[("127.0.0.1:0", Serves::Metrics)]);

    let response = send(&admin, "GET", "/metrics", "");

    assert_eq!(response.status, 200);
    let content_type = response.header("content-type");
    assert_eq!(
        content_type,
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert_eq!(response.header("content-encoding"), None);
    for name in [
        "coredns_build_info{",
        "coredns_health_request_duration_seconds_bucket{le=\"0.00025\"} ",
        "coredns_health_request_duration_seconds_bucket{le=\"2.5\"} ",
        "coredns_health_request_duration_seconds_bucket{le=\"+Inf\"} ",
        "coredns_health_request_failures_total 0",
    ] {
        assert!(
            response.text().contains(&format!("\n{name}")),
            "{name} in {}",
            response.text()
        );
    }
}

#[test]
fn metrics_are_compressed_when_asked() {
    let admin = admin(&[("127.0.0.1:0", Serves::Metrics)]);

    let plain = send(&admin, "GET", "/metrics", "");
    let zipped = send(&admin, "GET", "/metrics", "Accept-Encoding: gzip\r\n");

    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let body = zipped.dechunked();
    // RFC 1952 §2.3.1: the magic number of gzip.
    assert!(body.starts_with(&[0x1f, 0x8b]), "{body:?}");
    assert!(body.len() < plain.body.len() / 2);
}

#[test]
fn head_is_get_without_a_body() {
    let endpoints = [Serves::Health, Serves::Ready, Serves::Metrics];
    let admin = admin(&endpoints.map(|serves| ("127.0.0.1:0", serves)));

    for path in ["/health", "/ready", "/metrics"] {
        let response = send(&admin, "HEAD", path, "");
        assert_eq!((response.status, response.body.len()), (200, 0), "{path}");
    }
}

#[test]
fn other_paths_and_methods_are_refused() {
    let admin = admin(&[("127.0.0.1:0", Serves::Health)]);

    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/health/", 404),
        ("GET", "/healthz", 404),
        ("GET", "/ready", 404),
        ("GET", "/metrics", 404),
        ("GET", "/health?verbose=1", 200),
        ("POST", "/health", 405),
        ("PUT", "/health", 405),
        ("DELETE", "/health", 405),
        ("POST", "/other", 404),
    ] {
        assert_eq!(
            send(&admin, method, path, "").status,
            status,
            "{method} {path}"
        );
    }
}

#[test]
fn equal_addresses_share_a_listener() {
    let admin = admin(&[
        ("127.0.0.1:0", Serves::Health),
        ("127.0.0.1:0", Serves::Metrics),
    ]);

    assert_eq!(admin.local_addrs().len(), 1);
    assert_eq!(send(&admin, "GET", "/health", "").status, 200);
    assert_eq!(send(&admin, "GET", "/metrics", "").status, 200);
    assert_eq!(send(&admin, "GET", "/ready", "").status, 404);
}

#[test]
fn no_host_means_every_address() {
    let admin = admin(&[(":0", Serves::Health)]);
    let port = address(&admin).port();

    assert_eq!(get(([127, 0, 0, 1], port).into(), "/health").status, 200);
    if address(&admin).is_ipv6() {
        let ipv6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
        // A host may have the family without having the loopback address.
        match TcpStream::connect(ipv6) {
            Ok(_) => assert_eq!(get(ipv6, "/health").status, 200),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrNotAvailable),
        }
    }
}

#[test]
fn a_reload_keeps_adds_and_closes() {
    let mut admin = admin(&[
        ("127.0.0.1:0", Serves::Health),
        ("127.0.0.2:0", Serves::Ready),
    ]);
    let [kept, closed] = [0, 1].map(|index| admin.local_addrs()[index].1);
    let mut idle = TcpStream::connect(kept).expect("the listener accepts");

    let next = [
        endpoint("127.0.0.1:0", Serves::Metrics),
        endpoint("127.0.0.3:0", Serves::Ready),
    ];
    let prepared = admin.prepare(&next).expect("addresses are free");
    assert_eq!(
        get(kept, "/health").status,
        200,
        "nothing changes before the commit"
    );
    assert_eq!(
        get(closed, "/ready").status,
        200,
        "nothing changes before the commit"
    );
    admin.commit(prepared);

    assert_eq!(admin.local_addrs()[0].1, kept, "the listener stays open");
    let added = admin.local_addrs()[1].1;
    assert_eq!(get(added, "/ready").status, 200);
    assert_eq!(get(kept, "/health").status, 404);
    write!(
        idle,
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    assert_eq!(
        read(idle).status,
        200,
        "an old connection sees the new routes"
    );
    assert!(
        TcpStream::connect(closed).is_err(),
        "the removed address is closed"
    );
}

#[test]
fn a_failed_prepare_changes_nothing() {
    let admin = admin(&[("127.0.0.1:0", Serves::Health)]);
    let holder = net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("an address").to_string();

    let wanted = [
        endpoint("127.0.0.9:0", Serves::Ready),
        endpoint(&taken, Serves::Metrics),
    ];
    let error = admin.prepare(&wanted).expect_err("the port is taken");

    assert_eq!(error.to_string(), format!("cannot listen on {taken}"));
    assert!(matches!(error, BindError::Listen { source, .. }
        if source.kind() == ErrorKind::AddrInUse));
    assert_eq!(admin.local_addrs().len(), 1);
    assert_eq!(send(&admin, "GET", "/health", "").status, 200);
}

#[test]
fn an_address_can_widen_and_narrow_on_its_port() {
    let mut admin = admin(&[("127.0.0.1:0", Serves::Metrics)]);
    let port = address(&admin).port();
    let narrow = format!("127.0.0.1:{port}");
    let start = admin.prepare(&[endpoint(&narrow, Serves::Metrics)]);
    admin.commit(start.expect("the ephemeral listener gives way"));

    for typed in [
        format!(":{port}"),
        narrow.clone(),
        format!("0.0.0.0:{port}"),
        narrow,
    ] {
        let dropped = admin
            .prepare(&[endpoint(&typed, Serves::Metrics)])
            .expect(&typed);
        drop(dropped);
        assert_eq!(
            send(&admin, "GET", "/metrics", "").status,
            200,
            "before {typed}"
        );
        let prepared = admin
            .prepare(&[endpoint(&typed, Serves::Metrics)])
            .expect(&typed);
        admin.commit(prepared);
        assert_eq!(admin.local_addrs()[0].0, typed);
        assert_eq!(
            send(&admin, "GET", "/metrics", "").status,
            200,
            "after {typed}"
        );
    }

    let stranger = Listen::resolve(&format!("127.0.0.1:{port}")).expect("an address");
    let error = stranger.open(false).expect_err("the port is not free");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn idle_and_slow_clients_are_cut_off() {
    let admin = admin(&[("127.0.0.1:0", Serves::Health)]);
    let mut slow = TcpStream::connect(address(&admin)).expect("the listener accepts");
    slow.write_all(b"GET /health HT").expect("sent");
    let mut idle = TcpStream::connect(address(&admin)).expect("the listener accepts");
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    let start = now();

    for stream in [&mut slow, &mut idle] {
        stream
            .set_read_timeout(Some(HEADER_TIMEOUT * 3))
            .expect("a timeout");
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_ok(), "the server closes the connection: {ended:?}");
    }
    assert!(
        start.elapsed() < HEADER_TIMEOUT * 2,
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn many_idle_clients_keep_nobody_out() {
    let admin = admin(&[("127.0.0.1:0", Serves::Health)]);
    let idle: Vec<TcpStream> = (0..3 * MAX_CONNECTIONS)
        .map(|_| TcpStream::connect(address(&admin)).expect("the listener accepts"))
        .collect();

    let start = now();
    let response = send(&admin, "GET", "/health", "");

    assert_eq!(response.status, 200);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    drop(idle);
}

#[test]
fn an_endless_head_is_refused() {
    let admin = admin(&[("127.0.0.1:0", Serves::Health)]);
    let mut stream = TcpStream::connect(address(&admin)).expect("the listener accepts");
    stream
        .set_read_timeout(Some(HEADER_TIMEOUT * 3))
        .expect("a timeout");

    stream
        .write_all(b"GET /health HTTP/1.1\r\nX: ")
        .expect("sent");
    // The server may close the connection before it has all.
    let _ = stream.write_all(&[b'x'; 64 << 10]);
    let mut answer = [0; 12];

    match stream.read(&mut answer) {
        Ok(0) => {}
        Ok(_) => assert_eq!(&answer, b"HTTP/1.1 431"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn a_request_body_is_not_taken_in() {
    let admin = admin(&[("127.0.0.1:0", Serves::Health)]);

    let response = send(
        &admin,
        "GET",
        "/health",
        "Content-Length: 1000000000000\r\n",
    );

    assert_eq!(response.status, 200);
}

#[test]
fn the_server_polls_its_own_health() {
    let admin = admin(&[(":0", Serves::Health), (":0", Serves::Metrics)]);
    let count = "\ncoredns_health_request_duration_seconds_count ";

    until("a poll is counted", || {
        let metrics = send(&admin, "GET", "/metrics", "");
        let text = metrics.text().to_owned();
        text.contains(count) && !text.contains(&format!("{count}0\n"))
    });

    let text = admin.services.metrics.encode().expect("valid families");
    assert!(
        text.contains("\ncoredns_health_request_failures_total 0\n"),
        "{text}"
    );
}

#[test]
fn dropping_the_endpoints_closes_them() {
    let admin = admin(&[("127.0.0.1:0", Serves::Health)]);
    let address = address(&admin);
    let _idle = TcpStream::connect(address).expect("the listener accepts");
    let start = now();

    drop(admin);

    assert!(TcpStream::connect(address).is_err());
    assert!(start.elapsed() < CLOSE_GRACE * 3, "{:?}", start.elapsed());
}

#[test]
fn an_address_that_is_none_is_an_error() {
    let error = Admin::bind(services(), &[endpoint("8080", Serves::Health)]);

    let error = error.expect_err("there is no port");
    assert_eq!(error.to_string(), "address 8080: missing port in address");
}

/// What a server answered.
struct Response {
    /// The status code.
    status: u16,
    /// The head, in lower case.
    head: String,
    /// The body as sent.
    body: Vec<u8>,
}

impl Response {
    /// The value of a header field.
    fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    }

    /// The body as text.
    fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("text")
    }

    /// The body without the framing of RFC 9112 §7.1.
    fn dechunked(&self) -> Vec<u8> {
        if self.header("transfer-encoding") != Some("chunked") {
            return self.body.clone();
        }
        let (mut body, mut rest) = (Vec::new(), self.body.as_slice());
        while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = str::from_utf8(&rest[..end]).expect("a chunk size");
            let size = usize::from_str_radix(size, 16).expect("a chunk size");
            if size == 0 {
                break;
            }
            body.extend_from_slice(&rest[end + 2..end + 2 + size]);
            rest = &rest[end + 2 + size + 2..];
        }
        body
    }
}

/// Serves endpoints with services of their own.
fn admin(endpoints: &[(&str, Serves)]) -> Admin {
    let endpoints: Vec<Endpoint> = endpoints
        .iter()
        .map(|&(addr, serves)| endpoint(addr, serves))
        .collect();
    Admin::bind(services(), &endpoints).expect("addresses are free")
}

/// Services of some build.
fn services() -> Services {
    let build = BuildInfo {
        version: "0.1.0".to_owned(),
        revision: "abc".to_owned(),
        compiler: "rustc".to_owned(),
    };
    let metrics = Metrics::new(&build, DroppedLines::default()).expect("a new registry");
    Services {
        metrics,
        readiness: Readiness::default(),
        members: Document::new(|| "[]".to_owned()),
        version: Document::new(|| "{}\n".to_owned()),
        flush: Order::new(|query| match query {
            "name=a" => Ok("{}".to_owned()),
            other => Err(format!("what is {other:?}?")),
        }),
    }
}

/// An endpoint.
fn endpoint(addr: &str, serves: Serves) -> Endpoint {
    Endpoint {
        addr: addr.to_owned(),
        serves,
    }
}

/// The first address served.
fn address(admin: &Admin) -> SocketAddr {
    admin.local_addrs()[0].1
}

/// Sends a request to the first address, over IPv4.
fn send(admin: &Admin, method: &str, path: &str, fields: &str) -> Response {
    let mut target = address(admin);
    if target.ip().is_unspecified() {
        target.set_ip([127, 0, 0, 1].into());
    }
    request(target, method, path, fields)
}

/// Sends a plain GET.
fn get(target: SocketAddr, path: &str) -> Response {
    request(target, "GET", path, "")
}

/// Sends a request on a connection of its own.
fn request(target: SocketAddr, method: &str, path: &str, fields: &str) -> Response {
    let mut stream = TcpStream::connect(target).expect("the listener accepts");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n"
    )
    .expect("sent");
    read(stream)
}

/// Reads a response until the connection ends.
fn read(mut stream: TcpStream) -> Response {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a response");
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Response {
        status: status.expect("a status"),
        body: bytes[end + 4..].to_vec(),
        head,
    }
}

/// Waits until `condition` holds.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// The time, to measure with.
#[expect(clippy::disallowed_methods, reason = "a test measures real time")]
fn now() -> Instant {
    Instant::now()
}

use std::collections::BTreeMap;
use std::io::Read as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use portolan_forward::UpstreamConfig;
use portolan_proto::Message;
use portolan_proto::Name;
use portolan_proto::Rcode;
use portolan_proto::Rdata;
use portolan_proto::Rtype;
use portolan_testkit::process::free_port;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;
use prometheus::Registry;

use super::*;
use crate::Block;
use crate::testing::a;
use crate::testing::block;
use crate::testing::layer;
use crate::testing::query;
use crate::testing::routing;
use crate::testing::table;

/// A server that knows x.test, and the runtime its queries wait on.
fn server() -> (Server, tokio::runtime::Runtime) {
    server_of(table(&[(0, "x.test", a(1))]), Limits::default())
}

/// A server around a table, within limits.
fn server_of(table: Arc<Table>, limits: Limits) -> (Server, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let families = Families::register(&Registry::new()).unwrap();
    let server = Server::new(runtime.handle().clone(), table, families, limits, 2);
    (server, runtime)
}

/// A block that asks an upstream which says nothing, over UDP whatever the
/// client has, and that upstream.
fn waiting(runtime: &tokio::runtime::Runtime) -> (Block, UdpSocket) {
    waiting_with(runtime, true)
}

/// The same, over UDP whatever the client has or only for its sake.
fn waiting_with(runtime: &tokio::runtime::Runtime, prefer_udp: bool) -> (Block, UdpSocket) {
    let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let families = portolan_forward::Families::register(&Registry::new()).unwrap();
    let context = {
        let _runtime = runtime.enter();
        portolan_forward::Context::new(TaskTracker::new(), CancellationToken::new(), families)
    };
    let config = portolan_forward::Config {
        from: vec![Name::root()],
        upstreams: vec![UpstreamConfig::Addr(upstream.local_addr().unwrap())],
        prefer_udp,
        ..Default::default()
    };
    let forward = portolan_forward::Forward::build(config, &context);
    let forward = runtime.block_on(forward).unwrap();
    let resolver = portolan_forward::Resolver::new(None, vec![forward], &context);
    let block = Block {
        resolver: Some(resolver),
        ..block(Vec::new())
    };
    (block, upstream)
}

/// Where to listen: a port of 127.0.0.1.
fn loopback(port: u16) -> ListenAddr {
    ListenAddr {
        ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        scope: 0,
        port,
    }
}

/// Serves these ports and no others.
fn serve(server: &Server, ports: &[u16]) {
    let routings = ports
        .iter()
        .map(|port| (loopback(*port), routing(block(vec![layer(0)]))));
    let prepared = server.prepare(routings.collect()).unwrap();
    server.commit(prepared);
}

/// The response to a query for x.test, from a new client port.
fn ask(port: u16) -> Option<Message> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    socket.send(&query("x.test", Rtype::A)).ok()?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).ok()?;
    Message::parse(buffer.get(..length)?.to_vec()).ok()
}

/// Whether somebody listens for connections.
fn accepts(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}

#[test]
fn a_change_keeps_adds_and_ends_listeners() {
    let (server, runtime) = server();
    let [stays, ends, begins] = [free_port(), free_port(), free_port()];
    serve(&server, &[stays, ends]);
    assert_eq!(ask(stays).unwrap().rcode(), Rcode::NOERROR);
    assert_eq!(ask(ends).unwrap().rcode(), Rcode::NOERROR);

    serve(&server, &[stays, begins]);
    assert_eq!(ask(stays).unwrap().rcode(), Rcode::NOERROR);
    assert_eq!(ask(begins).unwrap().rcode(), Rcode::NOERROR);
    wait_for(|| (ask(ends).is_none() && !accepts(ends)).then_some(())).expect("it ends");

    assert!(runtime.block_on(server.shut_down(Duration::from_secs(5))));
    assert!(ask(stays).is_none());
}

#[test]
fn a_listener_ends_though_queries_keep_coming() {
    let (server, _runtime) = server();
    let [stays, ends] = [free_port(), free_port()];
    serve(&server, &[stays, ends]);
    let done = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        // Never a pause as long as a worker waits before it looks up.
        for _ in 0..4 {
            scope.spawn(|| {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                while !done.load(Ordering::Relaxed) {
                    let target = (Ipv4Addr::LOCALHOST, ends);
                    drop(socket.send_to(&query("x.test", Rtype::A), target));
                    pause(Duration::from_millis(5));
                }
            });
        }
        pause(Duration::from_millis(50));
        serve(&server, &[stays]);
        let ended = wait_for(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, ends)).ok());
        done.store(true, Ordering::Relaxed);
        ended
    });
    assert!(ended.is_some(), "the port is still taken");
}

#[test]
fn a_listener_ends_though_questions_wait_for_an_upstream() {
    let (server, runtime) = server();
    // An ordinary question: the worker asks.
    let (block, upstream) = waiting_with(&runtime, false);
    let port = free_port();
    let routings = BTreeMap::from([(loopback(port), routing(block))]);
    server.commit(server.prepare(routings).unwrap());
    let done = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            for number in 0_u64.. {
                let query = query(&format!("n{number}.test"), Rtype::A);
                drop(socket.send_to(&query, (Ipv4Addr::LOCALHOST, port)));
                pause(Duration::from_millis(2));
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let mut buffer = [0; 512];
        for _ in 0..20 {
            upstream.recv_from(&mut buffer).unwrap();
        }
        serve(&server, &[free_port()]);
        let ended = wait_for(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok());
        done.store(true, Ordering::Relaxed);
        ended
    });
    assert!(ended.is_some(), "the port is still taken");
}

#[test]
fn a_port_that_is_taken_is_refused_and_nothing_changes() {
    let (server, _runtime) = server();
    let (free, taken) = (
        free_port(),
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
    );
    let port = taken.local_addr().unwrap().port();
    let routings = BTreeMap::from([
        (loopback(free), routing(block(vec![layer(0)]))),
        (loopback(port), routing(block(vec![layer(0)]))),
    ]);
    let error = server.prepare(routings).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("listen udp 127.0.0.1:{port}: bind: address already in use")
    );
    assert!(!accepts(free));
    assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, free)).is_ok());
}

#[test]
fn a_connection_that_makes_room_does_not_wait_for_its_client() {
    // Responses are a hundred times as large as their queries.
    let rows: Vec<_> = (0..128).map(|last| (0, "x.test", a(last))).collect();
    let long = Duration::from_mins(10);
    let limits = Limits {
        connections: 1,
        idle: long,
        read: long,
        write: long,
        finish: long,
        ..Limits::default()
    };
    let (server, _runtime) = server_of(table(&rows), limits);
    let port = free_port();
    serve(&server, &[port]);
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();

    // It asks and asks, and takes no response, until nothing moves any more.
    let mut greedy = connect();
    let query = query("x.test", Rtype::A);
    let length = u16::try_from(query.len()).unwrap().to_be_bytes();
    let framed = [&length[..], &query].concat().repeat(1000);
    let patience = Some(Duration::from_millis(300));
    greedy.set_write_timeout(patience).unwrap();
    while greedy.write_all(&framed).is_ok() {}

    let _other = connect();
    let evicted = &server.shared.families.evicted;
    wait_for(|| (evicted.get() == 1).then_some(())).expect("room is made");
    let (acceptor, other) = (1, 1);
    let left = wait_for(|| (server.queries.tasks.len() == acceptor + other).then_some(()));
    assert!(left.is_some(), "{} tasks", server.queries.tasks.len());
}

#[test]
fn a_client_with_too_many_queries_that_wait_is_told_at_once() {
    let limits = Limits {
        pending_per_client: 1,
        pending_grace: Duration::from_mins(1),
        ..Limits::default()
    };
    let (server, runtime) = server_of(table(&[]), limits);
    let (block, _upstream) = waiting(&runtime);
    let port = free_port();
    let routings = BTreeMap::from([(loopback(port), routing(block))]);
    server.commit(server.prepare(routings).unwrap());

    // Over one connection: the first waits.
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    for id in [1, 2, 3] {
        let mut query = query("x.test", Rtype::A);
        query[1] = id;
        let length = u16::try_from(query.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &query].concat()).unwrap();
    }
    for id in [2, 3] {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut response = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut response).unwrap();
        let response = Message::parse(response).unwrap();
        assert_eq!((response.id(), response.rcode()), (id, Rcode::SERVFAIL));
    }
    // Over UDP, and from another address, whose query waits.
    assert_eq!(ask(port).unwrap().rcode(), Rcode::SERVFAIL);
    let other = UdpSocket::bind(("127.0.0.2", 0)).unwrap();
    let target = (Ipv4Addr::LOCALHOST, port);
    other.send_to(&query("x.test", Rtype::A), target).unwrap();
    let families = &server.shared.families;
    wait_for(|| (families.pending.get() == 2).then_some(())).expect("it waits");
    assert_eq!(families.pending_rejected.get(), 3);
}

#[test]
fn a_query_that_has_waited_long_leaves_its_place_to_another() {
    let limits = Limits {
        pending: 1,
        pending_grace: Duration::ZERO,
        ..Limits::default()
    };
    let (server, runtime) = server_of(table(&[]), limits);
    let (block, _upstream) = waiting(&runtime);
    let port = free_port();
    let routings = BTreeMap::from([(loopback(port), routing(block))]);
    server.commit(server.prepare(routings).unwrap());

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let families = &server.shared.families;
    // Of one place, none is for good.
    for id in 1..=3 {
        let mut query = query("x.test", Rtype::A);
        query[1] = id;
        socket.send(&query).unwrap();
        if id == 1 {
            wait_for(|| (families.pending.get() == 1).then_some(())).expect("it waits");
            continue;
        }
        // Long before the upstreams' time is up.
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).unwrap();
        let response = Message::parse(buffer[..length].to_vec()).unwrap();
        let id = u16::from(id);
        assert_eq!((response.id(), response.rcode()), (id - 1, Rcode::SERVFAIL));
    }
    assert_eq!(families.pending_rejected.get(), 2);
    wait_for(|| (families.pending.get() == 1).then_some(())).expect("the last one waits");
}

#[test]
fn a_connection_that_asks_no_more_still_makes_room() {
    let target = |n: usize| {
        let labels = [format!("{n:063}"), "a".repeat(63), "b".repeat(63)];
        Rdata::Ptr(labels.join(".").parse().unwrap())
    };
    let rows: Vec<_> = (0..portolan_table::MAX_VALUES)
        .map(|n| (0, "x.test", target(n)))
        .collect();
    // More than the kernel holds for a client that reads nothing.
    let count = 1000;
    let limits = Limits {
        connections: 1,
        pipelined: count + 1,
        unsent: usize::MAX,
        write: Duration::from_mins(1),
        finish: Duration::from_mins(1),
        ..Limits::default()
    };
    let (server, runtime) = server_of(table(&rows), limits);
    let port = free_port();
    serve(&server, &[port]);

    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).unwrap();
    let message = query("x.test", Rtype::PTR);
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    let asked = [&length, &message[..]].concat().repeat(count);
    stream.write_all(&asked).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let whole = (2 + usize::from(u16::from_be_bytes(length))) * count;
    assert!(whole > 20_000_000, "{whole}");
    // Until the server has read all, the end as well.
    pause(Duration::from_millis(500));

    let other = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let evicted = &server.shared.families.evicted;
    wait_for(|| (evicted.get() == 1).then_some(())).expect("it makes room");
    pause(Duration::from_millis(500));
    // What comes now is what the kernel still has.
    let mut rest = Vec::new();
    let outcome = stream.read_to_end(&mut rest);
    assert!(rest.len() + 2 < whole, "all of it came: {outcome:?}");
    drop((stream, other));
    assert!(runtime.block_on(server.shut_down(Duration::from_secs(5))));
}

#[tokio::test]
async fn a_large_response_does_not_wait_for_others() {
    for (octets, waits) in [(LARGE - 1, true), (LARGE, false)] {
        let response = vec![0; octets];
        let waited = tokio::select! {
            biased;
            () = let_others_finish(&response) => false,
            () = std::future::ready(()) => true,
        };
        assert_eq!(waited, waits, "{octets} octets");
    }
}

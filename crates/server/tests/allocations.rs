//! An ordinary query is answered without an allocation, from the datagram to
//! the datagram, whatever the listener, the family and the answer: about local
//! names, and from the cache.
//!
//! The counts are those of the whole process: no other test may be here.

use std::alloc::System;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use portolan_forward::Cache;
use portolan_forward::CacheConfig;
use portolan_forward::CacheLabels;
use portolan_forward::Config;
use portolan_forward::Context;
use portolan_forward::Forward;
use portolan_forward::Resolver;
use portolan_forward::UpstreamConfig;
use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_server::Block;
use portolan_server::Fallthrough;
use portolan_server::Families;
use portolan_server::Hooks;
use portolan_server::Limits;
use portolan_server::ListenAddr;
use portolan_server::LocalLayer;
use portolan_server::Routing;
use portolan_server::Server;
use portolan_server::UnknownAction;
use portolan_table::Builder;
use portolan_table::Change;
use portolan_table::LayerId;
use portolan_table::LayerOptions;
use portolan_table::Row;
use portolan_table::Source;
use portolan_table::Table;
use portolan_testkit::process::free_port;
use portolan_testkit::upstream::FakeUpstream;
use prometheus::Registry;
use stats_alloc::INSTRUMENTED_SYSTEM;
use stats_alloc::Region;
use stats_alloc::StatsAlloc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Counts.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn an_ordinary_query_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let registry = Registry::new();
    let families = Families::register(&registry).unwrap();
    let limits = Limits::default();
    let server = Server::new(
        runtime.handle().clone(),
        table(),
        families.clone(),
        limits,
        1,
    );
    let listeners = [
        (Some(Ipv4Addr::LOCALHOST.into()), free_port()),
        (Some(Ipv6Addr::LOCALHOST.into()), free_port()),
        (None, free_port()),
    ];
    let upstream = runtime.block_on(FakeUpstream::answering()).unwrap();
    let resolver = runtime.block_on(resolver(&upstream));
    let routings =
        listeners.map(|(ip, port)| (listener(ip, port), routing(&families, &resolver, port)));
    let prepared = server.prepare(BTreeMap::from(routings)).unwrap();
    server.commit(prepared);

    for (ip, port) in listeners {
        let ip = ip.unwrap_or_else(|| IpAddr::from([127, 0, 0, 2]));
        let client = client(ip, port);
        for (what, message, records) in queries() {
            // The first of a kind may open a counter.
            for _ in 0..3 {
                exchange(&client, &message, records);
            }
            // What the upstream was asked for may still be tidied up.
            let mut seen = Vec::new();
            let is_none = (0..5).any(|_| {
                let region = Region::new(ALLOCATOR);
                for _ in 0..200 {
                    exchange(&client, &message, records);
                }
                let change = region.change();
                let is_none = (change.allocations, change.reallocations) == (0, 0);
                seen.push(change);
                is_none
            });
            assert!(is_none, "{what} from {ip}: {seen:?}");
        }
    }
    assert_eq!(upstream.count(), 2, "one question without OPT, one with DO");
    assert!(runtime.block_on(server.shut_down(Duration::from_secs(5))));
}

/// Kinds of ordinary queries, and how many records each is answered with.
fn queries() -> Vec<(&'static str, Vec<u8>, u8)> {
    let opt = [0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 12, 0, 10, 0, 8];
    let opt = [&opt[..], &[7; 8]].concat();
    vec![
        ("address", query(b"\x01a\x04test\x00", 1, &[]), 1),
        ("address with OPT", query(b"\x01A\x04tEst\x00", 1, &opt), 1),
        ("IPv6 addresses", query(b"\x01a\x04test\x00", 28, &[]), 2),
        ("wildcard", query(b"\x01x\x04wild\x04test\x00", 1, &[]), 1),
        ("no data", query(b"\x01a\x04test\x00", 16, &[]), 0),
        ("no name", query(b"\x02no\x04test\x00", 1, &opt), 0),
        ("any", query(b"\x01a\x04test\x00", 255, &[]), 1),
        ("from the cache", query(b"\x01a\x07example\x00", 1, &[]), 1),
        ("with OPT", query(b"\x01A\x07example\x00", 1, &opt), 1),
        (
            "no query",
            b"\x00\x07\x01\x00\x00\x02\0\0\0\0\0\0".to_vec(),
            0,
        ),
    ]
}

/// A query for a name in wire form, with an OPT if there is one.
fn query(qname: &[u8], qtype: u8, opt: &[u8]) -> Vec<u8> {
    let additional = u8::from(!opt.is_empty());
    let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, additional];
    [&header[..], qname, &[0, qtype, 0, 1], opt].concat()
}

/// Asks and hears so many records.
fn exchange(client: &UdpSocket, message: &[u8], records: u8) {
    let mut buffer = [0; 1232];
    client.send(message).expect("the query is sent");
    let length = client.recv(&mut buffer).expect("a response comes");
    assert!(length >= 12);
    assert_eq!(buffer[6..8], [0, records]);
}

/// A client of the server at this address.
fn client(ip: IpAddr, port: u16) -> UdpSocket {
    let any = match ip {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    let socket = UdpSocket::bind((any, 0)).expect("a port is free");
    let server = SocketAddr::from((ip, port));
    socket.connect(server).expect("the server has an address");
    let timeout = Some(Duration::from_secs(5));
    socket
        .set_read_timeout(timeout)
        .expect("sockets have timeouts");
    socket
}

/// Where to listen.
fn listener(ip: Option<IpAddr>, port: u16) -> ListenAddr {
    ListenAddr { ip, scope: 0, port }
}

/// A resolver with a cache that asks one upstream.
async fn resolver(upstream: &FakeUpstream) -> Resolver {
    let families =
        portolan_forward::Families::register(&Registry::new()).expect("the registry is empty");
    let context = Context::new(TaskTracker::new(), CancellationToken::new(), families);
    let config = Config {
        upstreams: vec![UpstreamConfig::Addr(upstream.addr())],
        ..Config::default()
    };
    let stanza = Forward::build(config, &context).await;
    let stanza = stanza.expect("the upstream has an address");
    let cache = Cache::new(CacheConfig::default(), &CacheLabels::default(), &context);
    Resolver::new(Some(cache), vec![stanza], &context)
}

/// One block for all names, with metrics: those of one zone are local.
fn routing(families: &Families, resolver: &Resolver, port: u16) -> Routing {
    let layer = LocalLayer {
        layer: LAYER,
        plugin: "hosts",
        zones: vec!["test".parse().expect("a name")],
        fallthrough: Fallthrough::Never,
        fallthrough_unsupported: false,
        unknown: UnknownAction::NxDomain,
        unknown_ptr_falls_through: false,
        negative_ttl: 5,
    };
    let block = Block {
        zone: Name::root(),
        local: vec![layer],
        resolver: Some(resolver.clone()),
        whoami: false,
        loadbalance: None,
        hooks: Hooks {
            metrics: Some(families.block(&format!("dns://:{port}"), ".")),
            ..Hooks::default()
        },
    };
    Routing::new([(Name::root(), Arc::new(block))], None)
}

/// A table of a few names.
fn table() -> Arc<Table> {
    let table = Arc::new(Table::new());
    let mut builder = Builder::new(Arc::clone(&table));
    builder.add_layer(LAYER, LayerOptions::default());
    let row = |owner: &str, address: &str| Row {
        owner: owner.parse().expect("the names here are names"),
        rdata: match address.parse().expect("the addresses here are addresses") {
            IpAddr::V4(v4) => Rdata::A(v4),
            IpAddr::V6(v6) => Rdata::Aaaa(v6),
        },
        ttl: 60,
    };
    builder.apply(Change {
        layer: LAYER,
        source: Source::Inline,
        rows: vec![
            row("a.test", "192.0.2.1"),
            row("a.test", "2001:db8::1"),
            row("a.test", "2001:db8::2"),
            row("*.wild.test", "192.0.2.2"),
        ],
    });
    builder.publish();
    table
}

/// The only layer.
const LAYER: LayerId = LayerId(0);

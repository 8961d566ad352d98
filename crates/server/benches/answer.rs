//! What one local answer costs in user space, at four sizes of the table:
//! from the octets of a query to those of its response, metrics included, in
//! batches of 32, names in an order that has nothing to do with the table's.
//! The names have an IPv4 address each; half of all clients ask for IPv6
//! addresses too, and hear that there are none.
//!
//! `--count SIZE ANSWERS` gives so many answers and no figures: two such runs
//! under callgrind differ by the instructions of the answers.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_server::Block;
use portolan_server::Fallthrough;
use portolan_server::Families;
use portolan_server::Hooks;
use portolan_server::LocalLayer;
use portolan_server::Responder;
use portolan_server::Routing;
use portolan_server::UnknownAction;
use portolan_table::Builder;
use portolan_table::Change;
use portolan_table::LayerId;
use portolan_table::LayerOptions;
use portolan_table::Row;
use portolan_table::Source;
use portolan_table::Table;
use prometheus::Registry;

/// Prints the measurements.
#[expect(
    clippy::print_stdout,
    reason = "a benchmark reports on standard output"
)]
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, size, count, ..] = &arguments[..]
        && flag == "--count"
    {
        let size = size.parse().expect("the size is a number");
        let count = count.parse().expect("the count is a number");
        answer(&mut responder(size), &queries(size, Kind::Address), count);
        return;
    }
    println!("{:>12}{:>12}{:>12}", "names", "address ns", "no data ns");
    let sizes = [1_000, 10_000, 100_000, 1_000_000];
    let filled: BTreeMap<u32, _> = sizes.iter().map(|&size| (size, responder(size))).collect();
    for (size, mut responder) in filled {
        let [address, no_data] = [Kind::Address, Kind::NoData].map(|kind| {
            let queries = queries(size, kind);
            let least = (0..ROUNDS)
                .map(|_| {
                    let start = now();
                    answer(&mut responder, &queries, ANSWERS);
                    start.elapsed()
                })
                .min()
                .unwrap_or(Duration::ZERO);
            let count = f64::from(u32::try_from(ANSWERS).unwrap_or(u32::MAX));
            least.as_secs_f64() * 1e9 / count
        });
        println!("{size:>12}{address:>12.1}{no_data:>12.1}");
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
enum Kind {
    /// What the names have.
    Address,
    /// What they do not have.
    NoData,
}

/// Gives so many answers.
fn answer(responder: &mut Responder, queries: &[Vec<u8>], count: usize) {
    let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
    let mut rest = queries.iter().map(Vec::as_slice).cycle().take(count);
    let mut octets = 0;
    for _ in 0..count.div_ceil(BATCH) {
        let mut messages = [&[][..]; BATCH];
        let arrived = messages.iter_mut().zip(&mut rest);
        let arrived = arrived.map(|(slot, message)| *slot = message).count();
        let messages = messages.get(..arrived).unwrap_or_default();
        responder.respond(messages, client, |response| {
            // One answer, or the SOA that says no.
            assert!(matches!(
                response.get(6..10),
                Some([0, 1, 0, 0] | [0, 0, 0, 1])
            ));
            octets += black_box(response).len();
        });
    }
    assert!(octets > count);
}

/// A server of so many names.
fn responder(size: u32) -> Responder {
    let table = Arc::new(Table::new());
    let mut builder = Builder::new(Arc::clone(&table));
    builder.add_layer(LAYER, LayerOptions::default());
    let rows = (0..size).map(|number| Row {
        owner: owner(number).parse().expect("the names here are names"),
        rdata: Rdata::A(Ipv4Addr::from(0x0a00_0000 + number)),
        ttl: 60,
    });
    builder.apply(Change {
        layer: LAYER,
        source: Source::Inline,
        rows: rows.collect(),
    });
    builder.publish();
    let families = Families::register(&Registry::new()).expect("the registry is empty");
    let layer = LocalLayer {
        layer: LAYER,
        plugin: "hosts",
        zones: vec![Name::root()],
        fallthrough: Fallthrough::Never,
        fallthrough_unsupported: false,
        unknown: UnknownAction::NxDomain,
        unknown_ptr_falls_through: false,
        negative_ttl: 5,
    };
    let block = Block {
        zone: Name::root(),
        local: vec![layer],
        resolver: None,
        whoami: false,
        loadbalance: None,
        hooks: Hooks {
            metrics: Some(families.block("dns://:53", ".")),
            ..Hooks::default()
        },
    };
    let routing = Routing::new([(Name::root(), Arc::new(block))], None);
    Responder::new(table, families, routing)
}

/// A query for each name.
fn queries(size: u32, kind: Kind) -> Vec<Vec<u8>> {
    let qtype = match kind {
        Kind::Address => 1,
        Kind::NoData => 28,
    };
    (0..size)
        .map(|number| {
            // A prime, and no divisor of the sizes: each name comes once.
            let number = u64::from(number) * 7919 % u64::from(size);
            let mut query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0".to_vec();
            for label in owner(u32::try_from(number).unwrap_or(0)).split('.') {
                query.push(u8::try_from(label.len()).unwrap_or(0));
                query.extend_from_slice(label.as_bytes());
            }
            query.extend_from_slice(&[0, 0, qtype, 0, 1]);
            query
        })
        .collect()
}

/// A name.
fn owner(number: u32) -> String {
    format!("host{number:07}.bench.example.org")
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// The only layer.
const LAYER: LayerId = LayerId(0);

/// Queries in a batch.
const BATCH: usize = 32;

/// Answers in a round.
const ANSWERS: usize = 1_000_000;

/// Rounds.
const ROUNDS: usize = 9;

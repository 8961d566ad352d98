//! What a look-up, a change, a build and a name cost, at four sizes of the
//! table.
//!
//! Plain and quick: the best of some rounds, in one thread. Memory is the
//! growth of the resident set while the table is filled as hosts files fill
//! it, what the builder keeps included. A batch is of 32 names that are found
//! together.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_proto::Rtype;
use portolan_table::Builder;
use portolan_table::Change;
use portolan_table::Holdings;
use portolan_table::LayerId;
use portolan_table::LayerOptions;
use portolan_table::Lookup;
use portolan_table::Row;
use portolan_table::Source;
use portolan_table::Table;

/// Prints the measurements.
#[expect(
    clippy::print_stdout,
    reason = "a benchmark reports on standard output"
)]
fn main() {
    let columns = [
        "names",
        "bytes/name",
        "hit ns",
        "batch ns",
        "miss ns",
        "wildcard ns",
        "load ns",
        "change us",
        "build ms",
    ];
    println!("{}", columns.map(|column| format!("{column:>12}")).concat());
    // All tables are kept until the end, so that the memory of one is not
    // taken for the next.
    let mut filled: BTreeMap<u32, Filled> = SIZES.iter().map(|&size| (size, fill(size))).collect();
    for (size, filled) in &mut filled {
        let cells = [
            f64::from(*size),
            filled.bytes_per_name,
            lookup(filled, &shuffled(*size, host), is_answer),
            batch(filled, &shuffled(*size, host)),
            lookup(
                filled,
                &shuffled(*size, |number| name(&format!("no{number}.example.net"))),
                is_unknown,
            ),
            lookup(
                filled,
                &shuffled(*size, |number| name(&format!("x{number}.wild.example.org"))),
                is_answer,
            ),
            load(filled),
            change(filled),
            filled.build,
        ];
        println!("{}", cells.map(|cell| format!("{cell:>12.1}")).concat());
    }
}

/// A table with names.
struct Filled {
    /// The table.
    table: Arc<Table>,
    /// Its builder.
    builder: Builder,
    /// Memory for each name.
    bytes_per_name: f64,
    /// Milliseconds that the names took, published by the thousand.
    build: f64,
}

/// Fills a table with names of one address each, and one wildcard.
fn fill(size: u32) -> Filled {
    let before = resident();
    let table = Arc::new(Table::new());
    let mut builder = Builder::new(Arc::clone(&table));
    builder.add_layer(LAYER, LayerOptions::default());
    let numbers: Vec<u32> = (0..size).collect();
    let start = now();
    for chunk in numbers.chunks(1_000) {
        let first = chunk.first().copied().unwrap_or_default();
        builder.apply(Change {
            layer: LAYER,
            source: Source::HostsFile(format!("/etc/hosts.d/{first}").into()),
            rows: chunk
                .iter()
                .map(|&number| address(host(number), number))
                .collect(),
        });
        builder.publish();
    }
    let build = nanoseconds(start.elapsed()) / 1e6;
    drop(numbers);
    let bytes_per_name = f64::from(resident().saturating_sub(before)) * 1024.0 / f64::from(size);
    builder.apply(Change {
        layer: LAYER,
        source: Source::Inline,
        rows: vec![address(name("*.wild.example.org"), 0)],
    });
    builder.publish();
    Filled {
        table,
        builder,
        bytes_per_name,
        build,
    }
}

/// Nanoseconds of one lookup.
fn lookup(filled: &Filled, qnames: &[Name], is_expected: fn(&Lookup<'_>) -> bool) -> f64 {
    let snapshot = filled.table.load();
    least(|| {
        let start = now();
        for qname in qnames.iter().cycle().take(LOOKUPS) {
            let found = snapshot.lookup(LAYER, black_box(qname.as_wire()), Rtype::A);
            assert!(is_expected(black_box(&found)));
        }
        nanoseconds(start.elapsed()) / per(LOOKUPS)
    })
}

/// Nanoseconds of one lookup among those of a batch.
fn batch(filled: &Filled, qnames: &[Name]) -> f64 {
    let snapshot = filled.table.load();
    least(|| {
        let start = now();
        let mut count = 0;
        for qnames in qnames.chunks(BATCH).cycle().take(LOOKUPS / BATCH) {
            let mut wires = [&[][..]; BATCH];
            for (wire, qname) in wires.iter_mut().zip(qnames) {
                *wire = black_box(qname.as_wire());
            }
            let wires = wires.get(..qnames.len()).unwrap_or_default();
            let mut holdings = [Holdings::default(); BATCH];
            snapshot.find_all(wires, &mut holdings);
            for (qname, holdings) in wires.iter().zip(holdings) {
                let found = snapshot.lookup_in(holdings, LAYER, qname, Rtype::A);
                assert!(is_answer(black_box(&found)));
            }
            count += qnames.len();
        }
        nanoseconds(start.elapsed()) / per(count)
    })
}

/// Nanoseconds of taking the current snapshot and giving it back.
fn load(filled: &Filled) -> f64 {
    least(|| {
        let start = now();
        for _ in 0..LOOKUPS {
            black_box(filled.table.load().serial());
        }
        nanoseconds(start.elapsed()) / per(LOOKUPS)
    })
}

/// Microseconds of a container that comes or goes, until readers see it.
fn change(filled: &mut Filled) -> f64 {
    least(|| {
        let start = now();
        for number in 0..CHANGES {
            for rows in [vec![address(container(number), number)], Vec::new()] {
                filled.builder.apply(Change {
                    layer: LAYER,
                    source: Source::Container {
                        member: "local".into(),
                        id: number.to_string().into(),
                        name: "web".into(),
                    },
                    rows,
                });
                assert!(filled.builder.publish());
            }
        }
        nanoseconds(start.elapsed()) / f64::from(CHANGES) / 2.0 / 1_000.0
    })
}

/// The least of some measurements: what else the machine does only adds.
fn least(measure: impl FnMut() -> f64) -> f64 {
    std::iter::repeat_with(measure)
        .take(ROUNDS)
        .fold(f64::INFINITY, f64::min)
}

/// Names in an order that has nothing to do with the table's.
fn shuffled(size: u32, name: impl Fn(u32) -> Name) -> Vec<Name> {
    // 7919 is prime and no divisor of the sizes: each number comes once.
    (0..size)
        .map(|number| name(u32::try_from(u64::from(number) * 7919 % u64::from(size)).unwrap_or(0)))
        .collect()
}

/// The name of a host.
fn host(number: u32) -> Name {
    name(&format!("host{number:06}.example.org"))
}

/// The name of a container, which no host has.
fn container(number: u32) -> Name {
    name(&format!("web{number}.example.org"))
}

/// A name from text.
fn name(text: &str) -> Name {
    text.parse().expect("the names here are names")
}

/// A row with an address.
fn address(owner: Name, number: u32) -> Row {
    Row {
        owner,
        rdata: Rdata::A(Ipv4Addr::from(0x0a00_0000 + number)),
        ttl: 60,
    }
}

/// Whether a lookup found addresses.
fn is_answer(found: &Lookup<'_>) -> bool {
    matches!(found, Lookup::Answer(_))
}

/// Whether a lookup found nothing.
fn is_unknown(found: &Lookup<'_>) -> bool {
    matches!(found, Lookup::Unknown)
}

/// Memory in use, in KiB.
fn resident() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// A span of time in nanoseconds.
fn nanoseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e9
}

/// A count to divide by.
fn per(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The layer of all names.
const LAYER: LayerId = LayerId(0);

/// Names in the tables.
const SIZES: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Lookups in one round.
const LOOKUPS: usize = 200_000;

/// Names that are looked up together.
const BATCH: usize = 32;

/// Containers in one round.
const CHANGES: u32 = 500;

/// Rounds of each measurement.
const ROUNDS: usize = 25;

//! Merging, publishing, and what it costs.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use portolan_proto::Rdata;
use portolan_proto::Rtype;

use super::*;
use crate::Lookup;
use crate::MAX_VALUES;
use crate::Reason;
use crate::Row;

#[test]
fn the_union_of_all_sources_is_answered_under_the_smallest_ttl() {
    let (table, mut builder) = table();
    builder.apply(container(
        "one",
        &[
            ("a.example", "192.0.2.2", 60),
            ("a.example", "192.0.2.1", 60),
        ],
    ));
    builder.apply(container(
        "two",
        &[
            ("a.example", "192.0.2.2", 30),
            ("a.example", "192.0.2.3", 90),
        ],
    ));
    builder.publish();
    assert_eq!(addresses(&table, "a.example"), (vec![1, 2, 3], 30));

    builder.apply(container("two", &[]));
    builder.publish();
    assert_eq!(addresses(&table, "a.example"), (vec![1, 2], 60));

    builder.apply(container("one", &[]));
    builder.publish();
    assert_eq!(addresses(&table, "a.example"), (vec![], 0));
}

#[test]
fn a_value_that_a_source_gives_twice_stands_once_under_its_smallest_ttl() {
    let (_, mut builder) = table();
    builder.apply(container(
        "one",
        &[
            ("a.example", "192.0.2.1", 60),
            ("a.example", "192.0.2.2", 60),
            ("a.example", "192.0.2.1", 5),
        ],
    ));
    builder.publish();
    let rows = builder.explain(&name("a.example")).into_iter();
    let rows: Vec<(Rdata, u32)> = rows.map(|row| (row.rdata, row.ttl)).collect();
    let address = |last| Rdata::A([192, 0, 2, last].into());
    assert_eq!(rows, [(address(1), 5), (address(2), 60)]);
}

#[test]
fn an_alias_beside_an_address_is_hidden_until_the_address_goes() {
    let (table, mut builder) = table();
    builder.apply(container("one", &[("a.example", "x.example.", 60)]));
    builder.apply(container("two", &[("a.example", "192.0.2.1", 60)]));
    builder.publish();
    assert_eq!(addresses(&table, "a.example"), (vec![1], 60));
    let reasons: Vec<_> = explained(&builder, "a.example");
    assert_eq!(
        reasons,
        [
            ("container two (two) on local".to_owned(), None),
            (
                "container one (one) on local".to_owned(),
                Some(Reason::CnameBesideOtherData)
            ),
        ]
    );
    assert_eq!(builder.figures().hidden, 1);

    builder.apply(container("two", &[]));
    builder.publish();
    let snapshot = table.load();
    let found = snapshot.lookup(LAYER, name("a.example").as_wire(), Rtype::A);
    assert!(matches!(found, Lookup::Cname(_)), "{found:?}");
    assert_eq!(builder.figures().hidden, 0);
}

#[test]
fn the_smallest_of_several_aliases_is_answered() {
    let (table, mut builder) = table();
    builder.apply(container("one", &[("a.example", "y.example.", 10)]));
    builder.apply(container("two", &[("a.example", "x.example.", 60)]));
    builder.publish();
    let snapshot = table.load();
    let Lookup::Cname(rrset) = snapshot.lookup(LAYER, name("a.example").as_wire(), Rtype::A) else {
        panic!("no alias");
    };
    assert_eq!(rrset.target(), Some((&name("x.example")).into()));
    assert_eq!((rrset.len(), rrset.ttl()), (1, 60));
    let reasons: Vec<_> = explained(&builder, "a.example");
    assert_eq!(reasons[1].1, Some(Reason::SeveralCnames));
}

#[test]
fn an_rrset_is_bounded_and_the_rest_is_counted() {
    let (table, mut builder) = table();
    let rows: Vec<Row> = (0..200u8)
        .rev()
        .map(|last| row("a.example", &format!("192.0.2.{last}"), 60))
        .collect();
    builder.apply(Change {
        rows,
        ..container("one", &[])
    });
    builder.publish();
    let (values, _) = addresses(&table, "a.example");
    assert_eq!(values.len(), MAX_VALUES);
    assert!(values.is_sorted());
    assert_eq!(values.first(), Some(&0));
    assert_eq!(builder.figures().hidden, 200 - MAX_VALUES);
    let hidden = builder.explain(&name("a.example"));
    let hidden = hidden
        .iter()
        .filter(|row| row.hidden == Some(Reason::RrsetFull));
    assert_eq!(hidden.count(), 200 - MAX_VALUES);
}

#[test]
fn ten_thousand_changes_are_one_swap() {
    let (table, mut builder) = table();
    for number in 0..10_000 {
        let owner = format!("host{number}.example");
        builder.apply(container(&number.to_string(), &[(&owner, "192.0.2.1", 60)]));
    }
    let before = table.load().serial();
    assert!(builder.publish());
    assert_eq!(table.load().serial(), before + 1);
    assert_eq!(builder.figures().names, 10_000);
    assert_eq!(addresses(&table, "host9999.example"), (vec![1], 60));
}

#[test]
fn one_change_copies_one_shard() {
    let (table, mut builder) = table();
    let owners: Vec<String> = (0..20_000).map(|n| format!("host{n}.example")).collect();
    let rows: Vec<_> = owners
        .iter()
        .map(|o| (o.as_str(), "192.0.2.1", 60))
        .collect();
    builder.apply(container("many", &rows));
    builder.publish();
    let before = table.load_full();
    for (source, owner, address) in [
        ("one", "host7.example", "192.0.2.9"),
        ("two", "new.example", "192.0.2.9"),
    ] {
        let before = table.load_full();
        builder.apply(container(source, &[(owner, address, 60)]));
        assert!(builder.publish());
        let after = table.load_full();
        assert_eq!(before.shards_apart(&after), 1, "{owner}");
        assert_eq!(before.blocks_apart(&after), (1, 1), "{owner}");
    }
    assert!(before.shards_apart(&table.load()) <= 2);
}

#[test]
fn one_row_of_many_changed_copies_one_shard() {
    let (table, mut builder) = table();
    let owners: Vec<String> = (0..5_000).map(|n| format!("host{n}.example")).collect();
    let mut rows: Vec<_> = owners
        .iter()
        .map(|o| (o.as_str(), "192.0.2.1", 60))
        .collect();
    builder.apply(container("many", &rows));
    builder.publish();
    let before = table.load_full();
    rows.last_mut().unwrap().1 = "192.0.2.2";
    builder.apply(container("many", &rows));
    assert!(builder.publish());
    assert_eq!(before.shards_apart(&table.load()), 1);
}

#[test]
fn changes_that_amount_to_nothing_are_no_swap() {
    let (table, mut builder) = table();
    let one = container("one", &[("a.example", "192.0.2.1", 60)]);
    builder.apply(one.clone());
    assert!(builder.publish());
    let before = table.load_full();

    builder.apply(one.clone());
    assert!(!builder.publish());
    // The same again, from a source more.
    builder.apply(container("two", &[("a.example", "192.0.2.1", 60)]));
    assert!(!builder.publish());
    // Gone and back.
    builder.apply(container("one", &[]));
    builder.apply(container("two", &[]));
    builder.apply(one);
    assert!(!builder.publish());
    assert!(Arc::ptr_eq(&before, &table.load()));
    assert!(!builder.publish());
}

#[test]
fn a_removed_layer_takes_its_rows_with_it_and_stays_away() {
    let (table, mut builder) = table();
    let other = LayerId(7);
    builder.add_layer(other, LayerOptions::default());
    let one = container(
        "one",
        &[
            ("a.example", "192.0.2.1", 60),
            ("*.b.example", "192.0.2.1", 60),
        ],
    );
    builder.apply(one.clone());
    builder.apply(Change {
        layer: other,
        ..one.clone()
    });
    builder.publish();
    builder.remove_layer(LAYER);
    assert!(!builder.apply(one.clone()));
    assert!(builder.publish());
    let snapshot = table.load();
    for owner in ["a.example", "x.b.example", "example", "."] {
        let found = snapshot.lookup(LAYER, name(owner).as_wire(), Rtype::A);
        assert_eq!(found, Lookup::Unknown, "{owner}");
    }
    let found = snapshot.lookup(other, name("x.b.example").as_wire(), Rtype::A);
    assert!(matches!(found, Lookup::Answer(_)), "{found:?}");
    assert_eq!(builder.figures().rows, 2);

    builder.add_layer(LAYER, LayerOptions::default());
    assert!(builder.apply(one));
    builder.publish();
    assert_eq!(addresses(&table, "x.b.example"), (vec![1], 60));
}

#[test]
fn the_options_of_a_layer_can_change() {
    let (table, mut builder) = table();
    builder.apply(container("one", &[("*.example", "192.0.2.1", 60)]));
    builder.publish();
    assert_eq!(addresses(&table, "b.a.example"), (vec![1], 60));
    let wildcard_depth = crate::WildcardDepth::One;
    builder.add_layer(LAYER, LayerOptions { wildcard_depth });
    assert!(builder.publish());
    assert_eq!(addresses(&table, "b.a.example"), (vec![], 0));
    assert_eq!(addresses(&table, "a.example"), (vec![1], 60));
}

#[test]
fn figures_tell_names_rows_and_sources() {
    let (_table, mut builder) = table();
    builder.apply(container(
        "one",
        &[
            ("a.example", "192.0.2.1", 60),
            ("b.example", "192.0.2.1", 60),
        ],
    ));
    builder.apply(container("two", &[("a.example", "192.0.2.1", 60)]));
    builder.publish();
    let figures = builder.figures();
    assert_eq!((figures.names, figures.rows, figures.sources), (2, 3, 2));
    let layer = figures.layers.first().unwrap();
    assert_eq!((layer.layer, layer.names, layer.rows), (LAYER, 2, 3));
    builder.apply(container("one", &[]));
    builder.apply(container("two", &[]));
    builder.publish();
    let figures = builder.figures();
    assert_eq!((figures.names, figures.rows, figures.sources), (0, 0, 0));
}

#[test]
fn names_of_one_place_are_told_apart() {
    let (table, mut builder) = table();
    let [left, right] = names_of_one_place(&table.load());
    let (left, right) = (left.as_str(), right.as_str());
    builder.apply(container(
        "one",
        &[(left, "192.0.2.1", 60), (right, "192.0.2.2", 60)],
    ));
    builder.apply(container("two", &[(right, "192.0.2.3", 60)]));
    builder.publish();
    assert_eq!(addresses(&table, left), (vec![1], 60));
    assert_eq!(addresses(&table, right), (vec![2, 3], 60));

    builder.apply(container("one", &[(left, "192.0.2.1", 60)]));
    builder.publish();
    assert_eq!(addresses(&table, left), (vec![1], 60));
    assert_eq!(addresses(&table, right), (vec![3], 60));

    builder.apply(container("one", &[(right, "192.0.2.4", 60)]));
    builder.publish();
    assert_eq!(addresses(&table, left), (vec![], 0));
    assert_eq!(addresses(&table, right), (vec![3, 4], 60));

    builder.apply(container("one", &[]));
    builder.apply(container("two", &[]));
    builder.publish();
    assert_eq!(addresses(&table, left), (vec![], 0));
    assert_eq!(addresses(&table, right), (vec![], 0));
    assert_eq!(builder.figures().names, 0);
}

#[test]
fn a_name_that_thousands_assert_is_written_once_for_all_of_them() {
    let (table, mut builder) = table();
    let shared = |number: u32| {
        let values = [
            ("a.example", "192.0.2.1", 60),
            ("b.example", "192.0.2.1", 60),
        ];
        container(&format!("c{number}"), &values)
    };
    // One after another, these would be 100 million claims to write.
    for number in 0..10_000 {
        builder.apply(shared(number));
    }
    builder.publish();
    assert_eq!(addresses(&table, "a.example"), (vec![1], 60));
    assert_eq!(builder.figures().rows, 20_000);
    // What is applied last counts, also of one source.
    for number in 0..9_999 {
        builder.apply(shared(number));
        builder.apply(container(&format!("c{number}"), &[]));
    }
    builder.publish();
    assert_eq!(addresses(&table, "b.example"), (vec![1], 60));
    assert_eq!(builder.figures().rows, 2);
    assert_eq!(builder.figures().sources, 1);
}

#[test]
fn rows_are_explained_as_they_were_asserted() {
    let (_table, mut builder) = table();
    // One source alone, then two with different TTLs, then one again.
    let one = container("one", &[("a.example", "192.0.2.1", u32::MAX)]);
    let two = container(
        "two",
        &[
            ("a.example", "192.0.2.1", 30),
            ("a.example", "192.0.2.2", 60),
        ],
    );
    let ttls = |builder: &Builder| -> Vec<(String, u32)> {
        let rows = builder.explain(&name("a.example")).into_iter();
        rows.map(|row| (row.source.to_string(), row.ttl)).collect()
    };
    let (first, second) = (
        "container one (one) on local",
        "container two (two) on local",
    );
    builder.apply(one);
    builder.publish();
    assert_eq!(ttls(&builder), [(first.to_owned(), u32::MAX)]);
    builder.apply(two);
    builder.publish();
    let both = [(first, u32::MAX), (second, 30), (second, 60)];
    assert_eq!(
        ttls(&builder),
        both.map(|(source, ttl)| (source.to_owned(), ttl))
    );
    builder.apply(container("one", &[]));
    builder.publish();
    let rest = [(second, 30), (second, 60)];
    assert_eq!(
        ttls(&builder),
        rest.map(|(source, ttl)| (source.to_owned(), ttl))
    );
}

#[test]
fn snapshots_that_nobody_reads_are_freed() {
    let (table, mut builder) = table();
    let held = table.load_full();
    for last in 0..10 {
        builder.apply(container(
            "one",
            &[("a.example", &format!("192.0.2.{last}"), 60)],
        ));
        assert!(builder.publish());
        assert_eq!(builder.retired.len(), 1);
    }
    drop(held);
    builder.reclaim();
    assert_eq!(builder.retired.len(), 0);
}

#[test]
fn snapshots_that_readers_do_not_let_go_of_are_bounded() {
    let (table, mut builder) = table();
    let mut held = Vec::new();
    for last in 0..200 {
        held.push(table.load_full());
        builder.apply(container(
            "one",
            &[("a.example", &format!("192.0.2.{last}"), 60)],
        ));
        builder.publish();
        assert!(builder.retired.len() <= MAX_RETIRED);
    }
}

#[test]
fn readers_see_all_of_a_change_or_nothing() {
    let (table, mut builder) = table();
    // The source moves between two sets of values of two names; whoever reads
    // sees one of the sets, and in both names the same one.
    let sets: [&[u8]; 2] = [&[1, 2, 3, 4, 5], &[11, 12, 13]];
    let change = |set: &[u8]| {
        let rows = set.iter().flat_map(|last| {
            let value = format!("192.0.2.{last}");
            ["a.example", "b.other.example"].map(|owner| row(owner, &value, 60))
        });
        Change {
            rows: rows.collect(),
            ..container("one", &[])
        }
    };
    builder.apply(change(sets[0]));
    builder.publish();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = [false; 2];
                    while !done.load(Ordering::Relaxed) || seen == [false; 2] {
                        let snapshot = table.load();
                        let first = octets(&snapshot, "a.example").0;
                        let second = octets(&snapshot, "b.other.example").0;
                        assert_eq!(first, second);
                        let index = sets.iter().position(|set| *set == first).unwrap();
                        seen[index] = true;
                    }
                })
            })
            .collect();
        for round in 0..5_000 {
            builder.apply(change(sets[(round + 1) % 2]));
            assert!(builder.publish());
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

/// Two names that a table keeps in one place.
fn names_of_one_place(snapshot: &Snapshot) -> [String; 2] {
    let mut names = BTreeMap::new();
    for number in 0..1_000_000 {
        let text = format!("host{number}.example");
        let place = snapshot.place(name(&text).as_wire());
        if let Some(other) = names.insert(place, text.clone()) {
            return [other, text];
        }
    }
    panic!("a million names have a million places of {}", 1 << 28);
}

/// The layer of these tests.
const LAYER: LayerId = LayerId(3);

/// A table of one layer, and its builder.
fn table() -> (Arc<Table>, Builder) {
    let table = Arc::new(Table::new());
    let mut builder = Builder::new(Arc::clone(&table));
    builder.add_layer(LAYER, LayerOptions::default());
    (table, builder)
}

/// What a container asserts.
fn container(id: &str, rows: &[(&str, &str, u32)]) -> Change {
    Change {
        layer: LAYER,
        source: Source::Container {
            member: "local".into(),
            id: id.into(),
            name: id.into(),
        },
        rows: rows
            .iter()
            .map(|&(owner, value, ttl)| row(owner, value, ttl))
            .collect(),
    }
}

/// A row with an address or an alias.
fn row(owner: &str, value: &str, ttl: u32) -> Row {
    Row {
        owner: name(owner),
        rdata: match value.parse() {
            Ok(address) => Rdata::A(address),
            Err(_) => Rdata::Cname(name(value)),
        },
        ttl,
    }
}

/// A name.
fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Who asserts the values of a name, and why they are hidden.
fn explained(builder: &Builder, owner: &str) -> Vec<(String, Option<Reason>)> {
    let rows = builder.explain(&name(owner)).into_iter();
    rows.map(|row| (row.source.to_string(), row.hidden))
        .collect()
}

/// The last octets of a name's addresses, and their TTL.
fn addresses(table: &Table, owner: &str) -> (Vec<u8>, u32) {
    octets(&table.load(), owner)
}

/// The last octets of a name's addresses in a snapshot, and their TTL.
fn octets(snapshot: &Snapshot, owner: &str) -> (Vec<u8>, u32) {
    match snapshot.lookup(LAYER, name(owner).as_wire(), Rtype::A) {
        Lookup::Answer(rrset) => {
            let records = (0..rrset.len()).map(|index| rrset.record(index));
            let last = records.map(|record| *record.last().unwrap());
            (last.collect(), rrset.ttl())
        }
        _ => (Vec::new(), 0),
    }
}

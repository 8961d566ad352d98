//! Lookups by the text of RFC 4592, and where layers differ from it.

use std::sync::Arc;

use portolan_proto::Name;
use portolan_proto::Rdata;

use super::*;
use crate::Builder;
use crate::Change;
use crate::LayerOptions;
use crate::Row;
use crate::Source;
use crate::Table;

#[test]
fn the_example_of_rfc_4592_is_answered_as_it_says() {
    // RFC 4592 §2.2.1, with the types that sources can assert.
    let snapshot = snapshot(
        WildcardDepth::Any,
        &[
            ("example", "192.0.2.1"),
            ("*.example", "192.0.2.2"),
            ("sub.*.example", "192.0.2.3"),
            ("host1.example", "192.0.2.4"),
            ("_ssh._tcp.host1.example", "192.0.2.5"),
            ("_ssh._tcp.host2.example", "192.0.2.6"),
        ],
    );
    for (qname, qtype, expected) in [
        ("host3.example", Rtype::A, "192.0.2.2"),
        ("host3.example", Rtype::MX, "nodata"),
        ("foo.bar.example", Rtype::A, "192.0.2.2"),
        ("*.example", Rtype::A, "192.0.2.2"),
        ("host1.example", Rtype::MX, "nodata"),
        ("sub.*.example", Rtype::MX, "nodata"),
        ("_telnet._tcp.host1.example", Rtype::A, "unknown"),
        ("_telnet._tcp.host2.example", Rtype::A, "unknown"),
        ("ghost.*.example", Rtype::A, "unknown"),
        ("host2.example", Rtype::A, "empty, under wildcard"),
        ("_tcp.host2.example", Rtype::A, "empty, under wildcard"),
        // host1.example holds data: without the name below it, it and not the
        // wildcard would be found.
        ("_tcp.host1.example", Rtype::A, "empty"),
        ("host3.example", Rtype::ANY, "any"),
        ("example", Rtype::ANY, "any"),
        ("org", Rtype::A, "unknown"),
        (".", Rtype::A, "empty"),
    ] {
        assert_eq!(found(&snapshot, qname, qtype), expected, "{qname} {qtype}");
    }
}

#[test]
fn a_wildcard_of_depth_one_matches_one_label() {
    let rows = [
        ("*.example", "192.0.2.1"),
        ("a.example", "192.0.2.2"),
        ("x.y.b.example", "192.0.2.3"),
    ];
    let snapshot = snapshot(WildcardDepth::One, &rows);
    for (qname, expected) in [
        ("c.example", "192.0.2.1"),
        ("a.example", "192.0.2.2"),
        ("d.c.example", "unknown"),
        ("example", "empty"),
        ("b.example", "empty, under wildcard"),
        ("y.b.example", "empty"),
        ("d.a.example", "unknown"),
        ("*.example", "192.0.2.1"),
    ] {
        assert_eq!(found(&snapshot, qname, Rtype::A), expected, "{qname}");
    }
}

#[test]
fn an_alias_is_found_for_every_type_but_its_own() {
    let rows = [("a.example", "t.example."), ("*.w.example", "t.example.")];
    let snapshot = snapshot(WildcardDepth::Any, &rows);
    for qname in ["a.example", "b.w.example", "c.b.w.example"] {
        for qtype in [Rtype::A, Rtype::AAAA, Rtype::HTTPS] {
            assert_eq!(found(&snapshot, qname, qtype), "alias t.example.");
        }
        assert_eq!(found(&snapshot, qname, Rtype::CNAME), "answer CNAME");
        assert_eq!(found(&snapshot, qname, Rtype::ANY), "any");
    }
}

#[test]
fn a_wildcard_at_the_root_matches_what_nothing_else_does() {
    let rows = [("*", "192.0.2.1"), ("a.example", "192.0.2.2")];
    let snapshot = snapshot(WildcardDepth::Any, &rows);
    for (qname, expected) in [
        ("org", "192.0.2.1"),
        ("a.b.c.org", "192.0.2.1"),
        ("example", "empty, under wildcard"),
        ("b.example", "unknown"),
    ] {
        assert_eq!(found(&snapshot, qname, Rtype::A), expected, "{qname}");
    }
}

#[test]
fn names_of_many_labels_find_their_wildcard() {
    let rows = [
        ("*.example", "192.0.2.1"),
        ("a.b.c.d.e.example", "192.0.2.2"),
    ];
    let snapshot = snapshot(WildcardDepth::Any, &rows);
    for labels in 1..=123 {
        let qname = format!("{}f.example", "a.".repeat(labels - 1));
        assert_eq!(found(&snapshot, &qname, Rtype::A), "192.0.2.1", "{qname}");
        let qname = format!("{}e.example", "f.".repeat(labels - 1));
        let expected = if labels == 1 {
            "empty, under wildcard"
        } else {
            "unknown"
        };
        assert_eq!(found(&snapshot, &qname, Rtype::A), expected, "{qname}");
    }
}

#[test]
fn octets_that_are_no_name_are_unknown() {
    let rows = [("*.example", "192.0.2.1"), ("*", "192.0.2.1")];
    let snapshot = snapshot(WildcardDepth::Any, &rows);
    let long = [1u8; 600];
    for octets in [&b""[..], b"\x09a", b"\x01", b"\xff\xff", &long] {
        let found = snapshot.lookup(LayerId(0), octets, Rtype::A);
        assert_eq!(found, Lookup::Unknown, "{octets:?}");
    }
}

#[test]
fn a_layer_that_is_not_there_has_no_names() {
    let snapshot = snapshot(WildcardDepth::Any, &[("a.example", "192.0.2.1")]);
    let found = snapshot.lookup(LayerId(1), b"\x01a\x07example\x00", Rtype::A);
    assert_eq!(found, Lookup::Unknown);
}

/// What is found, in words.
fn found(snapshot: &Snapshot, qname: &str, qtype: Rtype) -> String {
    let qname: Name = qname.parse().unwrap();
    match snapshot.lookup(LayerId(0), qname.as_wire(), qtype) {
        Lookup::Answer(rrset) if rrset.rtype() == Rtype::A => {
            let octets = rrset.record(0).last_chunk::<4>().copied().unwrap();
            std::net::Ipv4Addr::from(octets).to_string()
        }
        Lookup::Answer(rrset) => format!("answer {}", rrset.rtype()),
        Lookup::Cname(rrset) => format!("alias {}", rrset.target().unwrap()),
        Lookup::Any => "any".into(),
        Lookup::NoData => "nodata".into(),
        Lookup::EmptyNonTerminal {
            under_wildcard: true,
        } => "empty, under wildcard".into(),
        Lookup::EmptyNonTerminal { .. } => "empty".into(),
        Lookup::Unknown => "unknown".into(),
    }
}

/// A snapshot of one layer with addresses and aliases.
fn snapshot(wildcard_depth: WildcardDepth, rows: &[(&str, &str)]) -> Arc<Snapshot> {
    let table = Arc::new(Table::new());
    let mut builder = Builder::new(Arc::clone(&table));
    builder.add_layer(LayerId(0), LayerOptions { wildcard_depth });
    let row = |&(owner, value): &(&str, &str)| Row {
        owner: owner.parse().unwrap(),
        rdata: match value.parse() {
            Ok(address) => Rdata::A(address),
            Err(_) => Rdata::Cname(value.parse().unwrap()),
        },
        ttl: 60,
    };
    builder.apply(Change {
        layer: LayerId(0),
        source: Source::Inline,
        rows: rows.iter().map(row).collect(),
    });
    assert!(builder.publish());
    table.load_full()
}

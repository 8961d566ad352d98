use std::sync::Arc;

use portolan_proto::Rdata;
use portolan_table::LayerId;

use super::*;
use crate::testing::a;
use crate::testing::cname;
use crate::testing::layer;
use crate::testing::name;
use crate::testing::table;

/// What is found, in words: layer and end, or who decides.
fn found(layers: &[LocalLayer], rows: &[(u16, &str, Rdata)], qname: &str, qtype: Rtype) -> String {
    let snapshot = table(rows).load_full();
    let qname = Qname::from(&name(qname));
    let find = || snapshot.find(qname.as_wire());
    match look_up(layers, &snapshot, find, &qname, qtype) {
        Local::Known { layer, chain, end } => {
            let end = match end {
                End::Answer(set) => format!("{} {}", set.len(), set.rtype()),
                End::NoData => "nodata".to_owned(),
                End::Any => "any".to_owned(),
                End::Outside(target) => format!("outside {target}"),
                End::Loop => "loop".to_owned(),
            };
            format!("{}: {} cnames, {end}", layer.layer.0, chain.len())
        }
        Local::Unknown {
            layer,
            exists: true,
        } => format!("{} exists", layer.layer.0),
        Local::Unknown {
            layer,
            exists: false,
        } => format!("{} unknown", layer.layer.0),
        Local::Next => "next".to_owned(),
    }
}

/// A layer that lets unknown names of a zone pass.
fn passing(id: u16, zone: &str) -> LocalLayer {
    LocalLayer {
        fallthrough: Fallthrough::Within(vec![name(zone)]),
        ..layer(id)
    }
}

#[test]
fn the_first_layer_that_has_the_name_answers_for_all_its_types() {
    let rows = [
        (0, "x.test", a(1)),
        (1, "x.test", a(2)),
        (1, "x.test", a(3)),
        (1, "y.test", a(4)),
    ];
    let layers = [layer(0), layer(1)];
    assert_eq!(
        found(&layers, &rows, "x.test", Rtype::A),
        "0: 0 cnames, 1 A"
    );
    assert_eq!(
        found(&layers, &rows, "x.test", Rtype::AAAA),
        "0: 0 cnames, nodata"
    );
    assert_eq!(
        found(&layers, &rows, "y.test", Rtype::A),
        "1: 0 cnames, 1 A"
    );
    assert_eq!(
        found(&layers, &rows, "y.test", Rtype::ANY),
        "1: 0 cnames, any"
    );
}

#[test]
fn a_layer_without_fallthrough_does_not_hide_the_names_of_later_ones() {
    let rows = [(0, "x.test", a(1)), (1, "y.test", a(2))];
    let layers = [layer(0), layer(1)];
    assert_eq!(
        found(&layers, &rows, "y.test", Rtype::A),
        "1: 0 cnames, 1 A"
    );
}

#[test]
fn an_unknown_name_is_decided_by_the_first_layer_that_does_not_let_it_pass() {
    let rows = [(0, "x.test", a(1)), (1, "y.test", a(2))];
    for (layers, qname, decision) in [
        ([layer(0), layer(1)], "z.test", "0 unknown"),
        ([passing(0, "."), layer(1)], "z.test", "1 unknown"),
        ([layer(0), passing(1, ".")], "z.test", "0 unknown"),
        ([passing(0, "."), passing(1, ".")], "z.test", "next"),
        ([passing(0, "test"), passing(1, "test")], "z.TEST", "next"),
        (
            [passing(0, "test"), passing(1, "test")],
            "z.example",
            "0 unknown",
        ),
        (
            [passing(0, "."), passing(1, "test")],
            "z.example",
            "1 unknown",
        ),
    ] {
        assert_eq!(
            found(&layers, &rows, qname, Rtype::A),
            decision,
            "{layers:?} {qname}"
        );
    }
}

#[test]
fn a_layer_is_asked_for_names_in_its_zones_only() {
    let rows = [(0, "x.test", a(1)), (0, "x.example", a(2))];
    let layers = [LocalLayer {
        zones: vec![name("example")],
        ..layer(0)
    }];
    assert_eq!(
        found(&layers, &rows, "x.example", Rtype::A),
        "0: 0 cnames, 1 A"
    );
    assert_eq!(found(&layers, &rows, "x.test", Rtype::A), "next");
    assert_eq!(found(&layers, &rows, "y.example", Rtype::A), "0 unknown");
    assert_eq!(found(&[], &rows, "x.test", Rtype::A), "next");
}

#[test]
fn a_name_above_known_ones_is_empty_or_goes_on() {
    let rows = [(0, "a.b.test", a(1))];
    for qname in ["b.test", "test", "."] {
        assert_eq!(
            found(&[layer(0)], &rows, qname, Rtype::A),
            "0 exists",
            "{qname}"
        );
        assert_eq!(
            found(&[passing(0, ".")], &rows, qname, Rtype::A),
            "next",
            "{qname}"
        );
    }
    assert_eq!(found(&[layer(0)], &rows, "c.test", Rtype::A), "0 unknown");
    // Known in the second layer, so what is below it in the first is moot.
    let rows = [(0, "a.b.test", a(1)), (1, "b.test", a(2))];
    assert_eq!(
        found(&[layer(0), layer(1)], &rows, "b.test", Rtype::A),
        "1: 0 cnames, 1 A"
    );
}

#[test]
fn an_empty_name_under_a_wildcard_is_known() {
    let rows = [(0, "*.test", a(1)), (0, "a.b.test", a(2))];
    let layers = [passing(0, ".")];
    assert_eq!(
        found(&layers, &rows, "b.test", Rtype::A),
        "0: 0 cnames, nodata"
    );
    assert_eq!(
        found(&layers, &rows, "c.test", Rtype::A),
        "0: 0 cnames, 1 A"
    );
    assert_eq!(
        found(&layers, &rows, "c.test", Rtype::TXT),
        "0: 0 cnames, nodata"
    );
}

#[test]
fn unknown_ptr_names_go_on_where_the_layer_says_so() {
    let rows = [(0, "1.2.0.192.in-addr.arpa", Rdata::Ptr(name("x.test")))];
    let hosts = [LocalLayer {
        unknown_ptr_falls_through: true,
        ..layer(0)
    }];
    let known = "1.2.0.192.in-addr.arpa";
    let unknown = "2.2.0.192.in-addr.arpa";
    assert_eq!(
        found(&hosts, &rows, known, Rtype::PTR),
        "0: 0 cnames, 1 PTR"
    );
    assert_eq!(found(&hosts, &rows, known, Rtype::A), "0: 0 cnames, nodata");
    assert_eq!(found(&hosts, &rows, unknown, Rtype::PTR), "next");
    assert_eq!(found(&hosts, &rows, unknown, Rtype::A), "0 unknown");
    assert_eq!(found(&[layer(0)], &rows, unknown, Rtype::PTR), "0 unknown");
}

#[test]
fn unsupported_types_of_known_names_go_on_where_the_layer_says_so() {
    let rows = [(0, "x.test", a(1)), (0, "x.example", a(2))];
    let layers = [LocalLayer {
        fallthrough_unsupported: true,
        ..passing(0, "test")
    }];
    assert_eq!(found(&layers, &rows, "x.test", Rtype::TXT), "next");
    assert_eq!(
        found(&layers, &rows, "x.test", Rtype::AAAA),
        "0: 0 cnames, nodata"
    );
    assert_eq!(
        found(&layers, &rows, "x.test", Rtype::PTR),
        "0: 0 cnames, nodata"
    );
    assert_eq!(
        found(&layers, &rows, "x.example", Rtype::TXT),
        "0: 0 cnames, nodata"
    );
    // A name that goes on exists all the same, whoever decides about it.
    let layers = [layers[0].clone(), layer(1)];
    assert_eq!(found(&layers, &rows, "x.test", Rtype::TXT), "1 exists");
    assert_eq!(found(&layers, &rows, "y.test", Rtype::TXT), "1 unknown");
}

#[test]
fn aliases_are_followed_through_all_layers() {
    let rows = [
        (0, "www.test", cname("host.test")),
        (1, "host.test", cname("machine.test")),
        (0, "machine.test", a(1)),
        (0, "gone.test", cname("nowhere.example")),
        (0, "half.test", cname("gone.test")),
        (0, "up.test", cname("deep.test")),
        (0, "x.deep.test", a(1)),
    ];
    let layers = [layer(0), layer(1)];
    for (qname, qtype, expected) in [
        ("www.test", Rtype::A, "0: 2 cnames, 1 A"),
        ("www.test", Rtype::AAAA, "0: 2 cnames, nodata"),
        ("www.test", Rtype::CNAME, "0: 0 cnames, 1 CNAME"),
        ("www.test", Rtype::ANY, "0: 0 cnames, any"),
        (
            "gone.test",
            Rtype::A,
            "0: 1 cnames, outside nowhere.example.",
        ),
        (
            "half.test",
            Rtype::A,
            "0: 2 cnames, outside nowhere.example.",
        ),
        ("up.test", Rtype::A, "0: 1 cnames, outside deep.test."),
    ] {
        assert_eq!(
            found(&layers, &rows, qname, qtype),
            expected,
            "{qname} {qtype}"
        );
    }
}

#[test]
fn a_chain_that_does_not_end_is_cut() {
    let rows = [
        (0, "a.test", cname("b.test")),
        (0, "b.test", cname("a.test")),
    ];
    let expected = format!("0: {} cnames, loop", MAX_CHAIN + 1);
    assert_eq!(found(&[layer(0)], &rows, "a.test", Rtype::A), expected);

    let links: Vec<(String, Rdata)> = (0..=MAX_CHAIN)
        .map(|n| (format!("n{n}.test"), cname(&format!("n{}.test", n + 1))))
        .collect();
    let mut rows: Vec<_> = links
        .iter()
        .map(|(n, c)| (0, n.as_str(), c.clone()))
        .collect();
    rows.push((0, "n9.test", a(1)));
    // From the second on, there are as many as are followed.
    let expected = format!("0: {MAX_CHAIN} cnames, 1 A");
    assert_eq!(found(&[layer(0)], &rows, "n1.test", Rtype::A), expected);
    assert!(found(&[layer(0)], &rows, "n0.test", Rtype::A).ends_with("loop"));
}

#[test]
fn a_layer_that_the_table_does_not_have_knows_nothing() {
    let snapshot = Arc::new(portolan_table::Table::new()).load_full();
    let layers = [LocalLayer {
        layer: LayerId(9),
        ..layer(0)
    }];
    let qname = Qname::from(&name("x.test"));
    let find = || snapshot.find(qname.as_wire());
    let found = look_up(&layers, &snapshot, find, &qname, Rtype::A);
    assert!(
        matches!(found, Local::Unknown { exists: false, .. }),
        "{found:?}"
    );
}

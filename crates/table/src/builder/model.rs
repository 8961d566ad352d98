//! The builder and the snapshot against a plain model.
//!
//! The model is a map of rows by source. It looks a name up by going through
//! the text of RFC 4592 over the rows of one layer, with nothing prepared.

use std::collections::BTreeMap;

use portolan_proto::Rdata;
use portolan_proto::Rrset;
use portolan_proto::Rtype;
use proptest::collection::vec;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prop_assert;
use proptest::prop_assert_eq;
use proptest::prop_oneof;
use proptest::proptest;
use proptest::sample::select;
use proptest::test_runner::TestCaseError;

use super::*;
use crate::Holdings;
use crate::Lookup;
use crate::Row;
use crate::WildcardDepth;

proptest! {
    #[test]
    fn the_table_answers_as_the_model_does(actions in vec(action(), 1..40)) {
        let mut pair = Pair::new();
        for action in actions {
            pair.act(action)?;
        }
        pair.act(Action::Publish)?;
        pair.check_held()?;
    }
}

/// Something that happens to a table.
#[derive(Clone, Debug)]
enum Action {
    /// A source says something else.
    Apply(Change),
    /// A layer comes, or reads its names differently.
    Add(LayerId, WildcardDepth),
    /// A layer goes.
    Remove(LayerId),
    /// Readers see it.
    Publish,
}

/// What a lookup gives, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// `Lookup::Answer`.
    Answer(Rrset),
    /// `Lookup::Cname`.
    Cname(Rrset),
    /// `Lookup::Any`.
    Any,
    /// `Lookup::NoData`.
    NoData,
    /// `Lookup::EmptyNonTerminal`.
    EmptyNonTerminal(bool),
    /// `Lookup::Unknown`.
    Unknown,
}

/// All there is to know.
#[derive(Default)]
struct Model {
    /// The layers.
    layers: BTreeMap<LayerId, WildcardDepth>,
    /// The rows of each source.
    rows: BTreeMap<(LayerId, Source), Vec<Row>>,
}

/// The rows of one layer by the labels of their owner, last label first.
type Zone<'a> = BTreeMap<Vec<Vec<u8>>, Vec<&'a Row>>;

/// A table and its model.
struct Pair {
    /// The table.
    table: Arc<Table>,
    /// Its builder.
    builder: Builder,
    /// The model.
    model: Model,
    /// Every snapshot so far and what it said when it was new.
    held: Vec<(Arc<Snapshot>, Vec<Found>)>,
}

// === impl Pair ===

impl Pair {
    /// Both empty.
    fn new() -> Self {
        let table = Arc::new(Table::new());
        let mut builder = Builder::new(Arc::clone(&table));
        let mut model = Model::default();
        builder.add_layer(LayerId(0), LayerOptions::default());
        model.layers.insert(LayerId(0), WildcardDepth::Any);
        let held = vec![(table.load_full(), dump(&table.load()))];
        Self {
            table,
            builder,
            model,
            held,
        }
    }

    /// Does something to both.
    fn act(&mut self, action: Action) -> Result<(), TestCaseError> {
        match action {
            Action::Apply(change) => {
                let is_known = self.model.layers.contains_key(&change.layer);
                prop_assert_eq!(self.builder.apply(change.clone()), is_known);
                if is_known {
                    let key = (change.layer, change.source);
                    self.model.rows.insert(key, change.rows);
                }
            }
            Action::Add(layer, wildcard_depth) => {
                self.builder
                    .add_layer(layer, LayerOptions { wildcard_depth });
                self.model.layers.insert(layer, wildcard_depth);
            }
            Action::Remove(layer) => {
                self.builder.remove_layer(layer);
                self.model.layers.remove(&layer);
                self.model.rows.retain(|(of, _), _| *of != layer);
            }
            Action::Publish => self.publish()?,
        }
        Ok(())
    }

    /// Publishes, and compares all that can be seen.
    fn publish(&mut self) -> Result<(), TestCaseError> {
        let before = self.table.load_full();
        let is_changed = self.builder.publish();
        let after = self.table.load_full();
        prop_assert_eq!(after.serial(), before.serial() + u32::from(is_changed));
        prop_assert_eq!(Arc::ptr_eq(&before, &after), !is_changed);
        let found = dump(&after);
        let mut expected = Vec::with_capacity(found.len());
        for layer in LAYERS {
            let zone = self.model.zone(layer);
            for qname in qnames() {
                for qtype in QTYPES {
                    expected.push(self.model.lookup(&zone, layer, &qname, qtype));
                }
            }
        }
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            prop_assert_eq!(found, expected, "{}", question(index));
        }
        self.check_figures()?;
        self.held.push((after, found));
        Ok(())
    }

    /// Compares figures and explanations.
    fn check_figures(&self) -> Result<(), TestCaseError> {
        let figures = self.builder.figures();
        let zones: Vec<Zone<'_>> = LAYERS.iter().map(|&id| self.model.zone(id)).collect();
        let names: usize = zones.iter().map(BTreeMap::len).sum();
        prop_assert_eq!(figures.names, names);
        let sources = self.model.rows.values().filter(|rows| !rows.is_empty());
        prop_assert_eq!(figures.sources, sources.count());
        let mut rows = 0;
        let mut hidden = 0;
        for name in qnames() {
            let explanations = self.builder.explain(&name);
            for explanation in &explanations {
                let key = (explanation.layer, explanation.source.clone());
                let of_source = self.model.rows.get(&key).map_or(&[][..], Vec::as_slice);
                prop_assert!(of_source.iter().any(|row| row.owner == name
                    && row.rdata == explanation.rdata
                    && row.ttl == explanation.ttl));
            }
            rows += explanations.len();
            hidden += explanations.iter().filter(|e| e.hidden.is_some()).count();
        }
        prop_assert_eq!(figures.rows, rows);
        prop_assert_eq!(figures.hidden, hidden);
        Ok(())
    }

    /// What readers hold has not changed.
    fn check_held(&self) -> Result<(), TestCaseError> {
        for (snapshot, found) in &self.held {
            prop_assert_eq!(&dump(snapshot), found);
        }
        Ok(())
    }
}

// === impl Model ===

impl Model {
    /// The rows of one layer by owner.
    fn zone(&self, layer: LayerId) -> Zone<'_> {
        let mut zone = Zone::new();
        for ((of, _), rows) in &self.rows {
            for row in rows.iter().filter(|_| *of == layer) {
                zone.entry(labels(&row.owner)).or_default().push(row);
            }
        }
        zone
    }

    /// Looks a name up.
    fn lookup(&self, zone: &Zone<'_>, layer: LayerId, qname: &Name, qtype: Rtype) -> Found {
        let Some(&depth) = self.layers.get(&layer) else {
            return Found::Unknown;
        };
        let qname = labels(qname);
        if let Some(rows) = zone.get(&qname) {
            return answer(rows, qtype);
        }
        // RFC 4592 §2.2.2: what has a name below it exists.
        let exists = |name: &[Vec<u8>]| zone.keys().any(|owner| owner.starts_with(name));
        let wildcard = |encloser: &[Vec<u8>]| {
            let mut source = encloser.to_vec();
            source.push(b"*".to_vec());
            zone.get(&source)
        };
        let above = || (0..qname.len()).rev().map(|length| &qname[..length]);
        if exists(&qname) {
            let mut enclosers = above();
            let covered = match depth {
                WildcardDepth::One => enclosers.next().is_some_and(|e| wildcard(e).is_some()),
                WildcardDepth::Any => enclosers
                    .find(|e| zone.contains_key(*e) || wildcard(e).is_some())
                    .is_some_and(|e| wildcard(e).is_some()),
            };
            return Found::EmptyNonTerminal(covered);
        }
        // RFC 4592 §3.3.1: closest encloser, then source of synthesis.
        let Some(encloser) = above().find(|name| exists(name)) else {
            return Found::Unknown;
        };
        if depth == WildcardDepth::One && encloser.len() + 1 != qname.len() {
            return Found::Unknown;
        }
        wildcard(encloser).map_or(Found::Unknown, |rows| answer(rows, qtype))
    }
}

/// What the rows of one owner say about a type.
fn answer(rows: &[&Row], qtype: Rtype) -> Found {
    if qtype == Rtype::ANY {
        return Found::Any;
    }
    let of_type = |rtype: Rtype| -> BTreeMap<&Rdata, u32> {
        let mut values = BTreeMap::new();
        for row in rows.iter().filter(|row| row.rdata.rtype() == rtype) {
            let ttl = values.entry(&row.rdata).or_insert(row.ttl);
            *ttl = row.ttl.min(*ttl);
        }
        values
    };
    let encode = |values: BTreeMap<&Rdata, u32>| {
        let ttl = values.values().min().copied().unwrap();
        Rrset::encode(values.into_keys(), ttl).unwrap()
    };
    let aliases = of_type(Rtype::CNAME);
    if rows.iter().all(|row| row.rdata.rtype() == Rtype::CNAME) {
        let alias = encode(aliases.into_iter().take(1).collect());
        return match qtype {
            Rtype::CNAME => Found::Answer(alias),
            _ => Found::Cname(alias),
        };
    }
    let values = of_type(qtype);
    if values.is_empty() || qtype == Rtype::CNAME {
        return Found::NoData;
    }
    Found::Answer(encode(values))
}

/// All that a snapshot says.
fn dump(snapshot: &Snapshot) -> Vec<Found> {
    let qnames = qnames();
    let wires: Vec<&[u8]> = qnames.iter().map(|qname| qname.as_wire()).collect();
    let mut holdings = vec![Holdings::default(); wires.len()];
    snapshot.find_all(&wires, &mut holdings);
    let mut found = Vec::new();
    for layer in LAYERS {
        for (qname, holdings) in qnames.iter().zip(&holdings) {
            for qtype in QTYPES {
                let together = snapshot.lookup_in(*holdings, layer, qname.as_wire(), qtype);
                let by_name = snapshot.lookup(layer, qname.as_wire(), qtype);
                assert_eq!(together, by_name, "{qname} {qtype}");
                found.push(match by_name {
                    Lookup::Answer(rrset) => Found::Answer(rrset.to_rrset()),
                    Lookup::Cname(rrset) => Found::Cname(rrset.to_rrset()),
                    Lookup::Any => Found::Any,
                    Lookup::NoData => Found::NoData,
                    Lookup::EmptyNonTerminal { under_wildcard } => {
                        Found::EmptyNonTerminal(under_wildcard)
                    }
                    Lookup::Unknown => Found::Unknown,
                });
            }
        }
    }
    found
}

/// The question at an index of a dump.
fn question(index: usize) -> String {
    let (qnames, types) = (qnames(), QTYPES.len());
    let qname = &qnames[index / types % qnames.len()];
    let layer = LAYERS[index / types / qnames.len()];
    format!("{layer:?} {qname} {}", QTYPES[index % types])
}

/// The labels of a name, last one first.
fn labels(name: &Name) -> Vec<Vec<u8>> {
    let mut labels: Vec<Vec<u8>> = name.labels().map(<[u8]>::to_vec).collect();
    labels.reverse();
    labels
}

/// All names that are asked for; owners are among them.
fn qnames() -> Vec<Name> {
    let mut texts = vec![
        ".".to_owned(),
        "x".to_owned(),
        "*".to_owned(),
        "y".to_owned(),
    ];
    let mut above = vec!["x".to_owned()];
    for _ in 0..3 {
        above = above
            .iter()
            .flat_map(|name| ["a", "b", "*"].map(|label| format!("{label}.{name}")))
            .collect();
        texts.extend(above.iter().cloned());
    }
    texts.push("b.a.b.a.x".to_owned());
    texts.push("a.b.c.d.e.f.g.a.x".to_owned());
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Anything that can happen.
fn action() -> impl Strategy<Value = Action> {
    let layer = || select(&LAYERS[..]);
    let depth = select(&[WildcardDepth::Any, WildcardDepth::One][..]);
    prop_oneof![
        12 => (layer(), source(), vec(row(), 0..4)).prop_map(|(layer, source, mut rows)| {
            // A source that contradicts itself about a TTL is tested apart.
            rows.sort();
            rows.dedup_by(|a, b| a.owner == b.owner && a.rdata == b.rdata);
            Action::Apply(Change { layer, source, rows })
        }),
        1 => (layer(), depth).prop_map(|(layer, depth)| Action::Add(layer, depth)),
        1 => layer().prop_map(Action::Remove),
        4 => Just(Action::Publish),
    ]
}

/// Some source.
fn source() -> impl Strategy<Value = Source> {
    select(vec![
        Source::Inline,
        Source::HostsFile("hosts".into()),
        Source::Container {
            member: "local".into(),
            id: "1".into(),
            name: "web".into(),
        },
    ])
}

/// Some row.
fn row() -> impl Strategy<Value = Row> {
    let alias = |target: &str| Rdata::Cname(target.parse().unwrap());
    let values = vec![
        Rdata::A([192, 0, 2, 1].into()),
        Rdata::A([192, 0, 2, 2].into()),
        Rdata::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
        Rdata::Ptr("host.example".parse().unwrap()),
        alias("a.x"),
        alias("b.x"),
    ];
    (select(qnames()), select(values), select(&[5, 60][..])).prop_map(|(owner, rdata, ttl)| Row {
        owner,
        rdata,
        ttl,
    })
}

/// The layers; the second one is not there at first.
const LAYERS: [LayerId; 2] = [LayerId(0), LayerId(9)];

/// The types asked for.
const QTYPES: [Rtype; 6] = [
    Rtype::A,
    Rtype::AAAA,
    Rtype::CNAME,
    Rtype::PTR,
    Rtype::TXT,
    Rtype::ANY,
];

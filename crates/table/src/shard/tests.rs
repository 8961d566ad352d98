//! Shards as octets.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_proto::Rrset;
use proptest::collection::btree_map;
use proptest::collection::vec;
use proptest::prelude::Strategy;
use proptest::prop_assert_eq;
use proptest::proptest;
use proptest::sample::select;

use super::*;

proptest! {
    #[test]
    fn a_shard_holds_what_a_map_holds(rounds in vec(btree_map(key(), held(), 0..6), 1..12)) {
        let mut model: BTreeMap<Key, Held> = BTreeMap::new();
        let mut octets: Option<Arc<[u8]>> = None;
        for round in rounds {
            let edits: Vec<Edit> = round.iter().map(|((tag, owner), held)| Edit {
                word: held.word,
                chunk: held.chunk.clone(),
                ..edit(*tag, owner, &held.layers)
            }).collect();
            octets = Shard::new(octets.as_deref().unwrap_or_default()).rebuilt(&edits);
            model.extend(round);
            model.retain(|_, held| !held.layers.is_empty());

            let shard = Shard::new(octets.as_deref().unwrap_or_default());
            prop_assert_eq!(shard.count(), model.len());
            for tag in TAGS {
                let of_tag = model.keys().filter(|(of, _)| *of == tag).count();
                prop_assert_eq!(shard.of_tag(tag).count(), of_tag);
                for owner in OWNERS {
                    let wire = name(owner);
                    let run = shard.find(tag, wire.as_wire());
                    let Some(held) = model.get(&(tag, owner)) else {
                        prop_assert_eq!(run, Run::default());
                        continue;
                    };
                    let layers: Vec<u16> = run.entries().map(|entry| entry.layer.0).collect();
                    prop_assert_eq!(&layers, &held.layers);
                    let at = shard.position(tag, wire.as_wire()).unwrap();
                    prop_assert_eq!(shard.owner(at), wire.as_wire());
                    prop_assert_eq!(shard.word(at), held.word);
                    let chunk = if held.word == Word::Told { &held.chunk[..] } else { &[] };
                    prop_assert_eq!(shard.chunk(at), chunk);
                }
            }
        }
    }
}

/// Tag and owner of a record.
type Key = (u16, &'static str);

/// What a record holds.
#[derive(Clone, Debug)]
struct Held {
    /// Layers of its entries.
    layers: Vec<u16>,
    /// Who asserts it.
    word: Word,
    /// Its chunk.
    chunk: Vec<u8>,
}

#[test]
fn names_of_one_tag_are_kept_apart() {
    let edits = [
        edit(7, "a", &[0, 3]),
        edit(7, "b", &[1]),
        edit(9, "a", &[2]),
    ];
    let octets = Shard::default().rebuilt(&edits).unwrap();
    let shard = Shard::new(&octets);
    for (tag, owner, expected) in [
        (7, "a", &[0, 3][..]),
        (7, "b", &[1]),
        (9, "a", &[2]),
        (9, "b", &[]),
        (8, "a", &[]),
        (0, "a", &[]),
        (u16::MAX, "a", &[]),
    ] {
        let run = shard.find(tag, name(owner).as_wire());
        let layers: Vec<u16> = run.entries().map(|entry| entry.layer.0).collect();
        assert_eq!(layers, expected, "{tag} {owner}");
        for layer in 0..5 {
            let run = run.of_layer(LayerId(layer));
            assert_eq!(run.is_empty(), !expected.contains(&layer), "{tag} {owner}");
        }
        assert_eq!(
            shard.position(tag, name(owner).as_wire()).is_ok(),
            !run.is_empty()
        );
    }
    assert_eq!(shard.of_tag(7).count(), 2);
    assert_eq!(shard.of_tag(8).count(), 0);
}

#[test]
fn an_edit_replaces_its_own_record_alone() {
    let owners: Vec<String> = (b'a'..=b'z').map(|c| char::from(c).into()).collect();
    let told = |owner: &str| Edit {
        word: Word::Told,
        chunk: owner.repeat(3).into_bytes(),
        ..edit(u16::from(owner.as_bytes()[0] % 5), owner, &[0])
    };
    let by = |owner: &str| Edit {
        word: Word::By(u32::from(owner.as_bytes()[0])),
        ..edit(u16::from(owner.as_bytes()[0] % 5), owner, &[1])
    };
    // Every other record has a chunk.
    let first = |index: usize, owner: &str| {
        if index.is_multiple_of(2) {
            told(owner)
        } else {
            by(owner)
        }
    };
    let all = owners
        .iter()
        .enumerate()
        .map(|(index, owner)| first(index, owner));
    let octets = Shard::default().rebuilt(&sorted(all.collect())).unwrap();
    for (index, owner) in owners.iter().enumerate() {
        let changed = if index.is_multiple_of(2) {
            by(owner)
        } else {
            told(owner)
        };
        let gone = Edit {
            entries: Vec::new(),
            ..edit(changed.tag, owner, &[])
        };
        for (edit, is_gone) in [(changed, false), (gone, true)] {
            let octets = Shard::new(&octets).rebuilt(&[edit]).unwrap();
            let shard = Shard::new(&octets);
            assert_eq!(shard.count(), owners.len() - usize::from(is_gone));
            for (other, text) in owners.iter().enumerate() {
                let tag = u16::from(text.as_bytes()[0] % 5);
                let Ok(at) = shard.position(tag, name(text).as_wire()) else {
                    assert!(is_gone && other == index, "{text}");
                    continue;
                };
                let has_chunk = other.is_multiple_of(2) != (other == index);
                let chunk = if has_chunk {
                    text.repeat(3)
                } else {
                    String::new()
                };
                assert_eq!(shard.chunk(at), chunk.as_bytes(), "{owner} {text}");
                let layer = LayerId(u16::from(!has_chunk));
                assert_eq!(
                    shard.run(at).of_layer(layer),
                    shard.run(at),
                    "{owner} {text}"
                );
                assert_eq!(shard.owner(at), name(text).as_wire());
                assert_eq!(shard.find(tag, name(text).as_wire()), shard.run(at));
            }
        }
    }
}

#[test]
fn a_shard_without_records_is_none() {
    let octets = Shard::default().rebuilt(&[edit(7, "a", &[0])]).unwrap();
    let gone = edit(7, "a", &[]);
    assert_eq!(Shard::new(&octets).rebuilt(&[gone]), None);
    assert_eq!(Shard::default().find(0, b"\0"), Run::default());
    assert_eq!(Shard::default().of_tag_at(0, 7), None);
}

#[test]
fn a_layer_is_replaced_among_others() {
    let run = |layers: &[u16]| edit(0, "a", layers).entries;
    let all = run(&[1, 3, 3, 5]);
    for (layer, with, expected) in [
        (3, &[][..], &[1, 5][..]),
        (3, &[3], &[1, 3, 5]),
        (0, &[0], &[0, 1, 3, 3, 5]),
        (4, &[4], &[1, 3, 3, 4, 5]),
        (9, &[9, 9], &[1, 3, 3, 5, 9, 9]),
        (4, &[], &[1, 3, 3, 5]),
    ] {
        let replaced = Run::new(&all).with_layer(LayerId(layer), &run(with));
        assert_eq!(replaced, run(expected), "{layer}");
    }
}

#[test]
fn tags_are_found_wherever_they_stand() {
    let tags = [0, 0, 3, 7, 7, 7, 1 << 14, 1 << 15, u16::MAX, u16::MAX];
    let index = tags.map(|tag: u16| {
        let [low, high] = tag.to_le_bytes();
        [low, high, 0, 0, 0, 0]
    });
    for tag in tags
        .into_iter()
        .chain([1, 5, 8, (1 << 15) + 1, u16::MAX - 1])
    {
        let expected = tags.partition_point(|other| *other < tag);
        assert_eq!(first_of(&index, tag), expected, "{tag}");
    }
    assert_eq!(first_of(&[], 7), 0);
}

#[test]
fn octets_that_are_no_shard_have_no_names() {
    let octets = Shard::default().rebuilt(&[edit(7, "a", &[0])]).unwrap();
    for end in 0..octets.len() {
        let shard = Shard::new(&octets[..end]);
        shard.find(7, name("a").as_wire());
        touch(shard.of_tag_at(shard.first(7), 7).unwrap_or_default());
        shard.chunk(0);
    }
}

/// Some record's key.
fn key() -> impl Strategy<Value = Key> {
    (select(&TAGS[..]), select(&OWNERS[..]))
}

/// What some record holds; nothing at times.
fn held() -> impl Strategy<Value = Held> {
    let layers = vec(0..3u16, 0..4).prop_map(|mut layers| {
        layers.sort_unstable();
        layers
    });
    let word = select(&[Word::Nobody, Word::By(0), Word::By(7), Word::Told][..]);
    let chunk = vec(0..255u8, 0..9);
    (layers, word, chunk).prop_map(|(layers, word, chunk)| Held {
        layers,
        word,
        chunk,
    })
}

/// Edits in order.
fn sorted(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by(|l, r| (l.tag, &l.owner).cmp(&(r.tag, &r.owner)));
    edits
}

/// A record with an address in some layers.
fn edit(tag: u16, owner: &str, layers: &[u16]) -> Edit {
    let set = Rrset::encode([&Rdata::A([192, 0, 2, 1].into())], 60).unwrap();
    let mut entries = Vec::new();
    for layer in layers {
        write_entry(&mut entries, LayerId(*layer), Slot::Own, |out| {
            out.extend_from_slice(set.borrowed().as_wire());
        });
    }
    Edit {
        tag,
        owner: name(owner),
        entries,
        word: Word::Nobody,
        chunk: Vec::new(),
    }
}

/// A name.
fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The tags of records.
const TAGS: [u16; 4] = [0, 1, 0x8000, u16::MAX];

/// The owners of records.
const OWNERS: [&str; 4] = [".", "a", "b", "a.b"];

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use portolan_proto::Rdata;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_message_reads_as_it_is_written(message in messages()) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn any_octets_are_a_message_that_encodes_to_them_or_an_error(octets in any_octets()) {
        if let Ok(message) = Message::decode(&octets) {
            prop_assert_eq!(message.encode().to_ascii_lowercase(), octets.to_ascii_lowercase());
        }
    }

    #[test]
    fn a_message_that_ends_too_soon_or_too_late_is_an_error(
        message in messages(),
        end in any::<prop::sample::Index>(),
        more in 0u8..,
    ) {
        let octets = message.encode();
        prop_assert!(Message::decode(&octets[..end.index(octets.len())]).is_err());
        let mut longer = octets.to_vec();
        longer.push(more);
        prop_assert!(Message::decode(&longer).is_err());
    }

    #[test]
    fn changes_are_packed_in_their_order_into_messages_that_fit(ops in vec(op(), 1..80)) {
        let owner = MemberId::new("node", 7);
        let encoded: Vec<Vec<u8>> = ops.iter().map(Op::encode).collect();
        let deltas = Deltas { owner: &owner, epoch: 3, most: 1_250 };
        let Some(messages) = deltas.pack(10, &encoded) else {
            prop_assert!(encoded.iter().any(|op| op.len() > 1_100));
            return Ok(());
        };
        let mut unpacked = Vec::new();
        for octets in messages {
            prop_assert!(octets.len() <= 1_250);
            let Ok(Message::Delta(delta)) = Message::decode(&octets) else {
                return Err(TestCaseError::fail("not a delta"));
            };
            prop_assert_eq!(delta.first, 10 + unpacked.len() as u64);
            unpacked.extend(delta.ops);
        }
        prop_assert_eq!(unpacked, ops);
    }
}

#[test]
fn counts_that_the_octets_cannot_fill_are_refused_before_they_are_believed() {
    let id = b"\x12n#0000000000000001";
    for (head, tail) in [
        // So many changes.
        (&[PROTOCOL, kind::DELTA][..], &[1, 1, 0xff, 0xff, 0x0f][..]),
        // So many entries.
        (&[PROTOCOL, kind::DIGEST], &[0, 0xff, 0x07]),
        // So many sources.
        (&[PROTOCOL, kind::SNAPSHOT], &[1, 1, 0, 0xff, 0xff, 0x0f]),
        // One source of so many records.
        (
            &[PROTOCOL, kind::SNAPSHOT],
            &[1, 1, 0, 1, 1, 0, 0xff, 0xff, 0x0f],
        ),
    ] {
        let octets = [head, id, tail].concat();
        assert_eq!(
            Message::decode(&octets),
            Err(WireError::Short),
            "{octets:?}"
        );
        let mut more = octets.clone();
        // More than there may ever be.
        more.truncate(octets.len() - if tail.len() == 3 { 2 } else { 3 });
        more.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(Message::decode(&more), Err(WireError::TooMuch), "{more:?}");
    }
}

#[test]
fn what_is_no_message_is_told_apart() {
    let id = b"\x12n#0000000000000001";
    let with = |head: &[u8], tail: &[u8]| Message::decode(&[head, id, tail].concat());
    assert_eq!(Message::decode(&[]), Err(WireError::Short));
    assert_eq!(Message::decode(&[2, 1]), Err(WireError::Protocol));
    assert_eq!(Message::decode(&[1, 99]), Err(WireError::Kind));
    // Numbers: padded, too long, too high.
    assert_eq!(with(&[1, 1], &[0x81, 0x00, 1, 0]), Err(WireError::Number));
    assert_eq!(with(&[1, 1], &[0xff; 11]), Err(WireError::Number));
    assert_eq!(
        with(&[1, 1], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 1]),
        Err(WireError::Number)
    );
    // No version is 0, and no change makes it.
    assert_eq!(with(&[1, 1], &[1, 0, 0]), Err(WireError::Number));
    // Sources out of order, and without records.
    let source = [5, 0, 1, 1, b'a', 0, 1, 60, 192, 0, 2, 1];
    let twice = [&[1, 1, 0, 2][..], &source, &source].concat();
    assert_eq!(with(&[1, 4], &twice), Err(WireError::Source));
    assert_eq!(
        with(&[1, 1], &[1, 1, 1, 1, 5, 0, 0, 0, 0, 0, 0]),
        Err(WireError::Source)
    );
    // A record of a type that is not known.
    assert_eq!(
        with(&[1, 1], &[1, 1, 1, 1, 5, 0, 1, 0, 16, 0, 0, 0]),
        Err(WireError::Row)
    );
    // A member that is none.
    assert_eq!(
        Message::decode(b"\x01\x05\x02n#\x01\x01\x00"),
        Err(WireError::Text)
    );
}

#[test]
fn a_source_takes_no_more_octets_than_it_weighs() {
    let name = |label: &str| {
        [label; 40]
            .join(".")
            .parse::<portolan_proto::Name>()
            .unwrap()
    };
    for rdata in [
        Rdata::A([192, 0, 2, 1].into()),
        Rdata::Aaaa([0; 16].into()),
        Rdata::Cname(name("alias")),
        Rdata::Ptr(name("host")),
    ] {
        let row = Row {
            owner: name("owner"),
            rdata,
            ttl: u32::MAX,
        };
        let source = Assertion {
            origin: "a source".into(),
            rows: vec![row; 100],
        };
        let octets = Op::Put(7, source.clone()).encode().len();
        let weight = source.weight();
        assert!(
            octets <= weight && weight < octets + 12,
            "{octets} {weight}"
        );
    }
}

/// Octets, some of which are nearly a message.
fn any_octets() -> impl Strategy<Value = Vec<u8>> {
    let mutated = (
        messages(),
        vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    );
    let mutated = mutated.prop_map(|(message, changes)| {
        let mut octets = message.encode().to_vec();
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        octets
    });
    let headed = (1u8..=6, vec(any::<u8>(), 0..100));
    let headed = headed.prop_map(|(kind, rest)| [&[PROTOCOL, kind][..], &rest].concat());
    prop_oneof![vec(any::<u8>(), 0..200), headed, mutated]
}

/// Any message.
pub(crate) fn messages() -> impl Strategy<Value = Message> {
    let delta = (member(), 0..=MAX_EPOCH, 1..=MAX_VERSION, vec(op(), 0..5));
    let delta = delta.prop_map(|(owner, epoch, first, ops)| {
        Message::Delta(Delta {
            owner,
            epoch,
            first,
            ops,
        })
    });
    let entry = (member(), stamp(), 0..MAX_VERSION);
    let entry = entry.prop_map(|(owner, stamp, beat)| Entry { owner, stamp, beat });
    let digest = (member(), any::<bool>(), vec(entry, 0..5));
    let digest = digest.prop_map(|(from, reply, entries)| {
        Message::Digest(Digest {
            from,
            reply,
            entries,
        })
    });
    let pull = (member(), member(), stamp());
    let pull = pull.prop_map(|(from, owner, have)| Message::Pull(Pull { from, owner, have }));
    let sources = prop::collection::btree_map(any::<u64>(), assertion(), 0..5);
    let snapshot = (member(), stamp(), any::<bool>(), sources);
    let snapshot = snapshot.prop_map(|(owner, stamp, complete, sources)| {
        let entries = sources.into_iter().collect();
        Message::Snapshot(Snapshot {
            owner,
            stamp,
            complete,
            entries,
        })
    });
    let bye = (member(), stamp(), any::<u64>());
    let bye = bye.prop_map(|(owner, stamp, hold_ms)| {
        Message::Bye(Bye {
            owner,
            stamp,
            hold_ms,
        })
    });
    let restarted = (member(), member());
    let restarted =
        restarted.prop_map(|(owner, former)| Message::Restarted(Restarted { owner, former }));
    prop_oneof![delta, digest, pull, snapshot, bye, restarted]
}

/// Any of a few members.
fn member() -> impl Strategy<Value = MemberId> {
    (0..4u8, 0..3u64).prop_map(|(node, boot)| MemberId::new(&format!("n{node}"), boot))
}

/// Where a set may be.
fn stamp() -> impl Strategy<Value = Stamp> {
    let near = (0..3u64, 0..20u64);
    let stamp = prop_oneof![near, (0..=MAX_EPOCH, 0..=MAX_VERSION)];
    stamp.prop_map(|(epoch, version)| Stamp { epoch, version })
}

/// Any change.
fn op() -> impl Strategy<Value = Op> {
    let put = (any::<u64>(), assertion()).prop_map(|(key, source)| Op::Put(key, source));
    prop_oneof![put, any::<u64>().prop_map(Op::Remove), Just(Op::Complete)]
}

/// What a source may assert.
fn assertion() -> impl Strategy<Value = Assertion> {
    ("[a-zé ]{0,20}", vec(row(), 1..4)).prop_map(|(origin, rows)| {
        let origin = origin.into();
        Assertion { origin, rows }
    })
}

/// Any record.
fn row() -> impl Strategy<Value = Row> {
    let rdata = prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Rdata::A(Ipv4Addr::from(octets))),
        any::<[u8; 16]>().prop_map(|octets| Rdata::Aaaa(Ipv6Addr::from(octets))),
        name().prop_map(Rdata::Cname),
        name().prop_map(Rdata::Ptr),
    ];
    (name(), rdata, any::<u32>()).prop_map(|(owner, rdata, ttl)| Row { owner, rdata, ttl })
}

/// Any name.
fn name() -> impl Strategy<Value = portolan_proto::Name> {
    "([a-z0-9*_-]{1,12}\\.){0,5}".prop_map(|text| {
        let text = if text.is_empty() { "." } else { &text };
        text.parse().unwrap()
    })
}

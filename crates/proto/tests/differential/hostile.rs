//! Octets that nobody meant.

use std::cell::Cell;

use hickory_proto::op;
use portolan_proto::{
    EdnsReply, HEADER_LEN, Message, MessageError, Query, ReadError, ResponseHead, ResponseWriter,
};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any};
use proptest::proptest;
use proptest::test_runner::TestRunner;

use crate::{query, relay, strategy};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_octets_do_no_harm(octets in vec(any::<u8>(), 0..600)) {
        exercise(octets);
    }

    #[test]
    fn random_octets_behind_a_plausible_header_do_no_harm(
        counts in any::<[u8; 3]>(),
        body in vec(any::<u8>(), 0..600),
    ) {
        for flags in [0x01, 0x81] {
            let [answers, authorities, additionals] = counts.map(|count| count % 4);
            let mut octets = vec![1, 2, flags, 0, 0, 1, 0];
            octets.extend([answers, 0, authorities, 0, additionals]);
            octets.extend_from_slice(b"\x03www\x07example\x03org\x00\x00\x01\x00\x01");
            octets.extend_from_slice(&body);
            exercise(octets);
        }
    }
}

#[test]
fn a_mutated_query_is_accepted_where_hickory_accepts_it() {
    let (agreed, refused) = (Cell::new(0), Cell::new(0));
    let input = (strategy::query(), vec(strategy::mutation(), 1..4));
    TestRunner::new(ProptestConfig::with_cases(1500))
        .run(&input, |(message, mutations)| {
            let mut octets = message.to_vec().unwrap();
            for mutation in mutations {
                mutation.apply(&mut octets);
            }
            exercise(octets.clone());
            if let Some(theirs) = plain(&octets) {
                match Query::read(&octets) {
                    Ok(ours) => {
                        query::assert_same(&ours, &theirs);
                        agreed.set(agreed.get() + 1);
                    }
                    Err(error) => {
                        assert!(query_differs(&octets), "{error:?}: {octets:?}");
                        refused.set(refused.get() + 1);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    // Else the test would say nothing.
    assert!(agreed.get() > 200, "{agreed:?} {refused:?}");
}

#[test]
fn a_mutated_response_is_accepted_where_hickory_accepts_it() {
    let agreed = Cell::new(0);
    let input = (strategy::response(), vec(strategy::mutation(), 1..4));
    TestRunner::new(ProptestConfig::with_cases(800))
        .run(&input, |(message, mutations)| {
            let mut octets = message.to_vec().unwrap();
            for mutation in mutations {
                mutation.apply(&mut octets);
            }
            exercise(octets.clone());
            let Ok(theirs) = op::Message::from_vec(&octets) else {
                return Ok(());
            };
            match Message::parse(octets.clone()) {
                // A truncated message that breaks off for us has no records.
                Ok(ours) if ours.records().count() > 0 => {
                    relay::assert_same(&ours, &theirs);
                    agreed.set(agreed.get() + 1);
                }
                Ok(_) => {}
                Err(MessageError::NotResponse) => {
                    assert_eq!(theirs.metadata.message_type, op::MessageType::Query);
                }
                Err(error) => {
                    assert!(response_differs(&octets, &theirs), "{error}: {octets:?}");
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(agreed.get() > 100, "{agreed:?}");
}

/// Runs everything that takes octets over them.
fn exercise(octets: Vec<u8>) {
    let query = Query::read(&octets);
    if octets.len() < HEADER_LEN {
        assert!(matches!(query, Err(ReadError::Ignore)));
    }
    let mut out = Vec::new();
    if let Ok(query) = &query {
        let text = query.qname.to_string();
        assert!(text.ends_with('.'));
        let limit = query.udp_limit(1232);
        let edns = EdnsReply::default();
        let head = ResponseHead::new(portolan_proto::Rcode::NOERROR);
        ResponseWriter::new(&mut out, query, head, limit, &edns).finish(query, head.rcode, &edns);
        op::Message::from_vec(&out).expect("hickory reads what we write");
    }
    let Ok(mut message) = Message::parse(octets.clone()) else {
        return;
    };
    assert!(message.wire().len() <= octets.len());
    for record in message.records() {
        let _ = (record.owner(), record.rdata_name(), record.soa_minimum());
        let _ = record.expanded_rdata();
        assert!(record.rdata().len() <= octets.len());
    }
    message.map_ttls(|ttl| ttl / 2);
    message.reorder_addresses(|_, addresses| (0..addresses.len()).rev().collect());
    message.shrink();
    let again = Message::parse(message.wire().to_vec()).expect("we read what we keep");
    assert_eq!(again.records().count(), message.records().count());
}

/// What hickory reads, if it is a query without records but an OPT.
fn plain(octets: &[u8]) -> Option<op::Message> {
    let message = op::Message::from_vec(octets).ok()?;
    let plain = message.metadata.message_type == op::MessageType::Query
        && message.metadata.op_code == op::OpCode::Query
        && message.queries.len() == 1
        && message.all_sections().next().is_none();
    plain.then_some(message)
}

/// Whether a query that hickory reads is one of the differences: its name is
/// compressed, its OPT is not owned by one zero octet, or the lengths of its
/// options do not add up.
fn query_differs(octets: &[u8]) -> bool {
    let mut at = HEADER_LEN;
    while octets[at] != 0 {
        if octets[at] > 63 {
            return true;
        }
        at += 1 + usize::from(octets[at]);
    }
    at += 5;
    if octets[at] != 0 {
        return true;
    }
    let length = usize::from(u16::from_be_bytes([octets[at + 9], octets[at + 10]]));
    let mut options = &octets[at + 11..at + 11 + length];
    while let [_, _, l0, l1, rest @ ..] = options {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let Some(tail) = rest.get(length..) else {
            return true;
        };
        options = tail;
    }
    !options.is_empty()
}

/// Whether a response that hickory reads may be one of the differences: not
/// one question, a pointer in the question or into the header, or an OPT that
/// is not owned by one zero octet.
fn response_differs(octets: &[u8], theirs: &op::Message) -> bool {
    let one_question = theirs.queries.len() == 1;
    let into_header = octets
        .windows(2)
        .any(|pair| matches!(pair, [0xc0, low] if usize::from(*low) < HEADER_LEN));
    let opt_of_the_root = octets.windows(3).any(|three| three == [0, 0, 41]);
    let wire = theirs.queries.first().map(|q| strategy::wire(&q.name));
    let compressed = wire.is_some_and(|wire| !octets[HEADER_LEN..].starts_with(&wire));
    !one_question || into_header || compressed || (theirs.edns.is_some() && !opt_of_the_root)
}

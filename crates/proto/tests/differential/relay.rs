//! Responses that hickory writes, and we read and pass on.

use hickory_proto::{op, rr};
use portolan_proto::{EdnsReply, Flags, Message, Query, ResponseHead, ResponseWriter, Section};
use proptest::prelude::{ProptestConfig, any};
use proptest::proptest;

use crate::strategy;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_response_is_read_as_it_was_written(theirs in strategy::response()) {
        let ours = Message::parse(theirs.to_vec().unwrap()).unwrap();
        assert_same(&ours, &theirs);
    }

    #[test]
    fn a_response_is_passed_on_as_it_was_written(
        theirs in strategy::response(),
        edns in proptest::option::of(strategy::edns()),
        limit in 512usize..3000,
        shout in any::<bool>(),
    ) {
        let mut asked = theirs.clone();
        asked.metadata.message_type = op::MessageType::Query;
        asked.metadata.response_code = op::ResponseCode::NoError;
        asked.answers.clear();
        asked.authorities.clear();
        asked.additionals.clear();
        asked.edns = edns;
        let mut asked = asked.to_vec().unwrap();
        if shout {
            asked[12..12 + strategy::wire(&theirs.queries[0].name).len()].make_ascii_uppercase();
        }
        let query = Query::read(&asked).unwrap();
        let upstream = Message::parse(theirs.to_vec().unwrap()).unwrap();
        let head = ResponseHead::new(upstream.rcode());
        let mut out = Vec::new();
        ResponseWriter::relay(&mut out, &query, head, &upstream, limit, &EdnsReply::default());

        // Other TTLs are the same, written before or meanwhile.
        let mut kept = upstream.clone();
        let aged = |ttl: u32| ttl.saturating_sub(7);
        kept.map_ttls(aged);
        let (mut before, mut meanwhile) = (Vec::new(), Vec::new());
        let reply = EdnsReply::default();
        ResponseWriter::relay(&mut before, &query, head, &kept, limit, &reply);
        ResponseWriter::relay_kept(&mut meanwhile, &query, head, (&upstream, aged), limit, &reply);
        assert_eq!(before, meanwhile);

        assert!(out.len() <= limit);
        let decoded = op::Message::from_vec(&out).unwrap();
        let meant = op::Message::from_vec(upstream.wire()).unwrap();
        for (some, all) in [
            (&decoded.answers, &meant.answers),
            (&decoded.authorities, &meant.authorities),
            (&decoded.additionals, &meant.additionals),
        ] {
            assert!(all.starts_with(some));
            // No part of an RRset is there without the rest.
            if let Some((last, next)) = some.last().zip(all.get(some.len())) {
                let of = |record: &rr::Record| (record.name.to_lowercase(), record.record_type());
                let is_set = record_is_of_a_set(last) && last.dns_class == next.dns_class;
                assert!(!is_set || of(last) != of(next));
            }
        }
        let cut = decoded.answers.len() < meant.answers.len()
            || decoded.authorities.len() < meant.authorities.len();
        assert_eq!(decoded.metadata.truncation, cut || meant.metadata.truncation);
        assert_eq!(decoded.queries, meant.queries);
        assert_eq!(decoded.edns.is_some(), query.edns.is_some());
    }

    #[test]
    fn ttls_age_in_every_record(theirs in strategy::response(), age in any::<u32>()) {
        let mut ours = Message::parse(theirs.to_vec().unwrap()).unwrap();
        ours.map_ttls(|ttl| ttl.saturating_sub(age));
        let decoded = op::Message::from_vec(ours.wire()).unwrap();
        let aged: Vec<u32> = decoded.all_sections().map(|record| record.ttl).collect();
        let meant: Vec<u32> = theirs
            .all_sections()
            .map(|record| clamped(record.ttl).saturating_sub(age))
            .collect();
        assert_eq!(aged, meant);
    }
}

/// Compares header, question and records. What stands behind the OPT is not
/// compared: it goes with it.
pub(crate) fn assert_same(ours: &Message, theirs: &op::Message) {
    let metadata = &theirs.metadata;
    assert_eq!(ours.id(), metadata.id);
    assert_eq!(ours.flags().has(Flags::TRUNCATED), metadata.truncation);
    assert_eq!(
        ours.flags().has(Flags::AUTHORITATIVE),
        metadata.authoritative
    );
    assert_eq!(ours.has_edns(), theirs.edns.is_some());
    assert_eq!(ours.rcode().0, u16::from(metadata.response_code));
    match (ours.question(), theirs.queries.as_slice()) {
        (Some((qname, qtype, qclass)), [question]) => {
            assert_eq!(qname.to_name(), strategy::ours(&question.name));
            assert_eq!(qtype.0, u16::from(question.query_type));
            assert_eq!(qclass.0, u16::from(question.query_class));
        }
        (None, []) => {}
        other => panic!("{other:?}"),
    }
    for (section, records) in [
        (Section::Answer, &theirs.answers),
        (Section::Authority, &theirs.authorities),
        (Section::Additional, &theirs.additionals),
    ] {
        let found: Vec<_> = ours
            .records()
            .filter(|record| record.section == section)
            .collect();
        if section != Section::Additional {
            assert_eq!(found.len(), records.len());
        }
        for (ours, theirs) in found.iter().zip(records) {
            assert_eq!(ours.owner(), Some(strategy::ours(&theirs.name)));
            assert_eq!(ours.rtype.0, u16::from(theirs.record_type()));
            assert_eq!(ours.class.0, u16::from(theirs.dns_class));
            assert_eq!(ours.ttl, clamped(theirs.ttl));
            if let rr::RData::CNAME(rr::rdata::CNAME(name))
            | rr::RData::NS(rr::rdata::NS(name))
            | rr::RData::PTR(rr::rdata::PTR(name)) = &theirs.data
            {
                assert_eq!(ours.rdata_name(), Some(strategy::ours(name)));
            }
            if let rr::RData::SOA(soa) = &theirs.data {
                assert_eq!(ours.soa_minimum(), Some(soa.minimum));
            }
        }
    }
}

/// Whether records of its owner, type and class are one set: signatures are one
/// for each type that they cover.
fn record_is_of_a_set(record: &rr::Record) -> bool {
    record.record_type() != rr::RecordType::RRSIG
}

/// A TTL as RFC 2181 §8 has it.
fn clamped(ttl: u32) -> u32 {
    if ttl > 0x7fff_ffff { 0 } else { ttl }
}

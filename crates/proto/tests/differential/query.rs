//! Queries that hickory writes and we read.

use hickory_proto::op;
use portolan_proto::{Flags, Opcode, Query};
use proptest::prelude::ProptestConfig;
use proptest::proptest;

use crate::strategy;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_query_is_read_as_it_was_written(message in strategy::query()) {
        let octets = message.to_vec().unwrap();
        let query = Query::read(&octets).unwrap();
        assert_same(&query, &message);
        assert_eq!(query.size, octets.len());
    }
}

/// Compares field by field.
pub(crate) fn assert_same(query: &Query<'_>, message: &op::Message) {
    let metadata = &message.metadata;
    let question = &message.queries[0];
    assert_eq!(query.id, metadata.id);
    assert_eq!(query.flags.opcode(), Opcode::QUERY);
    for (bit, set) in [
        (Flags::RECURSION_DESIRED, metadata.recursion_desired),
        (Flags::CHECKING_DISABLED, metadata.checking_disabled),
        (Flags::AUTHENTIC_DATA, metadata.authentic_data),
        (Flags::TRUNCATED, metadata.truncation),
        (Flags::AUTHORITATIVE, metadata.authoritative),
    ] {
        assert_eq!(query.flags.has(bit), set, "{bit:x}");
    }
    assert_eq!(query.qname.to_name(), strategy::ours(&question.name));
    assert_eq!(query.qtype.0, u16::from(question.query_type));
    assert_eq!(query.qclass.0, u16::from(question.query_class));
    let spelled = strategy::wire(&question.name);
    assert_eq!(query.question[..spelled.len()], spelled);
    assert_eq!(query.edns.is_some(), message.edns.is_some());
    if let (Some(ours), Some(theirs)) = (query.edns, &message.edns) {
        assert_eq!(ours.udp_payload.max(512), theirs.max_payload().max(512));
        assert_eq!(ours.extended_rcode, theirs.rcode_high());
        assert_eq!(ours.version, theirs.version());
        assert_eq!(ours.dnssec_ok, theirs.flags().dnssec_ok);
        let options: Vec<_> = theirs
            .options()
            .options
            .iter()
            // Client subnets are kept parsed: other octets, same meaning.
            .filter(|(code, _)| u16::from(*code) != 8)
            .map(|(code, option)| {
                (
                    u16::from(*code),
                    Vec::try_from(option).expect("an option has octets"),
                )
            })
            .collect();
        let found: Vec<_> = ours
            .options
            .iter()
            .filter(|(code, _)| *code != 8)
            .map(|(code, data)| (code, data.to_vec()))
            .collect();
        assert_eq!(found, options);
    }
}

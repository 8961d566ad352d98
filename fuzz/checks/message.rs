//! What an upstream sends: read or refused, and passed on within the limit.

use portolan_proto::EdnsReply;
use portolan_proto::Message;
use portolan_proto::Query;
use portolan_proto::ResponseHead;
use portolan_proto::ResponseWriter;

/// Reads what an upstream sends, and passes it on.
pub(crate) fn check(octets: &[u8]) {
    let Ok(mut message) = Message::parse(octets.to_vec()) else {
        return;
    };
    assert!(message.wire().len() <= octets.len());
    for record in message.records() {
        let _ = (record.owner(), record.rdata_name(), record.soa_minimum());
        let _ = record.expanded_rdata();
        assert!(record.ttl <= 0x7fff_ffff);
    }
    let count = message.records().count();
    message.map_ttls(|ttl| ttl.saturating_sub(1));
    message.reorder_addresses(|_, addresses| (0..addresses.len()).rev().collect());
    message.shrink();
    let again = Message::parse(message.wire().to_vec()).expect("we read what we keep");
    assert_eq!(again.records().count(), count);
    assert_eq!(again.wire(), message.wire());
    relay(&message);
}

/// Passes the message on to one who asked its question.
fn relay(message: &Message) {
    let Some((qname, qtype, qclass)) = message.question() else {
        return;
    };
    let question = [
        qname.as_wire(),
        &qtype.0.to_be_bytes(),
        &qclass.0.to_be_bytes(),
    ]
    .concat();
    for edns in [None, Some((700, true))] {
        let mut asked = Vec::new();
        ResponseWriter::query(&mut asked, message.id(), 0x0100, &question, edns);
        let query = Query::read(&asked).expect("we read what we ask");
        let limit = query.udp_limit(1232);
        let mut out = Vec::new();
        let head = ResponseHead::new(message.rcode());
        ResponseWriter::relay(
            &mut out,
            &query,
            head,
            message,
            limit,
            &EdnsReply::default(),
        );
        assert!(out.len() <= limit);
        let passed = Message::parse(out).expect("we read what we pass on");
        assert!(passed.records().count() <= message.records().count());
        assert_eq!(passed.has_edns(), edns.is_some());
    }
}

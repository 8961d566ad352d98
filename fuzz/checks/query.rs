//! What a client sends: read or refused, and answered within the limit.

use portolan_proto::Ede;
use portolan_proto::EdnsReply;
use portolan_proto::HEADER_LEN;
use portolan_proto::Message;
use portolan_proto::Ordinary;
use portolan_proto::Qname;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::Rdata;
use portolan_proto::ReadError;
use portolan_proto::ResponseHead;
use portolan_proto::ResponseWriter;
use portolan_proto::Rrset;
use portolan_proto::Section;
use portolan_proto::Soa;

/// Reads what a client sends, and answers it.
pub(crate) fn check(octets: &[u8]) {
    let mut qname = Qname::default();
    if let Some(ordinary) = Ordinary::read(octets, &mut qname) {
        agree(&ordinary, qname, octets);
    }
    let mut out = Vec::new();
    match Query::read(octets) {
        Ok(query) => answer(&mut out, &query),
        Err(ReadError::Answer { id, flags, rcode }) => {
            ResponseWriter::bare(&mut out, id, flags, rcode);
            assert_eq!(out.len(), HEADER_LEN);
        }
        Err(ReadError::Ignore) => return,
    }
    // An answer is never a query: servers would talk for ever.
    assert!(matches!(Query::read(&out), Err(ReadError::Ignore)));
}

/// What the short way reads, the long way reads alike.
fn agree(ordinary: &Ordinary<'_>, qname: Qname, octets: &[u8]) {
    let query = Query::read(octets).expect("what is ordinary is a query");
    assert_eq!(qname, query.qname);
    assert_eq!((ordinary.id, ordinary.flags), (query.id, query.flags));
    assert_eq!(ordinary.qtype, query.qtype);
    assert_eq!(ordinary.question, query.question);
    assert_eq!(ordinary.dnssec_ok(), query.dnssec_ok());
    assert_eq!(ordinary.opt.is_some(), query.edns.is_some());
    let opt = if query.edns.is_some() { 11 } else { 0 };
    let rest = HEADER_LEN + query.question.len() + opt;
    assert_eq!(ordinary.room(1232), query.udp_limit(1232) - rest);
}

/// Answers in every way there is.
fn answer(out: &mut Vec<u8>, query: &Query<'_>) {
    assert_eq!(query.qname.to_name().as_wire(), query.qname.as_wire());
    assert!(query.qname.to_string().ends_with('.'));
    let limit = query.udp_limit(1232);
    assert!((512..=1232).contains(&limit));
    let edns = EdnsReply {
        udp_payload: 1232,
        ede: Some((Ede::NOT_READY, "the server is starting")),
        tcp_keepalive: Some(300),
    };
    let head = ResponseHead::new(Rcode::BADVERS);
    let values = [
        Rdata::A([192, 0, 2, 1].into()),
        Rdata::A([192, 0, 2, 2].into()),
    ];
    let alias = Rdata::Cname(query.qname.to_name());
    let alias = Rrset::encode([&alias], 60).expect("a set of one");
    let addresses = Rrset::encode(&values, 60).expect("a set of two");
    let mut writer = ResponseWriter::new(out, query, head, limit, &edns);
    let target = writer.record(Section::Answer, ResponseWriter::QNAME, alias.record(0));
    for record in addresses.rotated(usize::from(query.id)) {
        target.and_then(|target| writer.record(Section::Answer, target, record));
    }
    writer.soa(Soa {
        apex: ResponseWriter::QNAME,
        apex_length: query.qname.as_wire().len(),
        serial: 1,
        negative_ttl: 5,
    });
    writer.finish(query, head.rcode, &edns);
    assert!(out.len() <= limit);
    let message = Message::parse(out.clone()).expect("we read what we write");
    assert!(message.records().all(|record| record.owner().is_some()));
    assert_eq!(message.has_edns(), query.edns.is_some());
}

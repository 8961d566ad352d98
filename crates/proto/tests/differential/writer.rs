//! Responses that we write and hickory reads.

use hickory_proto::{op, rr};
use portolan_proto::{
    Ede, EdnsReply, Message, Name, Query, Rcode, Rdata, ResponseHead, ResponseWriter, Rrset, Rtype,
    Section, Soa,
};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};
use proptest::proptest;

use crate::strategy;

/// What a response is to say.
#[derive(Clone, Debug)]
struct Plan {
    /// Flags and code of the header.
    head: ResponseHead,
    /// Names that aliases lead to, one after another.
    chain: Vec<rr::Name>,
    /// Values at the end of the chain, all of one type.
    values: Vec<Rdata>,
    /// Which value comes first.
    rotation: usize,
    /// TTL of all records.
    ttl: u32,
    /// Labels of the query name before the apex of the SOA, if there is one.
    apex: Option<usize>,
    /// Owner and address of additional records.
    additional: Vec<(rr::Name, [u8; 4])>,
    /// Most octets.
    limit: usize,
    /// Text and code of an extended error.
    ede: Option<(u16, String)>,
    /// Idle time.
    keepalive: Option<u16>,
}

/// A record as both sides print it: owner, type, TTL, data in wire form.
type Line = (Name, u16, u32, Vec<u8>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_response_reads_as_it_was_meant(message in strategy::query(), plan in plan()) {
        let octets = message.to_vec().unwrap();
        let query = Query::read(&octets).unwrap();
        let mut out = Vec::new();
        let lines = write(&mut out, &query, &plan);
        let decoded = op::Message::from_vec(&out).unwrap();

        assert!(out.len() <= plan.limit, "{} > {}", out.len(), plan.limit);
        assert_head(&decoded, &message, &plan);
        assert_records(&decoded, &lines, query.edns.is_some());
        assert_opt(&decoded, &plan);
        let parsed = Message::parse(out).unwrap();
        assert_eq!(parsed.records().count(), decoded.all_sections().count());
    }
}

/// A plan for a response.
fn plan() -> impl Strategy<Value = Plan> {
    let values = prop_oneof![
        vec(any::<[u8; 4]>().prop_map(|a| Rdata::A(a.into())), 0..40),
        vec(any::<[u8; 16]>().prop_map(|a| Rdata::Aaaa(a.into())), 0..40),
        vec(
            strategy::name().prop_map(|name| Rdata::Ptr(strategy::ours(&name))),
            0..8
        ),
    ];
    let head = (0u16..24, any::<[bool; 3]>()).prop_map(|(rcode, [aa, ra, ad])| ResponseHead {
        rcode: Rcode(rcode),
        authoritative: aa,
        recursion_available: ra,
        authentic_data: ad,
    });
    let edns = (
        proptest::option::of((any::<u16>(), "\\PC{0,300}")),
        proptest::option::of(any::<u16>()),
    );
    let records = (
        vec(strategy::name(), 0..5),
        values,
        any::<usize>(),
        0..=0x7fff_ffffu32,
        proptest::option::of(0usize..8),
        vec((strategy::name(), any::<[u8; 4]>()), 0..4),
    );
    let limit = prop_oneof![512usize..1500, 512usize..65_536];
    (head, records, limit, edns).prop_map(|(head, records, limit, (ede, keepalive))| {
        let (chain, values, rotation, ttl, apex, additional) = records;
        Plan {
            head,
            chain,
            values,
            rotation,
            ttl,
            apex,
            additional,
            limit,
            ede,
            keepalive,
        }
    })
}

/// Writes the response and gives what it would say without a limit.
fn write(out: &mut Vec<u8>, query: &Query<'_>, plan: &Plan) -> [Vec<Line>; 3] {
    let edns = EdnsReply {
        udp_payload: 1232,
        ede: plan
            .ede
            .as_ref()
            .map(|(code, text)| (Ede(*code), text.as_str())),
        tcp_keepalive: plan.keepalive,
    };
    let mut writer = ResponseWriter::new(out, query, plan.head, plan.limit, &edns);
    let answers = write_answers(&mut writer, query, plan);
    let mut authorities = Vec::new();
    if let Some(labels) = plan.apex {
        let (offset, apex) = apex(query, labels);
        let soa = Soa {
            apex: ResponseWriter::QNAME + offset,
            apex_length: apex.as_wire().len(),
            serial: plan.ttl / 2,
            negative_ttl: plan.ttl,
        };
        writer.soa(soa);
        authorities.push((apex.clone(), 6, plan.ttl, soa_rdata(&apex, soa)));
    }
    let mut additionals = Vec::new();
    for (owner, address) in &plan.additional {
        let owner = strategy::ours(owner);
        writer.named_record(Section::Additional, &owner, Rtype::A, plan.ttl, address);
        additionals.push((owner, 1, plan.ttl, address.to_vec()));
    }
    writer.finish(query, plan.head.rcode, &edns);
    [answers, authorities, additionals]
}

/// Writes the chain and the values.
fn write_answers(writer: &mut ResponseWriter<'_>, query: &Query<'_>, plan: &Plan) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut owner = query.qname.to_name();
    let mut at = Some(ResponseWriter::QNAME);
    for target in &plan.chain {
        let target = strategy::ours(target);
        let alias = Rrset::encode([&Rdata::Cname(target.clone())], plan.ttl).expect("a set of one");
        at = at.and_then(|at| writer.record(Section::Answer, at, alias.record(0)));
        lines.push((owner, 5, plan.ttl, target.as_wire().to_vec()));
        owner = target;
    }
    let Some(set) = Rrset::encode(&plan.values, plan.ttl) else {
        return lines;
    };
    for record in set.rotated(plan.rotation) {
        if let Some(at) = at {
            writer.record(Section::Answer, at, record);
        }
        let data = record[10..].to_vec();
        lines.push((owner.clone(), set.rtype().0, plan.ttl, data));
    }
    lines
}

/// Offset and name of an apex, some labels into the query name.
fn apex(query: &Query<'_>, labels: usize) -> (u16, Name) {
    let qname = query.qname.to_name();
    let mut apex = qname.clone();
    for _ in 0..labels {
        apex = apex.parent().unwrap_or(apex);
    }
    let offset = qname.as_wire().len() - apex.as_wire().len();
    (u16::try_from(offset).expect("a name is short"), apex)
}

/// The data that a SOA of ours has, uncompressed.
fn soa_rdata(apex: &Name, soa: Soa) -> Vec<u8> {
    let mailbox: &[u8] = match apex.as_wire().len() {
        ..=244 => b"\x0ahostmaster",
        _ => b"",
    };
    let mut rdata = [apex.as_wire(), mailbox, apex.as_wire()].concat();
    for field in [soa.serial, 7200, 1800, 86400, soa.negative_ttl] {
        rdata.extend_from_slice(&field.to_be_bytes());
    }
    rdata
}

/// A record that hickory read.
fn line(record: &rr::Record) -> Line {
    let data = match &record.data {
        rr::RData::A(address) => address.octets().to_vec(),
        rr::RData::AAAA(address) => address.octets().to_vec(),
        rr::RData::CNAME(name) => strategy::ours(name).as_wire().to_vec(),
        rr::RData::PTR(name) => strategy::ours(name).as_wire().to_vec(),
        rr::RData::SOA(soa) => {
            let mut octets = strategy::ours(&soa.mname).as_wire().to_vec();
            octets.extend_from_slice(strategy::ours(&soa.rname).as_wire());
            octets.extend_from_slice(&soa.serial.to_be_bytes());
            for field in [soa.refresh, soa.retry, soa.expire] {
                octets.extend_from_slice(&field.to_be_bytes());
            }
            octets.extend_from_slice(&soa.minimum.to_be_bytes());
            octets
        }
        other => panic!("a record we do not write: {other:?}"),
    };
    let owner = strategy::ours(&record.name);
    (owner, record.record_type().into(), record.ttl, data)
}

/// Checks the header and the question.
fn assert_head(decoded: &op::Message, asked: &op::Message, plan: &Plan) {
    let (found, sent) = (&decoded.metadata, &asked.metadata);
    assert_eq!(found.id, sent.id);
    assert_eq!(found.message_type, op::MessageType::Response);
    assert_eq!(found.op_code, op::OpCode::Query);
    assert_eq!(found.recursion_desired, sent.recursion_desired);
    assert_eq!(found.checking_disabled, sent.checking_disabled);
    assert_eq!(found.authoritative, plan.head.authoritative);
    assert_eq!(found.recursion_available, plan.head.recursion_available);
    assert_eq!(found.authentic_data, plan.head.authentic_data);
    let rcode = match plan.head.rcode {
        Rcode(16..) if asked.edns.is_none() => Rcode::SERVFAIL,
        rcode => rcode,
    };
    assert_eq!(u16::from(found.response_code), rcode.0);
    assert_eq!(decoded.queries.len(), 1);
    assert!(decoded.queries[0].name.eq_case(&asked.queries[0].name));
    assert_eq!(decoded.queries, asked.queries);
}

/// Checks that the records are the first of those meant, and TC where one of
/// them is missing that is not additional.
fn assert_records(decoded: &op::Message, meant: &[Vec<Line>; 3], edns: bool) {
    let sections = [&decoded.answers, &decoded.authorities, &decoded.additionals];
    let found = sections.map(|section| section.iter().map(line).collect::<Vec<_>>());
    let mut missing = [false; 3];
    for (index, (found, meant)) in found.iter().zip(meant).enumerate() {
        assert!(meant.starts_with(found), "{found:?} of {meant:?}");
        // What follows a record that is left out is left out.
        if missing.contains(&true) {
            assert!(found.is_empty());
        }
        missing[index] = found.len() < meant.len();
    }
    assert_eq!(decoded.metadata.truncation, missing[0] || missing[1]);
    assert_eq!(decoded.edns.is_some(), edns);
}

/// Checks the OPT.
fn assert_opt(decoded: &op::Message, plan: &Plan) {
    let Some(edns) = &decoded.edns else {
        return;
    };
    assert_eq!(edns.max_payload(), 1232);
    assert_eq!(edns.version(), 0);
    let option = |code: u16| -> Option<Vec<u8>> {
        Some(Vec::try_from(edns.option(code.into())?).expect("an option has octets"))
    };
    assert_eq!(
        option(11),
        plan.keepalive.map(|time| time.to_be_bytes().to_vec())
    );
    let ede = option(15);
    assert_eq!(ede.is_some(), plan.ede.is_some());
    if let (Some(found), Some((code, text))) = (ede, &plan.ede) {
        assert_eq!(found[..2], code.to_be_bytes());
        let found = std::str::from_utf8(&found[2..]).expect("text is UTF-8");
        assert!(text.starts_with(found));
        if plan.limit > 1000 {
            assert!(found.len() == text.len() || found.len() > 251);
        }
    }
}

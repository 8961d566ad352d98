//! Responses from upstreams, passed on.

use portolan_forward::Kept;
use portolan_proto::Ede;
use portolan_proto::Flags;
use portolan_proto::Message;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::ResponseHead;
use portolan_proto::ResponseWriter;
use portolan_proto::Rrset;
use portolan_proto::RrsetRef;
use portolan_proto::Section;

use crate::LoadBalance;
use crate::writer::Frame;
use crate::writer::write_chain;

/// Writes what an upstream said, under the id and the question of the client.
/// Gives the code of the response.
pub(crate) fn write(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    frame: &Frame<'_>,
    mut message: Message,
    ede: Option<Ede>,
    order: Option<&LoadBalance>,
    rotation: usize,
) -> Rcode {
    if let Some(order) = order
        && message.rcode() == Rcode::NOERROR
    {
        order.apply(&mut message, rotation);
    }
    let frame = ede.map_or(*frame, |ede| frame.with_ede(ede, ""));
    let head = head(query, &message);
    ResponseWriter::relay(out, query, head, &message, frame.limit, &frame.edns());
    head.rcode
}

/// Writes what the cache has, as [`write()`] does, without a copy of its own.
/// Gives the code of the response.
pub(crate) fn write_kept(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    frame: &Frame<'_>,
    kept: &Kept,
) -> Rcode {
    let message = kept.message();
    let frame = kept.ede().map_or(*frame, |ede| frame.with_ede(ede, ""));
    let head = head(query, message);
    let (limit, message) = (frame.limit, (message, |ttl| kept.ttl(ttl)));
    ResponseWriter::relay_kept(out, query, head, message, limit, &frame.edns());
    head.rcode
}

/// Writes local CNAMEs and what an upstream says about the name they lead
/// to. Gives the code of the response: that of the last name (RFC 6604 §3).
pub(crate) fn write_after(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    frame: &Frame<'_>,
    chain: &[Rrset],
    message: &Message,
    ede: Option<Ede>,
) -> Rcode {
    let rcode = representable(message.rcode(), query);
    let frame = ede.map_or(*frame, |ede| frame.with_ede(ede, ""));
    let edns = frame.edns();
    let head = frame.head(rcode, true);
    let mut writer = ResponseWriter::new(out, query, head, frame.limit, &edns);
    let chain: Vec<RrsetRef<'_>> = chain.iter().map(Rrset::borrowed).collect();
    write_chain(&mut writer, &chain);
    if message.flags().has(Flags::TRUNCATED) {
        writer.truncate();
    }
    for record in message
        .records()
        .filter(|record| record.section != Section::Additional)
    {
        if let (Some(owner), Some(rdata)) = (record.owner(), record.expanded_rdata()) {
            writer.named_record(record.section, &owner, record.rtype, record.ttl, &rdata);
        }
    }
    writer.finish(query, rcode, &edns);
    rcode
}

/// The head of a response that passes a message on. RA is the upstream's (RFC
/// 5625 §4.1), but for an upstream that answers with authority: this server
/// resolves other names, too.
fn head(query: &Query<'_>, message: &Message) -> ResponseHead {
    let authoritative = message.flags().has(Flags::AUTHORITATIVE);
    ResponseHead {
        rcode: representable(message.rcode(), query),
        authoritative,
        recursion_available: authoritative || message.flags().has(Flags::RECURSION_AVAILABLE),
        authentic_data: authentic(query, message),
    }
}

/// AD is for clients that asked for it (RFC 6840 §5.8).
fn authentic(query: &Query<'_>, message: &Message) -> bool {
    let wanted = query.dnssec_ok() || query.flags.has(Flags::AUTHENTIC_DATA);
    wanted && message.flags().has(Flags::AUTHENTIC_DATA)
}

/// A code that fits the header, where the client has no EDNS.
fn representable(rcode: Rcode, query: &Query<'_>) -> Rcode {
    if rcode.0 > 15 && query.edns.is_none() {
        Rcode::SERVFAIL
    } else {
        rcode
    }
}

#[cfg(test)]
mod tests {
    use portolan_proto::Class;
    use portolan_proto::Rdata;
    use portolan_proto::Rtype;

    use super::*;
    use crate::testing::cname;
    use crate::testing::query;
    use crate::testing::query_of;

    /// A frame of `limit` octets.
    fn frame(limit: usize) -> Frame<'static> {
        Frame {
            limit,
            recursion_available: true,
            tcp_keepalive: None,
            ede: None,
        }
    }

    /// What an upstream says about `qname`: flags, and a record for each
    /// address.
    fn message(qname: &str, flags: u16, addresses: &[Rdata]) -> Message {
        let mut wire = query(qname, Rtype::A);
        wire[2..4].copy_from_slice(&(Flags::RESPONSE | flags).to_be_bytes());
        wire[7] = u8::try_from(addresses.len()).unwrap();
        for address in addresses {
            wire.extend_from_slice(&[0xc0, 12]);
            let set = Rrset::encode([address], 300).unwrap();
            wire.extend_from_slice(set.record(0));
        }
        Message::parse(wire).unwrap()
    }

    /// OPT from the type on, with DO or without.
    fn opt(dnssec_ok: bool) -> Vec<u8> {
        vec![0, 41, 4, 208, 0, 0, u8::from(dnssec_ok) << 7, 0, 0, 0]
    }

    #[test]
    fn what_the_upstream_says_passes_under_our_id_and_question() {
        let octets = query("X.test", Rtype::A);
        let query = Query::read(&octets).unwrap();
        let upstream = message("x.test", Flags::AUTHORITATIVE, &[crate::testing::a(1)]);
        let mut out = Vec::new();
        let rcode = write(&mut out, &query, &frame(512), upstream, None, None, 0);
        assert_eq!(rcode, Rcode::NOERROR);
        assert_eq!(out[12..octets.len()], octets[12..]);
        let response = Message::parse(out).unwrap();
        assert_eq!(response.id(), query.id);
        assert!(
            response
                .flags()
                .has(Flags::AUTHORITATIVE | Flags::RECURSION_AVAILABLE)
        );
        assert_eq!(response.records().next().unwrap().rdata(), [192, 0, 2, 1]);
    }

    #[test]
    fn an_upstream_that_did_not_resolve_says_so() {
        let octets = query("x.test", Rtype::A);
        let query = Query::read(&octets).unwrap();
        let resolves = Flags::RECURSION_AVAILABLE;
        for (flags, expected) in [
            (0, false),
            (resolves, true),
            (Flags::AUTHORITATIVE, true),
            (Flags::AUTHORITATIVE | resolves, true),
        ] {
            let mut out = Vec::new();
            let upstream = message("x.test", flags, &[]);
            write(&mut out, &query, &frame(512), upstream, None, None, 0);
            let flags = Message::parse(out).unwrap().flags();
            assert_eq!(flags.has(resolves), expected);
        }
    }

    #[test]
    fn ad_is_for_those_who_asked() {
        let plain = query("x.test", Rtype::A);
        let mut wanting = plain.clone();
        wanting[3] |= 0x20;
        let secure = query_of("x.test", Rtype::A, Class::IN, &opt(true));
        let edns = query_of("x.test", Rtype::A, Class::IN, &opt(false));
        for (octets, says, expected) in [
            (&plain, true, false),
            (&edns, true, false),
            (&wanting, true, true),
            (&secure, true, true),
            (&secure, false, false),
        ] {
            let query = Query::read(octets).unwrap();
            let upstream = message("x.test", if says { Flags::AUTHENTIC_DATA } else { 0 }, &[]);
            let mut out = Vec::new();
            write(&mut out, &query, &frame(512), upstream, None, None, 0);
            let flags = Message::parse(out).unwrap().flags();
            assert_eq!(flags.has(Flags::AUTHENTIC_DATA), expected);
        }
    }

    #[test]
    fn after_an_alias_the_code_and_the_records_of_its_target_follow() {
        let octets = query("www.test", Rtype::A);
        let query = Query::read(&octets).unwrap();
        let chain = [Rrset::encode([&cname("host.example")], 60).unwrap()];
        for (upstream, rcode, truncated) in [
            (
                message("host.example", 0, &[crate::testing::a(1)]),
                Rcode::NOERROR,
                false,
            ),
            (message("host.example", 3, &[]), Rcode::NXDOMAIN, false),
            (
                message("host.example", Flags::TRUNCATED, &[]),
                Rcode::NOERROR,
                true,
            ),
        ] {
            let records = upstream.records().count();
            let mut out = Vec::new();
            let given = write_after(&mut out, &query, &frame(512), &chain, &upstream, None);
            let response = Message::parse(out).unwrap();
            assert_eq!((given, response.rcode()), (rcode, rcode));
            assert_eq!(response.flags().has(Flags::TRUNCATED), truncated);
            assert_eq!(response.records().count(), 1 + records);
            let last = response
                .records()
                .last()
                .unwrap()
                .owner()
                .unwrap()
                .to_string();
            assert_eq!(
                last,
                if records == 0 {
                    "www.test."
                } else {
                    "host.example."
                }
            );
        }
    }

    #[test]
    fn an_extended_error_goes_to_clients_with_edns() {
        let chain = [Rrset::encode([&cname("host.example")], 60).unwrap()];
        for (opt, expected) in [(opt(false), Some(Ede::STALE_ANSWER)), (Vec::new(), None)] {
            let octets = query_of("www.test", Rtype::A, Class::IN, &opt);
            let query = Query::read(&octets).unwrap();
            let (mut plain, mut chained) = (Vec::new(), Vec::new());
            let ede = Some(Ede::STALE_ANSWER);
            let upstream = message("www.test", 0, &[]);
            write(&mut plain, &query, &frame(512), upstream, ede, None, 0);
            let upstream = message("host.example", 0, &[]);
            write_after(&mut chained, &query, &frame(512), &chain, &upstream, ede);
            for out in [plain, chained] {
                assert_eq!(Message::parse(out).unwrap().ede(), expected);
            }
        }
    }

    #[test]
    fn loadbalance_orders_positive_answers() {
        let octets = query("x.test", Rtype::A);
        let query = Query::read(&octets).unwrap();
        let order = LoadBalance::default();
        for (order, first) in [(None, 1), (Some(&order), 2)] {
            let upstream = message("x.test", 0, &[1, 2, 3].map(crate::testing::a));
            let mut out = Vec::new();
            write(&mut out, &query, &frame(512), upstream, None, order, 1);
            let response = Message::parse(out).unwrap();
            assert_eq!(
                response.records().next().unwrap().rdata(),
                [192, 0, 2, first]
            );
        }
    }
}

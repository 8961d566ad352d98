//! Responses from upstreams, passed on.

use portolan_proto::Ede;
use portolan_proto::Flags;
use portolan_proto::Message;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::ResponseHead;
use portolan_proto::ResponseWriter;
use portolan_proto::Rrset;
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
    let head = ResponseHead {
        rcode: representable(message.rcode(), query),
        authoritative: message.flags().has(Flags::AUTHORITATIVE),
        recursion_available: true,
        authentic_data: authentic(query, &message),
    };
    ResponseWriter::relay(out, query, head, &message, frame.limit, &frame.edns());
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
) -> Rcode {
    let rcode = representable(message.rcode(), query);
    let edns = frame.edns();
    let head = frame.head(rcode, true);
    let mut writer = ResponseWriter::new(out, query, head, frame.limit, &edns);
    let chain: Vec<&Rrset> = chain.iter().collect();
    write_chain(&mut writer, &chain);
    for record in message.records().filter(|record| record.section != Section::Additional) {
        if let (Some(owner), Some(rdata)) = (record.owner(), record.expanded_rdata()) {
            writer.named_record(record.section, &owner, record.rtype, record.ttl, &rdata);
        }
    }
    writer.finish(query, rcode, &edns);
    rcode
}

/// AD is for clients that asked for it (RFC 6840 §5.8).
fn authentic(query: &Query<'_>, message: &Message) -> bool {
    let wanted = query.dnssec_ok() || query.flags.has(Flags::AUTHENTIC_DATA);
    wanted && message.flags().has(Flags::AUTHENTIC_DATA)
}

/// A code that fits the header, where the client has no EDNS.
fn representable(rcode: Rcode, query: &Query<'_>) -> Rcode {
    if rcode.0 > 15 && query.edns.is_none() { Rcode::SERVFAIL } else { rcode }
}

//! What a response says, and for how long that holds.

use portolan_proto::Flags;
use portolan_proto::Message;
use portolan_proto::Name;
use portolan_proto::Rcode;
use portolan_proto::Record;
use portolan_proto::Rtype;
use portolan_proto::Section;

use crate::Question;

/// What a response says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There are records.
    Success,
    /// There is no such name, or no record of the type.
    Denial,
    /// The upstream failed.
    Failure,
}

/// Most aliases in a row that are followed.
const MAX_CHAIN: usize = 16;

/// Whether a response is about a question.
pub(crate) fn is_answer_to(message: &Message, question: &Question) -> bool {
    message.question() == Some((question.qname, question.qtype, question.qclass))
}

/// What a response to a question says; `None` if it is not to be kept.
/// `epoch` is the time in seconds since 1970.
pub(crate) fn kind(message: &Message, question: &Question, epoch: u32) -> Option<Kind> {
    // RFC 2181 §9: what is truncated is not to be kept.
    if message.flags().has(Flags::TRUNCATED) || is_transfer(question.qtype) {
        return None;
    }
    match message.rcode() {
        Rcode::SERVFAIL | Rcode::NOTIMP => Some(Kind::Failure),
        // RFC 2308 §5: a negative answer without SOA is not kept.
        Rcode::NXDOMAIN => has_soa(message).then_some(Kind::Denial),
        Rcode::NOERROR if answers(message, question) => {
            let expired = question.dnssec_ok && has_expired_signature(message, epoch);
            (!expired).then_some(Kind::Success)
        }
        Rcode::NOERROR => has_soa(message).then_some(Kind::Denial),
        _ => None,
    }
}

/// The TTL of a response: the least of its records. Of a negative one, not
/// more than the last field of its SOA (RFC 2308 §5).
pub(crate) fn ttl(kind: Kind, message: &Message) -> u32 {
    let least = message
        .records()
        .map(|record| record.ttl)
        .min()
        .unwrap_or(0);
    match kind {
        Kind::Success | Kind::Failure => least,
        Kind::Denial => negative_ttl(message).map_or(least, |minimum| least.min(minimum)),
    }
}

/// For how long the absence that a response tells of may be believed: the last
/// field of its SOA.
pub(crate) fn negative_ttl(message: &Message) -> Option<u32> {
    soa(message)?.soa_minimum()
}

/// Whether a type stands for a whole zone or for the message itself.
fn is_transfer(qtype: Rtype) -> bool {
    matches!(
        qtype,
        Rtype::AXFR | Rtype::IXFR | Rtype::TSIG | Rtype::TKEY | Rtype::OPT
    )
}

/// Whether the answer section has records of the type at the end of the
/// chain of aliases that begins with the name asked for.
fn answers(message: &Message, question: &Question) -> bool {
    let records = || section(message, Section::Answer);
    let is_wanted = |rtype| question.qtype == Rtype::ANY || rtype == question.qtype;
    let mut name = question.qname.to_name();
    for _ in 0..MAX_CHAIN {
        let mut alias: Option<Name> = None;
        for record in records().filter(|record| record.owner().as_ref() == Some(&name)) {
            if is_wanted(record.rtype) {
                return true;
            }
            if record.rtype == Rtype::CNAME {
                alias = record.rdata_name();
            }
        }
        match alias {
            Some(target) => name = target,
            None => return false,
        }
    }
    false
}

/// Whether there is a SOA in the authority section.
fn has_soa(message: &Message) -> bool {
    soa(message).is_some()
}

/// The SOA of the authority section.
fn soa(message: &Message) -> Option<Record<'_>> {
    section(message, Section::Authority).find(|record| record.rtype == Rtype::SOA)
}

/// The records of a section.
fn section(message: &Message, section: Section) -> impl Iterator<Item = Record<'_>> {
    message
        .records()
        .filter(move |record| record.section == section)
}

/// Whether a signature of the answer is past its time (RFC 4034 §3.1.5:
/// serial number arithmetic).
fn has_expired_signature(message: &Message, epoch: u32) -> bool {
    section(message, Section::Answer)
        .filter(|record| record.rtype == Rtype::RRSIG)
        .filter_map(|record| record.rdata().get(8..12)?.first_chunk::<4>().copied())
        .any(|expiration| {
            let left = u32::from_be_bytes(expiration).wrapping_sub(epoch);
            left == 0 || left > 0x8000_0000
        })
}

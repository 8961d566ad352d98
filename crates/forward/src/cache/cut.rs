//! Nothing is below a name that does not exist (RFC 8020).
//!
//! Only where the upstream has verified that (AD): too many servers deny names
//! that others are below. What is denied so is denied for all types (RFC 2308
//! §5), and until something is heard of a name below it. Clients that want to
//! verify it themselves (DO, CD) are left to upstreams.

use std::time::Instant;

use portolan_proto::Class;
use portolan_proto::Flags;
use portolan_proto::Message;
use portolan_proto::Rcode;
use portolan_proto::Rtype;
use portolan_proto::Section;

use super::Cache;
use super::Entry;
use super::Kind;
use super::Ttls;
use super::answer;
use super::key::Key;
use crate::Answer;
use crate::Question;

impl Cache {
    /// Answers that there is no such name because there is none above it.
    /// `is_of_same` says whether a name, in wire form, is for the same
    /// upstreams as that of the question.
    pub(crate) fn cut(
        &self,
        question: &Question,
        now: Instant,
        is_of_same: impl Fn(&[u8]) -> bool,
    ) -> Option<Answer> {
        let verifies = question.dnssec_ok || question.checking_disabled;
        if verifies || !question.recursion_desired || !self.covers(&question.qname) {
            return None;
        }
        let (name, entry, remaining) = above(question.qname.as_wire()).find_map(|name| {
            let entry = self.denial.get(&Key::below(name, question.qclass))?;
            let remaining = entry.remaining(now)?;
            Some((name, entry, remaining))
        })?;
        if !is_of_same(name) {
            return None;
        }
        let message = denial(question, entry.message())?;
        let denied = Entry::new(message, Kind::Denial, entry.lifetime(), now);
        self.metrics.requests.inc();
        self.denial.metrics().hits.inc();
        Some(answer(
            question,
            &denied,
            Ttls::Fixed(remaining),
            entry.message().ede(),
        ))
    }

    /// Keeps that nothing is below a name, or that something is.
    pub(super) fn note_cut(&self, question: &Question, entry: &Entry) {
        // Who sets CD may hear of names that there are not.
        if question.checking_disabled {
            return;
        }
        let message = entry.message();
        if denies_all_below(message) {
            let key = Key::below(question.qname.as_wire(), question.qclass);
            self.denial.insert(&key, entry.again());
        } else if entry.kind() != Kind::Failure && message.rcode() == Rcode::NOERROR {
            for name in above(question.qname.as_wire()) {
                self.denial.remove(&Key::below(name, question.qclass));
            }
        }
    }
}

/// The name and all above it but the root, in wire form.
fn above(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let (&length, tail) = rest.split_first().filter(|(length, _)| **length > 0)?;
        let name = rest;
        rest = tail.get(usize::from(length)..).unwrap_or_default();
        Some(name)
    })
}

/// Whether a response proves that there is nothing at or below the name
/// itself; behind an alias, it is about another one.
fn denies_all_below(message: &Message) -> bool {
    message.rcode() == Rcode::NXDOMAIN
        && message.flags().has(Flags::AUTHENTIC_DATA)
        && message
            .records()
            .all(|record| record.section != Section::Answer)
}

/// The denial of a name, with the SOA of the denial of one above it.
fn denial(question: &Question, above: &Message) -> Option<Message> {
    let soa = above
        .records()
        .find(|record| record.section == Section::Authority && record.rtype == Rtype::SOA)?;
    let bits = Flags::RESPONSE | Flags::RECURSION_AVAILABLE | Flags::AUTHENTIC_DATA;
    let data = soa.expanded_rdata()?;
    let mut wire = vec![0, 0];
    wire.extend_from_slice(&(bits | Rcode::NXDOMAIN.0).to_be_bytes());
    wire.extend_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    wire.extend_from_slice(question.octets());
    wire.extend_from_slice(soa.owner()?.as_wire());
    wire.extend_from_slice(&Rtype::SOA.0.to_be_bytes());
    wire.extend_from_slice(&Class::IN.0.to_be_bytes());
    wire.extend_from_slice(&soa.ttl.to_be_bytes());
    wire.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
    wire.extend_from_slice(&data);
    Message::parse(wire).ok()
}

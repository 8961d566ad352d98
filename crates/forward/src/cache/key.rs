//! What an entry is kept under.

use portolan_proto::Class;
use portolan_proto::MAX_NAME;
use portolan_proto::Rtype;

use crate::Question;

/// Octets of the longest key: name, type, class and flags.
const MAX_KEY: usize = MAX_NAME + 5;

/// Among the flags: this is about all that is at or below a name.
const BELOW: u8 = 4;

/// Name in lower case, type, class, DO and CD, in one run of octets on the
/// stack.
///
/// DO and CD are part of the key because upstreams answer differently: with
/// signatures, and without validation (RFC 6840 §5.9). Answers to one are
/// not to be had by asking the other.
pub(crate) struct Key {
    /// The octets.
    octets: [u8; MAX_KEY],
    /// How many there are.
    length: usize,
}

// === impl Key ===

impl Key {
    /// The key of a question.
    pub(crate) fn new(question: &Question) -> Self {
        let name = question.qname.as_wire();
        let [t0, t1] = question.qtype.0.to_be_bytes();
        let [c0, c1] = question.qclass.0.to_be_bytes();
        let flags = u8::from(question.dnssec_ok) | u8::from(question.checking_disabled) << 1;
        let mut octets = [0; MAX_KEY];
        let (head, tail) = octets.split_at_mut(name.len());
        head.copy_from_slice(name);
        if let Some(rest) = tail.first_chunk_mut() {
            *rest = [t0, t1, c0, c1, flags];
        }
        Self {
            octets,
            length: name.len() + 5,
        }
    }

    /// The key of what is known about all that is at or below a name, in wire
    /// form. A flag of its own tells it from every question: type 0 may be
    /// asked for, though nothing has it (RFC 6895 §3.1).
    pub(super) fn below(name: &[u8], qclass: Class) -> Self {
        let [c0, c1] = qclass.0.to_be_bytes();
        let mut octets = [0; MAX_KEY];
        let length = name.len().min(MAX_NAME);
        let (head, tail) = octets.split_at_mut(length);
        head.copy_from_slice(name.get(..length).unwrap_or_default());
        if let Some(rest) = tail.first_chunk_mut() {
            *rest = [0, 0, c0, c1, BELOW];
        }
        Self {
            octets,
            length: length + 5,
        }
    }

    /// The name in a key, in wire form, and the type: none if it is about all
    /// that is at or below the name.
    pub(super) fn parts_of(octets: &[u8]) -> Option<(&[u8], Option<Rtype>)> {
        let (name, [t0, t1, _, _, flags]) = octets.split_last_chunk::<5>()?;
        let is_below = flags & BELOW != 0;
        let qtype = Rtype(u16::from_be_bytes([*t0, *t1]));
        Some((name, (!is_below).then_some(qtype)))
    }

    /// The octets.
    pub(crate) fn as_octets(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_upstreams_tell_apart_is_in_the_key() {
        let base = Question::new(&"a.example".parse().unwrap(), Rtype::A, Class::IN);
        let mut keys = vec![Key::new(&base).as_octets().to_vec()];
        for change in [
            |q: &mut Question| *q = q.with_type(Rtype::AAAA),
            |q: &mut Question| q.qclass = Class::CH,
            |q: &mut Question| q.dnssec_ok = true,
            |q: &mut Question| q.checking_disabled = true,
            |q: &mut Question| *q = q.with_name(&"b.example".parse().unwrap()),
        ] {
            let mut question = base.clone();
            change(&mut question);
            keys.push(Key::new(&question).as_octets().to_vec());
        }
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn the_longest_name_has_a_key() {
        let text = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        let question = Question::new(&text.parse().unwrap(), Rtype::A, Class::IN);
        assert_eq!(Key::new(&question).as_octets().len(), MAX_KEY);
    }
}

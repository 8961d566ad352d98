//! As much of a message as there is room for.

use super::{MAX_POINTERS, Message, Section, Span};
use crate::query::RawRecord;
use crate::{MAX_NAME, Rtype};

/// How much of a message is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Where the records that are passed on end.
    pub(crate) end: usize,
    /// How many there are in each section.
    pub(crate) counts: [u16; 3],
    /// Whether one is missing that is not additional.
    pub(crate) truncated: bool,
}

impl Message {
    /// Cuts the message before the first RRset that does not end within
    /// `limit`. No part of an RRset is sent without the rest, and TC is not for
    /// additional data (RFC 2181 §9).
    pub(crate) fn cut(&self, limit: usize) -> Cut {
        let mut cut = Cut {
            end: self.question_end,
            counts: [0; 3],
            truncated: false,
        };
        if self.wire.len() <= limit {
            cut.end = self.wire.len();
            cut.counts = self.counts();
            return cut;
        }
        let mut before = cut;
        let mut last: Option<&Span> = None;
        for span in &self.spans {
            if !last.is_some_and(|last| self.belong_together(last, span)) {
                before = cut;
            }
            if usize::from(span.end) > limit {
                before.truncated = span.section != Section::Additional;
                return before;
            }
            cut.end = usize::from(span.end);
            cut.counts[span.section as usize] += 1;
            last = Some(span);
        }
        cut
    }

    /// Whether two records are of one RRset. Its signatures go with it, but for
    /// additional data: an address is of use without.
    fn belong_together(&self, one: &Span, other: &Span) -> bool {
        let read = |span: &Span| RawRecord::read(&self.wire, usize::from(span.start));
        let Some((first, second)) = read(one).zip(read(other)) else {
            return false;
        };
        one.section == other.section
            && first.class == second.class
            && set_type(&first) == set_type(&second)
            && (one.section != Section::Additional || first.rtype == second.rtype)
            && is_same_name(&self.wire, one.start.into(), other.start.into())
    }
}

/// The type of the RRset that a record is part of, or vouches for.
fn set_type(record: &RawRecord<'_>) -> Rtype {
    // RFC 4034 §3.1.1: a signature begins with the type that it covers.
    match record.rdata.first_chunk::<2>() {
        Some(covered) if record.rtype == Rtype::RRSIG => Rtype(u16::from_be_bytes(*covered)),
        _ => record.rtype,
    }
}

/// Whether the names at two places are the same.
fn is_same_name(message: &[u8], mut one: usize, mut other: usize) -> bool {
    for _ in 0..MAX_NAME {
        let labels = label(message, &mut one).zip(label(message, &mut other));
        let Some((first, second)) = labels else {
            return false;
        };
        if !first.eq_ignore_ascii_case(second) {
            return false;
        }
        if first.is_empty() || one == other {
            return true;
        }
    }
    false
}

/// The label at a place, or where pointers lead from there; the place moves
/// behind it.
fn label<'a>(message: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    for _ in 0..=MAX_POINTERS {
        let length = *message.get(*at)?;
        if length < 64 {
            let begin = *at + 1;
            *at = begin + usize::from(length);
            return message.get(begin..*at);
        }
        let low = *message.get(*at + 1)?;
        *at = usize::from(u16::from_be_bytes([length & 0x3f, low]));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets of the header and the question of [`message`].
    const START: usize = 12 + 7;

    /// A record: owner, type, data, section.
    type Record<'a> = (&'a [u8], Rtype, &'a [u8], Section);

    #[test]
    fn what_fits_is_whole() {
        let message = message(&[
            (b"\xc0\x0c", Rtype::A, &[1; 4], Section::Answer),
            (b"\xc0\x0c", Rtype::TXT, &[1; 4], Section::Additional),
        ]);
        let whole = Cut {
            end: START + 32,
            counts: [1, 0, 1],
            truncated: false,
        };
        assert_eq!(message.cut(START + 32), whole);
        assert_eq!(message.cut(usize::MAX), whole);
    }

    #[test]
    fn an_rrset_is_there_with_its_signatures_or_not_at_all() {
        let a = [0, 1, 7, 7, 7, 7];
        let txt = [0, 16, 7, 7, 7, 7];
        let records: &[Record<'_>] = &[
            // 16 octets; 18 a signature.
            (b"\xc0\x0c", Rtype::A, &[1; 4], Section::Answer),
            // The same name, in other words.
            (b"\x01A\x00", Rtype::A, &[2; 3], Section::Answer),
            (b"\xc0\x0c", Rtype::RRSIG, &a, Section::Answer),
            (b"\xc0\x0c", Rtype::TXT, &[3; 4], Section::Answer),
            (b"\xc0\x0c", Rtype::RRSIG, &txt, Section::Answer),
            (b"\x01b\x00", Rtype::A, &[4; 3], Section::Authority),
        ];
        let message = message(records);
        for (room, count, authorities) in [
            (49, 0, 0),
            (50, 3, 0),
            (66, 3, 0),
            (83, 3, 0),
            (84, 5, 0),
            (99, 5, 0),
            (100, 5, 1),
        ] {
            let cut = message.cut(START + room);
            assert_eq!(cut.counts, [count, authorities, 0], "{room}");
            assert_eq!(cut.truncated, room < 100, "{room}");
        }
    }

    #[test]
    fn additional_sets_that_fit_are_there_without_tc() {
        let a = [0, 1, 7, 7, 7, 7];
        let records: &[Record<'_>] = &[
            (b"\xc0\x0c", Rtype::TXT, &[1; 4], Section::Answer),
            (b"\xc0\x0c", Rtype::A, &[2; 4], Section::Additional),
            (b"\xc0\x0c", Rtype::RRSIG, &a, Section::Additional),
            (b"\xc0\x0c", Rtype::AAAA, &[3; 4], Section::Additional),
            (b"\xc0\x0c", Rtype::AAAA, &[4; 4], Section::Additional),
        ];
        let message = message(records);
        for (room, answers, additionals) in [
            (15, 0, 0),
            (16, 1, 0),
            (32, 1, 1),
            (50, 1, 2),
            (81, 1, 2),
            (82, 1, 4),
        ] {
            let cut = message.cut(START + room);
            assert_eq!(cut.counts, [answers, 0, additionals], "{room}");
            assert_eq!(cut.truncated, answers == 0, "{room}");
        }
    }

    #[test]
    fn names_are_compared_to_their_end() {
        let message = b"\x01a\x01b\x00\x01a\xc0\x02\x01A\x01b\x01c\x00\xc0\xff\xc0\x12";
        assert!(is_same_name(message, 0, 5));
        assert!(is_same_name(message, 5, 0));
        assert!(!is_same_name(message, 0, 9));
        assert!(!is_same_name(message, 0, 2));
        // A pointer to nowhere, and one to itself.
        assert!(!is_same_name(message, 16, 16));
        assert!(!is_same_name(message, 18, 18));
    }

    /// A response about `a.`.
    fn message(records: &[Record<'_>]) -> Message {
        let mut wire = b"\0\x01\x80\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
        for (owner, rtype, data, section) in records {
            wire[7 + 2 * *section as usize] += 1;
            wire.extend_from_slice(owner);
            wire.extend_from_slice(&rtype.0.to_be_bytes());
            wire.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0]);
            wire.push(u8::try_from(data.len()).unwrap());
            wire.extend_from_slice(data);
        }
        Message::parse(wire).unwrap()
    }
}

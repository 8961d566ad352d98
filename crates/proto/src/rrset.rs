//! RRsets in prebuilt wire form.

use std::fmt;
use std::sync::Arc;

use crate::{Qname, Rdata, Rtype};

/// All records of one owner and type, encoded once so that an answer is a
/// copy.
///
/// The records stand one behind the other, each without its owner: type,
/// class, TTL, length and data. The writer puts the owner before each. Cloning
/// is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct Rrset(Arc<[u8]>);

/// An [`Rrset`] on loan.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RrsetRef<'a>(&'a [u8]);

// === impl Rrset ===

impl Rrset {
    /// Most octets of one RRset: it has to fit a message with its question,
    /// owners and OPT.
    pub const MAX_WIRE: usize = 48 * 1024;

    /// Encodes the values of one owner and type. Values of another type than
    /// the first one's are left out, and so is what would exceed
    /// [`Self::MAX_WIRE`]; there is no set of nothing.
    pub fn encode<'a>(values: impl IntoIterator<Item = &'a Rdata>, ttl: u32) -> Option<Self> {
        let mut values = values.into_iter().peekable();
        let rtype = values.peek()?.rtype();
        let mut octets = Vec::new();
        let mut rdata = Vec::new();
        for value in values.filter(|value| value.rtype() == rtype) {
            if octets.len() >= Self::MAX_WIRE {
                break;
            }
            rdata.clear();
            value.write_to(&mut rdata);
            Self::write_record(&mut octets, rtype, ttl, &rdata);
        }
        Some(Self(octets.into()))
    }

    /// Appends a record to others of its set.
    pub fn write_record(records: &mut Vec<u8>, rtype: Rtype, ttl: u32, rdata: &[u8]) {
        let length = u16::try_from(rdata.len()).expect("a name or address is short");
        records.extend_from_slice(&rtype.0.to_be_bytes());
        records.extend_from_slice(&[0, 1]);
        // RFC 2181 §8: a TTL has 31 bits.
        records.extend_from_slice(&ttl.min(0x7fff_ffff).to_be_bytes());
        records.extend_from_slice(&length.to_be_bytes());
        records.extend_from_slice(rdata);
    }

    /// The set, on loan.
    pub fn borrowed(&self) -> RrsetRef<'_> {
        RrsetRef(&self.0)
    }

    /// Type of the records.
    pub fn rtype(&self) -> Rtype {
        self.borrowed().rtype()
    }

    /// TTL of the records in seconds (RFC 2181 §5.2: one for the set).
    pub fn ttl(&self) -> u32 {
        self.borrowed().ttl()
    }

    /// How many records there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "an RRset is never empty")]
    pub fn len(&self) -> usize {
        self.borrowed().len()
    }

    /// The octets of one record after its owner: type, class, TTL, length,
    /// data.
    pub fn record(&self, index: usize) -> &[u8] {
        self.borrowed().record(index)
    }

    /// The records, beginning with the one `rotation` asks for and wrapping.
    pub fn rotated(&self, rotation: usize) -> impl Iterator<Item = &[u8]> {
        self.borrowed().rotated(rotation)
    }
}

impl fmt::Debug for Rrset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrowed().fmt(f)
    }
}

// === impl RrsetRef ===

impl<'a> RrsetRef<'a> {
    /// Takes records as [`Rrset`] encodes them, one behind the other.
    #[inline]
    pub fn from_wire(records: &'a [u8]) -> Self {
        Self(records)
    }

    /// The records, one behind the other.
    #[inline]
    pub fn as_wire(self) -> &'a [u8] {
        self.0
    }

    /// The set, kept.
    pub fn to_rrset(self) -> Rrset {
        Rrset(self.0.into())
    }

    /// Type of the records.
    #[inline]
    pub fn rtype(self) -> Rtype {
        match self.0 {
            [t0, t1, ..] => Rtype(u16::from_be_bytes([*t0, *t1])),
            _ => Rtype(0),
        }
    }

    /// TTL of the records in seconds (RFC 2181 §5.2: one for the set).
    pub fn ttl(self) -> u32 {
        match self.0 {
            [_, _, _, _, t0, t1, t2, t3, ..] => u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            _ => 0,
        }
    }

    /// How many records there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "an RRset is never empty")]
    #[inline]
    pub fn len(self) -> usize {
        match self.record_length() {
            Some(length) => self.0.len() / length,
            None => Records(self.0).count(),
        }
    }

    /// What the CNAME points to, if this is one.
    pub fn target(self) -> Option<Qname> {
        if self.rtype() != Rtype::CNAME {
            return None;
        }
        Qname::read(self.record(0).get(FIXED..)?)
    }

    /// The octets of one record after its owner: type, class, TTL, length,
    /// data.
    #[inline]
    pub fn record(self, index: usize) -> &'a [u8] {
        let record = match self.record_length() {
            Some(length) => self.0.get(index * length..(index + 1) * length),
            None => Records(self.0).nth(index),
        };
        record.unwrap_or_default()
    }

    /// The data of the records, in wire form.
    pub fn rdata(self) -> impl Iterator<Item = &'a [u8]> {
        Records(self.0).map(|record| record.get(FIXED..).unwrap_or_default())
    }

    /// The records, beginning with the one `rotation` asks for and wrapping.
    #[inline]
    pub fn rotated(self, rotation: usize) -> impl Iterator<Item = &'a [u8]> {
        let first = rotation.checked_rem(self.len()).unwrap_or(0);
        let (head, tail) = (Records(self.0).take(first), Records(self.0).skip(first));
        tail.chain(head)
    }

    /// Octets of each record, where all are equally long.
    fn record_length(self) -> Option<usize> {
        match self.rtype() {
            Rtype::A => Some(FIXED + 4),
            Rtype::AAAA => Some(FIXED + 16),
            _ => None,
        }
    }
}

impl fmt::Debug for RrsetRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rrset")
            .field("rtype", &self.rtype())
            .field("ttl", &self.ttl())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Records one behind the other, each without its owner.
struct Records<'a>(&'a [u8]);

// === impl Records ===

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (fixed, _) = self.0.split_first_chunk::<FIXED>()?;
        let [.., l0, l1] = *fixed;
        let length = FIXED + usize::from(u16::from_be_bytes([l0, l1]));
        let (record, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(record)
    }
}

/// Octets of a record between its owner and its data: type, class, TTL,
/// length.
const FIXED: usize = 10;

/// The indices `0..count`, beginning at `rotation` and wrapping.
pub fn rotated(count: usize, rotation: usize) -> impl Iterator<Item = usize> {
    let first = if count == 0 { 0 } else { rotation % count };
    (first..count).chain(0..first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    #[test]
    fn records_are_encoded_once_and_rotate() {
        let values = [
            Rdata::A([192, 0, 2, 1].into()),
            Rdata::A([192, 0, 2, 2].into()),
            Rdata::A([192, 0, 2, 3].into()),
        ];
        let set = Rrset::encode(&values, 60).unwrap();
        assert_eq!(set.record(0), [0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        let last = |rotation| -> Vec<u8> {
            set.rotated(rotation)
                .map(|record| *record.last().unwrap())
                .collect()
        };
        assert_eq!(last(0), [1, 2, 3]);
        assert_eq!(last(1), [2, 3, 1]);
        assert_eq!(last(usize::MAX), last(usize::MAX % 3));
    }

    #[test]
    fn a_set_of_nothing_is_no_set() {
        assert_eq!(Rrset::encode([], 60), None);
    }

    #[test]
    fn a_set_too_large_for_a_message_is_cut() {
        let name: Name = format!("{}.example", "a".repeat(60)).parse().unwrap();
        let values = vec![Rdata::Ptr(name); 2000];
        let set = Rrset::encode(&values, 60).unwrap();
        assert!(set.len() < 2000);
        assert!(set.borrowed().as_wire().len() < Rrset::MAX_WIRE + 100);
    }

    #[test]
    fn a_set_on_loan_says_what_the_set_says() {
        let target: Name = "b.example".parse().unwrap();
        let alias = Rrset::encode([&Rdata::Cname(target.clone())], 60).unwrap();
        let lent = RrsetRef::from_wire(alias.borrowed().as_wire());
        assert_eq!(lent.target().map(Qname::to_name), Some(target.clone()));
        assert_eq!(
            (lent.rtype(), lent.ttl(), lent.len()),
            (Rtype::CNAME, 60, 1)
        );
        assert_eq!(lent.rdata().collect::<Vec<_>>(), [target.as_wire()]);
        assert_eq!(lent.to_rrset(), alias);
        let nothing = RrsetRef::from_wire(&[]);
        assert_eq!((nothing.len(), nothing.rotated(3).count()), (0, 0));
    }

    #[test]
    fn a_ttl_has_31_bits() {
        let set = Rrset::encode([&Rdata::A([192, 0, 2, 1].into())], u32::MAX).unwrap();
        assert_eq!(set.ttl(), 0x7fff_ffff);
    }

    #[test]
    fn records_of_different_lengths_are_told_apart() {
        let names = ["a", "long.example", "b.c"].map(|text| text.parse::<Name>().unwrap());
        let values = names.clone().map(Rdata::Ptr);
        let set = Rrset::encode(&values, 60).unwrap();
        assert_eq!(set.len(), 3);
        let data = |rotation| -> Vec<&[u8]> {
            let records = set.rotated(rotation);
            records.map(|record| &record[FIXED..]).collect()
        };
        let [a, b, c] = names.each_ref().map(Name::as_wire);
        assert_eq!(data(0), [a, b, c]);
        assert_eq!(data(4), [b, c, a]);
        assert_eq!(&set.record(1)[FIXED..], b);
        assert!(set.record(3).is_empty());
    }
}

//! RRsets in prebuilt wire form.

use std::fmt;
use std::sync::Arc;

use crate::{MAX_NAME, Name, Qname, Rdata, Rtype};

/// All records of one owner and type, encoded once so that an answer is a
/// copy.
///
/// One run of octets holds it all, so that a look-up that has compared the
/// owner has the records at hand: the length of the owner and the owner, if it
/// is kept; then each record without its owner: type, class, TTL, length and
/// data. The writer puts the owner before each. Cloning is cheap.
#[derive(Clone)]
pub struct Rrset(Arc<[u8]>);

// === impl Rrset ===

impl Rrset {
    /// Most octets of one RRset: it has to fit a message with its question,
    /// owners and OPT.
    pub const MAX_WIRE: usize = 48 * 1024;

    /// Encodes the values of one owner and type. Values of another type than
    /// the first one's are left out, and so is what would exceed
    /// [`Self::MAX_WIRE`]; there is no set of nothing.
    pub fn encode<'a>(values: impl IntoIterator<Item = &'a Rdata>, ttl: u32) -> Option<Self> {
        Self::build(&[], values, ttl)
    }

    /// Encodes the values of an owner that is kept with them.
    pub fn encode_of<'a>(
        owner: &Name,
        values: impl IntoIterator<Item = &'a Rdata>,
        ttl: u32,
    ) -> Option<Self> {
        Self::build(owner.as_wire(), values, ttl)
    }

    /// An owner that is kept without records, to mark that it exists.
    pub fn mark(owner: &Name) -> Self {
        Self(start(owner.as_wire()).into())
    }

    /// Encodes an owner in wire form, or nothing, and values.
    fn build<'a>(
        owner: &[u8],
        values: impl IntoIterator<Item = &'a Rdata>,
        ttl: u32,
    ) -> Option<Self> {
        let mut values = values.into_iter().peekable();
        let rtype = values.peek()?.rtype();
        // RFC 2181 §8: a TTL has 31 bits.
        let ttl = ttl.min(0x7fff_ffff);
        let mut octets = start(owner);
        let limit = octets.len() + Self::MAX_WIRE;
        for value in values.filter(|value| value.rtype() == rtype) {
            if octets.len() >= limit {
                break;
            }
            octets.extend_from_slice(&rtype.0.to_be_bytes());
            octets.extend_from_slice(&[0, 1]);
            octets.extend_from_slice(&ttl.to_be_bytes());
            octets.extend_from_slice(&[0, 0]);
            let before = octets.len();
            value.write_to(&mut octets);
            let length = u16::try_from(octets.len() - before).expect("a name or address is short");
            octets[before - 2..before].copy_from_slice(&length.to_be_bytes());
        }
        Some(Self(octets.into()))
    }

    /// The owner in lower-case wire form; empty if it is not kept.
    pub fn owner(&self) -> &[u8] {
        self.0.get(1..1 + self.owner_length()).unwrap_or_default()
    }

    /// Type of the records.
    pub fn rtype(&self) -> Rtype {
        match self.wire() {
            [t0, t1, ..] => Rtype(u16::from_be_bytes([*t0, *t1])),
            _ => Rtype(0),
        }
    }

    /// TTL of the records in seconds (RFC 2181 §5.2: one for the set).
    pub fn ttl(&self) -> u32 {
        match self.wire() {
            [_, _, _, _, t0, t1, t2, t3, ..] => u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            _ => 0,
        }
    }

    /// Octets of all records without their owner.
    #[inline]
    pub fn wire_len(&self) -> usize {
        self.wire().len()
    }

    /// How many records there are; at least one, unless this is a mark.
    #[expect(clippy::len_without_is_empty, reason = "an RRset is never empty")]
    #[inline]
    pub fn len(&self) -> usize {
        let wire = self.wire();
        match self.record_length() {
            Some(length) => wire.len() / length,
            None => Records(wire).count(),
        }
    }

    /// What the CNAME points to, if this is one.
    pub fn target(&self) -> Option<Qname> {
        if self.rtype() != Rtype::CNAME {
            return None;
        }
        Qname::read(self.record(0).get(FIXED..)?)
    }

    /// The octets of one record after its owner: type, class, TTL, length,
    /// data.
    #[inline]
    pub fn record(&self, index: usize) -> &[u8] {
        let wire = self.wire();
        let record = match self.record_length() {
            Some(length) => wire.get(index * length..(index + 1) * length),
            None => Records(wire).nth(index),
        };
        record.unwrap_or_default()
    }

    /// The records, beginning with the one `rotation` asks for and wrapping.
    pub fn rotated(&self, rotation: usize) -> impl Iterator<Item = &[u8]> {
        let wire = self.wire();
        let count = self.len();
        let first = rotation.checked_rem(count).unwrap_or(0);
        let (head, tail) = (Records(wire).take(first), Records(wire).skip(first));
        tail.chain(head)
    }

    /// The records.
    #[inline]
    fn wire(&self) -> &[u8] {
        self.0.get(1 + self.owner_length()..).unwrap_or_default()
    }

    /// Octets of the owner.
    fn owner_length(&self) -> usize {
        self.0.first().copied().map_or(0, usize::from)
    }

    /// Octets of each record, where all are equally long.
    fn record_length(&self) -> Option<usize> {
        match self.rtype() {
            Rtype::A => Some(FIXED + 4),
            Rtype::AAAA => Some(FIXED + 16),
            _ => None,
        }
    }
}

/// The owner makes no difference: it is kept for look-ups.
impl PartialEq for Rrset {
    fn eq(&self, other: &Self) -> bool {
        self.wire() == other.wire()
    }
}

impl Eq for Rrset {}

impl fmt::Debug for Rrset {
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

/// The start of a set: its owner.
fn start(owner: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(1 + MAX_NAME);
    octets.push(u8::try_from(owner.len()).expect("a name has 255 octets at most"));
    octets.extend_from_slice(owner);
    octets
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
        assert!(set.wire().len() < Rrset::MAX_WIRE + 100);
    }

    #[test]
    fn an_owner_is_kept_beside_its_records() {
        let owner: Name = "a.example".parse().unwrap();
        let target: Name = "b.example".parse().unwrap();
        let alias = Rrset::encode_of(&owner, [&Rdata::Cname(target.clone())], 60).unwrap();
        assert_eq!(alias.owner(), owner.as_wire());
        assert_eq!(alias.target().map(Qname::to_name), Some(target.clone()));
        assert_eq!(
            (alias.rtype(), alias.ttl(), alias.len()),
            (Rtype::CNAME, 60, 1)
        );
        assert_eq!(Rrset::encode([&Rdata::Cname(target)], 60), Some(alias));
        let mark = Rrset::mark(&owner);
        assert_eq!((mark.owner(), mark.len()), (owner.as_wire(), 0));
        assert_eq!(mark.rotated(3).count(), 0);
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

//! RRsets in prebuilt wire form.

use crate::{Name, Rdata, Rtype};

/// All records of one owner and type, encoded once so that an answer is a
/// copy.
///
/// Each record stands in `wire` without its owner: type, class, TTL, length
/// and data. The writer puts the owner before each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rrset {
    /// Type of every record.
    rtype: Rtype,
    /// TTL of every record in seconds (RFC 2181 §5.2: one for the set).
    ttl: u32,
    /// Where each record begins in `wire`.
    starts: Box<[u16]>,
    /// The records, one after another, without their owner.
    wire: Box<[u8]>,
    /// What a CNAME points to.
    target: Option<Name>,
}

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
        // RFC 2181 §8: a TTL has 31 bits.
        let ttl = ttl.min(0x7fff_ffff);
        let mut wire = Vec::new();
        let mut starts = Vec::new();
        let mut target = None;
        for value in values.filter(|value| value.rtype() == rtype) {
            let Some(start) = u16::try_from(wire.len())
                .ok()
                .filter(|_| wire.len() < Self::MAX_WIRE)
            else {
                break;
            };
            starts.push(start);
            wire.extend_from_slice(&rtype.0.to_be_bytes());
            wire.extend_from_slice(&[0, 1]);
            wire.extend_from_slice(&ttl.to_be_bytes());
            wire.extend_from_slice(&[0, 0]);
            let before = wire.len();
            value.write_to(&mut wire);
            let length = u16::try_from(wire.len() - before).expect("a name or address is short");
            wire[before - 2..before].copy_from_slice(&length.to_be_bytes());
            if let Rdata::Cname(name) = value {
                target = Some(name.clone());
            }
        }
        Some(Self {
            rtype,
            ttl,
            starts: starts.into(),
            wire: wire.into(),
            target,
        })
    }

    /// Type of the records.
    pub fn rtype(&self) -> Rtype {
        self.rtype
    }

    /// TTL of the records in seconds.
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// How many records there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "an RRset is never empty")]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// What the CNAME points to, if this is one.
    pub fn target(&self) -> Option<&Name> {
        self.target.as_ref()
    }

    /// The octets of one record after its owner: type, class, TTL, length,
    /// data.
    pub fn record(&self, index: usize) -> &[u8] {
        let Some(&start) = self.starts.get(index) else {
            return &[];
        };
        let end = self
            .starts
            .get(index + 1)
            .map_or(self.wire.len(), |&next| usize::from(next));
        self.wire.get(usize::from(start)..end).unwrap_or_default()
    }

    /// The records, beginning with the one `rotation` asks for and wrapping.
    pub fn rotated(&self, rotation: usize) -> impl Iterator<Item = &[u8]> {
        rotated(self.len(), rotation).map(|index| self.record(index))
    }
}

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
        assert!(set.wire.len() < Rrset::MAX_WIRE + 100);
    }
}

//! Rows as octets.
//!
//! What a source says waits like this until it is written. A hosts file has a
//! row for each name and one back, all at once: each takes half of what a
//! [`Row`] takes, and none of them a piece of memory of its own.

use portolan_proto::Name;
use portolan_proto::Rdata;

use crate::Row;
use crate::claim::Kind;

/// Rows, one behind the other: length of the owner u8, length of the value u8,
/// type u8, TTL u32, owner, value.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    /// How many there are.
    count: usize,
    /// The rows.
    octets: Box<[u8]>,
}

/// One row, as it stands. The order is that of owners, then of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PackedRow<'a> {
    /// Who the record belongs to.
    pub(crate) owner: &'a [u8],
    /// Type of the value.
    pub(crate) kind: Kind,
    /// The value in wire form.
    pub(crate) value: &'a [u8],
    /// Its TTL in seconds.
    pub(crate) ttl: u32,
}

// === impl Packed ===

impl Packed {
    /// Takes rows over.
    pub(crate) fn new(rows: &[Row]) -> Self {
        let length = |row: &Row| HEAD + row.owner.as_wire().len() + value_length(&row.rdata);
        let mut octets = Vec::with_capacity(rows.iter().map(length).sum());
        for row in rows {
            let owner = row.owner.as_wire();
            octets.extend_from_slice(&[short(owner.len()), short(value_length(&row.rdata))]);
            octets.push(Kind::of_value(&row.rdata).octet());
            octets.extend_from_slice(&row.ttl.to_le_bytes());
            octets.extend_from_slice(owner);
            row.rdata.write_to(&mut octets);
        }
        Self {
            count: rows.len(),
            octets: octets.into(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The rows, each with the place where it begins.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, PackedRow<'_>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let row = self.row(at)?;
            let begin = at;
            at += u32::try_from(HEAD + row.owner.len() + row.value.len()).ok()?;
            Some((begin, row))
        })
    }

    /// The row that begins at a place.
    pub(crate) fn row(&self, at: u32) -> Option<PackedRow<'_>> {
        let octets = self.octets.get(usize::try_from(at).ok()?..)?;
        let ([owner, value, kind, t0, t1, t2, t3], rest) = octets.split_first_chunk::<HEAD>()?;
        let (owner, rest) = rest.split_at_checked(usize::from(*owner))?;
        Some(PackedRow {
            owner,
            kind: Kind::read(*kind),
            value: rest.get(..usize::from(*value))?,
            ttl: u32::from_le_bytes([*t0, *t1, *t2, *t3]),
        })
    }
}

// === impl PackedRow ===

impl PackedRow<'_> {
    /// Whether two rows say the same but for the TTL.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.owner, self.kind, self.value) == (other.owner, other.kind, other.value)
    }
}

/// Octets of a value.
fn value_length(value: &Rdata) -> usize {
    match value {
        Rdata::A(_) => 4,
        Rdata::Aaaa(_) => 16,
        Rdata::Cname(name) | Rdata::Ptr(name) => Name::as_wire(name).len(),
    }
}

/// The length of a name or an address.
fn short(length: usize) -> u8 {
    u8::try_from(length).expect("an address or a name is short")
}

/// Octets of a row before its owner.
const HEAD: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_as_they_were_put_in() {
        let long = format!("{}.example", ["a".repeat(60), "b".repeat(60)].join("."));
        let rows = [
            (".", Rdata::A([192, 0, 2, 1].into()), 0),
            (&long, Rdata::Ptr(long.parse().unwrap()), u32::MAX),
            ("b.example", Rdata::Aaaa("2001:db8::1".parse().unwrap()), 60),
            ("c.example", Rdata::Cname(".".parse().unwrap()), 5),
        ]
        .map(|(owner, rdata, ttl)| Row {
            owner: owner.parse().unwrap(),
            rdata,
            ttl,
        });
        let packed = Packed::new(&rows);
        assert_eq!(packed.len(), rows.len());
        assert_eq!(packed.iter().count(), rows.len());
        for ((at, found), row) in packed.iter().zip(&rows) {
            let mut value = Vec::new();
            row.rdata.write_to(&mut value);
            let expected = PackedRow {
                owner: row.owner.as_wire(),
                kind: Kind::of_value(&row.rdata),
                value: &value,
                ttl: row.ttl,
            };
            assert_eq!(found, expected);
            assert_eq!(packed.row(at), Some(expected));
        }
    }

    #[test]
    fn rows_that_differ_in_the_ttl_are_alike() {
        let row = |last: u8, ttl| Row {
            owner: "a.example".parse().unwrap(),
            rdata: Rdata::A([192, 0, 2, last].into()),
            ttl,
        };
        let packed = Packed::new(&[row(1, 60), row(1, 5), row(2, 60)]);
        let [first, second, third]: [PackedRow<'_>; 3] = packed
            .iter()
            .map(|(_, row)| row)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        assert!(first.is_like(&second));
        assert!(!first.is_like(&third));
        assert!(second < first, "the smaller TTL comes first");
        assert!(first < third);
    }
}

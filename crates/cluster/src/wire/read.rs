//! Octets to messages.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::sync::Arc;

use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_table::Row;

use super::Assertion;
use super::Bye;
use super::Delta;
use super::Digest;
use super::Entry;
use super::MAX_ENTRIES;
use super::MAX_EPOCH;
use super::MAX_ORIGIN;
use super::MAX_ROWS;
use super::MAX_VERSION;
use super::Message;
use super::Op;
use super::PROTOCOL;
use super::Pull;
use super::Restarted;
use super::Snapshot;
use super::Stamp;
use super::WireError;
use super::kind;
use super::op;
use super::write::rtype;
use crate::member::MAX_NAME;
use crate::member::MemberId;

/// Fewest octets of a record: the root, the type, the TTL, a root as data.
const MIN_ROW: usize = 4;

/// Fewest octets of a source: number, origin, number of records, a record.
const MIN_SOURCE: usize = 3 + MIN_ROW;

/// Fewest octets of a member's id: `#` and sixteen digits behind their length.
const MIN_ID: usize = 18;

/// Most octets of a member's id: the name, `#` and sixteen digits.
const MAX_ID: usize = MAX_NAME + 17;

/// Octets that are still to be read.
struct Reader<'a> {
    /// The octets.
    rest: &'a [u8],
    /// So many records may still follow.
    rows_left: usize,
}

// === impl Message ===

impl Message {
    /// Reads a message.
    pub(crate) fn decode(octets: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader {
            rest: octets,
            rows_left: MAX_ROWS,
        };
        if reader.octet()? != PROTOCOL {
            return Err(WireError::Protocol);
        }
        let message = match reader.octet()? {
            kind::DELTA => Self::Delta(reader.delta()?),
            kind::DIGEST => Self::Digest(reader.digest()?),
            kind::PULL => Self::Pull(Pull {
                from: reader.member()?,
                owner: reader.member()?,
                have: reader.stamp()?,
            }),
            kind::SNAPSHOT => Self::Snapshot(reader.snapshot()?),
            kind::BYE => Self::Bye(Bye {
                owner: reader.member()?,
                stamp: reader.stamp()?,
                hold_ms: reader.number()?,
            }),
            kind::RESTARTED => Self::Restarted(Restarted {
                owner: reader.member()?,
                former: reader.member()?,
            }),
            _ => return Err(WireError::Kind),
        };
        if reader.rest.is_empty() {
            Ok(message)
        } else {
            Err(WireError::Trailing)
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// So many octets.
    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// So many octets, known in advance.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| WireError::Short)
    }

    /// One octet.
    fn octet(&mut self) -> Result<u8, WireError> {
        let [octet] = self.array()?;
        Ok(octet)
    }

    /// A varint.
    fn number(&mut self) -> Result<u64, WireError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let octet = self.octet()?;
            let bits = u64::from(octet & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Number);
            }
            number |= bits << shift;
            if octet & 0x80 == 0 {
                let is_padded = octet == 0 && shift > 0;
                return if is_padded {
                    Err(WireError::Number)
                } else {
                    Ok(number)
                };
            }
        }
        Err(WireError::Number)
    }

    /// A varint that is at most so large.
    fn number_to(&mut self, most: u64) -> Result<u64, WireError> {
        let number = self.number()?;
        if number > most {
            Err(WireError::Number)
        } else {
            Ok(number)
        }
    }

    /// How many items follow, of so many octets each at least.
    fn count(&mut self, item: usize, most: usize) -> Result<usize, WireError> {
        let count = usize::try_from(self.number()?).map_err(|_| WireError::TooMuch)?;
        if count > most {
            return Err(WireError::TooMuch);
        }
        if count.saturating_mul(item) > self.rest.len() {
            return Err(WireError::Short);
        }
        Ok(count)
    }

    /// A flag.
    fn flag(&mut self) -> Result<bool, WireError> {
        match self.octet()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Number),
        }
    }

    /// A text of so many octets at most.
    fn text(&mut self, most: usize) -> Result<&'a str, WireError> {
        let length = self.count(1, most)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| WireError::Text)
    }

    /// A member.
    fn member(&mut self) -> Result<MemberId, WireError> {
        MemberId::parse(self.text(MAX_ID)?).ok_or(WireError::Text)
    }

    /// Where a set is.
    fn stamp(&mut self) -> Result<Stamp, WireError> {
        Ok(Stamp {
            epoch: self.number_to(MAX_EPOCH)?,
            version: self.number_to(MAX_VERSION)?,
        })
    }

    /// A name.
    fn name(&mut self) -> Result<Name, WireError> {
        let mut length = 0;
        loop {
            let label = *self.rest.get(length).ok_or(WireError::Short)?;
            length += 1 + usize::from(label);
            if label == 0 {
                break;
            }
        }
        Name::from_wire(self.take(length)?).map_err(|_| WireError::Row)
    }

    /// A record.
    fn row(&mut self) -> Result<Row, WireError> {
        let owner = self.name()?;
        let rtype = self.octet()?;
        let ttl = u32::try_from(self.number()?).map_err(|_| WireError::Number)?;
        let rdata = match rtype {
            rtype::A => Rdata::A(Ipv4Addr::from(self.array::<4>()?)),
            rtype::AAAA => Rdata::Aaaa(Ipv6Addr::from(self.array::<16>()?)),
            rtype::CNAME => Rdata::Cname(self.name()?),
            rtype::PTR => Rdata::Ptr(self.name()?),
            _ => return Err(WireError::Row),
        };
        Ok(Row { owner, rdata, ttl })
    }

    /// What a source asserts.
    fn assertion(&mut self) -> Result<Assertion, WireError> {
        let origin = Arc::from(self.text(MAX_ORIGIN)?);
        let count = self.count(MIN_ROW, self.rows_left)?;
        if count == 0 {
            return Err(WireError::Source);
        }
        self.rows_left -= count;
        let mut rows = Vec::with_capacity(count);
        for _ in 0..count {
            rows.push(self.row()?);
        }
        Ok(Assertion { origin, rows })
    }

    /// A change.
    fn op(&mut self) -> Result<Op, WireError> {
        match self.octet()? {
            op::PUT => Ok(Op::Put(self.number()?, self.assertion()?)),
            op::REMOVE => Ok(Op::Remove(self.number()?)),
            op::COMPLETE => Ok(Op::Complete),
            _ => Err(WireError::Kind),
        }
    }

    /// A delta, after its kind.
    fn delta(&mut self) -> Result<Delta, WireError> {
        let owner = self.member()?;
        let epoch = self.number_to(MAX_EPOCH)?;
        let first = self.number_to(MAX_VERSION)?;
        if first == 0 {
            return Err(WireError::Number);
        }
        let count = self.count(1, MAX_ROWS)?;
        let mut ops = Vec::new();
        for _ in 0..count {
            ops.push(self.op()?);
        }
        Ok(Delta {
            owner,
            epoch,
            first,
            ops,
        })
    }

    /// A digest, after its kind.
    fn digest(&mut self) -> Result<Digest, WireError> {
        let from = self.member()?;
        let reply = self.flag()?;
        let count = self.count(MIN_ID + 3, MAX_ENTRIES)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(Entry {
                owner: self.member()?,
                stamp: self.stamp()?,
                beat: self.number_to(MAX_VERSION)?,
            });
        }
        Ok(Digest {
            from,
            reply,
            entries,
        })
    }

    /// A snapshot, after its kind.
    fn snapshot(&mut self) -> Result<Snapshot, WireError> {
        let owner = self.member()?;
        let stamp = self.stamp()?;
        let complete = self.flag()?;
        let count = self.count(MIN_SOURCE, MAX_ROWS)?;
        let mut entries: Vec<(u64, Assertion)> = Vec::new();
        for _ in 0..count {
            let key = self.number()?;
            if entries.last().is_some_and(|(last, _)| *last >= key) {
                return Err(WireError::Source);
            }
            entries.push((key, self.assertion()?));
        }
        Ok(Snapshot {
            owner,
            stamp,
            complete,
            entries,
        })
    }
}

//! Messages between members.
//!
//! An octet with the protocol's version, one with the kind, then fields one
//! after the other: numbers as varints (seven bits an octet, least significant
//! first, in the fewest octets that do), texts and lists behind their length,
//! names uncompressed. A message has one encoding, and what follows its end is
//! an error. Reading is total: no octets make it panic, and nothing is
//! allocated that the octets at hand could not fill.

use std::sync::Arc;

use portolan_proto::Rdata;
use portolan_table::Row;

use crate::member::MemberId;

mod error;
mod read;
mod write;

pub(crate) use error::WireError;
pub(crate) use write::Deltas;
pub(crate) use write::Digests;
pub(crate) use write::snapshot;

/// Version of the protocol. Another version is another cluster.
pub(crate) const PROTOCOL: u8 = 1;

/// Longest description of a source, in octets.
pub(crate) const MAX_ORIGIN: usize = 200;

/// Highest epoch that can be told.
pub(crate) const MAX_EPOCH: u64 = 1 << 48;

/// Highest version that can be told.
pub(crate) const MAX_VERSION: u64 = 1 << 62;

/// So many records can one message have, whatever the rules say.
pub(crate) const MAX_ROWS: usize = 1 << 18;

/// So many members can one digest speak of.
pub(crate) const MAX_ENTRIES: usize = 1_024;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// What changed.
    Delta(Delta),
    /// Who has what.
    Digest(Digest),
    /// Asks for a set.
    Pull(Pull),
    /// A set.
    Snapshot(Snapshot),
    /// A member goes.
    Bye(Bye),
    /// A member took the place of one that is no more.
    Restarted(Restarted),
}

/// Where a set is: the higher is the newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    /// Epoch; moves on when the versions of an epoch cannot be trusted.
    pub(crate) epoch: u64,
    /// Changes so far.
    pub(crate) version: u64,
}

/// Changes of a set, one version each. Without any it says where the set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delta {
    /// The member whose set it is.
    pub(crate) owner: MemberId,
    /// Epoch of the set.
    pub(crate) epoch: u64,
    /// Version that the first change makes.
    pub(crate) first: u64,
    /// The changes.
    pub(crate) ops: Vec<Op>,
}

/// One change of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A source has these records from now on.
    Put(u64, Assertion),
    /// A source has no records any more.
    Remove(u64),
    /// The member's first sync is over.
    Complete,
}

/// What a source asserts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assertion {
    /// What the source is, for people.
    pub(crate) origin: Arc<str>,
    /// Its records: at least one.
    pub(crate) rows: Vec<Row>,
}

/// Which sets a member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    /// The member.
    pub(crate) from: MemberId,
    /// Whether it answers another digest, and is not to be answered itself.
    pub(crate) reply: bool,
    /// The sets, or some of them.
    pub(crate) entries: Vec<Entry>,
}

/// Where a set is, and how lively its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The member whose set it is.
    pub(crate) owner: MemberId,
    /// Where the set is.
    pub(crate) stamp: Stamp,
    /// Highest heartbeat of the owner that was heard of.
    pub(crate) beat: u64,
}

/// Asks for a set that is newer than the one at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pull {
    /// Who asks.
    pub(crate) from: MemberId,
    /// The member whose set is wanted.
    pub(crate) owner: MemberId,
    /// What is at hand.
    pub(crate) have: Stamp,
}

/// A whole set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The member whose set it is.
    pub(crate) owner: MemberId,
    /// Where the set is.
    pub(crate) stamp: Stamp,
    /// Whether the member's first sync is over.
    pub(crate) complete: bool,
    /// The sources, by ascending number.
    pub(crate) entries: Vec<(u64, Assertion)>,
}

/// A member goes: nothing of it counts from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bye {
    /// The member.
    pub(crate) owner: MemberId,
    /// Where its set was.
    pub(crate) stamp: Stamp,
    /// How long its records are kept.
    pub(crate) hold_ms: u64,
}

/// A member says that it has the name and the address of another, which
/// therefore is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restarted {
    /// The member.
    pub(crate) owner: MemberId,
    /// The one that is no more.
    pub(crate) former: MemberId,
}

/// The kinds, as they stand on the wire.
mod kind {
    /// [`Delta`](super::Delta).
    pub(super) const DELTA: u8 = 1;
    /// [`Digest`](super::Digest).
    pub(super) const DIGEST: u8 = 2;
    /// [`Pull`](super::Pull).
    pub(super) const PULL: u8 = 3;
    /// [`Snapshot`](super::Snapshot).
    pub(super) const SNAPSHOT: u8 = 4;
    /// [`Bye`](super::Bye).
    pub(super) const BYE: u8 = 5;
    /// [`Restarted`](super::Restarted).
    pub(super) const RESTARTED: u8 = 6;
}

/// The kinds of changes, as they stand on the wire.
mod op {
    /// [`Op::Put`](super::Op::Put).
    pub(super) const PUT: u8 = 1;
    /// [`Op::Remove`](super::Op::Remove).
    pub(super) const REMOVE: u8 = 2;
    /// [`Op::Complete`](super::Op::Complete).
    pub(super) const COMPLETE: u8 = 3;
}

// === impl Assertion ===

impl Assertion {
    /// Octets that it takes in a message, to within a few.
    pub(crate) fn weight(&self) -> usize {
        let rdata = |rdata: &Rdata| match rdata {
            Rdata::A(_) => 4,
            Rdata::Aaaa(_) => 16,
            Rdata::Cname(name) | Rdata::Ptr(name) => name.as_wire().len(),
        };
        // With the type and the TTL.
        let row = |row: &Row| row.owner.as_wire().len() + 6 + rdata(&row.rdata);
        12 + self.origin.len() + self.rows.iter().map(row).sum::<usize>()
    }
}

#[cfg(test)]
pub(crate) mod tests;

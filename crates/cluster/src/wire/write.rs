//! Messages to octets.

use bytes::Bytes;
use portolan_proto::Rdata;
use portolan_table::Row;

use super::Assertion;
use super::Entry;
use super::Message;
use super::Op;
use super::PROTOCOL;
use super::Stamp;
use super::kind;
use super::op;
use crate::member::MemberId;

/// Types of records, as they stand on the wire.
pub(super) mod rtype {
    /// IPv4 address.
    pub(crate) const A: u8 = 1;
    /// Alias.
    pub(crate) const CNAME: u8 = 5;
    /// Name of an address.
    pub(crate) const PTR: u8 = 12;
    /// IPv6 address.
    pub(crate) const AAAA: u8 = 28;
}

/// Packs changes of one set into messages of limited size.
#[derive(Debug)]
pub(crate) struct Deltas<'a> {
    /// The member whose set it is.
    pub(crate) owner: &'a MemberId,
    /// Epoch of the set.
    pub(crate) epoch: u64,
    /// Largest message, in octets.
    pub(crate) most: usize,
}

/// Packs entries into one digest of limited size.
#[derive(Debug)]
pub(crate) struct Digests {
    /// What comes before the number of entries.
    head: Vec<u8>,
    /// The entries.
    body: Vec<u8>,
    /// Their number.
    count: usize,
    /// Largest message, in octets.
    most: usize,
}

// === impl Message ===

impl Message {
    /// The message as octets.
    pub(crate) fn encode(&self) -> Bytes {
        let out = match self {
            Self::Delta(delta) => {
                let ops: Vec<Vec<u8>> = delta.ops.iter().map(Op::encode).collect();
                write_delta(&delta.owner, delta.epoch, delta.first, &ops)
            }
            Self::Digest(digest) => {
                let mut all = Digests::new(&digest.from, digest.reply, usize::MAX);
                for entry in &digest.entries {
                    all.push(entry);
                }
                return all.finish();
            }
            Self::Pull(pull) => {
                let mut out = start(kind::PULL);
                write_member(&mut out, &pull.from);
                write_member(&mut out, &pull.owner);
                write_stamp(&mut out, pull.have);
                out
            }
            Self::Snapshot(set) => {
                let entries = set.entries.iter().map(|(key, source)| (*key, source));
                return snapshot(&set.owner, set.stamp, set.complete, entries);
            }
            Self::Bye(bye) => {
                let mut out = start(kind::BYE);
                write_member(&mut out, &bye.owner);
                write_stamp(&mut out, bye.stamp);
                write_number(&mut out, bye.hold_ms);
                out
            }
            Self::Restarted(restarted) => {
                let mut out = start(kind::RESTARTED);
                write_member(&mut out, &restarted.owner);
                write_member(&mut out, &restarted.former);
                out
            }
        };
        out.into()
    }
}

// === impl Op ===

impl Op {
    /// The change as octets.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Put(key, assertion) => {
                out.push(op::PUT);
                write_number(&mut out, *key);
                write_assertion(&mut out, assertion);
            }
            Self::Remove(key) => {
                out.push(op::REMOVE);
                write_number(&mut out, *key);
            }
            Self::Complete => out.push(op::COMPLETE),
        }
        out
    }
}

// === impl Deltas ===

impl Deltas<'_> {
    /// The messages for changes that make versions `first` and on; none if one
    /// of them does not fit into a message.
    pub(crate) fn pack(&self, first: u64, ops: &[Vec<u8>]) -> Option<Vec<Bytes>> {
        // Length and digits of the id, kind, protocol, three numbers.
        let head = self.owner.as_str().len() + 32;
        let room = self.most.checked_sub(head)?;
        let mut messages = Vec::new();
        let mut from = 0;
        while from < ops.len() {
            let mut used = 0;
            let fits = |op: &&Vec<u8>| {
                used += op.len();
                used <= room
            };
            let count = ops.iter().skip(from).take_while(fits).count();
            if count == 0 {
                return None;
            }
            let part = ops.get(from..from + count).unwrap_or_default();
            let version = first + u64::try_from(from).unwrap_or(u64::MAX);
            messages.push(write_delta(self.owner, self.epoch, version, part).into());
            from += count;
        }
        Some(messages)
    }

    /// The message that says the set is at `version`.
    pub(crate) fn announce(&self, version: u64) -> Bytes {
        write_delta(self.owner, self.epoch, version + 1, &[]).into()
    }
}

// === impl Digests ===

impl Digests {
    /// A digest of `from` without entries, to grow to so many octets at most.
    pub(crate) fn new(from: &MemberId, reply: bool, most: usize) -> Self {
        let mut head = start(kind::DIGEST);
        write_member(&mut head, from);
        head.push(u8::from(reply));
        Self {
            head,
            body: Vec::new(),
            count: 0,
            most,
        }
    }

    /// Adds an entry; false if there is no room for it.
    pub(crate) fn push(&mut self, entry: &Entry) -> bool {
        let before = self.body.len();
        write_member(&mut self.body, &entry.owner);
        write_stamp(&mut self.body, entry.stamp);
        write_number(&mut self.body, entry.beat);
        // Two octets count up to 16,383 entries.
        if self.head.len() + 2 + self.body.len() > self.most {
            self.body.truncate(before);
            return false;
        }
        self.count += 1;
        true
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The message.
    pub(crate) fn finish(self) -> Bytes {
        let mut out = self.head;
        write_count(&mut out, self.count);
        out.extend_from_slice(&self.body);
        out.into()
    }
}

/// The message with a whole set, its sources by ascending number.
pub(crate) fn snapshot<'a>(
    owner: &MemberId,
    stamp: Stamp,
    complete: bool,
    entries: impl ExactSizeIterator<Item = (u64, &'a Assertion)>,
) -> Bytes {
    let mut out = start(kind::SNAPSHOT);
    write_member(&mut out, owner);
    write_stamp(&mut out, stamp);
    out.push(u8::from(complete));
    write_count(&mut out, entries.len());
    for (key, assertion) in entries {
        write_number(&mut out, key);
        write_assertion(&mut out, assertion);
    }
    out.into()
}

/// The first two octets.
fn start(kind: u8) -> Vec<u8> {
    vec![PROTOCOL, kind]
}

/// A delta.
fn write_delta(owner: &MemberId, epoch: u64, first: u64, ops: &[Vec<u8>]) -> Vec<u8> {
    let mut out = start(kind::DELTA);
    write_member(&mut out, owner);
    write_number(&mut out, epoch);
    write_number(&mut out, first);
    write_count(&mut out, ops.len());
    for op in ops {
        out.extend_from_slice(op);
    }
    out
}

/// A varint.
fn write_number(out: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

/// A length or number of items.
fn write_count(out: &mut Vec<u8>, count: usize) {
    write_number(out, u64::try_from(count).unwrap_or(u64::MAX));
}

/// A text.
fn write_text(out: &mut Vec<u8>, text: &str) {
    write_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// A member.
fn write_member(out: &mut Vec<u8>, member: &MemberId) {
    write_text(out, member.as_str());
}

/// Where a set is.
fn write_stamp(out: &mut Vec<u8>, stamp: Stamp) {
    write_number(out, stamp.epoch);
    write_number(out, stamp.version);
}

/// What a source asserts.
fn write_assertion(out: &mut Vec<u8>, assertion: &Assertion) {
    write_text(out, &assertion.origin);
    write_count(out, assertion.rows.len());
    for row in &assertion.rows {
        write_row(out, row);
    }
}

/// A record.
fn write_row(out: &mut Vec<u8>, row: &Row) {
    out.extend_from_slice(row.owner.as_wire());
    out.push(match row.rdata {
        Rdata::A(_) => rtype::A,
        Rdata::Aaaa(_) => rtype::AAAA,
        Rdata::Cname(_) => rtype::CNAME,
        Rdata::Ptr(_) => rtype::PTR,
    });
    write_number(out, u64::from(row.ttl));
    row.rdata.write_to(out);
}

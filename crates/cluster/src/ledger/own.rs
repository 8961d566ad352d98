//! The records of this member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;

use super::MAX_GOSSIP;
use crate::config::Rules;
use crate::member::MemberId;
use crate::wire;
use crate::wire::Assertion;
use crate::wire::Deltas;
use crate::wire::MAX_EPOCH;
use crate::wire::MAX_ROWS;
use crate::wire::Op;
use crate::wire::Stamp;

/// Changes that follow one another faster than this go out together.
const COALESCE: Duration = Duration::from_millis(20);

/// If more changes than this are pending, the others pull the set.
const MAX_PENDING: usize = 300;

/// The set of this member, and what has not been told of it yet.
///
/// What goes beyond the rules waits outside the set, until others have gone.
#[derive(Debug)]
pub(super) struct OwnSet {
    /// Where it is.
    stamp: Stamp,
    /// Whether the first sync is over.
    complete: bool,
    /// What is shared.
    shared: BTreeMap<u64, Assertion>,
    /// What is not, for want of room.
    waiting: BTreeMap<u64, Assertion>,
    /// Number of the records shared.
    records: usize,
    /// Their octets.
    weight: usize,
    /// So many records may be shared.
    max_records: usize,
    /// So many octets may they have.
    max_weight: usize,
    /// Changes that have not been told, encoded; the last makes the present
    /// version. None if there are too many.
    pending: Option<Vec<Vec<u8>>>,
    /// When they are told.
    flush_at: Option<Instant>,
    /// When changes were last told.
    flushed: Option<Instant>,
    /// The snapshot of the present version, once it was asked for.
    snapshot: Option<Bytes>,
}

// === impl OwnSet ===

impl OwnSet {
    /// A set without records.
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            stamp: Stamp {
                epoch: 1,
                version: 0,
            },
            complete: false,
            shared: BTreeMap::new(),
            waiting: BTreeMap::new(),
            records: 0,
            weight: 0,
            max_records: rules.max_records.min(MAX_ROWS),
            max_weight: rules.max_octets,
            pending: Some(Vec::new()),
            flush_at: None,
            flushed: None,
            snapshot: None,
        }
    }

    /// Where the set is.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// How many records it has.
    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// How many records there is no room for.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.values().map(|source| source.rows.len()).sum()
    }

    /// One of the sources that there is no room for.
    pub(super) fn first_waiting(&self) -> Option<Arc<str>> {
        let first = self.waiting.values().next();
        first.map(|source| Arc::clone(&source.origin))
    }

    /// How many records it may have.
    pub(super) fn limit(&self) -> usize {
        self.max_records
    }

    /// Whether the first sync is over.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// When to tell of changes.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        self.flush_at
    }

    /// A source has these records from now on. What waits is not looked at: see
    /// [`admit`](Self::admit).
    pub(super) fn put(&mut self, key: u64, source: Assertion, now: Instant) {
        if source.rows.is_empty() {
            self.waiting.remove(&key);
            self.remove(key, now);
        } else if self.shared.get(&key) != Some(&source) {
            self.waiting.remove(&key);
            if self.has_room(key, &source) {
                self.share(key, source, now);
            } else {
                self.remove(key, now);
                self.waiting.insert(key, source);
            }
        }
    }

    /// The first sync is over.
    pub(super) fn set_complete(&mut self, now: Instant) {
        if !self.complete {
            self.complete = true;
            self.write(&Op::Complete, now);
        }
    }

    /// Changes how much may be shared.
    pub(super) fn set_rules(&mut self, rules: &Rules, now: Instant) {
        self.max_records = rules.max_records.min(MAX_ROWS);
        self.max_weight = rules.max_octets;
        let (mut records, mut weight) = (0, 0);
        let mut beyond = Vec::new();
        for (key, source) in &self.shared {
            let (more, heavier) = (source.rows.len(), source.weight());
            if records + more <= self.max_records && weight + heavier <= self.max_weight {
                records += more;
                weight += heavier;
            } else {
                beyond.push(*key);
            }
        }
        for key in beyond {
            if let Some(source) = self.remove(key, now) {
                self.waiting.insert(key, source);
            }
        }
        self.admit(now);
    }

    /// Takes what waits into the set, as far as there is room: one that is too
    /// large alone does not keep out those behind it.
    pub(super) fn admit(&mut self, now: Instant) {
        let fits = |(key, source): &(&u64, &Assertion)| self.has_room(**key, source);
        if self.records >= self.max_records || !self.waiting.iter().any(|entry| fits(&entry)) {
            return;
        }
        for (key, source) in std::mem::take(&mut self.waiting) {
            if self.has_room(key, &source) {
                self.share(key, source, now);
            } else {
                self.waiting.insert(key, source);
            }
        }
    }

    /// Someone has a newer set of ours than we do: leaves its epoch behind.
    /// False if there is no later epoch.
    pub(super) fn outrun(&mut self, heard: Stamp, now: Instant) -> bool {
        let epoch = heard.epoch.max(self.stamp.epoch) + 1;
        if epoch > MAX_EPOCH {
            return false;
        }
        self.stamp.epoch = epoch;
        self.snapshot = None;
        self.pending = None;
        self.flush_at = Some(now);
        true
    }

    /// The messages that tell what changed.
    pub(super) fn flush(&mut self, me: &MemberId, now: Instant) -> Vec<Bytes> {
        let ops = self.pending.replace(Vec::new());
        self.flush_at = None;
        self.flushed = Some(now);
        let Stamp { epoch, version } = self.stamp;
        let most = MAX_GOSSIP;
        let deltas = Deltas {
            owner: me,
            epoch,
            most,
        };
        let packed = ops.and_then(|ops| {
            let count = u64::try_from(ops.len()).ok()?;
            deltas.pack(version + 1 - count, &ops)
        });
        packed.unwrap_or_else(|| vec![deltas.announce(version)])
    }

    /// The whole set as a message.
    pub(super) fn snapshot(&mut self, me: &MemberId) -> Bytes {
        let encode = || {
            let entries = self.shared.iter().map(|(key, source)| (*key, source));
            wire::snapshot(me, self.stamp, self.complete, entries)
        };
        self.snapshot.get_or_insert_with(encode).clone()
    }

    /// Whether a source would fit into the set.
    fn has_room(&self, key: u64, source: &Assertion) -> bool {
        let (records, weight) = match self.shared.get(&key) {
            Some(before) => (before.rows.len(), before.weight()),
            None => (0, 0),
        };
        self.records - records + source.rows.len() <= self.max_records
            && self.weight - weight + source.weight() <= self.max_weight
    }

    /// Takes a source into the set.
    fn share(&mut self, key: u64, source: Assertion, now: Instant) {
        self.records += source.rows.len();
        self.weight += source.weight();
        let op = Op::Put(key, source.clone());
        if let Some(before) = self.shared.insert(key, source) {
            self.records -= before.rows.len();
            self.weight -= before.weight();
        }
        self.write(&op, now);
    }

    /// Takes a source out of the set.
    fn remove(&mut self, key: u64, now: Instant) -> Option<Assertion> {
        let before = self.shared.remove(&key)?;
        self.records -= before.rows.len();
        self.weight -= before.weight();
        self.write(&Op::Remove(key), now);
        Some(before)
    }

    /// Notes a change that was made.
    fn write(&mut self, op: &Op, now: Instant) {
        self.stamp.version += 1;
        self.snapshot = None;
        if let Some(pending) = &mut self.pending {
            if pending.len() < MAX_PENDING {
                pending.push(op.encode());
            } else {
                self.pending = None;
            }
        }
        let earliest = self
            .flushed
            .map_or(now, |flushed| now.max(flushed + COALESCE));
        self.flush_at.get_or_insert(earliest);
    }
}

//! The records of another member, as far as they are known.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bytes::Bytes;

use crate::config::Rules;
use crate::member::MemberId;
use crate::wire;
use crate::wire::Assertion;
use crate::wire::Delta;
use crate::wire::Op;
use crate::wire::Snapshot;
use crate::wire::Stamp;

/// So many deltas that came too early are held, by member.
const MAX_HELD: usize = 64;

/// The set of another member.
///
/// All its records are kept as its owner wrote them, also those that are not
/// served here: others, with other rules, may pull the set from here.
#[derive(Debug, Default)]
pub(super) struct RemoteSet {
    /// Where it is; epoch 0 if nothing is known.
    stamp: Stamp,
    /// Whether the owner's first sync is over.
    complete: bool,
    /// The sources.
    sources: BTreeMap<u64, Assertion>,
    /// Number of the records.
    records: usize,
    /// Their octets.
    weight: usize,
    /// Deltas that came too early, by epoch and first version.
    held: BTreeMap<Stamp, Vec<Op>>,
    /// The snapshot of the present version, once it was asked for.
    snapshot: Option<Bytes>,
}

/// What became of a message about a set.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It says nothing new.
    Old,
    /// These sources changed; there may be none.
    Applied(BTreeSet<u64>),
    /// It came too early, and is held.
    Held,
    /// It came too early, and there is no room to hold it.
    Dropped,
    /// It makes the set larger than it may be. What came before that, and
    /// changed these sources, was applied.
    Refused(BTreeSet<u64>, usize),
}

// === impl RemoteSet ===

impl RemoteSet {
    /// Where the set is.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether anything is known of it.
    pub(super) fn is_known(&self) -> bool {
        self.stamp.epoch > 0
    }

    /// Whether the owner's first sync is over.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// How many records it has.
    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// The sources.
    pub(super) fn sources(&self) -> &BTreeMap<u64, Assertion> {
        &self.sources
    }

    /// Takes changes in their order, and what was held for after them.
    pub(super) fn take_delta(&mut self, delta: Delta, rules: &Rules) -> Outcome {
        let count = u64::try_from(delta.ops.len()).unwrap_or(u64::MAX);
        let last = delta.first.saturating_add(count) - 1;
        let Stamp { epoch, version } = self.stamp;
        if (delta.epoch, last) <= (epoch, version) {
            return Outcome::Old;
        }
        if delta.epoch > epoch || delta.first > version + 1 {
            return self.hold(delta);
        }
        let mut changed = BTreeSet::new();
        let refused = self.apply_ops(delta.first, delta.ops, rules, &mut changed);
        let refused = refused.and_then(|()| self.apply_held(rules, &mut changed));
        match refused {
            Ok(()) => Outcome::Applied(changed),
            Err(records) => Outcome::Refused(changed, records),
        }
    }

    /// Takes a whole set, if it is newer, and what was held for after it.
    pub(super) fn take_snapshot(&mut self, snapshot: Snapshot, rules: &Rules) -> Outcome {
        if snapshot.stamp <= self.stamp {
            return Outcome::Old;
        }
        let sources = snapshot.entries.iter().map(|(_, source)| source);
        let records = sources.clone().map(|source| source.rows.len()).sum();
        let weight = sources.map(Assertion::weight).sum();
        if records > rules.max_records || weight > rules.max_octets {
            return Outcome::Refused(BTreeSet::new(), records);
        }
        let mut before = std::mem::take(&mut self.sources);
        let mut changed = BTreeSet::new();
        for (key, source) in snapshot.entries {
            if before.remove(&key).as_ref() != Some(&source) {
                changed.insert(key);
            }
            self.sources.insert(key, source);
        }
        changed.extend(before.into_keys());
        self.stamp = snapshot.stamp;
        self.complete = snapshot.complete;
        self.records = records;
        self.weight = weight;
        self.snapshot = None;
        match self.apply_held(rules, &mut changed) {
            Ok(()) => Outcome::Applied(changed),
            Err(records) => Outcome::Refused(changed, records),
        }
    }

    /// Forgets what came too early.
    pub(super) fn drop_held(&mut self) {
        self.held.clear();
    }

    /// The whole set as a message.
    pub(super) fn snapshot(&mut self, owner: &MemberId) -> Bytes {
        let encode = || {
            let entries = self.sources.iter().map(|(key, source)| (*key, source));
            wire::snapshot(owner, self.stamp, self.complete, entries)
        };
        self.snapshot.get_or_insert_with(encode).clone()
    }

    /// Keeps a delta that came too early.
    fn hold(&mut self, delta: Delta) -> Outcome {
        let at = Stamp {
            epoch: delta.epoch,
            version: delta.first,
        };
        if delta.ops.is_empty() || self.held.contains_key(&at) {
            return Outcome::Old;
        }
        if self.held.len() >= MAX_HELD {
            return Outcome::Dropped;
        }
        self.held.insert(at, delta.ops);
        Outcome::Held
    }

    /// Takes what was held, as far as nothing is missing before it.
    fn apply_held(&mut self, rules: &Rules, changed: &mut BTreeSet<u64>) -> Result<(), usize> {
        while let Some((&at, _)) = self.held.first_key_value() {
            let next = self.stamp.version + 1;
            if at.epoch > self.stamp.epoch || (at.epoch == self.stamp.epoch && at.version > next) {
                break;
            }
            let ops = self.held.remove(&at).unwrap_or_default();
            if at.epoch == self.stamp.epoch {
                self.apply_ops(at.version, ops, rules, changed)?;
            }
        }
        Ok(())
    }

    /// Takes changes that make versions `first` and on, none of which is
    /// beyond the next one. An error tells how many records that would be.
    fn apply_ops(
        &mut self,
        first: u64,
        ops: Vec<Op>,
        rules: &Rules,
        changed: &mut BTreeSet<u64>,
    ) -> Result<(), usize> {
        for (version, op) in (first..).zip(ops) {
            if version <= self.stamp.version {
                continue;
            }
            self.apply(op, rules, changed)?;
            self.stamp.version = version;
            self.snapshot = None;
        }
        Ok(())
    }

    /// Takes one change.
    fn apply(&mut self, op: Op, rules: &Rules, changed: &mut BTreeSet<u64>) -> Result<(), usize> {
        let (key, source) = match op {
            Op::Put(key, source) => (key, Some(source)),
            Op::Remove(key) => (key, None),
            Op::Complete => {
                self.complete = true;
                return Ok(());
            }
        };
        let size = |source: &Assertion| (source.rows.len(), source.weight());
        let (less, lighter) = self.sources.get(&key).map_or((0, 0), size);
        let (more, heavier) = source.as_ref().map_or((0, 0), size);
        let records = self.records - less + more;
        let weight = self.weight - lighter + heavier;
        if source.is_some() && (records > rules.max_records || weight > rules.max_octets) {
            return Err(records);
        }
        self.records = records;
        self.weight = weight;
        match source {
            Some(source) => self.sources.insert(key, source),
            None => self.sources.remove(&key),
        };
        changed.insert(key);
        Ok(())
    }
}

//! The entries of one shard, sorted.

use std::cmp::Ordering;
use std::sync::Arc;

use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_proto::Rrset;
use portolan_proto::Rtype;

use crate::LayerId;

/// One RRset of one owner in one layer, or the mark of an empty non-terminal.
///
/// An owner's entries of one layer are its run: what it holds itself, then
/// what the wildcard right below it holds, so that whoever finds the closest
/// encloser has found the source of synthesis too (RFC 4592 §3.3.1). A name
/// exists in a layer exactly if its run there is not empty, and the first
/// entry of a run is never a wildcard's.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The RRset, with the name whose run this belongs to; a mark exactly in
    /// [`Slot::Empty`].
    pub(crate) rrset: Rrset,
    /// Part of the owner's hash.
    pub(crate) hash: u32,
    /// Layer.
    pub(crate) layer: LayerId,
    /// What the entry is to its owner.
    pub(crate) slot: Slot,
}

/// What an entry is to its owner. The order is that within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// The owner exists and holds no RRset: an empty non-terminal
    /// (RFC 4592 §2.2.2).
    Empty,
    /// An RRset of the owner.
    Own(Kind),
    /// An RRset of the wildcard right below the owner.
    Wildcard(Kind),
}

/// Type of an RRset that sources can assert, in one octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// The canonical name of an alias.
    Cname,
    /// Names of an address.
    Ptr,
}

/// What takes the place of one run.
pub(crate) struct Update {
    /// Part of the owner's hash.
    pub(crate) hash: u32,
    /// Layer.
    pub(crate) layer: LayerId,
    /// Whose run.
    pub(crate) owner: Name,
    /// The run from now on, sorted; empty if the name exists no more.
    pub(crate) run: Vec<Entry>,
}

// === impl Entry ===

impl Entry {
    /// Compares the run this belongs to with another.
    fn cmp_run(&self, hash: u32, layer: LayerId, owner: &[u8]) -> Ordering {
        self.hash
            .cmp(&hash)
            .then_with(|| self.layer.cmp(&layer))
            .then_with(|| self.owner().cmp(owner))
    }

    /// Whether this belongs to the run of an owner in a layer.
    fn is_of(&self, layer: LayerId, owner: &[u8]) -> bool {
        self.layer == layer && self.owner() == owner
    }

    /// Whose run this belongs to, in wire form.
    fn owner(&self) -> &[u8] {
        self.rrset.owner()
    }

    /// Whether two entries say the same about the same owner.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        self.slot == other.slot && self.rrset == other.rrset
    }
}

// === impl Slot ===

impl Slot {
    /// The type of the RRset.
    pub(crate) fn kind(self) -> Option<Kind> {
        match self {
            Self::Empty => None,
            Self::Own(kind) | Self::Wildcard(kind) => Some(kind),
        }
    }
}

// === impl Kind ===

impl Kind {
    /// The type it stands for.
    pub(crate) fn rtype(self) -> Rtype {
        match self {
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
            Self::Cname => Rtype::CNAME,
            Self::Ptr => Rtype::PTR,
        }
    }
}

impl From<&Rdata> for Kind {
    fn from(rdata: &Rdata) -> Self {
        match rdata {
            Rdata::A(_) => Self::A,
            Rdata::Aaaa(_) => Self::Aaaa,
            Rdata::Cname(_) => Self::Cname,
            Rdata::Ptr(_) => Self::Ptr,
        }
    }
}

// === impl Update ===

impl Update {
    /// Orders updates as the entries they replace.
    pub(crate) fn cmp_run(&self, other: &Self) -> Ordering {
        self.hash
            .cmp(&other.hash)
            .then_with(|| self.layer.cmp(&other.layer))
            .then_with(|| self.owner.cmp(&other.owner))
    }
}

/// The run of an owner in a layer; empty if it does not exist there.
pub(crate) fn find<'a>(
    entries: &'a [Entry],
    hash: u32,
    layer: LayerId,
    owner: &[u8],
) -> &'a [Entry] {
    let first = first_of(entries, hash);
    let same_hash = entries.get(first..).unwrap_or_default();
    let is_candidate = |entry: &&Entry| entry.hash == hash;
    let is_other = |entry: &&Entry| entry.hash == hash && !entry.is_of(layer, owner);
    let skipped = same_hash.iter().take_while(is_other).count();
    let rest = same_hash.get(skipped..).unwrap_or_default();
    // Mostly one: the next hash is another, and no second owner is read.
    let candidates = rest.iter().take_while(is_candidate);
    let length = candidates
        .enumerate()
        .take_while(|(index, entry)| *index == 0 || entry.is_of(layer, owner))
        .count();
    rest.get(..length).unwrap_or_default()
}

/// Where the entries of a hash begin, or would.
///
/// Hashes are spread evenly, so that one is found near where it would stand if
/// they were spread perfectly; halving would touch more of the shard. Hashes
/// alone are compared on the way: they stand in the shard, names do not.
fn first_of(entries: &[Entry], hash: u32) -> usize {
    let count = u64::try_from(entries.len()).unwrap_or_default();
    let mut at = usize::try_from((u64::from(hash) * count) >> 32).unwrap_or_default();
    let is_below = |at: usize| entries.get(at).is_some_and(|entry| entry.hash < hash);
    while is_below(at) {
        at += 1;
    }
    while at > 0 && !is_below(at - 1) {
        at -= 1;
    }
    at
}

/// The entries with some runs replaced. `updates` is sorted and has each run
/// once.
pub(crate) fn rebuilt(entries: &[Entry], updates: Vec<Update>) -> Option<Arc<[Entry]>> {
    let is_replaced = |entry: &Entry| {
        updates
            .binary_search_by(|update| {
                entry
                    .cmp_run(update.hash, update.layer, update.owner.as_wire())
                    .reverse()
            })
            .is_ok()
    };
    let mut merged: Vec<Entry> = entries
        .iter()
        .filter(|entry| !is_replaced(entry))
        .cloned()
        .collect();
    merged.extend(updates.into_iter().flat_map(|update| update.run));
    merged.sort_unstable_by(|left, right| {
        left.cmp_run(right.hash, right.layer, right.owner())
            .then_with(|| left.slot.cmp(&right.slot))
    });
    (!merged.is_empty()).then(|| merged.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_line_holds_two_entries_and_more() {
        assert_eq!(size_of::<Entry>(), 24);
    }

    #[test]
    fn names_and_layers_of_one_hash_are_kept_apart() {
        let updates = [(1, "a"), (0, "b"), (0, "a")].map(|(layer, owner)| update(layer, owner));
        let shard = rebuilt(&[], sorted(updates.into())).unwrap();
        for (layer, owner, length) in [(0, "a", 2), (0, "b", 2), (1, "a", 2), (1, "b", 0)] {
            let name: Name = owner.parse().unwrap();
            let run = find(&shard, 7, LayerId(layer), name.as_wire());
            assert_eq!(run.len(), length, "{layer} {owner}");
            assert!(run.iter().all(|entry| entry.owner() == name.as_wire()));
            assert!(run.is_sorted_by_key(|entry| entry.slot));
        }
        assert!(find(&shard, 6, LayerId(0), b"\x01a\x00").is_empty());
    }

    #[test]
    fn an_update_replaces_its_own_run_alone() {
        let shard = rebuilt(&[], sorted(vec![update(0, "a"), update(0, "b")])).unwrap();
        let mut gone = update(0, "a");
        gone.run.clear();
        let shard = rebuilt(&shard, vec![gone]).unwrap();
        assert_eq!(shard.len(), 2);
        assert!(find(&shard, 7, LayerId(0), b"\x01a\x00").is_empty());
        let mut gone = update(0, "b");
        gone.run.clear();
        assert!(rebuilt(&shard, vec![gone]).is_none());
    }

    #[test]
    fn hashes_are_found_wherever_they_stand() {
        let hashes = [0, 0, 3, 7, 7, 7, 1 << 30, 1 << 31, u32::MAX, u32::MAX];
        let entries = hashes.map(|hash| Entry {
            hash,
            ..update(0, "a").run[0].clone()
        });
        for hash in hashes
            .into_iter()
            .chain([1, 5, 8, (1 << 31) + 1, u32::MAX - 1])
        {
            let expected = hashes.partition_point(|other| *other < hash);
            assert_eq!(first_of(&entries, hash), expected, "{hash}");
        }
        assert_eq!(first_of(&[], 7), 0);
    }

    fn sorted(mut updates: Vec<Update>) -> Vec<Update> {
        updates.sort_by(Update::cmp_run);
        updates
    }

    fn update(layer: u16, owner: &str) -> Update {
        let owner: Name = owner.parse().unwrap();
        let value = Rdata::A([192, 0, 2, 1].into());
        let entry = |slot| Entry {
            rrset: Rrset::encode_of(&owner, [&value], 60).unwrap(),
            hash: 7,
            layer: LayerId(layer),
            slot,
        };
        Update {
            hash: 7,
            layer: LayerId(layer),
            owner: owner.clone(),
            run: vec![entry(Slot::Own(Kind::A)), entry(Slot::Wildcard(Kind::A))],
        }
    }
}

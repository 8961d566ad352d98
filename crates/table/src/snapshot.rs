//! The table at one moment.
//!
//! Names are spread by a keyed hash over [`GROUPS`] groups of [`BLOCKS`] blocks
//! of [`SHARDS`] shards. A change copies the shards it touches, the blocks and
//! groups they stand in and the list of groups; everything else is shared with
//! the snapshot before. At 100,000 names a shard holds some twelve entries,
//! so that one change copies about as much as it does at 1,000 names: 72
//! pointers and one shard.

use std::hash::BuildHasher as _;
use std::hash::Hasher as _;
use std::sync::Arc;

use foldhash::quality::RandomState;

use crate::LayerId;
use crate::WildcardDepth;
use crate::shard;
use crate::shard::Entry;
use crate::shard::Update;

/// The table at one moment. It never changes.
pub struct Snapshot {
    /// Rises with each snapshot.
    serial: u32,
    /// Keyed, because names come from the network: nobody outside can choose
    /// names that fall into one shard.
    hasher: RandomState,
    /// The layers, by id.
    layers: Box<[LayerView]>,
    /// The shards.
    groups: [Arc<Group>; GROUPS],
}

/// How a layer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerView {
    /// Its id.
    pub(crate) id: LayerId,
    /// How far its wildcards reach.
    pub(crate) wildcard_depth: WildcardDepth,
    /// Whether it has a wildcard at all.
    pub(crate) has_wildcards: bool,
}

/// Where a name belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Index of the group.
    group: u8,
    /// Index of the block within the group.
    block: u8,
    /// Index of the shard within the block.
    shard: u8,
    /// Sort key within the shard.
    pub(crate) hash: u32,
}

/// Some of the blocks.
#[derive(Clone)]
struct Group([Arc<Block>; BLOCKS]);

/// Some of the shards; an empty shard is none.
#[derive(Clone)]
struct Block([Option<Arc<[Entry]>>; SHARDS]);

// === impl Snapshot ===

impl Snapshot {
    /// A snapshot without names and layers.
    pub(crate) fn empty() -> Self {
        let block = Arc::new(Block([const { None }; SHARDS]));
        let group = Arc::new(Group(std::array::from_fn(|_| Arc::clone(&block))));
        Self {
            serial: 1,
            hasher: RandomState::default(),
            layers: Box::default(),
            groups: std::array::from_fn(|_| Arc::clone(&group)),
        }
    }

    /// Number of the snapshot, for the SOA: 1 before anything was published,
    /// one more with each snapshot, modulo 2^32 (RFC 1982).
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The snapshot that follows this one. Each run is updated at most once.
    pub(crate) fn next(&self, mut updates: Vec<(Place, Update)>, layers: Box<[LayerView]>) -> Self {
        let mut groups = self.groups.clone();
        updates.sort_unstable_by(|(left, left_update), (right, right_update)| {
            left.cmp(right)
                .then_with(|| left_update.cmp_run(right_update))
        });
        let mut updates = updates.into_iter().peekable();
        while let Some((place, first)) = updates.next() {
            let mut of_shard = vec![first];
            while let Some((_, update)) = updates.next_if(|(next, _)| next.is_beside(place)) {
                of_shard.push(update);
            }
            let shard = groups
                .get_mut(usize::from(place.group))
                .and_then(|group| Arc::make_mut(group).0.get_mut(usize::from(place.block)))
                .and_then(|block| Arc::make_mut(block).0.get_mut(usize::from(place.shard)))
                .expect("a place is within the shards");
            *shard = shard::rebuilt(shard.as_deref().unwrap_or_default(), of_shard);
        }
        Self {
            serial: self.serial.wrapping_add(1),
            hasher: self.hasher.clone(),
            layers,
            groups,
        }
    }

    /// Where a name belongs.
    pub(crate) fn place(&self, name: &[u8]) -> Place {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        let [group, block, shard, _, hash @ ..] = hasher.finish().to_be_bytes();
        Place {
            group: group % as_octet(GROUPS),
            block: block % as_octet(BLOCKS),
            shard: shard % as_octet(SHARDS),
            hash: u32::from_be_bytes(hash),
        }
    }

    /// The entries of a name in a layer; none if it does not exist there.
    pub(crate) fn run(&self, layer: LayerId, name: &[u8]) -> &[Entry] {
        self.run_at(self.place(name), layer, name)
    }

    /// The entries of a name whose place is known.
    pub(crate) fn run_at(&self, place: Place, layer: LayerId, name: &[u8]) -> &[Entry] {
        let entries = self
            .groups
            .get(usize::from(place.group))
            .and_then(|group| group.0.get(usize::from(place.block)))
            .and_then(|block| block.0.get(usize::from(place.shard)))
            .and_then(Option::as_deref)
            .unwrap_or_default();
        shard::find(entries, place.hash, layer, name)
    }

    /// The layers, by id.
    pub(crate) fn layers(&self) -> &[LayerView] {
        &self.layers
    }

    /// How to read a layer that has wildcards.
    pub(crate) fn wildcards_of(&self, layer: LayerId) -> Option<LayerView> {
        self.layers
            .iter()
            .find(|view| view.id == layer)
            .copied()
            .filter(|view| view.has_wildcards)
    }

    /// How many shards two snapshots do not share.
    #[cfg(test)]
    pub(crate) fn shards_apart(&self, other: &Self) -> usize {
        let shards = |snapshot: &Self| -> Vec<Option<Arc<[Entry]>>> {
            let blocks = snapshot.groups.iter().flat_map(|group| &group.0);
            blocks.flat_map(|block| block.0.clone()).collect()
        };
        let same = |left: &Option<Arc<[Entry]>>, right: &Option<Arc<[Entry]>>| match (left, right) {
            (None, None) => true,
            (Some(left), Some(right)) => Arc::ptr_eq(left, right),
            _ => false,
        };
        let (left, right) = (shards(self), shards(other));
        left.iter().zip(&right).filter(|(l, r)| !same(l, r)).count()
    }

    /// How many groups and blocks two snapshots do not share.
    #[cfg(test)]
    pub(crate) fn blocks_apart(&self, other: &Self) -> (usize, usize) {
        let groups = self.groups.iter().zip(&other.groups);
        let groups: Vec<_> = groups.filter(|(l, r)| !Arc::ptr_eq(l, r)).collect();
        let blocks = groups.iter().flat_map(|(l, r)| l.0.iter().zip(&r.0));
        let blocks = blocks.filter(|(l, r)| !Arc::ptr_eq(l, r));
        (groups.len(), blocks.count())
    }
}

// === impl Place ===

impl Place {
    /// Whether two places are in one shard.
    fn is_beside(self, other: Self) -> bool {
        (self.group, self.block, self.shard) == (other.group, other.block, other.shard)
    }
}

/// A small constant as an octet.
const fn as_octet(count: usize) -> u8 {
    assert!(count <= 128);
    count.to_le_bytes()[0]
}

/// Groups in a snapshot.
const GROUPS: usize = 32;

/// Blocks in a group.
const BLOCKS: usize = 32;

/// Shards in a block.
const SHARDS: usize = 8;

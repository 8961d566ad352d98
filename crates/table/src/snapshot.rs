//! The table at one moment.
//!
//! Names are spread by a keyed hash over [`GROUPS`] groups of [`BLOCKS`] blocks
//! of [`SHARDS`] shards. A change copies the shards it touches, the blocks and
//! groups they stand in and the list of groups; everything else is shared with
//! the snapshot before.

use std::hash::BuildHasher as _;
use std::hash::Hasher as _;
use std::hint::black_box;
use std::sync::Arc;

use foldhash::quality::RandomState;

use crate::LayerId;
use crate::WildcardDepth;
use crate::shard::Run;
use crate::shard::Shard;
use crate::shard::run_of;
use crate::shard::touch;

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

/// Where a name belongs, in every snapshot of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// Number of the shard.
    pub(crate) shard: u16,
    /// Sort key within the shard.
    pub(crate) tag: u16,
}

/// What a name holds in all layers of a snapshot; at first, nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holdings<'s>(pub(crate) Run<'s>);

/// Where a name is looked for.
#[derive(Clone, Copy, Default)]
struct Spot<'s> {
    /// Its shard.
    shard: Shard<'s>,
    /// Its sort key within the shard.
    tag: u16,
    /// Where the records with that key begin.
    first: usize,
    /// The first of them.
    record: Option<&'s [u8]>,
}

/// Some of the blocks.
#[derive(Clone)]
struct Group([Arc<Block>; BLOCKS]);

/// Some of the shards; an empty shard is none.
#[derive(Clone)]
struct Block([Option<Arc<[u8]>>; SHARDS]);

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

    /// Where a name belongs. The name is in lower-case wire form.
    #[inline]
    pub(crate) fn place(&self, name: &[u8]) -> Place {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        let [s0, s1, .., t0, t1] = hasher.finish().to_be_bytes();
        Place {
            shard: u16::from_be_bytes([s0, s1]) % TOTAL,
            tag: u16::from_be_bytes([t0, t1]),
        }
    }

    /// What a name holds. The name is in lower-case wire form.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Holdings<'_> {
        let place = self.place(name);
        Holdings(self.shard(place.shard).find(place.tag, name))
    }

    /// What each of some names holds.
    ///
    /// In a large table each name is waited for, twice: memory is slow. Here
    /// the names are waited for together, because nothing depends on what was
    /// read for another.
    pub fn find_all<'s>(&'s self, names: &[&[u8]], holdings: &mut [Holdings<'s>]) {
        if let ([name], [holdings, ..]) = (names, &mut *holdings) {
            *holdings = self.find(name);
            return;
        }
        let holdings = holdings.chunks_mut(TOGETHER);
        for (names, holdings) in names.chunks(TOGETHER).zip(holdings) {
            // Each loop does one thing: the less there is between two reads, the
            // more of them are under way at once.
            let mut places = [Place::default(); TOGETHER];
            for (place, name) in places.iter_mut().zip(names) {
                *place = self.place(name);
            }
            let mut spots = [Spot::default(); TOGETHER];
            for (spot, place) in spots.iter_mut().zip(&places).take(names.len()) {
                spot.shard = self.shard(place.shard);
                spot.tag = place.tag;
            }
            let mut touched = 0;
            for spot in spots.iter().take(names.len()) {
                touched ^= spot.shard.touch_head();
            }
            for spot in spots.iter_mut().take(names.len()) {
                spot.first = spot.shard.first(spot.tag);
                spot.record = spot.shard.of_tag_at(spot.first, spot.tag);
            }
            for spot in spots.iter().take(names.len()) {
                touched ^= spot.record.map_or(0, touch);
            }
            black_box(touched);
            for ((spot, name), holdings) in spots.iter().zip(names).zip(holdings) {
                let run = spot.record.map(|record| run_of(record, name));
                *holdings = Holdings(match run {
                    Some(Some(run)) => run,
                    Some(None) => spot.shard.find_from(spot.first + 1, spot.tag, name),
                    None => Run::default(),
                });
            }
        }
    }

    /// The same as [`Snapshot::empty`] but for the shards, which are those of
    /// `self`; what the builder works on.
    pub(crate) fn draft(&self) -> Self {
        Self {
            serial: self.serial,
            hasher: self.hasher.clone(),
            layers: Box::default(),
            groups: self.groups.clone(),
        }
    }

    /// The snapshot that follows this one, with the shards of a draft.
    pub(crate) fn next(&self, draft: &Self, layers: Box<[LayerView]>) -> Self {
        Self {
            serial: self.serial.wrapping_add(1),
            hasher: self.hasher.clone(),
            layers,
            groups: draft.groups.clone(),
        }
    }

    /// What a name holds in a layer; nothing if it does not exist there.
    #[inline]
    pub(crate) fn run(&self, layer: LayerId, name: &[u8]) -> Run<'_> {
        self.find(name).0.of_layer(layer)
    }

    /// A shard.
    #[inline]
    pub(crate) fn shard(&self, number: u16) -> Shard<'_> {
        Shard::new(self.octets(number).map_or(&[], |octets| octets))
    }

    /// The octets of a shard, unless it is empty.
    #[inline]
    pub(crate) fn octets(&self, number: u16) -> Option<&Arc<[u8]>> {
        let [group, block, shard] = indices(number);
        let block = self.groups.get(group)?.0.get(block)?;
        block.0.get(shard)?.as_ref()
    }

    /// Replaces a shard.
    pub(crate) fn replace(&mut self, number: u16, octets: Option<Arc<[u8]>>) {
        let [group, block, shard] = indices(number);
        let place = self
            .groups
            .get_mut(group)
            .and_then(|group| Arc::make_mut(group).0.get_mut(block))
            .and_then(|block| Arc::make_mut(block).0.get_mut(shard))
            .expect("a place is within the shards");
        *place = octets;
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
        let is_same = |number: &u16| match (self.octets(*number), other.octets(*number)) {
            (None, None) => true,
            (Some(left), Some(right)) => Arc::ptr_eq(left, right),
            _ => false,
        };
        (0..TOTAL).filter(|number| !is_same(number)).count()
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

/// Group, block within it and shard within that.
#[inline]
fn indices(number: u16) -> [usize; 3] {
    let number = usize::from(number);
    let block = number / SHARDS;
    [block / BLOCKS, block % BLOCKS, number % SHARDS]
}

/// Groups in a snapshot.
const GROUPS: usize = 16;

/// Blocks in a group.
const BLOCKS: usize = 16;

/// Shards in a block.
const SHARDS: usize = 16;

/// Shards in a snapshot.
const TOTAL: u16 = 4096;

const _: () = assert!(GROUPS * BLOCKS * SHARDS == TOTAL as usize);

/// Names that are waited for together at most.
const TOGETHER: usize = 32;

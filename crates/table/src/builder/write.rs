//! From a change to the records of its owners.

use portolan_proto::Name;
use portolan_proto::RrsetRef;

use crate::LayerId;
use crate::claim::Claim;
use crate::claim::Claims;
use crate::claim::claims_at;
use crate::claim::claims_of;
use crate::claim::told;
use crate::merge::judge;
use crate::merge::merge;
use crate::packed::Packed;
use crate::packed::PackedRow;
use crate::shard::Edit;
use crate::shard::Run;
use crate::shard::Shard;
use crate::shard::Slot;
use crate::shard::write_entry;
use crate::snapshot::Place;
use crate::wire;

use super::Builder;
use super::layer::Layer;

/// What one source asserts from now on.
struct Told {
    /// Number of the source.
    source: u32,
    /// All of its rows.
    rows: Packed,
}

/// A row of what sources assert from now on. Twelve octets: there are as many
/// as rows.
#[derive(Clone, Copy)]
struct Held {
    /// Where its owner belongs.
    place: Place,
    /// Which of those who are told.
    told: u32,
    /// Where it begins.
    at: u32,
}

/// Something that one source asserts of an owner from now on, or does not
/// assert any more.
struct Item<'a> {
    /// Part of the owner's hash.
    tag: u16,
    /// The owner.
    owner: &'a [u8],
    /// Number of the source.
    source: u32,
    /// Its rows of that owner; none if it asserts nothing any more.
    rows: &'a [Held],
}

/// What is being written: changes of one layer.
struct Writing<'a> {
    /// Id of the layer.
    id: LayerId,
    /// What sources assert from now on.
    told: &'a [Told],
    /// The layer.
    layer: &'a mut Layer,
    /// Names above owners whose existence or wildcard may be another.
    stale: Vec<Name>,
}

// === impl Builder ===

impl Builder {
    /// Writes what sources assert from now on into the draft.
    pub(super) fn write_pending(&mut self) {
        for (id, changes) in std::mem::take(&mut self.pending) {
            // It is put back at the end.
            let Some(mut layer) = self.layers.remove(&id) else {
                continue;
            };
            let mut told = Vec::with_capacity(changes.len());
            for (source, rows) in changes {
                let found = self.sources.find_or_open(id, source, &rows);
                told.extend(found.map(|source| Told { source, rows }));
            }
            self.write(id, &mut layer, &told);
            for Told { source, rows } in told {
                if rows.is_empty() {
                    self.sources.close(source);
                }
            }
            self.layers.insert(id, layer);
        }
    }

    /// Writes what some sources of a layer assert from now on.
    fn write(&mut self, id: LayerId, layer: &mut Layer, told: &[Told]) {
        let mut held: Vec<Held> = Vec::with_capacity(told.iter().map(|told| told.rows.len()).sum());
        let mut lost: Vec<(Place, u32)> = Vec::new();
        for (number, told) in (0..).zip(told) {
            let start = held.len();
            held.extend(told.rows.iter().map(|(at, row)| Held {
                place: self.draft.place(row.owner),
                told: number,
                at,
            }));
            let mut places: Vec<Place> = held.iter().skip(start).map(|held| held.place).collect();
            places.sort_unstable();
            places.dedup();
            let before = self.sources.replace(told.source, places.into());
            lost.extend(before.iter().map(|place| (*place, told.source)));
        }
        lost.sort_unstable();
        let mut writing = Writing {
            id,
            told,
            layer,
            stale: Vec::new(),
        };
        writing.sort(&mut held);
        let (mut lost, mut held) = (&lost[..], &held[..]);
        loop {
            let first = lost.first().map(|(place, _)| *place);
            let first = first.into_iter().chain(held.first().map(|held| held.place));
            let Some(number) = first.map(|place| place.shard).min() else {
                break;
            };
            let lost = take(&mut lost, |(place, _)| place.shard == number);
            let held = take(&mut held, |held| held.place.shard == number);
            let edits = writing.edits(self.draft.shard(number), lost, held);
            self.replace(number, &edits);
        }
        let Writing { stale, .. } = writing;
        self.refresh(id, layer, stale);
    }

    /// Replaces records of a shard.
    fn replace(&mut self, number: u16, edits: &[Edit]) {
        if !edits.is_empty() {
            let octets = self.draft.shard(number).rebuilt(edits);
            self.draft.replace(number, octets);
            self.written.insert(number);
        }
    }

    /// Writes anew what names above owners hold beside their own records:
    /// the mark of an empty non-terminal, and what the wildcard below holds.
    fn refresh(&mut self, id: LayerId, layer: &Layer, stale: Vec<Name>) {
        let placed = stale
            .into_iter()
            .map(|name| (self.draft.place(name.as_wire()), name));
        let mut placed: Vec<(Place, Name)> = placed.collect();
        placed.sort_unstable();
        placed.dedup();
        for of_shard in placed.chunk_by(|(left, _), (right, _)| left.shard == right.shard) {
            let Some((Place { shard: number, .. }, _)) = of_shard.first() else {
                continue;
            };
            let edits: Vec<Edit> = of_shard
                .iter()
                .filter_map(|(place, name)| self.refreshed(id, layer, *place, name))
                .collect();
            self.replace(*number, &edits);
        }
    }

    /// The record of a name above owners, if it is another from now on.
    fn refreshed(&self, id: LayerId, layer: &Layer, place: Place, name: &Name) -> Option<Edit> {
        let shard = self.draft.shard(place.shard);
        let at = shard.position(place.tag, name.as_wire()).ok();
        let all = at.map_or_else(Run::default, |at| shard.run(at));
        let own = all.of_layer(id).of_slot(Slot::Own);
        let has_below = layer.has_below(name);
        let child = match has_below && layer.has_wildcards() {
            true => name.wildcard_child(),
            false => None,
        };
        let below = child
            .as_ref()
            .map_or_else(Run::default, |child| self.draft.run(id, child.as_wire()));
        let mut run = Vec::new();
        for entry in own {
            push(&mut run, id, Slot::Own, entry.rrset);
        }
        if run.is_empty() && has_below {
            push(&mut run, id, Slot::Empty, RrsetRef::from_wire(&[]));
        }
        for entry in below.of_slot(Slot::Own) {
            push(&mut run, id, Slot::Wildcard, entry.rrset);
        }
        (run != all.of_layer(id).as_octets()).then(|| Edit {
            tag: place.tag,
            owner: name.clone(),
            entries: all.with_layer(id, &run),
            word: at.map_or(crate::shard::Word::Nobody, |at| shard.word(at)),
            chunk: at.map_or_else(Vec::new, |at| shard.chunk(at).to_vec()),
        })
    }
}

// === impl Writing ===

impl<'a> Writing<'a> {
    /// Brings rows into the order of places, sources, owners and values; each
    /// value of an owner comes once, with the smallest TTL the source gives it.
    fn sort(&self, held: &mut Vec<Held>) {
        held.sort_unstable_by(|left, right| {
            let key = |held: &Held| (held.place, held.told);
            let rows = || self.row(left).cmp(&self.row(right));
            key(left).cmp(&key(right)).then_with(rows)
        });
        held.dedup_by(|later, first| {
            (later.place, later.told) == (first.place, first.told)
                && self
                    .row(later)
                    .zip(self.row(first))
                    .is_some_and(|(later, first)| later.is_like(&first))
        });
    }

    /// A row.
    fn row(&self, held: &Held) -> Option<PackedRow<'a>> {
        self.told_of(held)?.rows.row(held.at)
    }

    /// Who asserts a row.
    fn told_of(&self, held: &Held) -> Option<&'a Told> {
        self.told.get(usize::try_from(held.told).ok()?)
    }

    /// What changes in a shard: `lost` are the places in it where sources had
    /// owners, `held` what they assert from now on. Both are sorted by place.
    fn edits(&mut self, shard: Shard<'_>, lost: &[(Place, u32)], held: &[Held]) -> Vec<Edit> {
        let owner = |held: &Held| self.row(held).map(|row| row.owner);
        let mut items: Vec<Item<'_>> = held
            .chunk_by(|left, right| {
                (left.place, left.told) == (right.place, right.told) && owner(left) == owner(right)
            })
            .filter_map(|rows| {
                let first = rows.first()?;
                Some(Item {
                    tag: first.place.tag,
                    owner: owner(first)?,
                    source: self.told_of(first)?.source,
                    rows,
                })
            })
            .collect();
        for of_place in lost.chunk_by(|(left, _), (right, _)| left == right) {
            let Some((Place { tag, .. }, _)) = of_place.first() else {
                continue;
            };
            for at in shard.of_tag(*tag) {
                items.extend(dropped(shard, at, *tag, of_place));
            }
        }
        // What a source still asserts comes before what it asserted.
        items.sort_by(|left, right| {
            let key = |item: &Item<'_>| (item.tag, item.source, item.rows.is_empty());
            let ((l, ls, le), (r, rs, re)) = (key(left), key(right));
            (l, left.owner, ls, le).cmp(&(r, right.owner, rs, re))
        });
        items.dedup_by(|later, first| {
            (later.tag, later.source) == (first.tag, first.source) && later.owner == first.owner
        });
        items
            .chunk_by(|left, right| left.tag == right.tag && left.owner == right.owner)
            .filter_map(|items| self.edit(shard, items))
            .collect()
    }

    /// The record of an owner after what sources assert of it from now on,
    /// unless that is what they asserted before.
    fn edit(&mut self, shard: Shard<'_>, items: &[Item<'_>]) -> Option<Edit> {
        let Item { tag, owner, .. } = *items.first()?;
        let at = shard.position(tag, owner).ok();
        let before = at.map_or_else(Claims::new, |at| claims_at(shard, at));
        let rows = items.iter().flat_map(|item| {
            let rows = item.rows.iter().filter_map(|held| self.row(held));
            rows.map(|row| (item.source, row))
        });
        let fresh = claims_of(rows, self.id);
        let is_told = |claim: &&Claim<'_>| {
            let found = items.binary_search_by_key(&claim.source, |item| item.source);
            found.is_ok()
        };
        if before.iter().filter(is_told).eq(fresh.iter()) {
            return None;
        }
        let kept = before.iter().filter(|claim| !is_told(claim)).copied();
        let mut after: Claims<'_> = kept.chain(fresh).collect();
        after.sort_unstable();

        let owner = Name::from_wire(owner).expect("an owner is a name");
        let all = at.map_or_else(Run::default, |at| shard.run(at));
        let (before, now) = (of_layer(&before, self.id), of_layer(&after, self.id));
        let mut run = Vec::with_capacity(64);
        let hidden = merge(now, self.id, &mut run);
        if run.is_empty() && self.layer.has_below(&owner) {
            push(&mut run, self.id, Slot::Empty, RrsetRef::from_wire(&[]));
        }
        for entry in all.of_layer(self.id).of_slot(Slot::Wildcard) {
            push(&mut run, self.id, Slot::Wildcard, entry.rrset);
        }
        self.count(&owner, before, now.len(), hidden);
        let entries = all.with_layer(self.id, &run);
        let (word, chunk) = told(&after, &entries);
        Some(Edit {
            tag,
            owner,
            entries,
            word,
            chunk,
        })
    }

    /// Counts what becomes of an owner in the layer.
    fn count(&mut self, owner: &Name, before: &[Claim<'_>], rows: usize, hidden: usize) {
        let was_hidden = judge(before).iter().flatten().count();
        self.layer
            .recount((before.len(), was_hidden), (rows, hidden));
        match (before.is_empty(), rows == 0) {
            (true, false) => self.layer.own(owner, &mut self.stale),
            (false, true) => self.layer.disown(owner, &mut self.stale),
            _ => {}
        }
        if owner.is_wildcard()
            && let Some(parent) = wire::parent(owner.as_wire())
        {
            self.stale.extend(Name::from_wire(parent));
        }
    }
}

/// That some sources assert nothing of a record any more, of those that do.
fn dropped<'a>(shard: Shard<'a>, at: usize, tag: u16, lost: &[(Place, u32)]) -> Vec<Item<'a>> {
    let claims = claims_at(shard, at);
    let is_lost = |source: &u32| {
        lost.binary_search_by_key(source, |(_, source)| *source)
            .is_ok()
    };
    let mut sources: Vec<u32> = claims
        .iter()
        .map(|claim| claim.source)
        .filter(is_lost)
        .collect();
    sources.sort_unstable();
    sources.dedup();
    if sources.is_empty() {
        return Vec::new();
    }
    let item = |source| Item {
        tag,
        owner: shard.owner(at),
        source,
        rows: &[],
    };
    sources.into_iter().map(item).collect()
}

/// The claims of one layer; they are sorted.
fn of_layer<'a, 'c>(claims: &'a [Claim<'c>], layer: LayerId) -> &'a [Claim<'c>] {
    let start = claims.partition_point(|claim| claim.layer < layer);
    let end = claims.partition_point(|claim| claim.layer <= layer);
    claims.get(start..end).unwrap_or_default()
}

/// Appends an RRset to a run.
fn push(run: &mut Vec<u8>, layer: LayerId, slot: Slot, rrset: RrsetRef<'_>) {
    write_entry(run, layer, slot, |out| {
        out.extend_from_slice(rrset.as_wire());
    });
}

/// Splits the items that are alike off the front.
fn take<'a, T>(items: &mut &'a [T], is_alike: impl Fn(&T) -> bool) -> &'a [T] {
    let length = items.partition_point(is_alike);
    let (taken, rest) = items.split_at(length);
    *items = rest;
    taken
}

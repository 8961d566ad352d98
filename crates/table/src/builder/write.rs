//! From a change to the records of its owners.

use std::ops::Range;

use portolan_proto::Name;
use portolan_proto::RrsetRef;

use crate::LayerId;
use crate::Place;
use crate::Row;
use crate::claim::Claim;
use crate::claim::Claims;
use crate::claim::claims_at;
use crate::claim::claims_of;
use crate::claim::told;
use crate::merge::judge;
use crate::merge::merge;
use crate::shard::Edit;
use crate::shard::Run;
use crate::shard::Shard;
use crate::shard::Slot;
use crate::shard::write_entry;
use crate::wire;

use super::Builder;
use super::layer::Layer;

/// The rows of one owner in a change.
struct Owned {
    /// Where the owner belongs.
    place: Place,
    /// Its rows, as part of all.
    rows: Range<u32>,
}

/// What is being written: the change of one source in one layer.
struct Writing<'a> {
    /// Id of the layer.
    id: LayerId,
    /// The layer.
    layer: &'a mut Layer,
    /// Number of the source.
    source: u32,
    /// Names above owners whose existence or wildcard may be another.
    stale: Vec<Name>,
}

// === impl Builder ===

impl Builder {
    /// Writes what a source asserts from now on: normalized rows.
    pub(super) fn write(&mut self, id: LayerId, layer: &mut Layer, source: u32, rows: &[Row]) {
        let owned = self.owned(rows);
        let mut places: Vec<Place> = owned.iter().map(|owned| owned.place).collect();
        places.dedup();
        let before = self.sources.replace(source, places.into());
        let mut writing = Writing {
            id,
            layer,
            source,
            stale: Vec::new(),
        };
        let (mut before, mut owned) = (&before[..], &owned[..]);
        loop {
            let first = before.first().copied();
            let first = first.into_iter().chain(owned.first().map(|o| o.place));
            let Some(number) = first.map(|place| place.shard).min() else {
                break;
            };
            let lost = take(&mut before, |place| place.shard == number);
            let held = take(&mut owned, |owned| owned.place.shard == number);
            let edits = writing.edits(self.draft.shard(number), lost, held, rows);
            self.replace(number, &edits);
        }
        let Writing { stale, .. } = writing;
        self.refresh(id, layer, stale);
    }

    /// The owners of rows, by place.
    fn owned(&self, rows: &[Row]) -> Vec<Owned> {
        let mut owned = Vec::with_capacity(rows.len());
        let mut start = 0;
        for run in rows.chunk_by(|left, right| left.owner == right.owner) {
            let end = start + u32::try_from(run.len()).unwrap_or(u32::MAX);
            owned.extend(run.first().map(|row| Owned {
                place: self.draft.place(row.owner.as_wire()),
                rows: start..end,
            }));
            start = end;
        }
        // Owners of one place stay in order.
        owned.sort_unstable_by_key(|owned| (owned.place, owned.rows.start));
        owned
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

impl Writing<'_> {
    /// What changes in a shard: `lost` are the places in it where the source
    /// had owners, `held` the owners that it has.
    fn edits(
        &mut self,
        shard: Shard<'_>,
        lost: &[Place],
        held: &[Owned],
        rows: &[Row],
    ) -> Vec<Edit> {
        let rows_of = |owned: &Owned| {
            let range = index(owned.rows.start)..index(owned.rows.end);
            rows.get(range).unwrap_or_default()
        };
        let mut owners: Vec<(u16, Name, &[Row])> = held
            .iter()
            .filter_map(|owned| {
                let rows = rows_of(owned);
                Some((owned.place.tag, rows.first()?.owner.clone(), rows))
            })
            .collect();
        let held = owners.len();
        for tag in lost.iter().map(|place| place.tag) {
            for at in shard.of_tag(tag) {
                let is_held = |(of, name, _): &(u16, Name, &[Row])| {
                    *of == tag && name.as_wire() == shard.owner(at)
                };
                let start = owners.partition_point(|(of, ..)| *of < tag).min(held);
                let same = owners.get(start..held).unwrap_or_default();
                let mut same = same.iter().take_while(|(of, ..)| *of == tag);
                if !same.any(is_held) && self.asserts(shard, at) {
                    let name = Name::from_wire(shard.owner(at)).expect("an owner is a name");
                    owners.push((tag, name, &[]));
                }
            }
        }
        owners.sort_unstable_by(|(l, left, _), (r, right, _)| (l, left).cmp(&(r, right)));
        owners
            .into_iter()
            .filter_map(|(tag, owner, rows)| self.edit(shard, tag, owner, rows))
            .collect()
    }

    /// Whether the source asserts something of a record.
    fn asserts(&self, shard: Shard<'_>, at: usize) -> bool {
        let claims = claims_at(shard, at);
        claims.iter().any(|claim| claim.source == self.source)
    }

    /// The record of an owner of which the source asserts `rows` from now on,
    /// unless that is what it asserted before.
    fn edit(&mut self, shard: Shard<'_>, tag: u16, owner: Name, rows: &[Row]) -> Option<Edit> {
        let at = shard.position(tag, owner.as_wire()).ok();
        let before = at.map_or_else(Claims::new, |at| claims_at(shard, at));
        let mut values = Vec::new();
        let fresh = claims_of(rows, self.id, self.source, &mut values);
        let is_own = |claim: &&Claim<'_>| claim.source == self.source;
        if before.iter().filter(is_own).eq(fresh.iter()) {
            return None;
        }
        let kept = before.iter().filter(|claim| !is_own(claim)).copied();
        let mut after: Claims<'_> = kept.chain(fresh).collect();
        after.sort_unstable();

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

/// A number of rows as an index.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

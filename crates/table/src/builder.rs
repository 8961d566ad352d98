//! The only writer of the table.
//!
//! The builder keeps the rows of every source as they were asserted. A change
//! is compared with what its source asserted before; only the owners of rows
//! that differ are noted. Publishing merges the rows of the owners noted, and
//! of the names above them that begin or cease to exist, into new entries, and
//! swaps the snapshot once.

mod diff;
mod layer;
mod sources;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use portolan_proto::Name;
use portolan_proto::Rrset;

use crate::Change;
use crate::LayerFigures;
use crate::LayerId;
use crate::LayerOptions;
use crate::Snapshot;
use crate::Source;
use crate::Table;
use crate::merge;
use crate::merge::Claims;
use crate::merge::Merged;
use crate::shard::Entry;
use crate::shard::Slot;
use crate::shard::Update;
use crate::snapshot::LayerView;
use crate::snapshot::Place;

use diff::Step;
use layer::Layer;
use sources::Sources;

/// The only writer of a [`Table`].
pub struct Builder {
    /// Where snapshots are published.
    table: Arc<Table>,
    /// The snapshot published last.
    current: Arc<Snapshot>,
    /// Earlier snapshots that a reader held when they were replaced, oldest
    /// first. What frees a large snapshot is not to be a query.
    retired: Vec<Arc<Snapshot>>,
    /// The layers.
    layers: BTreeMap<LayerId, Layer>,
    /// The sources and their rows.
    sources: Sources,
    /// Names whose entries may differ from those in `current`.
    dirty: BTreeSet<(LayerId, Name)>,
}

// === impl Builder ===

impl Builder {
    /// The builder of a table that has none yet.
    pub fn new(table: Arc<Table>) -> Self {
        Self {
            current: table.load_full(),
            table,
            retired: Vec::new(),
            layers: BTreeMap::new(),
            sources: Sources::default(),
            dirty: BTreeSet::new(),
        }
    }

    /// Adds a layer, or changes the options of one that is there.
    pub fn add_layer(&mut self, id: LayerId, options: LayerOptions) {
        self.layers
            .entry(id)
            .and_modify(|layer| layer.options = options)
            .or_insert_with(|| Layer::new(options));
    }

    /// Removes a layer and all its rows.
    pub fn remove_layer(&mut self, id: LayerId) {
        for source in self.sources.of_layer(id) {
            self.apply(Change {
                layer: id,
                source,
                rows: Vec::new(),
            });
        }
        self.layers.remove(&id);
    }

    /// Takes over what a source asserts from now on. Visible once published.
    ///
    /// A change to a layer that is not there is dropped, and the result is
    /// false: what a removed layer's source still had to say must not come
    /// back.
    pub fn apply(&mut self, change: Change) -> bool {
        let id = change.layer;
        let Some(layer) = self.layers.get_mut(&id) else {
            return false;
        };
        let mut rows = diff::normalized(change.rows);
        let source = match self.sources.find(id, &change.source) {
            Some(source) => source,
            None if rows.is_empty() => return true,
            None => self.sources.open(id, change.source),
        };
        let steps = diff::steps(self.sources.rows(source), &mut rows);
        let is_withdrawn = rows.is_empty();
        layer.rows = layer.rows + rows.len() - self.sources.rows(source).len();
        self.sources.replace(source, rows);
        for (owner, step) in steps {
            self.take(id, source, owner, step);
        }
        if is_withdrawn {
            self.sources.close(source);
        }
        true
    }

    /// Notes what one step of a source does to one owner.
    fn take(&mut self, id: LayerId, source: u32, owner: Name, step: Step) {
        let Some(layer) = self.layers.get_mut(&id) else {
            return;
        };
        let hash = self.current.place(owner.as_wire()).hash;
        let is_shared = || self.sources.has_other(id, source, hash, owner.as_wire());
        match step {
            Step::Gained => {
                if !is_shared() {
                    layer.own(id, &owner, &mut self.dirty);
                }
                self.sources.claim(hash, source);
            }
            Step::Lost => {
                if !is_shared() {
                    layer.disown(id, &owner, &mut self.dirty);
                }
                self.sources.disclaim(hash, source);
            }
            Step::Changed => {}
        }
        if owner.is_wildcard()
            && let Some(parent) = layer.parent_of(&owner)
        {
            self.dirty.insert((id, parent));
        }
        self.dirty.insert((id, owner));
    }

    /// Makes all changes applied so far visible, in one step. False if they
    /// amount to nothing; then the snapshot stays.
    pub fn publish(&mut self) -> bool {
        let dirty = std::mem::take(&mut self.dirty);
        let updates: Vec<(Place, Update)> = dirty
            .into_iter()
            .filter_map(|(layer, owner)| self.update(layer, owner))
            .collect();
        let layers: Box<[LayerView]> = self
            .layers
            .iter()
            .map(|(&id, layer)| layer.view(id))
            .collect();
        let is_changed = !updates.is_empty() || *layers != *self.current.layers();
        if is_changed {
            self.current = Arc::new(self.current.next(updates, layers));
            self.retired
                .push(self.table.swap(Arc::clone(&self.current)));
        }
        self.reclaim();
        is_changed
    }

    /// Frees earlier snapshots that no reader holds any more. Publishing does
    /// so too; call it some time after a large change.
    pub fn reclaim(&mut self) {
        self.retired
            .retain(|snapshot| Arc::strong_count(snapshot) > 1);
        if self.retired.len() > MAX_RETIRED {
            self.retired.remove(0);
        }
    }

    /// What has to be done about the entries of a name, if anything.
    fn update(&mut self, id: LayerId, owner: Name) -> Option<(Place, Update)> {
        let place = self.current.place(owner.as_wire());
        let layer = self.layers.get(&id);
        let own = self.merged(id, place.hash, owner.as_wire(), &owner);
        let has_below = layer.is_some_and(|layer| layer.has_below(&owner));
        let wildcard = match layer {
            Some(layer) if has_below && layer.has_wildcards() => owner
                .wildcard_child()
                .map(|child| self.merged(id, self.hash(&child), child.as_wire(), &owner))
                .unwrap_or_default(),
            _ => Merged::default(),
        };
        if let Some(layer) = self.layers.get_mut(&id) {
            layer.set_hidden(&owner, own.hidden);
        }
        let entry = |slot, rrset| Entry {
            rrset,
            hash: place.hash,
            layer: id,
            slot,
        };
        let mark =
            (own.rrsets.is_empty() && has_below).then(|| entry(Slot::Empty, Rrset::mark(&owner)));
        let own = own.rrsets.into_iter().map(|(k, set)| (Slot::Own(k), set));
        let below = wildcard.rrsets.into_iter();
        let below = below.map(|(k, set)| (Slot::Wildcard(k), set));
        let rrsets = own.chain(below).map(|(slot, set)| entry(slot, set));
        let run: Vec<Entry> = mark.into_iter().chain(rrsets).collect();

        let old = self.current.run_at(place, id, owner.as_wire());
        let is_same =
            old.len() == run.len() && old.iter().zip(&run).all(|(l, r)| l.says_the_same(r));
        (!is_same).then(|| {
            let update = Update {
                hash: place.hash,
                layer: id,
                owner: owner.clone(),
                run,
            };
            (place, update)
        })
    }

    /// The RRsets of a name in a layer, for the run of `keeper`.
    fn merged(&self, layer: LayerId, hash: u32, owner: &[u8], keeper: &Name) -> Merged {
        let claims: Claims<'_> = self
            .sources
            .claims(hash, owner)
            .filter(|claim| claim.layer == layer)
            .collect();
        merge::merge(claims, keeper)
    }

    /// Part of the hash of a name.
    fn hash(&self, name: &Name) -> u32 {
        self.current.place(name.as_wire()).hash
    }

    /// The claims to a name in all layers.
    pub(crate) fn claims<'a>(&'a self, name: &Name) -> Claims<'a> {
        let claims = self.sources.claims(self.hash(name), name.as_wire());
        claims.collect()
    }

    /// A source by number.
    pub(crate) fn source(&self, number: u32) -> Option<&Source> {
        self.sources.source(number)
    }

    /// How many sources assert something.
    pub(crate) fn source_count(&self) -> usize {
        self.sources.len()
    }

    /// How large each layer is.
    pub(crate) fn layer_figures(&self) -> impl Iterator<Item = LayerFigures> {
        self.layers.iter().map(|(&id, layer)| layer.figures(id))
    }
}

/// Most earlier snapshots that are kept for readers. Beyond, the reader that
/// lets go of one frees it.
const MAX_RETIRED: usize = 64;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

//! The only writer of the table.
//!
//! The builder works on a draft: the shards of the snapshot published last,
//! and those that changed since. Publishing writes all changes since the last
//! time at once and swaps the draft in: an owner of which many sources say
//! something, as of the address of a host with many containers, is written once
//! and not once for each. What a source asserts is compared with what it did
//! before; only the records of owners that differ are written anew, and those
//! of the names above them that begin or cease to exist.
//!
//! Who asserts what stands in the shards, beside the records. Of a source no
//! more is kept than where its owners belong.

mod layer;
mod sources;
mod write;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use portolan_proto::Name;

use crate::Change;
use crate::LayerFigures;
use crate::LayerId;
use crate::LayerOptions;
use crate::Snapshot;
use crate::Source;
use crate::Table;
use crate::claim::Claims;
use crate::claim::claims_at;
use crate::packed::Packed;
use crate::snapshot::LayerView;

use layer::Layer;
use sources::Sources;

/// The only writer of a [`Table`].
pub struct Builder {
    /// Where snapshots are published.
    table: Arc<Table>,
    /// The snapshot published last.
    current: Arc<Snapshot>,
    /// The snapshot to be published next, but for its layers.
    draft: Snapshot,
    /// The shards of `draft` that were written since `current`.
    written: BTreeSet<u16>,
    /// Earlier snapshots that a reader held when they were replaced, oldest
    /// first. What frees a large snapshot is not to be a query.
    retired: Vec<Arc<Snapshot>>,
    /// The layers.
    layers: BTreeMap<LayerId, Layer>,
    /// The sources.
    sources: Sources,
    /// What sources assert from now on, until it is published.
    pending: BTreeMap<LayerId, BTreeMap<Source, Packed>>,
}

// === impl Builder ===

impl Builder {
    /// The builder of a table that has none yet.
    pub fn new(table: Arc<Table>) -> Self {
        let current = table.load_full();
        Self {
            draft: current.draft(),
            current,
            table,
            written: BTreeSet::new(),
            retired: Vec::new(),
            layers: BTreeMap::new(),
            sources: Sources::default(),
            pending: BTreeMap::new(),
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
        let nothing = |source| (source, Packed::default());
        let gone = self.sources.of_layer(id).into_iter().map(nothing);
        self.pending.insert(id, gone.collect());
        self.write_pending();
        self.layers.remove(&id);
    }

    /// Takes over what a source asserts from now on. Visible once published.
    ///
    /// A change to a layer that is not there is dropped, and the result is
    /// false: what a removed layer's source still had to say must not come
    /// back.
    pub fn apply(&mut self, change: Change) -> bool {
        let is_known = self.layers.contains_key(&change.layer);
        if is_known {
            let of_layer = self.pending.entry(change.layer).or_default();
            of_layer.insert(change.source, Packed::new(&change.rows));
        }
        is_known
    }

    /// Makes all changes applied so far visible, in one step. False if they
    /// amount to nothing; then the snapshot stays.
    pub fn publish(&mut self) -> bool {
        self.write_pending();
        let written = std::mem::take(&mut self.written);
        let layers: Box<[LayerView]> = self
            .layers
            .iter()
            .map(|(&id, layer)| layer.view(id))
            .collect();
        let is_changed = *layers != *self.current.layers()
            || written.into_iter().any(|number| {
                self.draft.shard(number).served() != self.current.shard(number).served()
            });
        if is_changed {
            self.current = Arc::new(self.current.next(&self.draft, layers));
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

    /// The claims to a name in all layers.
    pub(crate) fn claims(&self, name: &Name) -> Claims<'_> {
        let place = self.draft.place(name.as_wire());
        let shard = self.draft.shard(place.shard);
        let at = shard.position(place.tag, name.as_wire());
        at.map_or_else(|_| Claims::new(), |at| claims_at(shard, at))
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

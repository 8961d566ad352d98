//! What the builder counts in one layer.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use portolan_proto::Name;

use crate::LayerFigures;
use crate::LayerId;
use crate::LayerOptions;
use crate::snapshot::LayerView;
use crate::wire;

/// What the builder counts in one layer.
pub(super) struct Layer {
    /// How its names are read.
    pub(super) options: LayerOptions,
    /// Rows of all its sources.
    rows: usize,
    /// Owners.
    names: usize,
    /// Owners that are wildcards.
    wildcards: usize,
    /// How many owners are below a name, where there are any. A name of this
    /// map that is no owner is an empty non-terminal (RFC 4592 §2.2.2).
    below: HashMap<Name, u32, RandomState>,
    /// Rows that are in no RRset.
    hidden: usize,
}

// === impl Layer ===

impl Layer {
    /// A layer without rows.
    pub(super) fn new(options: LayerOptions) -> Self {
        Self {
            options,
            rows: 0,
            names: 0,
            wildcards: 0,
            below: HashMap::default(),
            hidden: 0,
        }
    }

    /// Counts a name that becomes an owner; names above it that begin to exist
    /// are added to `stale`.
    pub(super) fn own(&mut self, owner: &Name, stale: &mut Vec<Name>) {
        self.names += 1;
        self.wildcards += usize::from(owner.is_wildcard());
        for above in wire::ancestors(owner.as_wire()) {
            if let Some(count) = self.below.get_mut(above) {
                *count += 1;
                continue;
            }
            let name = Name::from_wire(above).expect("what is above a name is a name");
            stale.push(name.clone());
            self.below.insert(name, 1);
        }
    }

    /// Counts a name that is no owner any more; names above it that may cease
    /// to exist are added to `stale`.
    pub(super) fn disown(&mut self, owner: &Name, stale: &mut Vec<Name>) {
        self.names -= 1;
        self.wildcards -= usize::from(owner.is_wildcard());
        for above in wire::ancestors(owner.as_wire()) {
            match self.below.get_mut(above) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    if let Some((name, _)) = self.below.remove_entry(above) {
                        stale.push(name);
                    }
                }
            }
        }
        if self.below.is_empty() {
            self.below.shrink_to_fit();
        }
    }

    /// Whether there are owners below a name.
    pub(super) fn has_below(&self, name: &Name) -> bool {
        self.below.contains_key(name)
    }

    /// Whether there are wildcards.
    pub(super) fn has_wildcards(&self) -> bool {
        self.wildcards > 0
    }

    /// Counts the rows of an owner, and how many of them are hidden: no longer
    /// so many, but so many.
    pub(super) fn recount(&mut self, before: (usize, usize), after: (usize, usize)) {
        self.rows = self.rows + after.0 - before.0;
        self.hidden = self.hidden + after.1 - before.1;
    }

    /// How the layer is read.
    pub(super) fn view(&self, id: LayerId) -> LayerView {
        LayerView {
            id,
            wildcard_depth: self.options.wildcard_depth,
            has_wildcards: self.has_wildcards(),
        }
    }

    /// How large the layer is.
    pub(super) fn figures(&self, layer: LayerId) -> LayerFigures {
        LayerFigures {
            layer,
            names: self.names,
            rows: self.rows,
            hidden: self.hidden,
        }
    }
}

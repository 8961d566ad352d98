//! How large the table is.

use crate::Builder;
use crate::LayerId;

/// How large the table is, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Owner names; one that several layers have is counted in each.
    pub names: usize,
    /// Rows of all sources.
    pub rows: usize,
    /// Rows that are in no RRset.
    pub hidden: usize,
    /// Sources that assert something.
    pub sources: usize,
    /// The same by layer.
    pub layers: Vec<LayerFigures>,
}

/// How large one layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerFigures {
    /// The layer.
    pub layer: LayerId,
    /// Owner names.
    pub names: usize,
    /// Rows of all sources.
    pub rows: usize,
    /// Rows that are in no RRset.
    pub hidden: usize,
}

// === impl Builder ===

impl Builder {
    /// How large the table is, as published last. Costs nothing that grows with it.
    pub fn figures(&self) -> Figures {
        let layers: Vec<LayerFigures> = self.layer_figures().collect();
        Figures {
            names: layers.iter().map(|layer| layer.names).sum(),
            rows: layers.iter().map(|layer| layer.rows).sum(),
            hidden: layers.iter().map(|layer| layer.hidden).sum(),
            sources: self.source_count(),
            layers,
        }
    }
}

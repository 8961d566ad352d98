//! What sources assert.

use std::fmt;
use std::sync::Arc;

use portolan_proto::Name;
use portolan_proto::Rdata;

/// One record that a source asserts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Who the record belongs to; a first label `*` makes it a wildcard.
    pub owner: Name,
    /// Its type and value.
    pub rdata: Rdata,
    /// Its TTL in seconds.
    pub ttl: u32,
}

/// A group of sources that answers for its names before the next group is
/// looked at: one `hosts` or `docker-cluster` directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(pub u16);

/// How a layer reads its names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerOptions {
    /// How far a wildcard reaches.
    pub wildcard_depth: WildcardDepth,
}

/// How far a wildcard reaches below its parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WildcardDepth {
    /// Any number of labels (RFC 4592).
    #[default]
    Any,
    /// Exactly one label, as the `hosts` directive of CoreDNS has it.
    One,
}

/// Who asserts a row. A source alone changes or withdraws its rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Source {
    /// Lines within a configuration file.
    Inline,
    /// A hosts file, by path.
    HostsFile(Arc<str>),
    /// A container.
    Container {
        /// Cluster member or Docker endpoint that sees it.
        member: Arc<str>,
        /// Its id.
        id: Arc<str>,
        /// Its name, for people.
        name: Arc<str>,
    },
}

/// A source's rows from now on: everything it asserted before is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Layer of the source.
    pub layer: LayerId,
    /// The source.
    pub source: Source,
    /// All its rows; none withdraws the source.
    pub rows: Vec<Row>,
}

/// Changes that become visible together.
#[derive(Default)]
pub struct Batch {
    /// The changes.
    pub changes: Vec<Change>,
    /// Called once the changes are visible to every query that begins
    /// afterwards.
    pub published: Option<Box<dyn FnOnce() + Send>>,
}

// === impl Source ===

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline => f.write_str("configuration"),
            Self::HostsFile(path) => write!(f, "hosts file {path}"),
            Self::Container { member, id, name } => {
                let short = id.get(..12).unwrap_or(id);
                write!(f, "container {name} ({short}) on {member}")
            }
        }
    }
}

// === impl Batch ===

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

//! What sources assert.

use std::cmp::Ordering;
use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;
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
/// looked at: one `hosts`, `docker-cluster` or `traefik-externals` directive.
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
    /// A file of Traefik's dynamic configuration, by path.
    TraefikFile(Arc<str>),
    /// A container.
    Container {
        /// Cluster member or Docker endpoint that sees it.
        member: Arc<str>,
        /// Its id.
        id: Arc<str>,
        /// Its name, for people.
        name: Arc<str>,
    },
    /// A source of another member of the cluster.
    Remote {
        /// The member, by process: two may have one name.
        member: Arc<str>,
        /// Number that the member gave the source.
        key: u64,
        /// What the source is, and at which member.
        caption: Caption,
    },
}

/// Words for people beside what tells sources apart: all are equal, so that a
/// source that is described in other words is still the same.
#[derive(Clone, Debug)]
pub struct Caption(pub Arc<str>);

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
            Self::TraefikFile(path) => write!(f, "Traefik file {path}"),
            Self::Container { member, id, name } => {
                let short = id.get(..12).unwrap_or(id);
                write!(f, "container {name} ({short}) on {member}")
            }
            Self::Remote { caption, .. } => f.write_str(&caption.0),
        }
    }
}

// === impl Caption ===

impl PartialEq for Caption {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Caption {}

impl Hash for Caption {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

impl PartialOrd for Caption {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Caption {
    fn cmp(&self, _other: &Self) -> Ordering {
        Ordering::Equal
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_another_member_is_known_by_its_number() {
        let source = |key, caption: &str| Source::Remote {
            member: "a#1".into(),
            key,
            caption: Caption(caption.into()),
        };
        assert_eq!(source(1, "container app on a"), source(1, ""));
        assert_ne!(source(1, ""), source(2, ""));
        assert_eq!(
            source(1, "container app on a").to_string(),
            "container app on a"
        );
    }
}

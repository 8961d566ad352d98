//! Which entries are to be forgotten.

use portolan_proto::Name;
use portolan_proto::Rtype;

/// The names that a cache is to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The name.
    pub name: Name,
    /// Only this type of it; `None` for all.
    pub qtype: Option<Rtype>,
    /// Whether the names below it are meant too.
    pub below: bool,
}

// === impl Names ===

impl Names {
    /// Whether the entry of a name, in wire form, and a type is one of them.
    /// No type means that nothing is at or below the name (RFC 8020): what is
    /// said of a name above is said of this one too, and has to go for this
    /// one to be asked about again.
    pub(super) fn include(&self, name: &[u8], qtype: Option<Rtype>) -> bool {
        let Ok(owner) = Name::from_wire(name) else {
            return false;
        };
        let is_meant = owner == self.name || self.below && owner.is_within(&self.name);
        match qtype {
            None => is_meant || self.name.is_within(&owner),
            Some(_) => is_meant && (self.qtype.is_none() || self.qtype == qtype),
        }
    }
}

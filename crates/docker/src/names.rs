//! The names of a container, in one piece of memory.

use std::fmt;
use std::sync::Arc;

use portolan_proto::Name;

/// Names in wire form, each behind its length.
///
/// There may be thousands of containers, and what is kept of each is kept for
/// long. Cloning is cheap: those who tell of the names share them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Names(Arc<[u8]>);

// === impl Names ===

impl Names {
    /// Takes names over.
    pub(crate) fn new(names: &[Name]) -> Self {
        let length = |name: &Name| 1 + name.as_wire().len();
        let mut octets = Vec::with_capacity(names.iter().map(length).sum());
        for name in names {
            let wire = name.as_wire();
            octets.push(u8::try_from(wire.len()).expect("a name has 255 octets at most"));
            octets.extend_from_slice(wire);
        }
        Self(octets.into())
    }

    /// The names, in the order written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Name> {
        self.wires().filter_map(|wire| Name::from_wire(wire).ok())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.wires().count()
    }

    /// The names in wire form.
    fn wires(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (length, octets) = rest.split_first()?;
            let (wire, next) = octets.split_at_checked(usize::from(*length))?;
            rest = next;
            Some(wire)
        })
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_as_they_were_written() {
        let long = format!("{}.example", ["a".repeat(60), "b".repeat(60)].join("."));
        let written = ["b.example", ".", &long, "a.example"];
        let written = written.map(|name| name.parse().unwrap());
        let names = Names::new(&written);
        assert_eq!(names.iter().collect::<Vec<_>>(), written);
        assert_eq!(names.len(), 4);
        assert_eq!(Names::new(&[]).len(), 0);
    }
}

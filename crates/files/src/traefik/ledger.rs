//! The names of all files of one directive.
//!
//! A name may be in several files; it counts once, and all names together are
//! bounded.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use portolan_proto::Name;

use super::MAX_NAMES;

/// Which file has which names.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The names of each file in effect.
    files: BTreeMap<Arc<str>, Entry>,
    /// How many files have a name.
    counts: HashMap<Name, usize>,
    /// How many routers are left out, wholly or in part.
    bad_count: usize,
}

/// One file.
#[derive(Debug, Default)]
struct Entry {
    /// Its names, without those that found no room.
    names: Vec<Name>,
    /// Routers that were left out, wholly or in part.
    bad_count: usize,
}

/// What becomes of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Update {
    /// Its names, if they are not what they were.
    pub(crate) names: Option<Vec<Name>>,
    /// How many names found no room.
    pub(crate) left_out: usize,
}

// === impl Ledger ===

impl Ledger {
    /// Takes what a file says now.
    pub(crate) fn set(&mut self, path: Arc<str>, mut names: Vec<Name>, bad_count: usize) -> Update {
        let before = self.take(&path);
        let all = names.len();
        let is_new = before.is_none();
        names.retain(|name| self.count(name));
        let update = Update {
            names: (before.is_none_or(|entry| entry.names != names)
                && !(is_new && names.is_empty()))
            .then(|| names.clone()),
            left_out: all - names.len(),
        };
        self.bad_count += bad_count;
        self.files.insert(path, Entry { names, bad_count });
        update
    }

    /// Forgets a file; whether it had names.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        self.take(path).is_some_and(|entry| !entry.names.is_empty())
    }

    /// How many names there are.
    pub(crate) fn name_count(&self) -> usize {
        self.counts.len()
    }

    /// How many routers are left out, wholly or in part.
    pub(crate) fn bad_count(&self) -> usize {
        self.bad_count
    }

    /// Takes a file out.
    fn take(&mut self, path: &str) -> Option<Entry> {
        let entry = self.files.remove(path)?;
        self.bad_count -= entry.bad_count;
        for name in &entry.names {
            if let Some(count) = self.counts.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(name);
                }
            }
        }
        Some(entry)
    }

    /// Counts a name, if there is room for it.
    fn count(&mut self, name: &Name) -> bool {
        if let Some(count) = self.counts.get_mut(name) {
            *count += 1;
            return true;
        }
        if self.counts.len() >= MAX_NAMES {
            return false;
        }
        self.counts.insert(name.clone(), 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_two_files_counts_until_both_are_without_it() {
        let mut ledger = Ledger::default();
        ledger.set("a".into(), names(0..2), 0);
        ledger.set("b".into(), names(1..3), 0);
        assert_eq!(ledger.name_count(), 3);
        assert!(ledger.remove("a"));
        assert_eq!(ledger.name_count(), 2);
        ledger.set("b".into(), names(2..3), 0);
        assert_eq!(ledger.name_count(), 1);
    }

    #[test]
    fn only_what_differs_is_an_update() {
        let mut ledger = Ledger::default();
        for (file, expected) in [
            (0..1, true),
            (0..1, false),
            (0..2, true),
            (0..0, true),
            (0..0, false),
        ] {
            let update = ledger.set("a".into(), names(file.clone()), 0);
            assert_eq!(update.names.is_some(), expected, "{file:?}");
        }
        assert_eq!(ledger.set("b".into(), names(0..0), 0).names, None);
        assert!(!ledger.remove("a"), "it has no names left");
    }

    #[test]
    fn names_without_room_are_left_out() {
        let mut ledger = Ledger::default();
        let most = u32::try_from(MAX_NAMES).unwrap() - 1;
        ledger.set("a".into(), names(0..most), 0);
        let update = ledger.set("b".into(), names(most - 1..most + 2), 0);
        assert_eq!(update.left_out, 1);
        assert_eq!(update.names, Some(names(most - 1..most + 1)));
        assert_eq!(ledger.name_count(), MAX_NAMES);
    }

    #[test]
    fn bad_routers_go_with_their_file() {
        let mut ledger = Ledger::default();
        ledger.set("a".into(), names(0..1), 2);
        ledger.set("b".into(), names(0..1), 3);
        assert_eq!(ledger.bad_count(), 5);
        ledger.set("a".into(), names(0..1), 0);
        assert_eq!(ledger.bad_count(), 3);
        ledger.remove("b");
        assert_eq!(ledger.bad_count(), 0);
    }

    fn names(range: std::ops::Range<u32>) -> Vec<Name> {
        range
            .map(|n| format!("n{n}.example").parse().unwrap())
            .collect()
    }
}

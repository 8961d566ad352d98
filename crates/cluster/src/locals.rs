//! The sources of this server, numbered for the cluster.

use std::collections::BTreeMap;

use portolan_table::Row;
use portolan_table::Source;

use crate::ledger::LocalChange;

/// The sources that assert something, and their numbers.
#[derive(Debug, Default)]
pub(crate) struct Locals {
    /// Numbers of sources.
    keys: BTreeMap<Source, u64>,
    /// The last number given.
    last: u64,
}

// === impl Locals ===

impl Locals {
    /// What it means for the cluster that some sources changed.
    pub(crate) fn apply(&mut self, changed: Vec<(Source, Vec<Row>)>) -> Vec<LocalChange> {
        let changes = changed.into_iter();
        changes
            .filter_map(|(source, rows)| self.change(source, rows))
            .collect()
    }

    /// What it means for the cluster that these are all sources from now on.
    pub(crate) fn replace(&mut self, all: BTreeMap<Source, Vec<Row>>) -> Vec<LocalChange> {
        let gone = self.keys.keys().filter(|source| !all.contains_key(source));
        let gone: Vec<_> = gone.map(|source| (source.clone(), Vec::new())).collect();
        self.apply(gone.into_iter().chain(all).collect())
    }

    /// What it means that one source changed.
    fn change(&mut self, source: Source, rows: Vec<Row>) -> Option<LocalChange> {
        let origin = origin(&source).into();
        let key = if rows.is_empty() {
            self.keys.remove(&source)?
        } else {
            *self.keys.entry(source).or_insert_with(|| {
                self.last += 1;
                self.last
            })
        };
        Some(LocalChange { key, origin, rows })
    }
}

/// What a source is, for people elsewhere.
fn origin(source: &Source) -> String {
    match source {
        Source::Container { id, name, .. } => {
            let short = id.get(..12).unwrap_or(id);
            format!("container {name} ({short})")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use portolan_proto::Rdata;

    use super::*;

    #[test]
    fn a_number_is_kept_and_never_given_twice() {
        let mut locals = Locals::default();
        let keys = |changes: Vec<LocalChange>| -> Vec<(u64, usize)> {
            let key = |change: &LocalChange| (change.key, change.rows.len());
            changes.iter().map(key).collect()
        };
        assert_eq!(keys(locals.apply(vec![(source("a"), rows(1))])), [(1, 1)]);
        assert_eq!(keys(locals.apply(vec![(source("a"), rows(2))])), [(1, 2)]);
        assert_eq!(keys(locals.apply(vec![(source("a"), rows(0))])), [(1, 0)]);
        assert_eq!(keys(locals.apply(vec![(source("a"), rows(0))])), []);
        assert_eq!(keys(locals.apply(vec![(source("a"), rows(1))])), [(2, 1)]);
    }

    #[test]
    fn what_is_not_among_all_is_withdrawn() {
        let mut locals = Locals::default();
        locals.apply(vec![(source("a"), rows(1)), (source("b"), rows(1))]);
        let all = BTreeMap::from([(source("b"), rows(2)), (source("c"), rows(1))]);
        let changes = locals.replace(all);
        let told: Vec<_> = changes
            .iter()
            .map(|change| (change.key, &*change.origin, change.rows.len()))
            .collect();
        assert_eq!(
            told,
            [
                (1, "container a (a)", 0),
                (2, "container b (b)", 2),
                (3, "container c (c)", 1),
            ]
        );
    }

    fn source(container: &str) -> Source {
        Source::Container {
            member: "engine".into(),
            id: container.into(),
            name: container.into(),
        }
    }

    fn rows(count: u32) -> Vec<Row> {
        let row = |ttl| Row {
            owner: "a.example".parse().unwrap(),
            rdata: Rdata::A([192, 0, 2, 1].into()),
            ttl,
        };
        (0..count).map(row).collect()
    }
}

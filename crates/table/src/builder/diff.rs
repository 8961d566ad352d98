//! What a source's change does to its owners.

use std::cmp::Ordering;

use portolan_proto::Name;

use crate::Row;

/// What a change does to one owner of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The source had no row of the owner before.
    Gained,
    /// The source has no row of the owner any more.
    Lost,
    /// Its rows of the owner are others.
    Changed,
}

/// Rows in order, each owner and value once, with its smallest TTL.
pub(super) fn normalized(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_unstable();
    rows.dedup_by(|later, first| later.owner == first.owner && later.rdata == first.rdata);
    rows
}

/// The owners whose rows differ, in order. Both lists are normalized. Owners
/// that stay keep the memory they have.
pub(super) fn steps(old: &[Row], new: &mut [Row]) -> Vec<(Name, Step)> {
    let mut steps = Vec::new();
    let mut old_runs = old.chunk_by(same_owner).peekable();
    let mut new_runs = new.chunk_by_mut(same_owner).peekable();
    loop {
        let order = match (old_runs.peek(), new_runs.peek()) {
            (None, None) => return steps,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old_run), Some(new_run)) => owner(old_run).cmp(&owner(new_run)),
        };
        let old_run = old_runs.next_if(|_| order.is_le()).unwrap_or_default();
        let new_run = new_runs.next_if(|_| order.is_ge()).unwrap_or_default();
        let step = match order {
            Ordering::Less => Step::Lost,
            Ordering::Greater => Step::Gained,
            Ordering::Equal if old_run == new_run => {
                share(old_run, new_run);
                continue;
            }
            Ordering::Equal => {
                share(old_run, new_run);
                Step::Changed
            }
        };
        steps.extend(
            owner(old_run)
                .or_else(|| owner(new_run))
                .cloned()
                .map(|owner| (owner, step)),
        );
    }
}

/// Whether two rows have one owner.
fn same_owner(left: &Row, right: &Row) -> bool {
    left.owner == right.owner
}

/// The owner of rows that have one.
fn owner(run: &[Row]) -> Option<&Name> {
    run.first().map(|row| &row.owner)
}

/// Gives new rows the memory of the old rows' owner.
fn share(old_run: &[Row], new_run: &mut [Row]) {
    if let Some(owner) = owner(old_run) {
        for row in new_run {
            row.owner.clone_from(owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_proto::Rdata;

    use super::*;

    #[test]
    fn only_owners_that_differ_are_told() {
        let old = rows(&[("a", 1), ("b", 1), ("b", 2), ("c", 1), ("e", 1)]);
        let mut new = rows(&[("b", 2), ("c", 1), ("d", 1), ("e", 1), ("e", 3)]);
        let told: Vec<(String, Step)> = steps(&old, &mut new)
            .into_iter()
            .map(|(owner, step)| (owner.to_string(), step))
            .collect();
        let expected = [
            ("a.", Step::Lost),
            ("b.", Step::Changed),
            ("d.", Step::Gained),
            ("e.", Step::Changed),
        ];
        assert_eq!(told, expected.map(|(owner, step)| (owner.into(), step)));
        assert_eq!(steps(&new.clone(), &mut new), []);
    }

    #[test]
    fn a_value_given_twice_keeps_its_smallest_ttl() {
        let mut given = rows(&[("a", 2), ("a", 1), ("a", 2)]);
        for (row, ttl) in given.iter_mut().zip([60, 60, 5]) {
            row.ttl = ttl;
        }
        let kept: Vec<(Rdata, u32)> = normalized(given)
            .into_iter()
            .map(|row| (row.rdata, row.ttl))
            .collect();
        let address = |last| Rdata::A([192, 0, 2, last].into());
        assert_eq!(kept, [(address(1), 60), (address(2), 5)]);
    }

    fn rows(of: &[(&str, u8)]) -> Vec<Row> {
        of.iter()
            .map(|&(owner, last)| Row {
                owner: owner.parse().unwrap(),
                rdata: Rdata::A([192, 0, 2, last].into()),
                ttl: 60,
            })
            .collect()
    }
}

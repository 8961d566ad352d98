//! What the table is told of other members.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use portolan_proto::Name;
use portolan_table::Row;

use super::Actions;
use super::Notice;
use super::RemoteChange;
use super::Withdrawal;
use super::member::Member;
use super::member::Presence;
use crate::config::Rules;
use crate::member::MemberId;
use crate::validate;
use crate::wire::Assertion;

/// How many records were refused, by reason.
pub(super) type Refusals = BTreeMap<&'static str, usize>;

/// The rows that a member may claim.
pub(super) fn keep(rows: Vec<Row>, zones: &[Name], refused: &mut Refusals) -> Vec<Row> {
    let mut fits = |row: &Row| match validate::check(row, zones) {
        Ok(()) => true,
        Err(why) => {
            *refused.entry(why).or_default() += 1;
            false
        }
    };
    rows.into_iter().filter(|row| fits(row)).collect()
}

/// The rows of a source that its member may claim.
pub(super) fn fitting(source: &Assertion, zones: &[Name]) -> Vec<Row> {
    let fits = |row: &&Row| validate::check(row, zones).is_ok();
    source.rows.iter().filter(fits).cloned().collect()
}

/// Tells people how many records of a member were refused.
pub(super) fn tell_refused(member: &MemberId, refused: Refusals, actions: &mut Actions) {
    for (why, records) in refused {
        let member = member.clone();
        actions.notices.push(Notice::Refused {
            member,
            records,
            why,
        });
    }
}

/// Brings the table in line with sources that changed.
pub(super) fn tell_changed(
    id: &MemberId,
    member: &Member,
    changed: BTreeSet<u64>,
    rules: &Rules,
    actions: &mut Actions,
) {
    let mut refused = Refusals::new();
    for key in changed {
        let source = member.set.sources().get(&key);
        let rows = source.map(|source| source.rows.clone()).unwrap_or_default();
        let rows = keep(rows, &rules.allowed_zones, &mut refused);
        if member.served {
            let origin = source.map_or_else(|| "".into(), |source| Arc::clone(&source.origin));
            tell(id, key, origin, rows, actions);
        }
    }
    tell_refused(id, refused, actions);
}

/// Brings the table in line with what should be served of a member now.
pub(super) fn settle(
    id: &MemberId,
    member: &mut Member,
    rules: &Rules,
    now: Instant,
    actions: &mut Actions,
) {
    let should_serve = member.should_serve(now);
    if member.served == should_serve {
        return;
    }
    if should_serve {
        member.served = true;
        for (key, source) in member.set.sources() {
            let rows = fitting(source, &rules.allowed_zones);
            if !rows.is_empty() {
                tell(id, *key, Arc::clone(&source.origin), rows, actions);
            }
        }
    } else {
        let why = match member.presence {
            Presence::Online(_) => Withdrawal::Silent,
            Presence::Failed { .. } => Withdrawal::Failed,
            Presence::Leaving(_) => Withdrawal::Left,
        };
        withdraw(id, member, why, actions);
    }
}

/// Withdraws all records of a member that is served.
pub(super) fn withdraw(id: &MemberId, member: &mut Member, why: Withdrawal, actions: &mut Actions) {
    if !std::mem::take(&mut member.served) {
        return;
    }
    for (key, source) in member.set.sources() {
        tell(id, *key, Arc::clone(&source.origin), Vec::new(), actions);
    }
    actions.notices.push(Notice::Withdrawn {
        member: id.clone(),
        records: member.set.records(),
        why,
    });
}

/// Brings the table in line with rules that changed.
pub(super) fn look_again(
    id: &MemberId,
    member: &Member,
    before: &Rules,
    after: &Rules,
    actions: &mut Actions,
) {
    let mut refused = Refusals::new();
    for (key, source) in member.set.sources() {
        let had = fitting(source, &before.allowed_zones);
        let rows = keep(source.rows.clone(), &after.allowed_zones, &mut refused);
        if member.served && had != rows {
            tell(id, *key, Arc::clone(&source.origin), rows, actions);
        }
    }
    tell_refused(id, refused, actions);
}

/// Tells the table what a source has.
fn tell(id: &MemberId, key: u64, origin: Arc<str>, rows: Vec<Row>, actions: &mut Actions) {
    actions.changes.push(RemoteChange {
        member: id.clone(),
        key,
        origin,
        rows,
    });
}

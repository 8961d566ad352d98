//! What has to hold.
//!
//! Always, at each member:
//! - of an owner that is not there, nothing is served beyond its hold;
//! - the version of a set never goes back, but with a higher epoch;
//! - nothing of an owner that said good-bye is told to the table again.
//!
//! Of two members that have been connected, and there by one another's sight,
//! for the time that propagation may take: what one has had for that time the
//! other serves, and what one has not had for that time it does not. That is
//! both "no live record is lost" and "no zombie", and it makes a name live for
//! as long as one owner has it.
//!
//! A process that is killed and is back within two seconds is not missed: what
//! it had and still has is served all the time, at all who had it before.
//!
//! In the end, when nothing has happened for a while: each member serves
//! exactly what the members have that are alive.

use std::collections::BTreeMap;

use portolan_table::Row;

use super::process::State;
use super::world::Bridge;
use super::world::Flaw;
use super::world::World;
use crate::member::MemberId;

/// Changes take no longer than this, whatever the network is like.
const PROPAGATION: u64 = 12_000;

/// An event that was lost is found out within this.
const ROSTER: u64 = 9_000;

/// Records of a member that left are kept no longer than this.
const LEAVE_HOLD: u64 = 500;

/// A restart within this is not to be noticed.
const RESTART: u64 = 2_000;

/// Nobody is found dead sooner than this.
const DETECTION: u64 = 5_000;

// === impl World ===

impl World<'_> {
    /// What always has to hold.
    pub(super) fn check_now(&mut self) {
        self.check_bridges();
        for viewer in self.running() {
            self.check_presence(viewer);
            self.check_versions(viewer);
            for owner in self.running().filter(|owner| *owner != viewer) {
                self.check_records(viewer, owner);
            }
        }
    }

    /// A process is about to be killed: notes who has what of it.
    pub(super) fn begin_bridge(&mut self, old: usize) {
        let long_ago = |since: u64| since + PROPAGATION < self.now;
        let process = &self.processes[old];
        let sees = |viewer: &usize| {
            let online = self.processes[*viewer].online.get(&old).copied();
            let stable = [self.is_connected(*viewer, old), online];
            *viewer != old && stable.iter().all(|since| since.is_some_and(long_ago))
        };
        let had = |(key, _): &(&u64, &Vec<Row>)| long_ago(process.changed[*key]);
        let rows = process.told.iter().filter(had);
        let rows = rows.map(|(key, rows)| (*key, rows.clone())).collect();
        let bridge = Bridge {
            old,
            killed: self.now,
            new: old,
            booted: 0,
            viewers: self.running().filter(sees).collect(),
            rows,
        };
        let is_bad = self.history.weather.loss > 5 || process.state != State::Running;
        if !is_bad && !bridge.viewers.is_empty() {
            self.bridges.push(bridge);
        }
    }

    /// A process has started: perhaps in the place of one that was killed.
    pub(super) fn build_bridge(&mut self, new: usize) {
        let (now, host) = (self.now, self.processes[new].host);
        let hosts: Vec<usize> = self.processes.iter().map(|process| process.host).collect();
        self.bridges.retain_mut(|bridge| {
            if bridge.new == bridge.old && hosts[bridge.old] == host {
                bridge.new = new;
                bridge.booted = now;
                return now <= bridge.killed + RESTART;
            }
            true
        });
        if self.flaw == Some(Flaw::Hasty) {
            for viewer in self.running() {
                for (former, at) in hosts.iter().enumerate().take(new) {
                    if *at == host {
                        self.lose(viewer, former);
                    }
                }
            }
        }
    }

    /// What has to hold in the end.
    pub(super) fn check_end(&mut self) {
        for viewer in self.running() {
            let mut truth: BTreeMap<(MemberId, u64), Vec<Row>> = BTreeMap::new();
            for owner in self.running().filter(|owner| *owner != viewer) {
                let owner = &self.processes[owner];
                for (key, rows) in &owner.told {
                    truth.insert((owner.id.clone(), *key), rows.clone());
                }
            }
            let process = &self.processes[viewer];
            let id = &process.id;
            if process.table != truth {
                let table = brief(&process.table);
                self.fail(format!(
                    "in the end {id} serves {table}, not {}",
                    brief(&truth)
                ));
                return;
            }
            let remote = process.ledger.remote().into_iter();
            let remote = remote
                .map(|change| ((change.member, change.key), change.rows))
                .collect();
            if process.table != remote {
                self.fail(format!("{id} tells of {} at once", brief(&remote)));
                return;
            }
            if !process.ledger.is_settled() {
                self.fail(format!("{id} is not settled in the end"));
                return;
            }
        }
    }

    /// Nobody notices a restart that is quick enough.
    fn check_bridges(&mut self) {
        let mut missed = None;
        for bridge in &self.bridges {
            let (old, new) = (&self.processes[bridge.old], &self.processes[bridge.new]);
            if bridge.old == bridge.new || !new.is_running() || bridge.booted == self.now {
                continue;
            }
            for viewer in &bridge.viewers {
                let process = &self.processes[*viewer];
                let connected = self.is_connected(*viewer, bridge.new);
                let is_wrong = |former: &usize, until: u64| {
                    process
                        .offline
                        .get(former)
                        .is_some_and(|since| *since < until)
                };
                let is_out = connected.is_none_or(|since| since > bridge.booted)
                    || self.flaw != Some(Flaw::Hasty)
                        && is_wrong(&bridge.old, bridge.killed + DETECTION)
                    || is_wrong(&bridge.new, u64::MAX)
                    || !process.is_running();
                if is_out {
                    continue;
                }
                let serves = |id: &MemberId, key: u64| process.table.get(&(id.clone(), key));
                for (key, rows) in &bridge.rows {
                    let still = new.told.get(key) == Some(rows);
                    let served = [serves(&old.id, *key), serves(&new.id, *key)];
                    if still && !served.contains(&Some(rows)) {
                        let (viewer, old) = (&process.id, &old.id);
                        missed = Some(format!("{viewer} misses {key} of {old}, restarted"));
                    }
                }
            }
        }
        self.bridges
            .retain(|bridge| self.now < bridge.killed + PROPAGATION);
        if let Some(text) = missed {
            self.fail(text);
        }
    }

    /// Nothing is served of who is not there.
    fn check_presence(&mut self, viewer: usize) {
        let process = &self.processes[viewer];
        let hold = self.history.dead_hold.max(LEAVE_HOLD) + ROSTER;
        let index = |id: &MemberId| self.processes.iter().position(|other| other.id == *id);
        let mut last = None;
        for (id, key) in process.table.keys() {
            if last == Some(id) {
                continue;
            }
            last = Some(id);
            let owner = index(id).unwrap();
            let since = process.offline.get(&owner).copied().unwrap_or(0);
            if !process.online.contains_key(&owner) && since + hold < self.now {
                let text = format!("{} serves {key} of {id}, which is not there", process.id);
                self.fail(text);
                return;
            }
        }
    }

    /// No version goes back.
    fn check_versions(&mut self, viewer: usize) {
        let clock = self.processes[viewer].clock(self.now);
        let process = &mut self.processes[viewer];
        let views = process.ledger.views(clock).into_iter();
        let stamps = views
            .map(|view| (view.id, (view.epoch, view.version)))
            .collect();
        let before = std::mem::replace(&mut process.stamps, stamps);
        let back = before
            .into_iter()
            .find(|(id, before)| process.stamps.get(id).is_some_and(|after| after < before));
        if let Some((id, before)) = back {
            let text = format!("{}: the set of {id} goes back from {before:?}", process.id);
            self.fail(text);
        }
    }

    /// Between two members that have seen one another for long enough, what
    /// has not changed for long enough is served, and nothing else.
    fn check_records(&mut self, viewer: usize, owner: usize) {
        let long_ago = |since: u64| since + PROPAGATION < self.now;
        let (here, there) = (&self.processes[viewer], &self.processes[owner]);
        let stable = [
            self.is_connected(viewer, owner),
            here.online.get(&owner).copied(),
            there.online.get(&viewer).copied(),
        ];
        if !stable.iter().all(|since| since.is_some_and(long_ago)) {
            return;
        }
        for (key, changed) in &there.changed {
            let served = here.table.get(&(there.id.clone(), *key));
            let truth = there.told.get(key);
            if long_ago(*changed) && served != truth {
                let (here, there) = (&here.id, &there.id);
                self.fail(format!(
                    "{here} serves {served:?} as {key} of {there}, not {truth:?}"
                ));
                return;
            }
        }
    }

    /// Notes what went wrong first.
    fn fail(&mut self, text: String) {
        let seconds = self.now / 1_000;
        let millis = self.now % 1_000;
        self.violation
            .get_or_insert_with(|| format!("{seconds}.{millis:03}: {text}"));
    }
}

/// A table, or a part of it.
fn brief(table: &BTreeMap<(MemberId, u64), Vec<Row>>) -> String {
    let shown: Vec<String> = table
        .keys()
        .take(40)
        .map(|(id, key)| format!("{id}/{key}"))
        .collect();
    format!("{} sources {shown:?}", table.len())
}

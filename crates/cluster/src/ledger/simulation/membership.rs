//! Who is there by whose sight: what memberlist makes of the links.
//!
//! Two processes are connected if a probe and its answer pass between them,
//! perhaps with the help of a third. Who is not connected any more is found
//! dead after a while; who is again, joins again after a while. A process that
//! starts is told of all whom its seed believes in, also of the dead.

use rand::RngExt as _;

use super::process::State;
use super::world::Event;
use super::world::Flaw;
use super::world::World;

/// A failure is found out after 5 to 8 seconds.
const DETECTION: std::ops::Range<u64> = 5_000..8_000;

/// After a link is back, members find each other again within 2 to 3 seconds.
const REJOIN: std::ops::Range<u64> = 2_000..3_000;

// === impl World ===

impl World<'_> {
    /// Looks at who is connected now, and lets members find out.
    pub(super) fn links_changed(&mut self) {
        let alive: Vec<usize> = self.running().collect();
        for &one in &alive {
            for &other in alive.iter().filter(|other| **other > one) {
                if self.reaches(one, other, &alive) {
                    let now = self.now;
                    self.connected.entry((one, other)).or_insert(now);
                } else {
                    self.connected.remove(&(one, other));
                }
            }
        }
        let states: Vec<bool> = self
            .processes
            .iter()
            .map(|process| process.is_running())
            .collect();
        self.connected
            .retain(|(one, other), _| states[*one] && states[*other]);
        for viewer in alive {
            self.find_out(viewer);
        }
    }

    /// Lets one member find out who is connected now.
    fn find_out(&mut self, viewer: usize) {
        let online: Vec<usize> = self.processes[viewer].online.keys().copied().collect();
        for subject in online {
            if self.is_connected(viewer, subject).is_some() {
                self.suspects.remove(&(viewer, subject));
            } else if !self.suspects.contains_key(&(viewer, subject)) {
                self.suspects.insert((viewer, subject), self.now);
                let wait = self.rng.random_range(DETECTION);
                let since = self.now;
                self.schedule(
                    wait,
                    Event::Detect {
                        viewer,
                        subject,
                        since,
                    },
                );
            }
        }
        let others: Vec<usize> = self.running().collect();
        for subject in others {
            let is_new = subject != viewer && !self.processes[viewer].online.contains_key(&subject);
            if is_new && self.is_connected(viewer, subject).is_some() {
                self.meet_soon(viewer, subject, REJOIN);
            }
        }
    }

    /// A member finds another dead, unless that has come back.
    pub(super) fn detect(&mut self, viewer: usize, subject: usize, since: u64) {
        if !self.processes[viewer].is_running()
            || self.suspects.get(&(viewer, subject)) != Some(&since)
        {
            return;
        }
        self.suspects.remove(&(viewer, subject));
        self.lose(viewer, subject);
    }

    /// A member is there no more by the sight of another.
    pub(super) fn lose(&mut self, viewer: usize, subject: usize) {
        let now = self.now;
        let process = &mut self.processes[viewer];
        if process.online.remove(&subject).is_none() {
            return;
        }
        process.offline.insert(subject, now);
        let is_lost = self.rng.random_range(0..100) < self.history.weather.lost_events;
        if !is_lost && self.flaw != Some(Flaw::NoLeave) {
            let id = self.processes[subject].id.clone();
            let process = &mut self.processes[viewer];
            let actions = process.ledger.left(id, process.clock(now));
            self.after(viewer, actions);
        }
        if self.is_connected(viewer, subject).is_some() {
            self.meet_soon(viewer, subject, REJOIN);
        }
    }

    /// A member will find another.
    pub(super) fn meet_soon(&mut self, viewer: usize, subject: usize, wait: std::ops::Range<u64>) {
        if self.meetings.insert((viewer, subject)) {
            let wait = self.rng.random_range(wait);
            self.schedule(wait, Event::Meet { viewer, subject });
        }
    }

    /// A member finds another, or is told of it, which may be wrong.
    pub(super) fn meet(&mut self, viewer: usize, subject: usize, is_told: bool) {
        let is_told = is_told && !self.processes[viewer].offline.contains_key(&subject);
        self.meetings.remove(&(viewer, subject));
        let is_there = self.is_connected(viewer, subject).is_some();
        let is_new = viewer != subject && !self.processes[viewer].online.contains_key(&subject);
        if !self.processes[viewer].is_running() || !is_new || !(is_there || is_told) {
            return;
        }
        let now = self.now;
        let (id, address) = (
            self.processes[subject].id.clone(),
            self.processes[subject].address(),
        );
        let process = &mut self.processes[viewer];
        process.online.insert(subject, now);
        process.offline.remove(&subject);
        let is_lost = self.rng.random_range(0..100) < self.history.weather.lost_events;
        if !is_lost {
            let process = &mut self.processes[viewer];
            let actions = process.ledger.joined(id, address, process.clock(now));
            self.after(viewer, actions);
        }
        // A push/pull goes with a join, which few of the meetings are.
        if is_there && self.rng.random_range(0..6) == 0 {
            self.exchange(viewer, subject);
        }
        self.find_out(viewer);
    }

    /// A process that has started joins by way of another.
    pub(super) fn join(&mut self, joiner: usize) {
        let others: Vec<usize> = self.running().filter(|other| *other != joiner).collect();
        let near = others
            .iter()
            .filter(|other| self.is_connected(joiner, **other).is_some());
        let near: Vec<usize> = near.copied().collect();
        if near.is_empty() {
            return;
        }
        let seed = near[self.rng.random_range(0..near.len())];
        let mut believed: Vec<usize> = self.processes[seed].online.keys().copied().collect();
        // In whatever order.
        for at in 0..believed.len() {
            let other = self.rng.random_range(at..believed.len());
            believed.swap(at, other);
        }
        self.meet(joiner, seed, false);
        self.meet(seed, joiner, false);
        self.exchange(joiner, seed);
        for subject in believed {
            self.meet(joiner, subject, true);
        }
        for other in near {
            self.meetings.remove(&(other, joiner));
            self.meet_soon(other, joiner, 10..400);
        }
    }

    /// A round of push/pull with a random member, which also tells of members.
    pub(super) fn push_pull(&mut self, process: usize) {
        self.schedule(15_000, Event::PushPull(process));
        let online = self.processes[process].online.keys().copied();
        let alive: Vec<usize> = online
            .filter(|other| self.processes[*other].is_running())
            .collect();
        if alive.is_empty() {
            return;
        }
        let other = alive[self.rng.random_range(0..alive.len())];
        let (here, there) = (self.processes[process].host, self.processes[other].host);
        if !self.links.is_up(here, there) || !self.links.is_up(there, here) {
            return;
        }
        self.exchange(process, other);
        for (viewer, teller) in [(process, other), (other, process)] {
            let believed: Vec<usize> = self.processes[teller].online.keys().copied().collect();
            for subject in believed {
                self.meet(viewer, subject, true);
            }
        }
    }

    /// Tells a ledger who is there.
    pub(super) fn roster(&mut self, process: usize) {
        let often = if self.history.hosts > 10 {
            3_000
        } else {
            1_000
        };
        self.schedule(often, Event::Roster(process));
        let mut who: Vec<usize> = self.processes[process].online.keys().copied().collect();
        if self.flaw == Some(Flaw::Hearsay) {
            let running: Vec<usize> = self.running().collect();
            who.extend(
                running
                    .iter()
                    .flat_map(|other| self.processes[*other].online.keys()),
            );
            who.sort_unstable();
            who.dedup();
        }
        if self.flaw == Some(Flaw::NoLeave) {
            who.extend(self.processes[process].offline.keys());
        }
        who.retain(|other| *other != process);
        who.push(process);
        let entry = |other: usize| {
            (
                self.processes[other].id.clone(),
                self.processes[other].address(),
            )
        };
        let online: Vec<_> = who.into_iter().map(entry).collect();
        let now = self.now;
        let owner = &mut self.processes[process];
        let actions = owner.ledger.roster(&online, owner.clock(now));
        self.after(process, actions);
    }

    /// Since when two processes are connected.
    pub(super) fn is_connected(&self, one: usize, other: usize) -> Option<u64> {
        self.connected
            .get(&(one.min(other), one.max(other)))
            .copied()
    }

    /// The processes that take part.
    pub(super) fn running(&self) -> impl Iterator<Item = usize> + use<> {
        let all = self.processes.iter().enumerate();
        let running = all.filter(|(_, process)| process.state == State::Running);
        running.map(|(at, _)| at).collect::<Vec<_>>().into_iter()
    }

    /// Whether a probe and its answer get through, perhaps by way of a third.
    fn reaches(&self, one: usize, other: usize, alive: &[usize]) -> bool {
        let is_up = |one: usize, other: usize| {
            let (here, there) = (self.processes[one].host, self.processes[other].host);
            self.links.is_up(here, there) && self.links.is_up(there, here)
        };
        let helps = |third: &usize| is_up(one, *third) && is_up(*third, other);
        is_up(one, other) || alive.iter().any(helps)
    }
}

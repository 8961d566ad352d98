//! A simulated cluster: its clock, and what happens when.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use portolan_table::Row;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::super::Actions;
use super::super::Ledger;
use super::super::LocalChange;
use super::history::History;
use super::history::Step;
use super::network::Links;
use super::process::Process;
use super::process::State;
use super::process::address;
use crate::config::Rules;
use crate::member::MemberId;

/// After the last step nothing happens for so long.
const QUIET: u64 = 30_000;

/// So many datagrams wait for a process that stands still.
const MAX_INBOX: usize = 200;

/// Containers on a host that steps choose from.
const CONTAINERS: u64 = 5;

/// A way to break the protocol, from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// No digest, pull or snapshot arrives.
    NoRepair,
    /// A member believes in all whom any other one believes in.
    Hearsay,
    /// Nobody hears of those who are gone.
    NoLeave,
    /// A member that comes back is taken for its old self having left.
    Hasty,
}

/// Something that happens at a process or to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A step of the history.
    Step(usize),
    /// Messages arrive at a host.
    Deliver {
        /// Host that they come from.
        from: usize,
        /// Host.
        to: usize,
        /// Messages.
        messages: Vec<Bytes>,
    },
    /// A ledger wanted to be called.
    Tick(usize, u64),
    /// A round of gossip.
    Gossip(usize),
    /// A round of push/pull.
    PushPull(usize),
    /// A look at who is there.
    Roster(usize),
    /// A member finds another dead.
    Detect {
        /// Who does.
        viewer: usize,
        /// The other.
        subject: usize,
        /// Since when it was suspected.
        since: u64,
    },
    /// A member finds another.
    Meet {
        /// Who does.
        viewer: usize,
        /// The other.
        subject: usize,
    },
    /// A process starts.
    Boot(usize),
    /// A process has synced.
    Complete(usize),
    /// A process that said good-bye ends.
    End(usize),
    /// A look at whether all is well.
    Check,
}

/// A restart that was over before anybody could find the old process dead.
pub(super) struct Bridge {
    /// The process that was killed.
    pub(super) old: usize,
    /// When.
    pub(super) killed: u64,
    /// The process that took its place.
    pub(super) new: usize,
    /// When.
    pub(super) booted: u64,
    /// Members that had found the old one, and had had the time to hear all.
    pub(super) viewers: Vec<usize>,
    /// Records that it had had for long enough.
    pub(super) rows: BTreeMap<u64, Vec<Row>>,
}

/// A simulated cluster.
pub(super) struct World<'a> {
    /// What is to happen.
    pub(super) history: &'a History,
    /// How it is broken.
    pub(super) flaw: Option<Flaw>,
    /// Chance.
    pub(super) rng: SmallRng,
    /// Milliseconds since the world began.
    pub(super) now: u64,
    /// All processes there ever were.
    pub(super) processes: Vec<Process>,
    /// The links between the hosts.
    pub(super) links: Links,
    /// Pairs of running processes that are connected, and since when.
    pub(super) connected: BTreeMap<(usize, usize), u64>,
    /// Who suspects whom, and since when.
    pub(super) suspects: BTreeMap<(usize, usize), u64>,
    /// Who is about to find whom.
    pub(super) meetings: BTreeSet<(usize, usize)>,
    /// Restarts that nobody may notice.
    pub(super) bridges: Vec<Bridge>,
    /// What went wrong.
    pub(super) violation: Option<String>,
    /// The process on each host.
    hosts: Vec<Option<usize>>,
    /// The containers on each host.
    containers: Vec<BTreeMap<u64, Vec<Row>>>,
    /// What is to come.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    /// Number of events so far.
    scheduled: u64,
    /// Number of containers so far.
    started: u64,
}

// === impl World ===

impl<'a> World<'a> {
    /// A world in which nothing has happened.
    pub(super) fn new(history: &'a History, flaw: Option<Flaw>) -> Self {
        Self {
            history,
            flaw,
            rng: SmallRng::seed_from_u64(history.seed),
            now: 0,
            processes: Vec::new(),
            links: Links::default(),
            connected: BTreeMap::new(),
            suspects: BTreeMap::new(),
            meetings: BTreeSet::new(),
            bridges: Vec::new(),
            violation: None,
            hosts: vec![None; history.hosts],
            containers: vec![BTreeMap::new(); history.hosts],
            events: BinaryHeap::new(),
            scheduled: 0,
            started: 0,
        }
    }

    /// Lets it all happen. An error tells what did not hold.
    pub(super) fn play(mut self) -> Result<(), String> {
        for (host, at) in (0..self.history.hosts).zip((0..).step_by(10)) {
            self.change(host, 0, true);
            self.schedule(at, Event::Boot(host));
        }
        let mut at = 1_000;
        for (number, (gap, _)) in self.history.steps.iter().enumerate() {
            at += gap;
            self.schedule(at, Event::Step(number));
        }
        self.schedule(0, Event::Check);
        self.run_until(at);
        self.links.heal();
        for host in 0..self.hosts.len() {
            self.resume(host);
        }
        self.links_changed();
        // Processes may be about to start.
        self.run_until(at + 12_000 + QUIET);
        if self.violation.is_none() {
            self.check_end();
        }
        self.violation.map_or(Ok(()), Err)
    }

    /// Has something happen after a while.
    pub(super) fn schedule(&mut self, wait: u64, event: Event) {
        self.scheduled += 1;
        self.events
            .push(Reverse((self.now + wait, self.scheduled, event)));
    }

    /// Does what a ledger wants, and calls it again when it wants.
    pub(super) fn after(&mut self, process: usize, actions: Actions) {
        self.act(process, actions);
        let owner = &mut self.processes[process];
        let due = owner
            .ledger
            .due()
            .map(|due| owner.world_time(due).max(self.now + 1));
        if let Some(due) = due.filter(|due| owner.tick_at.is_none_or(|tick| *due < tick)) {
            owner.tick_at = Some(due);
            self.schedule(due - self.now, Event::Tick(process, due));
        }
    }

    /// Lets things happen until then, or until something goes wrong.
    fn run_until(&mut self, end: u64) {
        while self.violation.is_none() {
            let Some(Reverse((at, number, event))) = self.events.pop() else {
                break;
            };
            if at > end {
                self.events.push(Reverse((at, number, event)));
                break;
            }
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    /// Lets something happen.
    fn happen(&mut self, event: Event) {
        if let Event::Tick(process, _)
        | Event::Gossip(process)
        | Event::PushPull(process)
        | Event::Roster(process)
        | Event::Complete(process) = event
        {
            match self.processes[process].state {
                State::Running | State::Leaving => {}
                State::Paused => return self.processes[process].inbox.push(event),
                State::Dead => return,
            }
        }
        match event {
            Event::Step(number) => self.step(self.history.steps[number].1),
            Event::Deliver { from, to, messages } => self.deliver(from, to, messages),
            Event::Tick(process, at) => {
                if self.processes[process].tick_at == Some(at) {
                    self.processes[process].tick_at = None;
                    self.call(process, Ledger::tick);
                }
            }
            Event::Gossip(process) => self.gossip(process),
            Event::PushPull(process) => self.push_pull(process),
            Event::Roster(process) => self.roster(process),
            Event::Detect {
                viewer,
                subject,
                since,
            } => self.detect(viewer, subject, since),
            Event::Meet { viewer, subject } => self.meet(viewer, subject, false),
            Event::Boot(host) => self.boot(host),
            Event::Complete(process) => self.call(process, Ledger::complete),
            Event::End(process) => self.end(process),
            Event::Check => {
                let often = if self.hosts.len() > 10 { 10_000 } else { 1_000 };
                self.schedule(often, Event::Check);
                self.check_now();
            }
        }
    }

    /// A step of the history.
    fn step(&mut self, step: Step) {
        let count = self.hosts.len();
        match step {
            Step::Start(host, key) => self.change(host % count, key % CONTAINERS, true),
            Step::Stop(host, key) => self.change(host % count, key % CONTAINERS, false),
            Step::Burst(host, more) => {
                let more = if count > 10 { more.min(20) } else { more };
                for key in CONTAINERS..CONTAINERS + more {
                    self.change(host % count, key, true);
                }
            }
            Step::StopAll(host) => {
                let keys: Vec<u64> = self.containers[host % count].keys().copied().collect();
                for key in keys {
                    self.change(host % count, key, false);
                }
            }
            Step::Crash(host) => self.crash(host % count),
            Step::Leave(host) => self.leave(host % count),
            Step::Boot(host) => self.boot(host % count),
            Step::Restart(host, after) => {
                self.crash(host % count);
                self.schedule(after, Event::Boot(host % count));
            }
            Step::Upgrade(host, after) => {
                self.leave(host % count);
                self.schedule(after.max(350), Event::Boot(host % count));
            }
            Step::Pause(host) => {
                if let Some(process) = self.running_at(host % count) {
                    self.processes[process].state = State::Paused;
                    self.suspects.retain(|(viewer, _), _| *viewer != process);
                    self.links_changed();
                }
            }
            Step::Resume(host) => {
                self.resume(host % count);
                self.links_changed();
            }
            Step::Cut(from, to) => {
                self.links.cut(from % count, to % count);
                self.links_changed();
            }
            Step::Unplug(one, other) => {
                self.links.cut(one % count, other % count);
                self.links.cut(other % count, one % count);
                self.links_changed();
            }
            Step::Split(mask) => {
                let side = |host: usize| mask >> (host % 64) & 1;
                for one in 0..count {
                    for other in (0..count).filter(|other| side(*other) != side(one)) {
                        self.links.cut(one, other);
                    }
                }
                self.links_changed();
            }
            Step::Heal => {
                self.links.heal();
                self.links_changed();
            }
            Step::Slander(viewer, subject) => {
                let pair = (
                    self.running_at(viewer % count),
                    self.running_at(subject % count),
                );
                if let (Some(viewer), Some(subject)) = pair {
                    self.lose(viewer, subject);
                }
            }
        }
    }

    /// A container starts anew, or stops.
    fn change(&mut self, host: usize, key: u64, starts: bool) {
        self.started += 1;
        let [high, low] = u16::try_from(self.started % 60_000).unwrap().to_be_bytes();
        let row = Row {
            owner: format!("c{key}.lan").parse().unwrap(),
            rdata: IpAddr::V4(Ipv4Addr::new(10, 1, high, low)).into(),
            ttl: 60,
        };
        if starts {
            self.containers[host].insert(key, vec![row]);
        } else if self.containers[host].remove(&key).is_none() {
            return;
        }
        if let Some(process) = self.running_at(host) {
            self.tell(process, &[key]);
        }
    }

    /// A process is told of containers of its host.
    fn tell(&mut self, process: usize, keys: &[u64]) {
        let owner = &mut self.processes[process];
        let mut changes = Vec::new();
        for key in keys {
            let rows = self.containers[owner.host]
                .get(key)
                .cloned()
                .unwrap_or_default();
            let same = owner.told.get(key).map_or(&[][..], |rows| rows) == rows;
            if same {
                continue;
            }
            owner.changed.insert(*key, self.now);
            if rows.is_empty() {
                owner.told.remove(key);
            } else {
                owner.told.insert(*key, rows.clone());
            }
            let origin = format!("container {key}").into();
            changes.push(LocalChange {
                key: *key,
                origin,
                rows,
            });
        }
        self.call(process, |ledger, now| ledger.local(changes, now));
    }

    /// A process starts, unless there is one.
    fn boot(&mut self, host: usize) {
        if self.hosts[host].is_some() {
            return;
        }
        let number = self.processes.len();
        // No clock is compared with another: each shows what it likes.
        let epoch = an_instant() + Duration::from_secs(self.rng.random_range(0..1_000_000));
        let rules = Rules {
            dead_hold: Duration::from_millis(self.history.dead_hold),
            ..Rules::default()
        };
        let boot = self.rng.random();
        let id = MemberId::new(&format!("n{host}"), boot);
        let clock = epoch + Duration::from_millis(self.now);
        let mut process = Process {
            id: id.clone(),
            host,
            state: State::Running,
            epoch,
            ledger: Ledger::new(id.clone(), rules, boot, clock),
            table: BTreeMap::new(),
            told: BTreeMap::new(),
            changed: BTreeMap::new(),
            online: BTreeMap::new(),
            offline: BTreeMap::new(),
            rumors: Vec::new(),
            tick_at: None,
            gossips: false,
            inbox: Vec::new(),
            left: BTreeSet::new(),
            stamps: BTreeMap::new(),
        };
        let actions = process.ledger.joined(id, address(host), clock);
        self.processes.push(process);
        self.hosts[host] = Some(number);
        self.after(number, actions);
        self.links_changed();
        self.build_bridge(number);
        self.join(number);
        let keys: Vec<u64> = self.containers[host].keys().copied().collect();
        self.tell(number, &keys);
        let sync = self.rng.random_range(0..500);
        self.schedule(sync, Event::Complete(number));
        self.schedule(self.now % 1_000, Event::Roster(number));
        let first = self.rng.random_range(0..15_000);
        self.schedule(first, Event::PushPull(number));
    }

    /// A process is killed.
    fn crash(&mut self, host: usize) {
        if let Some(process) = self.hosts[host].take() {
            self.begin_bridge(process);
            self.processes[process].state = State::Dead;
            self.links_changed();
        }
    }

    /// A process says good-bye, and ends a little later.
    fn leave(&mut self, host: usize) {
        if let Some(process) = self.running_at(host) {
            self.call(process, Ledger::leave);
            self.processes[process].state = State::Leaving;
            self.schedule(300, Event::End(process));
        }
    }

    /// A process that said good-bye ends, and membership tells those near.
    fn end(&mut self, process: usize) {
        let host = self.processes[process].host;
        if self.processes[process].state != State::Leaving {
            return;
        }
        self.processes[process].state = State::Dead;
        self.hosts[host] = None;
        for viewer in self.running() {
            let other = self.processes[viewer].host;
            if self.links.is_up(host, other) && self.links.is_up(other, host) {
                self.lose(viewer, process);
            }
        }
        self.links_changed();
    }

    /// A process that stands still goes on.
    fn resume(&mut self, host: usize) {
        let Some(process) = self.hosts[host] else {
            return;
        };
        let owner = &mut self.processes[process];
        if owner.state != State::Paused {
            return;
        }
        owner.state = State::Running;
        // It could not find out anything in the meantime.
        for since in owner.offline.values_mut() {
            *since = self.now;
        }
        for event in std::mem::take(&mut owner.inbox) {
            self.happen(event);
        }
        let mut keys: BTreeSet<u64> = self.containers[host].keys().copied().collect();
        keys.extend(self.processes[process].told.keys());
        let keys: Vec<u64> = keys.into_iter().collect();
        self.tell(process, &keys);
    }

    /// Messages arrive at a host.
    fn deliver(&mut self, from: usize, to: usize, messages: Vec<Bytes>) {
        let Some(process) = self.hosts[to].filter(|_| self.links.is_up(from, to)) else {
            return;
        };
        let owner = &mut self.processes[process];
        if owner.state == State::Paused {
            if owner.inbox.len() < MAX_INBOX {
                owner.inbox.push(Event::Deliver { from, to, messages });
            }
            return;
        }
        for octets in messages {
            let owner = &mut self.processes[process];
            let actions = owner.ledger.receive(&octets, owner.clock(self.now));
            self.after(process, actions);
        }
    }

    /// Calls a ledger.
    fn call(&mut self, process: usize, what: impl FnOnce(&mut Ledger, Instant) -> Actions) {
        let owner = &mut self.processes[process];
        let now = owner.clock(self.now);
        let actions = what(&mut owner.ledger, now);
        self.after(process, actions);
    }

    /// The process that runs on a host.
    fn running_at(&self, host: usize) -> Option<usize> {
        self.hosts[host].filter(|process| self.processes[*process].is_running())
    }
}

/// Some instant: there is no other way to have one.
#[expect(
    clippy::disallowed_methods,
    reason = "instants are made from nothing else"
)]
fn an_instant() -> Instant {
    Instant::now()
}

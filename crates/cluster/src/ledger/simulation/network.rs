//! The links between hosts, and gossip over them.

use std::collections::BTreeSet;

use bytes::Bytes;
use rand::RngExt as _;

use super::super::Actions;
use super::super::MAX_GOSSIP;
use super::super::Notice;
use super::process::State;
use super::world::Event;
use super::world::Flaw;
use super::world::World;

/// Between two rounds of gossip.
const GOSSIP_INTERVAL: u64 = 100;

/// So many members hear a round.
const GOSSIP_TARGETS: usize = 3;

/// Octets of a datagram.
const DATAGRAM: usize = 1_380;

/// Directions in which nothing passes.
#[derive(Default)]
pub(super) struct Links {
    /// From and to.
    cut: BTreeSet<(usize, usize)>,
}

// === impl Links ===

impl Links {
    /// Whether something passes.
    pub(super) fn is_up(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Lets nothing pass any more.
    pub(super) fn cut(&mut self, from: usize, to: usize) {
        if from != to {
            self.cut.insert((from, to));
        }
    }

    /// Lets everything pass.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }
}

// === impl World ===

impl World<'_> {
    /// Does what a ledger wants to be done.
    pub(super) fn act(&mut self, process: usize, actions: Actions) {
        let owner = &mut self.processes[process];
        for change in actions.changes {
            let is_old = owner.left.contains(&change.member) && !change.rows.is_empty();
            let key = (change.member, change.key);
            if is_old {
                self.violation
                    .get_or_insert_with(|| format!("{} resurrects {}", owner.id, key.0));
            }
            if change.rows.is_empty() {
                owner.table.remove(&key);
            } else {
                owner.table.insert(key, change.rows);
            }
        }
        for notice in &actions.notices {
            match notice {
                Notice::Left(member) => {
                    owner.left.insert(member.clone());
                }
                Notice::BadMessage(why) => {
                    self.violation
                        .get_or_insert_with(|| format!("{}: {why}", owner.id));
                }
                _ => {}
            }
        }
        let from = owner.host;
        for send in actions.sends {
            let to = usize::from(match send.address.ip() {
                std::net::IpAddr::V4(v4) => v4.octets()[3] - 1,
                std::net::IpAddr::V6(_) => unreachable!("hosts have IPv4 addresses"),
            });
            assert!(send.reliable || send.octets.len() <= MAX_GOSSIP);
            self.transmit(from, to, vec![send.octets], send.reliable);
        }
        let owner = &mut self.processes[process];
        for octets in actions.gossip {
            assert!(octets.len() <= MAX_GOSSIP);
            owner.rumors.push((0, octets));
        }
        if !owner.rumors.is_empty() && !owner.gossips {
            owner.gossips = true;
            let wait = self.rng.random_range(0..GOSSIP_INTERVAL);
            self.schedule(wait, Event::Gossip(process));
        }
    }

    /// A round of gossip.
    pub(super) fn gossip(&mut self, process: usize) {
        self.processes[process].gossips = false;
        let online: Vec<usize> = self.processes[process].online.keys().copied().collect();
        let members = online.len() + 1;
        let most = 6 * u32::try_from(members.to_string().len()).unwrap();
        for at in 0..GOSSIP_TARGETS.min(online.len()) {
            let target = online[(self.rng.random_range(0..online.len()) + at) % online.len()];
            let owner = &mut self.processes[process];
            owner.rumors.sort_by_key(|(times, _)| *times);
            let mut room = DATAGRAM;
            let mut datagram = Vec::new();
            for (times, octets) in &mut owner.rumors {
                if octets.len() + 6 <= room {
                    room -= octets.len() + 6;
                    *times += 1;
                    datagram.push(octets.clone());
                }
            }
            owner.rumors.retain(|(times, _)| *times < most);
            let (from, to) = (owner.host, self.processes[target].host);
            if !datagram.is_empty() {
                self.transmit(from, to, datagram, false);
            }
        }
        let owner = &mut self.processes[process];
        if !owner.rumors.is_empty() && owner.state != State::Dead {
            owner.gossips = true;
            self.schedule(GOSSIP_INTERVAL, Event::Gossip(process));
        }
    }

    /// Tells two members what the other has: a push/pull over TCP.
    pub(super) fn exchange(&mut self, one: usize, other: usize) {
        let (here, there) = (self.processes[one].host, self.processes[other].host);
        let (push, pull) = {
            let octets = |process: usize| self.processes[process].ledger.exchange();
            (octets(one), octets(other))
        };
        self.transmit(here, there, vec![push], true);
        self.transmit(there, here, vec![pull], true);
    }

    /// Sends messages from host to host, in one datagram or over TCP.
    fn transmit(&mut self, from: usize, to: usize, messages: Vec<Bytes>, reliable: bool) {
        let weather = self.history.weather;
        let is_up = self.links.is_up(from, to) && (!reliable || self.links.is_up(to, from));
        let is_lost = !reliable && self.rng.random_range(0..100) < weather.loss;
        let is_flawed = self.flaw == Some(Flaw::NoRepair)
            && messages.iter().any(|octets| (2..=4).contains(&octets[1]));
        if !is_up || is_lost || is_flawed {
            return;
        }
        let is_doubled = !reliable && self.rng.random_range(0..100) < weather.doubled;
        for _ in 0..=u8::from(is_doubled) {
            let once = self.rng.random_range(1..=weather.latency);
            let wait = if reliable { 3 * once } else { once };
            let messages = messages.clone();
            self.schedule(wait, Event::Deliver { from, to, messages });
        }
    }
}

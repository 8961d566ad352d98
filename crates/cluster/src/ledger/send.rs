//! What is told to other members.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use rand::RngExt as _;

use super::Actions;
use super::Ledger;
use super::MAX_GOSSIP;
use super::Notice;
use super::Send;
use crate::member::MemberId;
use crate::wire::Digests;
use crate::wire::Entry;

/// To so many members a change is told directly; the others hear by gossip.
const EAGER: usize = 10;

// === impl Ledger ===

impl Ledger {
    /// Tells what changed in our set, if it is time to.
    pub(super) fn flush(&mut self, now: Instant, actions: &mut Actions) {
        if self.said_bye || self.own.flush_at().is_none_or(|at| at > now) {
            return;
        }
        let deltas = self.own.flush(&self.me, now);
        for (to, address) in self.random_members(EAGER) {
            for octets in &deltas {
                let datagram = Send {
                    to: to.clone(),
                    address,
                    reliable: false,
                    octets: octets.clone(),
                };
                actions.sends.push(datagram);
            }
        }
        actions.gossip.extend(deltas);
    }

    /// Says good-bye to everybody, twice to some.
    pub(super) fn send_bye(&mut self, octets: &Bytes, actions: &mut Actions) {
        let everybody = self.random_members(usize::MAX);
        let some = everybody.iter().take(EAGER);
        for (to, address) in everybody.iter().chain(some) {
            actions.sends.push(Send {
                to: to.clone(),
                address: *address,
                reliable: false,
                octets: octets.clone(),
            });
        }
        actions.gossip.push(octets.clone());
    }

    /// Passes on what was news to us.
    pub(super) fn relay(&self, octets: &[u8], actions: &mut Actions) {
        if octets.len() <= MAX_GOSSIP && !self.said_bye {
            actions.gossip.push(Bytes::copy_from_slice(octets));
        }
    }

    /// Tells some members who has what: one datagram to each of them, and as
    /// many times as many as it takes until all sets were told. So word of a
    /// heartbeat travels as fast in a large cluster as in a small one.
    pub(super) fn send_digests(&mut self, count: usize, actions: &mut Actions) {
        let entries = self.entries();
        // Where the last digest ended, this one begins.
        let split = match &self.cursor {
            Some(cursor) => entries.partition_point(|entry| entry.owner <= *cursor),
            None => 0,
        };
        let (first, second) = entries.split_at(split);
        let mut rest = second.iter().chain(first).peekable();
        loop {
            let targets = self.random_members(count);
            if targets.is_empty() {
                return;
            }
            let mut digest = Digests::new(&self.me, false, MAX_GOSSIP);
            digest.push(&self.own_entry());
            let mut is_stuck = true;
            while let Some(entry) = rest.next_if(|entry| digest.push(entry)) {
                self.cursor = Some(entry.owner.clone());
                is_stuck = false;
            }
            let octets = digest.finish();
            for (to, address) in targets {
                send_digest(to, address, octets.clone(), actions);
            }
            if is_stuck || rest.peek().is_none() {
                return;
            }
        }
    }

    /// Tells one member of these sets, which it has older than we do.
    pub(super) fn send_reply(
        &self,
        to: MemberId,
        address: SocketAddr,
        entries: &[Entry],
        actions: &mut Actions,
    ) {
        let mut digest = Digests::new(&self.me, true, MAX_GOSSIP);
        for entry in entries {
            if !digest.push(entry) {
                break;
            }
        }
        if !digest.is_empty() {
            send_digest(to, address, digest.finish(), actions);
        }
    }

    /// All that is known of who has what.
    pub(super) fn full_digest(&self) -> Bytes {
        let mut digest = Digests::new(&self.me, true, usize::MAX);
        digest.push(&self.own_entry());
        for entry in self.entries() {
            digest.push(&entry);
        }
        digest.finish()
    }

    /// Where our set is.
    pub(super) fn own_entry(&self) -> Entry {
        Entry {
            owner: self.me.clone(),
            stamp: self.own.stamp(),
            beat: self.beat,
        }
    }

    /// Members that are there, in random order, so many at most.
    pub(super) fn random_members(&mut self, count: usize) -> Vec<(MemberId, SocketAddr)> {
        let online = self.members.iter().filter(|(_, member)| member.is_online());
        let mut all: Vec<_> = online.map(|(id, member)| (id, member.address)).collect();
        let count = count.min(all.len());
        for at in 0..count {
            let other = self.rng.random_range(at..all.len());
            all.swap(at, other);
        }
        all.truncate(count);
        all.into_iter()
            .map(|(id, address)| (id.clone(), address))
            .collect()
    }

    /// Where the sets of the members are that are there and known.
    fn entries(&self) -> Vec<Entry> {
        let is_told = |member: &super::member::Member| member.is_online() && member.set.is_known();
        let told = self.members.iter().filter(|(_, member)| is_told(member));
        let entry = |(id, member): (&MemberId, &super::member::Member)| Entry {
            owner: id.clone(),
            stamp: member.set.stamp(),
            beat: member.beat,
        };
        told.map(entry).collect()
    }
}

/// Sends a digest.
fn send_digest(to: MemberId, address: SocketAddr, octets: Bytes, actions: &mut Actions) {
    actions.notices.push(Notice::Digest);
    actions.sends.push(Send {
        to,
        address,
        reliable: false,
        octets,
    });
}

//! What is done in time: heartbeats, digests, pulls.

use std::time::Duration;
use std::time::Instant;

use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::Actions;
use super::Ledger;
use super::Notice;
use super::Send;
use super::member::Want;
use super::serve;
use crate::member::MemberId;
use crate::wire::MAX_VERSION;
use crate::wire::Message;
use crate::wire::Pull;
use crate::wire::Stamp;

/// Between two heartbeats, each with a digest.
const BEAT: Duration = Duration::from_secs(1);

/// So many members get a digest with each heartbeat.
const DIGEST_TARGETS: usize = 2;

/// A delta may fill a gap, or overtake a digest, within this.
const PATIENCE: Duration = Duration::from_millis(150);

/// Spreads what many members do for one reason, in milliseconds.
const JITTER: u64 = 50;

/// An answer to a pull takes no longer than this.
const PULL_RETRY: Duration = Duration::from_millis(700);

/// Between an answer and the next pull of a set that has moved on since.
const PULL_AGAIN: Duration = Duration::from_millis(100);

/// After so many pulls without an answer the next digest has to say again that
/// there is something.
const MAX_TRIES: u32 = 8;

/// A set beyond the rules is left alone for so long.
const REFUSED: Duration = Duration::from_secs(30);

/// For so long a member that was spoken of may turn out to be there.
const AWAITED: Duration = Duration::from_secs(2);

/// So many pulls of members that are not known yet are kept,
const MAX_EARLY: usize = 64;

/// for so long.
const EARLY: Duration = Duration::from_secs(3);

/// How long to wait with a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delay {
    /// Nothing else will bring what is missing.
    Short,
    /// It may be under way.
    Long,
}

// === impl Ledger ===

impl Ledger {
    /// The heart beats.
    pub(super) fn beat_now(&mut self, now: Instant, actions: &mut Actions) {
        self.beat_at = (self.beat_at + BEAT).max(now + BEAT / 2);
        self.gone.expire(now);
        self.awaited.retain(|_, since| now < *since + AWAITED);
        self.members.retain(|_, member| !member.is_forgettable(now));
        let is_late = |(since, _): &(Instant, Pull)| *since + EARLY < now;
        while self
            .early_pulls
            .pop_front_if(|early| is_late(early))
            .is_some()
        {}
        self.tell_clashes(now, actions);
        if !self.said_bye {
            self.beat = (self.beat + 1).min(MAX_VERSION);
            self.tell_formers(now, actions);
            self.send_digests(DIGEST_TARGETS, actions);
        }
    }

    /// Somebody heard a later heartbeat of ours than we remember.
    pub(super) fn catch_up_beat(&mut self, heard: u64) {
        self.beat = (heard + 1).min(MAX_VERSION);
    }

    /// Brings the table in line with what should be served now.
    pub(super) fn settle_all(&mut self, now: Instant, actions: &mut Actions) {
        for (id, member) in &mut self.members {
            serve::settle(id, member, &self.rules, now, actions);
        }
    }

    /// Notes that a set is newer elsewhere; false if that is nothing new.
    pub(super) fn note_behind(
        &mut self,
        id: &MemberId,
        target: Stamp,
        witness: Option<&MemberId>,
        delay: Delay,
        now: Instant,
    ) -> bool {
        let jitter = jitter(&mut self.rng);
        let at = match delay {
            Delay::Short => now + jitter,
            Delay::Long => now + PATIENCE + jitter,
        };
        // The owner is asked anyway: a third may be reached when it is not.
        let witness = witness.filter(|witness| *witness != id);
        let Some(member) = self.members.get_mut(id) else {
            return false;
        };
        if target <= member.set.stamp() || member.refused_until.is_some_and(|until| now < until) {
            return false;
        }
        let Some(want) = &mut member.want else {
            member.want = Some(Want {
                target,
                since: now,
                at,
                witness: witness.cloned(),
                tries: 0,
                asked: false,
            });
            return true;
        };
        if witness.is_some() && target >= want.target {
            want.witness = witness.cloned();
        }
        if !want.asked {
            want.at = want.at.min(at);
        }
        let is_news = target > want.target;
        want.target = want.target.max(target);
        is_news
    }

    /// Asks for the set of a member of which nothing is known.
    pub(super) fn want_first(&mut self, id: &MemberId, now: Instant) {
        let is_known = |member: &super::member::Member| member.set.is_known();
        if !self.members.get(id).is_none_or(is_known) {
            let target = Stamp {
                epoch: 1,
                version: 0,
            };
            self.note_behind(id, target, None, Delay::Short, now);
        }
    }

    /// Asks for the sets that are known to be newer elsewhere.
    pub(super) fn pull_due(&mut self, now: Instant, actions: &mut Actions) {
        let is_due = |want: &&mut Want| want.at <= now;
        let mut pulls = Vec::new();
        for (id, member) in &mut self.members {
            let Some(want) = member.want.as_mut().filter(is_due) else {
                continue;
            };
            if want.tries >= MAX_TRIES {
                member.want = None;
                continue;
            }
            let witness = want.witness.clone().filter(|_| want.tries % 2 == 1);
            want.tries += 1;
            want.asked = true;
            want.at = now + PULL_RETRY + jitter(&mut self.rng);
            pulls.push((id.clone(), witness));
        }
        for (owner, witness) in pulls {
            let is_online = |id: &MemberId| {
                self.members
                    .get(id)
                    .is_some_and(|member| member.is_online())
            };
            let to = witness.filter(is_online).unwrap_or_else(|| owner.clone());
            if let Some(address) = self.members.get(&to).map(|member| member.address) {
                self.send_pull(&owner, to, address, actions);
            }
        }
    }

    /// A snapshot was taken. If there is still something newer, asks for it.
    pub(super) fn on_answered(&mut self, id: &MemberId, now: Instant) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        if let Some(want) = &mut member.want {
            want.tries = 0;
            want.asked = false;
            want.at = now + PULL_AGAIN;
        }
    }

    /// A set goes beyond the rules: it is left alone for some time.
    pub(super) fn on_refused(
        &mut self,
        id: MemberId,
        records: usize,
        now: Instant,
        actions: &mut Actions,
    ) {
        if let Some(member) = self.members.get_mut(&id) {
            member.want = None;
            member.set.drop_held();
            member.refused_until = Some(now + REFUSED);
        }
        actions.notices.push(Notice::Refused {
            member: id,
            records,
            why: "more records than a member may have",
        });
    }

    /// Asks `to` for the set of `owner`.
    pub(super) fn send_pull(
        &self,
        owner: &MemberId,
        to: MemberId,
        address: std::net::SocketAddr,
        actions: &mut Actions,
    ) {
        let Some(member) = self.members.get(owner).filter(|_| !self.said_bye) else {
            return;
        };
        let message = Message::Pull(Pull {
            from: self.me.clone(),
            owner: owner.clone(),
            have: member.set.stamp(),
        });
        actions.notices.push(Notice::Pull);
        actions.sends.push(Send {
            to,
            address,
            reliable: true,
            octets: message.encode(),
        });
    }

    /// A member asks for a set.
    pub(super) fn on_pull(&mut self, pull: Pull, now: Instant, actions: &mut Actions) {
        if pull.owner == self.me {
            self.look_at_own(pull.have, now, actions);
        }
        match self.members.get(&pull.from) {
            Some(member) if member.is_online() => {
                let address = member.address;
                self.answer(&pull, address, now, actions);
            }
            // It knows of us before we know of it.
            _ if !self.gone.contains(&pull.from) => {
                if self.early_pulls.len() >= MAX_EARLY {
                    self.early_pulls.pop_front();
                }
                self.early_pulls.push_back((now, pull));
            }
            _ => {}
        }
    }

    /// Answers a member that asked before we heard that it joined.
    pub(super) fn answer_early_pulls(
        &mut self,
        from: &MemberId,
        address: std::net::SocketAddr,
        now: Instant,
        actions: &mut Actions,
    ) {
        let early = std::mem::take(&mut self.early_pulls);
        for (since, pull) in early {
            if pull.from != *from {
                self.early_pulls.push_back((since, pull));
            } else if now.saturating_duration_since(since) <= EARLY {
                self.answer(&pull, address, now, actions);
            }
        }
    }

    /// Sends a set to who asked for it, if we have it newer and it was not sent
    /// too much.
    fn answer(
        &mut self,
        pull: &Pull,
        address: std::net::SocketAddr,
        now: Instant,
        actions: &mut Actions,
    ) {
        if self.said_bye {
            return;
        }
        let octets = if pull.owner == self.me {
            (self.own.stamp() > pull.have).then(|| self.own.snapshot(&self.me))
        } else {
            let member = self.members.get_mut(&pull.owner);
            let member = member.filter(|member| member.is_online());
            let newer = member.filter(|member| member.set.stamp() > pull.have);
            newer.map(|member| member.set.snapshot(&pull.owner))
        };
        let (Some(octets), Some(asker)) = (octets, self.members.get_mut(&pull.from)) else {
            return;
        };
        if !asker.credit.take(octets.len(), now) {
            // Whoever asked in earnest asks again.
            actions.notices.push(Notice::PullRefused);
            return;
        }
        actions.sends.push(Send {
            to: pull.from.clone(),
            address,
            reliable: true,
            octets,
        });
    }
}

/// When the heart beats for the first time.
pub(super) fn first_beat(rng: &mut SmallRng) -> Duration {
    BEAT.mul_f64(rng.random())
}

/// A little time.
fn jitter(rng: &mut SmallRng) -> Duration {
    Duration::from_millis(rng.random_range(0..=JITTER))
}

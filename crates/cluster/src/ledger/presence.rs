//! Who is there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use super::Actions;
use super::Ledger;
use super::MAX_MEMBERS;
use super::Notice;
use super::Withdrawal;
use super::member::MAX_FORMERS;
use super::member::Member;
use super::member::Presence;
use super::serve;
use crate::member::MemberId;
use crate::wire::Bye;
use crate::wire::Message;
use crate::wire::Restarted;

/// A member that is missing in the roster for so long has left.
const MISSING: Duration = Duration::from_secs(5);

/// Longest time that the records of a member that left are kept.
const MAX_HOLD: Duration = Duration::from_secs(60);

/// For so long others are told that a former instance is no more. Until then
/// they have found out themselves.
const TELL_FORMER: Duration = Duration::from_secs(15);

// === impl Ledger ===

impl Ledger {
    /// A member is there.
    pub(crate) fn joined(&mut self, id: MemberId, address: SocketAddr, now: Instant) -> Actions {
        let mut actions = self.begin(now);
        self.on_joined(id, address, now, &mut actions);
        self.replace_formers(now, &mut actions);
        actions
    }

    /// A member is there no more.
    pub(crate) fn left(&mut self, id: MemberId, now: Instant) -> Actions {
        let mut actions = self.begin(now);
        self.on_left(&id, now, &mut actions);
        actions
    }

    /// The members that are there, all of them: tells what events left out.
    pub(crate) fn roster(&mut self, online: &[(MemberId, SocketAddr)], now: Instant) -> Actions {
        let mut actions = self.begin(now);
        let present: BTreeSet<&MemberId> = online.iter().map(|(id, _)| id).collect();
        let mut lost = Vec::new();
        for (id, member) in &mut self.members {
            if !member.is_online() || present.contains(id) {
                member.missing_since = None;
            } else {
                let since = *member.missing_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= MISSING {
                    lost.push(id.clone());
                }
            }
        }
        for id in lost {
            self.on_left(&id, now, &mut actions);
        }
        for (id, address) in online {
            self.on_joined(id.clone(), *address, now, &mut actions);
        }
        self.replace_formers(now, &mut actions);
        actions
    }

    /// A member was spoken of: if it is there, word of that is on its way.
    pub(super) fn await_member(&mut self, id: &MemberId, now: Instant) {
        // Who has our name is most likely a former life of ours.
        let is_new = !self.members.contains_key(id)
            && !self.gone.contains(id)
            && id.name() != self.me.name();
        if is_new && self.awaited.len() < MAX_MEMBERS {
            self.awaited.entry(id.clone()).or_insert(now);
        }
    }

    /// A member is there: perhaps a new one.
    fn on_joined(
        &mut self,
        id: MemberId,
        address: SocketAddr,
        now: Instant,
        actions: &mut Actions,
    ) {
        if id == self.me {
            self.address = Some(address);
            return;
        }
        self.awaited.remove(&id);
        if self.gone.contains(&id) {
            return;
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.address = address;
            if member.is_online() {
                return;
            }
            member.presence = Presence::Online(now);
            member.missing_since = None;
            member.heard = now;
            actions.notices.push(Notice::Joined(id.clone(), address));
            serve::settle(&id, member, &self.rules, now, actions);
            if member.set.is_known() {
                // Answered only if there is something newer.
                self.send_pull(&id, id.clone(), address, actions);
            }
        } else if self.make_room() {
            let mut member = Member::new(address, now);
            serve::settle(&id, &mut member, &self.rules, now, actions);
            self.members.insert(id.clone(), member);
            actions.notices.push(Notice::Joined(id.clone(), address));
        } else {
            actions
                .notices
                .push(Notice::BadMessage("more members than a cluster may have"));
            return;
        }
        // A former life of ours has nothing to say any more.
        if id.name() != self.me.name() || self.address != Some(address) {
            self.want_first(&id, now);
        }
        self.answer_early_pulls(&id, address, now, actions);
    }

    /// A member is there no more, and said nothing.
    fn on_left(&mut self, id: &MemberId, now: Instant, actions: &mut Actions) {
        let Some(member) = self.members.get_mut(id).filter(|member| member.is_online()) else {
            return;
        };
        let hold = if member.served {
            self.rules.dead_hold
        } else {
            Duration::ZERO
        };
        let until = now.checked_add(hold).unwrap_or(now);
        member.presence = Presence::Failed { since: now, until };
        member.missing_since = None;
        member.want = None;
        member.set.drop_held();
        actions.notices.push(Notice::Failed(id.clone()));
        serve::settle(id, member, &self.rules, now, actions);
    }

    /// A member says good-bye.
    pub(super) fn on_bye(&mut self, bye: &Bye, octets: &[u8], now: Instant, actions: &mut Actions) {
        let id = &bye.owner;
        // What is said of us may be an echo of a former life, never ours.
        if *id == self.me || !self.gone.insert(id, now) {
            return;
        }
        self.relay(octets, actions);
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        actions.notices.push(Notice::Left(id.clone()));
        if !member.served {
            self.members.remove(id);
            return;
        }
        let until = now + Duration::from_millis(bye.hold_ms).min(MAX_HOLD);
        let until = match member.presence {
            Presence::Failed { until: before, .. } => until.min(before),
            Presence::Online(_) | Presence::Leaving(_) => until,
        };
        member.presence = Presence::Leaving(until);
        member.want = None;
        member.set.drop_held();
        self.settle_all(now, actions);
    }

    /// A member says that another is its former instance.
    pub(super) fn on_restarted(
        &mut self,
        restarted: Restarted,
        octets: &[u8],
        now: Instant,
        actions: &mut Actions,
    ) {
        let Restarted { owner, former } = restarted;
        let address = self.members.get(&former).map(|member| member.address);
        let Some(member) = self.members.get_mut(&owner) else {
            return;
        };
        let is_heir = member.is_online()
            && owner != former
            && owner.name() == former.name()
            && address == Some(member.address);
        let is_news = !member.formers.contains(&former) && member.formers.len() < MAX_FORMERS;
        if is_heir && is_news {
            member.formers.push(former);
            self.relay(octets, actions);
            self.replace_by(&owner, now, actions);
        }
    }

    /// Withdraws the former instances of a member, if it has all records that
    /// it will have.
    pub(super) fn replace_by(&mut self, id: &MemberId, now: Instant, actions: &mut Actions) {
        let Some(member) = self.members.get_mut(id).filter(|member| member.is_online()) else {
            return;
        };
        if member.set.is_complete() {
            for former in std::mem::take(&mut member.formers) {
                self.replace(&former, now, actions);
            }
        }
    }

    /// Withdraws our former instances, once we have all records that we will
    /// have, and tells others of them.
    pub(super) fn replace_formers(&mut self, now: Instant, actions: &mut Actions) {
        let Some(address) = self.address.filter(|_| self.own.is_complete()) else {
            return;
        };
        let is_former = |(id, member): &(&MemberId, &Member)| {
            member.address == address && id.name() == self.me.name()
        };
        let formers = self
            .members
            .iter()
            .filter(is_former)
            .map(|(id, _)| id.clone());
        for former in formers.collect::<Vec<_>>() {
            self.replace(&former, now, actions);
            self.tell_former(&former, actions);
            if self.formers.len() < MAX_FORMERS {
                self.formers.insert(former, now + TELL_FORMER);
            }
        }
    }

    /// Tells others once more of our former instances.
    pub(super) fn tell_formers(&mut self, now: Instant, actions: &mut Actions) {
        self.formers.retain(|_, until| now < *until);
        for former in self.formers.keys() {
            self.tell_former(former, actions);
        }
    }

    /// Tells of members that have had one name for some time. A restart at
    /// another address is over before that; one at the same address may take
    /// longer to be noticed, and is none of it.
    pub(super) fn tell_clashes(&mut self, now: Instant, actions: &mut Actions) {
        let settled = |(id, member): (&MemberId, &Member)| match member.presence {
            Presence::Online(since) if now.saturating_duration_since(since) >= CLASH => {
                Some((id.clone(), Some(member.address)))
            }
            _ => None,
        };
        let mut ids: Vec<_> = self.members.iter().filter_map(settled).collect();
        ids.push((self.me.clone(), self.address));
        // Ids begin with the name, but `a#` and `a-b#` may stand between.
        ids.sort_by(|(a, _), (b, _)| (a.name(), a).cmp(&(b.name(), b)));
        for ((one, here), (other, there)) in ids.iter().zip(ids.iter().skip(1)) {
            let pair = (one.clone(), other.clone());
            let is_new = one.name() == other.name()
                && here != there
                && self.clashes.len() < MAX_CLASHES
                && self.clashes.insert(pair);
            if is_new {
                actions
                    .notices
                    .push(Notice::NameClash(one.clone(), other.clone()));
            }
        }
    }

    /// Withdraws a member that another process has taken the place of.
    fn replace(&mut self, former: &MemberId, now: Instant, actions: &mut Actions) {
        if let Some(mut member) = self.members.remove(former) {
            serve::withdraw(former, &mut member, Withdrawal::Replaced, actions);
            self.gone.insert(former, now);
        }
    }

    /// Tells others of a former instance.
    fn tell_former(&self, former: &MemberId, actions: &mut Actions) {
        if !self.said_bye {
            let message = Message::Restarted(Restarted {
                owner: self.me.clone(),
                former: former.clone(),
            });
            actions.gossip.push(message.encode());
        }
    }

    /// Makes room for one more member; false if there is none.
    fn make_room(&mut self) -> bool {
        if self.members.len() < MAX_MEMBERS {
            return true;
        }
        let is_past = |(_, member): &(&MemberId, &Member)| !member.is_online() && !member.served;
        let past = self.members.iter().find(is_past).map(|(id, _)| id.clone());
        past.is_some_and(|id| self.members.remove(&id).is_some())
    }
}

/// Members of one name are told of when both have been there for so long.
const CLASH: Duration = Duration::from_secs(10);

/// So many pairs of members are told of.
const MAX_CLASHES: usize = 1_024;

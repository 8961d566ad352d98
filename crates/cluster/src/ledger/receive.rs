//! What other members say.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Actions;
use super::Ledger;
use super::MAX_GOSSIP;
use super::Notice;
use super::rounds::Delay;
use super::serve;
use super::set::Outcome;
use crate::member::MemberId;
use crate::wire::Delta;
use crate::wire::Digest;
use crate::wire::Message;
use crate::wire::Snapshot;
use crate::wire::Stamp;

// === impl Ledger ===

impl Ledger {
    /// Takes a message, whichever way it came.
    pub(crate) fn receive(&mut self, octets: &[u8], now: Instant) -> Actions {
        let mut actions = self.begin(now);
        match Message::decode(octets) {
            Ok(Message::Delta(delta)) => self.on_delta(delta, octets, now, &mut actions),
            Ok(Message::Digest(digest)) => self.on_digest(digest, now, &mut actions),
            Ok(Message::Pull(pull)) => self.on_pull(pull, now, &mut actions),
            Ok(Message::Snapshot(snapshot)) => self.on_snapshot(snapshot, now, &mut actions),
            Ok(Message::Bye(bye)) => self.on_bye(&bye, octets, now, &mut actions),
            Ok(Message::Restarted(restarted)) => {
                self.on_restarted(restarted, octets, now, &mut actions);
            }
            Err(error) => actions.notices.push(Notice::BadMessage(error.text())),
        }
        actions
    }

    /// Takes changes of a set.
    fn on_delta(&mut self, delta: Delta, octets: &[u8], now: Instant, actions: &mut Actions) {
        if octets.len() > MAX_GOSSIP {
            // What comes too early is held: no more than members send.
            let problem = "a delta longer than any";
            actions.notices.push(Notice::BadMessage(problem));
            return;
        }
        let id = delta.owner.clone();
        let count = u64::try_from(delta.ops.len()).unwrap_or(u64::MAX);
        let target = Stamp {
            epoch: delta.epoch,
            version: delta.first.saturating_add(count) - 1,
        };
        if id == self.me {
            self.look_at_own(target, now, actions);
            return;
        }
        let Some(member) = self
            .members
            .get_mut(&id)
            .filter(|member| member.is_online())
        else {
            return;
        };
        if delta.ops.is_empty() {
            if self.note_behind(&id, target, None, Delay::Short, now) {
                self.relay(octets, actions);
            }
            return;
        }
        let delay = match delta.epoch > member.set.stamp().epoch {
            true => Delay::Short,
            false => Delay::Long,
        };
        match member.set.take_delta(delta, &self.rules) {
            Outcome::Old => return,
            Outcome::Applied(changed) => self.on_applied(&id, changed, now, actions),
            Outcome::Held => {
                actions.notices.push(Notice::Gap);
                self.note_behind(&id, target, None, delay, now);
            }
            Outcome::Dropped => {
                if !self.note_behind(&id, target, None, delay, now) {
                    return;
                }
                actions.notices.push(Notice::Gap);
            }
            Outcome::Refused(changed, records) => {
                self.on_applied(&id, changed, now, actions);
                self.on_refused(id, records, now, actions);
            }
        }
        self.relay(octets, actions);
    }

    /// Takes a whole set.
    fn on_snapshot(&mut self, snapshot: Snapshot, now: Instant, actions: &mut Actions) {
        let id = snapshot.owner.clone();
        if id == self.me {
            self.look_at_own(snapshot.stamp, now, actions);
            return;
        }
        let Some(member) = self
            .members
            .get_mut(&id)
            .filter(|member| member.is_online())
        else {
            return;
        };
        match member.set.take_snapshot(snapshot, &self.rules) {
            Outcome::Old | Outcome::Held | Outcome::Dropped => {}
            Outcome::Applied(changed) => {
                member.refused_until = None;
                self.on_applied(&id, changed, now, actions);
                self.on_answered(&id, now);
            }
            Outcome::Refused(changed, records) => {
                self.on_applied(&id, changed, now, actions);
                self.on_refused(id, records, now, actions);
            }
        }
    }

    /// Takes what a member has.
    fn on_digest(&mut self, digest: Digest, now: Instant, actions: &mut Actions) {
        let Digest {
            from,
            reply,
            entries,
        } = digest;
        if from == self.me {
            return;
        }
        self.await_member(&from, now);
        let mut newer = Vec::new();
        for entry in entries {
            if entry.owner == self.me {
                self.look_at_own(entry.stamp, now, actions);
                if entry.beat > self.beat {
                    self.catch_up_beat(entry.beat);
                }
                if entry.stamp < self.own.stamp() {
                    newer.push(self.own_entry());
                }
                continue;
            }
            let Some(member) = self.members.get_mut(&entry.owner) else {
                self.await_member(&entry.owner, now);
                continue;
            };
            if !member.is_online() {
                continue;
            }
            member.hear(entry.beat, now);
            serve::settle(&entry.owner, member, &self.rules, now, actions);
            let at = member.set.stamp();
            if entry.stamp < at {
                newer.push(crate::wire::Entry {
                    owner: entry.owner,
                    stamp: at,
                    beat: member.beat,
                });
            } else if entry.stamp > at {
                self.note_behind(&entry.owner, entry.stamp, Some(&from), Delay::Long, now);
            }
        }
        let asker = self.members.get(&from).filter(|member| member.is_online());
        if let Some(asker) = asker.filter(|_| !reply && !self.said_bye) {
            let address = asker.address;
            self.send_reply(from, address, &newer, actions);
        }
    }

    /// Some of our own records are somewhere in a version that we never wrote:
    /// this machine was restored to an earlier state. What others have is to be
    /// replaced as a whole.
    pub(super) fn look_at_own(&mut self, heard: Stamp, now: Instant, actions: &mut Actions) {
        if heard <= self.own.stamp() || self.said_bye {
            return;
        }
        if self.own.outrun(heard, now) {
            actions.notices.push(Notice::Outrun);
            self.flush(now, actions);
        } else {
            actions
                .notices
                .push(Notice::BadMessage("an epoch beyond the last one"));
        }
    }

    /// Some changes of a set were taken.
    fn on_applied(
        &mut self,
        id: &MemberId,
        changed: BTreeSet<u64>,
        now: Instant,
        actions: &mut Actions,
    ) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        serve::tell_changed(id, member, changed, &self.rules, actions);
        let stamp = member.set.stamp();
        if let Some(want) = member.want.take_if(|want| want.target <= stamp) {
            actions.notices.push(Notice::Converged {
                member: id.clone(),
                lag: now.saturating_duration_since(want.since),
            });
        }
        self.replace_by(id, now, actions);
    }
}

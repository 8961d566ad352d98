//! Who owns which records: the protocol, without clock and socket.
//!
//! A pure state machine: changes of this member's records, messages,
//! membership and time go in; changes for the table and messages come out.
//! Time only says how long to wait: no instant is ever told to another member,
//! so that it does not matter what their clocks show.
//!
//! **What is known** of another member is its set under a [`Stamp`](crate::wire::Stamp). It only
//! moves forward: by a delta that begins where the set ends, or by a snapshot.
//! Deltas that come too early are held. Whoever learns that a set is newer
//! elsewhere, by a gap, an announcement or a digest, waits a little and pulls
//! it: from its owner, or, every other time, from who told.
//!
//! **What is served** follows from membership alone:
//!
//! ```text
//!           joined                  Bye                    hold is over
//!  unknown --------> online ----------------> leaving -----------------> gone
//!                    ^    |                                                ^
//!             joined |    | left, or not in the roster for 5 s             |
//!                    |    v                                                |
//!                    failed --> served until `dead_hold` is over           |
//!                    |    |                                                |
//!                    |    +--> forgotten 60 s after that                   |
//!                    +---------------- Bye, or replaced -------------------+
//! ```
//!
//! What is said about a member that is not online is ignored, not stored: the
//! event that it joined brings a pull. Who is gone stays gone. A member that
//! is online by membership but whose heartbeat, which travels in all digests,
//! stands still for 30 s is not served until it beats again.
//!
//! **A restart** is told by the new process: it sees a member with its own
//! name at its own address, which nobody but itself can hold, and says so.
//! Others withdraw the old records once they have the new ones. That is not
//! left to the order in which members appear, which says nothing at a member
//! that has just joined and hears of both at once.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use self::gone::Gone;
use self::member::Member;
use self::own::OwnSet;
use crate::config::Rules;
use crate::member::MemberId;
use crate::wire::Assertion;
use crate::wire::Bye;
use crate::wire::MAX_ORIGIN;
use crate::wire::Message;
use crate::wire::Pull;

mod gone;
mod member;
mod model;
mod own;
mod presence;
mod receive;
mod rounds;
mod send;
mod serve;
mod set;

pub(crate) use model::Actions;
pub(crate) use model::LocalChange;
pub(crate) use model::Notice;
pub(crate) use model::RemoteChange;
pub(crate) use model::Send;
pub(crate) use model::View;
pub(crate) use model::Withdrawal;

/// Largest gossip message, in octets: with memberlist's and AES's own it fits
/// a datagram of 1,380.
pub(crate) const MAX_GOSSIP: usize = 1_250;

/// So many members can be followed.
pub(crate) const MAX_MEMBERS: usize = 256;

/// Longer than this without being called means that the process was stopped:
/// nobody else can be blamed for that time.
const STOPPED: Duration = Duration::from_secs(5);

/// What one member knows: its own records and those of the others.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// This member.
    me: MemberId,
    /// Where others reach it, once that is known.
    address: Option<SocketAddr>,
    /// What members may claim.
    rules: Rules,
    /// Chooses members and delays.
    rng: SmallRng,
    /// Our records.
    own: OwnSet,
    /// How many of them there was no room for, and how many there may be, as
    /// last told.
    unshared: (usize, usize),
    /// Our heartbeat.
    beat: u64,
    /// Whether we said good-bye.
    said_bye: bool,
    /// Former instances of this member, and until when others are told.
    formers: BTreeMap<MemberId, Instant>,
    /// The other members.
    members: BTreeMap<MemberId, Member>,
    /// Those who will not come back.
    gone: Gone,
    /// Members of one name, once that has been told.
    clashes: BTreeSet<(MemberId, MemberId)>,
    /// Members that others speak of and that have not joined yet, and since
    /// when: word of them is on its way.
    awaited: BTreeMap<MemberId, Instant>,
    /// Who asked for a set before we heard that they joined, and when.
    early_pulls: VecDeque<(Instant, Pull)>,
    /// The member that the last digest ended with.
    cursor: Option<MemberId>,
    /// When the heart beats next.
    beat_at: Instant,
    /// When the ledger was last called.
    called: Instant,
}

// === impl Ledger ===

impl Ledger {
    /// A member that knows nobody.
    pub(crate) fn new(me: MemberId, rules: Rules, seed: u64, now: Instant) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        Self {
            me,
            address: None,
            own: OwnSet::new(&rules),
            rules,
            unshared: (0, 0),
            beat: 0,
            said_bye: false,
            formers: BTreeMap::new(),
            members: BTreeMap::new(),
            gone: Gone::default(),
            clashes: BTreeSet::new(),
            awaited: BTreeMap::new(),
            early_pulls: VecDeque::new(),
            cursor: None,
            beat_at: now + rounds::first_beat(&mut rng),
            rng,
            called: now,
        }
    }

    /// Sources of this member have other records.
    pub(crate) fn local(&mut self, changes: Vec<LocalChange>, now: Instant) -> Actions {
        let mut actions = self.begin(now);
        for LocalChange { key, origin, rows } in changes {
            let mut refused = BTreeMap::new();
            let rows = serve::keep(rows, &[], &mut refused);
            serve::tell_refused(&self.me, refused, &mut actions);
            let origin = match origin.floor_char_boundary(MAX_ORIGIN) {
                end if end < origin.len() => origin.get(..end).unwrap_or_default().into(),
                _ => origin,
            };
            self.own.put(key, Assertion { origin, rows }, now);
        }
        self.own.admit(now);
        self.tell_unshared(&mut actions);
        self.flush(now, &mut actions);
        actions
    }

    /// The first sync of this member is over.
    pub(crate) fn complete(&mut self, now: Instant) -> Actions {
        let mut actions = self.begin(now);
        self.own.set_complete(now);
        self.flush(now, &mut actions);
        self.replace_formers(now, &mut actions);
        actions
    }

    /// Says good-bye. Nothing is told any more.
    pub(crate) fn leave(&mut self, now: Instant) -> Actions {
        let mut actions = self.begin(now);
        if self.said_bye {
            return actions;
        }
        let hold = self.rules.leave_hold.as_millis();
        let message = Message::Bye(Bye {
            owner: self.me.clone(),
            stamp: self.own.stamp(),
            hold_ms: u64::try_from(hold).unwrap_or(u64::MAX),
        });
        self.send_bye(&message.encode(), &mut actions);
        self.said_bye = true;
        actions
    }

    /// Members may claim other things from now on. What they have claimed
    /// before is looked at again.
    pub(crate) fn set_rules(&mut self, rules: Rules, now: Instant) -> Actions {
        let mut actions = self.begin(now);
        let before = std::mem::replace(&mut self.rules, rules);
        self.own.set_rules(&self.rules, now);
        self.tell_unshared(&mut actions);
        self.flush(now, &mut actions);
        if before.allowed_zones != self.rules.allowed_zones {
            for (id, member) in &self.members {
                serve::look_again(id, member, &before, &self.rules, &mut actions);
            }
        }
        let bounds = |rules: &Rules| (rules.max_records, rules.max_octets);
        if bounds(&before) != bounds(&self.rules) {
            // What was too much may fit now: the next digest has it pulled.
            for member in self.members.values_mut() {
                member.refused_until = None;
            }
        }
        actions
    }

    /// What is said to the other side of a push/pull: all that is known of who
    /// has what. The other side says the same, so that none is answered.
    pub(crate) fn exchange(&self) -> Bytes {
        self.full_digest()
    }

    /// When [`tick`](Self::tick) wants to be called.
    pub(crate) fn due(&self) -> Option<Instant> {
        let members = self.members.values().filter_map(Member::due);
        let flush = self.own.flush_at().filter(|_| !self.said_bye);
        members.chain(flush).chain([self.beat_at]).min()
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) -> Actions {
        let mut actions = self.begin(now);
        self.flush(now, &mut actions);
        self.settle_all(now, &mut actions);
        self.pull_due(now, &mut actions);
        if self.beat_at <= now {
            self.beat_now(now, &mut actions);
        }
        actions
    }

    /// The members, this one first.
    pub(crate) fn views(&self, now: Instant) -> Vec<View> {
        let stamp = self.own.stamp();
        let me = View {
            id: self.me.clone(),
            address: self.address,
            state: "self",
            epoch: stamp.epoch,
            version: stamp.version,
            records: self.own.records(),
            served: true,
            complete: self.own.is_complete(),
        };
        let others = self.members.iter().map(|(id, member)| View {
            id: id.clone(),
            address: Some(member.address),
            state: member.state(now),
            epoch: member.set.stamp().epoch,
            version: member.set.stamp().version,
            records: member.set.records(),
            served: member.served,
            complete: member.set.is_complete(),
        });
        [me].into_iter().chain(others).collect()
    }

    /// All that is served of other members.
    pub(crate) fn remote(&self) -> Vec<RemoteChange> {
        let mut all = Vec::new();
        for (id, member) in self.members.iter().filter(|(_, member)| member.served) {
            for (key, source) in member.set.sources() {
                let rows = serve::fitting(source, &self.rules.allowed_zones);
                if !rows.is_empty() {
                    all.push(RemoteChange {
                        member: id.clone(),
                        key: *key,
                        origin: Arc::clone(&source.origin),
                        rows,
                    });
                }
            }
        }
        all
    }

    /// Epoch and version of our records.
    #[cfg(test)]
    pub(crate) fn version(&self) -> (u64, u64) {
        let stamp = self.own.stamp();
        (stamp.epoch, stamp.version)
    }

    /// Whether the sets of all members that are there, and of those that are
    /// said to be, are at hand, none of them known to be newer elsewhere.
    pub(crate) fn is_settled(&self) -> bool {
        let is_settled = |member: &Member| member.set.is_known() && member.want.is_none();
        let refused = |member: &Member| member.refused_until.is_some();
        let former = |id: &MemberId, member: &Member| {
            id.name() == self.me.name() && self.address == Some(member.address)
        };
        let mut online = self.members.iter().filter(|(_, member)| member.is_online());
        let is_ready = |(id, member): (&MemberId, &Member)| {
            is_settled(member) || refused(member) || former(id, member)
        };
        self.awaited.is_empty() && online.all(is_ready)
    }

    /// Begins to handle something: notes the time, and forgives the others the
    /// time that this process was stopped.
    fn begin(&mut self, now: Instant) -> Actions {
        let gap = now.saturating_duration_since(self.called);
        self.called = self.called.max(now);
        if gap > STOPPED {
            for member in self.members.values_mut() {
                member.heard += gap;
                member.missing_since = None;
            }
        }
        Actions::default()
    }

    /// Tells how many of our records are not shared, if that has changed.
    fn tell_unshared(&mut self, actions: &mut Actions) {
        let unshared = self.own.waiting();
        let limit = self.own.limit();
        let (before, limit_before) = std::mem::replace(&mut self.unshared, (unshared, limit));
        if before != unshared || (unshared > 0 && limit_before != limit) {
            actions.notices.push(Notice::TooMany {
                unshared,
                shared: self.own.records(),
                limit,
                source: self.own.first_waiting(),
            });
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

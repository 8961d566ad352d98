//! Another member, as this one sees it.

use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use super::set::RemoteSet;
use crate::config::MAX_OCTETS;
use crate::member::MemberId;
use crate::wire::Stamp;

/// Without a sign of life for so long, a member is not served.
const LEASE: Duration = Duration::from_secs(30);

/// How long the set of a member that failed is kept, should it come back.
const KEEP: Duration = Duration::from_secs(60);

/// So many former instances can one member have.
pub(super) const MAX_FORMERS: usize = 8;

/// Another member.
#[derive(Debug)]
pub(super) struct Member {
    /// Where it is reached.
    pub(super) address: SocketAddr,
    /// Whether it is there.
    pub(super) presence: Presence,
    /// Since when it has been missing in the roster.
    pub(super) missing_since: Option<Instant>,
    /// Highest heartbeat.
    pub(super) beat: u64,
    /// When that was heard.
    pub(super) heard: Instant,
    /// Its records.
    pub(super) set: RemoteSet,
    /// Whether the table has them.
    pub(super) served: bool,
    /// What is missing of them.
    pub(super) want: Option<Want>,
    /// Its set went beyond the rules: it is not asked for before this.
    pub(super) refused_until: Option<Instant>,
    /// Its former instances, which it replaces once its set is complete.
    pub(super) formers: Vec<MemberId>,
    /// What it may be sent.
    pub(super) credit: Credit,
}

/// How many octets of sets a member may be sent because somebody asked in its
/// name. Without a secret that may be anybody: a few octets of asking would
/// else bring it as many sets as the link carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credit {
    /// What is left.
    octets: u64,
    /// When that was reckoned.
    at: Instant,
}

/// The most that a member can be sent at once: two of the largest sets.
const MOST_CREDIT: u64 = 2 * (MAX_OCTETS as u64 + SET_COST);

/// And so much is added every second.
const CREDIT_PER_SECOND: u64 = 1 << 20;

/// A connection costs as much as so many octets.
const SET_COST: u64 = 4 << 10;

/// Whether a member is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is, since then.
    Online(Instant),
    /// It was found dead.
    Failed {
        /// When.
        since: Instant,
        /// Until when its records are kept nevertheless.
        until: Instant,
    },
    /// It said good-bye; its records are kept until then.
    Leaving(Instant),
}

/// A set that is known to be newer elsewhere.
#[derive(Debug)]
pub(super) struct Want {
    /// How new.
    pub(super) target: Stamp,
    /// Since when that is known.
    pub(super) since: Instant,
    /// When to ask for it, next.
    pub(super) at: Instant,
    /// Who said so.
    pub(super) witness: Option<MemberId>,
    /// How often it was asked for.
    pub(super) tries: u32,
    /// Whether an answer may be under way.
    pub(super) asked: bool,
}

// === impl Member ===

impl Member {
    /// A member that was not known.
    pub(super) fn new(address: SocketAddr, now: Instant) -> Self {
        Self {
            address,
            presence: Presence::Online(now),
            missing_since: None,
            beat: 0,
            heard: now,
            set: RemoteSet::default(),
            served: false,
            want: None,
            refused_until: None,
            formers: Vec::new(),
            credit: Credit {
                octets: MOST_CREDIT,
                at: now,
            },
        }
    }

    /// Whether it is there.
    pub(super) fn is_online(&self) -> bool {
        matches!(self.presence, Presence::Online(_))
    }

    /// Whether it is there, but nothing was heard of it for too long.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.is_online() && now.saturating_duration_since(self.heard) > LEASE
    }

    /// Whether its records should be served.
    pub(super) fn should_serve(&self, now: Instant) -> bool {
        match self.presence {
            Presence::Online(_) => !self.is_silent(now),
            Presence::Failed { until, .. } | Presence::Leaving(until) => now < until,
        }
    }

    /// Whether nothing needs to be known of it any more.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        match self.presence {
            Presence::Online(_) => false,
            Presence::Failed { since, until } => now >= until.max(since + KEEP),
            Presence::Leaving(until) => now >= until,
        }
    }

    /// When its presence changes by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        let change = match self.presence {
            Presence::Failed { until, .. } | Presence::Leaving(until) if self.served => Some(until),
            _ => None,
        };
        let ask = self.want.as_ref().map(|want| want.at);
        change.into_iter().chain(ask).min()
    }

    /// Takes a heartbeat.
    pub(super) fn hear(&mut self, beat: u64, now: Instant) {
        if beat > self.beat {
            self.beat = beat;
            self.heard = now;
        }
    }

    /// Its state, for people.
    pub(super) fn state(&self, now: Instant) -> &'static str {
        match self.presence {
            Presence::Online(_) if self.is_silent(now) => "silent",
            Presence::Online(_) => "alive",
            Presence::Failed { .. } => "failed",
            Presence::Leaving(_) => "leaving",
        }
    }
}

// === impl Credit ===

impl Credit {
    /// Takes what it costs to send a set of so many octets; false if there is
    /// not enough left.
    pub(super) fn take(&mut self, octets: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let earned = u64::try_from(passed)
            .unwrap_or(u64::MAX)
            .saturating_mul(CREDIT_PER_SECOND)
            / 1_000;
        self.octets = self.octets.saturating_add(earned).min(MOST_CREDIT);
        self.at = self.at.max(now);
        let cost = SET_COST + octets as u64;
        let left = self.octets.checked_sub(cost);
        self.octets = left.unwrap_or(self.octets);
        left.is_some()
    }
}

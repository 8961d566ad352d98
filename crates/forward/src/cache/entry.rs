//! One response in the cache.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use portolan_proto::Message;

use super::Kind;
use super::Prefetch;
use super::held::Held;

/// A response and what is known about it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The response, without OPT.
    message: Message,
    /// What it says.
    kind: Kind,
    /// When it came.
    stored: Instant,
    /// For how long it holds.
    lifetime: Duration,
    /// How it is used.
    usage: Mutex<Usage>,
    /// What it takes, once it is kept.
    held: Option<Held>,
}

/// How an entry is used.
#[derive(Debug, Default)]
struct Usage {
    /// Hits without a long gap.
    hits: u32,
    /// The last one.
    last_hit: Option<Instant>,
    /// Whether it is being refreshed.
    refreshing: bool,
    /// When a refresh may begin, after one that failed.
    not_before: Option<Instant>,
    /// Whether a newer entry takes its place.
    replaced: bool,
}

// === impl Entry ===

impl Entry {
    /// Keeps a response.
    pub(crate) fn new(
        mut message: Message,
        kind: Kind,
        lifetime: Duration,
        stored: Instant,
    ) -> Self {
        message.shrink();
        Self {
            message,
            kind,
            stored,
            lifetime,
            usage: Mutex::default(),
            held: None,
        }
    }

    /// The same once more, not used yet.
    pub(crate) fn again(&self) -> Self {
        Self::new(self.message.clone(), self.kind, self.lifetime, self.stored)
    }

    /// For how long it holds in all.
    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The response.
    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// What it says.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The TTL it had when it was kept, in seconds.
    pub(crate) fn ttl(&self) -> u32 {
        seconds(self.lifetime)
    }

    /// Seconds left, begun ones included; `None` if its time is up.
    pub(crate) fn remaining(&self, now: Instant) -> Option<u32> {
        let left = self.lifetime.checked_sub(self.since_stored(now))?;
        (!left.is_zero()).then(|| seconds(left))
    }

    /// For how long its time has been up.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.since_stored(now).saturating_sub(self.lifetime)
    }

    /// Counts what it takes from now on.
    pub(super) fn hold(&mut self, held: Held) {
        self.held = Some(held);
    }

    /// Octets it takes, once that is counted.
    pub(super) fn octets(&self) -> u64 {
        self.held.as_ref().map_or(0, Held::octets)
    }

    /// Counts a hit. Says whether the entry is popular and near its end.
    pub(crate) fn wants_prefetch(&self, prefetch: &Prefetch, remaining: u32, now: Instant) -> bool {
        let mut usage = self.usage();
        let gap = usage
            .last_hit
            .map(|last| now.saturating_duration_since(last));
        usage.hits = match gap {
            Some(gap) if gap < prefetch.duration => usage.hits.saturating_add(1),
            _ => 1,
        };
        usage.last_hit = Some(now);
        let share = u64::from(self.ttl()) * u64::from(prefetch.percentage);
        usage.hits >= prefetch.amount && u64::from(remaining) <= share.div_ceil(100).max(1)
    }

    /// Takes over the popularity of the entry that this one replaces.
    pub(crate) fn inherit(&self, before: &Self) {
        let (hits, last_hit) = {
            let mut before = before.usage();
            before.replaced = true;
            (before.hits, before.last_hit)
        };
        let mut usage = self.usage();
        usage.hits = hits;
        usage.last_hit = last_hit;
    }

    /// Whether another entry inherited from it.
    pub(super) fn is_replaced(&self) -> bool {
        self.usage().replaced
    }

    /// Whether a refresh may begin now.
    pub(crate) fn may_refresh(&self, now: Instant) -> bool {
        self.usage().may_refresh(now)
    }

    /// Begins a refresh, if none is at work and none has just failed.
    pub(crate) fn begin_refresh(&self, now: Instant) -> bool {
        let mut usage = self.usage();
        let begins = !usage.refreshing && usage.may_refresh(now);
        usage.refreshing |= begins;
        begins
    }

    /// Ends a refresh. One that failed is not repeated for `recheck`.
    pub(crate) fn end_refresh(&self, success: bool, now: Instant, recheck: Duration) {
        let mut usage = self.usage();
        usage.refreshing = false;
        usage.not_before = (!success).then(|| now + recheck);
    }

    /// Time since it came.
    fn since_stored(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored)
    }

    /// The usage.
    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Usage ===

impl Usage {
    /// Whether the last failure is long enough ago.
    fn may_refresh(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|earliest| now >= earliest)
    }
}

/// Whole seconds, begun ones included.
fn seconds(duration: Duration) -> u32 {
    let begun = u64::from(duration.subsec_nanos() > 0);
    u32::try_from(duration.as_secs().saturating_add(begun)).unwrap_or(u32::MAX)
}

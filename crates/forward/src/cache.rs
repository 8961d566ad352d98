//! Answers kept for their time.
//!
//! One cache per server block, in two halves: what exists (`success`) and
//! what does not, failures included (`denial`). What an upstream said is kept
//! whole, under the question it answers; nothing in it is taken for an answer
//! to another question.
//!
//! Everything here is decided by arguments: the question, the response and
//! the time. Who refreshes an entry is the [`crate::Resolver`].

mod config;
mod cut;
mod entry;
mod held;
mod key;
mod lifetime;
mod names;
mod store;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use portolan_proto::Ede;
use portolan_proto::Flags;
use portolan_proto::Message;
use portolan_proto::Name;
use portolan_proto::Qname;
use portolan_proto::Rcode;
use portolan_proto::Section;

use crate::Answer;
use crate::Context;
use crate::Question;
use crate::metrics::CacheMetrics;
pub use config::CacheConfig;
pub use config::CacheLabels;
pub use config::Prefetch;
pub use config::ServeStale;
pub use config::StaleMode;
pub use config::StoreConfig;
pub(crate) use entry::Entry;
pub(crate) use key::Key;
pub(crate) use lifetime::Kind;
pub use names::Names;
use store::Store;

/// How long a failure of our own is kept: the least that RFC 9520 §3.2
/// allows, for upstreams come back sooner than zones are repaired.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// Answers of upstreams, kept for their time.
#[derive(Debug)]
pub struct Cache {
    /// Settings.
    config: CacheConfig,
    /// What exists.
    success: Store,
    /// What does not, and what failed.
    denial: Store,
    /// How often something was to be forgotten.
    generation: AtomicU64,
    /// Metrics.
    metrics: CacheMetrics,
}

/// What the cache makes of a question.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Nothing of use.
    Miss,
    /// An answer.
    Hit {
        /// The answer.
        kept: Kept,
        /// An entry to be refreshed meanwhile.
        refresh: Option<Arc<Entry>>,
    },
    /// An expired entry, of use if upstreams have nothing better
    /// ([`Cache::stale`]).
    Verify,
}

/// An answer that the cache has, and goes on having: what it takes to pass it
/// on without a copy of its own.
#[derive(Debug)]
pub struct Kept {
    /// The entry.
    entry: Arc<Entry>,
    /// The TTLs.
    ttls: Ttls,
    /// Extended error to add.
    ede: Option<Ede>,
}

/// The TTLs of records that were kept, in seconds.
#[derive(Clone, Copy, Debug)]
enum Ttls {
    /// What they were, less the time since.
    Aged(u32),
    /// One for all.
    Fixed(u32),
}

/// An entry that may be of use, and whether its time is up.
struct Found {
    /// The entry.
    entry: Arc<Entry>,
    /// Seconds left; `None` if expired.
    remaining: Option<u32>,
}

// === impl Cache ===

/// # Creation
impl Cache {
    /// An empty cache.
    pub fn new(config: CacheConfig, labels: &CacheLabels, context: &Context) -> Arc<Self> {
        let metrics = context
            .families
            .cache(&labels.server, &labels.zones, &labels.view);
        let (success, denial) = config.bounds();
        Arc::new(Self {
            success: Store::new(success, metrics.success.clone()),
            denial: Store::new(denial, metrics.denial.clone()),
            generation: AtomicU64::new(0),
            config,
            metrics,
        })
    }

    /// The settings it was made with. A reload that has the same ones can go
    /// on with this cache.
    pub fn config(&self) -> &CacheConfig {
        &self.config
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.success.clear();
        self.denial.clear();
    }

    /// Forgets what is known about some names. Says how many entries that
    /// were.
    pub fn forget(&self, names: &Names) -> usize {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.success.forget(names) + self.denial.forget(names)
    }

    /// Changes before anything is forgotten. What was asked for in one is not
    /// to be kept in the next.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Forgets what is known of one question.
    pub(crate) fn remove(&self, question: &Question) {
        let keys = [
            Key::new(question),
            Key::below(question.qname.as_wire(), question.qclass),
        ];
        for key in &keys {
            self.success.remove(key);
            self.denial.remove(key);
        }
    }

    /// Entries held, positive and negative.
    pub fn len(&self) -> usize {
        self.success.len() + self.denial.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// # Looking up
impl Cache {
    /// What is known about a question.
    pub(crate) fn lookup(&self, question: &Question, now: Instant) -> Lookup {
        if !self.covers(&question.qname) {
            return Lookup::Miss;
        }
        let Some(found) = self.find(question, now) else {
            return Lookup::Miss;
        };
        match (found.remaining, &self.config.serve_stale) {
            (Some(remaining), _) => self.fresh(found.entry, remaining, now),
            (None, Some(stale)) => self.expired(found.entry, stale, now),
            (None, None) => Lookup::Miss,
        }
    }

    /// Counts a question that goes to upstreams. Questions with an answer are
    /// counted as they get it, so that it does not matter how often one is
    /// looked up.
    pub(crate) fn missed(&self, question: &Question) {
        if self.covers(&question.qname) {
            self.metrics.requests.inc();
            self.metrics.misses.inc();
        }
    }

    /// The expired entry that a question may be answered from should
    /// upstreams fail.
    pub(crate) fn stale(&self, question: &Question, now: Instant) -> Option<Arc<Entry>> {
        if !self.covers(&question.qname) {
            return None;
        }
        self.find(question, now)
            .filter(|found| found.remaining.is_none())
            .map(|found| found.entry)
    }

    /// The answer that an expired entry gives.
    pub(crate) fn stale_answer(&self, question: &Question, entry: &Arc<Entry>) -> Answer {
        self.stale_kept(entry).to_answer(question)
    }

    /// What an expired entry has to say.
    fn stale_kept(&self, entry: &Arc<Entry>) -> Kept {
        self.metrics.stale.inc();
        self.half(entry.kind()).metrics().hits.inc();
        let ttls = Ttls::Fixed(self.config.serve_stale.as_ref().map_or(0, |s| s.reply_ttl));
        // RFC 8914 §4.4, §4.20: stale, and stale that it does not exist.
        let ede = if entry.message().rcode() == Rcode::NXDOMAIN {
            STALE_NXDOMAIN
        } else {
            Ede::STALE_ANSWER
        };
        Kept {
            entry: Arc::clone(entry),
            ttls,
            ede: Some(ede),
        }
    }

    /// Whether an entry for the name may be here.
    fn covers(&self, qname: &Qname) -> bool {
        self.config.zones.iter().any(|zone| qname.is_within(zone))
    }

    /// The better of the two entries that there may be. What does not exist
    /// comes first, for it is newer than what did exist; a failure comes
    /// last, for it says nothing about the name.
    fn find(&self, question: &Question, now: Instant) -> Option<Found> {
        let key = Key::new(question);
        let usable = |store: &Store| {
            let entry = store.get(&key)?;
            let remaining = entry.remaining(now);
            let usable = remaining.is_some() || self.may_serve_stale(&entry, now);
            usable.then_some(Found { entry, remaining })
        };
        let success = usable(&self.success);
        let is_fresh = success
            .as_ref()
            .is_some_and(|found| found.remaining.is_some());
        // Keeping one kind drops the other, unless both are wanted: one look
        // is enough for most.
        if is_fresh && !self.prefers_positive() {
            return success;
        }
        let denial = usable(&self.denial);
        let prefers_success = match &denial {
            None => true,
            Some(found) if found.entry.kind() == Kind::Failure => true,
            Some(found) => found.remaining.is_none() && self.prefers_positive(),
        };
        if prefers_success {
            success.or(denial)
        } else {
            denial
        }
    }

    /// Whether an entry is expired, but not for too long. A failure is not
    /// served a second longer than it has to be.
    fn may_serve_stale(&self, entry: &Entry, now: Instant) -> bool {
        self.config
            .serve_stale
            .as_ref()
            .is_some_and(|stale| entry.kind() != Kind::Failure && entry.age(now) < stale.duration)
    }

    /// Whether a positive entry goes before an expired negative one.
    fn prefers_positive(&self) -> bool {
        self.config
            .serve_stale
            .as_ref()
            .is_some_and(|stale| stale.prefer_positive)
    }

    /// Answers from an entry in its time, and has it refreshed if it is
    /// popular and near its end.
    fn fresh(&self, entry: Arc<Entry>, remaining: u32, now: Instant) -> Lookup {
        self.metrics.requests.inc();
        self.half(entry.kind()).metrics().hits.inc();
        let ttls = if self.config.keepttl {
            Ttls::Aged(0)
        } else {
            Ttls::Aged(entry.ttl().saturating_sub(remaining))
        };
        // What the upstream said of its failure says more than that it is kept.
        let ede = entry
            .message()
            .ede()
            .or_else(|| (entry.kind() == Kind::Failure).then_some(Ede::CACHED_ERROR));
        let refresh = self.config.prefetch.as_ref().is_some_and(|prefetch| {
            entry.kind() != Kind::Failure && entry.wants_prefetch(prefetch, remaining, now)
        }) && entry.begin_refresh(now);
        if refresh {
            self.metrics.prefetches.inc();
        }
        Lookup::Hit {
            refresh: refresh.then(|| Arc::clone(&entry)),
            kept: Kept { entry, ttls, ede },
        }
    }

    /// Answers from an expired entry, or leaves it to be verified.
    fn expired(&self, entry: Arc<Entry>, stale: &ServeStale, now: Instant) -> Lookup {
        // What was never good to be served is for an outage only.
        let verify = matches!(stale.mode, StaleMode::Verify { .. }) || entry.lifetime().is_zero();
        // RFC 8767 §5: after a failure, no other attempt for a while.
        if verify && entry.may_refresh(now) {
            return Lookup::Verify;
        }
        self.metrics.requests.inc();
        let kept = self.stale_kept(&entry);
        let refresh = !verify && entry.begin_refresh(now);
        Lookup::Hit {
            kept,
            refresh: refresh.then_some(entry),
        }
    }

    /// The half that a kind of entry is kept in.
    fn half(&self, kind: Kind) -> &Store {
        match kind {
            Kind::Success => &self.success,
            Kind::Denial | Kind::Failure => &self.denial,
        }
    }
}

/// # Keeping
impl Cache {
    /// Keeps a response, if it may be kept, and gives it the TTL that it will
    /// have from the cache. `epoch` is the time in seconds since 1970. Says
    /// what was kept.
    pub(crate) fn keep(
        &self,
        question: &Question,
        message: &mut Message,
        now: Instant,
        epoch: u32,
    ) -> Option<Kind> {
        // An answer to RD=0 is what the upstream happens to know.
        if !self.covers(&question.qname) || !question.recursion_desired {
            return None;
        }
        if !lifetime::is_answer_to(message, question) {
            self.metrics.drops.inc();
            return None;
        }
        let kind = lifetime::kind(message, question, epoch)?;
        if self.is_disabled(kind, &question.qname) {
            return None;
        }
        let ttl = self.time_to_keep(kind, message)?;
        // RFC 6840 §5.9: who sets CD may be answered before the upstream has
        // verified what it says, and without the proofs. The next one is to
        // hear what it says then, unless it says nothing any more.
        if kind != Kind::Failure && is_unverified(question, message) {
            self.config.serve_stale.as_ref()?;
            let entry = Entry::new(message.clone(), kind, Duration::ZERO, now);
            self.insert(question, entry, now);
            return Some(kind);
        }
        // What is served now is what is served from the cache in a moment.
        self.bound_ttls(kind, message);
        self.insert(question, Entry::new(message.clone(), kind, ttl, now), now);
        Some(kind)
    }

    /// Keeps that no upstream answered, so that the question is not asked
    /// over and over (RFC 9520 §3.2).
    pub(crate) fn keep_failure(&self, question: &Question, now: Instant) {
        let ttl = FAILURE_TTL.min(self.config.servfail);
        let qname = &question.qname;
        if ttl.is_zero() || !self.covers(qname) || self.is_disabled(Kind::Failure, qname) {
            return;
        }
        if let Some(message) = failure_message(question) {
            self.insert(question, Entry::new(message, Kind::Failure, ttl, now), now);
        }
    }

    /// Puts an entry in its place.
    fn insert(&self, question: &Question, entry: Entry, now: Instant) {
        let key = Key::new(question);
        self.note_cut(question, &entry);
        match entry.kind() {
            Kind::Success => self.denial.remove(&key),
            Kind::Denial if !self.prefers_positive() => self.success.remove(&key),
            // What is known of the name stays while it cannot be refreshed.
            Kind::Failure if self.is_denied(&key, now) => return,
            Kind::Denial | Kind::Failure => {}
        }
        self.half(entry.kind()).insert(&key, entry);
    }

    /// Whether there is a denial that is still good, or that may be served
    /// stale.
    fn is_denied(&self, key: &Key, now: Instant) -> bool {
        self.denial.get(key).is_some_and(|known| {
            known.kind() == Kind::Denial
                && (known.remaining(now).is_some() || self.may_serve_stale(&known, now))
        })
    }

    /// Whether a kind of entry is not kept for a name.
    fn is_disabled(&self, kind: Kind, qname: &Qname) -> bool {
        let zones: &[Name] = match kind {
            Kind::Success => &self.config.disable_success,
            Kind::Denial | Kind::Failure => &self.config.disable_denial,
        };
        zones.iter().any(|zone| qname.is_within(zone))
    }

    /// For how long a response is kept; `None` is not at all.
    fn time_to_keep(&self, kind: Kind, message: &Message) -> Option<Duration> {
        let Some(limits) = self.limits(kind) else {
            return Some(self.config.servfail).filter(|servfail| !servfail.is_zero());
        };
        let ttl = lifetime::ttl(kind, message);
        // RFC 1035 §3.2.1: TTL 0 is for the transaction in progress only.
        (ttl != 0).then(|| Duration::from_secs(limits.bound(ttl).into()))
    }

    /// Puts the TTLs of a response that is kept within bounds.
    fn bound_ttls(&self, kind: Kind, message: &mut Message) {
        let Some(limits) = self.limits(kind) else {
            return;
        };
        // RFC 2308 §5: a denial does not outlive the last field of its SOA.
        if kind == Kind::Denial
            && let Some(minimum) = lifetime::negative_ttl(message)
        {
            message.cap_ttls(Section::Authority, minimum);
        }
        message.map_ttls(|ttl| limits.bound(ttl));
    }

    /// What bounds the TTLs of a kind of response; failures have none.
    fn limits(&self, kind: Kind) -> Option<&StoreConfig> {
        match kind {
            Kind::Success => Some(&self.config.success),
            Kind::Denial => Some(&self.config.denial),
            Kind::Failure => None,
        }
    }
}

// === impl Kept ===

impl Kept {
    /// What the upstream said. Its TTLs are not those to be sent.
    pub fn message(&self) -> &Message {
        self.entry.message()
    }

    /// The TTL to be sent with a record that has `ttl`, in seconds.
    pub fn ttl(&self, ttl: u32) -> u32 {
        self.ttls.of(ttl)
    }

    /// Extended error to add.
    pub fn ede(&self) -> Option<Ede> {
        self.ede
    }

    /// The answer, copied.
    pub fn to_answer(&self, question: &Question) -> Answer {
        answer(question, &self.entry, self.ttls, self.ede)
    }
}

// === impl Ttls ===

impl Ttls {
    /// That of a record which has `ttl`.
    fn of(self, ttl: u32) -> u32 {
        match self {
            Self::Aged(seconds) => ttl.saturating_sub(seconds),
            Self::Fixed(seconds) => seconds,
        }
    }
}

/// The answer that an entry gives.
fn answer(question: &Question, entry: &Entry, ttls: Ttls, ede: Option<Ede>) -> Answer {
    let mut message = entry.message().clone();
    message.map_ttls(|ttl| ttls.of(ttl));
    Answer {
        // RFC 6840 §5.8: AD only for those who asked for it.
        authentic_data: question.wants_authentic_data()
            && message.flags().has(Flags::AUTHENTIC_DATA),
        message,
        ede,
        from_cache: true,
        upstream: None,
    }
}

/// Whether the upstream may have more to say of an answer in a moment.
fn is_unverified(question: &Question, message: &Message) -> bool {
    question.checking_disabled && !message.flags().has(Flags::AUTHENTIC_DATA)
}

/// A SERVFAIL without records.
fn failure_message(question: &Question) -> Option<Message> {
    let flags = Flags::RESPONSE | Flags::RECURSION_AVAILABLE | Rcode::SERVFAIL.0;
    let mut wire = vec![0, 0];
    wire.extend_from_slice(&flags.to_be_bytes());
    wire.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    wire.extend_from_slice(question.octets());
    Message::parse(wire).ok()
}

/// The name did not exist when it was last asked about (RFC 8914 §4.20).
const STALE_NXDOMAIN: Ede = Ede(19);

#[cfg(test)]
mod tests;

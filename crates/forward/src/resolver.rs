//! The one thing that the server sees: a cache in front of stanzas.

mod departure;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use portolan_proto::Flags;
use portolan_proto::Message;
use portolan_proto::Name;
use portolan_proto::Qname;
use portolan_proto::Rcode;
use portolan_proto::Rtype;
use tokio::sync::SemaphorePermit;

use crate::Answer;
use crate::Asker;
use crate::Cache;
use crate::Context;
use crate::Failure;
use crate::Forward;
use crate::Kept;
use crate::Question;
use crate::StaleMode;
use crate::TOTAL_BUDGET;
use crate::Transport;
use crate::cache::Entry;
use crate::cache::Kind;
use crate::cache::Lookup;
use crate::flight::Flights;
use crate::flight::Joined;
use crate::flight::Outcome;
use crate::loops::Loops;
use crate::loops::SUSPICIOUS;
use crate::loops::UNSUSPICIOUS;
use crate::race::Reply;
use crate::special;
pub(crate) use departure::Departure;
pub(crate) use departure::Read;
pub use departure::Unfinished;

/// How long upstreams may take when there is an expired answer to fall back
/// on (RFC 8767 §5: the client response timer).
const VERIFY_TIMEOUT: Duration = Duration::from_millis(1800);

/// Answers questions from the cache and from upstreams.
///
/// Ask [`Self::cached`] first, and [`Self::resolve`] if there is nothing.
/// Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// What the clones and the refreshes at work share.
    inner: Arc<Inner>,
}

/// What is known of a question without asking.
#[derive(Debug)]
pub enum Known {
    /// An answer of the cache.
    Kept(Kept),
    /// One that was made for the question.
    Made(Answer),
}

/// What clones of a resolver share.
#[derive(Debug)]
struct Inner {
    /// What is known already.
    cache: Option<Arc<Cache>>,
    /// Whom to ask, in order.
    stanzas: Vec<Arc<Forward>>,
    /// Where refreshes run, and how many queries may wait.
    context: Context,
    /// What is being asked.
    flights: Arc<Flights>,
    /// Names that tell a forwarding loop.
    loops: Loops,
}

/// A refresh at work. One that is broken off, as a reload does it, leaves the
/// entry to the next one.
struct Refreshing {
    /// The entry.
    entry: Arc<Entry>,
    /// How long after a failure the next one may begin.
    recheck: Duration,
    /// Whether there was no failure.
    success: bool,
}

// === impl Known ===

impl Known {
    /// The answer.
    pub fn into_answer(self, question: &Question) -> Answer {
        match self {
            Self::Kept(kept) => kept.to_answer(question),
            Self::Made(answer) => answer,
        }
    }
}

// === impl Resolver ===

impl Resolver {
    /// A resolver for one server block. The cache may be one that another
    /// resolver had before a reload.
    pub fn new(cache: Option<Arc<Cache>>, stanzas: Vec<Arc<Forward>>, context: &Context) -> Self {
        Self {
            inner: Arc::new(Inner {
                cache,
                stanzas,
                context: context.clone(),
                flights: Arc::default(),
                loops: Loops::default(),
            }),
        }
    }

    /// The cache, to be handed over on reload.
    pub fn cache(&self) -> Option<&Arc<Cache>> {
        self.inner.cache.as_ref()
    }

    /// The stanzas, in order.
    pub fn stanzas(&self) -> &[Arc<Forward>] {
        &self.inner.stanzas
    }

    /// Whether a stanza is there for a name.
    pub fn claims(&self, qname: &Qname) -> bool {
        self.inner.claimant(qname, 0).is_some()
    }

    /// Whether a client may have a name resolved. A client that may not is to
    /// be refused (EDE 18) before the cache is asked.
    pub fn allows(&self, qname: &Qname, client: IpAddr) -> bool {
        self.inner
            .claimant(qname, 0)
            .is_some_and(|(_, stanza)| stanza.allows(client))
    }

    /// Answers from the cache, at once, and about special names. An entry that
    /// has to be refreshed is refreshed meanwhile. Any thread may call this.
    pub fn cached(&self, question: &Question, now: Instant) -> Option<Answer> {
        Some(self.known(question, now)?.into_answer(question))
    }

    /// What [`Self::cached`] answers with, uncopied where it is kept.
    pub fn known(&self, question: &Question, now: Instant) -> Option<Known> {
        if let Some(answer) = self.inner.special(question) {
            return Some(Known::Made(answer));
        }
        let cache = self.inner.cache.as_ref()?;
        match cache.lookup(question, now) {
            Lookup::Miss => {
                let is_of_same = |above: &[u8]| self.inner.is_of_same(question, above);
                cache.cut(question, now, is_of_same).map(Known::Made)
            }
            Lookup::Verify => None,
            Lookup::Hit { kept, refresh } => {
                if let Some(entry) = refresh {
                    self.spawn_refresh(question.clone(), entry);
                }
                Some(Known::Kept(kept))
            }
        }
    }

    /// Asks upstreams, and keeps what they say. For a question that
    /// [`Self::cached`] has no answer to.
    ///
    /// # Errors
    ///
    /// [`Failure`] if nobody gave an answer, or too many queries are waiting
    /// for one.
    pub async fn resolve(&self, question: &Arc<Question>, asker: Asker) -> Result<Answer, Failure> {
        // A zone is not one message (RFC 5936 §2.2), and not for passing on.
        if matches!(question.qtype, Rtype::AXFR | Rtype::IXFR) {
            return Err(Failure::transfer());
        }
        if self.inner.loops.has_returned(&question.qname) {
            return Err(Failure::looped());
        }
        if let Some(answer) = self.inner.special(question) {
            return Ok(answer);
        }
        let Some(cache) = &self.inner.cache else {
            return self.inner.fetch(question, Some(asker)).await;
        };
        cache.missed(question);
        let Some(entry) = cache.stale(question, clock()) else {
            return self.inner.fetch(question, Some(asker)).await;
        };
        // The attempt goes on when the wait is over: its answer is for the
        // next client.
        let inner = Arc::clone(&self.inner);
        let asked = Arc::clone(question);
        let kept = Arc::clone(&entry);
        let attempt = self.inner.context.tracker.spawn(async move {
            let result = inner.fetch(&asked, Some(asker)).await;
            kept.end_refresh(is_good(&result), clock(), inner.recheck());
            result
        });
        match tokio::time::timeout(self.inner.verify_timeout(), attempt).await {
            Ok(Ok(result)) if is_good(&result) => result,
            Ok(_) => Ok(cache.stale_answer(question, &entry)),
            Err(_) => {
                entry.end_refresh(false, clock(), self.inner.recheck());
                Ok(cache.stale_answer(question, &entry))
            }
        }
    }

    /// Has a lane ask a question that [`Self::known`] has no answer to, if it is
    /// an ordinary one: nobody asks the same, no other answer is there to fall
    /// back on, the upstream is well. All else is for [`Self::resolve`].
    pub(crate) fn depart(
        &self,
        question: &Question,
        now: tokio::time::Instant,
    ) -> Option<Departure> {
        let inner = &self.inner;
        if matches!(question.qtype, Rtype::AXFR | Rtype::IXFR)
            || inner.loops.has_returned(&question.qname)
            || inner.has_stale(question)
        {
            return None;
        }
        let (_, stanza) = inner.claimant(&question.qname, 0)?;
        let landing = inner.flights.depart(question, now)?;
        let first = stanza.first(question, now)?;
        Some(Departure {
            inner: Arc::clone(inner),
            landing,
            first,
            generation: inner.generation(),
            wants_authentic_data: question.wants_authentic_data(),
        })
    }

    /// Refreshes an entry in the background.
    fn spawn_refresh(&self, question: Question, entry: Arc<Entry>) {
        let inner = Arc::clone(&self.inner);
        let refreshing = Refreshing {
            entry,
            recheck: inner.recheck(),
            success: true,
        };
        self.inner.context.spawn(async move {
            // As a whole: a field alone would leave the rest behind.
            let mut refreshing = refreshing;
            refreshing.success = inner.refresh(question).await;
        });
    }
}

// === impl Inner ===

impl Inner {
    /// The first stanza for a name, from one on, and its position.
    fn claimant(&self, qname: &Qname, from: usize) -> Option<(usize, &Arc<Forward>)> {
        self.stanzas
            .iter()
            .enumerate()
            .skip(from)
            .find(|(_, stanza)| stanza.claims(qname))
    }

    /// Whether a name above that of a question is for the same upstreams.
    fn is_of_same(&self, question: &Question, above: &[u8]) -> bool {
        let Ok(above) = Name::from_wire(above) else {
            return false;
        };
        let position = |qname| self.claimant(qname, 0).map(|(position, _)| position);
        position(&question.qname) == position(&Qname::from(&above))
    }

    /// Answers about a name that is not for upstreams.
    fn special(&self, question: &Question) -> Option<Answer> {
        let zone = special::zone(&question.qname)?;
        let (_, stanza) = self.claimant(&question.qname, 0)?;
        if stanza.takes_special(&question.qname, zone.kind) {
            return None;
        }
        special::answer(question, zone)
    }

    /// Asks upstreams anew what an entry says. Says whether they had an
    /// answer.
    async fn refresh(self: &Arc<Self>, question: Question) -> bool {
        let mut question = Arc::new(question);
        let mut result = self.fetch(&question, None).await;
        let truncated = result
            .as_ref()
            .is_ok_and(|answer| answer.message.flags().has(Flags::TRUNCATED));
        // Nobody is there to ask again over TCP.
        if truncated && question.transport == Transport::Udp {
            Arc::make_mut(&mut question).transport = Transport::Tcp;
            result = self.fetch(&question, None).await;
        }
        if let Err(failure) = &result {
            tracing::debug!(plugin = "cache", %failure, "refresh failed");
        }
        is_good(&result)
    }

    /// How long after a failed refresh the next one may begin.
    fn recheck(&self) -> Duration {
        self.cache
            .as_ref()
            .and_then(|cache| cache.config().serve_stale.as_ref())
            .map_or(Duration::ZERO, |stale| stale.recheck)
    }

    /// How long to wait for upstreams before an expired answer is used.
    fn verify_timeout(&self) -> Duration {
        let stale = self
            .cache
            .as_ref()
            .and_then(|cache| cache.config().serve_stale.as_ref());
        match stale.map(|stale| stale.mode) {
            Some(StaleMode::Verify { timeout }) if !timeout.is_zero() => timeout,
            _ => VERIFY_TIMEOUT,
        }
    }

    /// Asks upstreams and keeps what comes of it, once for all who ask the
    /// same at the same time. Without an asker, nobody waits for it.
    async fn fetch(self: &Arc<Self>, question: &Arc<Question>, asker: Option<Asker>) -> Outcome {
        let (inner, asked) = (Arc::clone(self), Arc::clone(question));
        let ask = |joined: Arc<Joined>| async move {
            let generation = inner.generation();
            let answered = inner.ask(&asked);
            inner.keep_what(&asked, &joined, generation, answered).await
        };
        let suspicion = || self.suspicion(question, asker);
        let mut result = self.flights.join(question, suspicion, ask).await;
        if let Ok(answer) = &mut result {
            let is_wanted = question.wants_authentic_data();
            answer.authentic_data = authentic_data(is_wanted, &answer.message);
        }
        result
    }

    /// How long a question that is asked again is asked before that is looked
    /// into.
    fn suspicion(&self, question: &Question, asker: Option<Asker>) -> Duration {
        let Some(asker) = asker else {
            return UNSUSPICIOUS;
        };
        if self.context.sockets.contains(asker.client) {
            return Duration::ZERO;
        }
        let is_upstream = |address| {
            let stanza = self.claimant(&question.qname, 0);
            stanza.is_some_and(|(_, stanza)| stanza.asks(address))
        };
        match asker.elsewhere() {
            Some(address) if is_upstream(address) => SUSPICIOUS,
            _ => UNSUSPICIOUS,
        }
    }

    /// What the cache has forgotten by now.
    fn generation(&self) -> Option<u64> {
        self.cache.as_ref().map(|cache| cache.generation())
    }

    /// Whether there is an expired answer to fall back on.
    fn has_stale(&self, question: &Question) -> bool {
        self.cache.as_ref().is_some_and(|cache| {
            cache.config().serve_stale.is_some() && cache.stale(question, clock()).is_some()
        })
    }

    /// Keeps what comes of asking, which began in a `generation` of the cache.
    /// `joined` tells when the same is asked again meanwhile.
    async fn keep_what(
        &self,
        question: &Question,
        joined: &Joined,
        generation: Option<u64>,
        asking: impl Future<Output = Outcome>,
    ) -> Outcome {
        let mut outcome = tokio::select! {
            biased;
            outcome = asking => outcome,
            () = self.goes_round(question, joined) => Err(Failure::looped()),
        };
        match &mut outcome {
            Ok(answer) => self.keep_answer(question, generation, answer),
            Err(failure) if failure.is_upstreams() => {
                self.keep(question, generation, |cache| {
                    cache.keep_failure(question, clock());
                });
            }
            Err(_) => {}
        }
        outcome
    }

    /// Keeps an answer.
    fn keep_answer(&self, question: &Question, generation: Option<u64>, answer: &mut Answer) {
        self.keep(question, generation, |cache| {
            let kind = cache.keep(question, &mut answer.message, clock(), epoch());
            if kind == Some(Kind::Failure) {
                tracing::debug!(plugin = "cache", "failure kept");
            }
        });
    }

    /// Keeps something about a question that began in a `generation` of the
    /// cache.
    fn keep(&self, question: &Question, generation: Option<u64>, keep: impl FnOnce(&Cache)) {
        let Some(cache) = &self.cache else {
            return;
        };
        // What was on its way when names were to be forgotten may be old.
        if generation != Some(cache.generation()) {
            return;
        }
        keep(cache);
        // They may have been forgotten just before this was kept.
        if generation != Some(cache.generation()) {
            cache.remove(question);
        }
    }

    /// A place among the queries at work.
    fn permit(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.context.in_flight.try_acquire().map_err(|_| {
            self.context.families.rejected();
            Failure::overload(self.context.max_in_flight)
        })
    }

    /// Ends when a question that takes long and was asked again has proved to
    /// go round, and only then.
    async fn goes_round(&self, question: &Question, joined: &Joined) {
        joined.is_suspicious().await;
        // Boxed: it is large, and few questions come so far.
        if let Ok(_look) = self.context.looks.try_acquire()
            && let Some((_, stanza)) = self.claimant(&question.qname, 0)
            && Box::pin(stanza.goes_round(question, &self.loops)).await
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Asks the stanza that claims the name, and those that it leaves the
    /// question to.
    async fn ask(&self, question: &Arc<Question>) -> Outcome {
        let _permit = self.permit()?;
        // However many stanzas it goes through: clients wait no longer.
        let deadline = tokio::time::Instant::now() + TOTAL_BUDGET;
        let mut from = 0;
        let mut left: Option<Reply> = None;
        while let Some((position, stanza)) = self.claimant(&question.qname, from) {
            let exchange = stanza.exchange(question, deadline).await?;
            if !exchange.next {
                return Ok(answer(question.wants_authentic_data(), exchange.reply));
            }
            left = Some(exchange.reply);
            from = position + 1;
        }
        // The last stanza has nobody to leave it to.
        left.map(|reply| answer(question.wants_authentic_data(), reply))
            .ok_or_else(Failure::unclaimed)
    }
}

// === impl Refreshing ===

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.entry.end_refresh(self.success, clock(), self.recheck);
    }
}

/// The answer that an upstream gave.
fn answer(wants_authentic_data: bool, reply: Reply) -> Answer {
    Answer {
        ede: reply.message.ede(),
        authentic_data: authentic_data(wants_authentic_data, &reply.message),
        message: reply.message,
        from_cache: false,
        upstream: Some(reply.upstream),
    }
}

/// Whether AD is set for a client: only where it asked for that
/// (RFC 6840 §5.8).
fn authentic_data(is_wanted: bool, message: &Message) -> bool {
    is_wanted && message.flags().has(Flags::AUTHENTIC_DATA)
}

/// Whether upstreams had something better to say than an expired answer.
fn is_good(result: &Outcome) -> bool {
    result
        .as_ref()
        .is_ok_and(|answer| !matches!(answer.message.rcode(), Rcode::SERVFAIL | Rcode::REFUSED))
}

/// The time. Read from tokio, so that tests can set it.
fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Seconds since 1970, for signatures.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
fn epoch() -> u32 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    // RFC 4034 §3.1.5: times of signatures wrap in 2106.
    u32::try_from(since.as_secs() & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

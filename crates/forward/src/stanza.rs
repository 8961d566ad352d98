//! One `forward` stanza at work.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use portolan_proto::Message;
use portolan_proto::Name;
use portolan_proto::Qname;
use portolan_proto::Rcode;
use portolan_proto::Section;
use smallvec::SmallVec;
use tokio::time::Instant;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

use crate::Config;
use crate::Context;
use crate::Failure;
use crate::MAX_UPSTREAMS;
use crate::Question;
use crate::Transport;
use crate::hedge::Hedging;
use crate::loops::Loops;
use crate::loops::OTHERS;
use crate::loops::RETURN;
use crate::origin::Origin;
use crate::origin::origins;
use crate::origin::targets;
use crate::policy::Attempt;
use crate::policy::Candidate;
use crate::policy::Plan;
use crate::policy::Standing;
use crate::race::NO_HEALTHY;
use crate::race::Race;
use crate::race::Reply;
use crate::race::TOTAL_BUDGET;
use crate::race::Waits;
use crate::race::is_repeat;
use crate::resolv_conf::CHECK_EVERY;
use crate::special;
use crate::special::Kind;
use crate::target::Target;
use crate::udp::Begun;
use crate::upstream::Settings;
use crate::upstream::Upstream;

/// A set of names and the upstreams that are asked about them.
#[derive(Debug)]
pub struct Forward {
    /// Settings.
    config: Config,
    /// What the upstreams share.
    settings: Arc<Settings>,
    /// The upstreams as of now.
    upstreams: ArcSwap<Vec<Arc<Upstream>>>,
    /// How many queries were planned.
    turn: AtomicUsize,
    /// Queries at work.
    concurrent: AtomicUsize,
    /// The account of second queries.
    hedging: Arc<Hedging>,
    /// Its surroundings.
    context: Context,
    /// Ends probing and following when the stanza is dropped.
    _ending: DropGuard,
}

/// Why a stanza cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is nobody to ask.
    #[error("no valid upstream addresses found")]
    NoUpstreams,
    /// There are too many.
    #[error("more than {MAX_UPSTREAMS} TOs configured: {0}")]
    TooManyUpstreams(usize),
    /// A host name has no address.
    #[error("failed to resolve {host}: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// A name that an upstream has to prove is none.
    #[error("not a name that a certificate can carry: {0}")]
    ServerName(String),
    /// What TLS needs cannot be read.
    #[error("tls: {0}")]
    Tls(std::io::Error),
    /// A file of upstreams cannot be read.
    #[error("unable to read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

/// An answer, and whether the stanza that follows is to be asked instead.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The answer.
    pub(crate) reply: Reply,
    /// Whether `next` leaves it to the following stanza.
    pub(crate) next: bool,
}

/// The first attempt of a question that a lane asks.
#[derive(Debug)]
pub(crate) struct First {
    /// The stanza.
    stanza: Arc<Forward>,
    /// The upstreams as they were.
    upstreams: Arc<Vec<Arc<Upstream>>>,
    /// What follows.
    plan: Plan,
    /// Whom to ask first, as the plan has it.
    attempt: Attempt,
}

/// Counts one query for as long as it lives.
struct Slot<'a>(&'a AtomicUsize);

// === impl Forward ===

impl Forward {
    /// Builds a stanza: reads files and resolves names of upstreams.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub async fn build(config: Config, context: &Context) -> Result<Arc<Self>, BuildError> {
        let origins = origins(&config).await?;
        let targets = targets(&origins);
        match targets.len() {
            0 => return Err(BuildError::NoUpstreams),
            1..=MAX_UPSTREAMS => {}
            count => return Err(BuildError::TooManyUpstreams(count)),
        }
        let token = context.token.child_token();
        let settings = Arc::new(Settings::new(&config, context, token.clone()));
        let upstreams = upstreams(&targets, &[], &settings, context);
        let forward = Arc::new(Self {
            config,
            settings,
            upstreams: ArcSwap::from_pointee(upstreams),
            turn: AtomicUsize::new(0),
            concurrent: AtomicUsize::new(0),
            hedging: Arc::new(Hedging::new()),
            context: context.clone(),
            _ending: token.clone().drop_guard(),
        });
        let weak = Arc::downgrade(&forward);
        let upkeep = upkeep(weak, origins, token, context.clone());
        context.tracker.spawn(upkeep);
        Ok(forward)
    }

    /// Whether queries for a name are for this stanza.
    pub fn claims(&self, qname: &Qname) -> bool {
        let excepted = || {
            // What is forwarded by name is not excepted by that name.
            self.config.except.iter().any(|zone| qname.is_within(zone))
                && !self
                    .config
                    .from
                    .iter()
                    .any(|zone| qname.as_wire() == zone.as_wire())
        };
        self.config.from.iter().any(|zone| qname.is_within(zone)) && !excepted()
    }

    /// Whether a name in a special zone is for the upstreams all the same. The
    /// name is one that this stanza claims.
    pub(crate) fn takes_special(&self, qname: &Qname, kind: Kind) -> bool {
        let names_more_than_the_root = || {
            let claims = |zone: &Name| !zone.is_root() && qname.is_within(zone);
            self.config.from.iter().any(claims)
        };
        let asks_private_upstreams = || {
            let upstreams = self.upstreams.load();
            upstreams
                .iter()
                .all(|upstream| special::is_private(upstream.target().addr.ip()))
        };
        self.config.forward_special_names
            || names_more_than_the_root()
            || kind == Kind::Private && asks_private_upstreams()
    }

    /// Whether a client may use this stanza. An IPv4 address in IPv6 clothes
    /// counts as IPv4.
    pub fn allows(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.config
            .allow_from
            .iter()
            .any(|range| range.contains(&client))
    }

    /// The settings it was built with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The upstreams as of now.
    pub fn upstreams(&self) -> Vec<SocketAddr> {
        self.upstreams
            .load()
            .iter()
            .map(|u| u.target().addr)
            .collect()
    }

    /// Whether an address is that of an upstream.
    pub(crate) fn asks(&self, address: IpAddr) -> bool {
        let upstreams = self.upstreams.load();
        upstreams
            .iter()
            .any(|upstream| upstream.target().addr.ip().to_canonical() == address)
    }

    /// Asks the upstreams, until the deadline.
    pub(crate) async fn exchange(
        &self,
        question: &Arc<Question>,
        deadline: Instant,
    ) -> Result<Exchange, Failure> {
        let _slot = self.slot()?;
        let upstreams = self.upstreams.load_full();
        let plan = self.plan(&upstreams, question)?;
        self.race(question, &upstreams, plan, None, deadline).await
    }

    /// The first attempt of a question that is asked in the ordinary way, if it
    /// may be: of an upstream that is good, and whose answer is left to nobody
    /// else.
    pub(crate) fn first(self: &Arc<Self>, question: &Question, now: Instant) -> Option<First> {
        let config = &self.config;
        if config.max_concurrent > 0 || !config.next.is_empty() || config.next_on_nodata {
            return None;
        }
        let upstreams = self.upstreams.load_full();
        let candidates = candidates(&upstreams, question, now);
        let is_good = |candidate: &Candidate| candidate.standing == Standing::Good;
        if !candidates.iter().any(is_good) {
            return None;
        }
        // Were one of them asked in another way, its turns would be lost.
        let is_ordinary = |upstream: &Arc<Upstream>| upstream.is_ordinary_for(question, now);
        if !upstreams.iter().all(is_ordinary) {
            return None;
        }
        // The turn is over once the question is sent.
        let mut plan = self.plan_for(&candidates, self.turn.load(Ordering::Relaxed));
        let attempt = plan.next()?;
        let is_first_good = candidates.get(attempt.upstream).is_some_and(is_good);
        is_first_good.then(|| First {
            stanza: Arc::clone(self),
            upstreams,
            plan,
            attempt,
        })
    }

    /// Goes on with an attempt that was begun, until the deadline.
    pub(crate) async fn go_on(
        question: &Arc<Question>,
        first: First,
        begun: Box<Begun>,
    ) -> Result<Reply, Failure> {
        let First {
            stanza,
            upstreams,
            plan,
            attempt,
        } = first;
        let deadline = begun.started + TOTAL_BUDGET;
        let begun = Some((attempt, begun));
        let race = stanza.race(question, &upstreams, plan, begun, deadline);
        // What may be begun is left to nobody else.
        race.await.map(|exchange| exchange.reply)
    }

    /// Asks upstreams by a plan, the first attempt of which may be `begun`.
    async fn race(
        &self,
        question: &Arc<Question>,
        upstreams: &[Arc<Upstream>],
        plan: Plan,
        begun: Option<(Attempt, Box<Begun>)>,
        deadline: Instant,
    ) -> Result<Exchange, Failure> {
        let race = Race {
            upstreams,
            question,
            hedging: &self.hedging,
            context: &self.context,
            read_timeout: self.config.read_timeout,
            failover: &self.config.failover,
            deadline,
        };
        let reply = race.run(plan, begun).await?;
        let next = self.leaves(&reply.message);
        Ok(Exchange { reply, next })
    }

    /// Whether all upstreams that have anything to say about a question ask
    /// this server in turn. There is at least one.
    pub(crate) async fn goes_round(&self, question: &Question, loops: &Loops) -> bool {
        let upstreams = self.upstreams.load_full();
        let begun = Instant::now();
        let deadline = begun + RETURN;
        let look = async |upstream: &Arc<Upstream>| {
            let marker = loops.mark(&question.qname, rand::random())?;
            let marked = question.with_name(&marker.name);
            tokio::select! {
                biased;
                () = marker.returned.notified() => {
                    upstream.looped();
                    Some(true)
                }
                responds = upstream.responds(&marked, deadline) => responds.then_some(false),
            }
        };
        let mut looks: FuturesUnordered<_> = upstreams.iter().map(look).collect();
        let mut found = false;
        // Where one goes round, a silent one is not waited for any longer
        // than it usually takes.
        let mut until = deadline;
        while let Ok(Some(seen)) = timeout_at(until, looks.next()).await {
            match seen {
                Some(true) => {
                    found = true;
                    until = deadline.min(begun + OTHERS);
                }
                Some(false) => return false,
                None => {}
            }
        }
        found
    }

    /// Takes one of `max_concurrent` places.
    fn slot(&self) -> Result<Slot<'_>, Failure> {
        let slot = Slot::take(&self.concurrent);
        let maximum = self.config.max_concurrent;
        if maximum > 0 && self.concurrent.load(Ordering::Relaxed) > maximum {
            self.context.families.rejected();
            return Err(Failure::overload(maximum));
        }
        Ok(slot)
    }

    /// Plans the attempts of one query.
    fn plan(&self, upstreams: &[Arc<Upstream>], question: &Question) -> Result<Plan, Failure> {
        let candidates = candidates(upstreams, question, Instant::now());
        let plan = self.plan_for(&candidates, self.turn.fetch_add(1, Ordering::Relaxed));
        if plan.all_down() {
            self.context.families.broken();
            if self.config.failfast_all_unhealthy_upstreams {
                for upstream in upstreams {
                    upstream.missed();
                }
                return Err(Failure::unreachable(NO_HEALTHY.into()));
            }
        }
        Ok(plan)
    }

    /// Plans the attempts of one query of some candidates.
    fn plan_for(&self, candidates: &[Candidate], turn: usize) -> Plan {
        Plan::new(
            self.config.policy,
            candidates,
            turn,
            self.config.max_connect_attempts,
            &mut rand::rng(),
        )
    }

    /// Whether an answer is left to the stanza that follows.
    fn leaves(&self, message: &Message) -> bool {
        let rcode = message.rcode();
        let nodata = || {
            rcode == Rcode::NOERROR
                && !message
                    .records()
                    .any(|record| record.section == Section::Answer)
        };
        self.config.next.contains(&rcode) || self.config.next_on_nodata && nodata()
    }
}

// === impl First ===

impl First {
    /// Whom to ask first.
    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        let upstream = self.upstreams.get(self.attempt.upstream);
        upstream.expect("a plan is one of these upstreams")
    }

    /// When an answer to what was sent at a time is overdue, at the latest after
    /// [`MAX_WAIT`].
    pub(crate) fn due(&self, at: Instant) -> Instant {
        let is_repeat = is_repeat(1, self.upstreams.len());
        let waits = Waits::new(
            self.upstream(),
            Transport::Udp,
            self.attempt.round,
            is_repeat,
            at,
        );
        waits.due().min(at + MAX_WAIT)
    }

    /// Takes in that it was sent.
    pub(crate) fn begin(&self) {
        self.stanza.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether an answer with this code ends the question, so that no other
    /// upstream need be asked.
    pub(crate) fn is_final(&self, rcode: Rcode) -> bool {
        // Codes above 15 are about EDNS and this hop, and FORMERR may be about
        // the OPT.
        rcode.0 <= 15
            && !matches!(rcode, Rcode::FORMERR | Rcode::SERVFAIL)
            && !self.stanza.config.failover.contains(&rcode)
    }

    /// Takes in that an answer has ended the question.
    pub(crate) fn end(&self) {
        self.stanza.hedging.query();
    }
}

// === impl Slot ===

impl<'a> Slot<'a> {
    /// Counts one more.
    fn take(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Longest that an answer is waited for before others are asked to wait for it.
const MAX_WAIT: Duration = Duration::from_millis(250);

/// What a plan goes by.
fn candidates(
    upstreams: &[Arc<Upstream>],
    question: &Question,
    now: Instant,
) -> SmallVec<[Candidate; 4]> {
    let candidate = |upstream: &Arc<Upstream>| upstream.candidate(question, now);
    upstreams.iter().map(candidate).collect()
}

/// The upstreams for some targets. What was known of one is kept.
fn upstreams(
    targets: &[Target],
    known: &[Arc<Upstream>],
    settings: &Arc<Settings>,
    context: &Context,
) -> Vec<Arc<Upstream>> {
    targets
        .iter()
        .take(MAX_UPSTREAMS)
        .map(|target| match known.iter().find(|u| u.target() == target) {
            Some(upstream) => Arc::clone(upstream),
            None => Arc::new(Upstream::new(target.clone(), Arc::clone(settings), context)),
        })
        .collect()
}

/// Follows files and host names until the stanza is dropped.
async fn upkeep(
    forward: Weak<Forward>,
    mut origins: Vec<Origin>,
    token: CancellationToken,
    context: Context,
) {
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(CHECK_EVERY) => {}
        }
        let mut changed = false;
        let Some(forward) = forward.upgrade() else {
            return;
        };
        for origin in &mut origins {
            changed |= origin.check(&forward.config).await;
        }
        let known = forward.upstreams.load_full();
        for upstream in known.iter() {
            upstream.tidy().await;
        }
        if changed {
            let now = upstreams(&targets(&origins), &known, &forward.settings, &context);
            forward.upstreams.store(Arc::new(now));
        }
    }
}

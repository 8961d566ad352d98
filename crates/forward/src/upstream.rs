//! One server that queries are sent to.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use portolan_proto::Class;
use portolan_proto::Flags;
use portolan_proto::Message;
use portolan_proto::Rcode;
use portolan_proto::Rtype;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Config;
use crate::Context;
use crate::DohMethod;
use crate::Question;
use crate::Transport;
use crate::dial::Dialer;
use crate::dial::Handshake;
use crate::error::Cause;
use crate::error::ExchangeError;
use crate::error::Step;
use crate::health::Change;
use crate::health::Health;
use crate::health::SharedHealth;
use crate::https::Https;
use crate::lapse::Lapse;
use crate::lines::Limits;
use crate::lines::Lines;
use crate::measured::Measured;
use crate::metrics::UpstreamMetrics;
use crate::policy::Candidate;
use crate::policy::RoundTrip;
use crate::pool::Pool;
use crate::sockets::Connected;
use crate::sockets::Sockets;
use crate::stream::Exchanged;
use crate::stream::Streamed;
use crate::target::Proof;
use crate::target::Protection;
use crate::target::Target;
use crate::udp;
use crate::udp::Begun;
use crate::udp::Link;
use crate::udp::Manner;

/// The longest TTL there is (RFC 2181 §8).
const MAX_TTL: u32 = 0x7fff_ffff;

/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that queries are sent to, and what is known of it.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Where it is and how it is asked.
    target: Target,
    /// Address and port, as text.
    label: Arc<str>,
    /// What all upstreams of the stanza share.
    settings: Arc<Settings>,
    /// Health.
    health: SharedHealth,
    /// Rung when a probe may be due sooner than whoever waits for it thinks.
    failure: Arc<Notify>,
    /// Rung when it refuses what is sent to it over UDP.
    refusal: Notify,
    /// How often it has.
    refusals: AtomicU64,
    /// Smoothed round trip over UDP and over TCP.
    round_trips: [Measured; 2],
    /// Its UDP sockets.
    pool: Pool,
    /// Its connections.
    connections: Connections,
    /// Whether it does not read an OPT.
    lacks_edns: Lapse,
    /// Whether it does not give back a name as it was spelled.
    lacks_spelling: Lapse,
    /// Whether it was logged that this host lacks what a query needs.
    is_lack_told: AtomicBool,
    /// Whether it was logged lately that it asks this server in turn.
    loop_told: Lapse,
    /// Metrics.
    metrics: UpstreamMetrics,
}

/// The connections to an upstream.
#[derive(Debug)]
enum Connections {
    /// TCP or TLS.
    Stream(Streamed),
    /// HTTPS.
    Https(Https),
}

/// What the upstreams of one stanza share.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Always TCP.
    force_tcp: bool,
    /// UDP first.
    prefer_udp: bool,
    /// Names spelled by chance over UDP.
    case_randomization: bool,
    /// Address to send from.
    source: Option<IpAddr>,
    /// Bounds of the connections.
    limits: Limits,
    /// How DNS over HTTPS asks.
    doh_method: DohMethod,
    /// Probes that may fail.
    max_fails: u32,
    /// Time between probes.
    interval: Duration,
    /// Whether SERVFAIL is no sign of life.
    is_strict: bool,
    /// What a probe asks.
    probe: Question,
    /// The UDP sockets that are open.
    sockets: Sockets,
    /// Where probing runs.
    tracker: TaskTracker,
    /// Ends probing.
    token: CancellationToken,
}

// === impl Upstream ===

impl Upstream {
    /// A server that has not been asked yet.
    pub(crate) fn new(target: Target, settings: Arc<Settings>, context: &Context) -> Self {
        let metrics = context.families.upstream(&target);
        let link = Link {
            peer: target.addr,
            source: settings.source,
        };
        Self {
            label: target.addr.to_string().into(),
            pool: Pool::new(link, settings.sockets.clone()),
            connections: Connections::new(&target, &settings, &metrics),
            health: SharedHealth::new(Health::new(settings.max_fails, settings.interval)),
            failure: Arc::default(),
            refusal: Notify::new(),
            refusals: AtomicU64::new(0),
            round_trips: Default::default(),
            lacks_edns: Lapse::default(),
            lacks_spelling: Lapse::default(),
            is_lack_told: AtomicBool::new(false),
            loop_told: Lapse::default(),
            metrics,
            settings,
            target,
        }
    }

    /// Where it is and how it is asked.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Address and port, as text.
    pub(crate) fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Its smoothed round trip on a transport.
    pub(crate) fn round_trip(&self, transport: Transport) -> Option<RoundTrip> {
        self.round_trips[transport as usize].known()
    }

    /// What a plan goes by.
    pub(crate) fn candidate(&self, question: &Question, now: Instant) -> Candidate {
        Candidate {
            standing: self.health.standing(now.into_std()),
            round_trip: self
                .round_trip(self.transport(question))
                .map(|known| known.smoothed),
        }
    }

    /// Counts a query that went to another upstream too, because this one is
    /// slow.
    pub(crate) fn hedged(&self) {
        self.metrics.hedged();
    }

    /// Asks a question, unless that was `begun`, and waits for its answer until
    /// `deadline`, on a new socket where the question is asked `anew`. What
    /// comes of it counts for health, but for a failure on a transport that is
    /// not the question's: not everybody has TCP.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        question: &Question,
        transport: Transport,
        anew: bool,
        begun: Option<Box<Begun>>,
        deadline: Instant,
    ) -> Result<Message, ExchangeError> {
        let started = match &begun {
            Some(begun) => begun.started,
            None => {
                self.metrics.sent();
                Instant::now()
            }
        };
        let exchanged = self.exchange(question, transport, anew, begun, deadline);
        let result = exchanged.await;
        let taken = started.elapsed();
        match &result {
            Ok(message) => {
                self.metrics.answered(message.rcode(), taken);
                self.heard(message, transport, taken);
            }
            Err(error) if error.is_answer() => self.answered(),
            Err(error) if error.is_local() => self.tell_lack(error),
            Err(error) => {
                tracing::debug!(plugin = "forward", to = %self.label, %error, "exchange failed");
                if transport == self.transport(question) {
                    self.failed();
                    self.tell_refusal(error);
                }
            }
        }
        result
    }

    /// Takes in an answer and how long it has taken.
    fn heard(self: &Arc<Self>, message: &Message, transport: Transport, taken: Duration) {
        self.round_trips[transport as usize].add(taken);
        if self.settings.is_strict && message.rcode() == Rcode::SERVFAIL {
            // It may be the name's fault: a probe will tell.
            self.failed();
        } else {
            self.answered();
        }
        self.is_lack_told.store(false, Ordering::Relaxed);
    }

    /// Whether a question is asked here in the ordinary way: over UDP, with an
    /// OPT, as the client spelled it.
    pub(crate) fn is_ordinary_for(&self, question: &Question, now: Instant) -> bool {
        question.transport == Transport::Udp
            && self.transport(question) == Transport::Udp
            && !self.settings.prefer_udp
            && !self.settings.case_randomization
            && !self.lacks_edns.is_known(now.into_std())
    }

    /// A new socket to it.
    pub(crate) fn connect(&self) -> io::Result<Connected> {
        self.pool.link().connect(&self.settings.sockets)
    }

    /// Whether there is room for another idle socket.
    pub(crate) fn has_room(&self) -> bool {
        self.settings.sockets.has_room()
    }

    /// Its metrics.
    pub(crate) fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }

    /// How often idle sockets to it have turned out to be of no use.
    pub(crate) fn voids(&self) -> u64 {
        self.pool.voids()
    }

    /// Has no socket be used again that was opened up to now.
    pub(crate) fn void(&self) {
        self.pool.void();
    }

    /// Takes in that a lane, which counts for itself, had an answer of it, after
    /// what `udp::exchange` and [`Self::exchange`] make of one.
    pub(crate) fn heard_by_lane(self: &Arc<Self>, message: &mut Message, taken: Duration) {
        bound_ttls(message);
        self.heard(message, Transport::Udp, taken);
    }

    /// Asks whether it has anything to say to a question, until `deadline`.
    /// That does not count for health.
    pub(crate) async fn responds(&self, question: &Question, deadline: Instant) -> bool {
        let transport = self.transport(question);
        let exchange = self.exchange(question, transport, true, None, deadline);
        exchange.await.is_ok()
    }

    /// Takes in that it asks this server what it is asked. Logged once in a
    /// while.
    pub(crate) fn looped(&self) {
        self.metrics.looped();
        let now = Instant::now().into_std();
        if !self.loop_told.is_known(now) {
            self.loop_told.found(now);
            tracing::warn!(plugin = "forward", to = %self.label, "forwarding loop: upstream asks this server what it is asked");
        }
    }

    /// Takes in that a query failed or takes too long, and has the upstream
    /// probed.
    pub(crate) fn failed(self: &Arc<Self>) {
        let now = Instant::now().into_std();
        let is_unwatched = self.health.change(|health| health.failed(now));
        self.have_watched(is_unwatched);
    }

    /// Takes in that the answer to a query is overdue, and has the upstream
    /// probed. If it is gone, [`Self::refusal`] says so.
    pub(crate) fn doubted(self: &Arc<Self>) {
        let now = Instant::now().into_std();
        let is_unwatched = self.health.change(|health| health.doubted(now));
        self.have_watched(is_unwatched);
    }

    /// Waits until the upstream refuses a query or a probe over UDP.
    pub(crate) async fn refusal(&self) {
        self.refusal.notified().await;
    }

    /// How often it has done so.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Sees to it that somebody sends the probe that is due.
    fn have_watched(self: &Arc<Self>, is_unwatched: bool) {
        if is_unwatched {
            let (failure, token) = (Arc::clone(&self.failure), self.settings.token.clone());
            let watch = watch(Arc::downgrade(self), failure, token);
            self.settings.tracker.spawn(watch);
        } else {
            self.failure.notify_one();
        }
    }

    /// Tells those who wait for it that it refuses what is sent over UDP.
    fn tell_refusal(&self, error: &ExchangeError) {
        if error.is_refusal() {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            self.refusal.notify_waiters();
        }
    }

    /// Takes in that a query failed at once because all upstreams are down.
    pub(crate) fn missed(&self) {
        let now = Instant::now().into_std();
        if self.health.change(|health| health.missed(now)) {
            self.failure.notify_one();
        }
    }

    /// Takes in that it responded.
    fn answered(&self) {
        let change = self.health.answered();
        self.tell(change, None);
    }

    /// Exchanges on a transport.
    async fn exchange(
        &self,
        question: &Question,
        transport: Transport,
        anew: bool,
        begun: Option<Box<Begun>>,
        deadline: Instant,
    ) -> Result<Message, ExchangeError> {
        let (mut message, network) = match transport {
            Transport::Udp => (self.over_udp(question, anew, begun, deadline).await?, "udp"),
            Transport::Tcp => (self.over_connection(question, deadline).await?, "tcp"),
        };
        // RFC 6895 §2.3: codes above 15 are about EDNS and this hop.
        if message.rcode().0 > 15 {
            return Err(ExchangeError {
                step: Step::Read,
                network,
                local: None,
                peer: self.target.addr,
                cause: Cause::HopRcode(message.rcode()),
            });
        }
        bound_ttls(&mut message);
        Ok(message)
    }

    /// The transport that settings and client ask for.
    pub(crate) fn transport(&self, question: &Question) -> Transport {
        // What is encrypted goes over connections, and nothing else ever does.
        if self.settings.force_tcp || self.target.protection != Protection::None {
            Transport::Tcp
        } else if self.settings.prefer_udp {
            Transport::Udp
        } else {
            question.transport
        }
    }

    /// Exchanges over UDP. A truncated answer is for the client to see, who
    /// asks again over TCP, unless the client is not to know of it.
    async fn over_udp(
        &self,
        question: &Question,
        anew: bool,
        mut begun: Option<Box<Begun>>,
        deadline: Instant,
    ) -> Result<Message, ExchangeError> {
        let now = Instant::now().into_std();
        let exact = self.settings.case_randomization
            && begun.is_none()
            && !self.lacks_spelling.is_known(now);
        let respelled = exact.then(|| Box::new(question.in_random_case()));
        let question = respelled.as_deref().unwrap_or(question);
        let offers_edns = begun.is_some() || !self.lacks_edns.is_known(now);
        let mut edns = offers_edns;
        let exchanged = loop {
            let manner = Manner { edns, exact, anew };
            match udp::exchange(&self.pool, question, manner, begun.take(), deadline).await {
                // RFC 6891 §7: FORMERR to an OPT; ask again without.
                Err(error) if edns && matches!(error.cause, Cause::NoEdns) => edns = false,
                exchanged => break exchanged,
            }
        };
        let message = match exchanged {
            // Whoever spelled it, nobody can forge what comes over TCP.
            Err(error) if matches!(error.cause, Cause::Spelling) => {
                let message = self.over_connection(question, deadline).await?;
                if !question.is_spelled_by(message.wire()) {
                    self.lacks_spelling.found(now);
                }
                message
            }
            exchanged => {
                let Exchanged { message, reused } = exchanged?;
                self.metrics.datagrams(reused);
                if offers_edns && !edns {
                    self.lacks_edns.found(now);
                }
                message
            }
        };
        if self.settings.prefer_udp && message.flags().has(Flags::TRUNCATED) {
            return self.over_connection(question, deadline).await;
        }
        Ok(message)
    }

    /// Exchanges over a connection. Boxed: that is large, and most queries that
    /// wait do without.
    fn over_connection<'a>(
        &'a self,
        question: &'a Question,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Message, ExchangeError>> {
        let exchange = move |edns| self.connections.exchange(question, edns, deadline);
        Box::pin(async move {
            let now = Instant::now().into_std();
            let exchanged = match exchange(!self.lacks_edns.is_known(now)).await {
                Err(error) if matches!(error.cause, Cause::NoEdns) => {
                    let exchanged = exchange(false).await?;
                    self.lacks_edns.found(now);
                    exchanged
                }
                other => other?,
            };
            self.metrics.connected(exchanged.reused);
            Ok(exchanged.message)
        })
    }

    /// Closes idle sockets that are not to be used again.
    pub(crate) async fn tidy(&self) {
        self.pool.tidy().await;
    }

    /// Sends a probe and takes in what comes of it.
    async fn probe(&self) {
        let deadline = Instant::now() + PROBE_TIMEOUT;
        let question = &self.settings.probe;
        let result = match self.transport(question) {
            Transport::Tcp => self.connections.probe(question, deadline).await,
            Transport::Udp => udp::probe(&self.pool, question, deadline).await,
        };
        let result = match result {
            Ok(Rcode::SERVFAIL) if self.settings.is_strict => Err(ExchangeError {
                step: Step::Read,
                network: self.target.network(self.transport(question)),
                local: None,
                peer: self.target.addr,
                cause: Cause::Unwell(Rcode::SERVFAIL),
            }),
            other => other,
        };
        if let Err(error) = &result {
            // A lack of descriptors here proves nothing there.
            if error.is_local() {
                return;
            }
            tracing::debug!(plugin = "forward", to = %self.label, %error, "probe failed");
            self.metrics.probe_failed();
            self.tell_refusal(error);
        }
        let change = self.health.change(|health| health.probed(result.is_ok()));
        self.tell(change, result.err().map(|error| error.cause));
    }

    /// Logs that there is no socket for a query: once until there is.
    fn tell_lack(&self, error: &ExchangeError) {
        if self.is_lack_told.swap(true, Ordering::Relaxed) {
            tracing::debug!(plugin = "forward", %error, "no socket for a query");
        } else {
            tracing::warn!(plugin = "forward", %error, "no socket for queries");
        }
    }

    /// Logs that it went down, and why, or came back.
    fn tell(&self, change: Change, cause: Option<Cause>) {
        match change {
            Change::None => {}
            Change::Down => {
                let cause = cause.map(|cause| cause.to_string()).unwrap_or_default();
                tracing::warn!(plugin = "forward", to = %self.label, cause, "upstream is down");
            }
            Change::Up => {
                tracing::info!(plugin = "forward", to = %self.label, "upstream is up again");
            }
        }
    }
}

// === impl Connections ===

impl Connections {
    /// None yet.
    fn new(target: &Target, settings: &Settings, metrics: &UpstreamMetrics) -> Self {
        let link = Link {
            peer: target.addr,
            source: settings.source,
        };
        let (tracker, token) = (settings.tracker.clone(), settings.token.clone());
        let dialer = |proof: Option<&Proof>| Dialer {
            link,
            handshake: proof.map(|proof| Handshake {
                proof: proof.clone(),
                metrics: metrics.handshakes().clone(),
            }),
        };
        let proof = match &target.protection {
            Protection::None => None,
            Protection::Tls(proof) => Some(proof),
            Protection::Https(proof) => {
                return Self::Https(Https::new(
                    dialer(Some(proof)),
                    &proof.server_name,
                    settings.doh_method,
                    settings.limits,
                    tracker,
                    token,
                ));
            }
        };
        let lines = Lines::new(settings.limits);
        Self::Stream(Streamed::new(dialer(proof), lines, tracker, token))
    }

    /// Asks a question and waits for its response until `deadline`.
    async fn exchange(
        &self,
        question: &Question,
        edns: bool,
        deadline: Instant,
    ) -> Result<Exchanged, ExchangeError> {
        match self {
            Self::Stream(stream) => stream.exchange(question, edns, deadline).await,
            Self::Https(https) => https.exchange(question, edns, deadline).await,
        }
    }

    /// Asks on a new connection and waits until `deadline` for any response.
    async fn probe(&self, question: &Question, deadline: Instant) -> Result<Rcode, ExchangeError> {
        match self {
            Self::Stream(stream) => stream.probe(question, deadline).await,
            Self::Https(https) => https.probe(question, deadline).await,
        }
    }
}

// === impl Settings ===

impl Settings {
    /// Takes what concerns upstreams from the settings of a stanza.
    pub(crate) fn new(config: &Config, context: &Context, token: CancellationToken) -> Self {
        let mut probe = Question::new(&config.health_check.domain, Rtype::NS, Class::IN);
        probe.recursion_desired = !config.health_check.no_rec;
        Self {
            force_tcp: config.force_tcp,
            prefer_udp: config.prefer_udp,
            case_randomization: config.case_randomization,
            source: config.source_address,
            limits: Limits {
                expire: config.expire,
                max_age: config.max_age,
                max_idle: config.max_idle_conns,
            },
            doh_method: config.doh_method,
            max_fails: config.max_fails,
            interval: config.health_check.interval,
            is_strict: config.health_check.strict,
            probe,
            sockets: context.sockets.clone(),
            tracker: context.tracker.clone(),
            token,
        }
    }
}

/// RFC 2181 §8: a TTL with the most significant bit set is 0.
fn bound_ttls(message: &mut Message) {
    if message.records().any(|record| record.ttl > MAX_TTL) {
        message.map_ttls(|ttl| if ttl > MAX_TTL { 0 } else { ttl });
    }
}

/// Probes an upstream until it responds, is no longer in use, or the stanza
/// ends. A `failure` may call for a probe before the next one in line.
async fn watch(upstream: Weak<Upstream>, failure: Arc<Notify>, token: CancellationToken) {
    loop {
        let due = match upstream.upgrade() {
            Some(upstream) => upstream.health.change(Health::poll_timeout),
            None => None,
        };
        let Some(due) = due else {
            return;
        };
        tokio::select! {
            () = token.cancelled() => return,
            () = failure.notified() => continue,
            () = tokio::time::sleep_until(due.into()) => {}
        }
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        let now = Instant::now().into_std();
        let jitter = rand::random();
        let is_due = |health: &mut Health| health.handle_timeout(now, jitter);
        if upstream.health.change(is_due) {
            upstream.probe().await;
        }
    }
}

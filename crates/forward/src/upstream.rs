//! One server that queries are sent to.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portolan_proto::Class;
use portolan_proto::Flags;
use portolan_proto::Message;
use portolan_proto::Rtype;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Config;
use crate::Context;
use crate::Question;
use crate::Transport;
use crate::error::Cause;
use crate::error::ExchangeError;
use crate::error::Step;
use crate::health::Change;
use crate::health::Health;
use crate::metrics::UpstreamMetrics;
use crate::policy::Standing;
use crate::pool::Limits;
use crate::pool::Pool;
use crate::tcp;
use crate::udp;
use crate::udp::Link;

/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that queries are sent to, and what is known of it.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Address and port.
    addr: SocketAddr,
    /// The same, as text.
    label: Arc<str>,
    /// What all upstreams of the stanza share.
    settings: Arc<Settings>,
    /// Health.
    health: Mutex<Health>,
    /// Rung when a probe may be due sooner than whoever waits for it thinks.
    failure: Arc<Notify>,
    /// Smoothed round trip over UDP and over TCP.
    round_trips: [RoundTrip; 2],
    /// Idle TCP connections.
    pool: Pool<TcpStream>,
    /// Whether it was logged that this host lacks what a query needs.
    is_lack_told: AtomicBool,
    /// Metrics.
    metrics: UpstreamMetrics,
}

/// What the upstreams of one stanza share.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Always TCP.
    force_tcp: bool,
    /// UDP first.
    prefer_udp: bool,
    /// Address to send from.
    source: Option<IpAddr>,
    /// Bounds of the connections.
    limits: Limits,
    /// Probes that may fail.
    max_fails: u32,
    /// Time between probes.
    interval: Duration,
    /// What a probe asks.
    probe: Question,
    /// Where probing runs.
    tracker: TaskTracker,
    /// Ends probing.
    token: CancellationToken,
}

/// A smoothed round trip (RFC 6298 §2): each new one counts an eighth.
#[derive(Debug, Default)]
struct RoundTrip {
    /// In microseconds; 0 before the first.
    micros: AtomicU32,
}

// === impl Upstream ===

impl Upstream {
    /// A server that has not been asked yet.
    pub(crate) fn new(addr: SocketAddr, settings: Arc<Settings>, context: &Context) -> Self {
        Self {
            addr,
            label: addr.to_string().into(),
            health: Mutex::new(Health::new(settings.max_fails, settings.interval)),
            failure: Arc::default(),
            round_trips: Default::default(),
            pool: Pool::new(settings.limits),
            is_lack_told: AtomicBool::new(false),
            metrics: context.families.upstream(addr),
            settings,
        }
    }

    /// Address and port.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Address and port, as text.
    pub(crate) fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// How it stands.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        self.health().standing(now.into_std())
    }

    /// Its smoothed round trip on the transport that a question takes.
    pub(crate) fn round_trip(&self, question: &Question) -> Option<Duration> {
        self.round_trips[self.transport(question) as usize].smoothed()
    }

    /// Drops idle connections that are past their time.
    pub(crate) fn sweep(&self, now: Instant) {
        self.pool.sweep(now.into_std());
    }

    /// Asks a question and waits for its answer until `deadline`. What comes
    /// of it counts for health.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        question: &Question,
        deadline: Instant,
    ) -> Result<Message, ExchangeError> {
        let started = Instant::now();
        self.metrics.sent();
        let result = self.exchange(question, deadline).await;
        let taken = started.elapsed();
        match &result {
            Ok(message) => {
                self.round_trips[self.transport(question) as usize].add(taken);
                self.metrics.answered(message.rcode(), taken);
                self.answered();
                self.is_lack_told.store(false, Ordering::Relaxed);
            }
            Err(error) if error.is_answer() => self.answered(),
            Err(error) if error.is_local() => self.tell_lack(error),
            Err(error) => {
                tracing::debug!(plugin = "forward", to = %self.label, %error, "exchange failed");
                self.failed();
            }
        }
        result
    }

    /// Takes in that a query failed or takes too long, and has the upstream
    /// probed.
    pub(crate) fn failed(self: &Arc<Self>) {
        if self.health().failed(Instant::now().into_std()) {
            let (failure, token) = (Arc::clone(&self.failure), self.settings.token.clone());
            let watch = watch(Arc::downgrade(self), failure, token);
            self.settings.tracker.spawn(watch);
        } else {
            self.failure.notify_one();
        }
    }

    /// Takes in that it responded.
    fn answered(&self) {
        let change = self.health().answered();
        self.tell(change);
    }

    /// Exchanges on the transport that settings and client ask for.
    async fn exchange(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> Result<Message, ExchangeError> {
        let (message, network) = match self.transport(question) {
            Transport::Udp => (self.over_udp(question, deadline).await?, "udp"),
            Transport::Tcp => (self.over_tcp(question, deadline).await?, "tcp"),
        };
        // RFC 6895 §2.3: codes above 15 are about EDNS and this hop.
        if message.rcode().0 > 15 {
            return Err(ExchangeError {
                step: Step::Read,
                network,
                local: None,
                peer: self.addr,
                cause: Cause::HopRcode(message.rcode()),
            });
        }
        Ok(message)
    }

    /// The transport a question takes.
    fn transport(&self, question: &Question) -> Transport {
        if self.settings.force_tcp {
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
        deadline: Instant,
    ) -> Result<Message, ExchangeError> {
        self.metrics.udp();
        let link = self.link();
        let message = match udp::exchange(link, question, true, deadline).await {
            // RFC 6891 §7: FORMERR to an OPT; ask again without.
            Err(error) if matches!(error.cause, Cause::NoEdns) => {
                udp::exchange(link, question, false, deadline).await?
            }
            other => other?,
        };
        if self.settings.prefer_udp && message.flags().has(Flags::TRUNCATED) {
            return self.over_tcp(question, deadline).await;
        }
        Ok(message)
    }

    /// Exchanges over TCP.
    async fn over_tcp(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> Result<Message, ExchangeError> {
        let link = self.link();
        let exchanged = match tcp::exchange(link, &self.pool, question, true, deadline).await {
            Err(error) if matches!(error.cause, Cause::NoEdns) => {
                tcp::exchange(link, &self.pool, question, false, deadline).await?
            }
            other => other?,
        };
        self.metrics.tcp(exchanged.reused);
        Ok(exchanged.message)
    }

    /// Sends a probe and takes in what comes of it.
    async fn probe(&self) {
        let deadline = Instant::now() + PROBE_TIMEOUT;
        let question = &self.settings.probe;
        let result = if self.settings.force_tcp {
            tcp::probe(self.link(), question, deadline).await
        } else {
            udp::probe(self.link(), question, deadline).await
        };
        if let Err(error) = &result {
            // A lack of descriptors here proves nothing there.
            if error.is_local() {
                return;
            }
            tracing::debug!(plugin = "forward", to = %self.label, %error, "probe failed");
            self.metrics.probe_failed();
        }
        let change = self.health().probed(result.is_ok());
        self.tell(change);
    }

    /// Logs that there is no socket for a query: once until there is.
    fn tell_lack(&self, error: &ExchangeError) {
        if self.is_lack_told.swap(true, Ordering::Relaxed) {
            tracing::debug!(plugin = "forward", %error, "no socket for a query");
        } else {
            tracing::warn!(plugin = "forward", %error, "no socket for queries");
        }
    }

    /// Logs that it went down or came back.
    fn tell(&self, change: Change) {
        match change {
            Change::None => {}
            Change::Down => {
                tracing::warn!(plugin = "forward", to = %self.label, "upstream is down");
            }
            Change::Up => {
                tracing::info!(plugin = "forward", to = %self.label, "upstream is up again");
            }
        }
    }

    /// The two ends of an exchange.
    fn link(&self) -> Link {
        Link {
            peer: self.addr,
            source: self.settings.source,
        }
    }

    /// The health.
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
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
            source: config.source_address,
            limits: Limits {
                expire: config.expire,
                max_age: config.max_age,
                max_idle: config.max_idle_conns,
            },
            max_fails: config.max_fails,
            interval: config.health_check.interval,
            probe,
            tracker: context.tracker.clone(),
            token,
        }
    }
}

// === impl RoundTrip ===

impl RoundTrip {
    /// The smoothed round trip.
    fn smoothed(&self) -> Option<Duration> {
        match self.micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros.into())),
        }
    }

    /// Takes in a round trip. Of two at the same time, one may be lost.
    fn add(&self, taken: Duration) {
        let taken = u32::try_from(taken.as_micros()).unwrap_or(u32::MAX);
        let smoothed = match self.micros.load(Ordering::Relaxed) {
            0 => taken,
            before => before - before / 8 + taken / 8,
        };
        self.micros.store(smoothed.max(1), Ordering::Relaxed);
    }
}

/// Probes an upstream until it responds, is no longer in use, or the stanza
/// ends. A `failure` may call for a probe before the next one in line.
async fn watch(upstream: Weak<Upstream>, failure: Arc<Notify>, token: CancellationToken) {
    loop {
        let due = match upstream.upgrade() {
            Some(upstream) => upstream.health().poll_timeout(),
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
        if upstream.health().handle_timeout(now, rand::random()) {
            upstream.probe().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_smoothed_by_an_eighth() {
        let round_trip = RoundTrip::default();
        assert_eq!(round_trip.smoothed(), None);
        round_trip.add(Duration::from_millis(8));
        assert_eq!(round_trip.smoothed(), Some(Duration::from_millis(8)));
        round_trip.add(Duration::from_millis(16));
        assert_eq!(round_trip.smoothed(), Some(Duration::from_millis(9)));
        round_trip.add(Duration::ZERO);
        assert!(round_trip.smoothed().is_some());
    }
}

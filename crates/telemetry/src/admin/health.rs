//! The server's own probe of `/health`.
//!
//! A process that is starved of processor time answers its own probe late; the
//! histogram shows it, and a warning says so.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{self, Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics::prometheus;

use super::routes::HEALTH;

/// What the probe measures.
#[derive(Debug, Clone)]
pub(super) struct HealthMetrics {
    /// How long the answers took.
    duration: Histogram,
    /// Probes without a right answer.
    failures: IntCounter,
}

/// Probes `/health` at regular intervals.
pub(super) struct SelfPoll {
    /// What it measures.
    metrics: HealthMetrics,
    /// Where `/health` is served now.
    targets: watch::Receiver<Vec<SocketAddr>>,
}

// === impl HealthMetrics ===

impl HealthMetrics {
    /// Creates and registers the families, which exist even when `/health` is
    /// not served.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let opts = HistogramOpts::new(
            "coredns_health_request_duration_seconds",
            "Histogram of the time (in seconds) each request took.",
        );
        let buckets = vec![0.00025, 0.0025, 0.025, 0.25, 2.5];
        let duration = Histogram::with_opts(opts.buckets(buckets))?;
        let failures = IntCounter::new(
            "coredns_health_request_failures_total",
            "The number of times the health check failed.",
        )?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(failures.clone()))?;
        Ok(Self { duration, failures })
    }
}

// === impl SelfPoll ===

impl SelfPoll {
    /// A probe of whatever `targets` holds.
    pub(super) fn new(metrics: HealthMetrics, targets: watch::Receiver<Vec<SocketAddr>>) -> Self {
        Self { metrics, targets }
    }

    /// Probes until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut ticks = time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let targets = self.targets.borrow().clone();
            for target in targets {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.poll(reachable(target)) => {}
                }
            }
        }
    }

    /// Probes one address.
    async fn poll(&self, target: SocketAddr) {
        let start = Instant::now();
        let outcome = time::timeout(POLL_TIMEOUT, request(target)).await;
        let elapsed = start.elapsed();
        self.metrics.duration.observe(elapsed.as_secs_f64());
        match outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            // The endpoint may have been closed meanwhile by a reload.
            Err(_)
                if !self
                    .targets
                    .borrow()
                    .iter()
                    .any(|&addr| reachable(addr) == target) => {}
            Err(error) => {
                self.metrics.failures.inc();
                warn!(
                    target: "plugin", plugin = "health", %error,
                    "Local health request to \"http://{target}{HEALTH}\" failed"
                );
            }
            Ok(()) if elapsed > SLOW => warn!(
                target: "plugin", plugin = "health", seconds = elapsed.as_secs_f64(),
                "Local health request to \"http://{target}{HEALTH}\" took more than 1s"
            ),
            Ok(()) => {}
        }
    }
}

/// Asks `target` for its health.
async fn request(target: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(target).await?;
    let request = format!("GET {HEALTH} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; STATUS_OK.len()];
    stream.read_exact(&mut head).await?;
    if head == *STATUS_OK {
        // Reading on would tell nothing more.
        Ok(())
    } else {
        Err(io::Error::other(
            String::from_utf8_lossy(&head).into_owned(),
        ))
    }
}

/// The address at which we reach a listener of our own.
fn reachable(local: SocketAddr) -> SocketAddr {
    let ip = match local.ip() {
        // A listener on all addresses of IPv6 takes IPv4 as well.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            Ipv4Addr::LOCALHOST.into()
        }
        ip => ip,
    };
    let mut target = local;
    target.set_ip(ip);
    target
}

/// The beginning of a good answer.
const STATUS_OK: &[u8; 12] = b"HTTP/1.1 200";

/// The time between two probes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// When a probe is given up.
const POLL_TIMEOUT: Duration = Duration::from_secs(3);

/// When a probe is worth a warning.
const SLOW: Duration = Duration::from_secs(1);

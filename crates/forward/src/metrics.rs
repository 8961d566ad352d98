//! Metrics of forwarding and caching, under the names dashboards know.

mod tally;

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use portolan_proto::Rcode;
use prometheus::Histogram;
use prometheus::HistogramOpts;
use prometheus::HistogramVec;
use prometheus::IntCounter;
use prometheus::IntCounterVec;
use prometheus::IntGauge;
use prometheus::IntGaugeVec;
use prometheus::Opts;
use prometheus::Registry;
use prometheus::core::Collector;

use crate::target::Protection;
use crate::target::Target;
pub(crate) use tally::UpstreamTally;

/// All metrics of this crate. Cloning shares them.
#[derive(Clone)]
pub struct Families {
    /// The families.
    inner: Arc<Inner>,
}

/// The families.
struct Inner {
    /// Queries that found every upstream down.
    broken: IntCounter,
    /// Queries refused for too many at once.
    rejects: IntCounter,
    /// Time to an answer.
    duration: HistogramVec,
    /// Failed probes.
    health_failures: IntCounterVec,
    /// Exchanges on a connection that was there.
    connection_hits: IntCounterVec,
    /// Exchanges on a new connection or socket.
    connection_misses: IntCounterVec,
    /// TLS handshakes made.
    handshakes: IntCounterVec,
    /// Queries sent to another upstream too.
    hedges: IntCounterVec,
    /// Questions that went round.
    loops: IntCounterVec,
    /// What dashboards of old look for.
    old: OldFamilies,
    /// Families of the cache.
    cache: CacheFamilies,
}

/// The families under the names that CoreDNS had before 1.11.
struct OldFamilies {
    /// Queries sent.
    requests: IntCounterVec,
    /// Answers.
    responses: IntCounterVec,
    /// Time to an answer.
    duration: HistogramVec,
    /// Failed probes.
    health_failures: IntCounterVec,
}

/// The families of the cache.
struct CacheFamilies {
    /// Entries held.
    entries: IntGaugeVec,
    /// Octets that they take.
    size: IntGaugeVec,
    /// Answers from the cache.
    hits: IntCounterVec,
    /// Entries that had to make room.
    evictions: IntCounterVec,
    /// Questions put to the cache.
    requests: IntCounterVec,
    /// Questions it had no answer to.
    misses: IntCounterVec,
    /// Refreshes before expiry.
    prefetches: IntCounterVec,
    /// Responses not kept because they answer another question.
    drops: IntCounterVec,
    /// Answers from expired entries.
    stale: IntCounterVec,
}

/// Handles of one upstream.
#[derive(Debug)]
pub(crate) struct UpstreamMetrics {
    /// The families, for the codes met for the first time.
    families: Families,
    /// The upstream as `address:port`.
    to: Arc<str>,
    /// Queries sent.
    requests: IntCounter,
    /// Failed probes, under both names.
    health_failures: [IntCounter; 2],
    /// Exchanges on a connection that was there.
    connection_hits: IntCounter,
    /// Exchanges on a new connection.
    connection_misses: IntCounter,
    /// Exchanges over UDP, on a socket that was used before and on a new one.
    datagrams: [IntCounter; 2],
    /// TLS handshakes.
    handshakes: HandshakeMetrics,
    /// Queries sent to another upstream too.
    hedges: IntCounter,
    /// Questions that went round.
    loops: IntCounter,
    /// By response code.
    answers: [OnceLock<AnswerMetrics>; 16],
}

/// Handles of the TLS handshakes with one upstream.
#[derive(Clone, Debug)]
pub(crate) struct HandshakeMetrics {
    /// With certificates.
    full: IntCounter,
    /// Of a session that was resumed.
    resumed: IntCounter,
}

/// Handles of one upstream and response code.
#[derive(Debug)]
struct AnswerMetrics {
    /// Answers.
    responses: IntCounter,
    /// Time to an answer, under both names.
    durations: [Histogram; 2],
}

/// Handles of one cache.
#[derive(Clone, Debug)]
pub(crate) struct CacheMetrics {
    /// Of the positive answers.
    pub(crate) success: StoreMetrics,
    /// Of the negative answers.
    pub(crate) denial: StoreMetrics,
    /// Questions.
    pub(crate) requests: IntCounter,
    /// Questions without an answer.
    pub(crate) misses: IntCounter,
    /// Refreshes before expiry.
    pub(crate) prefetches: IntCounter,
    /// Responses that answer another question.
    pub(crate) drops: IntCounter,
    /// Answers from expired entries.
    pub(crate) stale: IntCounter,
}

/// Handles of one half of a cache.
#[derive(Clone, Debug)]
pub(crate) struct StoreMetrics {
    /// Entries held.
    pub(crate) entries: IntGauge,
    /// Octets that they take.
    pub(crate) size: IntGauge,
    /// Answers.
    pub(crate) hits: IntCounter,
    /// Entries that made room.
    pub(crate) evictions: IntCounter,
}

// === impl Families ===

impl Families {
    /// Registers the families, once per registry.
    ///
    /// # Errors
    ///
    /// If a family of the same name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let inner = Inner {
            broken: keep(
                registry,
                IntCounter::new(
                    "coredns_forward_healthcheck_broken_total",
                    "Queries that found all upstreams down.",
                )?,
            )?,
            rejects: keep(
                registry,
                IntCounter::new(
                    "coredns_forward_max_concurrent_rejects_total",
                    "Queries refused because too many were waiting for upstreams.",
                )?,
            )?,
            duration: histogram(
                registry,
                "coredns_proxy_request_duration_seconds",
                "Time an upstream took to answer.",
                &["proxy_name", "to", "rcode"],
            )?,
            health_failures: counters(
                registry,
                "coredns_proxy_healthcheck_failures_total",
                "Failed probes of an upstream.",
                &["proxy_name", "to"],
            )?,
            connection_hits: counters(
                registry,
                "coredns_proxy_conn_cache_hits_total",
                "Queries sent on a socket or connection that was open already.",
                &["proxy_name", "to", "proto"],
            )?,
            connection_misses: counters(
                registry,
                "coredns_proxy_conn_cache_misses_total",
                "Queries sent on a new socket or connection.",
                &["proxy_name", "to", "proto"],
            )?,
            handshakes: counters(
                registry,
                "portolan_forward_tls_handshakes_total",
                "TLS handshakes made with an upstream.",
                &["to", "kind"],
            )?,
            hedges: counters(
                registry,
                "portolan_forward_hedges_total",
                "Queries sent to another upstream because this one was slow.",
                &["to"],
            )?,
            loops: counters(
                registry,
                "portolan_forward_loops_total",
                "Questions that an upstream asked this server in turn.",
                &["to"],
            )?,
            old: OldFamilies::register(registry)?,
            cache: CacheFamilies::register(registry)?,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Counts a query that found every upstream down.
    pub(crate) fn broken(&self) {
        self.inner.broken.inc();
    }

    /// Counts a query that was refused for too many at once.
    pub(crate) fn rejected(&self) {
        self.inner.rejects.inc();
    }

    /// Handles of one upstream.
    pub(crate) fn upstream(&self, target: &Target) -> UpstreamMetrics {
        let to = target.addr.to_string();
        let inner = &self.inner;
        let proto = match target.protection {
            Protection::None => "tcp",
            Protection::Tls(_) => "tcp-tls",
            Protection::Https(_) => "https",
        };
        let connections =
            |family: &IntCounterVec, proto| family.with_label_values(&[PROXY, &to, proto]);
        let handshakes = |kind| match target.protection {
            // No series for what there is none of.
            Protection::None => nothing(),
            Protection::Tls(_) | Protection::Https(_) => {
                inner.handshakes.with_label_values(&[to.as_str(), kind])
            }
        };
        UpstreamMetrics {
            requests: inner.old.requests.with_label_values(&[&to]),
            health_failures: [
                inner.health_failures.with_label_values(&[PROXY, &to]),
                inner.old.health_failures.with_label_values(&[&to]),
            ],
            connection_hits: connections(&inner.connection_hits, proto),
            connection_misses: connections(&inner.connection_misses, proto),
            datagrams: match target.protection {
                Protection::None => [&inner.connection_hits, &inner.connection_misses]
                    .map(|family| connections(family, "udp")),
                Protection::Tls(_) | Protection::Https(_) => [nothing(), nothing()],
            },
            handshakes: HandshakeMetrics {
                full: handshakes("full"),
                resumed: handshakes("resumed"),
            },
            hedges: inner.hedges.with_label_values(&[&to]),
            loops: inner.loops.with_label_values(&[&to]),
            answers: Default::default(),
            families: self.clone(),
            to: to.into(),
        }
    }

    /// Handles of one cache.
    pub(crate) fn cache(&self, server: &str, zones: &str, view: &str) -> CacheMetrics {
        let families = &self.inner.cache;
        let labels = [server, zones, view];
        let store = |kind| {
            let labels = [server, kind, zones, view];
            StoreMetrics {
                entries: families.entries.with_label_values(&labels),
                size: families.size.with_label_values(&labels),
                hits: families.hits.with_label_values(&labels),
                evictions: families.evictions.with_label_values(&labels),
            }
        };
        CacheMetrics {
            success: store("success"),
            denial: store("denial"),
            requests: families.requests.with_label_values(&labels),
            misses: families.misses.with_label_values(&labels),
            prefetches: families.prefetches.with_label_values(&labels),
            drops: families.drops.with_label_values(&labels),
            stale: families.stale.with_label_values(&labels),
        }
    }
}

impl fmt::Debug for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Families").finish_non_exhaustive()
    }
}

// === impl OldFamilies ===

impl OldFamilies {
    /// Registers the families.
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name, help, labels: &[&str]| counters(registry, name, help, labels);
        Ok(Self {
            requests: counters(
                "coredns_forward_requests_total",
                "Queries sent to an upstream.",
                &["to"],
            )?,
            responses: counters(
                "coredns_forward_responses_total",
                "Answers of an upstream.",
                &["to", "rcode"],
            )?,
            duration: histogram(
                registry,
                "coredns_forward_request_duration_seconds",
                "Time an upstream took to answer.",
                &["to", "rcode"],
            )?,
            health_failures: counters(
                "coredns_forward_healthcheck_failures_total",
                "Failed probes of an upstream.",
                &["to"],
            )?,
        })
    }
}

// === impl CacheFamilies ===

impl CacheFamilies {
    /// Registers the families.
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let stores = ["server", "type", "zones", "view"];
        let whole = ["server", "zones", "view"];
        let of_store = |name, help| counters(registry, name, help, &stores);
        let of_cache = |name, help| counters(registry, name, help, &whole);
        let gauges = |name, help| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &stores)?;
            keep(registry, gauges)
        };
        Ok(Self {
            entries: gauges("coredns_cache_entries", "Entries in the cache.")?,
            size: gauges(
                "portolan_cache_size_bytes",
                "Octets that the entries of the cache take.",
            )?,
            hits: of_store("coredns_cache_hits_total", "Answers from the cache.")?,
            evictions: of_store(
                "coredns_cache_evictions_total",
                "Entries that made room for others.",
            )?,
            requests: of_cache(
                "coredns_cache_requests_total",
                "Questions put to the cache.",
            )?,
            misses: of_cache(
                "coredns_cache_misses_total",
                "Questions that the cache had no answer to.",
            )?,
            prefetches: of_cache(
                "coredns_cache_prefetch_total",
                "Entries refreshed before they expired.",
            )?,
            drops: of_cache(
                "coredns_cache_drops_total",
                "Responses not kept because they answer another question.",
            )?,
            stale: of_cache(
                "coredns_cache_served_stale_total",
                "Answers from entries that had expired.",
            )?,
        })
    }
}

// === impl UpstreamMetrics ===

impl UpstreamMetrics {
    /// Counts a query on its way.
    pub(crate) fn sent(&self) {
        self.requests.inc();
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, rcode: Rcode, after: Duration) {
        let Some(metrics) = self.answers_with(rcode) else {
            return;
        };
        metrics.responses.inc();
        for duration in &metrics.durations {
            duration.observe(after.as_secs_f64());
        }
    }

    /// Counts a failed probe.
    pub(crate) fn probe_failed(&self) {
        for counter in &self.health_failures {
            counter.inc();
        }
    }

    /// Counts an exchange over UDP.
    pub(crate) fn datagrams(&self, reused: bool) {
        let [hits, misses] = &self.datagrams;
        if reused {
            hits.inc();
        } else {
            misses.inc();
        }
    }

    /// Counts an exchange over a connection.
    pub(crate) fn connected(&self, reused: bool) {
        if reused {
            self.connection_hits.inc();
        } else {
            self.connection_misses.inc();
        }
    }

    /// Counts a query sent to another upstream too.
    pub(crate) fn hedged(&self) {
        self.hedges.inc();
    }

    /// Counts a question that went round.
    pub(crate) fn looped(&self) {
        self.loops.inc();
    }

    /// Handles of the TLS handshakes.
    pub(crate) fn handshakes(&self) -> &HandshakeMetrics {
        &self.handshakes
    }

    /// Handles of a code.
    fn answers_with(&self, rcode: Rcode) -> Option<&AnswerMetrics> {
        let slot = self.answers.get(usize::from(rcode.0))?;
        Some(slot.get_or_init(|| self.answer(rcode)))
    }

    /// Handles of a code met for the first time.
    fn answer(&self, rcode: Rcode) -> AnswerMetrics {
        let inner = &self.families.inner;
        let rcode = rcode
            .mnemonic()
            .map_or_else(|| rcode.0.to_string(), str::to_owned);
        AnswerMetrics {
            responses: inner.old.responses.with_label_values(&[&*self.to, &rcode]),
            durations: [
                inner
                    .duration
                    .with_label_values(&[PROXY, &*self.to, &rcode]),
                inner.old.duration.with_label_values(&[&*self.to, &rcode]),
            ],
        }
    }
}

// === impl HandshakeMetrics ===

impl HandshakeMetrics {
    /// Counts a handshake.
    pub(crate) fn made(&self, resumed: bool) {
        if resumed {
            self.resumed.inc();
        } else {
            self.full.inc();
        }
    }
}

/// A counter that nobody sees.
fn nothing() -> IntCounter {
    IntCounter::new("nothing", "Nothing.").expect("a constant name is valid")
}

/// Registers a family.
fn keep<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> prometheus::Result<C> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

/// Registers a family of counters.
fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    keep(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

/// Registers a family of histograms: 250 us, doubled up to 8.192 s.
fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<HistogramVec> {
    let buckets = prometheus::exponential_buckets(0.00025, 2.0, 16)?;
    let options = HistogramOpts::new(name, help).buckets(buckets);
    keep(registry, HistogramVec::new(options, labels)?)
}

/// Value of the label `proxy_name`.
const PROXY: &str = "forward";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_dashboards() {
        let registry = Registry::new();
        let families = Families::register(&registry).unwrap();
        let upstream = families.upstream(&Target::plain("192.0.2.53:53".parse().unwrap()));
        upstream.sent();
        upstream.datagrams(true);
        upstream.connected(true);
        upstream.probe_failed();
        upstream.answered(Rcode::NOERROR, Duration::from_millis(1));
        families.cache("dns://:54", ".", "").requests.inc();
        let names: Vec<String> = registry
            .gather()
            .iter()
            .map(|family| family.name().to_owned())
            .collect();
        assert_eq!(
            names,
            [
                "coredns_cache_drops_total",
                "coredns_cache_entries",
                "coredns_cache_evictions_total",
                "coredns_cache_hits_total",
                "coredns_cache_misses_total",
                "coredns_cache_prefetch_total",
                "coredns_cache_requests_total",
                "coredns_cache_served_stale_total",
                "coredns_forward_healthcheck_broken_total",
                "coredns_forward_healthcheck_failures_total",
                "coredns_forward_max_concurrent_rejects_total",
                "coredns_forward_request_duration_seconds",
                "coredns_forward_requests_total",
                "coredns_forward_responses_total",
                "coredns_proxy_conn_cache_hits_total",
                "coredns_proxy_conn_cache_misses_total",
                "coredns_proxy_healthcheck_failures_total",
                "coredns_proxy_request_duration_seconds",
                "portolan_cache_size_bytes",
                "portolan_forward_hedges_total",
                "portolan_forward_loops_total",
            ]
        );
    }

    #[test]
    fn a_registry_takes_the_families_once() {
        let registry = Registry::new();
        Families::register(&registry).unwrap();
        assert!(Families::register(&registry).is_err());
    }
}

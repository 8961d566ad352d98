//! What the server counts: CoreDNS's families, by its names and labels.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use portolan_proto::Rtype;
use prometheus::IntCounter;
use prometheus::IntCounterVec;
use prometheus::IntGauge;
use prometheus::Opts;
use prometheus::Registry;

use crate::Event;
use crate::Transport;
use crate::histogram;
use crate::histogram::Histogram;
use crate::histogram::HistogramVec;
use crate::histogram::Scale;

/// The families of this crate.
#[derive(Clone, Debug)]
pub struct Families {
    /// `coredns_dns_requests_total`
    requests: IntCounterVec,
    /// `coredns_dns_request_duration_seconds`
    duration: HistogramVec,
    /// `coredns_dns_request_size_bytes`
    request_size: HistogramVec,
    /// `coredns_dns_response_size_bytes`
    response_size: HistogramVec,
    /// `coredns_dns_do_requests_total`
    dnssec_ok: IntCounterVec,
    /// `coredns_dns_responses_total`
    responses: IntCounterVec,
    /// `portolan_queries_dropped_total`
    dropped: IntCounterVec,
    /// `portolan_queries_malformed_total`
    pub(crate) malformed: IntCounter,
    /// `portolan_pending_rejected_total`
    pub(crate) pending_rejected: IntCounter,
    /// `portolan_pending_queries`
    pub(crate) pending: IntGauge,
    /// `portolan_tcp_connections`
    pub(crate) connections: IntGauge,
    /// `portolan_tcp_connections_evicted_total`
    pub(crate) evicted: IntCounter,
    /// `portolan_cname_loops_total`
    pub(crate) cname_loops: IntCounter,
    /// `portolan_send_errors_total`
    pub(crate) send_errors: IntCounter,
}

/// The handles of one server block on one listener.
#[derive(Debug)]
pub struct BlockMetrics {
    /// Where handles come from.
    families: Families,
    /// Values of the labels `server`, `zone` and `view`.
    labels: [String; 3],
    /// Time to answer.
    duration: Histogram,
    /// Sizes over UDP and TCP.
    sizes: [OnceLock<(Histogram, Histogram)>; 2],
    /// Queries with DO.
    dnssec_ok: IntCounter,
    /// Requests by transport, family and type.
    requests: [OnceLock<IntCounter>; 4 * TYPES],
    /// Responses by code and directive, in the order in which they were first
    /// needed.
    responses: [OnceLock<ResponseCounter>; RESPONSES],
}

/// Counts the responses of one code and one directive.
#[derive(Debug)]
struct ResponseCounter {
    /// The code.
    rcode: &'static str,
    /// The directive.
    plugin: &'static str,
    /// The counter.
    counter: IntCounter,
}

/// Values of the label `type`; the last stands for all others.
const TYPE_NAMES: [&str; TYPES] = [
    "A", "AAAA", "CNAME", "DNSKEY", "DS", "MX", "NSEC", "NSEC3", "NS", "PTR", "RRSIG", "SOA",
    "SRV", "TXT", "HTTPS", "SVCB", "IXFR", "AXFR", "ANY", "other",
];

/// How many values the label `type` has.
pub(crate) const TYPES: usize = 20;

/// Pairs of code and directive whose counter is kept at hand. Others have to
/// be looked up in the family each time.
const RESPONSES: usize = 16;

/// Octets of a message.
static SIZES: Scale = Scale {
    bounds: &[
        0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000,
    ],
    per_unit: 1.0,
};

/// Nanoseconds; seconds are exposed. Each bound is twice the one before.
static TIMES: Scale = Scale {
    bounds: &{
        let mut bounds = [250_000; 16];
        let mut at = 1;
        while at < bounds.len() {
            bounds[at] = 2 * bounds[at - 1];
            at += 1;
        }
        bounds
    },
    per_unit: 1e9,
};

// === impl Families ===

impl Families {
    /// Registers the families.
    ///
    /// # Errors
    ///
    /// If one of the names is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let block = ["server", "zone", "view"];
        let sized = ["server", "zone", "view", "proto"];
        let families = Self {
            requests: IntCounterVec::new(
                Opts::new(
                    "coredns_dns_requests_total",
                    "DNS requests by zone, protocol, family and type.",
                ),
                &["server", "zone", "view", "proto", "family", "type"],
            )?,
            duration: histograms(
                &TIMES,
                "coredns_dns_request_duration_seconds",
                "Time each request took, by zone.",
                &block,
            )?,
            request_size: histograms(
                &SIZES,
                "coredns_dns_request_size_bytes",
                "Size of requests in bytes.",
                &sized,
            )?,
            response_size: histograms(
                &SIZES,
                "coredns_dns_response_size_bytes",
                "Size of responses in bytes.",
                &sized,
            )?,
            dnssec_ok: IntCounterVec::new(
                Opts::new(
                    "coredns_dns_do_requests_total",
                    "DNS requests with the DO bit set, by zone.",
                ),
                &block,
            )?,
            responses: IntCounterVec::new(
                Opts::new(
                    "coredns_dns_responses_total",
                    "DNS responses by zone, rcode and directive.",
                ),
                &["server", "zone", "view", "rcode", "plugin"],
            )?,
            dropped: IntCounterVec::new(
                Opts::new(
                    "portolan_queries_dropped_total",
                    "Queries that got no response, by server and directive.",
                ),
                &["server", "zone", "plugin"],
            )?,
            malformed: IntCounter::new(
                "portolan_queries_malformed_total",
                "Messages that were no query: responses, too short, unreadable, of another opcode.",
            )?,
            pending_rejected: IntCounter::new(
                "portolan_pending_rejected_total",
                "Queries answered SERVFAIL because too many waited for upstreams.",
            )?,
            pending: IntGauge::new(
                "portolan_pending_queries",
                "Queries that wait for an upstream.",
            )?,
            connections: IntGauge::new("portolan_tcp_connections", "Open TCP connections.")?,
            evicted: IntCounter::new(
                "portolan_tcp_connections_evicted_total",
                "TCP connections closed to make room for others.",
            )?,
            cname_loops: IntCounter::new(
                "portolan_cname_loops_total",
                "Queries for local aliases whose chain does not end.",
            )?,
            send_errors: IntCounter::new(
                "portolan_send_errors_total",
                "Responses that the kernel did not take.",
            )?,
        };
        families.register_in(registry)?;
        Ok(families)
    }

    /// Hands the families to the registry.
    fn register_in(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.requests.clone()))?;
        registry.register(Box::new(self.duration.clone()))?;
        registry.register(Box::new(self.request_size.clone()))?;
        registry.register(Box::new(self.response_size.clone()))?;
        registry.register(Box::new(self.dnssec_ok.clone()))?;
        registry.register(Box::new(self.responses.clone()))?;
        registry.register(Box::new(self.dropped.clone()))?;
        registry.register(Box::new(self.malformed.clone()))?;
        registry.register(Box::new(self.pending_rejected.clone()))?;
        registry.register(Box::new(self.pending.clone()))?;
        registry.register(Box::new(self.connections.clone()))?;
        registry.register(Box::new(self.evicted.clone()))?;
        registry.register(Box::new(self.cname_loops.clone()))?;
        registry.register(Box::new(self.send_errors.clone()))
    }

    /// The handles of a block, with one series that exists from the start.
    pub fn block(&self, server: &str, zone: &str) -> Arc<BlockMetrics> {
        let labels = [server.to_owned(), zone.to_owned(), String::new()];
        let values = [server, zone, ""];
        let metrics = BlockMetrics {
            families: self.clone(),
            duration: self.duration.with_label_values(&values),
            sizes: [OnceLock::new(), OnceLock::new()],
            dnssec_ok: self.dnssec_ok.with_label_values(&values),
            requests: [const { OnceLock::new() }; 4 * TYPES],
            responses: [const { OnceLock::new() }; RESPONSES],
            labels,
        };
        metrics.requests_of(Transport::Udp, false, 0);
        Arc::new(metrics)
    }
}

// === impl BlockMetrics ===

impl BlockMetrics {
    /// Counts one query and what became of it.
    pub(crate) fn observe(&self, event: &Event<'_>) {
        let v6 = matches!(event.client.ip(), IpAddr::V6(_));
        self.requests_of(event.transport, v6, type_index(event.query.qtype))
            .inc();
        self.duration.observe(nanoseconds(event.duration));
        let (request_size, response_size) = self.sizes_of(event.transport);
        request_size.observe(octets(event.query.size));
        response_size.observe(octets(event.response.len()));
        if event.query.dnssec_ok() {
            self.dnssec_ok.inc();
        }
        match event.rcode {
            Some(rcode) => {
                self.count_responses(rcode.mnemonic().unwrap_or("other"), event.plugin, 1);
            }
            None => self.count_dropped(event.plugin),
        }
    }

    /// Time to answer.
    pub(crate) fn duration(&self) -> &Histogram {
        &self.duration
    }

    /// Counts queries with DO.
    pub(crate) fn count_dnssec_ok(&self, count: u64) {
        self.dnssec_ok.inc_by(count);
    }

    /// Counts a query without a response.
    pub(crate) fn count_dropped(&self, plugin: &str) {
        let [server, zone, _] = &self.labels;
        self.families
            .dropped
            .with_label_values(&[server, zone, plugin])
            .inc();
    }

    /// Counts responses.
    pub(crate) fn count_responses(&self, rcode: &'static str, plugin: &'static str, count: u64) {
        for slot in &self.responses {
            let known = slot.get_or_init(|| self.response_counter(rcode, plugin));
            if known.rcode == rcode && known.plugin == plugin {
                known.counter.inc_by(count);
                return;
            }
        }
        self.response_counter(rcode, plugin).counter.inc_by(count);
    }

    /// The counter of the responses of one code and one directive.
    fn response_counter(&self, rcode: &'static str, plugin: &'static str) -> ResponseCounter {
        let [server, zone, view] = &self.labels;
        let labels = [server, zone, view, rcode, plugin];
        ResponseCounter {
            rcode,
            plugin,
            counter: self.families.responses.with_label_values(&labels),
        }
    }

    /// The request counter of a transport, family and type.
    pub(crate) fn requests_of(&self, transport: Transport, v6: bool, rtype: usize) -> &IntCounter {
        let class = usize::from(transport == Transport::Tcp) * 2 + usize::from(v6);
        let index = class * TYPES + rtype.min(TYPES - 1);
        self.requests[index].get_or_init(|| {
            let [server, zone, view] = &self.labels;
            let family = if v6 { "2" } else { "1" };
            let name = TYPE_NAMES[rtype.min(TYPES - 1)];
            let labels = [server, zone, view, transport.as_str(), family, name];
            self.families.requests.with_label_values(&labels)
        })
    }

    /// The size histograms of a transport: requests, responses.
    pub(crate) fn sizes_of(&self, transport: Transport) -> &(Histogram, Histogram) {
        self.sizes[usize::from(transport == Transport::Tcp)].get_or_init(|| {
            let [server, zone, view] = &self.labels;
            let labels = [server, zone, view, transport.as_str()];
            (
                self.families.request_size.with_label_values(&labels),
                self.families.response_size.with_label_values(&labels),
            )
        })
    }
}

/// A family of histograms.
fn histograms(
    scale: &'static Scale,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<HistogramVec> {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    histogram::Builder::family(scale, Opts::new(name, help).variable_labels(labels))
}

/// A time as [`TIMES`] has it.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A size as [`SIZES`] has it.
#[inline]
pub(crate) fn octets(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// Where a type stands in [`TYPE_NAMES`].
#[inline]
pub(crate) fn type_index(rtype: Rtype) -> usize {
    match rtype {
        Rtype::A => 0,
        Rtype::AAAA => 1,
        Rtype::HTTPS => 14,
        other => other
            .mnemonic()
            .and_then(|name| TYPE_NAMES.iter().position(|known| *known == name))
            .unwrap_or(TYPES - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_code_and_directive_has_its_own_count() {
        let families = Families::register(&Registry::new()).unwrap();
        let metrics = families.block("dns://:54", ".");
        let rcodes = ["NOERROR", "NXDOMAIN", "REFUSED", "SERVFAIL"];
        let plugins = ["", "hosts", "docker-cluster", "cache", "forward"];
        let pairs: Vec<_> = rcodes
            .iter()
            .flat_map(|rcode| plugins.map(|plugin| (*rcode, plugin)))
            .collect();
        assert!(pairs.len() > RESPONSES);
        for round in 1..=2 {
            for (rcode, plugin) in &pairs {
                metrics.count_responses(rcode, plugin, 1);
                let labels = ["dns://:54", ".", "", rcode, plugin];
                let count = families.responses.with_label_values(&labels).get();
                assert_eq!(count, round, "{rcode} {plugin}");
            }
        }
    }
}

//! What one worker counts, until it is added to what all count.
//!
//! Counters that all workers write to would have them wait for each other's
//! cache lines, several times a query. A worker counts for itself and hands
//! over after each batch, so that a scrape misses no more than the batch in
//! hand.

use std::sync::Arc;
use std::time::Duration;

use portolan_proto::Rcode;
use portolan_proto::Rtype;

use crate::Event;
use crate::Transport;
use crate::histogram::Share;
use crate::metrics::BlockMetrics;
use crate::metrics::TYPES;
use crate::metrics::nanoseconds;
use crate::metrics::octets;
use crate::metrics::type_index;

/// The counts of one worker, by block.
#[derive(Default)]
pub(crate) struct Tallies(Vec<Tally>);

/// The counts of one worker for one block.
struct Tally {
    /// What they are added to.
    metrics: Arc<BlockMetrics>,
    /// Time to answer.
    duration: Share,
    /// Sizes of requests.
    request_size: Share,
    /// Sizes of responses.
    response_size: Share,
    /// Whether there were any queries since the last batch.
    has_any: bool,
    /// Those that took as long as the batch.
    queries: u64,
    /// Queries with DO.
    dnssec_ok: u64,
    /// Requests by family and type.
    requests: [[u64; TYPES]; 2],
    /// Responses that are like one another: their code, directive and number.
    responses: Option<(Rcode, &'static str, u64)>,
    /// Batches since the last with a query.
    idle: u32,
}

/// Batches without a query after which a block is let go of: it may be of a
/// configuration that is no more.
const IDLE: u32 = 1024;

/// What is counted of a query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    /// Whether it came by IPv6.
    pub(crate) v6: bool,
    /// Type asked for.
    pub(crate) qtype: Rtype,
    /// Whether DO is set.
    pub(crate) dnssec_ok: bool,
    /// Octets of it.
    pub(crate) request: usize,
    /// Octets of the response.
    pub(crate) response: usize,
    /// Code of the response, if there is one.
    pub(crate) rcode: Option<Rcode>,
    /// Directive that answered.
    pub(crate) plugin: &'static str,
    /// How long it took, if that is not told for the batch.
    pub(crate) duration: Option<Duration>,
}

// === impl Tallies ===

impl Tallies {
    /// Counts one query over UDP and what became of it.
    #[inline]
    pub(crate) fn observe(&mut self, metrics: &Arc<BlockMetrics>, count: Count) {
        let is_same = |tally: &Tally| Arc::ptr_eq(&tally.metrics, metrics);
        let index = self.0.iter().position(is_same).unwrap_or_else(|| {
            self.0.push(Tally::new(Arc::clone(metrics)));
            self.0.len() - 1
        });
        if let Some(tally) = self.0.get_mut(index) {
            tally.observe(count);
        }
    }

    /// Hands all counts over. Each query of the batch took `duration`, but those
    /// of which something else is known.
    pub(crate) fn flush(&mut self, duration: Duration) {
        self.0.retain_mut(|tally| {
            tally.flush(duration);
            tally.idle < IDLE
        });
    }

    /// Whether there is something to hand over.
    pub(crate) fn has_any(&self) -> bool {
        self.0.iter().any(|tally| tally.has_any)
    }
}

// === impl Count ===

impl Count {
    /// What is counted of a query that is told in full.
    pub(crate) fn of(event: &Event<'_>) -> Self {
        Self {
            v6: event.client.is_ipv6(),
            qtype: event.query.qtype,
            dnssec_ok: event.query.dnssec_ok(),
            request: event.query.size,
            response: event.response.len(),
            rcode: event.rcode,
            plugin: event.plugin,
            duration: Some(event.duration).filter(|duration| !duration.is_zero()),
        }
    }
}

// === impl Tally ===

impl Tally {
    /// Nothing, for a block.
    fn new(metrics: Arc<BlockMetrics>) -> Self {
        let (request_size, response_size) = metrics.sizes_of(Transport::Udp);
        Self {
            duration: metrics.duration().share(),
            request_size: request_size.share(),
            response_size: response_size.share(),
            has_any: false,
            queries: 0,
            dnssec_ok: 0,
            requests: [[0; TYPES]; 2],
            responses: None,
            idle: 0,
            metrics,
        }
    }

    /// Counts one query.
    #[inline]
    fn observe(&mut self, count: Count) {
        self.has_any = true;
        match count.duration {
            Some(duration) => self.duration.observe(nanoseconds(duration), 1),
            None => self.queries += 1,
        }
        self.dnssec_ok += u64::from(count.dnssec_ok);
        self.requests[usize::from(count.v6)][type_index(count.qtype).min(TYPES - 1)] += 1;
        self.request_size.observe(octets(count.request), 1);
        self.response_size.observe(octets(count.response), 1);
        let Some(rcode) = count.rcode else {
            self.metrics.count_dropped(count.plugin);
            return;
        };
        match &mut self.responses {
            // One text may stand at two places; then it is handed over twice.
            Some((code, plugin, same)) if *code == rcode && std::ptr::eq(*plugin, count.plugin) => {
                *same += 1;
            }
            _ => {
                self.flush_responses();
                self.responses = Some((rcode, count.plugin, 1));
            }
        }
    }

    /// Hands the counts over.
    fn flush(&mut self, duration: Duration) {
        if !std::mem::take(&mut self.has_any) {
            self.idle += 1;
            return;
        }
        self.idle = 0;
        let queries = std::mem::take(&mut self.queries);
        self.duration.observe(nanoseconds(duration), queries);
        let (request_size, response_size) = self.metrics.sizes_of(Transport::Udp);
        self.duration.flush(self.metrics.duration());
        self.request_size.flush(request_size);
        self.response_size.flush(response_size);
        self.flush_responses();
        if self.dnssec_ok > 0 {
            self.metrics
                .count_dnssec_ok(std::mem::take(&mut self.dnssec_ok));
        }
        for (counts, v6) in self.requests.iter_mut().zip([false, true]) {
            for (rtype, count) in counts
                .iter_mut()
                .enumerate()
                .filter(|(_, count)| **count > 0)
            {
                let counter = self.metrics.requests_of(Transport::Udp, v6, rtype);
                counter.inc_by(std::mem::take(count));
            }
        }
    }

    /// Hands the responses over that are like one another.
    fn flush_responses(&mut self) {
        if let Some((rcode, plugin, count)) = self.responses.take() {
            let rcode = rcode.mnemonic().unwrap_or("other");
            self.metrics.count_responses(rcode, plugin, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_proto::Query;
    use prometheus::Encoder as _;
    use prometheus::Registry;
    use prometheus::TextEncoder;

    use super::*;
    use crate::Families;
    use crate::handle;
    use crate::testing::query;
    use crate::testing::received;

    #[test]
    fn counts_are_those_of_each_query_for_itself() {
        let kinds = [
            ("a.test", Rtype::A, Some(Rcode::NOERROR), "hosts"),
            ("b.test", Rtype::A, Some(Rcode::NOERROR), "hosts"),
            ("a.test", Rtype::AAAA, Some(Rcode::NXDOMAIN), "hosts"),
            ("a.test", Rtype::A, Some(Rcode::NOERROR), "docker-cluster"),
            ("a.test", Rtype(999), None, "hosts"),
            ("a.test", Rtype::A, Some(Rcode::NOERROR), "hosts"),
        ];
        let duration = Duration::from_micros(300);
        let mut texts = Vec::new();
        for is_tallied in [false, true] {
            let registry = Registry::new();
            let families = Families::register(&registry).unwrap();
            let metrics = families.block("dns://:54", ".");
            let mut tallies = Tallies::default();
            for _ in 0..3 {
                for (name, qtype, rcode, plugin) in kinds {
                    let message = query(name, qtype);
                    let read = Query::read(&message).unwrap();
                    let received = received(&message, Transport::Udp);
                    let mut event = handle::event(&read, &received, plugin, rcode, &message, None);
                    event.duration = duration;
                    if is_tallied {
                        tallies.observe(&metrics, Count::of(&event));
                    } else {
                        metrics.observe(&event);
                    }
                }
                assert_eq!(tallies.has_any(), is_tallied);
                tallies.flush(duration);
                assert!(!tallies.has_any());
            }
            let mut text = Vec::new();
            TextEncoder::new()
                .encode(&registry.gather(), &mut text)
                .unwrap();
            texts.push(String::from_utf8(text).unwrap());
        }
        assert_eq!(texts[0], texts[1]);
        assert!(texts[1].contains("coredns_dns_request_duration_seconds_count"));
    }

    #[test]
    fn blocks_that_are_gone_are_let_go_of() {
        let families = Families::register(&Registry::new()).unwrap();
        let metrics = ["dns://:54", "dns://:55"].map(|server| families.block(server, "."));
        let message = query("a.test", Rtype::A);
        let read = Query::read(&message).unwrap();
        let received = received(&message, Transport::Udp);
        let event = handle::event(&read, &received, "", Some(Rcode::NOERROR), &[], None);
        // Each worker holds them, so that none is the last to do so.
        let mut workers = [Tallies::default(), Tallies::default()];
        for tallies in &mut workers {
            for metrics in &metrics {
                tallies.observe(metrics, Count::of(&event));
            }
            tallies.flush(Duration::ZERO);
        }
        let [gone, kept] = metrics;
        let weak = Arc::downgrade(&gone);
        drop(gone);
        for tallies in &mut workers {
            for _ in 0..IDLE {
                tallies.observe(&kept, Count::of(&event));
                tallies.flush(Duration::ZERO);
            }
        }
        assert!(weak.upgrade().is_none());
        assert_eq!(Arc::strong_count(&kept), 3);
    }
}

//! What one thread counts of an upstream, until it is added to what all count.

use std::time::Duration;

use portolan_proto::Rcode;
use prometheus::Histogram;
use prometheus::IntCounter;
use prometheus::local::LocalHistogram;
use prometheus::local::LocalIntCounter;

use super::UpstreamMetrics;

/// What a lane counts of an upstream. It spares each query a dozen writes that
/// other threads might wait for.
#[derive(Debug)]
pub(crate) struct UpstreamTally {
    /// Queries sent.
    requests: LocalIntCounter,
    /// Answers on a socket that was used before, and on a new one.
    datagrams: [LocalIntCounter; 2],
    /// Answers, by response code.
    answers: Vec<(Rcode, AnswerTally)>,
}

/// What a lane counts of an upstream and a response code.
#[derive(Debug)]
struct AnswerTally {
    /// Answers.
    responses: LocalIntCounter,
    /// Time to an answer, under both names.
    durations: [LocalHistogram; 2],
}

// === impl UpstreamTally ===

impl UpstreamTally {
    /// Nothing yet.
    pub(crate) fn new(metrics: &UpstreamMetrics) -> Self {
        Self {
            requests: metrics.requests.local(),
            datagrams: metrics.datagrams.each_ref().map(IntCounter::local),
            answers: Vec::new(),
        }
    }

    /// Counts a query on its way.
    pub(crate) fn sent(&self) {
        self.requests.inc();
    }

    /// Counts an answer, and whether it came on a socket that was used before.
    pub(crate) fn answered(
        &mut self,
        metrics: &UpstreamMetrics,
        rcode: Rcode,
        reused: bool,
        after: Duration,
    ) {
        let [hits, misses] = &self.datagrams;
        if reused { hits } else { misses }.inc();
        if let Some(tally) = self.answers_with(metrics, rcode) {
            tally.responses.inc();
            for duration in &tally.durations {
                duration.observe(after.as_secs_f64());
            }
        }
    }

    /// The tally of a code.
    fn answers_with(&mut self, metrics: &UpstreamMetrics, rcode: Rcode) -> Option<&AnswerTally> {
        let known = self.answers.iter().position(|(code, _)| *code == rcode);
        let index = match known {
            Some(index) => index,
            None => {
                let metrics = metrics.answers_with(rcode)?;
                let tally = AnswerTally {
                    responses: metrics.responses.local(),
                    durations: metrics.durations.each_ref().map(Histogram::local),
                };
                self.answers.push((rcode, tally));
                self.answers.len() - 1
            }
        };
        self.answers.get(index).map(|(_, tally)| tally)
    }

    /// Adds all to what all count.
    pub(crate) fn flush(&self) {
        self.requests.flush();
        for counter in &self.datagrams {
            counter.flush();
        }
        for (_, tally) in &self.answers {
            tally.responses.flush();
            for duration in &tally.durations {
                duration.flush();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Encoder as _;
    use prometheus::Registry;
    use prometheus::TextEncoder;

    use super::*;
    use crate::Families;
    use crate::target::Protection;
    use crate::target::Target;

    #[test]
    fn counts_are_those_of_each_query_for_itself() {
        let answers = [
            (Rcode::NOERROR, true, 3),
            (Rcode::NXDOMAIN, false, 40),
            (Rcode::NOERROR, true, 5),
            (Rcode::REFUSED, true, 1),
        ];
        let mut texts = Vec::new();
        for is_tallied in [false, true] {
            let registry = Registry::new();
            let families = Families::register(&registry).unwrap();
            let metrics = families.upstream(&Target {
                addr: ([192, 0, 2, 1], 53).into(),
                protection: Protection::None,
            });
            let mut tally = UpstreamTally::new(&metrics);
            for _ in 0..2 {
                for (rcode, reused, milliseconds) in answers {
                    let after = Duration::from_millis(milliseconds);
                    if is_tallied {
                        tally.sent();
                        tally.answered(&metrics, rcode, reused, after);
                    } else {
                        metrics.sent();
                        metrics.datagrams(reused);
                        metrics.answered(rcode, after);
                    }
                }
                tally.flush();
            }
            let mut text = Vec::new();
            let families = registry.gather();
            TextEncoder::new().encode(&families, &mut text).unwrap();
            texts.push(String::from_utf8(text).unwrap());
        }
        assert_eq!(texts[0], texts[1]);
        assert!(texts[1].contains("coredns_forward_requests_total{to=\"192.0.2.1:53\"} 8"));
    }
}

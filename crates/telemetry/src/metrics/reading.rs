//! A metric whose value is read when it is asked for.

use std::collections::HashMap;
use std::fmt;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

/// A family with one sample that a function supplies at each scrape, for values
/// that are counted elsewhere.
pub struct Reading {
    /// Name and help text.
    desc: Desc,
    /// Counter or gauge.
    kind: MetricType,
    /// Supplies the sample.
    read: Box<dyn Fn() -> f64 + Send + Sync>,
}

// === impl Reading ===

impl Reading {
    /// A counter; what `read` returns must never go down.
    pub fn counter(
        name: &str,
        help: &str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        Ok(Self {
            desc: desc(name, help)?,
            kind: MetricType::COUNTER,
            read: Box::new(read),
        })
    }

    /// A gauge.
    pub fn gauge(
        name: &str,
        help: &str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        Ok(Self {
            desc: desc(name, help)?,
            kind: MetricType::GAUGE,
            read: Box::new(read),
        })
    }
}

impl Collector for Reading {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![family(&self.desc, self.kind, (self.read)())]
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("name", &self.desc.fq_name)
            .finish_non_exhaustive()
    }
}

/// The description of a family without labels.
pub(super) fn desc(name: &str, help: &str) -> prometheus::Result<Desc> {
    Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())
}

/// A family of one sample.
pub(super) fn family(desc: &Desc, kind: MetricType, value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use prometheus::{Registry, TextEncoder};

    use super::*;

    #[test]
    fn a_reading_follows_its_source() {
        let source = Arc::new(AtomicU32::new(3));
        let registry = Registry::new();
        let count = Arc::clone(&source);
        let read = move || f64::from(count.load(Ordering::Relaxed));
        let counter = Reading::counter("seen_total", "Seen.", read).expect("a valid name");
        let gauge = Reading::gauge("level", "Level.", || 0.5).expect("a valid name");
        registry
            .register(Box::new(counter))
            .expect("registered once");
        registry.register(Box::new(gauge)).expect("registered once");

        source.store(4, Ordering::Relaxed);

        let text = TextEncoder::new()
            .encode_to_string(&registry.gather())
            .expect("valid");
        let expected = "# HELP level Level.\n# TYPE level gauge\nlevel 0.5\n\
                        # HELP seen_total Seen.\n# TYPE seen_total counter\nseen_total 4\n";
        assert_eq!(text, expected);
    }
}

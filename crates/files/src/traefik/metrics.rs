//! What Traefik's files count.

use portolan_proto::Rtype;
use prometheus::IntCounter;
use prometheus::IntCounterVec;
use prometheus::IntGauge;
use prometheus::Opts;
use prometheus::Registry;

/// Metric families of all `traefik-externals` directives. Cloning is cheap,
/// and the clones count together.
#[derive(Clone, Debug)]
pub struct Families {
    /// Names in effect.
    records: IntGauge,
    /// Routers left out.
    bad_routers: IntGauge,
    /// Looks that found something new.
    pub(crate) reloads: IntCounter,
    /// Files that could not be read.
    pub(crate) parse_errors: IntCounter,
    /// Queries of type A, then AAAA, for names that are known, then unknown.
    queries: [[IntCounter; 2]; 2],
}

/// The part of one directive in the gauges. Dropping takes the part away.
#[derive(Debug)]
pub(crate) struct Share {
    /// The families.
    families: Families,
    /// Names in effect.
    records: i64,
    /// Routers left out.
    bad_routers: i64,
}

// === impl Families ===

impl Families {
    /// Creates the families and adds them to a registry.
    ///
    /// # Errors
    ///
    /// If the registry has a family of one of the names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let queries = IntCounterVec::new(
            Opts::new(
                "coredns_traefik_externals_queries_total",
                "Queries for addresses that no stage before knew, by type and result.",
            ),
            &["type", "result"],
        )?;
        registry.register(Box::new(queries.clone()))?;
        let families = Self {
            queries: ["A", "AAAA"].map(|qtype| {
                ["success", "miss"].map(|result| queries.with_label_values(&[qtype, result]))
            }),
            records: IntGauge::new(
                "coredns_traefik_externals_records_total",
                "Names in the rules of Traefik's files.",
            )?,
            bad_routers: IntGauge::new(
                "portolan_traefik_externals_bad_routers",
                "Routers of Traefik's files that were left out, wholly or in part.",
            )?,
            reloads: IntCounter::new(
                "coredns_traefik_externals_reloads_total",
                "How often Traefik's files were read because something had changed.",
            )?,
            parse_errors: IntCounter::new(
                "coredns_traefik_externals_parse_errors_total",
                "Traefik's files that could not be read; what they said before stays.",
            )?,
        };
        registry.register(Box::new(families.records.clone()))?;
        registry.register(Box::new(families.bad_routers.clone()))?;
        registry.register(Box::new(families.reloads.clone()))?;
        registry.register(Box::new(families.parse_errors.clone()))?;
        Ok(families)
    }

    /// Counts a query for a name that no stage before knew.
    pub fn count_query(&self, qtype: Rtype, is_known: bool) {
        let [v4, v6] = &self.queries;
        let [success, miss] = match qtype {
            Rtype::A => v4,
            Rtype::AAAA => v6,
            _ => return,
        };
        if is_known { success.inc() } else { miss.inc() }
    }

    /// A part in the gauges, at zero.
    pub(crate) fn share(&self) -> Share {
        Share {
            families: self.clone(),
            records: 0,
            bad_routers: 0,
        }
    }
}

// === impl Share ===

impl Share {
    /// Takes the figures in effect.
    pub(crate) fn set(&mut self, records: usize, bad_routers: usize) {
        change(&self.families.records, &mut self.records, records);
        change(
            &self.families.bad_routers,
            &mut self.bad_routers,
            bad_routers,
        );
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}

/// Changes a part of a gauge.
fn change(gauge: &IntGauge, part: &mut i64, value: usize) {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    gauge.add(value - *part);
    *part = value;
}

//! Metrics of the cluster.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use prometheus::Histogram;
use prometheus::HistogramOpts;
use prometheus::IntCounter;
use prometheus::IntCounterVec;
use prometheus::IntGauge;
use prometheus::IntGaugeVec;
use prometheus::Opts;
use prometheus::Registry;
use prometheus::core::Collector;

use crate::gossip::Refusals;
use crate::ledger::View;
use crate::ledger::Withdrawal;

/// The metric families of the cluster.
#[derive(Clone, Debug)]
pub struct Families {
    /// Members by state, this one too.
    members: IntGaugeVec,
    /// Records by member.
    records: IntGaugeVec,
    /// Version of the set by member.
    version: IntGaugeVec,
    /// Pairs of members that have one name.
    pub(crate) name_clashes: IntCounter,
    /// Members that came.
    pub(crate) joined: IntCounter,
    /// Members whose records were withdrawn, by reason.
    withdrawals: IntCounterVec,
    /// Digests sent.
    pub(crate) digests: IntCounter,
    /// Sets asked for.
    pub(crate) pulls: IntCounter,
    /// Deltas that came out of order.
    pub(crate) gaps: IntCounter,
    /// Messages that could not be read.
    pub(crate) bad_messages: IntCounter,
    /// Records of other members that were ignored.
    pub(crate) refused_records: IntCounter,
    /// Our own records beyond what a member may have.
    unshared_records: IntGauge,
    /// What was not taken, by what it was.
    refused: IntCounterVec,
    /// Messages that could not be sent.
    pub(crate) send_errors: IntCounter,
    /// Attempts to join a member, by result.
    joins: IntCounterVec,
    /// How long a set was known to be behind before it had caught up.
    pub(crate) convergence: Histogram,
    /// What the gauges are made from.
    shown: Arc<Mutex<Shown>>,
}

/// The gauges of one cluster: those of a process add up. What it showed goes
/// with it.
#[derive(Debug)]
pub(crate) struct Gauges {
    /// Where they are shown.
    families: Families,
    /// Which of the clusters of this process it is.
    number: u64,
}

/// What the gauges of all clusters of this process are made from.
#[derive(Debug, Default)]
struct Shown {
    /// By cluster.
    clusters: BTreeMap<u64, Figures>,
    /// How many clusters there were.
    last: u64,
    /// Names that have a record gauge, and a version gauge.
    names: (BTreeSet<String>, BTreeSet<String>),
}

/// What one cluster shows.
#[derive(Debug, Default)]
struct Figures {
    /// Members by state.
    states: BTreeMap<&'static str, i64>,
    /// Records by name of the member.
    records: BTreeMap<String, i64>,
    /// Version by name of the member.
    versions: BTreeMap<String, i64>,
    /// Records that are not shared.
    unshared: i64,
}

/// The states that are always shown.
const STATES: [&str; 5] = ["self", "alive", "leaving", "failed", "silent"];

/// The withdrawals that are always shown.
const WITHDRAWALS: [Withdrawal; 4] = [
    Withdrawal::Left,
    Withdrawal::Failed,
    Withdrawal::Replaced,
    Withdrawal::Silent,
];

// === impl Families ===

impl Families {
    /// Creates the families and registers them.
    ///
    /// # Errors
    ///
    /// If the registry already has one of them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge_by = |name: &str, help: &str, label: &str| {
            registered(registry, IntGaugeVec::new(Opts::new(name, help), &[label])?)
        };
        let counter_by = |name: &str, help: &str, label: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registered(registry, counter)
        };
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help)?);
        let families = Self {
            members: gauge_by(
                "portolan_cluster_members",
                "Members of the cluster by state, this one as self.",
                "state",
            )?,
            records: gauge_by(
                "portolan_cluster_records",
                "Records served of each member.",
                "member",
            )?,
            version: gauge_by(
                "portolan_cluster_version",
                "Version of each member's records, as known here.",
                "member",
            )?,
            name_clashes: counter(
                "portolan_cluster_name_clashes_total",
                "Pairs of members with one name that were met.",
            )?,
            joined: counter("portolan_cluster_joined_total", "Members that came.")?,
            withdrawals: counter_by(
                "portolan_cluster_withdrawals_total",
                "Members whose records were withdrawn, by reason.",
                "reason",
            )?,
            digests: counter("portolan_cluster_digests_total", "Digests sent.")?,
            pulls: counter(
                "portolan_cluster_pulls_total",
                "Times the whole set of a member was asked for.",
            )?,
            gaps: counter(
                "portolan_cluster_gaps_total",
                "Deltas that came before one they build on.",
            )?,
            bad_messages: counter(
                "portolan_cluster_bad_messages_total",
                "Messages that could not be read.",
            )?,
            refused_records: counter(
                "portolan_cluster_refused_records_total",
                "Records of other members that were ignored.",
            )?,
            unshared_records: registered(
                registry,
                IntGauge::new(
                    "portolan_cluster_unshared_records",
                    "Records of this member beyond what one may have; others do not know them.",
                )?,
            )?,
            refused: counter_by(
                "portolan_cluster_refused_total",
                "What the membership layer did not take, by what it was.",
                "what",
            )?,
            send_errors: counter(
                "portolan_cluster_send_errors_total",
                "Messages to a member that could not be sent.",
            )?,
            joins: counter_by(
                "portolan_cluster_joins_total",
                "Attempts to join a member by its address, by result.",
                "result",
            )?,
            convergence: registered(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "portolan_cluster_convergence_seconds",
                        "How long a member's records were known to be behind before they were not.",
                    )
                    .buckets(prometheus::exponential_buckets(0.001, 2.0, 15)?),
                )?,
            )?,
            shown: Arc::default(),
        };
        families.refused(Refusals::default(), Refusals::default());
        families.refused.with_label_values(&["pull"]).inc_by(0);
        for state in STATES {
            families.members.with_label_values(&[state]).set(0);
        }
        for why in WITHDRAWALS {
            families.withdrawn(why, 0);
        }
        for result in ["joined", "failed"] {
            families.joins.with_label_values(&[result]).inc_by(0);
        }
        Ok(families)
    }

    /// Counts members whose records were withdrawn.
    pub(crate) fn withdrawn(&self, why: Withdrawal, members: u64) {
        let reason = why.as_str();
        self.withdrawals
            .with_label_values(&[reason])
            .inc_by(members);
    }

    /// Counts an attempt to join a member.
    pub(crate) fn tried_to_join(&self, joined: bool) {
        let result = if joined { "joined" } else { "failed" };
        self.joins.with_label_values(&[result]).inc();
    }

    /// Counts what was not taken since `before`.
    pub(crate) fn refused(&self, before: Refusals, now: Refusals) {
        for (what, before, now) in [
            ("event", before.dropped, now.dropped),
            ("member", before.members, now.members),
            ("connection", before.connections, now.connections),
            ("datagram", before.datagrams, now.datagrams),
            ("oversized", before.oversized, now.oversized),
            ("foreign", before.foreign, now.foreign),
            ("pruned", before.pruned, now.pruned),
        ] {
            let refused = self.refused.with_label_values(&[what]);
            refused.inc_by(now.saturating_sub(before));
        }
    }

    /// Counts a set that was asked for too often to be sent.
    pub(crate) fn refused_pull(&self) {
        self.refused.with_label_values(&["pull"]).inc();
    }

    /// The gauges of one more cluster.
    pub(crate) fn gauges(&self) -> Gauges {
        let mut shown = self.shown();
        shown.last += 1;
        let number = shown.last;
        drop(shown);
        Gauges {
            families: self.clone(),
            number,
        }
    }

    /// Brings the gauges up to date. A gauge that stays is never reset: whoever
    /// reads meanwhile finds what it was or what it is.
    fn update(&self, shown: &mut Shown) {
        let clusters = shown.clusters.values();
        for state in STATES {
            let count = clusters
                .clone()
                .filter_map(|figures| figures.states.get(state));
            self.members.with_label_values(&[state]).set(count.sum());
        }
        let unshared = clusters.clone().map(|figures| figures.unshared).sum();
        self.unshared_records.set(unshared);
        let (mut records, mut versions) = (BTreeMap::new(), BTreeMap::new());
        for figures in clusters {
            for (name, count) in &figures.records {
                *records.entry(name.clone()).or_insert(0) += count;
            }
            for (name, version) in &figures.versions {
                let highest = versions.entry(name.clone()).or_insert(0);
                *highest = version.max(highest).to_owned();
            }
        }
        let (before_records, before_versions) = &mut shown.names;
        set_all(&self.records, before_records, &records);
        set_all(&self.version, before_versions, &versions);
    }

    /// What is shown; nothing panics while it is held.
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Gauges ===

impl Gauges {
    /// Shows the members of this cluster.
    pub(crate) fn show(&self, views: &[View]) {
        let mut figures = Figures::default();
        for view in views {
            let name = view.id.name();
            *figures.states.entry(view.state).or_insert(0) += 1;
            // Members with one name, and restarts of one, add up.
            if view.served {
                *figures.records.entry(name.to_owned()).or_insert(0) += figure(view.records as u64);
            }
            let version = figures.versions.entry(name.to_owned()).or_insert(0);
            *version = figure(view.version).max(*version);
        }
        let mut shown = self.families.shown();
        let before = shown.clusters.entry(self.number).or_default();
        figures.unshared = before.unshared;
        *before = figures;
        self.families.update(&mut shown);
    }

    /// Shows how many of our own records are not shared.
    pub(crate) fn unshared(&self, records: usize) {
        let mut shown = self.families.shown();
        shown.clusters.entry(self.number).or_default().unshared = figure(records as u64);
        self.families.update(&mut shown);
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        let mut shown = self.families.shown();
        shown.clusters.remove(&self.number);
        self.families.update(&mut shown);
    }
}

/// Sets the gauges of these names, and takes those away that had one before
/// and have none now.
fn set_all(gauges: &IntGaugeVec, before: &mut BTreeSet<String>, now: &BTreeMap<String, i64>) {
    for (name, value) in now {
        gauges.with_label_values(&[name]).set(*value);
    }
    for name in before.iter().filter(|name| !now.contains_key(*name)) {
        // It is there, as it was set before.
        drop(gauges.remove_label_values(&[name]));
    }
    *before = now.keys().cloned().collect();
}

/// A count as a gauge has it.
fn figure(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Registers a family and gives it back.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    family: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::member::MemberId;

    #[test]
    fn the_gauges_of_the_clusters_of_a_process_add_up() {
        let (registry, families) = families();
        let (one, other) = (families.gauges(), families.gauges());
        one.show(&[view("a", 1, "self", 3, 5), view("b", 1, "alive", 2, 7)]);
        one.unshared(4);
        other.show(&[view("a", 2, "self", 1, 9), view("c", 1, "alive", 8, 1)]);
        other.unshared(1);
        let read = |name: &str, label: &str| read(&registry, name, label);
        assert_eq!(read("portolan_cluster_members", "self"), Some(2));
        assert_eq!(read("portolan_cluster_members", "alive"), Some(2));
        assert_eq!(read("portolan_cluster_records", "a"), Some(4));
        assert_eq!(read("portolan_cluster_records", "b"), Some(2));
        assert_eq!(read("portolan_cluster_version", "a"), Some(9));
        assert_eq!(families.unshared_records.get(), 5);
        one.show(&[view("a", 1, "self", 3, 6)]);
        assert_eq!(families.unshared_records.get(), 5);
        assert_eq!(read("portolan_cluster_records", "b"), None);
        assert_eq!(read("portolan_cluster_version", "b"), None);
        drop(other);
        assert_eq!(read("portolan_cluster_records", "a"), Some(3));
        assert_eq!(read("portolan_cluster_version", "a"), Some(6));
        assert_eq!(read("portolan_cluster_records", "c"), None);
        assert_eq!(families.unshared_records.get(), 4);
    }

    #[test]
    fn a_gauge_that_stays_is_there_whenever_it_is_read() {
        let (registry, families) = families();
        let gauges = families.gauges();
        let views: Vec<View> = (0..50)
            .map(|n| view(&format!("m{n}"), n, "alive", 3, 1))
            .collect();
        gauges.show(&views);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..500 {
                    gauges.show(&views);
                }
                is_over.store(true, Ordering::Release);
            });
            while !is_over.load(Ordering::Acquire) {
                assert_eq!(read(&registry, "portolan_cluster_records", "m49"), Some(3));
            }
        });
    }

    fn families() -> (Registry, Families) {
        let registry = Registry::new();
        let families = Families::register(&registry).unwrap();
        (registry, families)
    }

    fn view(name: &str, boot: u64, state: &'static str, records: usize, version: u64) -> View {
        View {
            id: MemberId::new(name, boot),
            address: None,
            state,
            epoch: 1,
            version,
            records,
            served: true,
            complete: true,
        }
    }

    /// What a gauge says, as whoever scrapes it reads it.
    fn read(registry: &Registry, name: &str, label: &str) -> Option<i64> {
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        let line = text.lines().find(|line| {
            line.starts_with(&format!("{name}{{")) && line.contains(&format!("\"{label}\""))
        });
        line.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

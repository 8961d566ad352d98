//! Metrics of the cluster.

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
    pub(crate) unshared_records: IntGauge,
    /// What was not taken, by what it was.
    refused: IntCounterVec,
    /// Messages that could not be sent.
    pub(crate) send_errors: IntCounter,
    /// Attempts to join a member, by result.
    joins: IntCounterVec,
    /// How long a set was known to be behind before it had caught up.
    pub(crate) convergence: Histogram,
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
        };
        families.refused(Refusals::default(), Refusals::default());
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

    /// Brings the gauges up to date.
    pub(crate) fn show(&self, views: &[View]) {
        let figure = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for state in STATES {
            let count = views.iter().filter(|view| view.state == state).count();
            let members = self.members.with_label_values(&[state]);
            members.set(figure(count as u64));
        }
        self.records.reset();
        self.version.reset();
        for view in views {
            let name = [view.id.name()];
            // Members with one name, and restarts of one, add up.
            if view.served {
                let records = self.records.with_label_values(&name);
                records.add(figure(view.records as u64));
            }
            let version = self.version.with_label_values(&name);
            version.set(version.get().max(figure(view.version)));
        }
    }
}

/// Registers a family and gives it back.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    family: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

//! The clusters of a configuration, kept across reloads where they can be.
//!
//! A `docker-cluster` directive that shares its names is a member of a
//! cluster. Its sources may come and go with reloads; the member stays for as
//! long as what it is known by stays: where it listens, where it is reached,
//! its name. What else the directive says of the cluster is changed in place.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use portolan_cluster as cluster;
use portolan_config as config;
use tokio_util::task::TaskTracker;

use crate::sources::{SourceParts, hold_readiness};
use crate::translate;

/// A member that is at work.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// What it is known by: its configuration without the settings.
    identity: cluster::Config,
    /// The settings it is to have.
    settings: cluster::Settings,
    /// The member.
    pub(crate) cluster: Arc<cluster::Cluster>,
}

/// The members at work, for whoever wants to see them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(Arc<ArcSwap<Vec<Arc<cluster::Cluster>>>>);

/// How long a start waits for the records of other members.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a directive makes its member known by; none if it shares nothing.
pub(crate) fn identity(directive: &config::DockerCluster) -> Option<cluster::Config> {
    directive.cluster.enabled.then(|| cluster::Config {
        settings: cluster::Settings::default(),
        // What names point to may change; what was advertised stays.
        host_ips: Vec::new(),
        ..translate::cluster(directive)
    })
}

// === impl Running ===

impl Running {
    /// The member of a directive: one of `before` or of `next`, or a new one,
    /// which then is in `next`.
    pub(crate) async fn find(
        directive: &config::DockerCluster,
        before: &[Self],
        next: &mut Vec<Self>,
        metrics: &cluster::Families,
    ) -> anyhow::Result<Option<Arc<cluster::Cluster>>> {
        let Some(identity) = identity(directive) else {
            return Ok(None);
        };
        let wanted = translate::cluster(directive);
        if let Some(running) = next.iter().find(|running| running.identity == identity) {
            return Ok(Some(Arc::clone(&running.cluster)));
        }
        let kept = before.iter().find(|running| running.identity == identity);
        let cluster = match kept {
            Some(running) => Arc::clone(&running.cluster),
            None => {
                let port = identity.bind.port();
                anyhow::ensure!(
                    !before
                        .iter()
                        .any(|running| running.identity.bind.port() == port),
                    "the member at port {port} has another node_name, \
                     cluster_bind_addr, cluster_advertise_addr, cluster_label, cluster_networks \
                     or discovery_port: that takes a restart"
                );
                let started = cluster::Cluster::start(wanted.clone(), metrics.clone()).await;
                Arc::new(started?)
            }
        };
        next.push(Self {
            identity,
            settings: wanted.settings,
            cluster: Arc::clone(&cluster),
        });
        Ok(Some(cluster))
    }

    /// Whether it is among `others`.
    fn is_among(&self, others: &[Self]) -> bool {
        others
            .iter()
            .any(|other| Arc::ptr_eq(&other.cluster, &self.cluster))
    }
}

/// Waits until the members that `before` did not have know the others'
/// records: without them a name of another host would be unknown.
pub(crate) async fn settle(next: &[Running], before: &[Running]) {
    let all = async {
        for running in next.iter().filter(|running| !running.is_among(before)) {
            drop(running.cluster.settled().wait_for(|settled| *settled).await);
        }
    };
    // What has not come by then is served when it has.
    drop(tokio::time::timeout(PATIENCE, all).await);
}

/// Waits until one of these members ends, although nobody told it to.
pub(crate) async fn ended(running: &[Running]) {
    let mut all: Vec<_> = running
        .iter()
        .map(|running| Box::pin(running.cluster.ended()))
        .collect();
    poll_fn(|context| {
        let over = all
            .iter_mut()
            .any(|one| one.as_mut().poll(context).is_ready());
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Makes readiness wait until the members that `before` did not have know the
/// others' records.
pub(crate) fn count_for_readiness(next: &[Running], before: &[Running], parts: &SourceParts) {
    for running in next.iter().filter(|running| !running.is_among(before)) {
        let settled = running.cluster.settled();
        hold_readiness(&settled, parts, parts.stop.clone());
    }
}

/// Hands over from `before` to `next`: members that stay get their settings,
/// the others leave.
pub(crate) fn hand_over(before: Vec<Running>, next: &[Running], tasks: &TaskTracker) {
    for running in next {
        running.cluster.reconfigure(running.settings.clone());
    }
    for running in before {
        if !running.is_among(next) {
            tasks.spawn(async move { running.cluster.leave().await });
        }
    }
}

/// Ends members that only `next` has.
pub(crate) async fn discard(next: Vec<Running>, before: &[Running]) {
    for running in next {
        if !running.is_among(before) {
            running.cluster.leave().await;
        }
    }
}

// === impl Shown ===

impl Shown {
    /// Shows these from now on.
    pub(crate) fn replace(&self, running: &[Running]) {
        let clusters = running.iter().map(|running| Arc::clone(&running.cluster));
        self.0.store(Arc::new(clusters.collect()));
    }

    /// Who is in them.
    pub(crate) fn members(&self) -> Vec<cluster::Member> {
        let clusters = self.0.load();
        let members = clusters.iter().map(|cluster| cluster.members());
        members.flat_map(|members| members.to_vec()).collect()
    }
}

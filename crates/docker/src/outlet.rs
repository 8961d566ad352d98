//! Where decisions leave: changes to the table, words to the log, numbers to
//! the metrics.

use std::sync::Arc;

use portolan_proto::Name;
use portolan_table::Batch;
use portolan_table::Change;
use tokio::sync::mpsc;
use tokio::sync::watch;

use crate::endpoint::Endpoint;
use crate::inventory::Inventory;
use crate::inventory::Notice;
use crate::labels::shown;
use crate::metrics::Families;
use crate::model::Action;
use crate::names::Names;
use crate::task::SyncState;

/// How many names a log line shows.
const MAX_SHOWN: usize = 10;

/// Where decisions leave.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// The engine, for metrics and logs.
    endpoint: String,
    /// To the table.
    changes: mpsc::Sender<Batch>,
    /// Numbers.
    metrics: Families,
    /// How far the first sync has come.
    state: Arc<watch::Sender<SyncState>>,
    /// What this engine adds to the gauges.
    share: Share,
}

/// What one engine adds to gauges that others may share, before and after a
/// reload too.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// One if connected.
    connected: i64,
    /// Containers with names.
    containers: i64,
    /// Names.
    names: i64,
}

/// Nobody takes changes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableGone;

// === impl Outlet ===

impl Outlet {
    /// An outlet for one engine.
    pub(crate) fn new(
        endpoint: &Endpoint,
        changes: mpsc::Sender<Batch>,
        metrics: Families,
        state: watch::Sender<SyncState>,
    ) -> Self {
        let endpoint = endpoint.to_string();
        let state = Arc::new(state);
        let outlet = Self {
            endpoint,
            changes,
            metrics,
            state,
            share: Share::default(),
        };
        // The series exist from the start.
        outlet.share_out(Share::default());
        outlet
    }

    /// Hands changes to the table. Cancel safe: all of them, or none.
    ///
    /// # Errors
    ///
    /// If nobody takes them.
    pub(crate) async fn send(&self, changes: Vec<Change>) -> Result<(), TableGone> {
        if changes.is_empty() {
            return Ok(());
        }
        self.changes
            .send(Batch {
                changes,
                published: None,
            })
            .await
            .map_err(|_| TableGone)
    }

    /// Hands the last changes of the first sync to the table, and declares it
    /// done once they, and all before them, are visible.
    ///
    /// # Errors
    ///
    /// If nobody takes them.
    pub(crate) async fn send_first(&self, changes: Vec<Change>) -> Result<(), TableGone> {
        let state = Arc::clone(&self.state);
        let published = Box::new(move || {
            state.send_replace(SyncState::Synced);
        });
        let batch = Batch {
            changes,
            published: Some(published),
        };
        self.changes.send(batch).await.map_err(|_| TableGone)
    }

    /// Says what people want to know. What `is_initial` will be summed up.
    pub(crate) fn tell(&self, notices: Vec<Notice>, is_initial: bool) {
        for notice in notices {
            match notice {
                Notice::Started { name, hostnames } if is_initial => tracing::debug!(
                    plugin = "docker-cluster",
                    endpoint = self.endpoint.as_str(),
                    "container {} found with hostnames: [{}]",
                    shown(&name),
                    listing(&hostnames)
                ),
                notice => self.tell_one(notice),
            }
        }
    }

    /// Says one thing.
    fn tell_one(&self, notice: Notice) {
        let endpoint = self.endpoint.as_str();
        match notice {
            Notice::Started { name, hostnames } => tracing::info!(
                plugin = "docker-cluster",
                endpoint,
                "container {} started with hostnames: [{}]",
                shown(&name),
                listing(&hostnames)
            ),
            Notice::Stopped { name, hostnames } => tracing::info!(
                plugin = "docker-cluster",
                endpoint,
                "container {} stopped, removed hostnames: [{}]",
                shown(&name),
                listing(&hostnames)
            ),
            Notice::BadLabels { name, problems } => {
                self.metrics.invalid_names.inc_by(problems.count);
                tracing::warn!(
                    plugin = "docker-cluster",
                    endpoint,
                    ignored = problems.count,
                    "container {} has labels that cannot be used, ignoring: {}",
                    shown(&name),
                    problems.shown.join("; ")
                );
            }
            Notice::TooMany { name } => tracing::warn!(
                plugin = "docker-cluster",
                endpoint,
                "too many containers, ignoring {}",
                shown(&name)
            ),
        }
    }

    /// Counts an event.
    pub(crate) fn count_event(&self, action: Action) {
        self.metrics
            .events
            .with_label_values(&[self.endpoint.as_str(), action.as_str()])
            .inc();
    }

    /// Counts a failure.
    pub(crate) fn count_error(&self) {
        self.metrics.sync_errors.inc();
    }

    /// Counts a connection that replaced a lost one.
    pub(crate) fn count_reconnect(&self) {
        self.metrics.reconnects.inc();
    }

    /// Notes when a list was taken over, as a Unix time.
    pub(crate) fn set_last_sync(&self, seconds: f64) {
        self.metrics.last_sync.set(seconds);
    }

    /// Brings the gauges up to date.
    pub(crate) fn gauge(&mut self, is_connected: bool, inventory: &Inventory) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let share = Share {
            connected: i64::from(is_connected),
            containers: number(inventory.container_count()),
            names: number(inventory.name_count()),
        };
        self.share_out(share);
        self.share = share;
    }

    /// Notes that the first attempt failed.
    pub(crate) fn first_attempt_failed(&self) {
        self.state.send_if_modified(|state| {
            let is_first = *state == SyncState::Starting;
            if is_first {
                *state = SyncState::Failed;
            }
            is_first
        });
    }

    /// Adds to the gauges what changed since the last time.
    fn share_out(&self, share: Share) {
        let endpoint = [self.endpoint.as_str()];
        let old = self.share;
        let connected = self.metrics.connected.with_label_values(&endpoint);
        connected.add(share.connected - old.connected);
        let containers = self.metrics.containers.with_label_values(&endpoint);
        containers.add(share.containers - old.containers);
        self.metrics.names.add(share.names - old.names);
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.share_out(Share::default());
    }
}

/// Names for a log line: the first ones, and how many more there are.
fn listing(names: &Names) -> String {
    let plain = |name: Name| name.to_string().trim_end_matches('.').to_owned();
    let first: Vec<String> = names.iter().take(MAX_SHOWN).map(plain).collect();
    match names.len().saturating_sub(MAX_SHOWN) {
        0 => first.join(" "),
        more => format!("{} and {more} more", first.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_shows_ten_names() {
        let names: Vec<Name> = (0..12)
            .map(|n| format!("n{n}.x").parse().unwrap())
            .collect();
        assert_eq!(listing(&Names::new(&names[..2])), "n0.x n1.x");
        assert!(listing(&Names::new(&names)).ends_with("n9.x and 2 more"));
        assert_eq!(listing(&Names::new(&[])), "");
    }
}

//! The task that follows one engine.

use std::sync::Arc;

use portolan_table::Batch;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::metrics::Families;
use crate::outlet::Outlet;
use crate::watcher::Watcher;

/// The task that follows one engine.
#[derive(Debug)]
pub struct DockerTask;

/// What is known of a task from outside.
#[derive(Clone, Debug)]
pub struct DockerHandle {
    /// How far the first sync has come.
    pub ready: watch::Receiver<SyncState>,
}

/// How far the first sync has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// It is under way.
    Starting,
    /// It is done, and visible to queries.
    Synced,
    /// The first attempt failed, and that was reported; others follow.
    Failed,
}

// === impl DockerTask ===

impl DockerTask {
    /// Follows the engine of `config` until `cancel` is cancelled or the
    /// receiver of `changes` is gone. Rows are left as they are then.
    ///
    /// [`SyncState::Synced`] waits for the `published` call of the batch with
    /// the first list.
    pub fn spawn(
        config: Config,
        changes: mpsc::Sender<Batch>,
        metrics: Families,
        tracker: &TaskTracker,
        cancel: CancellationToken,
    ) -> DockerHandle {
        let (state, ready) = watch::channel(SyncState::Starting);
        let config = Arc::new(config);
        let outlet = Outlet::new(&config.endpoint, changes, metrics, state);
        let watcher = Watcher::new(config, outlet, tracker.clone(), cancel);
        tracker.spawn(watcher.run());
        DockerHandle { ready }
    }
}

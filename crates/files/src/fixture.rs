//! What tests of tasks share: a scratch directory, and a task as the record
//! table sees it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use portolan_table::Batch;
use portolan_table::LayerId;
use portolan_table::Source;
use prometheus::Registry;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::follow::Handle;

/// A scratch directory and what the tasks count.
pub(crate) struct World<F> {
    dir: TempDir,
    pub(crate) registry: Registry,
    pub(crate) families: F,
}

/// A running task.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    pub(crate) batches: mpsc::Receiver<Batch>,
    pub(crate) tracker: TaskTracker,
    pub(crate) cancel: CancellationToken,
    root: String,
}

/// File and owners of each change of a batch, without those of reverse zones.
#[derive(Debug)]
pub(crate) struct Shown(Vec<(String, String)>);

/// How soon a change has to be seen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

impl<F> World<F> {
    pub(crate) fn with(register: impl FnOnce(&Registry) -> prometheus::Result<F>) -> Self {
        let registry = Registry::new();
        Self {
            dir: TempDir::new().unwrap(),
            families: register(&registry).unwrap(),
            registry,
        }
    }

    pub(crate) fn path(&self, tail: &str) -> PathBuf {
        self.dir.path().join(tail)
    }

    pub(crate) fn text(&self, tail: &str) -> String {
        self.path(tail).to_str().unwrap().to_owned()
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "it changes the world")]
    pub(crate) fn write(&mut self, tail: &str, text: &str) {
        let path = self.path(tail);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Starts a task whose files are shown by their paths below a directory.
    pub(crate) fn spawn(
        &self,
        below: &str,
        start: impl FnOnce(mpsc::Sender<Batch>, &TaskTracker, CancellationToken) -> Handle,
    ) -> Running {
        let (changes, batches) = mpsc::channel(4);
        let tracker = TaskTracker::new();
        let cancel = CancellationToken::new();
        Running {
            handle: start(changes, &tracker, cancel.clone()),
            batches,
            tracker,
            cancel,
            root: self.text(below),
        }
    }
}

impl Running {
    pub(crate) async fn batch(&mut self) -> Option<Batch> {
        let batch = tokio::time::timeout(PATIENCE, self.batches.recv());
        batch.await.ok().flatten()
    }

    /// The first batch, after which the task is at rest.
    pub(crate) async fn first(&mut self) -> Shown {
        let mut batch = self.batch().await.expect("the first batch");
        batch.published.take().expect("wants to know")();
        // The subscription to changes begins after the first batch.
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.show(batch)
    }

    /// The next batch.
    pub(crate) async fn next(&mut self) -> Shown {
        let batch = self.batch().await.expect("a batch in time");
        assert!(batch.published.is_none());
        self.show(batch)
    }

    /// Makes sure that no batch comes for a while.
    pub(crate) async fn silent(&mut self, span: Duration) {
        if let Ok(batch) = tokio::time::timeout(span, self.batches.recv()).await {
            panic!("{batch:?}");
        }
    }

    fn show(&self, batch: Batch) -> Shown {
        let changes = batch.changes.into_iter().map(|change| {
            assert_eq!(change.layer, LayerId(1));
            let (Source::HostsFile(path) | Source::TraefikFile(path)) = change.source else {
                return (String::new(), String::new());
            };
            let owners = change.rows.iter().map(|row| row.owner.to_string());
            let mut owners: Vec<String> =
                owners.filter(|owner| !owner.ends_with(".arpa.")).collect();
            owners.dedup();
            let tail = path.strip_prefix(&self.root).unwrap();
            (tail.trim_start_matches('/').to_owned(), owners.join(" "))
        });
        Shown(changes.collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl<const N: usize> PartialEq<[(&str, &str); N]> for Shown {
    fn eq(&self, other: &[(&str, &str); N]) -> bool {
        let shown = self
            .0
            .iter()
            .map(|(path, owners)| (path.as_str(), owners.as_str()));
        shown.eq(other.iter().copied())
    }
}

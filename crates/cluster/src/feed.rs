//! From a source of this server to the table and, on the way, to the cluster.
//!
//! A source sends its batches to an [`Attachment`] instead of the table. The
//! attachment notes them for the cluster and passes them on; noting takes a
//! lock for as long as a few rows take to copy and never waits for the
//! cluster, so that nothing the network does can hold up what this server
//! answers for its own containers.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use portolan_table::Batch;
use portolan_table::Change;
use portolan_table::LayerId;
use portolan_table::Row;
use portolan_table::Source;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A layer of the table that has the records of all members: what its sources
/// say goes to the others, and what the others say comes to it.
///
/// Dropping it ends both; rows of others are left in the layer as they are.
#[derive(Debug)]
pub struct Attachment {
    /// What is noted.
    feed: Arc<Feed>,
    /// Where sources send their changes.
    batches: mpsc::Sender<Batch>,
}

/// What an attachment notes for the cluster.
#[derive(Debug)]
pub(crate) struct Feed {
    /// The layer.
    pub(crate) layer: LayerId,
    /// The table.
    pub(crate) table: mpsc::Sender<Batch>,
    /// What was noted.
    state: Mutex<State>,
    /// Tells the cluster that something was.
    changed: Arc<Notify>,
}

/// What was noted.
#[derive(Debug, Default)]
struct State {
    /// What the sources assert.
    rows: BTreeMap<Source, Vec<Row>>,
    /// Sources that changed since the cluster looked.
    dirty: BTreeSet<Source>,
    /// How far it has come.
    stage: Stage,
}

/// How far an attachment has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It may yet be discarded: the cluster is told nothing.
    #[default]
    Preparing,
    /// It is what this member says.
    Published,
    /// So it is, and its first sync is over.
    Complete,
    /// It is over.
    Detached,
}

/// Batches on the way from the sources of one layer.
const BATCHES: usize = 64;

// === impl Attachment ===

impl Attachment {
    /// An attachment that passes on what it is sent, until `stop`.
    pub(crate) fn spawn(
        layer: LayerId,
        table: mpsc::Sender<Batch>,
        changed: Arc<Notify>,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (batches, mut incoming) = mpsc::channel::<Batch>(BATCHES);
        let feed = Arc::new(Feed {
            layer,
            table,
            state: Mutex::default(),
            changed,
        });
        let noting = Arc::clone(&feed);
        tracker.spawn(async move {
            let pass = async {
                while let Some(batch) = incoming.recv().await {
                    noting.note(&batch.changes);
                    if noting.table.send(batch).await.is_err() {
                        break;
                    }
                }
            };
            stop.run_until_cancelled(pass).await;
        });
        Self { feed, batches }
    }

    /// Where sources of the layer send their changes.
    pub fn batches(&self) -> mpsc::Sender<Batch> {
        self.batches.clone()
    }

    /// Makes its records what this member says, instead of those of the
    /// attachment that was published before.
    pub fn publish(&self) {
        self.feed.advance(Stage::Published);
    }

    /// Says that the first sync of all sources is over.
    pub fn complete(&self) {
        self.feed.advance(Stage::Complete);
    }

    /// What is noted.
    pub(crate) fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.feed.advance(Stage::Detached);
    }
}

// === impl Feed ===

impl Feed {
    /// How far it has come.
    pub(crate) fn stage(&self) -> Stage {
        self.lock().stage
    }

    /// Sources that changed since the last time, and their rows.
    pub(crate) fn take_dirty(&self) -> Vec<(Source, Vec<Row>)> {
        let mut state = self.lock();
        let dirty = std::mem::take(&mut state.dirty);
        let with_rows = |source: Source| {
            let rows = state.rows.get(&source).cloned().unwrap_or_default();
            (source, rows)
        };
        dirty.into_iter().map(with_rows).collect()
    }

    /// All sources and their rows; none of them counts as changed any more.
    pub(crate) fn take_all(&self) -> BTreeMap<Source, Vec<Row>> {
        let mut state = self.lock();
        state.dirty.clear();
        state.rows.clone()
    }

    /// Notes changes.
    fn note(&self, changes: &[Change]) {
        let mut state = self.lock();
        for change in changes {
            if change.rows.is_empty() {
                state.rows.remove(&change.source);
            } else {
                state
                    .rows
                    .insert(change.source.clone(), change.rows.clone());
            }
            state.dirty.insert(change.source.clone());
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Goes on to a stage; never back.
    fn advance(&self, stage: Stage) {
        let mut state = self.lock();
        state.stage = state.stage.max(stage);
        drop(state);
        self.changed.notify_one();
    }

    /// What was noted, locked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use portolan_proto::Rdata;

    use super::*;

    #[tokio::test]
    async fn what_sources_say_reaches_the_table_and_is_noted() {
        let (attachment, mut table, _stop) = attach();
        let feed = attachment.feed();
        attachment.batches().send(batch("a", 1)).await.unwrap();
        assert_eq!(table.recv().await.unwrap().changes.len(), 1);
        assert_eq!(feed.take_dirty(), [(source("a"), rows(1))]);
        assert!(feed.take_dirty().is_empty());
        attachment.batches().send(batch("a", 0)).await.unwrap();
        table.recv().await.unwrap();
        assert_eq!(feed.take_dirty(), [(source("a"), Vec::new())]);
        assert!(feed.take_all().is_empty());
    }

    #[tokio::test]
    async fn a_stage_is_never_taken_back() {
        let (attachment, _table, _stop) = attach();
        let feed = attachment.feed();
        assert_eq!(feed.stage(), Stage::Preparing);
        attachment.complete();
        attachment.publish();
        assert_eq!(feed.stage(), Stage::Complete);
        drop(attachment);
        assert_eq!(feed.stage(), Stage::Detached);
    }

    fn attach() -> (Attachment, mpsc::Receiver<Batch>, CancellationToken) {
        let (table, incoming) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let attachment = Attachment::spawn(
            LayerId(3),
            table,
            Arc::new(Notify::new()),
            &TaskTracker::new(),
            stop.clone(),
        );
        (attachment, incoming, stop)
    }

    fn batch(container: &str, count: u32) -> Batch {
        Batch {
            changes: vec![Change {
                layer: LayerId(3),
                source: source(container),
                rows: rows(count),
            }],
            published: None,
        }
    }

    fn source(container: &str) -> Source {
        Source::Container {
            member: "engine".into(),
            id: container.into(),
            name: container.into(),
        }
    }

    fn rows(count: u32) -> Vec<Row> {
        let row = |ttl| Row {
            owner: "a.example".parse().unwrap(),
            rdata: Rdata::A([192, 0, 2, 1].into()),
            ttl,
        };
        (0..count).map(row).collect()
    }
}

//! A member at work, as the rest of the server sees it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use arc_swap::ArcSwap;
use portolan_table::Batch;
use portolan_table::LayerId;
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::advertise::AdvertiseError;
use crate::config::Config;
use crate::config::Settings;
use crate::feed::Attachment;
use crate::feed::Feed;
use crate::member::Member;
use crate::metrics::Families;
use crate::task::ClusterTask;

/// A member at work.
///
/// It has a thread and a runtime of its own: whatever happens on the network,
/// or in the membership layer, no query waits for it.
#[derive(Debug)]
pub struct Cluster {
    /// What the task shares with this handle.
    shared: Arc<Shared>,
    /// What may change while it is at work.
    settings: watch::Sender<Settings>,
    /// Whether it knows what there is to know after the start.
    settled: watch::Receiver<bool>,
    /// Makes it leave.
    stop: CancellationToken,
    /// The task.
    task: Mutex<Option<JoinHandle<()>>>,
    /// Closed once the task has ended.
    ended: Mutex<std::sync::mpsc::Receiver<()>>,
    /// Its runtime. Last, so that it ends after the rest.
    _runtime: OwnRuntime,
}

/// What the task and the handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Layers that the records belong to, in the order they were attached.
    pub(crate) feeds: Mutex<Vec<Arc<Feed>>>,
    /// Tells that a feed has something new.
    pub(crate) changed: Arc<Notify>,
    /// Who there is.
    pub(crate) members: ArcSwap<Vec<Member>>,
}

/// A runtime that can be dropped within another: it ends without waiting.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

/// A member could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// It does not know by which address others reach it.
    #[error(transparent)]
    Advertise(#[from] AdvertiseError),
    /// Membership did not start.
    #[error("{0}")]
    Membership(String),
    /// The runtime did not start.
    #[error("cannot start the thread of the cluster")]
    Thread(#[source] std::io::Error),
    /// The task that starts it was ended.
    #[error("the start was interrupted")]
    Interrupted,
}

/// How long a member that is dropped may hold up whoever drops it.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long leaving may take.
const LEAVE: Duration = Duration::from_secs(2);

// === impl Cluster ===

impl Cluster {
    /// Starts a member: once this returns it can be joined, and is joining
    /// others.
    ///
    /// # Errors
    ///
    /// If its port cannot be bound or its address cannot be found out.
    pub async fn start(config: Config, metrics: Families) -> Result<Self, StartError> {
        let runtime = OwnRuntime::new()?;
        let shared = Arc::new(Shared {
            feeds: Mutex::default(),
            changed: Arc::new(Notify::new()),
            members: ArcSwap::default(),
        });
        let stop = CancellationToken::new();
        let (settings, settings_in) = watch::channel(config.settings.clone());
        let (settled_out, settled) = watch::channel(false);
        let building = ClusterTask::build(
            config,
            Arc::clone(&shared),
            settings_in,
            settled_out,
            metrics,
            stop.clone(),
        );
        let task = runtime.run(building).await??;
        let (running, ended) = std::sync::mpsc::channel();
        let task = runtime.spawn(async move {
            task.run().await;
            drop::<std::sync::mpsc::Sender<()>>(running);
        });
        Ok(Self {
            shared,
            settings,
            settled,
            stop,
            task: Mutex::new(task),
            ended: Mutex::new(ended),
            _runtime: runtime,
        })
    }

    /// Attaches a layer. Records of other members come to it at once; what its
    /// sources say is told to them once it is published. What passes the
    /// records on is spawned on the caller's runtime.
    pub fn attach(
        &self,
        layer: LayerId,
        table: mpsc::Sender<Batch>,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Attachment {
        let changed = Arc::clone(&self.shared.changed);
        let attachment = Attachment::spawn(layer, table, changed, tracker, stop);
        self.shared.feeds().push(attachment.feed());
        self.shared.changed.notify_one();
        attachment
    }

    /// Follows whether the first attempt to join is over and the records of
    /// whoever was found have arrived.
    pub fn settled(&self) -> watch::Receiver<bool> {
        self.settled.clone()
    }

    /// Waits until the member has ended, which it does not do by itself: without
    /// [`leave`](Self::leave) it is a defect, and what it knew of others stays
    /// as it was.
    pub async fn ended(&self) {
        let mut settled = self.settled.clone();
        // The task has the other end.
        while settled.changed().await.is_ok() {}
    }

    /// Who there is, this member first.
    pub fn members(&self) -> Arc<Vec<Member>> {
        self.shared.members.load_full()
    }

    /// Changes what may change.
    pub fn reconfigure(&self, settings: Settings) {
        self.settings.send_replace(settings);
    }

    /// Says good-bye and ends. What was attached stays as it is.
    pub async fn leave(&self) {
        self.stop.cancel();
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task {
            drop(tokio::time::timeout(LEAVE, task).await);
        }
    }
}

impl Drop for Cluster {
    /// Says good-bye all the same: others would serve its records on until
    /// they find out.
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // Over, or out of time.
        let _ = ended.recv_timeout(FAREWELL);
    }
}

// === impl Shared ===

impl Shared {
    /// The feeds, locked.
    pub(crate) fn feeds(&self) -> MutexGuard<'_, Vec<Arc<Feed>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl OwnRuntime ===

impl OwnRuntime {
    /// Starts it.
    fn new() -> Result<Self, StartError> {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cluster")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
            .map_err(StartError::Thread)
    }

    /// Spawns a task on it.
    fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        self.0.as_ref().map(|runtime| runtime.spawn(task))
    }

    /// Runs a task on it to its end.
    async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StartError> {
        let running = self.spawn(task).ok_or(StartError::Interrupted)?;
        running.await.map_err(|_| StartError::Interrupted)
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::config::Seed;

    #[tokio::test]
    async fn a_member_that_breaks_down_has_ended() {
        let cluster = start("127.44.21.1:0").await;
        let early = tokio::time::timeout(Duration::from_millis(300), cluster.ended()).await;
        assert!(early.is_err(), "it ended by itself");
        // What a panic comes to as well: the task is gone, and has told nobody.
        let task = cluster.task.lock().unwrap().take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        cluster.ended().await;
    }

    #[tokio::test]
    async fn a_member_that_left_has_ended() {
        let cluster = start("127.44.21.2:0").await;
        cluster.leave().await;
        cluster.ended().await;
    }

    /// A member that has nobody to join.
    async fn start(bind: &str) -> Cluster {
        let config = Config {
            name: "member".to_owned(),
            bind: bind.parse().unwrap(),
            advertise: None,
            host_ips: Vec::new(),
            label: String::new(),
            networks: Vec::new(),
            discovery_port: 0,
            settings: Settings {
                seeds: vec![Seed {
                    host: "127.44.21.3".to_owned(),
                    port: 9,
                }],
                ..Settings::default()
            },
        };
        let families = Families::register(&Registry::new()).unwrap();
        Cluster::start(config, families).await.unwrap()
    }
}

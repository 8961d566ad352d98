//! Follows the files that some paths stand for: looks, reads, waits.
//!
//! It waits for a report of a change, for the regular look and for what the
//! state has in mind, whichever is first, and then looks at everything: there
//! is one way from the disk to whoever follows. Disk and parsing are the
//! blocking pool's work.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use portolan_table::Batch;
use portolan_table::Change;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::paths;
use crate::paths::Listing;
use crate::paths::Selection;
use crate::points::Points;
use crate::read::ReadError;
use crate::read::ReadOrder;
use crate::read::Reading;
use crate::read::Seen;
use crate::read::read;
use crate::state::Files;
use crate::state::Notice;
use crate::state::Outcome;
use crate::watch::Watcher;

/// A running task as others see it.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Becomes true once what the files said at first is served. A file that is
    /// not there does not hold it up.
    pub ready: watch::Receiver<bool>,
}

/// What to follow, and how.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Name of the directive in logs.
    pub(crate) plugin: &'static str,
    /// What the files are, in logs.
    pub(crate) kind: &'static str,
    /// How a log says that a path is not there.
    pub(crate) missing: &'static str,
    /// Files, directories and patterns.
    pub(crate) paths: Vec<String>,
    /// Which members of directories and matches of patterns count.
    pub(crate) selection: Selection,
    /// Longest file that is read, in octets.
    pub(crate) max_size: u64,
    /// How often to look even if no change is reported. `None` looks once.
    pub(crate) reload: Option<Duration>,
    /// Whether to ask the operating system for change notification.
    pub(crate) notify: bool,
}

/// Keeps looking at files.
#[derive(Debug)]
pub(crate) struct Follower {
    /// What is followed.
    target: Arc<Target>,
    /// What is known of the files.
    files: Files,
    /// Wakes when they change.
    watcher: Watcher,
    /// What to watch, as of the last look.
    points: Points,
}

/// What a look came to.
#[derive(Debug)]
pub(crate) struct Look<P> {
    /// Files that were read, in the order of their paths.
    pub(crate) loads: Vec<Load<P>>,
    /// Files that are gone for good.
    pub(crate) withdrawn: Vec<Arc<str>>,
    /// How many files have turned out not to be readable.
    pub(crate) failures: u64,
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Load<P> {
    /// Its path.
    pub(crate) path: Arc<str>,
    /// What was read.
    pub(crate) seen: Seen,
    /// What it says, if that is not what it said before.
    pub(crate) parsed: Option<P>,
}

/// Where the changes of a task go.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// To the record table.
    changes: mpsc::Sender<Batch>,
    /// Told when the first changes are served; gone from then on.
    ready: Option<watch::Sender<bool>>,
}

/// Why a task cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    /// Nobody takes the rows any more.
    #[error("the record table is gone")]
    NoTable,
    /// The blocking pool did not finish a piece of work.
    #[error("work on the files was broken off")]
    BrokenOff(#[source] task::JoinError),
}

// === impl Follower ===

impl Follower {
    /// Has not looked yet.
    pub(crate) fn new(target: Target) -> Self {
        Self {
            files: Files::new(&target.paths),
            watcher: Watcher::new(target.notify && target.reload.is_some()),
            points: Points::default(),
            target: Arc::new(target),
        }
    }

    /// Looks at the files and reads what changed; tells the operator what
    /// cannot be read.
    pub(crate) async fn look<P: Send + 'static>(
        &mut self,
        parse: impl Fn(&str, &[u8]) -> P + Send + 'static,
    ) -> Result<Look<P>, Stopped> {
        let listings = self.survey().await?;
        let mut plan = self.files.observe(listings, clock());
        let (loads, notices) = self.load(plan.reads, parse).await?;
        plan.notices.extend(notices);
        for notice in &plan.notices {
            self.tell(notice);
        }
        let notices = plan.notices.iter();
        let failures = notices.filter(|notice| matches!(notice, Notice::Unreadable(..)));
        Ok(Look {
            loads,
            withdrawn: plan.withdrawn,
            failures: failures.count() as u64,
        })
    }

    /// Watches what the last look depended on.
    pub(crate) async fn watch(&mut self) {
        let points = std::mem::take(&mut self.points);
        if let Err(error) = self.watcher.follow(points).await {
            warn!(
                plugin = self.target.plugin,
                %error,
                "changes are found by looking every reload interval"
            );
        }
    }

    /// Waits until there is a reason to look.
    ///
    /// Cancel safe in so far as whoever drops it looks anyway.
    pub(crate) async fn rest(&self) {
        let Some(reload) = self.target.reload else {
            return std::future::pending().await;
        };
        let now = Instant::now();
        let regular = now + reload.max(SHORTEST_REST);
        let next = self
            .files
            .deadline()
            .map_or(regular, |deadline| regular.min(deadline.into()));
        tokio::select! {
            () = self.watcher.changed() => {}
            () = tokio::time::sleep_until(next.max(now + SHORTEST_REST)) => {}
        }
    }

    /// Makes the next look read every file anew, changed or not.
    pub(crate) fn forget(&mut self) {
        self.files.forget();
    }

    /// How many files are in effect.
    pub(crate) fn loaded_count(&self) -> usize {
        self.files.loaded_count()
    }

    /// Lists what the paths stand for, and what to watch for that.
    async fn survey(&mut self) -> Result<Vec<Listing>, Stopped> {
        let target = Arc::clone(&self.target);
        let (listings, points) = blocking(move || {
            let mut points = Points::default();
            let listings = target.paths.iter().map(|path| {
                let listing = paths::list(path, &target.selection);
                points.follow(path, &listing);
                listing
            });
            (listings.collect(), points)
        })
        .await?;
        self.points = points;
        Ok(listings)
    }

    /// Reads the files ordered; what the operator should know of them.
    async fn load<P: Send + 'static>(
        &mut self,
        orders: Vec<ReadOrder>,
        parse: impl Fn(&str, &[u8]) -> P + Send + 'static,
    ) -> Result<(Vec<Load<P>>, Vec<Notice>), Stopped> {
        if orders.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let max_size = self.target.max_size;
        let attempts: Vec<_> = blocking(move || {
            let attempt = |order: ReadOrder| {
                let (outcome, parsed) = attempt(&order, max_size, &parse);
                (order, outcome, parsed)
            };
            orders.into_iter().map(attempt).collect()
        })
        .await?;
        let now = clock();
        let mut loads = Vec::new();
        let mut notices = Vec::new();
        for (order, outcome, parsed) in attempts {
            if let Outcome::Read(seen) = outcome {
                let path = Arc::clone(&order.path);
                loads.push(Load { path, seen, parsed });
            }
            notices.extend(self.files.complete(&order, outcome, now));
        }
        Ok((loads, notices))
    }

    /// Tells the operator.
    fn tell(&self, notice: &Notice) {
        let Target {
            plugin,
            kind,
            missing,
            ..
        } = *self.target;
        match notice {
            Notice::Missing(path) => warn!(plugin, "{missing}: {path}"),
            Notice::Unreadable(path, error) => warn!(
                plugin,
                file = %path,
                error,
                "{kind} cannot be read, what was read before stays in effect"
            ),
            Notice::TooMany(path) => warn!(
                plugin,
                path = %path,
                "more than {} files, the first by name are read",
                self.target.selection.max_files
            ),
        }
    }
}

// === impl Outlet ===

impl Outlet {
    /// One that has sent nothing yet, and who hears of it.
    pub(crate) fn new(changes: mpsc::Sender<Batch>) -> (Self, Handle) {
        let (told, ready) = watch::channel(false);
        let outlet = Self {
            changes,
            ready: Some(told),
        };
        (outlet, Handle { ready })
    }

    /// Whether it has sent nothing yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.ready.is_some()
    }

    /// Sends changes, if any; the first time in any case, and then tells who
    /// waits once they are served.
    pub(crate) async fn publish(&mut self, changes: Vec<Change>) -> Result<(), Stopped> {
        let published = self.ready.take().map(announce);
        if changes.is_empty() && published.is_none() {
            return Ok(());
        }
        let batch = Batch { changes, published };
        let sent = self.changes.send(batch).await;
        sent.map_err(|_| Stopped::NoTable)
    }
}

/// Tells who waits that a batch is served.
fn announce(ready: watch::Sender<bool>) -> Box<dyn FnOnce() + Send> {
    Box::new(move || {
        ready.send_replace(true);
    })
}

/// Starts a task, which ends when it is cancelled.
pub(crate) fn spawn(
    task: impl Future<Output = ()> + Send + 'static,
    tracker: &TaskTracker,
    cancel: CancellationToken,
) {
    tracker.spawn(async move {
        // Whatever is broken off is of no use to anybody.
        cancel.run_until_cancelled(task).await;
    });
}

/// Reads a file, and parses it if its content is new. Blocks.
fn attempt<P>(
    order: &ReadOrder,
    max_size: u64,
    parse: &impl Fn(&str, &[u8]) -> P,
) -> (Outcome, Option<P>) {
    match read(order, max_size) {
        Ok(Reading::Unsettled) => (Outcome::Unsettled, None),
        Ok(Reading::Unchanged(seen)) => (Outcome::Read(seen), None),
        Ok(Reading::Changed { seen, text }) => {
            (Outcome::Read(seen), Some(parse(&order.path, &text)))
        }
        // It was there a moment ago: the next look tells what became of it.
        Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => {
            (Outcome::Unsettled, None)
        }
        Err(error) => (Outcome::Failed(error.to_string()), None),
    }
}

/// Does work that blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    task::spawn_blocking(work).await.map_err(Stopped::BrokenOff)
}

/// The time, as tests may set it.
fn clock() -> std::time::Instant {
    Instant::now().into_std()
}

/// Shortest time between two looks that no report called for.
const SHORTEST_REST: Duration = Duration::from_millis(20);

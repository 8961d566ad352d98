//! The task of one `hosts` directive: looks, reads, sends, waits.
//!
//! It waits for a report of a change, for the regular look and for what the
//! state has in mind, whichever is first, and then looks at everything: there
//! is one way from the disk to the table. Disk and parsing are the blocking
//! pool's work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan_table::Batch;
use portolan_table::Change;
use portolan_table::Source;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::Config;
use crate::Families;
use crate::metrics::FileGauges;
use crate::parse::Options;
use crate::parse::Parsed;
use crate::parse::parse_file;
use crate::parse::parse_lines;
use crate::paths;
use crate::paths::Listing;
use crate::points::Points;
use crate::read::ReadError;
use crate::read::ReadOrder;
use crate::read::Reading;
use crate::read::read;
use crate::state::Files;
use crate::state::Notice;
use crate::state::Outcome;
use crate::watch::Watcher;

/// Keeps the rows of one `hosts` directive true to its files.
#[derive(Debug)]
pub struct HostsTask {
    /// What the directive asks for.
    config: Arc<Config>,
    /// How lines are read.
    options: Options,
    /// What is known of the files.
    files: Files,
    /// Wakes when they change.
    watcher: Watcher,
    /// Figures of each file in effect.
    gauges: BTreeMap<Arc<str>, FileGauges>,
    /// Where all the figures go.
    metrics: Families,
    /// Where the rows go.
    changes: mpsc::Sender<Batch>,
    /// Told when the first rows are served; gone from then on.
    ready: Option<watch::Sender<bool>>,
}

/// The running task as others see it.
#[derive(Clone, Debug)]
pub struct HostsHandle {
    /// Becomes true once what the files said at first is served. A file that is
    /// not there does not hold it up.
    pub ready: watch::Receiver<bool>,
}

/// Why the task cannot go on.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    /// Nobody takes the rows any more.
    #[error("the record table is gone")]
    NoTable,
    /// The blocking pool did not finish a piece of work.
    #[error("work on the files was broken off")]
    BrokenOff(#[source] task::JoinError),
}

/// A file that was read, or not.
struct Load {
    /// What was ordered.
    order: ReadOrder,
    /// What came of it.
    outcome: Outcome,
    /// What a new content says.
    parsed: Option<Parsed>,
}

// === impl HostsTask ===

impl HostsTask {
    /// Starts the task. The first batch comes as soon as the files are read and
    /// holds the rows of all of them; later ones hold the files that changed.
    ///
    /// The task ends when it is cancelled or nobody takes its batches. It does
    /// not withdraw its rows then: whoever ends it knows what follows.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn(
        config: Config,
        changes: mpsc::Sender<Batch>,
        metrics: Families,
        tracker: &TaskTracker,
        cancel: CancellationToken,
    ) -> HostsHandle {
        let (ready, handle) = watch::channel(false);
        let task = Self {
            options: Options::new(&config),
            files: Files::new(&config.paths),
            watcher: Watcher::new(config.notify && config.reload.is_some()),
            gauges: BTreeMap::new(),
            config: Arc::new(config),
            metrics,
            changes,
            ready: Some(ready),
        };
        tracker.spawn(async move {
            // Whatever is broken off is of no use to anybody.
            cancel.run_until_cancelled(task.run()).await;
        });
        HostsHandle { ready: handle }
    }

    /// Runs until something stops it.
    async fn run(mut self) {
        loop {
            if let Err(error) = self.round().await {
                warn!(plugin = PLUGIN, %error, "hosts files are no longer followed");
                return;
            }
            self.rest().await;
        }
    }

    /// Waits until there is a reason to look.
    async fn rest(&self) {
        let Some(reload) = self.config.reload else {
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

    /// Looks at the files, and sends what changed.
    async fn round(&mut self) -> Result<(), Stopped> {
        let (listings, points) = self.survey().await?;
        let plan = self.files.observe(listings, clock());
        for notice in &plan.notices {
            tell(notice);
        }
        let mut changes = self.load(plan.reads).await?;
        for path in plan.withdrawn {
            info!(plugin = PLUGIN, hostsfile = %path, "hosts file is gone, entries withdrawn");
            self.gauges.remove(&path);
            changes.push(self.change(Source::HostsFile(path), Parsed::default()));
        }
        self.publish(changes).await?;
        if let Err(error) = self.watcher.follow(points).await {
            warn!(
                plugin = PLUGIN,
                %error,
                "changes are found by looking every reload interval"
            );
        }
        Ok(())
    }

    /// Lists what the configured paths stand for, and what to watch for that.
    async fn survey(&self) -> Result<(Vec<Listing>, Points), Stopped> {
        let config = Arc::clone(&self.config);
        blocking(move || {
            let mut points = Points::default();
            let listings = config.paths.iter().map(|path| {
                let listing = paths::list(path);
                points.follow(path, &listing);
                listing
            });
            (listings.collect(), points)
        })
        .await
    }

    /// Reads the files ordered; the changes that follow.
    async fn load(&mut self, orders: Vec<ReadOrder>) -> Result<Vec<Change>, Stopped> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let options = self.options.clone();
        let loads: Vec<Load> = blocking(move || {
            let orders = orders.into_iter();
            orders.map(|order| Load::new(order, &options)).collect()
        })
        .await?;
        let now = clock();
        let mut changes = Vec::new();
        for load in loads {
            if let Outcome::Read(seen) = &load.outcome {
                self.metrics.read(seen.stamp.modified);
            }
            let path = Arc::clone(&load.order.path);
            if let Some(notice) = self.files.complete(&load.order, load.outcome, now) {
                tell(&notice);
            }
            if let Some(parsed) = load.parsed {
                self.report(&path, &parsed, |number| format!("{path}:{number}"));
                changes.push(self.change(Source::HostsFile(path), parsed));
            }
        }
        Ok(changes)
    }

    /// Sends changes, if any; the first time in any case.
    async fn publish(&mut self, mut changes: Vec<Change>) -> Result<(), Stopped> {
        let mut published: Option<Box<dyn FnOnce() + Send>> = None;
        if let Some(ready) = self.ready.take() {
            changes.extend(self.inline());
            info!(
                plugin = PLUGIN,
                files = self.files.loaded_count(),
                entries = changes
                    .iter()
                    .map(|change| change.rows.len())
                    .sum::<usize>(),
                "hosts loaded"
            );
            published = Some(Box::new(move || {
                ready.send_replace(true);
            }));
        }
        if changes.is_empty() && published.is_none() {
            return Ok(());
        }
        let batch = Batch { changes, published };
        self.changes.send(batch).await.map_err(|_| Stopped::NoTable)
    }

    /// The rows of the configuration itself, if it has lines.
    fn inline(&mut self) -> Option<Change> {
        let config = Arc::clone(&self.config);
        if config.inline.is_empty() {
            return None;
        }
        let lines = config.inline.iter().map(|line| line.text.as_bytes());
        let parsed = parse_lines(lines, &self.options);
        self.report(&INLINE.into(), &parsed, |number| {
            let line = config.inline.get(number - 1);
            line.map_or_else(String::new, |line| line.position.clone())
        });
        Some(self.change(Source::Inline, parsed))
    }

    /// A change to what was parsed.
    fn change(&self, source: Source, parsed: Parsed) -> Change {
        Change {
            layer: self.config.layer,
            source,
            rows: parsed.rows,
        }
    }

    /// Counts and logs what was parsed; `place` says where a line stands.
    fn report(&mut self, label: &Arc<str>, parsed: &Parsed, place: impl Fn(usize) -> String) {
        let metrics = &self.metrics;
        self.gauges
            .entry(Arc::clone(label))
            .or_insert_with(|| metrics.file(Arc::clone(label)))
            .set(parsed.rows.len(), parsed.bad_count);
        // Until it is ready, one line tells of all files.
        if self.ready.is_some() || &**label == INLINE {
            debug!(plugin = PLUGIN, hostsfile = %label, entries = parsed.rows.len(), "hosts file read");
        } else {
            info!(plugin = PLUGIN, hostsfile = %label, entries = parsed.rows.len(), "hosts file read");
        }
        for line in &parsed.bad_lines {
            warn!(plugin = PLUGIN, place = place(line.number), error = %line.error, "bad line left out");
        }
        let more = parsed.bad_count - parsed.bad_lines.len();
        if more > 0 {
            warn!(plugin = PLUGIN, hostsfile = %label, more, "further bad lines left out");
        }
    }
}

// === impl Load ===

impl Load {
    /// Reads a file, and parses it if its content is new. Blocks.
    fn new(order: ReadOrder, options: &Options) -> Self {
        let (outcome, parsed) = match read(&order) {
            Ok(Reading::Unsettled) => (Outcome::Unsettled, None),
            Ok(Reading::Unchanged(seen)) => (Outcome::Read(seen), None),
            Ok(Reading::Changed { seen, text }) => {
                (Outcome::Read(seen), Some(parse_file(&text, options)))
            }
            // It was there a moment ago: the next look tells what became of it.
            Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                (Outcome::Unsettled, None)
            }
            Err(error) => (Outcome::Failed(error.to_string()), None),
        };
        Self {
            order,
            outcome,
            parsed,
        }
    }
}

/// Does work that blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    task::spawn_blocking(work).await.map_err(Stopped::BrokenOff)
}

/// Tells the operator.
fn tell(notice: &Notice) {
    match notice {
        Notice::Missing(path) => warn!(plugin = PLUGIN, "File does not exist: {path}"),
        Notice::Unreadable(path, error) => warn!(
            plugin = PLUGIN,
            hostsfile = %path,
            error,
            "hosts file cannot be read, what was read before stays in effect"
        ),
    }
}

/// The time, as tests may set it.
fn clock() -> std::time::Instant {
    Instant::now().into_std()
}

/// Name of the directive in logs.
const PLUGIN: &str = "hosts";

/// What stands for the path of lines within the configuration in metrics.
const INLINE: &str = "inline";

/// Shortest time between two looks that no report called for.
const SHORTEST_REST: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;

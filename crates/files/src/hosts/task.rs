//! The task of one `hosts` directive: follows the files, sends what they say.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_table::Batch;
use portolan_table::Change;
use portolan_table::Source;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::follow::Follower;
use crate::follow::Handle;
use crate::follow::Look;
use crate::follow::Outlet;
use crate::follow::Stopped;
use crate::follow::Target;
use crate::follow::spawn;
use crate::hosts::Config;
use crate::hosts::Families;
use crate::hosts::MAX_FILE_SIZE;
use crate::hosts::MAX_FILES;
use crate::hosts::metrics::FileGauges;
use crate::hosts::parse::Options;
use crate::hosts::parse::Parsed;
use crate::hosts::parse::parse_file;
use crate::hosts::parse::parse_lines;
use crate::paths::Selection;

/// Keeps the rows of one `hosts` directive true to its files.
#[derive(Debug)]
pub struct HostsTask {
    /// What the directive asks for.
    config: Arc<Config>,
    /// How lines are read.
    options: Options,
    /// Looks at the files.
    follower: Follower,
    /// Figures of each file in effect.
    gauges: BTreeMap<Arc<str>, FileGauges>,
    /// Where all the figures go.
    metrics: Families,
    /// Where the rows go.
    outlet: Outlet,
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
    ) -> Handle {
        let (outlet, handle) = Outlet::new(changes);
        let task = Self {
            options: Options::new(&config),
            follower: Follower::new(target(&config)),
            gauges: BTreeMap::new(),
            config: Arc::new(config),
            metrics,
            outlet,
        };
        spawn(task.run(), tracker, cancel);
        handle
    }

    /// Runs until something stops it.
    async fn run(mut self) {
        loop {
            if let Err(error) = self.round().await {
                warn!(plugin = PLUGIN, %error, "hosts files are no longer followed");
                return;
            }
            self.follower.rest().await;
        }
    }

    /// Looks at the files, and sends what changed.
    async fn round(&mut self) -> Result<(), Stopped> {
        let options = self.options.clone();
        let look = self
            .follower
            .look(move |_, text| parse_file(text, &options))
            .await?;
        let changes = self.take(look);
        self.publish(changes).await?;
        self.follower.watch().await;
        Ok(())
    }

    /// The changes that follow from a look.
    fn take(&mut self, look: Look<Parsed>) -> Vec<Change> {
        let mut changes = Vec::new();
        for load in look.loads {
            self.metrics.read(load.seen.stamp.modified);
            let path = load.path;
            if let Some(parsed) = load.parsed {
                self.report(&path, &parsed, |number| format!("{path}:{number}"));
                changes.push(self.change(Source::HostsFile(path), parsed));
            }
        }
        for path in look.withdrawn {
            info!(plugin = PLUGIN, hostsfile = %path, "hosts file is gone, entries withdrawn");
            self.gauges.remove(&path);
            changes.push(self.change(Source::HostsFile(path), Parsed::default()));
        }
        changes
    }

    /// Sends changes, if any; the first time in any case.
    async fn publish(&mut self, mut changes: Vec<Change>) -> Result<(), Stopped> {
        if self.outlet.is_fresh() {
            changes.extend(self.inline());
            info!(
                plugin = PLUGIN,
                files = self.follower.loaded_count(),
                entries = changes
                    .iter()
                    .map(|change| change.rows.len())
                    .sum::<usize>(),
                "hosts loaded"
            );
        }
        self.outlet.publish(changes).await
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
        if self.outlet.is_fresh() || &**label == INLINE {
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

/// What a directive follows.
fn target(config: &Config) -> Target {
    Target {
        plugin: PLUGIN,
        kind: "hosts file",
        missing: "File does not exist",
        paths: config.paths.clone(),
        selection: Selection {
            extensions: &[],
            excluded: &[],
            max_files: MAX_FILES,
        },
        max_size: MAX_FILE_SIZE,
        reload: config.reload,
        notify: config.notify,
    }
}

/// Name of the directive in logs.
const PLUGIN: &str = "hosts";

/// What stands for the path of lines within the configuration in metrics.
const INLINE: &str = "inline";

#[cfg(test)]
mod tests;

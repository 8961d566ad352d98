//! The task of one `traefik-externals` directive: follows the files, sends
//! the names that they hold.
//!
//! There are two things to follow, the directory and the file of variables. A
//! change of the variables makes every file be read anew.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use portolan_proto::Name;
use portolan_table::Batch;
use portolan_table::Change;
use portolan_table::Row;
use portolan_table::Source;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;
use tracing::warn;

use super::Config;
use super::EXCLUDED;
use super::EXTENSIONS;
use super::Families;
use super::MAX_FILE_SIZE;
use super::MAX_FILES;
use super::MAX_NAMES;
use super::Variables;
use super::env_file;
use super::env_file::EnvFile;
use super::ledger::Ledger;
use super::metrics::Share;
use super::routers;
use super::routers::FileError;
use super::routers::Parsed;
use crate::follow::Follower;
use crate::follow::Handle;
use crate::follow::Look;
use crate::follow::Outlet;
use crate::follow::Stopped;
use crate::follow::Target;
use crate::follow::spawn;
use crate::paths::Selection;

/// Keeps the rows of one `traefik-externals` directive true to its files.
#[derive(Debug)]
pub struct TraefikTask {
    /// What the directive asks for.
    config: Config,
    /// Looks at the directory.
    follower: Follower,
    /// Looks at the file of variables, if there is one.
    env_follower: Option<Follower>,
    /// The variables in effect.
    variables: Arc<Variables>,
    /// The names in effect.
    ledger: Ledger,
    /// What the operator was told of each file.
    told: BTreeMap<Arc<str>, Told>,
    /// The part in the gauges.
    share: Share,
    /// Where the figures go.
    metrics: Families,
    /// Where the rows go.
    outlet: Outlet,
}

/// What the operator was told of a file: each thing is told once.
#[derive(Debug, Default)]
struct Told {
    /// That patterns are not published.
    pattern: bool,
    /// Which variables are missing.
    missing: BTreeSet<String>,
}

// === impl TraefikTask ===

impl TraefikTask {
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
            follower: Follower::new(directory(&config)),
            env_follower: env_target(&config).map(Follower::new),
            variables: Arc::clone(&config.variables),
            ledger: Ledger::default(),
            told: BTreeMap::new(),
            share: metrics.share(),
            config,
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
                warn!(plugin = PLUGIN, %error, "Traefik's files are no longer followed");
                return;
            }
            tokio::select! {
                () = self.follower.rest() => {}
                () = rest(self.env_follower.as_ref()) => {}
            }
        }
    }

    /// Looks at the files, and sends what changed.
    async fn round(&mut self) -> Result<(), Stopped> {
        self.look_at_variables().await?;
        let variables = Arc::clone(&self.variables);
        let look = self
            .follower
            .look(move |path, text| routers::parse(path, text, &variables))
            .await?;
        let changes = self.take(look);
        self.share
            .set(self.ledger.name_count(), self.ledger.bad_count());
        if self.outlet.is_fresh() {
            info!(
                plugin = PLUGIN,
                directory = self.config.directory,
                files = self.follower.loaded_count(),
                names = self.ledger.name_count(),
                "Traefik's files loaded"
            );
        }
        self.outlet.publish(changes).await?;
        self.follower.watch().await;
        if let Some(follower) = &mut self.env_follower {
            follower.watch().await;
        }
        Ok(())
    }

    /// Looks at the file of variables, if there is one.
    async fn look_at_variables(&mut self) -> Result<(), Stopped> {
        let Some(follower) = &mut self.env_follower else {
            return Ok(());
        };
        let look = follower.look(|_, text| env_file::parse(text)).await?;
        for load in look.loads {
            let Some(EnvFile {
                mut variables,
                bad_lines,
            }) = load.parsed
            else {
                continue;
            };
            info!(plugin = PLUGIN, file = %load.path, variables = variables.len(), "variables read");
            if let Some(line) = bad_lines.first() {
                let lines = bad_lines.len();
                warn!(plugin = PLUGIN, file = %load.path, lines, "lines without a variable left out, the first is line {line}");
            }
            let own = self.config.variables.iter();
            let own = own.filter(|(_, value)| !value.is_empty());
            variables.extend(own.map(|(name, value)| (name.clone(), value.clone())));
            self.variables = Arc::new(variables);
            self.follower.forget();
        }
        Ok(())
    }

    /// The changes that follow from a look.
    fn take(&mut self, look: Look<Result<Parsed, FileError>>) -> Vec<Change> {
        self.metrics.parse_errors.inc_by(look.failures);
        let mut changes = Vec::new();
        let mut is_reload = self.outlet.is_fresh();
        for load in look.loads {
            match load.parsed {
                Some(Ok(parsed)) => {
                    is_reload = true;
                    changes.extend(self.file(load.path, parsed));
                }
                Some(Err(error)) => {
                    self.metrics.parse_errors.inc();
                    warn!(
                        plugin = PLUGIN,
                        file = %load.path,
                        %error,
                        "Traefik file cannot be read, what was read before stays in effect"
                    );
                }
                None => {}
            }
        }
        for path in look.withdrawn {
            is_reload = true;
            self.told.remove(&path);
            if self.ledger.remove(&path) {
                info!(plugin = PLUGIN, file = %path, "Traefik file is gone, names withdrawn");
                changes.push(self.change(path, &[]));
            }
        }
        self.metrics.reloads.inc_by(u64::from(is_reload));
        changes
    }

    /// Takes what a file says; the change that follows, if any.
    fn file(&mut self, path: Arc<str>, parsed: Parsed) -> Option<Change> {
        self.report(&path, &parsed);
        let update = self
            .ledger
            .set(Arc::clone(&path), parsed.names, parsed.bad_count);
        if update.left_out > 0 {
            warn!(
                plugin = PLUGIN,
                file = %path,
                names = update.left_out,
                "names left out: there are more than {MAX_NAMES}"
            );
        }
        let names = update.names?;
        info!(plugin = PLUGIN, file = %path, names = names.len(), "Traefik file read");
        Some(self.change(path, &names))
    }

    /// Tells the operator what a file has that cannot be used.
    fn report(&mut self, path: &Arc<str>, parsed: &Parsed) {
        let told = self.told.entry(Arc::clone(path)).or_default();
        if parsed.has_pattern && !std::mem::replace(&mut told.pattern, true) {
            warn!(
                plugin = PLUGIN,
                file = %path,
                "HostRegexp stands for names that nobody can list: they are not published"
            );
        }
        for (variable, routers) in &parsed.missing {
            if !told.missing.contains(variable) {
                warn!(
                    plugin = PLUGIN,
                    file = %path,
                    ?variable,
                    routers,
                    "environment variable is not set or empty, routers left out"
                );
            }
        }
        told.missing = parsed.missing.keys().cloned().collect();
        for bad in &parsed.bad_routers {
            warn!(
                plugin = PLUGIN,
                file = %path,
                router = ?bad.router,
                error = %bad.error,
                "rule left out, wholly or in part"
            );
        }
        let known = parsed.bad_routers.len() + parsed.missing.values().sum::<usize>();
        let more = parsed.bad_count.saturating_sub(known);
        if more > 0 {
            warn!(plugin = PLUGIN, file = %path, more, "further rules left out");
        }
    }

    /// A change to a file's names.
    fn change(&self, path: Arc<str>, names: &[Name]) -> Change {
        let mut rows = Vec::with_capacity(names.len() * self.config.host_ips.len());
        for name in names {
            rows.extend(self.config.host_ips.iter().map(|&address| Row {
                owner: name.clone(),
                rdata: address.into(),
                ttl: self.config.ttl,
            }));
        }
        Change {
            layer: self.config.layer,
            source: Source::TraefikFile(path),
            rows,
        }
    }
}

/// Waits until there is a reason to look at a file that may not be wanted.
async fn rest(follower: Option<&Follower>) {
    match follower {
        Some(follower) => follower.rest().await,
        None => std::future::pending().await,
    }
}

/// The directory of a directive.
fn directory(config: &Config) -> Target {
    Target {
        plugin: PLUGIN,
        kind: "Traefik file",
        missing: "directory does not exist yet",
        paths: vec![config.directory.clone()],
        selection: Selection {
            extensions: &EXTENSIONS,
            excluded: &EXCLUDED,
            max_files: MAX_FILES,
        },
        max_size: MAX_FILE_SIZE,
        reload: Some(config.reload),
        notify: true,
    }
}

/// The file of variables of a directive.
fn env_target(config: &Config) -> Option<Target> {
    let path = config.env_file.clone()?;
    Some(Target {
        kind: "file of variables",
        missing: "file of variables does not exist yet",
        paths: vec![path],
        ..directory(config)
    })
}

/// Name of the directive in logs.
const PLUGIN: &str = "traefik-externals";

#[cfg(test)]
mod tests;

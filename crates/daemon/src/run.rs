//! `portolan serve`: start, reload, stop.

mod reload;

use std::backtrace::Backtrace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use portolan_config::{Config, Loaded};
use portolan_telemetry::admin::{Admin, Document, Order, Services};
use portolan_telemetry::errors::GoDuration;
use portolan_telemetry::log;
use portolan_telemetry::log::LogGuard;
use portolan_telemetry::metrics::{BuildInfo, Metrics};
use portolan_telemetry::readiness::Readiness;
use prometheus::IntCounter;
use tokio::runtime::{Builder, Runtime};

use self::reload::{Digests, ReloadCounters};
use crate::cli::{LogFormat, Options};
use crate::clusters::Shown;
use crate::flush::Caches;
use crate::generation::{Generation, Plan};
use crate::load::Origin;
use crate::parts::{Parts, cores};
use crate::privileges::{Belongings, Descent};
use crate::signals::{Request, Signals};
use crate::yielding::Yielding;
use crate::{complain, members, sources, version};

/// How long sources may delay the first answer. What they have not said by
/// then, they say later.
const START_PATIENCE: Duration = Duration::from_millis(100);

/// How long queries in flight may take after the signal to stop.
const GRACE: Duration = Duration::from_secs(5);

/// How long background tasks may take to end after that.
const TASKS_GRACE: Duration = Duration::from_secs(1);

/// What is wrong if there cannot be a runtime.
const NO_THREADS: &str = "cannot start threads";

/// The program at work.
struct Supervisor {
    /// Where the configuration comes from.
    origin: Origin,
    /// Port of server blocks that name none.
    port: Option<u16>,
    /// What generations share.
    parts: Parts,
    /// The configuration in effect.
    generation: Generation,
    /// Its digest, and that of the one that failed last.
    digests: Digests,
    /// `reload` of the configuration in effect.
    reload: Option<portolan_config::Reload>,
    /// The admin endpoints.
    admin: Admin,
    /// What `/ready` looks at.
    readiness: Readiness,
    /// The log.
    log: LogGuard,
    /// What reloads count.
    counters: ReloadCounters,
    /// Whether a panic is logged with its stack, as `errors` may ask.
    stacktrace: Arc<AtomicBool>,
}

/// Serves until told to stop.
pub(crate) fn serve(options: &Options) -> ExitCode {
    match try_serve(options) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Sets up everything, then runs.
fn try_serve(options: &Options) -> anyhow::Result<ExitCode> {
    let origin = Origin::find(options)?;
    let loaded = origin.load(options.port)?;
    let descent = Descent::plan(options.user.as_deref())?;
    if let Some(descent) = &descent {
        descent.forbid_gain()?;
    }
    let log = log::init(log::LogConfig {
        format: match options.log_format {
            LogFormat::Json => log::LogFormat::Json,
            LogFormat::Text => log::LogFormat::Text,
        },
        debug: debug(&loaded.config),
        quiet: options.quiet,
    })?;
    let yielding = Yielding::default();
    let control = runtime("control", 1)
        .on_thread_start(yielding.started())
        .on_thread_stop(yielding.stopped())
        .build()
        .context(NO_THREADS)?;
    let queries = runtime("query", cores()).build().context(NO_THREADS)?;
    let code = control.block_on(async {
        // From here on a signal is obeyed: scripts send them once they see the
        // banner.
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let starting = Supervisor::start(options, origin, loaded, log, descent, &queries);
        match signals.during(starting).await {
            Ok((supervisor, waiting)) => {
                let (supervisor, pidfile) = (supervisor?, options.pidfile.as_deref());
                yielding.begin();
                Ok(supervisor.run(pidfile, signals, waiting).await)
            }
            // Nobody is being served yet.
            Err(_stop) => Ok(ExitCode::SUCCESS),
        }
    });
    control.shutdown_timeout(TASKS_GRACE);
    queries.shutdown_timeout(TASKS_GRACE);
    code
}

/// A runtime with named threads.
fn runtime(name: &str, threads: usize) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(threads)
        .thread_name(name)
        .enable_all();
    builder
}

// === impl Supervisor ===

impl Supervisor {
    /// Builds everything, opens every port and serves.
    async fn start(
        options: &Options,
        origin: Origin,
        loaded: Loaded,
        log: LogGuard,
        descent: Option<Descent>,
        queries: &Runtime,
    ) -> anyhow::Result<Self> {
        let metrics = Metrics::new(
            &BuildInfo {
                version: version::VERSION.to_owned(),
                revision: version::REVISION.to_owned(),
                compiler: version::COMPILER.to_owned(),
            },
            log.dropped_lines(),
        )?;
        let stacktrace = Arc::new(AtomicBool::new(false));
        hook_panics(metrics.panics().clone(), Arc::clone(&stacktrace));
        let readiness = Readiness::default();
        let shown = Shown::default();
        let caches = Caches::default();
        let services = Services {
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            members: Document::new({
                let shown = shown.clone();
                move || members::document(&shown.members())
            }),
            version: Document::new(version::document),
            flush: Order::new({
                let caches = caches.clone();
                move |query| caches.flush(query)
            }),
        };
        let admin = Admin::bind(services, &[])?;
        let parts = Parts::new(&metrics, &readiness, shown, caches, queries.handle())?;
        let counters = ReloadCounters::register(metrics.registry())?;
        let mut supervisor = Self {
            origin,
            port: options.port,
            parts,
            generation: Generation::none(),
            digests: Digests::default(),
            reload: None,
            admin,
            readiness,
            log,
            counters,
            stacktrace,
        };
        warn(&loaded);
        let zones = supervisor.apply(&loaded.config, START_PATIENCE).await?;
        if let Some(path) = options.pidfile.as_deref() {
            write_pid(path);
        }
        if let Some(descent) = descent {
            descent.descend(&supervisor.belongings(&loaded.config))?;
        }
        banner(&zones);
        supervisor.counters.loaded(&supervisor.digests.current);
        Ok(supervisor)
    }

    /// Serves `config` from now on, or leaves everything as it was. Gives the
    /// banner's line for each zone and listener.
    async fn apply(&mut self, config: &Config, patience: Duration) -> anyhow::Result<Vec<String>> {
        let mut next = self
            .generation
            .prepare(config, &mut self.parts, patience)
            .await?;
        let Plan {
            routings,
            endpoints,
            monitor,
            zones,
            askers,
        } = std::mem::take(&mut next.plan);
        // What can fail is over once a DNS socket is open: queries that wait in
        // one that is not served would be lost with it.
        let bound = self
            .admin
            .prepare(&endpoints)
            .map_err(|error| askers.admin_error(error))
            .and_then(|admin| {
                let dns = self.parts.server.prepare(routings);
                Ok((dns.map_err(|error| askers.dns_error(&error))?, admin))
            });
        let (dns, admin) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                self.generation.discard(next, &self.parts).await;
                return Err(error);
            }
        };
        self.generation.count_for_readiness(&next, &self.parts);
        self.parts.server.commit(dns);
        self.admin.commit(admin);
        self.readiness.set_monitor(monitor);
        self.generation.hand_over(next, &self.parts);
        self.log.set_debug(debug(config));
        self.stacktrace.store(stacktrace(config), Ordering::Relaxed);
        self.reload = config.reload.as_ref().map(|reload| reload.value);
        self.digests = Digests {
            current: config.digest.clone(),
            failed: None,
        };
        Ok(zones
            .into_iter()
            .map(|(zone, listener)| match listener.ip {
                None => format!("{zone}:{}", listener.port),
                Some(ip) => format!("{zone}:{} on {ip}", listener.port),
            })
            .collect())
    }

    /// What has to stay in reach once the process is no longer root.
    fn belongings(&self, config: &Config) -> Belongings {
        let directives = config
            .blocks
            .iter()
            .filter_map(|block| block.value.docker_cluster.as_ref());
        Belongings {
            sockets: directives
                .flat_map(|directive| sources::sockets(&directive.value))
                .collect(),
            files: self.origin.path().map(PathBuf::from).into_iter().collect(),
        }
    }

    /// Obeys signals and the reload timer until told to stop. `waiting` is a
    /// signal that came before.
    async fn run(
        mut self,
        pidfile: Option<&Path>,
        mut signals: Signals,
        mut waiting: Option<Request>,
    ) -> ExitCode {
        let code = loop {
            let request = match waiting.take() {
                Some(request) => Some(request),
                None => {
                    let due = self.next_look();
                    tokio::select! {
                        request = signals.next() => Some(request),
                        () = due => None,
                        () = self.parts.sources.builder.ended() => {
                            // Names would stay as they are for ever: whoever
                            // restarts us does better.
                            tracing::error!("the record table is no longer kept, ending");
                            self.stop(&mut signals).await;
                            break ExitCode::FAILURE;
                        }
                        () = self.generation.member_ended() => {
                            // The same goes for names of other hosts, and for
                            // ours there.
                            tracing::error!("the member of the cluster has broken down, ending");
                            self.stop(&mut signals).await;
                            break ExitCode::FAILURE;
                        }
                    }
                }
            };
            match request {
                None => waiting = signals.until_stop(self.reload_if_changed()).await,
                Some(Request::Reload(signal)) => {
                    tracing::info!("{signal}: Reloading");
                    waiting = signals.until_stop(self.reload_now(signal)).await;
                }
                Some(Request::Quit) => break ExitCode::SUCCESS,
                Some(Request::Terminate) => {
                    tracing::info!("SIGTERM: Shutting down servers then terminating");
                    break self.stop(&mut signals).await;
                }
                Some(Request::Interrupt) => {
                    tracing::info!("SIGINT: Shutting down");
                    break self.stop(&mut signals).await;
                }
            }
        };
        if let Some(path) = pidfile {
            drop(fs::remove_file(path));
        }
        self.log.flush(TASKS_GRACE);
        code
    }

    /// Stops: not ready at once, then the lame-duck time, then the drain.
    async fn stop(&self, signals: &mut Signals) -> ExitCode {
        self.readiness.shut_down();
        let gentle = async {
            let lameduck = self.generation.lameduck;
            if !lameduck.is_zero() {
                tracing::info!(
                    plugin = "health",
                    "Going into lameduck mode for {}",
                    GoDuration(lameduck),
                );
                tokio::time::sleep(lameduck).await;
            }
            let drained = self.parts.server.shut_down(GRACE).await;
            if !drained {
                tracing::warn!("queries in flight were not answered within {GRACE:?}");
            }
        };
        let impatient = async {
            loop {
                match signals.next().await {
                    Request::Interrupt => return ExitCode::from(2),
                    Request::Quit => return ExitCode::SUCCESS,
                    Request::Terminate | Request::Reload(_) => {}
                }
            }
        };
        let code = tokio::select! {
            () = gentle => ExitCode::SUCCESS,
            code = impatient => return code,
        };
        self.generation.leave().await;
        self.generation.flush();
        self.parts.stop.cancel();
        self.parts.tasks.close();
        drop(tokio::time::timeout(TASKS_GRACE, self.parts.tasks.wait()).await);
        code
    }
}

/// Writes the process id; without that, the server serves all the same.
fn write_pid(path: &Path) {
    if let Err(error) = fs::write(path, format!("{}\n", std::process::id())) {
        tracing::error!(path = %path.display(), %error, "cannot write the pid file");
    }
}

/// Whether a server block asks for debug messages.
fn debug(config: &Config) -> bool {
    config
        .blocks
        .iter()
        .any(|block| block.value.debug.is_some())
}

/// Whether a server block asks for the stack of a panic.
fn stacktrace(config: &Config) -> bool {
    let errors = config
        .blocks
        .iter()
        .filter_map(|block| block.value.errors.as_ref());
    errors.into_iter().any(|errors| errors.value.stacktrace)
}

/// Counts and logs panics. They end at most the task that had them.
fn hook_panics(panics: IntCounter, stacktrace: Arc<AtomicBool>) {
    std::panic::set_hook(Box::new(move |panic| {
        panics.inc();
        if stacktrace.load(Ordering::Relaxed) {
            let stack = Backtrace::force_capture();
            tracing::error!(plugin = "errors", %stack, "panic: {panic}");
        } else {
            tracing::error!(plugin = "errors", "panic: {panic}");
        }
    }));
}

/// Logs what the configuration has that is legal and likely not meant.
fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

/// Prints which zones are served where, and the version, which scripts wait
/// for.
fn banner(zones: &[String]) {
    for zone in zones {
        tracing::info!(target: "banner", "{zone}");
    }
    for line in version::lines() {
        tracing::info!(target: "banner", "{line}");
    }
}

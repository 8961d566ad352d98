//! The sequence of connections to one engine.
//!
//! A connection that fails is followed by another: after 1 s, doubled up to
//! 10 s, or as soon as the engine's socket is created anew. Meanwhile the
//! linger times of stopped containers run on; everything else stays as it is.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bollard::errors::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::inventory::Inventory;
use crate::outage::Outage;
use crate::outage::Report;
use crate::outlet::Outlet;
use crate::outlet::TableGone;
use crate::socket_watch::SocketWatch;

/// Shortest delay before a connection is tried again.
const SHORTEST_DELAY: Duration = Duration::from_secs(1);

/// Longest delay before a connection is tried again.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Delay while the engine is likely just starting.
const QUICK_DELAY: Duration = Duration::from_millis(100);

/// How long it is likely just starting: after a new socket has appeared, and
/// after a connection has been lost.
const QUICK_TIME: Duration = Duration::from_secs(2);

/// A connection that did not last this long says nothing of a restart.
const STEADY_TIME: Duration = Duration::from_secs(10);

/// Follows one engine.
pub(crate) struct Watcher {
    /// What is wanted.
    pub(crate) config: Arc<Config>,
    /// Decides.
    pub(crate) inventory: Inventory,
    /// Where decisions leave.
    pub(crate) outlet: Outlet,
    /// Whether the engine is away.
    pub(crate) outage: Outage,
    /// Shutdown waits for connections here.
    pub(crate) tracker: TaskTracker,
    /// Shutdown.
    pub(crate) cancel: CancellationToken,
    /// When the present connection was in step first.
    pub(crate) synced_at: Option<Instant>,
    /// Whether any connection was in step.
    pub(crate) was_synced: bool,
    /// Whether the first sync waits for inspections.
    pub(crate) is_held: bool,
    /// The engine's version, if it tells.
    pub(crate) version: Option<String>,
    /// Delays between attempts.
    backoff: Backoff,
    /// Until when attempts follow one another quickly.
    quick_until: Option<Instant>,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Shutdown, or nobody takes changes any more.
    Stopped,
    /// The engine.
    Lost(Error),
}

// === impl Watcher ===

impl Watcher {
    /// Follows the engine of `config`.
    pub(crate) fn new(
        config: Arc<Config>,
        outlet: Outlet,
        tracker: TaskTracker,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            inventory: Inventory::new(Arc::clone(&config)),
            config,
            outlet,
            outage: Outage::default(),
            tracker,
            cancel,
            synced_at: None,
            was_synced: false,
            is_held: false,
            version: None,
            backoff: Backoff::new(SHORTEST_DELAY, LONGEST_DELAY),
            quick_until: None,
        }
    }

    /// Runs until shutdown.
    pub(crate) async fn run(mut self) {
        let mut watch = None;
        loop {
            if let Some(watch) = &mut watch {
                SocketWatch::mark(watch);
            }
            let result: Result<Infallible, End> = Box::pin(self.session(&mut watch)).await;
            let error = match result {
                Err(End::Lost(error)) => error,
                Err(End::Stopped) => return,
                Ok(never) => match never {},
            };
            self.lost(&error);
            if watch.is_none() {
                watch = self.config.endpoint.socket_path().map(SocketWatch::new);
            }
            if self.wait_to_retry(watch.as_mut()).await.is_err() {
                return;
            }
        }
    }

    /// A connection is lost, or there was none.
    fn lost(&mut self, error: &Error) {
        if let Some(since) = self.synced_at.take() {
            self.backoff.reset();
            if now().saturating_duration_since(since) >= STEADY_TIME {
                self.quick_until = Some(now() + QUICK_TIME);
            }
        }
        self.outlet.gauge(false, &self.inventory);
        self.failed(error);
    }

    /// Counts a failure, and reports it unless that has been done.
    pub(crate) fn failed(&mut self, error: &Error) {
        self.outlet.count_error();
        let endpoint = &self.config.endpoint;
        let report = self.outage.failed(error, endpoint, now());
        let plugin = "docker-cluster";
        match report {
            Some(Report::Away { hint }) => {
                let hint = hint.as_deref();
                if self.was_synced {
                    tracing::warn!(plugin, %endpoint, %error, hint,
                        "lost connection to Docker daemon, keeping what is known");
                } else {
                    tracing::warn!(plugin, %endpoint, %error, hint,
                        "cannot connect to Docker daemon, trying on");
                }
            }
            Some(Report::Hint(hint)) => {
                tracing::warn!(plugin, %endpoint, %error, hint, "Docker daemon is still away");
            }
            None => tracing::debug!(plugin, %endpoint, %error, "Docker daemon is still away"),
        }
        self.outlet.first_attempt_failed();
    }

    /// Waits until another attempt is due.
    async fn wait_to_retry(&mut self, watch: Option<&mut SocketWatch>) -> Result<(), End> {
        // Nothing to wait for quickly where no socket file is.
        let is_there = watch.as_ref().is_some_and(|watch| watch.exists());
        let is_quick = is_there && self.quick_until.is_some_and(|until| now() < until);
        let delay = if is_quick {
            QUICK_DELAY
        } else {
            self.backoff.next(rand::random::<f64>())
        };
        let appeared = async {
            match watch {
                Some(watch) => watch.appeared().await,
                None => std::future::pending().await,
            }
        };
        let appeared = self
            .drive(tokio::time::timeout(delay, appeared))
            .await?
            .is_ok();
        if appeared {
            self.quick_until = Some(now() + QUICK_TIME);
            self.backoff.reset();
        }
        Ok(())
    }

    /// Waits for a future while linger times run on.
    pub(crate) async fn drive<F: Future>(&mut self, future: F) -> Result<F::Output, End> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(End::Stopped),
                () = sleep_until(self.inventory.poll_timeout()) => {
                    let actions = self.inventory.handle_timeout(now());
                    // What is asked for without a connection is asked for
                    // again as soon as there is one.
                    self.send(actions.changes).await?;
                    self.outlet.tell(actions.notices, false);
                    self.outlet.gauge(false, &self.inventory);
                }
                output = &mut future => return Ok(output),
            }
        }
    }

    /// Hands changes to the table.
    pub(crate) async fn send(&self, changes: Vec<portolan_table::Change>) -> Result<(), End> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(End::Stopped),
            sent = self.outlet.send(changes) => Ok(sent?),
        }
    }
}

// === impl End ===

impl From<TableGone> for End {
    fn from(_: TableGone) -> Self {
        Self::Stopped
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

/// The time, which tests can stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Waits for a point in time, for ever if there is none. Cancel safe.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

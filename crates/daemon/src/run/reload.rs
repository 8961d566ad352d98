//! Taking up another configuration, and remembering which were seen.

use std::time::Duration;

use portolan_config::Loaded;
use prometheus::{IntCounter, IntGaugeVec, Opts};

use super::{Supervisor, warn};
use crate::load::LoadError;

/// Which configurations were seen.
#[derive(Default)]
pub(super) struct Digests {
    /// In effect.
    pub(super) current: String,
    /// Failed to load; not tried again until it changes.
    pub(super) failed: Option<String>,
}

/// What reloads count.
pub(super) struct ReloadCounters {
    /// `coredns_reload_failed_total`
    failed: IntCounter,
    /// `coredns_reload_version_info`
    version: IntGaugeVec,
}

/// How long new sources may delay a reload; the old ones serve meanwhile.
const RELOAD_PATIENCE: Duration = Duration::from_secs(5);

// === impl Supervisor ===

impl Supervisor {
    /// Ends when the configuration is to be looked at again; never without a
    /// `reload` directive.
    pub(super) fn next_look(&self) -> impl Future<Output = ()> + 'static {
        let interval = self.reload.as_ref().map(|reload| {
            let jitter = reload.jitter.mul_f64(rand::random::<f64>());
            (reload.interval + jitter).saturating_sub(reload.jitter / 2)
        });
        async move {
            match interval {
                Some(interval) => tokio::time::sleep(interval).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Loads the configuration again if it says something else.
    pub(super) async fn reload_if_changed(&mut self) {
        const FAILED: &str = "plugin/reload: Corefile changed but reload failed";
        match self.load().await {
            Ok(loaded) if loaded.config.digest == self.digests.current => {
                self.digests.failed = None;
            }
            Ok(loaded) if Some(&loaded.config.digest) == self.digests.failed.as_ref() => {}
            Ok(loaded) => {
                tracing::info!("Reloading");
                self.reload(loaded, FAILED).await;
            }
            Err(error) if Some(error.to_string()) == self.digests.failed => {}
            Err(error) => self.failed(FAILED, error.to_string(), &error.into()),
        }
    }

    /// Loads the configuration again because somebody said so.
    pub(super) async fn reload_now(&mut self, signal: &str) {
        let failed = format!("{signal}: the old configuration stays");
        match self.load().await {
            Ok(loaded) => self.reload(loaded, &failed).await,
            Err(error) => self.failed(&failed, error.to_string(), &error.into()),
        }
    }

    /// Reads the configuration without holding up the control plane.
    async fn load(&self) -> Result<Loaded, LoadError> {
        let (origin, port) = (self.origin.clone(), self.port);
        let path = origin.to_string();
        tokio::task::spawn_blocking(move || origin.load(port))
            .await
            .unwrap_or_else(|error| {
                Err(LoadError::Read {
                    path,
                    reason: error.into(),
                })
            })
    }

    /// Replaces the configuration in effect, or reports what has `failed`.
    async fn reload(&mut self, loaded: Loaded, failed: &str) {
        warn(&loaded);
        match self.apply(&loaded.config, RELOAD_PATIENCE).await {
            Ok(_zones) => {
                self.counters.loaded(&self.digests.current);
                tracing::info!("Reloading complete");
            }
            Err(error) => self.failed(failed, loaded.config.digest, &error),
        }
    }

    /// Reports that the old configuration stays, and remembers the new one by
    /// its digest or its mistakes: the timer does not try it again.
    fn failed(&mut self, what: &str, which: String, error: &anyhow::Error) {
        self.counters.failed.inc();
        self.digests.failed = Some(which);
        tracing::error!("{what}: {error:#}");
    }
}

// === impl ReloadCounters ===

impl ReloadCounters {
    /// Registers the families.
    pub(super) fn register(registry: &prometheus::Registry) -> prometheus::Result<Self> {
        let counters = Self {
            failed: IntCounter::new("coredns_reload_failed_total", "Reloads that failed.")?,
            version: IntGaugeVec::new(
                Opts::new(
                    "coredns_reload_version_info",
                    "Digest of the configuration in effect.",
                ),
                &["hash", "value"],
            )?,
        };
        registry.register(Box::new(counters.failed.clone()))?;
        registry.register(Box::new(counters.version.clone()))?;
        Ok(counters)
    }

    /// Notes which configuration is in effect.
    pub(super) fn loaded(&self, digest: &str) {
        tracing::info!(plugin = "reload", "Running configuration SHA512 = {digest}");
        self.version.reset();
        self.version.with_label_values(&["sha512", digest]).set(1);
    }
}

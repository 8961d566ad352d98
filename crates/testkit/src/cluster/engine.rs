//! Fake engines that run in the background.

use std::sync::OnceLock;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::docker::EngineControl;
use crate::docker::FakeDocker;

/// A fake engine with a socket of its own.
#[derive(Debug)]
pub(super) struct Engine {
    /// The engine.
    docker: FakeDocker,
    /// Where its socket is.
    _directory: TempDir,
}

// === impl Engine ===

impl Engine {
    /// Starts it.
    pub(super) fn start() -> anyhow::Result<Self> {
        // The path of a socket is short: 107 octets at most.
        let directory = tempfile::Builder::new()
            .prefix("engine-")
            .tempdir_in("/tmp")?;
        let _entered = runtime()?.enter();
        let docker = FakeDocker::start(directory.path().join("docker.sock"))?;
        Ok(Self {
            docker,
            _directory: directory,
        })
    }

    /// Its address, as in `DOCKER_HOST`.
    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.docker.path().display())
    }

    /// Does things to its containers.
    pub(super) fn control(&self) -> EngineControl {
        self.docker.control()
    }

    /// Ends it; its containers stay.
    pub(super) fn stop(&mut self) {
        self.docker.stop();
    }

    /// Starts it again.
    pub(super) fn resume(&mut self) -> anyhow::Result<()> {
        let _entered = runtime()?.enter();
        Ok(self.docker.resume()?)
    }
}

/// What all engines run on, for the life of the process.
fn runtime() -> anyhow::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let start = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .ok()
    };
    RUNTIME
        .get_or_init(start)
        .as_ref()
        .context("no runtime for fake engines")
}

//! A fake engine in the background.

use std::path::Path;

use portolan_testkit::docker::EngineControl;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::docker::FakeDocker;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::engine::names_label;

/// A fake engine.
#[derive(Debug)]
pub(super) struct FakeEngine {
    /// The engine.
    engine: FakeDocker,
    /// What it runs on.
    _runtime: Runtime,
}

// === impl FakeEngine ===

impl FakeEngine {
    /// Starts it with a socket in `directory`.
    pub(super) fn start(directory: &TempDir) -> anyhow::Result<Self> {
        Self::start_at(&directory.path().join("docker.sock"))
    }

    /// Starts it with a socket at `path`.
    pub(super) fn start_at(path: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let engine = {
            let _entered = runtime.enter();
            FakeDocker::start(path)?
        };
        Ok(Self {
            engine,
            _runtime: runtime,
        })
    }

    /// Its address, as in `DOCKER_HOST`.
    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.engine.path().display())
    }

    /// Does things to its containers.
    pub(super) fn control(&self) -> EngineControl {
        self.engine.control()
    }
}

/// A container whose names are in the label of this test.
pub(super) fn container(id: &str, names: &str) -> FakeContainer {
    FakeContainer::new(id, &names_label(), names)
}

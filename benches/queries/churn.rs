//! Changes while a server is asked: containers of a fake engine that start and
//! stop.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use portolan_testkit::docker::FakeContainer;
use portolan_testkit::docker::FakeDocker;
use tokio::runtime::Builder;
use tokio::runtime::Runtime;

/// An engine whose containers come and go when they are told to.
pub(crate) struct Churn {
    /// The engine.
    _engine: FakeDocker,
    /// Whether they come and go.
    is_on: Arc<AtomicBool>,
    /// Ends it when dropped.
    end: Option<mpsc::Sender<()>>,
    /// What makes them.
    thread: Option<JoinHandle<()>>,
    /// What the engine runs on; dropped after it.
    _runtime: Runtime,
}

// === impl Churn ===

impl Churn {
    /// An engine at a path.
    pub(crate) fn start(path: &Path) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let engine = FakeDocker::start(path)?;
        drop(entered);
        let control = engine.control();
        let is_on = Arc::new(AtomicBool::new(false));
        let on = Arc::clone(&is_on);
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            for number in 0_u32.. {
                if ended.recv_timeout(PAUSE) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
                if !on.load(Ordering::Relaxed) {
                    continue;
                }
                // Each is gone by the change after the one that started it.
                let container = number / 2 % CONTAINERS;
                let id = format!("{container:064x}");
                if number % 2 == 0 {
                    let name = format!("churn{container}.example.org");
                    control.run(FakeContainer::new(&id, "coredns.host.name", &name));
                } else {
                    control.destroy(&id);
                }
            }
        });
        Ok(Self {
            _engine: engine,
            is_on,
            end: Some(end),
            thread: Some(thread),
            _runtime: runtime,
        })
    }

    /// Has them come and go, or not.
    pub(crate) fn set(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Time between two changes: a hundred a second.
const PAUSE: Duration = Duration::from_millis(10);

/// How many there are.
const CONTAINERS: u32 = 1000;

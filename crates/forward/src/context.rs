//! What all stanzas and caches of the process share.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Families;
use crate::SocketRoom;
use crate::loops::MAX_LOOKS;
use crate::sockets::Sockets;

/// Most queries that may wait for upstreams at once, in the whole process:
/// 10,000 by default, at some 10 kB each.
pub const MAX_IN_FLIGHT: usize = 10_000;

/// The surroundings of a resolver: where its tasks run and are counted.
///
/// Cloning is cheap; the clones share everything.
#[derive(Clone, Debug)]
pub struct Context {
    /// Waits for background work at shutdown.
    pub tracker: TaskTracker,
    /// Ends background work.
    pub token: CancellationToken,
    /// Metrics.
    pub families: Families,
    /// Where background work runs, whoever asks for it.
    runtime: Option<Handle>,
    /// One permit for each query that waits for upstreams.
    pub(crate) in_flight: Arc<Semaphore>,
    /// How many permits there are.
    pub(crate) max_in_flight: usize,
    /// One permit for each look for a forwarding loop.
    pub(crate) looks: Arc<Semaphore>,
    /// The UDP sockets that are open to upstreams.
    pub(crate) sockets: Sockets,
}

// === impl Context ===

impl Context {
    /// Surroundings with room for [`MAX_IN_FLIGHT`] queries. Background work
    /// runs on the tokio runtime that this is called in.
    pub fn new(tracker: TaskTracker, token: CancellationToken, families: Families) -> Self {
        Self {
            tracker,
            token,
            families,
            runtime: Handle::try_current().ok(),
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            max_in_flight: MAX_IN_FLIGHT,
            looks: Arc::new(Semaphore::new(MAX_LOOKS)),
            sockets: Sockets::default(),
        }
    }

    /// The same, with room for `maximum` queries.
    pub fn with_max_in_flight(mut self, maximum: usize) -> Self {
        self.in_flight = Arc::new(Semaphore::new(maximum.min(Semaphore::MAX_PERMITS)));
        self.max_in_flight = maximum;
        self
    }

    /// The same, with idle sockets kept for further queries while there is
    /// room.
    pub fn with_socket_room(mut self, room: SocketRoom) -> Self {
        self.sockets = Sockets::new(room);
        self
    }

    /// Runs something in the background until it or the process ends. A
    /// caller need not be on a runtime; without any, nothing runs.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Some(runtime) = self.runtime.clone().or_else(|| Handle::try_current().ok()) else {
            return;
        };
        let token = self.token.clone();
        let work = async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = work => {}
            }
        };
        self.tracker.spawn_on(work, &runtime);
    }
}

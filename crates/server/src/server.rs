//! The listeners of the server, and changing them while it runs.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use portolan_forward::Unfinished;
use portolan_table::Table;
use tokio::runtime::EnterGuard;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::BindError;
use crate::Families;
use crate::Limits;
use crate::ListenAddr;
use crate::Routing;
use crate::SocketOptions;
use crate::handle::Shared;
use crate::listen::Sockets;
use crate::pending::Pending;
use crate::places::Full;
use crate::places::Places;
use crate::rotation::Rotation;
use crate::tcp;
use crate::tcp::Connections;
use crate::udp::Worker;

/// The running server: its listeners, and what they share.
///
/// A change comes in two steps. [`Server::prepare`] opens what is not open
/// yet and can fail without a trace; [`Server::commit`] cannot fail. A socket
/// that stays is not touched, so that no query is lost.
pub struct Server {
    /// What all listeners share.
    shared: Arc<Shared>,
    /// Where queries wait for upstreams.
    queries: Arc<Queries>,
    /// Open TCP connections.
    connections: Arc<Connections>,
    /// Bounds on clients.
    limits: Limits,
    /// UDP workers of each listener that is not told how many it has.
    workers: usize,
    /// The listeners.
    listeners: Mutex<BTreeMap<ListenAddr, Listener>>,
    /// Ports and sockets of listeners that have ended. A socket is closed once
    /// its worker has looked up and the last query from it is answered.
    ended: Mutex<Vec<(u16, Weak<UdpSocket>)>>,
}

/// Sockets that are open and not yet served.
#[derive(Debug)]
pub struct Prepared {
    /// Sockets of new listeners.
    opened: BTreeMap<ListenAddr, Sockets>,
    /// All listeners and what they route.
    routings: BTreeMap<ListenAddr, Routing>,
}

/// One listener at work.
struct Listener {
    /// Which block answers.
    routing: Arc<ArcSwap<Routing>>,
    /// Ends the listener.
    stop: CancellationToken,
    /// As what its sockets were opened.
    options: SocketOptions,
    /// Its UDP sockets.
    sockets: Vec<Arc<UdpSocket>>,
    /// Its UDP workers.
    workers: Vec<JoinHandle<()>>,
}

/// Queries that wait for upstreams.
pub(crate) struct Queries {
    /// The query runtime.
    runtime: Handle,
    /// Their tasks.
    tasks: TaskTracker,
    /// How many may wait.
    places: Arc<Places>,
}

// === impl Server ===

impl Server {
    /// A server without listeners, whose queries wait on `runtime`.
    pub fn new(
        runtime: Handle,
        table: Arc<Table>,
        families: Families,
        limits: Limits,
        workers: usize,
    ) -> Self {
        Self {
            connections: Arc::new(Connections::new(limits, families.clone())),
            shared: Arc::new(Shared {
                table,
                families,
                rotation: Rotation::default(),
            }),
            queries: Arc::new(Queries {
                runtime,
                tasks: TaskTracker::new(),
                places: Arc::new(Places::new(&limits)),
            }),
            limits,
            workers: workers.max(1),
            listeners: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    /// Opens the sockets of the listeners that are not there yet.
    ///
    /// # Errors
    ///
    /// [`BindError`] for the first that cannot be opened; those that could
    /// are closed again.
    pub fn prepare(&self, routings: BTreeMap<ListenAddr, Routing>) -> Result<Prepared, BindError> {
        let current: BTreeSet<ListenAddr> = self.lock().keys().copied().collect();
        let mut opened = BTreeMap::new();
        let is_new = |(addr, _): &(&ListenAddr, &Routing)| !current.contains(addr);
        for (addr, routing) in routings.iter().filter(is_new) {
            // Where this process holds the port already, it is no stranger.
            let exclusive =
                current.iter().all(|other| other.port != addr.port) && !self.is_closing(addr.port);
            opened.insert(
                *addr,
                addr.bind(routing.sockets(), self.workers, exclusive)?,
            );
        }
        Ok(Prepared { opened, routings })
    }

    /// Serves the prepared listeners from now on and ends all others.
    pub fn commit(&self, prepared: Prepared) {
        let Prepared {
            mut opened,
            routings,
        } = prepared;
        let mut listeners = self.lock();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|(_, socket)| socket.strong_count() > 0);
        listeners.retain(|addr, listener| {
            let stays = routings.contains_key(addr);
            if !stays {
                listener.end();
                let sockets = listener.sockets.iter().map(Arc::downgrade);
                ended.extend(sockets.map(|socket| (addr.port, socket)));
            }
            stays
        });
        drop(ended);
        for (addr, routing) in routings {
            match (listeners.get(&addr), opened.remove(&addr)) {
                (Some(listener), _) => {
                    if listener.options != routing.sockets() {
                        tracing::warn!(%addr, "other sockets take effect at the next start");
                    }
                    listener.routing.store(Arc::new(routing));
                }
                (None, Some(sockets)) => {
                    listeners.insert(addr, self.start(addr, sockets, routing));
                }
                (None, None) => {}
            }
        }
    }

    /// Ends all listeners: what has been read is answered, for `grace` at
    /// most. Says whether all was answered.
    pub async fn shut_down(&self, grace: Duration) -> bool {
        let listeners = std::mem::take(&mut *self.lock());
        let mut workers = Vec::new();
        for listener in listeners.into_values() {
            listener.end();
            workers.extend(listener.workers);
        }
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                drop(worker.join());
            }
        });
        let drained = async {
            drop(joined.await);
            self.queries.tasks.close();
            self.queries.tasks.wait().await;
        };
        tokio::time::timeout(grace, drained).await.is_ok()
    }

    /// Starts the workers of a listener.
    fn start(&self, addr: ListenAddr, sockets: Sockets, routing: Routing) -> Listener {
        let options = routing.sockets();
        let routing = Arc::new(ArcSwap::from_pointee(routing));
        let stop = CancellationToken::new();
        let start = |(index, socket)| self.start_worker(addr, index, socket, &routing, &stop);
        let (udp, workers) = (0..).zip(sockets.udp).filter_map(start).unzip();
        let acceptor = tcp::Acceptor {
            routing: Arc::clone(&routing),
            shared: Arc::clone(&self.shared),
            queries: Arc::clone(&self.queries),
            connections: Arc::clone(&self.connections),
            limits: self.limits,
            stop: stop.clone(),
        };
        self.queries
            .tasks
            .spawn_on(acceptor.run(sockets.tcp), &self.queries.runtime);
        Listener {
            routing,
            stop,
            options,
            sockets: udp,
            workers,
        }
    }

    /// Starts one worker of a listener on its socket. If it cannot start, the
    /// socket is closed: the kernel would go on to give it its share of the
    /// queries.
    fn start_worker(
        &self,
        addr: ListenAddr,
        index: usize,
        socket: UdpSocket,
        routing: &Arc<ArcSwap<Routing>>,
        stop: &CancellationToken,
    ) -> Option<(Arc<UdpSocket>, JoinHandle<()>)> {
        let bound = socket.local_addr().ok()?;
        let socket = Arc::new(socket);
        let worker = Worker {
            bound,
            segments: routing.load().sockets().segmentation,
            socket: Arc::clone(&socket),
            routing: Arc::clone(routing),
            shared: Arc::clone(&self.shared),
            queries: Arc::clone(&self.queries),
            stop: stop.clone(),
        };
        let thread = thread::Builder::new().name(format!("udp{addr}/{index}"));
        match thread.spawn(move || worker.run()) {
            Ok(handle) => Some((socket, handle)),
            Err(error) => {
                tracing::error!(%addr, %error, "cannot start a UDP worker");
                None
            }
        }
    }

    /// Whether a listener on `port` has ended and still has a socket.
    fn is_closing(&self, port: u16) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended
            .iter()
            .any(|(other, socket)| *other == port && socket.strong_count() > 0)
    }

    /// The listeners. A panic elsewhere leaves the map as good as it was.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ListenAddr, Listener>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

// === impl Listener ===

impl Listener {
    /// Ends the listener as soon as what has arrived is answered.
    fn end(&self) {
        self.stop.cancel();
        for socket in &self.sockets {
            // A worker looks up when it finds nothing to read. Where clients
            // do not pause, that would be never, were it to wait for more.
            drop(socket.set_nonblocking(true));
        }
    }
}

// === impl Queries ===

impl Queries {
    /// Makes the query runtime the current one of this thread.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// The tasks that shutting down waits for.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Lets a query wait, which a lane may have `begun` to ask, and hands its
    /// response to `respond`: SERVFAIL if too many wait, at once, or as soon as
    /// another one wants its place.
    pub(crate) fn spawn(
        &self,
        shared: &Arc<Shared>,
        pending: Box<Pending>,
        begun: Option<Box<Unfinished>>,
        respond: impl FnOnce(&[u8]) + Send + 'static,
    ) {
        let (client, size, now) = (pending.client(), pending.places(), pending.received_at());
        let mut place = match self.places.enter(client, size, now) {
            Ok(place) => place,
            Err(full) => {
                let mut out = Vec::new();
                reject(shared, &pending, full, &mut out);
                respond(&out);
                return;
            }
        };
        let shared = Arc::clone(shared);
        let task = async move {
            let waiting = Waiting::new(&shared, 1);
            let mut out = Vec::new();
            let is_displaced = tokio::select! {
                biased;
                () = pending.finish(&shared, begun, &mut out) => false,
                () = place.is_wanted() => true,
            };
            if is_displaced {
                reject(&shared, &pending, Full::Everybody, &mut out);
            }
            drop(waiting);
            drop(place);
            let_others_finish(&out).await;
            if !out.is_empty() {
                respond(&out);
            }
        };
        self.tasks.spawn_on(task, &self.runtime);
    }
}

/// Lets all that are ready answer one after the other: whom they wake then
/// finds more to do than for one. A large response does not wait for that, as
/// no bound counts it before it is handed on: a thousand would wait at a time.
async fn let_others_finish(response: &[u8]) {
    if response.len() < LARGE {
        tokio::task::yield_now().await;
    }
}

/// Octets of a response that is large.
const LARGE: usize = 4096;

/// Refuses to let a query wait, or to let it wait longer.
fn reject(shared: &Shared, pending: &Pending, full: Full, out: &mut Vec<u8>) {
    shared.families.pending_rejected.inc();
    pending.reject(full.as_str(), out);
}

// === Waiting ===

/// Counts queries for as long as they wait.
pub(crate) struct Waiting {
    /// All that wait.
    gauge: prometheus::IntGauge,
    /// How many of these.
    count: i64,
}

impl Waiting {
    /// So many begin to wait.
    pub(crate) fn new(shared: &Shared, count: usize) -> Self {
        let mut waiting = Self {
            gauge: shared.families.pending.clone(),
            count: 0,
        };
        waiting.set(count);
        waiting
    }

    /// So many wait now.
    pub(crate) fn set(&mut self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let before = std::mem::replace(&mut self.count, count);
        if count != before {
            self.gauge.add(count - before);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests;

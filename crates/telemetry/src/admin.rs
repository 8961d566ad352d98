//! HTTP endpoints for health, readiness and metrics.
//!
//! They live on a thread with a runtime of their own: whatever the rest of the
//! server is busy with, a probe is answered, and whatever a client does to these
//! endpoints, the rest of the server does not notice.
//!
//! Changing the endpoints takes two steps, so that a reload can fail before
//! anything has changed. [`Admin::prepare`] listens on the addresses that are
//! new; [`Admin::commit`] starts serving them, changes what the kept addresses
//! serve, and closes the others. A [`Prepared`] that is dropped leaves no trace.

mod address;
mod connection;
mod health;
mod routes;
mod sharing;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{self, Shutdown, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use socket2::Socket;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use crate::metrics::{Metrics, prometheus};
use crate::readiness::Readiness;

use self::address::Listen;
use self::connection::Listener;
use self::health::{HealthMetrics, SelfPoll};
use self::sharing::PortSharing;

pub use self::address::AddressError;

/// The admin endpoints of the process.
#[derive(Debug)]
pub struct Admin {
    /// What the endpoints tell about.
    services: Services,
    /// The addresses served now.
    listening: BTreeMap<Listen, Listening>,
    /// The addresses at which `/health` is polled.
    polled: watch::Sender<Vec<SocketAddr>>,
    /// The thread that serves. Last, so that it ends after the listeners.
    engine: Engine,
}

/// One endpoint, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to listen, as `host:port`; no host means every address.
    pub addr: String,
    /// What is found there.
    pub serves: Serves,
}

/// What an endpoint serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Serves {
    /// `/health`: the process is alive. `/members`: who is in the cluster.
    /// `/cache/flush`: forgets names, for clients on this host.
    Health,
    /// `/ready`: every part is ready.
    Ready,
    /// `/metrics`: the metrics of the process.
    Metrics,
    /// `/version`: what the process is. Nothing waits for it: an address where
    /// only this is found may stay closed.
    Version,
}

/// Endpoints that are ready to be served.
#[derive(Debug)]
#[must_use = "endpoints are served when committed"]
pub struct Prepared {
    /// What is to be served, and where.
    plan: Plan,
    /// Listeners on the addresses that are new.
    fresh: BTreeMap<Listen, Fresh>,
    /// Ports shared with listeners that are to be closed.
    sharing: PortSharing,
}

/// What the endpoints tell about.
#[derive(Debug, Clone)]
pub struct Services {
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/ready`.
    pub readiness: Readiness,
    /// For `/members`.
    pub members: Document,
    /// For `/version`.
    pub version: Document,
    /// For `/cache/flush`.
    pub flush: Order,
}

/// A text that is made when it is asked for.
#[derive(Clone)]
pub struct Document(Arc<dyn Fn() -> String + Send + Sync>);

/// Something to be done when it is asked for, as the query of the URL says.
#[derive(Clone)]
pub struct Order(Arc<Carry>);

/// Carries an order out: what it came to, as JSON, or what is wrong with the
/// query.
type Carry = dyn Fn(&str) -> Result<String, String> + Send + Sync;

/// The endpoints could not be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// An address of the configuration is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address as typed.
        addr: String,
        /// What the system says.
        source: io::Error,
    },
    /// The thread or its runtime did not start.
    #[error("cannot start the admin thread")]
    Thread(#[source] io::Error),
    /// Metrics of the endpoints are registered already.
    #[error("cannot register the metrics of /health")]
    Metrics(#[source] prometheus::Error),
}

/// The endpoints by address.
type Plan = BTreeMap<Listen, Wanted>;

/// What the configuration wants of one address.
#[derive(Debug)]
struct Wanted {
    /// The address as typed first.
    typed: String,
    /// Everything that is found there.
    serves: BTreeSet<Serves>,
}

/// A listener that is not served yet.
#[derive(Debug)]
struct Fresh {
    /// The listener.
    listener: TcpListener,
    /// The same socket, for its options.
    socket: Arc<Socket>,
    /// The address it got.
    local: SocketAddr,
}

/// A listener that is served.
#[derive(Debug)]
struct Listening {
    /// The address as typed.
    typed: String,
    /// The address it got.
    local: SocketAddr,
    /// The same socket, for its options.
    socket: Arc<Socket>,
    /// Replaces what is served.
    router: watch::Sender<Router>,
    /// Ends it.
    stop: CancellationToken,
}

/// The thread that serves, and its runtime.
#[derive(Debug)]
struct Engine {
    /// Spawns tasks on the thread.
    runtime: Handle,
    /// The tasks there are.
    tasks: TaskTracker,
    /// Ends the thread.
    stop: CancellationToken,
    /// The thread, until it is joined.
    thread: Option<JoinHandle<()>>,
}

/// How long connections may take to end when their listener is closed.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);

// === impl Admin ===

impl Admin {
    /// Starts the admin thread and serves `endpoints`.
    pub fn bind(services: Services, endpoints: &[Endpoint]) -> Result<Self, BindError> {
        let health =
            HealthMetrics::register(services.metrics.registry()).map_err(BindError::Metrics)?;
        let engine = Engine::start().map_err(BindError::Thread)?;
        let (polled, targets) = watch::channel(Vec::new());
        let mut admin = Self {
            services,
            listening: BTreeMap::new(),
            polled,
            engine,
        };
        let prepared = admin.prepare(endpoints)?;
        admin.commit(prepared);
        let poll = SelfPoll::new(health, targets);
        admin.engine.spawn(poll.run(admin.engine.stop.clone()));
        Ok(admin)
    }

    /// Listens on the addresses of `endpoints` that are not served yet.
    ///
    /// Nothing changes until the result is given to [`Admin::commit`]; of several
    /// results, only the first may be. Names other than `localhost` are looked up,
    /// which may block. An address that nobody waits for and that cannot be
    /// listened on is logged and left out.
    pub fn prepare(&self, endpoints: &[Endpoint]) -> Result<Prepared, BindError> {
        let mut plan = plan(endpoints)?;
        let mut fresh = BTreeMap::new();
        let mut sharing = PortSharing::default();
        let mut missing: Vec<Listen> = plan
            .keys()
            .filter(|listen| !self.listening.contains_key(listen))
            .copied()
            .collect();
        // What has to be there takes the port first.
        missing.sort_by_key(|listen| plan.get(listen).is_some_and(Wanted::is_optional));
        for listen in missing {
            let bound = self.listen(listen, &plan, &mut sharing);
            match (bound, plan.get(&listen)) {
                (Ok(bound), _) => {
                    fresh.insert(listen, bound);
                }
                (Err(source), Some(wanted)) if !wanted.is_optional() => {
                    return Err(BindError::Listen {
                        addr: wanted.typed.clone(),
                        source,
                    });
                }
                (Err(cause), wanted) => {
                    let addr = wanted.map(|wanted| wanted.typed.as_str());
                    error!(target: "plugin", addr, %cause, "version endpoint cannot listen");
                    plan.remove(&listen);
                }
            }
        }
        Ok(Prepared {
            plan,
            fresh,
            sharing,
        })
    }

    /// Serves exactly what was prepared.
    pub fn commit(&mut self, prepared: Prepared) {
        let Prepared {
            plan,
            mut fresh,
            sharing,
        } = prepared;
        self.listening.retain(|listen, listening| {
            let keep = plan.contains_key(listen);
            if !keep {
                listening.close();
            }
            keep
        });
        let mut polled = Vec::new();
        for (listen, Wanted { typed, serves }) in plan {
            let router = routes::router(&serves, &self.services);
            if let Some(fresh) = fresh.remove(&listen) {
                if serves.contains(&Serves::Version) {
                    info!(target: "plugin", "version endpoint listening on {typed}");
                }
                let listening = self.serve(typed, fresh, router);
                self.listening.insert(listen, listening);
            } else if let Some(listening) = self.listening.get(&listen) {
                drop(listening.router.send_replace(router));
            } else {
                error!(target: "plugin", addr = typed, "endpoints were prepared for another state");
            }
            if serves.contains(&Serves::Health) {
                polled.extend(self.listening.get(&listen).map(|listening| listening.local));
            }
        }
        self.polled.send_replace(polled);
        drop(sharing);
    }

    /// The addresses served: as typed, and as the system gave them.
    pub fn local_addrs(&self) -> Vec<(&str, SocketAddr)> {
        let listening = self.listening.values();
        listening
            .map(|listening| (listening.typed.as_str(), listening.local))
            .collect()
    }

    /// Listens on one address, if need be beside a listener that `plan` closes.
    fn listen(&self, listen: Listen, plan: &Plan, sharing: &mut PortSharing) -> io::Result<Fresh> {
        let socket = match listen.open(false) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                let closing = self.closing(listen, plan);
                if closing.is_empty() {
                    return Err(error);
                }
                sharing.open(closing)?;
                let socket = Arc::new(listen.open(true)?);
                sharing.add(Arc::clone(&socket));
                socket
            }
            opened => Arc::new(opened?),
        };
        let listener = net::TcpListener::from(socket.try_clone()?);
        let local = listener.local_addr()?;
        let _context = self.engine.runtime.enter();
        Ok(Fresh {
            listener: TcpListener::from_std(listener)?,
            socket,
            local,
        })
    }

    /// The listeners that `plan` closes and that stand in the way of `listen`.
    fn closing(&self, listen: Listen, plan: &Plan) -> Vec<Arc<Socket>> {
        let served = self.listening.iter();
        let closing = served.filter(|(served, listening)| {
            listen.overlaps(listening.local) && !plan.contains_key(served)
        });
        closing
            .map(|(_, listening)| Arc::clone(&listening.socket))
            .collect()
    }

    /// Starts serving a listener.
    fn serve(&self, typed: String, fresh: Fresh, router: Router) -> Listening {
        let Fresh {
            listener,
            socket,
            local,
        } = fresh;
        let (router, routes) = watch::channel(router);
        let stop = self.engine.stop.child_token();
        self.engine
            .spawn(Listener::new(listener, routes, stop.clone()).run());
        Listening {
            typed,
            local,
            socket,
            router,
            stop,
        }
    }
}

// === impl BindError ===

impl BindError {
    /// The address that it is about, as typed.
    pub fn addr(&self) -> Option<&str> {
        match self {
            Self::Address(error) => Some(error.addr()),
            Self::Listen { addr, .. } => Some(addr),
            Self::Thread(_) | Self::Metrics(_) => None,
        }
    }
}

// === impl Wanted ===

impl Wanted {
    /// Whether the server does without.
    fn is_optional(&self) -> bool {
        self.serves.iter().all(|serves| *serves == Serves::Version)
    }
}

// === impl Document ===

impl Document {
    /// A text that `make` makes.
    pub fn new(make: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    /// The text, as of now.
    pub(crate) fn text(&self) -> String {
        (self.0)()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document")
    }
}

// === impl Order ===

impl Order {
    /// An order that `carry` carries out.
    pub fn new(carry: impl Fn(&str) -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(carry))
    }

    /// Carries it out.
    pub(crate) fn carry_out(&self, query: &str) -> Result<String, String> {
        (self.0)(query)
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Order")
    }
}

// === impl Listening ===

impl Listening {
    /// Takes no more connections from now on, and lets requests finish.
    fn close(&self) {
        self.stop.cancel();
        // The thread drops the socket in its own time; until then it would take
        // connections that are meant for the address that replaces it. An error
        // means that it is closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

// === impl Engine ===

impl Engine {
    /// Starts the thread.
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let handle = runtime.handle().clone();
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let (tracked, stopped) = (tasks.clone(), stop.clone());
        let serve = async move {
            stopped.cancelled().await;
            tracked.close();
            // What has not ended by then ends with the runtime.
            let _ = time::timeout(CLOSE_GRACE * 2, tracked.wait()).await;
        };
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self {
            runtime: handle,
            tasks,
            stop,
            thread: Some(thread),
        })
    }

    /// Runs `task` on the thread.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }
}

impl Drop for Engine {
    /// Ends the thread, within twice [`CLOSE_GRACE`].
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Sorts endpoints by address.
fn plan(endpoints: &[Endpoint]) -> Result<Plan, AddressError> {
    let mut plan = Plan::new();
    for Endpoint { addr, serves } in endpoints {
        let listen = match Listen::resolve(addr) {
            Err(cause) if *serves == Serves::Version => {
                error!(target: "plugin", addr, %cause, "version endpoint cannot listen");
                continue;
            }
            resolved => resolved?,
        };
        let wanted = plan.entry(listen).or_insert_with(|| Wanted {
            typed: addr.clone(),
            serves: BTreeSet::new(),
        });
        wanted.serves.insert(*serves);
    }
    Ok(plan)
}

//! TCP: connections, and the messages on them (RFC 7766).

mod connections;
mod frames;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Limits;
use crate::Routing;
use crate::Transport;
use crate::handle;
use crate::handle::Received;
use crate::handle::Shared;
use crate::handle::Step;
use crate::server::Queries;
use crate::udp::now;

pub(crate) use connections::Connections;
use connections::Held;
use connections::Kind;
use connections::Share;
use frames::Frames;

/// How long to wait after the kernel refused a connection for want of
/// descriptors or memory; at once it would refuse again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Octets of responses of one connection from which on its next query waits for
/// a turn of the writer.
const AHEAD: usize = 16 * 1024;

/// Accepts the connections of one listener.
pub(crate) struct Acceptor {
    /// Which block answers.
    pub(crate) routing: Arc<ArcSwap<Routing>>,
    /// What all listeners share.
    pub(crate) shared: Arc<Shared>,
    /// Where queries wait for upstreams.
    pub(crate) queries: Arc<Queries>,
    /// Open connections.
    pub(crate) connections: Arc<Connections>,
    /// Bounds on clients.
    pub(crate) limits: Limits,
    /// Ends the listener.
    pub(crate) stop: CancellationToken,
}

/// One connection.
struct Connection {
    /// What it shares with the others.
    acceptor: Arc<Acceptor>,
    /// Its number.
    number: u64,
    /// Address and port of the client.
    client: SocketAddr,
    /// Address and port of the server.
    local: SocketAddr,
    /// What is held for it.
    held: Arc<Held>,
    /// Closes it.
    close: CancellationToken,
}

/// Where the responses of one connection go.
#[derive(Clone)]
struct Outlet {
    /// To be written. Boxed, as the channel has room for many from the start.
    responses: mpsc::Sender<Box<Outgoing>>,
    /// What is held for the connection.
    held: Arc<Held>,
    /// All connections.
    connections: Arc<Connections>,
}

/// A response to be written.
struct Outgoing {
    /// The message behind its length.
    framed: Vec<u8>,
    /// The place it holds in the pipeline until it is written.
    _permit: OwnedSemaphorePermit,
    /// Its octets, which are counted until it is written.
    _share: Share,
}

// === impl Acceptor ===

impl Acceptor {
    /// Accepts connections until told to stop.
    pub(crate) async fn run(self, listener: std::net::TcpListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "cannot listen for TCP connections");
                return;
            }
        };
        let acceptor = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = acceptor.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, client)) => acceptor.open(stream, client),
                Err(error) if is_about_one_connection(&error) => {}
                Err(_) => {
                    tokio::select! {
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                        () = acceptor.stop.cancelled() => return,
                    }
                }
            }
        }
    }

    /// Serves a new connection.
    fn open(self: &Arc<Self>, stream: TcpStream, client: SocketAddr) {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        // Answers are small and complete: waiting to fill a segment only
        // delays them.
        drop(stream.set_nodelay(true));
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let close = self.stop.child_token();
        let held = Arc::<Held>::default();
        let number = self
            .connections
            .add(client.ip(), Arc::clone(&held), close.clone(), now());
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        let connection = Connection {
            acceptor: Arc::clone(self),
            number,
            client,
            local,
            held,
            close,
        };
        self.queries
            .tasks()
            .spawn(async move { connection.serve(stream).await });
    }
}

/// Whether an accept error concerns just the connection that was not opened.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
    )
}

// === impl Connection ===

impl Connection {
    /// Reads messages and answers them until the client is done or silent.
    async fn serve(&self, stream: TcpStream) {
        let (reader, writer) = stream.into_split();
        let limits = self.acceptor.limits;
        let permits = Arc::new(Semaphore::new(limits.pipelined));
        let (responses, outgoing) = mpsc::channel(limits.pipelined);
        let outlet = Outlet {
            responses,
            held: Arc::clone(&self.held),
            connections: Arc::clone(&self.acceptor.connections),
        };
        let writing = write_all(writer, outgoing, limits.write);
        let reading = self.read_all(reader, outlet, permits);
        // The writer ends when the reader and all that wait for upstreams
        // have let go of the channel, or when the client does not take what
        // it is sent.
        let mut reading = std::pin::pin!(reading);
        let mut writing = std::pin::pin!(writing);
        tokio::select! {
            // What was answered at once is written in the same turn: were it
            // left for the next, those of a thousand connections would wait.
            biased;
            () = &mut reading => {}
            () = &mut writing => return,
        }
        // One that is closed to make room makes it at once, or many that are
        // slow to take their responses would hold more than there is.
        tokio::select! {
            biased;
            () = self.evicted() => {}
            _ = timeout(limits.finish, writing) => {}
        }
    }

    /// Waits until the connection is closed to make room; for ever if its
    /// listener ends before.
    async fn evicted(&self) {
        self.close.cancelled().await;
        if self.acceptor.stop.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    /// Reads messages and starts to answer them.
    async fn read_all(&self, stream: OwnedReadHalf, outlet: Outlet, permits: Arc<Semaphore>) {
        let connections = &self.acceptor.connections;
        let share = Share::new(Kind::Unfinished, &self.held, connections);
        let mut frames = Frames::new(stream, share);
        let limits = self.acceptor.limits;
        loop {
            let next = async {
                let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
                loop {
                    match frames.next(limits.idle, limits.read).await {
                        Ok(message) => return Some((permit, message)),
                        // RFC 7766 §6.2.3: idle means nothing outstanding.
                        Err(error)
                            if error.kind() == io::ErrorKind::TimedOut
                                && !frames.has_begun()
                                && permits.available_permits() + 1 < limits.pipelined => {}
                        Err(_) => return None,
                    }
                }
            };
            let next = tokio::select! {
                next = next => next,
                () = self.close.cancelled() => return,
            };
            let Some((permit, message)) = next else {
                return;
            };
            self.room().await;
            let now = now();
            self.acceptor.connections.touch(self.number, now);
            self.answer(&message, now, &outlet, permit);
            if self.held.of(Kind::Unsent).load(Ordering::Relaxed) > AHEAD {
                // Let it be written before there is more.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits until connections that are closed to make room have made it: they
    /// do as soon as they have a turn, and until then nothing is to be added.
    async fn room(&self) {
        while self.acceptor.connections.is_over(Kind::Unsent) && !self.close.is_cancelled() {
            tokio::task::yield_now().await;
        }
    }

    /// Answers one message, or lets it wait for an upstream.
    fn answer(&self, message: &[u8], now: Instant, outlet: &Outlet, permit: OwnedSemaphorePermit) {
        let idle = self.acceptor.limits.idle.as_millis() / 100;
        let received = Received {
            message,
            client: self.client,
            local: self.local,
            transport: Transport::Tcp,
            tcp_idle: u16::try_from(idle).unwrap_or(u16::MAX),
            now,
        };
        let mut out = Vec::with_capacity(512);
        let shared = &self.acceptor.shared;
        let routing = self.acceptor.routing.load_full();
        match handle::handle(
            shared,
            &routing,
            &shared.table.load(),
            &received,
            &mut out,
            &mut None,
            None,
        ) {
            Step::Silent => {}
            Step::Respond => outlet.put(&out, permit),
            Step::Resolve(pending) => {
                let later = outlet.clone();
                self.acceptor
                    .queries
                    .spawn(shared, pending, None, move |response| {
                        later.put(response, permit);
                    });
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.acceptor.connections.remove(self.number);
    }
}

/// A response behind its length, for one write (RFC 7766 §8). It is copied just
/// once: while a client takes its time there may be many.
fn framed(response: &[u8]) -> Vec<u8> {
    match u16::try_from(response.len()) {
        Ok(length) => [&length.to_be_bytes(), response].concat(),
        // No limit lets it be so long.
        Err(_) => Vec::new(),
    }
}

/// Writes responses as they come.
async fn write_all(
    mut writer: OwnedWriteHalf,
    mut outgoing: mpsc::Receiver<Box<Outgoing>>,
    limit: Duration,
) {
    while let Some(next) = outgoing.recv().await {
        match timeout(limit, writer.write_all(&next.framed)).await {
            Ok(Ok(())) => drop(next),
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

// === impl Outlet ===

impl Outlet {
    /// Has a response written. If more wait than may, the connection for which
    /// most wait is closed.
    fn put(&self, response: &[u8], permit: OwnedSemaphorePermit) {
        let framed = framed(response);
        let mut share = Share::new(Kind::Unsent, &self.held, &self.connections);
        share.set(framed.len());
        let outgoing = Box::new(Outgoing {
            framed,
            _permit: permit,
            _share: share,
        });
        // The channel has a place for each permit.
        drop(self.responses.try_send(outgoing));
    }
}

#[cfg(test)]
mod tests;

//! A listener and its connections.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::CLOSE_GRACE;

/// Accepts connections and serves them.
///
/// At most [`MAX_CONNECTIONS`] are open: a further one takes the place of the
/// oldest, so that clients that hold connections keep nobody out.
pub(super) struct Listener {
    /// Where connections come from.
    listener: TcpListener,
    /// What is served now.
    router: watch::Receiver<Router>,
    /// Ends the listener.
    stop: CancellationToken,
    /// The connections, to wait for.
    connections: JoinSet<()>,
    /// The connections, oldest first.
    by_age: VecDeque<AbortHandle>,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// On this host.
    Here,
    /// Anywhere else.
    Elsewhere,
}

// === impl Client ===

impl Client {
    /// Where the other end of a connection is: here if it has a loopback
    /// address, or the address that it speaks to.
    fn of(stream: &TcpStream) -> Self {
        match (stream.peer_addr(), stream.local_addr()) {
            (Ok(peer), Ok(local)) => Self::at(peer.ip(), local.ip()),
            _ => Self::Elsewhere,
        }
    }

    /// Where it is by the addresses of both ends.
    fn at(peer: IpAddr, local: IpAddr) -> Self {
        let (peer, local) = (peer.to_canonical(), local.to_canonical());
        if peer.is_loopback() || peer == local {
            Self::Here
        } else {
            Self::Elsewhere
        }
    }
}

// === impl Listener ===

impl Listener {
    /// A listener that serves until `stop`.
    pub(super) fn new(
        listener: TcpListener,
        router: watch::Receiver<Router>,
        stop: CancellationToken,
    ) -> Self {
        let (connections, by_age) = (JoinSet::new(), VecDeque::new());
        Self {
            listener,
            router,
            stop,
            connections,
            by_age,
        }
    }

    /// Serves until told to stop, then lets requests finish for a while.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(_) = self.connections.join_next() => self.forget_finished(),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.open(stream),
                    // The client has gone before it was accepted.
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        // No descriptors are left, most likely: trying again at
                        // once would only burn the processor.
                        warn!(target: "plugin", %error, "cannot accept an admin connection");
                        time::sleep(ACCEPT_BACKOFF).await;
                    }
                },
            }
        }
        let Self {
            listener,
            mut connections,
            ..
        } = self;
        drop(listener);
        let finished = async { while connections.join_next().await.is_some() {} };
        // What has not finished by then is cut off.
        let _ = time::timeout(CLOSE_GRACE, finished).await;
    }

    /// Starts serving a connection.
    fn open(&mut self, stream: TcpStream) {
        while self.by_age.len() >= MAX_CONNECTIONS {
            if let Some(oldest) = self.by_age.pop_front() {
                oldest.abort();
            }
        }
        let client = Client::of(&stream);
        let serve = serve(stream, client, self.router.clone(), self.stop.clone());
        self.by_age.push_back(self.connections.spawn(serve));
    }

    /// Drops the handles of connections that have ended.
    fn forget_finished(&mut self) {
        self.by_age.retain(|connection| !connection.is_finished());
    }
}

/// Serves one connection until it ends or `stop` lets it finish its request.
async fn serve(
    stream: TcpStream,
    client: Client,
    router: watch::Receiver<Router>,
    stop: CancellationToken,
) {
    // Each request sees the routes of its time, on a connection of any age.
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client);
        let current = router.borrow().clone();
        TowerToHyperService::new(current).call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        debug!(target: "plugin", %error, "an admin connection failed");
    }
}

/// Connections of one listener that are open at a time.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// How long a client may take over the head of a request, and how long a
/// connection may be idle between two.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Header fields of a request.
const MAX_HEADERS: usize = 64;

/// Octets of a request that are held at a time; a longer head is refused. The
/// body of a request is never read by a handler.
const BUFFER_BYTES: usize = 16 << 10;

/// The pause after a connection could not be accepted.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_here_if_both_ends_have_one_address() {
        for (peer, local, expected) in [
            ("127.0.0.1", "127.0.0.1", Client::Here),
            ("127.0.0.9", "127.0.0.1", Client::Here),
            ("::1", "::1", Client::Here),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", Client::Here),
            ("192.0.2.1", "192.0.2.1", Client::Here),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1", Client::Here),
            ("192.0.2.2", "192.0.2.1", Client::Elsewhere),
            ("172.17.0.1", "172.17.0.2", Client::Elsewhere),
            ("::ffff:192.0.2.2", "::ffff:192.0.2.1", Client::Elsewhere),
            ("2001:db8::2", "2001:db8::1", Client::Elsewhere),
        ] {
            let (peer, local) = (peer.parse().unwrap(), local.parse().unwrap());
            assert_eq!(Client::at(peer, local), expected, "{peer} at {local}");
        }
    }
}

//! HTTP/1.1 to a Docker Engine, one connection a request.
//!
//! bollard writes requests and reads answers; this carries them. It is our own
//! for two things that bollard's transports do not tell: the moment at which
//! the answer to `/events` begins, which is when the subscription stands, and
//! the plain I/O error of a connect that failed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use hyper::Request;
use hyper::Response;
use hyper::Uri;
use hyper::body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::endpoint::Authority;
use crate::endpoint::Endpoint;
use crate::tls;

/// How long a connect, with its TLS handshake, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the body of a request cannot be had.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The way to one engine.
#[derive(Clone)]
pub(crate) struct Transport {
    /// Where it listens.
    endpoint: Endpoint,
    /// How TLS is done, if it is.
    tls: Option<TlsConnector>,
    /// Rung when the answer to `/events` begins.
    subscribed: Arc<Notify>,
    /// Shutdown waits for connections here.
    tracker: TaskTracker,
    /// Shutdown ends connections by this.
    cancel: CancellationToken,
}

/// A byte stream of any kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

// === impl Transport ===

impl Transport {
    /// Prepares the way to an engine; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If TLS certificates cannot be read.
    pub(crate) fn new(
        endpoint: &Endpoint,
        tracker: &TaskTracker,
        cancel: &CancellationToken,
    ) -> io::Result<Self> {
        let tls = match endpoint {
            Endpoint::Tls { cert_path, .. } => Some(tls::connector(cert_path)?),
            Endpoint::Unix(_) | Endpoint::Tcp(_) => None,
        };
        Ok(Self {
            endpoint: endpoint.clone(),
            tls,
            subscribed: Arc::new(Notify::new()),
            tracker: tracker.clone(),
            cancel: cancel.clone(),
        })
    }

    /// Rung when the answer to `/events` begins.
    pub(crate) fn subscribed(&self) -> Arc<Notify> {
        Arc::clone(&self.subscribed)
    }

    /// Carries one request.
    pub(crate) async fn carry<B>(self, mut request: Request<B>) -> Result<Response<Incoming>, Error>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let is_events = request.uri().path().ends_with("/events");
        let host = request
            .uri()
            .authority()
            .map_or("localhost", |authority| authority.as_str());
        let host = HeaderValue::from_str(host).map_err(io::Error::other)?;
        // RFC 9112 §3.2.1: an origin server is asked by path and query.
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let target: Uri = target.parse().map_err(io::Error::other)?;
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = target;

        let stream = timeout(CONNECT_TIMEOUT, self.connect())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connect timed out"))??;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let cancel = self.cancel.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                // How it ends, its reader learns too.
                _ = connection => {}
            }
        });
        let response = sender.send_request(request).await?;
        if is_events && response.status().is_success() {
            self.subscribed.notify_one();
        }
        Ok(response)
    }

    /// Opens a connection.
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match &self.endpoint {
            Endpoint::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Endpoint::Tcp(authority) => Ok(Box::new(connect_tcp(authority).await?)),
            Endpoint::Tls { authority, .. } => {
                let Some(tls) = &self.tls else {
                    return Err(io::Error::other("TLS without certificates"));
                };
                let name =
                    ServerName::try_from(authority.host.clone()).map_err(io::Error::other)?;
                let stream = connect_tcp(authority).await?;
                Ok(Box::new(tls.connect(name, stream).await?))
            }
        }
    }
}

/// Opens a TCP connection.
async fn connect_tcp(authority: &Authority) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((authority.host.as_str(), authority.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

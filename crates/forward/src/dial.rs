//! New connections to an upstream: TCP, and TLS on top where it is asked for.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;
use tokio_rustls::rustls::HandshakeKind;

use crate::error::Cause;
use crate::error::Fault;
use crate::error::Step;
use crate::metrics::HandshakeMetrics;
use crate::target::Proof;
use crate::udp::Link;

/// How connections to one upstream are made.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    /// The two ends.
    pub(crate) link: Link,
    /// The handshake that follows, if any.
    pub(crate) handshake: Option<Handshake>,
}

/// A TLS handshake to be made.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    /// What the upstream has to prove.
    pub(crate) proof: Proof,
    /// Counts handshakes.
    pub(crate) metrics: HandshakeMetrics,
}

/// What messages travel on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A new connection.
pub(crate) struct Dialed {
    /// The connection.
    pub(crate) stream: Box<dyn Stream>,
    /// Our end.
    pub(crate) local: Option<SocketAddr>,
}

// === impl Dialer ===

impl Dialer {
    /// Makes a connection.
    pub(crate) async fn dial(&self) -> Result<Dialed, Fault> {
        let stream = self.tcp().await.map_err(dial_fault)?;
        let local = stream.local_addr().ok();
        let stream: Box<dyn Stream> = match &self.handshake {
            None => Box::new(stream),
            Some(handshake) => Box::new(handshake.run(stream).await?),
        };
        Ok(Dialed { stream, local })
    }

    /// Makes a connection that speaks HTTP/2.
    pub(crate) async fn dial_http(&self) -> Result<TlsStream<TcpStream>, Fault> {
        let stream = self.tcp().await.map_err(dial_fault)?;
        let Some(handshake) = &self.handshake else {
            return Err(Fault::new(Step::Dial, Cause::Http("no TLS".into())));
        };
        let stream = handshake.run(stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            let cause = Cause::Http("upstream does not speak HTTP/2".into());
            return Err(Fault::new(Step::Dial, cause));
        }
        Ok(stream)
    }

    /// Makes a TCP connection.
    async fn tcp(&self) -> io::Result<TcpStream> {
        let socket = if self.link.peer.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if self.link.source.is_some() {
            socket.bind(self.link.local())?;
        }
        let stream = socket.connect(self.link.peer).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

// === impl Handshake ===

impl Handshake {
    /// Makes the handshake. What fails here has not let a query out.
    async fn run(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Fault> {
        let name = self.proof.server_name.clone();
        let stream = self
            .proof
            .connector
            .connect(name, stream)
            .await
            .map_err(tls_fault)?;
        let kind = stream.get_ref().1.handshake_kind();
        self.metrics.made(kind == Some(HandshakeKind::Resumed));
        Ok(stream)
    }
}

/// What a connection that is not made means.
fn dial_fault(error: io::Error) -> Fault {
    Fault::new(Step::Dial, error.into())
}

/// What a handshake that fails means.
fn tls_fault(error: io::Error) -> Fault {
    let refused = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .map(|error| Cause::Tls(error.to_string().into()));
    let cause = match refused {
        Some(cause) => cause,
        None if error.kind() == io::ErrorKind::UnexpectedEof => Cause::Closed,
        None => error.into(),
    };
    Fault::new(Step::Dial, cause)
}

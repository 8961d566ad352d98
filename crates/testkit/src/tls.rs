//! TLS in front of a fake, and certificates: good ones, and bad ones of every
//! kind.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::date_time_ymd;
use tokio::io::AsyncWriteExt as _;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

/// Somebody who vouches for servers.
#[derive(Debug)]
pub struct Authority {
    /// Its certificate, in PEM.
    pem: String,
    /// What it signs with.
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    Current,
    /// Until some years ago.
    Expired,
    /// From some years on.
    Future,
}

/// A TLS server that passes what it decrypts to a TCP server. It ends when it
/// is dropped.
#[derive(Debug)]
pub struct TlsFront {
    /// Where it listens.
    addr: SocketAddr,
    /// What it saw.
    seen: Arc<Mutex<Seen>>,
    /// Ends it.
    token: CancellationToken,
    /// Its tasks.
    tracker: TaskTracker,
    /// Ends it when dropped.
    _ending: DropGuard,
}

/// What a front saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The first octet of every connection: 22 begins a TLS handshake.
    pub first_octets: Vec<u8>,
    /// Handshakes that were completed with certificates.
    pub full: usize,
    /// Handshakes that resumed a session.
    pub resumed: usize,
    /// Datagrams that came to the same port.
    pub datagrams: usize,
}

// === impl Authority ===

impl Authority {
    /// A new one.
    ///
    /// # Errors
    ///
    /// If there is no randomness.
    pub fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Vouches for a server with these names and addresses.
    ///
    /// # Errors
    ///
    /// If one is neither.
    pub fn issue(&self, names: &[&str], validity: Validity) -> anyhow::Result<Identity> {
        let key = KeyPair::generate()?;
        let certificate = params(names, validity)?.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

// === impl Identity ===

impl Identity {
    /// A server that vouches for itself.
    ///
    /// # Errors
    ///
    /// If one of `names` is neither a name nor an address.
    pub fn self_signed(names: &[&str]) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = params(names, Validity::Current)?.self_signed(&key)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

// === impl TlsFront ===

impl TlsFront {
    /// Starts one on a port of the system's choice.
    ///
    /// # Errors
    ///
    /// If the identity cannot be used, or no port is free.
    pub async fn start(identity: &Identity, behind: SocketAddr) -> anyhow::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), identity, behind).await
    }

    /// Starts one at an address.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn start_at(
        addr: SocketAddr,
        identity: &Identity,
        behind: SocketAddr,
    ) -> anyhow::Result<Self> {
        let acceptor = acceptor(identity)?;
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let datagrams = UdpSocket::bind(addr).await?;
        let (token, tracker) = (CancellationToken::new(), TaskTracker::new());
        let seen = Arc::default();
        let front = Self {
            addr,
            seen: Arc::clone(&seen),
            _ending: token.clone().drop_guard(),
            token,
            tracker,
        };
        let (listening, counting) = (front.token.clone(), front.token.clone());
        let (connections, ending) = (front.tracker.clone(), front.token.clone());
        let heard = Arc::clone(&seen);
        front.tracker.spawn(async move {
            let accept = async {
                while let Ok((stream, _)) = listener.accept().await {
                    let serve = serve(stream, acceptor.clone(), behind, Arc::clone(&seen));
                    let ending = ending.clone();
                    connections.spawn(async move {
                        tokio::select! {
                            () = ending.cancelled() => {}
                            _ = serve => {}
                        }
                    });
                }
            };
            tokio::select! {
                () = listening.cancelled() => {}
                () = accept => {}
            }
        });
        front.tracker.spawn(async move {
            let count = async {
                while datagrams.recv(&mut [0; 1]).await.is_ok() {
                    lock(&heard).datagrams += 1;
                }
            };
            tokio::select! {
                () = counting.cancelled() => {}
                () = count => {}
            }
        });
        Ok(front)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it saw.
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Ends it and waits until its port is closed.
    pub async fn stop(self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Serves one connection.
async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    behind: SocketAddr,
    seen: Arc<Mutex<Seen>>,
) -> anyhow::Result<()> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    lock(&seen).first_octets.extend(first);
    let mut near = acceptor.accept(stream).await?;
    let resumed = near.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    {
        let mut seen = lock(&seen);
        seen.resumed += usize::from(resumed);
        seen.full += usize::from(!resumed);
    }
    let mut far = TcpStream::connect(behind).await?;
    far.set_nodelay(true)?;
    copy_bidirectional(&mut near, &mut far).await?;
    near.shutdown().await?;
    Ok(())
}

/// What a server says who it is.
fn acceptor(identity: &Identity) -> anyhow::Result<TlsAcceptor> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A certificate to be signed.
fn params(names: &[&str], validity: Validity) -> anyhow::Result<CertificateParams> {
    // An address among them becomes one.
    let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
    let mut params = CertificateParams::new(names)?;
    (params.not_before, params.not_after) = match validity {
        Validity::Current => (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1)),
        Validity::Expired => (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1)),
        Validity::Future => (date_time_ymd(2110, 1, 1), date_time_ymd(2120, 1, 1)),
    };
    Ok(params)
}

/// What a front saw.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

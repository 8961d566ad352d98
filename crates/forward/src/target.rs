//! Where an upstream is and how it is asked.

use std::fmt;
use std::net::SocketAddr;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::Transport;

/// One address of an upstream, and the transport it is asked over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Address and port.
    pub(crate) addr: SocketAddr,
    /// What keeps others from reading along.
    pub(crate) protection: Protection,
}

/// What keeps others from reading along, and from answering instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Nothing: UDP and TCP.
    None,
    /// DNS over TLS (RFC 7858).
    Tls(Proof),
    /// DNS over HTTPS (RFC 8484).
    Https(Proof),
}

/// What an upstream has to prove, and to whom.
///
/// It comes with the connector, so that there is no protection without one.
#[derive(Clone)]
pub(crate) struct Proof {
    /// Its name.
    pub(crate) server_name: ServerName<'static>,
    /// Whom to trust, who we are, sessions to be resumed.
    pub(crate) connector: TlsConnector,
}

// === impl Target ===

impl Target {
    /// A target that is asked in the clear.
    pub(crate) fn plain(addr: SocketAddr) -> Self {
        Self {
            addr,
            protection: Protection::None,
        }
    }

    /// What operators call the way to it.
    pub(crate) fn network(&self, transport: Transport) -> &'static str {
        match (&self.protection, transport) {
            (Protection::None, Transport::Udp) => "udp",
            (Protection::None, Transport::Tcp) => "tcp",
            (Protection::Tls(_), _) => "tcp-tls",
            (Protection::Https(_), _) => "https",
        }
    }
}

// === impl Proof ===

// The connector is that of the stanza.
impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        self.server_name == other.server_name
    }
}

impl Eq for Proof {}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proof").field(&self.server_name).finish()
    }
}

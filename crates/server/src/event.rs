//! What there is to say about one query once it is answered.

use std::net::SocketAddr;
use std::time::Duration;

use portolan_proto::Flags;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::Rtype;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// A stream of length-prefixed messages (RFC 7766).
    Tcp,
}

/// A query and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The query.
    pub query: &'a Query<'a>,
    /// Who asked.
    pub client: SocketAddr,
    /// Where it was received.
    pub local: SocketAddr,
    /// How it was received.
    pub transport: Transport,
    /// Response code; `None` if no response was sent.
    pub rcode: Option<Rcode>,
    /// Flags of the response.
    pub flags: Flags,
    /// The response; empty if none was sent.
    pub response: &'a [u8],
    /// Directive that answered; empty if none did.
    pub plugin: &'static str,
    /// Upstream that was asked.
    pub upstream: Option<&'a str>,
    /// From reading the query to handing over the response.
    pub duration: Duration,
}

/// Takes the queries of a server block for the query log.
pub trait QueryLog: Send + Sync {
    /// Logs one query. Must not block.
    fn log(&self, event: &Event<'_>);
}

/// Takes the errors of a server block.
pub trait ErrorLog: Send + Sync {
    /// Reports one failed query, the code it was answered with, and the
    /// reason. Must not block.
    fn report(&self, query: &Query<'_>, rcode: Rcode, reason: &str);
}

/// Takes what the local layers of a server block say of names.
pub trait LookupLog: Send + Sync {
    /// A name of a query was looked up; `plugin` is the directive of the layer
    /// that knows it. Must not block.
    fn looked_up(&self, qtype: Rtype, plugin: Option<&'static str>);
}

// === impl Transport ===

impl Transport {
    /// As logs and metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

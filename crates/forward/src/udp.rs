//! One query and its response over UDP.
//!
//! A query has an id that is drawn here and a socket to itself until it is
//! answered ([`crate::pool`]). The socket is connected, so that the system
//! drops what another address sends and reports a closed port at once. What
//! arrives and does not match is ignored while the time lasts: an answer to
//! give up on is not an attacker's to choose.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;

use portolan_proto::Message;
use portolan_proto::Rcode;
use tokio::time::Instant;

use crate::Question;
use crate::error::Cause;
use crate::error::ExchangeError;
use crate::error::Step;
use crate::pool::Pool;
use crate::pool::Socket;
use crate::question::Hop;
use crate::question::Reading;
use crate::question::response_rcode;
use crate::sockets::Connected;
use crate::sockets::Sockets;
use crate::stream::Exchanged;
use crate::upstream::Upstream;

/// UDP payload that is offered to upstreams, in octets: what passes any path
/// without fragments (RFC 9715 §3).
pub(crate) const UDP_PAYLOAD: u16 = 1232;

/// The two ends of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The upstream.
    pub(crate) peer: SocketAddr,
    /// Address to send from; `None` leaves it to the system.
    pub(crate) source: Option<IpAddr>,
}

/// What is not the same for every query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Whether the query has an OPT.
    pub(crate) edns: bool,
    /// Whether the name is to come back as it was spelled.
    pub(crate) exact: bool,
    /// Whether the query has a new socket, as it does when it is repeated.
    pub(crate) anew: bool,
}

/// An exchange that a [`crate::Lane`] has begun, with an OPT and without a
/// spelling of its own.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The socket that the query was sent from.
    pub(crate) socket: Connected,
    /// The id of the query.
    pub(crate) id: u16,
    /// When it was sent.
    pub(crate) started: Instant,
    /// How often the upstream had refused a query before.
    pub(crate) refusals: u64,
    /// What has come, if that is not for the lane to judge.
    pub(crate) arrived: Option<io::Result<Vec<u8>>>,
}

// === impl Link ===

impl Link {
    /// Opens a socket on a port of the system's choice, which is random.
    pub(crate) fn connect(&self, sockets: &Sockets) -> io::Result<Connected> {
        let io = UdpSocket::bind(self.local())?;
        io.set_nonblocking(true)?;
        io.connect(self.peer)?;
        let local = io.local_addr()?;
        Ok(Connected {
            io,
            opened: Instant::now(),
            uses: 0,
            noted: Box::new(sockets.note(local)),
        })
    }

    /// The local address to bind: any port.
    pub(crate) fn local(&self) -> SocketAddr {
        let unspecified = || match self.peer {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(self.source.unwrap_or_else(unspecified), 0)
    }
}

/// Asks a question, unless that was `begun`, and waits for its response until
/// `deadline`.
pub(crate) async fn exchange(
    pool: &Pool,
    question: &Question,
    manner: Manner,
    begun: Option<Box<Begun>>,
    deadline: Instant,
) -> Result<Exchanged, ExchangeError> {
    let Manner { edns, exact, anew } = manner;
    let (socket, id, arrived) = match begun {
        Some(begun) => begun.adopt(pool)?,
        None => {
            let id = rand::random();
            let mut query = Vec::with_capacity(QUERY);
            question.write_query(&mut query, id, edns.then_some(UDP_PAYLOAD), Hop::Udp);
            let idle = if anew { None } else { pool.reuse(&query) };
            let socket = idle.map_or_else(|| send(pool, &query), Ok)?;
            (socket, id, None)
        }
    };
    let read = |datagram: &[u8]| {
        let is_respelled = || exact && !question.is_spelled_by(datagram);
        if is_respelled() && question.is_answered_by(datagram, id) {
            return Some(Err(Cause::Spelling));
        }
        match question.read(datagram, id) {
            Reading::Answer(message) => Some(Ok(message)),
            Reading::HeaderError if edns => Some(Err(Cause::NoEdns)),
            Reading::HeaderError | Reading::Stray => None,
        }
    };
    let received = match arrived {
        Some(Err(error)) => Err(error.into()),
        Some(Ok(datagram)) => match read(&datagram) {
            Some(read) => Ok(read),
            None => socket.receive(deadline, read).await,
        },
        None => socket.receive(deadline, read).await,
    };
    let (local, reused) = (socket.local, socket.is_reused());
    let cause = match received {
        Ok(Ok(message)) if edns && lacks_edns(&message) => Cause::NoEdns,
        Ok(Ok(message)) => {
            pool.put_back(socket);
            return Ok(Exchanged { message, reused });
        }
        Ok(Err(cause)) => cause,
        Err(cause) => {
            pool.fail(socket);
            cause
        }
    };
    Err(failed(pool, Step::Read, Some(local), cause))
}

/// Whether a response says that the upstream cannot read an OPT
/// (RFC 6891 §7).
pub(crate) fn lacks_edns(message: &Message) -> bool {
    message.rcode() == Rcode::FORMERR && !message.has_edns()
}

/// Sends a query from a new socket and waits until `deadline` for any
/// response to it.
pub(crate) async fn probe(
    pool: &Pool,
    question: &Question,
    deadline: Instant,
) -> Result<Rcode, ExchangeError> {
    let id = rand::random();
    let socket = {
        let mut query = Vec::with_capacity(QUERY);
        question.write_query(&mut query, id, None, Hop::Udp);
        send(pool, &query)?
    };
    let read = |datagram: &[u8]| response_rcode(datagram, id);
    let received = socket.receive(deadline, read).await;
    received.map_err(|cause| failed(pool, Step::Read, Some(socket.local), cause))
}

// === impl Begun ===

impl Begun {
    /// Whether the upstream has refused a query since this one was sent.
    pub(crate) fn is_refused(&self, upstream: &Upstream) -> bool {
        upstream.refusals() != self.refusals
    }

    /// The socket for the query runtime, the id of the query, and what has
    /// arrived.
    fn adopt(self, pool: &Pool) -> Result<Adopted, ExchangeError> {
        let local = self.socket.noted.local();
        let socket = Socket::new(self.socket)
            .map_err(|error| failed(pool, Step::Dial, Some(local), error.into()))?;
        Ok((socket, self.id, self.arrived))
    }
}

/// What [`Begun`] leaves to be waited for.
type Adopted = (Socket, u16, Option<io::Result<Vec<u8>>>);

/// Sends a query from a new socket.
fn send(pool: &Pool, query: &[u8]) -> Result<Socket, ExchangeError> {
    let opened = pool.open();
    let mut socket = opened.map_err(|error| failed(pool, Step::Dial, None, error.into()))?;
    match socket.send(query) {
        Ok(()) => Ok(socket),
        Err(error) => Err(failed(pool, Step::Write, Some(socket.local), error.into())),
    }
}

/// An exchange that failed.
fn failed(pool: &Pool, step: Step, local: Option<SocketAddr>, cause: Cause) -> ExchangeError {
    ExchangeError {
        step,
        network: "udp",
        local,
        peer: pool.peer(),
        cause,
    }
}

/// Octets that most queries fit.
const QUERY: usize = 128;

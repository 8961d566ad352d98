//! One query and its response over UDP.
//!
//! Every query has a socket of its own: a source port that the system draws
//! anew, and an id that is drawn here (RFC 5452 §9.2). The socket is
//! connected, so that the system drops what another address sends and reports
//! a closed port at once. What arrives and does not match is ignored while
//! the time lasts: an answer to give up on is not an attacker's to choose.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use portolan_proto::Message;
use portolan_proto::Rcode;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::Question;
use crate::error::Cause;
use crate::error::ExchangeError;
use crate::error::Step;
use crate::question::Hop;
use crate::question::response_rcode;
use crate::sockets::Sockets;

/// UDP payload that is offered to upstreams, in octets: what passes any path
/// without fragments (RFC 9715 §3).
pub(crate) const UDP_PAYLOAD: u16 = 1232;

/// Octets of a datagram that are read. More than is offered, for an upstream
/// that does not care.
const RECEIVE: usize = 4096;

/// The two ends of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The upstream.
    pub(crate) peer: SocketAddr,
    /// Address to send from; `None` leaves it to the system.
    pub(crate) source: Option<IpAddr>,
}

// === impl Link ===

impl Link {
    /// The local address to bind: any port.
    pub(crate) fn local(&self) -> SocketAddr {
        let unspecified = || match self.peer {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(self.source.unwrap_or_else(unspecified), 0)
    }
}

/// What is not the same for every upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Whether the query has an OPT.
    pub(crate) edns: bool,
    /// Whether the name is to come back as it was spelled.
    pub(crate) exact: bool,
}

/// Asks a question and waits for its response until `deadline`.
pub(crate) async fn exchange(
    link: Link,
    question: &Question,
    manner: Manner,
    sockets: &Sockets,
    deadline: Instant,
) -> Result<Message, ExchangeError> {
    let Manner { edns, exact } = manner;
    let id = rand::random();
    let mut query = Vec::with_capacity(RECEIVE);
    question.write_query(&mut query, id, edns.then_some(UDP_PAYLOAD), Hop::Udp);
    let read = |datagram: &mut Vec<u8>| {
        if question.is_answered_by(datagram, id) {
            if exact && !question.is_spelled_by(datagram) {
                return Some(Err(Cause::Spelling));
            }
            return Message::parse(std::mem::take(datagram)).ok().map(Ok);
        }
        (edns && question.is_header_error(datagram, id)).then_some(Err(Cause::NoEdns))
    };
    let (received, local) = transact(link, query, sockets, deadline, read).await?;
    let cause = match received {
        Ok(message) if edns && lacks_edns(&message) => Cause::NoEdns,
        Ok(message) => return Ok(message),
        Err(cause) => cause,
    };
    Err(ExchangeError {
        step: Step::Read,
        network: "udp",
        local,
        peer: link.peer,
        cause,
    })
}

/// Whether a response says that the upstream cannot read an OPT
/// (RFC 6891 §7).
pub(crate) fn lacks_edns(message: &Message) -> bool {
    message.rcode() == Rcode::FORMERR && !message.has_edns()
}

/// Sends a query and waits until `deadline` for any response to it.
pub(crate) async fn probe(
    link: Link,
    question: &Question,
    sockets: &Sockets,
    deadline: Instant,
) -> Result<Rcode, ExchangeError> {
    let id = rand::random();
    let mut query = Vec::with_capacity(RECEIVE);
    question.write_query(&mut query, id, None, Hop::Udp);
    let read = |datagram: &mut Vec<u8>| response_rcode(datagram, id);
    transact(link, query, sockets, deadline, read)
        .await
        .map(|(rcode, _)| rcode)
}

/// Sends a query, then hands each datagram to `read` until it makes something
/// of one. `buffer` holds the query, then what is received.
async fn transact<T>(
    link: Link,
    mut buffer: Vec<u8>,
    sockets: &Sockets,
    deadline: Instant,
    mut read: impl FnMut(&mut Vec<u8>) -> Option<T>,
) -> Result<(T, Option<SocketAddr>), ExchangeError> {
    let fail = |step, local, cause| ExchangeError {
        step,
        network: "udp",
        local,
        peer: link.peer,
        cause,
    };
    let socket = connect(link)
        .await
        .map_err(|error| fail(Step::Dial, None, error.into()))?;
    let local = socket.local_addr().ok();
    let _noted = local.map(|local| sockets.note(local));
    socket
        .send(&buffer)
        .await
        .map_err(|error| fail(Step::Write, local, error.into()))?;
    loop {
        buffer.clear();
        buffer.reserve(RECEIVE);
        match timeout_at(deadline, socket.recv_buf(&mut buffer)).await {
            Err(_) => return Err(fail(Step::Read, local, Cause::Timeout)),
            Ok(Err(error)) => return Err(fail(Step::Read, local, error.into())),
            Ok(Ok(_)) => {
                if let Some(done) = read(&mut buffer) {
                    return Ok((done, local));
                }
                tracing::trace!(plugin = "forward", to = %link.peer, "stray datagram ignored");
            }
        }
    }
}

/// A connected socket on a port of the system's choice, which is random.
async fn connect(link: Link) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(link.local()).await?;
    socket.connect(link.peer).await?;
    Ok(socket)
}

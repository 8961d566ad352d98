//! One query and its response over TCP, on a pooled connection.
//!
//! A connection carries one query at a time: it is taken from the pool, used,
//! and put back when its response has been read to the end. An idle
//! connection that the upstream has closed meanwhile costs one more attempt on
//! a new one, not the query.

use std::io;

use portolan_proto::Message;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::Question;
use crate::error::Cause;
use crate::error::ExchangeError;
use crate::error::Step;
use crate::pool::Pool;
use crate::question::response_body;
use crate::udp::Link;
use crate::udp::UDP_PAYLOAD;
use crate::udp::lacks_edns;

/// A response and whether it came over a connection of the pool.
pub(crate) struct Exchanged {
    /// The response.
    pub(crate) message: Message,
    /// Whether the connection was there already.
    pub(crate) reused: bool,
}

/// A step that failed.
type Fault = (Step, Cause);

/// Asks a question and waits for its response until `deadline`.
pub(crate) async fn exchange(
    link: Link,
    pool: &Pool<TcpStream>,
    question: &Question,
    edns: bool,
    deadline: Instant,
) -> Result<Exchanged, ExchangeError> {
    let mut local = None;
    let result = timeout_at(deadline, async {
        let id = rand::random();
        let frame = frame(question, id, edns.then_some(UDP_PAYLOAD));
        while let Some(mut idle) = pool.take(Instant::now().into_std()) {
            if !is_open(&idle.connection) {
                continue;
            }
            local = idle.connection.local_addr().ok();
            if let Ok(octets) = converse(&mut idle.connection, &frame).await {
                let message = read(octets, question, id, edns)?;
                pool.put_back(idle, Instant::now().into_std());
                return Ok(Exchanged {
                    message,
                    reused: true,
                });
            }
            // The upstream closed it just now, and so perhaps the others.
            break;
        }
        local = None;
        let mut stream = connect(link)
            .await
            .map_err(|error| (Step::Dial, Cause::Io(error)))?;
        local = stream.local_addr().ok();
        let opened = Instant::now().into_std();
        let octets = converse(&mut stream, &frame).await?;
        let message = read(octets, question, id, edns)?;
        pool.put(stream, opened, Instant::now().into_std());
        Ok(Exchanged {
            message,
            reused: false,
        })
    })
    .await;
    let (step, cause) = match result {
        Ok(Ok(exchanged)) => return Ok(exchanged),
        Ok(Err(fault)) => fault,
        Err(_) if local.is_none() => (Step::Dial, Cause::Timeout),
        Err(_) => (Step::Read, Cause::Timeout),
    };
    Err(error(link, local, step, cause))
}

/// Sends a query on a new connection and waits until `deadline` for any
/// response to it.
pub(crate) async fn probe(
    link: Link,
    question: &Question,
    deadline: Instant,
) -> Result<(), ExchangeError> {
    let id = rand::random();
    let frame = frame(question, id, None);
    let result = timeout_at(deadline, async {
        let mut stream = connect(link)
            .await
            .map_err(|error| (Step::Dial, Cause::Io(error)))?;
        let octets = converse(&mut stream, &frame).await?;
        match response_body(&octets, id) {
            Some(_) => Ok(()),
            None => Err((Step::Read, Cause::Mismatch)),
        }
    })
    .await;
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err((step, cause))) => Err(error(link, None, step, cause)),
        Err(_) => Err(error(link, None, Step::Read, Cause::Timeout)),
    }
}

/// An error of this transport.
fn error(
    link: Link,
    local: Option<std::net::SocketAddr>,
    step: Step,
    cause: Cause,
) -> ExchangeError {
    ExchangeError {
        step,
        network: "tcp",
        local,
        peer: link.peer,
        cause,
    }
}

/// Length and query in one buffer, for one write (RFC 7766 §8).
fn frame(question: &Question, id: u16, edns: Option<u16>) -> Vec<u8> {
    let mut query = Vec::with_capacity(512);
    question.write_query(&mut query, id, edns);
    let length = u16::try_from(query.len()).expect("a query is short");
    let mut frame = Vec::with_capacity(2 + query.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&query);
    frame
}

/// A new connection.
async fn connect(link: Link) -> io::Result<TcpStream> {
    let socket = if link.peer.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if link.source.is_some() {
        socket.bind(link.local())?;
    }
    let stream = socket.connect(link.peer).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether an idle connection can be used: the upstream has neither closed it
/// nor said something unasked.
fn is_open(stream: &TcpStream) -> bool {
    let mut octet = [0];
    matches!(stream.try_read(&mut octet), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Writes a query and reads one message.
async fn converse(stream: &mut TcpStream, frame: &[u8]) -> Result<Vec<u8>, Fault> {
    stream
        .write_all(frame)
        .await
        .map_err(|error| (Step::Write, Cause::Io(error)))?;
    let length = stream.read_u16().await.map_err(read_fault)?;
    let mut octets = vec![0; usize::from(length)];
    stream.read_exact(&mut octets).await.map_err(read_fault)?;
    Ok(octets)
}

/// What a failed read means.
fn read_fault(error: io::Error) -> Fault {
    let cause = if error.kind() == io::ErrorKind::UnexpectedEof {
        Cause::Closed
    } else {
        Cause::Io(error)
    };
    (Step::Read, cause)
}

/// Reads the response to a question. On a connection that this query has to
/// itself, anything else is a fault of the upstream.
fn read(octets: Vec<u8>, question: &Question, id: u16, edns: bool) -> Result<Message, Fault> {
    if edns && question.is_header_error(&octets, id) {
        return Err((Step::Read, Cause::NoEdns));
    }
    if !question.is_answered_by(&octets, id) {
        return Err((Step::Read, Cause::Mismatch));
    }
    let message = Message::parse(octets).map_err(|_| (Step::Read, Cause::Mismatch))?;
    if edns && lacks_edns(&message) {
        return Err((Step::Read, Cause::NoEdns));
    }
    Ok(message)
}

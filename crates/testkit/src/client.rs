//! A small blocking DNS client.
//!
//! It asks servers on loopback addresses, one query at a time ([`Client`]),
//! many on one TCP connection ([`Connection`]) or many a second over UDP
//! ([`Load`]). Responses are read by hickory-proto, not by the codec under
//! test. It does not retry: a lost datagram is what a test wants to see.

mod load;
mod query;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::bail;
use anyhow::ensure;
use hickory_proto::op::Message;
use hickory_proto::op::MessageType;
use hickory_proto::rr::RecordType;

pub use load::Answer;
pub use load::Load;
pub use load::Plan;
pub use load::Report;
pub use load::Sample;
pub use load::Wrong;
pub use query::Query;
pub use stream::Connection;
pub use stream::stream_from;

/// How long a response is waited for unless a test says otherwise: what a
/// stub resolver waits.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks one server, each query from a port of its own.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Server to ask.
    server: SocketAddr,
    /// How to ask it.
    transport: Transport,
    /// How long to wait for a response.
    timeout: Duration,
}

/// How queries travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    /// One datagram each way.
    Udp,
    /// One connection each query.
    Tcp,
}

// === impl Client ===

impl Client {
    /// Will ask over UDP.
    pub fn udp(server: SocketAddr) -> Self {
        Self {
            server,
            transport: Transport::Udp,
            timeout: TIMEOUT,
        }
    }

    /// Will ask over TCP, one connection each query.
    pub fn tcp(server: SocketAddr) -> Self {
        Self {
            transport: Transport::Tcp,
            ..Self::udp(server)
        }
    }

    /// Waits this long for a response.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Asks for a name and type, RD set and without EDNS, as a stub resolver
    /// does.
    ///
    /// # Errors
    ///
    /// See [`Self::ask`].
    pub fn query(&self, name: &str, qtype: RecordType) -> anyhow::Result<Message> {
        self.ask(&Query::new(name, qtype))
    }

    /// Asks a query.
    ///
    /// # Errors
    ///
    /// No response in time, or one that hickory cannot read, or that does not
    /// belong to the query.
    pub fn ask(&self, query: &Query) -> anyhow::Result<Message> {
        let sent = query.encode()?;
        let octets = self
            .exchange(&sent)?
            .with_context(|| format!("no response to {query}"))?;
        let response = decode(&octets)?;
        ensure!(
            octets.get(..2) == sent.get(..2),
            "the id is of another query: {response:?}"
        );
        query.check_question(&response)?;
        Ok(response)
    }

    /// Sends octets as a message and gives the octets of the first one that
    /// comes back; `None` if none comes in time, or the connection is closed.
    ///
    /// # Errors
    ///
    /// The server is not on a loopback address, or sockets fail. A port that
    /// nobody listens at is an error where the system says so.
    pub fn exchange(&self, message: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        match self.transport {
            Transport::Udp => {
                let socket = connected(self.server)?;
                socket.send(message).context("sending a datagram")?;
                receive_datagram(&socket, self.timeout)
            }
            Transport::Tcp => {
                let mut connection = self.connect()?;
                connection.send(message)?;
                connection.receive()
            }
        }
    }

    /// Opens a TCP connection to the server, whatever the transport of single
    /// queries.
    ///
    /// # Errors
    ///
    /// The server is not on a loopback address, or does not accept in time.
    pub fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.server, self.timeout)
    }
}

/// A UDP socket on a port of its own that talks to `server` alone.
fn connected(server: SocketAddr) -> anyhow::Result<UdpSocket> {
    ensure_loopback(server)?;
    let any_port = SocketAddr::new(server.ip(), 0);
    let socket = UdpSocket::bind(any_port).context("binding a client port")?;
    socket
        .connect(server)
        .context("connecting a datagram socket")?;
    Ok(socket)
}

/// The next datagram, unless `timeout` passes before.
fn receive_datagram(socket: &UdpSocket, timeout: Duration) -> anyhow::Result<Option<Vec<u8>>> {
    // Zero would mean for ever.
    socket.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
    let mut buffer = vec![0; 65_536];
    match socket.recv(&mut buffer) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(error) if is_timeout(&error) => Ok(None),
        Err(error) => Err(error).context("receiving a datagram"),
    }
}

/// Reads a response by hickory.
fn decode(octets: &[u8]) -> anyhow::Result<Message> {
    let response = Message::from_vec(octets)
        .with_context(|| format!("response that cannot be read: {octets:02x?}"))?;
    if response.metadata.message_type != MessageType::Response {
        bail!("not a response: {response:?}");
    }
    Ok(response)
}

/// Tests stay on the machine.
fn ensure_loopback(server: SocketAddr) -> anyhow::Result<()> {
    ensure!(
        server.ip().is_loopback(),
        "{server} is not a loopback address"
    );
    Ok(())
}

/// Whether waiting ended before anything came.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
fn now() -> Instant {
    Instant::now()
}

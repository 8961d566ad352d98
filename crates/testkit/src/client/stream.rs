//! Messages on a TCP connection.

use std::collections::BTreeMap;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::bail;
use hickory_proto::op::Message;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::SockaddrIn;
use nix::sys::socket::bind;
use nix::sys::socket::connect;
use nix::sys::socket::setsockopt;
use nix::sys::socket::socket;
use nix::sys::socket::sockopt::RcvBuf;

use super::Query;
use super::decode;
use super::ensure_loopback;
use super::is_timeout;
use super::now;

/// A TCP connection to a server.
#[derive(Debug)]
pub struct Connection {
    /// The connection.
    stream: TcpStream,
    /// How long to wait for one message.
    timeout: Duration,
}

// === impl Connection ===

impl Connection {
    /// Connects.
    pub(super) fn open(server: SocketAddr, timeout: Duration) -> anyhow::Result<Self> {
        ensure_loopback(server)?;
        let stream = TcpStream::connect_timeout(&server, timeout)
            .with_context(|| format!("connecting to {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self { stream, timeout })
    }

    /// Sends a message, its length before it (RFC 1035 §4.2.2), in one write
    /// (RFC 7766 §8).
    ///
    /// # Errors
    ///
    /// The message is too long, or the connection is closed.
    pub fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        let framed = frame(message)?;
        self.send_octets(&framed)
    }

    /// Sends octets as they are: half a length, half a message, nonsense.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub fn send_octets(&mut self, octets: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(octets).context("sending to a stream")
    }

    /// The next message; `None` if the server closes the connection, or none
    /// comes in time.
    ///
    /// # Errors
    ///
    /// A message breaks off, or the connection fails.
    pub fn receive(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut length = [0; 2];
        match self.fill(&mut length)? {
            0 => return Ok(None),
            2 => {}
            _ => bail!("the length of a message breaks off"),
        }
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        let filled = self.fill(&mut message)?;
        if filled < message.len() {
            bail!("a message breaks off after {filled} octets");
        }
        Ok(Some(message))
    }

    /// Sends queries without waiting for responses, and gives the responses
    /// in the order of their arrival, each once.
    ///
    /// # Errors
    ///
    /// Two queries have one id, a query is not answered, or a response does
    /// not belong to a query.
    pub fn pipeline(&mut self, queries: &[Query]) -> anyhow::Result<Vec<Message>> {
        let mut waiting = BTreeMap::new();
        let mut octets = Vec::new();
        for query in queries {
            octets.extend(frame(&query.encode()?)?);
            if waiting.insert(query.message_id(), query).is_some() {
                bail!("two queries with id {}", query.message_id());
            }
        }
        let mut writer = self.stream.try_clone().context("cloning a stream")?;
        thread::scope(|scope| {
            // A server that does not read on before it is read from would
            // wait for ever, were both done by one thread.
            let written = scope.spawn(move || writer.write_all(&octets));
            let responses = self.collect(waiting);
            match written.join() {
                Ok(written) => written.context("sending to a stream")?,
                Err(_) => bail!("the writing thread panicked"),
            }
            responses
        })
    }

    /// Whether the server closes the connection within a time, having sent
    /// nothing more.
    ///
    /// # Errors
    ///
    /// Something comes, or the connection fails otherwise than by a reset.
    pub fn closes_within(&mut self, time: Duration) -> anyhow::Result<bool> {
        self.stream
            .set_read_timeout(Some(time.max(Duration::from_millis(1))))?;
        let mut octet = [0];
        match self.stream.read(&mut octet) {
            Ok(0) => Ok(true),
            Ok(_) => bail!("the server sent octet {octet:?}"),
            Err(error) if is_timeout(&error) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error).context("waiting for the end of a stream"),
        }
    }

    /// Receives the responses to queries.
    fn collect(&mut self, mut waiting: BTreeMap<u16, &Query>) -> anyhow::Result<Vec<Message>> {
        let mut responses = Vec::new();
        while !waiting.is_empty() {
            let octets = self
                .receive()?
                .with_context(|| format!("{} queries are not answered", waiting.len()))?;
            let response = decode(&octets)?;
            let query = waiting
                .remove(&response.metadata.id)
                .with_context(|| format!("nobody asked for {response:?}"))?;
            query.check_question(&response)?;
            responses.push(response);
        }
        Ok(responses)
    }

    /// Reads until the buffer is full, the stream ends or time is up; gives
    /// how much was read.
    fn fill(&mut self, buffer: &mut [u8]) -> anyhow::Result<usize> {
        let deadline = now() + self.timeout;
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                break;
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(rest) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if is_timeout(&error) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error).context("receiving from a stream"),
            }
        }
        Ok(filled)
    }
}

/// A message with its length before it.
fn frame(message: &[u8]) -> anyhow::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).context("a message too long for a stream")?;
    Ok([&length.to_be_bytes(), message].concat())
}

/// Connects from an address of this machine, to be one client of several. The
/// system keeps `receive` octets that were not read, or as many as it likes.
///
/// # Errors
///
/// The server is not on an IPv4 loopback address, or does not accept.
pub fn stream_from(
    client: Ipv4Addr,
    server: SocketAddr,
    receive: Option<usize>,
) -> anyhow::Result<TcpStream> {
    ensure_loopback(server)?;
    let SocketAddr::V4(server) = server else {
        bail!("{server} is not an IPv4 address");
    };
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // The window is agreed on with the connection.
    if let Some(octets) = receive {
        setsockopt(&socket, RcvBuf, &octets)?;
    }
    let descriptor = socket.as_raw_fd();
    let [a, b, c, d] = client.octets();
    bind(descriptor, &SockaddrIn::new(a, b, c, d, 0)).context("binding a client address")?;
    connect(descriptor, &SockaddrIn::from(server))
        .with_context(|| format!("connecting to {server}"))?;
    Ok(TcpStream::from(socket))
}

//! A DNS server that does as a test tells it, over UDP and TCP on one port.
//!
//! A closure turns each query into an [`Action`]: a reply, several, late ones,
//! none. Every query is recorded before the closure is asked.

mod reply;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Context as _;
use portolan_proto::Flags;
use portolan_proto::OPTION_TCP_KEEPALIVE;
use portolan_proto::Qname;
use portolan_proto::Query;
use portolan_proto::Rtype;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

pub use reply::Reply;

/// Times that a pair of ports is looked for.
const BIND_ATTEMPTS: usize = 50;

/// A DNS server under the control of a test. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeUpstream {
    /// Where it listens.
    addr: SocketAddr,
    /// What it was asked.
    log: Arc<Log>,
    /// Ends it.
    token: CancellationToken,
    /// Its tasks.
    tracker: TaskTracker,
    /// Ends it when dropped.
    _ending: DropGuard,
}

/// One query as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Message id.
    pub id: u16,
    /// Header flags.
    pub flags: Flags,
    /// Name asked for, in lower case.
    pub qname: Qname,
    /// Type asked for.
    pub qtype: Rtype,
    /// The question as sent.
    pub question: Vec<u8>,
    /// UDP payload of its OPT, if it has one.
    pub edns_payload: Option<u16>,
    /// DO.
    pub dnssec_ok: bool,
    /// What it says about keeping the connection (RFC 7828), if it does.
    pub keepalive: Option<Vec<u8>>,
    /// Whether it came over TCP.
    pub tcp: bool,
    /// Who sent it.
    pub source: SocketAddr,
    /// How many queries came before it.
    pub index: usize,
}

/// What to do about a query.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a message.
    Send(Vec<u8>),
    /// Send a message from another address of this machine; over TCP, nothing.
    SendFrom(SocketAddr, Vec<u8>),
    /// Send octets; over TCP without a length before them.
    Octets(Vec<u8>),
    /// Do something after a while.
    After(Duration, Box<Self>),
    /// Do several things in order.
    Each(Vec<Self>),
    /// Say nothing.
    Drop,
    /// Close the connection; over UDP, say nothing.
    Close,
}

/// What a test decides by.
type Script = dyn Fn(&Received) -> Action + Send + Sync;

/// The queries that came, and the connections.
#[derive(Debug, Default)]
struct Log {
    /// The queries.
    queries: Mutex<Vec<Received>>,
    /// How many connections were accepted.
    connections: Mutex<usize>,
}

// === impl FakeUpstream ===

impl FakeUpstream {
    /// Starts a server on a port of the system's choice.
    ///
    /// # Errors
    ///
    /// If no port is free for both transports.
    pub async fn start(
        script: impl Fn(&Received) -> Action + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let mut attempt = 0;
        loop {
            let udp = UdpSocket::bind(("127.0.0.1", 0)).await?;
            let addr = udp.local_addr()?;
            match TcpListener::bind(addr).await {
                Ok(tcp) => return Ok(Self::run(udp, Some(tcp), addr, Arc::new(script))),
                Err(error) if attempt == BIND_ATTEMPTS => {
                    return Err(error).context("no port is free for UDP and TCP");
                }
                Err(_) => attempt += 1,
            }
        }
    }

    /// Starts a server at an address, for instance that of one that ended.
    ///
    /// # Errors
    ///
    /// If the address is taken.
    pub async fn start_at(
        addr: SocketAddr,
        script: impl Fn(&Received) -> Action + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let udp = UdpSocket::bind(addr).await?;
        let tcp = TcpListener::bind(addr).await?;
        Ok(Self::run(udp, Some(tcp), addr, Arc::new(script)))
    }

    /// Starts a server that refuses TCP connections.
    ///
    /// # Errors
    ///
    /// If there is no free port.
    pub async fn start_udp_only(
        script: impl Fn(&Received) -> Action + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let udp = UdpSocket::bind(("127.0.0.1", 0)).await?;
        let addr = udp.local_addr()?;
        Ok(Self::run(udp, None, addr, Arc::new(script)))
    }

    /// Starts a server that answers every query with one address record,
    /// 192.0.2.1 and 60 s.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn answering() -> anyhow::Result<Self> {
        Self::start(|query| Reply::to(query).a([192, 0, 2, 1], 60).send()).await
    }

    /// Starts a server that never says anything.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn black_hole() -> anyhow::Result<Self> {
        Self::start(|_| Action::Drop).await
    }

    /// Runs on two sockets.
    fn run(
        udp: UdpSocket,
        tcp: Option<TcpListener>,
        addr: SocketAddr,
        script: Arc<Script>,
    ) -> Self {
        let token = CancellationToken::new();
        let tracker = TaskTracker::new();
        let log = Arc::new(Log::default());
        let server = Server {
            script,
            log: Arc::clone(&log),
            token: token.clone(),
            tracker: tracker.clone(),
        };
        tracker.spawn(server.clone().udp(Arc::new(udp)));
        if let Some(tcp) = tcp {
            tracker.spawn(server.tcp(tcp));
        }
        Self {
            addr,
            log,
            _ending: token.clone().drop_guard(),
            token,
            tracker,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it and waits until its ports are closed.
    pub async fn stop(self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// The queries that came.
    pub fn queries(&self) -> Vec<Received> {
        self.log.queries().clone()
    }

    /// How many queries came.
    pub fn count(&self) -> usize {
        self.log.queries().len()
    }

    /// How many queries came that are no `. NS` probes.
    pub fn count_without_probes(&self) -> usize {
        self.log.queries().iter().filter(|q| !q.is_probe()).count()
    }

    /// How many TCP connections were accepted.
    pub fn connections(&self) -> usize {
        *self
            .log
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Received ===

impl Received {
    /// Whether this is the probe of a health check as it is by default.
    pub fn is_probe(&self) -> bool {
        self.qtype == Rtype::NS && self.qname.as_wire() == [0]
    }
}

// === impl Log ===

impl Log {
    /// The queries.
    fn queries(&self) -> MutexGuard<'_, Vec<Received>> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a query down; `None` if it is none.
    fn add(&self, message: &[u8], source: SocketAddr, tcp: bool) -> Option<Received> {
        let query = Query::read(message).ok()?;
        let mut queries = self.queries();
        let received = Received {
            id: query.id,
            flags: query.flags,
            qname: query.qname,
            qtype: query.qtype,
            question: query.question.to_vec(),
            edns_payload: query.edns.map(|edns| edns.udp_payload),
            dnssec_ok: query.dnssec_ok(),
            keepalive: query
                .edns
                .and_then(|edns| edns.options.find(OPTION_TCP_KEEPALIVE))
                .map(<[u8]>::to_vec),
            tcp,
            source,
            index: queries.len(),
        };
        queries.push(received.clone());
        Some(received)
    }
}

/// What the tasks of a server share.
#[derive(Clone)]
struct Server {
    /// What the test decides by.
    script: Arc<Script>,
    /// What came.
    log: Arc<Log>,
    /// Ends the tasks.
    token: CancellationToken,
    /// The tasks.
    tracker: TaskTracker,
}

// === impl Server ===

impl Server {
    /// Serves datagrams.
    async fn udp(self, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; 4096];
        loop {
            let received = tokio::select! {
                () = self.token.cancelled() => return,
                received = socket.recv_from(&mut buffer) => received,
            };
            // An error here is an ICMP message about an earlier reply.
            let Ok((length, source)) = received else {
                continue;
            };
            let message = buffer.get(..length).unwrap_or_default();
            let Some(query) = self.log.add(message, source, false) else {
                continue;
            };
            let action = (self.script)(&query);
            let socket = Arc::clone(&socket);
            let token = self.token.clone();
            self.tracker.spawn(async move {
                let mut deeds = Vec::new();
                flatten(action, Duration::ZERO, &mut deeds);
                for (after, deed) in deeds {
                    tokio::select! {
                        () = token.cancelled() => return,
                        () = tokio::time::sleep(after) => {}
                    }
                    match deed {
                        Deed::Message(octets) | Deed::Octets(octets) => {
                            socket.send_to(&octets, source).await.ok();
                        }
                        Deed::From(addr, octets) => {
                            if let Ok(other) = UdpSocket::bind(addr).await {
                                other.send_to(&octets, source).await.ok();
                            }
                        }
                        Deed::Close => {}
                    }
                }
            });
        }
    }

    /// Accepts connections.
    async fn tcp(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.token.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            if let Ok((stream, source)) = accepted {
                *self
                    .log
                    .connections
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) += 1;
                let server = self.clone();
                self.tracker.spawn(async move {
                    tokio::select! {
                        () = server.token.cancelled() => {}
                        _ = server.connection(stream, source) => {}
                    }
                });
            }
        }
    }

    /// Serves one connection, one query after another.
    async fn connection(&self, mut stream: TcpStream, source: SocketAddr) -> std::io::Result<()> {
        loop {
            let length = stream.read_u16().await?;
            let mut message = vec![0; usize::from(length)];
            stream.read_exact(&mut message).await?;
            let Some(query) = self.log.add(&message, source, true) else {
                return Ok(());
            };
            let mut deeds = Vec::new();
            flatten((self.script)(&query), Duration::ZERO, &mut deeds);
            for (after, deed) in deeds {
                tokio::time::sleep(after).await;
                match deed {
                    Deed::Message(message) => {
                        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
                        // In one write, or the second waits for the first to
                        // be acknowledged.
                        let framed = [&length.to_be_bytes()[..], &message].concat();
                        stream.write_all(&framed).await?;
                    }
                    Deed::Octets(octets) => stream.write_all(&octets).await?,
                    Deed::From(..) => {}
                    Deed::Close => return Ok(()),
                }
            }
        }
    }
}

/// What to do about a query, step by step.
enum Deed {
    /// Send a message.
    Message(Vec<u8>),
    /// Send octets.
    Octets(Vec<u8>),
    /// Send a datagram from another address.
    From(SocketAddr, Vec<u8>),
    /// Close the connection.
    Close,
}

/// What to do, each step with the time to wait before.
fn flatten(action: Action, after: Duration, out: &mut Vec<(Duration, Deed)>) {
    match action {
        Action::Send(message) => out.push((after, Deed::Message(message))),
        Action::SendFrom(addr, message) => out.push((after, Deed::From(addr, message))),
        Action::Octets(octets) => out.push((after, Deed::Octets(octets))),
        Action::After(more, action) => flatten(*action, after + more, out),
        Action::Each(actions) => {
            let mut after = after;
            for action in actions {
                flatten(action, after, out);
                after = Duration::ZERO;
            }
        }
        Action::Close => out.push((after, Deed::Close)),
        Action::Drop => {}
    }
}

#[cfg(test)]
mod tests {
    use portolan_proto::Message;

    use super::*;

    #[tokio::test]
    async fn it_answers_over_both_transports_and_counts() {
        let upstream = FakeUpstream::answering().await.unwrap();
        let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";

        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        udp.send_to(query, upstream.addr()).await.unwrap();
        let mut buffer = [0; 512];
        let length = udp.recv(&mut buffer).await.unwrap();
        let message = Message::parse(buffer[..length].to_vec()).unwrap();
        assert_eq!(message.id(), 7);
        assert_eq!(message.records().next().unwrap().rdata(), [192, 0, 2, 1]);

        let mut tcp = TcpStream::connect(upstream.addr()).await.unwrap();
        tcp.write_u16(19).await.unwrap();
        tcp.write_all(query).await.unwrap();
        let length = tcp.read_u16().await.unwrap();
        let mut answer = vec![0; usize::from(length)];
        tcp.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, buffer[..answer.len()]);

        assert_eq!(upstream.count(), 2);
        assert_eq!(upstream.connections(), 1);
        let transports: Vec<bool> = upstream.queries().iter().map(|query| query.tcp).collect();
        assert_eq!(transports, [false, true]);
    }
}

//! The sockets below memberlist.
//!
//! In the place of crate memberlist-net, whose sockets cannot be told whom to
//! listen to, and which takes a host that no route leads to for a fault of our
//! own, so that nobody ever suspects it.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use memberlist::agnostic::tokio::TokioRuntime;
use memberlist_core::transport::Packet;
use memberlist_core::transport::PacketProducer;
use memberlist_core::transport::PacketSubscriber;
use memberlist_core::transport::StreamProducer;
use memberlist_core::transport::StreamSubscriber;
use memberlist_core::transport::Transport as MemberlistTransport;
use memberlist_core::transport::TransportError;
use memberlist_core::transport::packet_stream;
use memberlist_core::transport::promised_stream;
use memberlist_core::transport::resolver::socket_addr::SocketAddrResolver;
use memberlist_proto::Payload;
use socket2::Domain;
use socket2::Protocol;
use socket2::SockAddr;
use socket2::Socket;
use socket2::Type;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::Gate;
use super::guard::Guarded;

/// UDP and TCP on one port.
pub(super) struct Transport {
    /// This member.
    id: Arc<str>,
    /// Address that is bound.
    bound: SocketAddr,
    /// Address that others reach us by.
    advertise: SocketAddr,
    /// The most that memberlist puts into a datagram.
    max_packet: usize,
    /// Who may talk to us.
    gate: Arc<Gate>,
    /// The socket for datagrams, until shutdown.
    datagrams: ArcSwapOption<UdpSocket>,
    /// Datagrams that came.
    packets: PacketSubscriber<SocketAddr, Instant>,
    /// Connections that came.
    streams: StreamSubscriber<SocketAddr, Guarded>,
    /// Tells the tasks to end.
    stop: CancellationToken,
    /// Tasks that listen.
    tasks: TaskTracker,
}

/// What a transport is told.
pub(super) struct Options {
    /// This member.
    pub(super) id: Arc<str>,
    /// Address to bind.
    pub(super) bind: SocketAddr,
    /// Address that others reach us by; port 0 for the one that was bound.
    pub(super) advertise: SocketAddr,
    /// The most that memberlist may put into a datagram.
    pub(super) max_packet: usize,
    /// Who may talk to us.
    pub(super) gate: Arc<Gate>,
}

/// What goes wrong with sockets.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Something did.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The address is in none of the networks.
    #[error("{0} is in none of the networks that members may be in")]
    Network(IpAddr),
    /// In memberlist's words.
    #[error("{0}")]
    Custom(Cow<'static, str>),
}

/// So many datagrams wait to be read.
const MAX_WAITING: usize = 1_024;

/// Longer datagrams are none of ours.
const MAX_DATAGRAM: usize = 4_096;

/// Room for datagrams that the kernel is asked for.
const RECEIVE_BUFFER: usize = 2 << 20;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 128;

/// Pause after an error, so that one that stays does not take a core.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a free port is looked for.
const TRIES: usize = 16;

// === impl Transport ===

impl MemberlistTransport for Transport {
    type Error = Error;
    type Id = Arc<str>;
    type Address = SocketAddr;
    type ResolvedAddress = SocketAddr;
    type Resolver = SocketAddrResolver<TokioRuntime>;
    type Connection = Guarded;
    type Runtime = TokioRuntime;
    type Options = Options;

    async fn new(options: Options) -> Result<Self, Error> {
        let (listener, datagrams) = bind(options.bind)?;
        let bound = listener.local_addr()?;
        let mut advertise = options.advertise;
        if advertise.port() == 0 {
            advertise.set_port(bound.port());
        }
        let datagrams = Arc::new(datagrams);
        let (packet_tx, packets) = packet_stream::<Self>(MAX_WAITING);
        let (stream_tx, streams) = promised_stream::<Self>();
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let gate = &options.gate;
        let accepting = accept(listener, Arc::clone(gate), stream_tx);
        let receiving = receive(Arc::clone(&datagrams), Arc::clone(gate), packet_tx);
        tasks.spawn(stop.clone().run_until_cancelled_owned(accepting));
        tasks.spawn(stop.clone().run_until_cancelled_owned(receiving));
        tasks.close();
        Ok(Self {
            id: options.id,
            bound,
            advertise,
            max_packet: options.max_packet,
            gate: options.gate,
            datagrams: ArcSwapOption::new(Some(datagrams)),
            packets,
            streams,
            stop,
            tasks,
        })
    }

    async fn resolve(&self, address: &SocketAddr) -> Result<SocketAddr, Error> {
        Ok(*address)
    }

    fn local_id(&self) -> &Arc<str> {
        &self.id
    }

    fn local_address(&self) -> &SocketAddr {
        &self.bound
    }

    fn advertise_address(&self) -> &SocketAddr {
        &self.advertise
    }

    fn max_packet_size(&self) -> usize {
        self.max_packet
    }

    fn header_overhead(&self) -> usize {
        0
    }

    fn blocked_address(&self, address: &SocketAddr) -> Result<(), Error> {
        if self.gate.allows(address.ip()) {
            Ok(())
        } else {
            Err(Error::Network(address.ip()))
        }
    }

    async fn send_to(
        &self,
        address: &SocketAddr,
        payload: Payload,
    ) -> Result<(usize, Instant), Error> {
        self.blocked_address(address)?;
        let Some(socket) = self.datagrams.load_full() else {
            return Err(Error::Custom(Cow::Borrowed("shut down")));
        };
        let start = Instant::now();
        let sent = socket.send_to(payload.as_slice(), address).await?;
        Ok((sent, start))
    }

    async fn open(&self, address: &SocketAddr, deadline: Instant) -> Result<Guarded, Error> {
        self.blocked_address(address)?;
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        let ip = self.bound.ip();
        if !ip.is_unspecified() && ip.is_ipv4() == address.is_ipv4() {
            // What a member sends comes from where it listens.
            socket.bind(SocketAddr::new(ip, 0))?;
        }
        let stream = timeout_at(deadline, socket.connect(*address))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
        stream.set_nodelay(true)?;
        Ok(Guarded::new(stream, *address, Arc::clone(&self.gate), None))
    }

    fn packet(&self) -> PacketSubscriber<SocketAddr, Instant> {
        self.packets.clone()
    }

    fn stream(&self) -> StreamSubscriber<SocketAddr, Guarded> {
        self.streams.clone()
    }

    fn packet_reliable(&self) -> bool {
        false
    }

    fn packet_secure(&self) -> bool {
        false
    }

    fn stream_secure(&self) -> bool {
        false
    }

    async fn shutdown(&self) -> Result<(), Error> {
        self.stop.cancel();
        self.datagrams.store(None);
        if timeout(Duration::from_secs(1), self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                plugin = "docker-cluster",
                "sockets of the cluster are still at work"
            );
        }
        Ok(())
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// === impl Error ===

impl TransportError for Error {
    /// Whether a member may be to blame: all that a socket reports, since a
    /// member that no route leads to is not there.
    fn is_remote_failure(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Network(_))
    }

    fn custom(error: Cow<'static, str>) -> Self {
        Self::Custom(error)
    }
}

/// Accepts connections, and closes at once those that may not be.
async fn accept(
    listener: TcpListener,
    gate: Arc<Gate>,
    streams: StreamProducer<SocketAddr, Guarded>,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(plugin = "docker-cluster", %error, "accept");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(permit) = gate.admit(peer.ip()) else {
            continue;
        };
        // Without it answers wait, nothing else.
        let _ = stream.set_nodelay(true);
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let guarded = Guarded::new(stream, peer, Arc::clone(&gate), Some(permit));
        if streams.send(peer, guarded).await.is_err() {
            return;
        }
    }
}

/// Receives datagrams, and drops those that may not be or find no room.
async fn receive(
    socket: Arc<UdpSocket>,
    gate: Arc<Gate>,
    packets: PacketProducer<SocketAddr, Instant>,
) {
    let mut buffer = [0; MAX_DATAGRAM];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(plugin = "docker-cluster", %error, "receive");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(octets) = buffer
            .get(..length)
            .filter(|octets| octets.len() < MAX_DATAGRAM)
        else {
            gate.no_room();
            continue;
        };
        if !gate.admit_datagram(from.ip(), octets) {
            continue;
        }
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let packet = Packet::new(from, Instant::now(), Bytes::copy_from_slice(octets));
        if packets.try_send(packet).is_err() {
            if packets.is_closed() {
                return;
            }
            gate.no_room();
        }
    }
}

/// Both sockets, on the same port.
fn bind(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    let tries = if address.port() == 0 { TRIES } else { 1 };
    for _ in 0..tries {
        let tcp = socket(address, Type::STREAM, Protocol::TCP)?;
        // Or a restart would have to wait for connections that were closed.
        tcp.set_reuse_address(true)?;
        tcp.bind(&SockAddr::from(address))?;
        tcp.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
        let listener = TcpListener::from_std(tcp.into())?;
        let udp = socket(address, Type::DGRAM, Protocol::UDP)?;
        // As much as the system allows.
        let _ = udp.set_recv_buffer_size(RECEIVE_BUFFER);
        match udp.bind(&SockAddr::from(listener.local_addr()?)) {
            Ok(()) => return Ok((listener, UdpSocket::from_std(udp.into())?)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A socket for an address; one for `[::]` takes IPv4 too.
fn socket(address: SocketAddr, r#type: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), r#type, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

//! Sockets of a listener.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::num::NonZeroUsize;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt;
use socket2::Domain;
use socket2::Protocol;
use socket2::Socket;
use socket2::Type;

use crate::Transport;

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenAddr {
    /// An address of this host; `None` for all, of both families.
    pub ip: Option<IpAddr>,
    /// Index of the interface, for a link-local IPv6 address; else 0.
    pub scope: u32,
    /// The port, of UDP and TCP alike.
    pub port: u16,
}

/// A socket that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listen {} {addr}: bind: {reason}", transport.as_str())]
pub struct BindError {
    /// Where.
    pub addr: ListenAddr,
    /// For which transport.
    pub transport: Transport,
    /// What the kernel said, in words.
    reason: String,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// The UDP sockets of a listener, as they are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// How many; `None` for as many as the server has by default.
    pub count: Option<NonZeroUsize>,
    /// Receive buffer of each to ask the kernel for, in octets. Default 4 MiB:
    /// some thousand small datagrams, so that a burst waits instead of being
    /// lost.
    pub receive_buffer: usize,
    /// Send buffer of each to ask the kernel for, in octets; by default what
    /// the kernel gives by itself.
    pub send_buffer: Option<usize>,
    /// Whether the kernel may put datagrams together and cut them up (UDP GRO
    /// and GSO). Default on.
    pub segmentation: bool,
}

/// The open sockets of a listener.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// One for each UDP worker.
    pub(crate) udp: Vec<UdpSocket>,
    /// For connections.
    pub(crate) tcp: TcpListener,
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 512;

/// How often a UDP worker looks up from its socket.
const UDP_WAKE: Duration = Duration::from_millis(100);

// === impl SocketOptions ===

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            count: None,
            receive_buffer: 4 << 20,
            send_buffer: None,
            segmentation: true,
        }
    }
}

// === impl ListenAddr ===

impl ListenAddr {
    /// The value of the metrics label `server`.
    pub fn label(&self) -> String {
        format!("dns://{self}")
    }

    /// Opens the sockets, `workers` unless they are to be so many. With
    /// `exclusive`, an address that another process
    /// listens on is refused, although the kernel would share it.
    ///
    /// # Errors
    ///
    /// [`BindError`] for the first socket that cannot be opened.
    pub(crate) fn bind(
        self,
        options: SocketOptions,
        workers: usize,
        exclusive: bool,
    ) -> Result<Sockets, BindError> {
        // SO_REUSEPORT lets a second server of the same user take half of the
        // traffic without a word, so what comes first does not ask for it.
        let workers = options.count.map_or(workers, NonZeroUsize::get);
        let mut udp = vec![self.open_udp(options, !exclusive)?];
        if exclusive {
            self.open(Transport::Tcp, false)?;
        }
        for _ in 1..workers {
            udp.push(self.open_udp(options, true)?);
        }
        let tcp = self.open(Transport::Tcp, true)?;
        tcp.listen(BACKLOG)
            .map_err(|source| self.error(Transport::Tcp, source))?;
        Ok(Sockets {
            udp,
            tcp: tcp.into(),
        })
    }

    /// Opens the socket of a UDP worker, to be shared with others from then on.
    ///
    /// It is kept also where it was bound to see whether the port is free:
    /// closing it would lose the queries that have reached it by then.
    fn open_udp(self, options: SocketOptions, shared: bool) -> Result<UdpSocket, BindError> {
        let socket = self.open(Transport::Udp, shared)?;
        // The kernel grants as much of it as it allows.
        drop(socket.set_recv_buffer_size(options.receive_buffer));
        if let Some(octets) = options.send_buffer {
            drop(socket.set_send_buffer_size(octets));
        }
        socket
            .set_reuse_port(true)
            .map_err(|source| self.error(Transport::Udp, source))?;
        Ok(socket.into())
    }

    /// Opens one socket, on all addresses of both families where it can.
    fn open(self, transport: Transport, shared: bool) -> Result<Socket, BindError> {
        let result = match self.ip {
            Some(IpAddr::V4(v4)) => self.open_on(IpAddr::V4(v4), transport, shared),
            Some(IpAddr::V6(v6)) => self.open_on(IpAddr::V6(v6), transport, shared),
            None => {
                let both = self.open_on(IpAddr::V6(Ipv6Addr::UNSPECIFIED), transport, shared);
                match both {
                    // A host without IPv6 still has the other family.
                    Err(error) if no_ipv6(&error) => {
                        self.open_on(IpAddr::V4(Ipv4Addr::UNSPECIFIED), transport, shared)
                    }
                    other => other,
                }
            }
        };
        result.map_err(|source| self.error(transport, source))
    }

    /// Opens one socket on one address.
    fn open_on(self, ip: IpAddr, transport: Transport, shared: bool) -> io::Result<Socket> {
        let (kind, protocol) = match transport {
            Transport::Udp => (Type::DGRAM, Protocol::UDP),
            Transport::Tcp => (Type::STREAM, Protocol::TCP),
        };
        let socket = Socket::new(Domain::for_address((ip, 0).into()), kind, Some(protocol))?;
        if ip.is_ipv6() {
            socket.set_only_v6(self.ip.is_some())?;
        }
        if transport == Transport::Tcp {
            // A restart must not wait for the connections of the last run.
            socket.set_reuse_address(true)?;
        }
        if shared {
            socket.set_reuse_port(true)?;
        }
        let address = match ip {
            IpAddr::V6(v6) => std::net::SocketAddrV6::new(v6, self.port, 0, self.scope).into(),
            IpAddr::V4(v4) => SocketAddr::from((v4, self.port)),
        };
        socket.bind(&address.into())?;
        match transport {
            Transport::Udp => prepare_udp(&socket, ip)?,
            Transport::Tcp => socket.set_nonblocking(true)?,
        }
        Ok(socket)
    }

    /// Puts an error into words.
    fn error(self, transport: Transport, source: io::Error) -> BindError {
        let reason = match source.kind() {
            io::ErrorKind::AddrInUse => "address already in use".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
            _ => source.to_string(),
        };
        BindError {
            addr: self,
            transport,
            reason,
            source,
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            None => write!(f, ":{}", self.port),
            Some(IpAddr::V4(v4)) => write!(f, "{v4}:{}", self.port),
            Some(IpAddr::V6(v6)) => write!(f, "[{v6}]:{}", self.port),
        }
    }
}

/// Sets what a UDP worker needs of its socket.
fn prepare_udp(socket: &Socket, ip: IpAddr) -> io::Result<()> {
    socket.set_read_timeout(Some(UDP_WAKE))?;
    // The address a query was sent to is the one its response leaves from
    // (RFC 5625 §5), also where a host has several. A socket on one address
    // need not be told, which saves the kernel and us the work.
    if !ip.is_unspecified() {
        return Ok(());
    }
    if ip.is_ipv6() {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    Ok(())
}

/// Whether the error says that the host has no IPv6.
fn no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(nix::libc::EAFNOSUPPORT | nix::libc::EADDRNOTAVAIL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_that_nobody_else_can_have() {
        let addr = free();
        let sockets = addr.bind(SocketOptions::default(), 2, true).unwrap();
        for exclusive in [true, false] {
            let other = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            other.set_reuse_port(!exclusive).unwrap();
            let taken = SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port));
            // The kernel lets this process share; `exclusive` is what does not.
            assert_eq!(other.bind(&taken.into()).is_err(), exclusive);
        }
        assert!(matches!(
            addr.bind(SocketOptions::default(), 1, true),
            Err(BindError {
                transport: Transport::Udp,
                ..
            })
        ));

        let clients: Vec<UdpSocket> = (0..64)
            .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
            .collect();
        for client in &clients {
            client
                .send_to(b"q", (Ipv4Addr::LOCALHOST, addr.port))
                .unwrap();
        }
        let counts: Vec<usize> = sockets.udp.iter().map(count).collect();
        assert_eq!(counts.iter().sum::<usize>(), clients.len(), "{counts:?}");
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    }

    #[test]
    fn what_arrives_before_the_last_socket_is_open_is_kept() {
        let addr = free();
        let first = addr.open_udp(SocketOptions::default(), false).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client
            .send_to(b"q", (Ipv4Addr::LOCALHOST, addr.port))
            .unwrap();
        let _second = addr.open_udp(SocketOptions::default(), true).unwrap();
        assert_eq!(count(&first), 1);
    }

    #[test]
    fn sockets_are_as_many_and_as_large_as_is_wanted() {
        let options = SocketOptions {
            count: NonZeroUsize::new(3),
            receive_buffer: 40_000,
            send_buffer: Some(30_000),
            segmentation: true,
        };
        let sockets = free().bind(options, 1, true).unwrap();
        assert_eq!(sockets.udp.len(), 3);
        for socket in sockets.udp {
            let socket = Socket::from(socket);
            // The kernel doubles it for what it keeps beside the octets.
            assert_eq!(socket.recv_buffer_size().unwrap(), 80_000);
            assert_eq!(socket.send_buffer_size().unwrap(), 60_000);
        }
        let sockets = free().bind(SocketOptions::default(), 2, true).unwrap();
        assert_eq!(sockets.udp.len(), 2);
    }

    /// How many datagrams wait at a socket.
    fn count(socket: &UdpSocket) -> usize {
        socket.set_nonblocking(true).unwrap();
        let mut octets = [0; 16];
        std::iter::from_fn(|| socket.recv(&mut octets).ok()).count()
    }

    /// A loopback address with a port that is free.
    fn free() -> ListenAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        ListenAddr {
            ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            scope: 0,
            port: socket.local_addr().unwrap().port(),
        }
    }
}

//! UDP workers: one thread and one socket each.

use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV6;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::ControlMessage;
use nix::sys::socket::ControlMessageOwned;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::SockaddrStorage;
use nix::sys::socket::recvmsg;
use nix::sys::socket::sendmsg;
use tokio_util::sync::CancellationToken;

use crate::Routing;
use crate::Transport;
use crate::handle;
use crate::handle::Received;
use crate::handle::Shared;
use crate::handle::Step;
use crate::pending::Pending;
use crate::server::Queries;

/// Longest query taken, in octets; a longer one is malformed.
const BUFFER: usize = 4096;

/// Reads one socket and answers what it reads.
pub(crate) struct Worker {
    /// The socket.
    pub(crate) socket: Arc<UdpSocket>,
    /// Where the socket is bound.
    pub(crate) bound: SocketAddr,
    /// Which block answers.
    pub(crate) routing: Arc<ArcSwap<Routing>>,
    /// What all listeners share.
    pub(crate) shared: Arc<Shared>,
    /// Where queries wait for upstreams.
    pub(crate) queries: Arc<Queries>,
    /// Ends the worker, once the socket is drained.
    pub(crate) stop: CancellationToken,
}

/// One datagram, as it was received.
struct Datagram {
    /// How many octets of the buffer it is.
    length: usize,
    /// Who sent it, as the socket names it.
    peer: SocketAddr,
    /// The address it was sent to, as the socket names it; `None` if the
    /// socket has just that one.
    to: Option<IpAddr>,
    /// The interface it came by.
    interface: u32,
}

/// Where a response goes.
#[derive(Clone, Copy)]
struct ReplyTo {
    /// The client.
    peer: SocketAddr,
    /// The address the query was sent to; `None` if the socket has just that
    /// one.
    from: Option<IpAddr>,
    /// The interface it came by.
    interface: u32,
}

// === impl Worker ===

impl Worker {
    /// Answers until told to stop.
    pub(crate) fn run(self) {
        // Cache hits may start a refresh on the query runtime.
        let _runtime = self.queries.enter();
        let mut buffer = vec![0; BUFFER];
        let mut control = cmsg_space!(libc::in6_pktinfo);
        control.resize(control.capacity(), 0);
        let mut out = Vec::with_capacity(BUFFER);
        loop {
            match receive(&self.socket, &mut buffer, &mut control) {
                Ok(datagram) => self.answer(&buffer, &datagram, &mut out),
                Err(Errno::EAGAIN) if self.stop.is_cancelled() => return,
                // A wake-up, a signal, or an ICMP error about an earlier
                // response: the socket is as good as before.
                Err(_) => {}
            }
        }
    }

    /// Answers one datagram.
    fn answer(&self, buffer: &[u8], datagram: &Datagram, out: &mut Vec<u8>) {
        let reply_to = ReplyTo {
            peer: datagram.peer,
            from: datagram.to,
            interface: datagram.interface,
        };
        let ip = datagram
            .to
            .unwrap_or_else(|| self.bound.ip())
            .to_canonical();
        let received = Received {
            message: buffer.get(..datagram.length).unwrap_or_default(),
            client: canonical(datagram.peer),
            local: SocketAddr::new(ip, self.bound.port()),
            transport: Transport::Udp,
            tcp_idle: 0,
            now: now(),
        };
        let routing = self.routing.load();
        // One message that trips over a defect must not end the worker; the
        // panic hook counts and logs it.
        let step = catch_unwind(AssertUnwindSafe(|| {
            handle::handle(&self.shared, &routing, &received, out)
        }));
        match step {
            Ok(Step::Respond) => self.send(out, reply_to),
            Ok(Step::Resolve(pending)) => self.resolve(pending, reply_to),
            Ok(Step::Silent) | Err(_) => {}
        }
    }

    /// Hands a query to the query runtime.
    fn resolve(&self, pending: Box<Pending>, reply_to: ReplyTo) {
        let socket = Arc::clone(&self.socket);
        let errors = self.shared.families.send_errors.clone();
        self.queries.spawn(&self.shared, pending, move |response| {
            if send(&socket, response, reply_to).is_err() {
                errors.inc();
            }
        });
    }

    /// Sends a response.
    fn send(&self, response: &[u8], reply_to: ReplyTo) {
        if send(&self.socket, response, reply_to).is_err() {
            self.shared.families.send_errors.inc();
        }
    }
}

/// Reads a datagram and, if the kernel says, where it was sent to.
fn receive(socket: &UdpSocket, buffer: &mut [u8], control: &mut [u8]) -> Result<Datagram, Errno> {
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(control),
        MsgFlags::empty(),
    )?;
    let peer = message
        .address
        .and_then(|address| to_std(&address))
        .ok_or(Errno::EINVAL)?;
    let mut datagram = Datagram {
        length: message.bytes,
        peer,
        to: None,
        interface: 0,
    };
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        // Leave the header, so that the client hears FORMERR.
        datagram.length = datagram.length.min(portolan_proto::HEADER_LEN);
    }
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let address = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                datagram.to = Some(address.into());
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                datagram.to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                datagram.interface = info.ipi6_ifindex;
            }
            _ => {}
        }
    }
    Ok(datagram)
}

/// Sends a datagram from the address that the query was sent to.
fn send(socket: &UdpSocket, response: &[u8], to: ReplyTo) -> io::Result<()> {
    let parts = [IoSlice::new(response)];
    let peer = SockaddrStorage::from(to.peer);
    let descriptor = socket.as_raw_fd();
    let flags = MsgFlags::MSG_DONTWAIT;
    let sent = match to.from {
        Some(IpAddr::V4(from)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from(from).to_be(),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            let control = [ControlMessage::Ipv4PacketInfo(&info)];
            sendmsg(descriptor, &parts, &control, flags, Some(&peer))
        }
        Some(IpAddr::V6(from)) => {
            // Only a link-local address needs its interface; for others the
            // routing table knows better.
            let interface = if from.is_unicast_link_local() {
                to.interface
            } else {
                0
            };
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: from.octets(),
                },
                ipi6_ifindex: interface,
            };
            let control = [ControlMessage::Ipv6PacketInfo(&info)];
            sendmsg(descriptor, &parts, &control, flags, Some(&peer))
        }
        None => sendmsg(descriptor, &parts, &[], flags, Some(&peer)),
    };
    sent.map(drop).map_err(io::Error::from)
}

/// A socket address as std has it.
fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into())
}

/// An IPv4 client that came through an IPv6 socket is an IPv4 client.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// When a message was read.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

//! Members that are found by broadcast.
//!
//! The datagram is Joyride's, with one field more: the number that a member
//! draws at start. By it a member knows its own datagrams; Joyride goes by the
//! name, so that two servers with one name never see each other. Whoever sends
//! none is a Joyride server: it is reported, and cannot be joined.
//!
//! Discovery is help, not a condition: a port in use or a network without
//! broadcast is a warning, and tried again.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use socket2::Domain;
use socket2::Protocol;
use socket2::Socket;
use socket2::Type;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::advertise;
use crate::member::MemberId;

use ears::Ears;
use packet::Packet;

mod ears;
mod packet;

#[cfg(test)]
mod tests;

/// Somebody who was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A member, told of every second at most.
    Member {
        /// The member.
        id: MemberId,
        /// Where it was heard from, and its port.
        address: SocketAddr,
    },
    /// A Joyride server, told of once.
    Joyride {
        /// Its name.
        name: String,
        /// Where it was heard from, and its port.
        address: SocketAddr,
    },
}

/// Where to listen, and whom to tell.
#[derive(Clone, Debug)]
struct Plan {
    /// Address that is listened on.
    listen: SocketAddrV4,
    /// Where to broadcast to: the whole network, and those of the interfaces.
    targets: Targets,
    /// What is broadcast.
    packet: Packet,
}

/// Where a broadcast goes.
#[derive(Clone, Debug)]
enum Targets {
    /// To everybody on every network.
    Networks,
    /// To these, for tests.
    #[cfg(test)]
    These(Vec<Ipv4Addr>),
}

/// When datagrams are sent after the start; then every [`PERIOD`].
const BURST: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(750),
];

/// How often a datagram is sent. Joyride's.
const PERIOD: Duration = Duration::from_secs(5);

/// When what did not work is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// So many that were heard wait to be looked at.
const MAX_WAITING: usize = 64;

/// So many networks are broadcast to.
const MAX_TARGETS: usize = 32;

/// Listens and broadcasts until told to stop.
pub(crate) fn listen(
    me: &MemberId,
    advertise: SocketAddr,
    port: u16,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> mpsc::Receiver<Heard> {
    let plan = Plan {
        listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port),
        targets: Targets::Networks,
        packet: Packet::new(me, advertise.port()),
    };
    start(plan, tasks, stop)
}

/// Listens and broadcasts as planned.
fn start(plan: Plan, tasks: &TaskTracker, stop: CancellationToken) -> mpsc::Receiver<Heard> {
    let (heard, receiver) = mpsc::channel(MAX_WAITING);
    tasks.spawn(stop.run_until_cancelled_owned(run(plan, heard)));
    receiver
}

/// Listens and broadcasts, or tries to.
async fn run(plan: Plan, heard: mpsc::Sender<Heard>) {
    let mut silent = false;
    loop {
        match open(plan.listen) {
            Ok(socket) => {
                silent = false;
                serve(&plan, &socket, &heard).await;
            }
            Err(error) if !silent => {
                silent = true;
                tracing::warn!(plugin = "docker-cluster", address = %plan.listen, %error, "cannot discover members");
            }
            Err(_) => {}
        }
        sleep(RETRY).await;
    }
}

/// Listens and broadcasts as long as the socket works.
async fn serve(plan: &Plan, socket: &UdpSocket, heard: &mpsc::Sender<Heard>) {
    let began = Instant::now();
    let mut ears = Ears::new(plan.packet.clone());
    let mut mouth = Mouth::default();
    let mut times = BURST.into_iter().map(|after| began + after).peekable();
    let mut due = times.next().unwrap_or(began);
    // One more than a datagram may have, to know one that is longer.
    let mut buffer = [0; packet::MAX + 1];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => {
                    let octets = buffer.get(..length).unwrap_or_default();
                    let Some(answer) = ears.hear(octets, from, Instant::now(), heard) else {
                        continue;
                    };
                    if answer {
                        let to = SocketAddr::new(from.ip(), plan.listen.port());
                        mouth.say(socket, &plan.packet, &[to]).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(plugin = "docker-cluster", %error, "cannot hear members any more");
                    return;
                }
            },
            () = sleep_until(due) => {
                let to = plan.targets.addresses(plan.listen.port());
                mouth.say(socket, &plan.packet, &to).await;
                due = times.next().unwrap_or_else(|| Instant::now() + PERIOD);
            }
        }
    }
}

/// Sends, and says once that it does not work.
#[derive(Debug, Default)]
struct Mouth {
    /// Whether the log has it that nothing can be sent.
    silent: bool,
}

// === impl Mouth ===

impl Mouth {
    /// Sends a packet to each address. It is enough that one of them works.
    async fn say(&mut self, socket: &UdpSocket, packet: &Packet, to: &[SocketAddr]) {
        let octets = packet.encode();
        let mut failure = None;
        let mut sent = false;
        for address in to {
            match socket.send_to(&octets, address).await {
                Ok(_) => sent = true,
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if !sent && !self.silent => {
                tracing::warn!(plugin = "docker-cluster", %error, "cannot broadcast to members");
                self.silent = true;
            }
            _ if sent => self.silent = false,
            _ => {}
        }
    }
}

// === impl Targets ===

impl Targets {
    /// The addresses to send to now.
    fn addresses(&self, port: u16) -> Vec<SocketAddr> {
        let mut targets = vec![Ipv4Addr::BROADCAST];
        match self {
            Self::Networks => targets.extend(networks()),
            #[cfg(test)]
            Self::These(these) => targets.clone_from(these),
        }
        targets.dedup();
        let port = |ip| SocketAddr::new(IpAddr::V4(ip), port);
        targets.into_iter().take(MAX_TARGETS).map(port).collect()
    }
}

/// The broadcast addresses of the networks that this machine is in.
fn networks() -> Vec<Ipv4Addr> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    let usable = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_BROADCAST;
    interfaces
        .filter(|interface| interface.flags.contains(usable))
        .filter(|interface| !advertise::is_bridge(&interface.interface_name))
        .filter_map(|interface| Some(interface.broadcast?.as_sockaddr_in()?.ip()))
        .collect()
}

/// A socket that other servers of this host can have too.
fn open(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_broadcast(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::V4(address).into())?;
    UdpSocket::from_std(socket.into())
}

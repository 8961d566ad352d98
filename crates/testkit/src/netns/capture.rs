//! What passes through a namespace, as the kernel sees it.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockProtocol;
use nix::sys::socket::SockType;
use nix::sys::socket::setsockopt;
use nix::sys::socket::socket;
use nix::sys::socket::sockopt::RcvBuf;

use super::Namespace;

/// Copies of all packets of a namespace, from its start until it is dropped.
/// On a loopback interface each is seen twice: as it leaves, and as it comes.
#[derive(Debug)]
pub struct Capture {
    /// The packets so far.
    packets: Arc<Mutex<Vec<Packet>>>,
    /// Whether to end.
    done: Arc<AtomicBool>,
}

/// One packet of IPv4.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Whether it is of TCP; else it is of UDP.
    pub is_tcp: bool,
    /// Port that it is from.
    pub from: u16,
    /// Port that it is for.
    pub to: u16,
    /// All of it, from the first octet of the IP header on.
    pub octets: Vec<u8>,
}

// === impl Capture ===

impl Capture {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// If that is not allowed.
    pub fn start(namespace: &Namespace) -> anyhow::Result<Self> {
        let socket = namespace.enter(|| {
            let socket: OwnedFd = socket(
                AddressFamily::Packet,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::EthAll,
            )
            .context("a packet socket")?;
            setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER)?;
            Ok(socket)
        })?;
        // The descriptor is what matters: it is only read from.
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(POLL))?;
        let capture = Self {
            packets: Arc::default(),
            done: Arc::default(),
        };
        let (packets, done) = (Arc::clone(&capture.packets), Arc::clone(&capture.done));
        thread::Builder::new().spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !done.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else {
                    continue;
                };
                let packet = Packet::read(buffer.get(..length).unwrap_or_default());
                let mut packets = packets.lock().unwrap_or_else(PoisonError::into_inner);
                if packets.len() < MAX_PACKETS {
                    packets.extend(packet);
                }
            }
        })?;
        Ok(capture)
    }

    /// The packets of UDP and TCP so far.
    ///
    /// # Panics
    ///
    /// If there are more than are kept: nothing could be said about the rest.
    pub fn packets(&self) -> Vec<Packet> {
        let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(packets.len() < MAX_PACKETS, "too many packets to keep");
        packets.clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

// === impl Packet ===

impl Packet {
    /// Reads a packet; `None` if it is of neither protocol.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let (&first, &protocol) = (octets.first()?, octets.get(9)?);
        if first >> 4 != 4 || !matches!(protocol, TCP | UDP) {
            return None;
        }
        let ports = octets.get(usize::from(first & 0x0f) * 4..)?;
        let [from, to] = [0, 2].map(|at| {
            let octets = ports.get(at..at + 2).and_then(<[u8]>::first_chunk);
            octets.map_or(0, |octets| u16::from_be_bytes(*octets))
        });
        Some(Self {
            is_tcp: protocol == TCP,
            from,
            to,
            octets: octets.to_vec(),
        })
    }

    /// Whether it has these octets somewhere.
    pub fn contains(&self, octets: &[u8]) -> bool {
        self.octets
            .windows(octets.len().max(1))
            .any(|window| window == octets)
    }
}

/// Protocol number.
const TCP: u8 = 6;

/// Protocol number.
const UDP: u8 = 17;

/// Most packets that are kept.
const MAX_PACKETS: usize = 100_000;

/// Octets that may wait to be read.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How often the reader looks whether it is to end.
const POLL: Duration = Duration::from_millis(50);

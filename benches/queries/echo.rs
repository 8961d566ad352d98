//! The least that a server can do: it sends each query back as a response.
//!
//! It reads nothing and looks nothing up, so that what it costs is what the
//! kernel costs, one datagram in and one out. It receives and sends 32 at a
//! time, by one call each.

use std::io::IoSlice;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::thread;

use nix::sys::socket::AddressFamily;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::MultiHeaders;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::SockaddrIn;
use nix::sys::socket::SockaddrIn6;
use nix::sys::socket::SockaddrLike;
use nix::sys::socket::bind;
use nix::sys::socket::recvmmsg;
use nix::sys::socket::sendmmsg;
use nix::sys::socket::setsockopt;
use nix::sys::socket::socket;
use nix::sys::socket::sockopt::ReusePort;

/// Answers for ever, in so many threads with a socket each.
pub(crate) fn run(address: SocketAddr, workers: u32) -> anyhow::Result<()> {
    let work = move || match address {
        SocketAddr::V4(address) => work(AddressFamily::Inet, &SockaddrIn::from(address)),
        SocketAddr::V6(address) => work(AddressFamily::Inet6, &SockaddrIn6::from(address)),
    };
    for _ in 1..workers {
        thread::spawn(work);
    }
    work()
}

/// Answers for ever, at one socket.
fn work<P: SockaddrLike + Copy>(family: AddressFamily, address: &P) -> anyhow::Result<()> {
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, ReusePort, &true)?;
    bind(socket.as_raw_fd(), address)?;
    echo::<P>(&UdpSocket::from(socket))
}

/// Answers clients of one family.
fn echo<P: SockaddrLike + Copy>(socket: &UdpSocket) -> anyhow::Result<()> {
    let descriptor = socket.as_raw_fd();
    let mut incoming = MultiHeaders::<P>::preallocate(BATCH, None);
    let mut outgoing = MultiHeaders::<P>::preallocate(BATCH, None);
    let mut buffers = vec![[0; 512]; BATCH];
    loop {
        let mut lengths = [0; BATCH];
        let mut clients = [None; BATCH];
        let mut count = 0;
        {
            let mut rest = buffers.iter_mut();
            let mut parts: [[IoSliceMut<'_>; 1]; BATCH] = std::array::from_fn(|_| {
                let buffer = rest.next().map_or(&mut [][..], |buffer| &mut buffer[..]);
                [IoSliceMut::new(buffer)]
            });
            let flags = MsgFlags::MSG_WAITFORONE;
            let messages = recvmmsg(descriptor, &mut incoming, parts.iter_mut(), flags, None)?;
            for ((message, length), client) in messages.zip(&mut lengths).zip(&mut clients) {
                *length = message.bytes;
                *client = message.address;
                count += 1;
            }
        }
        for buffer in buffers.iter_mut().take(count) {
            buffer[2] |= RESPONSE;
        }
        let parts: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|index| {
            let buffer = buffers.get(index).map_or(&[][..], |buffer| &buffer[..]);
            let length = lengths.get(index).copied().unwrap_or_default();
            [IoSlice::new(buffer.get(..length).unwrap_or_default())]
        });
        let (parts, clients) = (&parts[..count], &clients[..count]);
        let flags = MsgFlags::empty();
        // What is not sent is counted as lost by the client.
        sendmmsg(descriptor, &mut outgoing, parts, clients, [], flags)?.count();
    }
}

/// Datagrams at a time.
const BATCH: usize = 32;

/// QR, in the first octet of the flags (RFC 1035 §4.1.1).
const RESPONSE: u8 = 0x80;

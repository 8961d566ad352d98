//! Sending.

use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::SockaddrLike;

use crate::Control;

/// Most datagrams, or runs of them, that one call sends.
pub const MOST: usize = 64;

/// Sends many datagrams by one system call, from room that is kept. It stays
/// with the thread that made it.
#[derive(Debug)]
pub struct Sender<P> {
    /// To whom.
    peers: Vec<P>,
    /// Where their octets are.
    parts: Vec<libc::iovec>,
    /// One header each.
    headers: Vec<libc::mmsghdr>,
}

// === impl Sender ===

impl<P: SockaddrLike + Copy> Sender<P> {
    /// Room for as many as one call sends.
    pub fn new() -> Self {
        Self {
            peers: Vec::with_capacity(MOST),
            parts: Vec::with_capacity(MOST),
            headers: Vec::with_capacity(MOST),
        }
    }

    /// Sends datagrams, the first [`MOST`] of them, without waiting. Gives how
    /// many the kernel took.
    ///
    /// # Errors
    ///
    /// The error of the first one, if the kernel did not take it.
    pub fn send<'a>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl Iterator<Item = (&'a [u8], P)>,
        control: Control,
    ) -> Result<usize, Errno> {
        self.peers.clear();
        self.parts.clear();
        for (octets, peer) in datagrams.take(MOST) {
            self.parts.push(part(octets));
            self.peers.push(peer);
        }
        let control = control.write();
        self.headers.clear();
        for (part, peer) in self.parts.iter_mut().zip(&self.peers) {
            self.headers.push(libc::mmsghdr {
                msg_hdr: header(part, peer, control.as_slice()),
                msg_len: 0,
            });
        }
        let call = libc::SYS_sendmmsg;
        let descriptor = libc::c_long::from(socket.as_raw_fd());
        let (headers, count) = (self.headers.as_mut_ptr(), self.headers.len());
        let flags = libc::c_long::from(FLAGS);
        #[expect(unsafe_code, reason = "musl makes many calls of it")]
        // SAFETY: invariant 1. The headers name `parts`, `peers` and `control`,
        // none of which moves before the end of this function, and octets that
        // are borrowed for 'a. Invariant 2: the kernel writes to the headers.
        let sent = unsafe { libc::syscall(call, descriptor, headers, count, flags) };
        Errno::result(sent).map(|sent| usize::try_from(sent).unwrap_or_default())
    }
}

impl<P: SockaddrLike + Copy> Default for Sender<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Sends one datagram without waiting. Says whether the kernel took it.
pub fn send_one<P: SockaddrLike>(
    socket: &UdpSocket,
    octets: &[u8],
    peer: &P,
    control: Control,
) -> bool {
    let control = control.write();
    let mut part = part(octets);
    let header = header(&mut part, peer, control.as_slice());
    #[expect(unsafe_code, reason = "with octets for control messages")]
    // SAFETY: invariant 1. The header names `part`, `control`, and what is
    // borrowed by this function.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, FLAGS) };
    sent >= 0
}

/// Octets to be sent.
fn part(octets: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: octets.as_ptr().cast_mut().cast(),
        iov_len: octets.len(),
    }
}

/// A header of a datagram.
fn header(part: &mut libc::iovec, peer: &impl SockaddrLike, control: &[u8]) -> libc::msghdr {
    let mut header = empty();
    header.msg_name = peer.as_ptr().cast_mut().cast();
    header.msg_namelen = peer.len();
    header.msg_iov = ptr::from_mut(part);
    header.msg_iovlen = 1;
    if !control.is_empty() {
        header.msg_control = control.as_ptr().cast_mut().cast();
        // C libraries differ in the type of it.
        let length = u8::try_from(control.len()).unwrap_or_default();
        header.msg_controllen = length.into();
    }
    header
}

/// A header that names nothing.
pub(crate) fn empty() -> libc::msghdr {
    #[expect(unsafe_code, reason = "padding that has no name")]
    // SAFETY: all of its fields are numbers and pointers, of which 0 is one.
    unsafe {
        std::mem::zeroed()
    }
}

/// Whoever sends does not wait.
const FLAGS: libc::c_int = libc::MSG_DONTWAIT;

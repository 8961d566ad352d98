//! Addresses as the kernel has them.

use std::fmt::Debug;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::SocketAddrV6;

use nix::sys::socket::SockaddrIn;
use nix::sys::socket::SockaddrIn6;
use nix::sys::socket::SockaddrLike;

/// The address of a client on a socket of one family: no larger than it has
/// to be, because a batch holds many.
pub(super) trait Peer: SockaddrLike + Copy + Eq + Debug + 'static {
    /// As std has it.
    fn to_std(self) -> SocketAddr;

    /// The address alone. An IPv4 client that came through an IPv6 socket is an
    /// IPv4 client.
    fn ip(self) -> IpAddr;
}

// === impl Peer ===

impl Peer for SockaddrIn {
    fn to_std(self) -> SocketAddr {
        SocketAddr::from((Self::ip(&self), self.port()))
    }

    fn ip(self) -> IpAddr {
        Self::ip(&self).into()
    }
}

impl Peer for SockaddrIn6 {
    fn to_std(self) -> SocketAddr {
        let ip = Self::ip(&self);
        SocketAddrV6::new(ip, self.port(), self.flowinfo(), self.scope_id()).into()
    }

    fn ip(self) -> IpAddr {
        IpAddr::from(Self::ip(&self)).to_canonical()
    }
}

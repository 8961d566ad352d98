//! Addresses as the kernel has them.

use std::fmt::Debug;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV6;

use nix::libc;
use nix::sys::socket::ControlMessageOwned;
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

/// The address of this host that a query was sent to, and that its response
/// leaves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// The address, as the socket names it.
    pub(super) ip: IpAddr,
    /// The interface the query came by, where the address is good for one
    /// interface only; else 0: the routing table knows better.
    pub(super) interface: u32,
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

// === impl Local ===

impl Local {
    /// The address that a control message tells, if that is what it does.
    pub(super) fn of(control: &ControlMessageOwned) -> Option<Self> {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Self {
                ip: Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into(),
                interface: 0,
            }),
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let interface = if ip.is_unicast_link_local() {
                    info.ipi6_ifindex
                } else {
                    0
                };
                Some(Self {
                    ip: ip.into(),
                    interface,
                })
            }
            _ => None,
        }
    }

    /// What tells a socket to send from here by IPv4. An IPv6 socket may be
    /// told either way for an IPv4 client; this is the shorter one, and with it
    /// the kernel needs no room beside its stack.
    pub(super) fn v4(self) -> Option<libc::in_pktinfo> {
        let IpAddr::V4(ip) = self.ip.to_canonical() else {
            return None;
        };
        Some(libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from(ip).to_be(),
            },
            ipi_addr: libc::in_addr { s_addr: 0 },
        })
    }

    /// What tells a socket to send from here by IPv6.
    pub(super) fn v6(self) -> Option<libc::in6_pktinfo> {
        let IpAddr::V6(ip) = self.ip else {
            return None;
        };
        Some(libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: ip.octets(),
            },
            ipi6_ifindex: self.interface,
        })
    }
}

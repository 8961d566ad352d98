//! Control messages (cmsg(3)): a length, a level, a type, then what the type
//! says, and nothing up to a multiple of the size of the length.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use nix::libc;

/// What the kernel is told of all datagrams of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Where they are sent from; `None` leaves it to the kernel.
    pub local: Option<Local>,
    /// The length at which each message is cut up (`UDP_SEGMENT`, udp(7)), in
    /// octets; 0 is not at all.
    pub segment: u16,
}

/// The address of this host that a datagram was sent to, or leaves from
/// (`IP_PKTINFO`, ip(7); RFC 3542 §6.1, §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The address, as the socket names it.
    pub ip: IpAddr,
    /// The interface, where the address is good for one interface only; else 0:
    /// the routing table knows better.
    pub interface: u32,
}

/// Control messages in wire form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Octets {
    /// The octets.
    room: [u8; ROOM],
    /// How many there are.
    used: usize,
}

/// What control messages of a received datagram say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Where it was sent to.
    pub(crate) local: Option<Local>,
    /// The length of the datagrams that were put together.
    pub(crate) segment: Option<usize>,
}

// === impl Control ===

impl Control {
    /// Writes the control messages.
    pub(crate) fn write(self) -> Octets {
        let mut octets = Octets {
            room: [0; ROOM],
            used: 0,
        };
        if let Some(local) = self.local {
            local.write(&mut octets);
        }
        if self.segment > 0 {
            let segment = self.segment.to_ne_bytes();
            octets.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment);
        }
        octets
    }
}

// === impl Local ===

impl Local {
    /// Writes it. An IPv6 socket may be told either way for an IPv4 client;
    /// this is the shorter one, and with it the kernel needs no room beside its
    /// stack.
    fn write(self, octets: &mut Octets) {
        match self.ip.to_canonical() {
            // Interface, address, and the one that received tells.
            IpAddr::V4(ip) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                octets.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            IpAddr::V6(ip) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                info[16..].copy_from_slice(&self.interface.to_ne_bytes());
                octets.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    /// Where an IPv4 datagram was sent to.
    fn v4(info: &[u8]) -> Option<Self> {
        let ip: [u8; 4] = *info.get(8..)?.first_chunk()?;
        Some(Self {
            ip: Ipv4Addr::from(ip).into(),
            interface: 0,
        })
    }

    /// Where an IPv6 datagram was sent to.
    fn v6(info: &[u8]) -> Option<Self> {
        let ip = Ipv6Addr::from(*info.first_chunk::<16>()?);
        let interface = u32::from_ne_bytes(*info.get(16..)?.first_chunk()?);
        Some(Self {
            ip: ip.into(),
            interface: if ip.is_unicast_link_local() {
                interface
            } else {
                0
            },
        })
    }
}

// === impl Octets ===

impl Octets {
    /// The octets.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.room.get(..self.used).unwrap_or_default()
    }

    /// Adds a control message, if it fits.
    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let length = HEADER + data.len();
        let end = self.used + length.next_multiple_of(ALIGN);
        let Some(room) = self.room.get_mut(self.used..end) else {
            return;
        };
        let (head, rest) = room.split_at_mut(HEADER);
        head[..ALIGN].copy_from_slice(&length.to_ne_bytes());
        head[ALIGN..ALIGN + 4].copy_from_slice(&level.to_ne_bytes());
        head[ALIGN + 4..].copy_from_slice(&kind.to_ne_bytes());
        rest[..data.len()].copy_from_slice(data);
        self.used = end;
    }
}

// === impl Heard ===

impl Heard {
    /// Reads control messages. What is not understood is passed over.
    #[inline]
    pub(crate) fn read(mut octets: &[u8]) -> Self {
        let mut heard = Self::default();
        while let Some((head, _)) = octets.split_at_checked(HEADER) {
            let (length, rest) = head.split_at(ALIGN);
            let length = length.first_chunk().copied().map(usize::from_ne_bytes);
            let Some(data) = length.and_then(|length| octets.get(HEADER..length)) else {
                break;
            };
            let number = |octets: &[u8]| octets.first_chunk().copied().map(i32::from_ne_bytes);
            match (number(rest), number(&rest[4..])) {
                (Some(libc::IPPROTO_IP), Some(libc::IP_PKTINFO)) => heard.local = Local::v4(data),
                (Some(libc::IPPROTO_IPV6), Some(libc::IPV6_PKTINFO)) => {
                    heard.local = Local::v6(data);
                }
                (Some(libc::SOL_UDP), Some(libc::UDP_GRO)) => {
                    heard.segment = number(data).and_then(|size| usize::try_from(size).ok());
                }
                _ => {}
            }
            let length = (HEADER + data.len()).next_multiple_of(ALIGN);
            octets = octets.get(length..).unwrap_or_default();
        }
        heard
    }
}

/// Control messages begin at a multiple of so many octets.
const ALIGN: usize = size_of::<usize>();

/// Octets before what a control message says: its length, its level, its type.
const HEADER: usize = ALIGN + 8;

/// Octets of all control messages that are sent with a datagram.
const ROOM: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_system_headers_say() {
        let v4 = local("192.0.2.1", 0);
        let v6 = local("2001:db8::1", 3);
        for (local, segment, length) in [
            (None, 0, 0),
            (None, 100, space(2)),
            (Some(v4), 0, space(size_of::<libc::in_pktinfo>())),
            (Some(v6), 0, space(size_of::<libc::in6_pktinfo>())),
            (
                Some(v6),
                100,
                space(size_of::<libc::in6_pktinfo>()) + space(2),
            ),
        ] {
            let written = Control { local, segment }.write();
            assert_eq!(written.as_slice().len(), length, "{local:?} {segment}");
        }
    }

    #[test]
    fn an_address_in_ipv6_clothes_is_written_as_ipv4() {
        let of = |text| Control {
            local: Some(local(text, 0)),
            segment: 0,
        };
        let (plain, dressed) = (of("192.0.2.1").write(), of("::ffff:192.0.2.1").write());
        assert_eq!(plain.as_slice(), dressed.as_slice());
    }

    #[test]
    fn what_is_broken_or_not_understood_is_passed_over() {
        let mut octets = Octets {
            room: [0; ROOM],
            used: 0,
        };
        octets.push(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[0; 16]);
        octets.push(libc::SOL_UDP, libc::UDP_GRO, &512_i32.to_ne_bytes());
        let heard = Heard::read(octets.as_slice());
        assert_eq!((heard.local, heard.segment), (None, Some(512)));
        for end in 0..octets.used {
            let heard = Heard::read(&octets.as_slice()[..end]);
            assert!(heard.segment.is_none_or(|size| size == 512));
        }
        for length in [0, 1, HEADER - 1, ROOM, usize::MAX] {
            let mut broken = octets;
            broken.room[..ALIGN].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Heard::read(broken.as_slice()), Heard::default());
        }
    }

    /// Room that the system headers give to a control message.
    fn space(length: usize) -> usize {
        let length = u32::try_from(length).unwrap();
        #[expect(unsafe_code, reason = "the macro of the system headers")]
        // SAFETY: it computes with its argument, and nothing else.
        let space = unsafe { libc::CMSG_SPACE(length) };
        usize::try_from(space).unwrap()
    }

    /// An address of this host.
    fn local(ip: &str, interface: u32) -> Local {
        Local {
            ip: ip.parse().unwrap(),
            interface,
        }
    }
}

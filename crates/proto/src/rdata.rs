//! The record data that local sources assert.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Name, Rtype};

/// Data of a record that a source can assert. What an upstream says is never
/// turned into this: it passes through as octets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rdata {
    /// An IPv4 address (RFC 1035 §3.4.1).
    A(Ipv4Addr),
    /// An IPv6 address (RFC 3596 §2.2).
    Aaaa(Ipv6Addr),
    /// The canonical name of an alias (RFC 1035 §3.3.1).
    Cname(Name),
    /// A name that an address belongs to (RFC 1035 §3.3.12).
    Ptr(Name),
}

// === impl Rdata ===

impl Rdata {
    /// The type of a record with this data.
    pub fn rtype(&self) -> Rtype {
        match self {
            Self::A(_) => Rtype::A,
            Self::Aaaa(_) => Rtype::AAAA,
            Self::Cname(_) => Rtype::CNAME,
            Self::Ptr(_) => Rtype::PTR,
        }
    }

    /// Appends the data in wire form, without its length and uncompressed.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::A(address) => out.extend_from_slice(&address.octets()),
            Self::Aaaa(address) => out.extend_from_slice(&address.octets()),
            Self::Cname(name) | Self::Ptr(name) => out.extend_from_slice(name.as_wire()),
        }
    }
}

impl From<IpAddr> for Rdata {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::A(v4),
            IpAddr::V6(v6) => Self::Aaaa(v6),
        }
    }
}

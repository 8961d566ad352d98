//! What is known about an answered query.

use std::net::SocketAddr;
use std::time::Duration;

/// One query and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct QueryRecord<'a> {
    /// Where the query came from.
    pub client: SocketAddr,
    /// The address of ours that it was sent to.
    pub local: SocketAddr,
    /// The message ID.
    pub id: u16,
    /// The qtype by name, `TYPE65280` where it has none.
    pub qtype: &'a str,
    /// The qclass by name, `CLASS255` where it has none.
    pub qclass: &'a str,
    /// The qname in presentation form, with the final dot.
    pub name: &'a str,
    /// `udp` or `tcp`.
    pub proto: &'a str,
    /// Octets of the query.
    pub size: usize,
    /// The DO bit of the query.
    pub dnssec_ok: bool,
    /// What the client can take: the EDNS size, at least 512; 65535 over TCP.
    pub bufsize: u16,
    /// The opcode as a number.
    pub opcode: u8,
    /// The rcode by name; `None` when the query was dropped.
    pub rcode: Option<&'a str>,
    /// The header flags of the response, such as `qr,aa,rd`.
    pub flags: &'a str,
    /// Octets of the response before compression and truncation.
    pub response_size: usize,
    /// From the arrival of the query to the response.
    pub duration: Duration,
    /// The kind of response, for `{/log/type}` and `{/log/class}`.
    pub response: ResponseType,
    /// The directive that answered.
    pub plugin: Option<&'a str>,
    /// The upstream that answered.
    pub upstream: Option<&'a str>,
}

/// The classes that `log { class … }` chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResponseClass {
    /// An answer or a delegation.
    Success,
    /// The name does not exist, or has no data of the type.
    Denial,
    /// All else, dropped queries among it.
    Error,
}

/// The kinds of response that CoreDNS tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseType {
    /// NOERROR that is neither of the following.
    NoError,
    /// NXDOMAIN.
    NxDomain,
    /// NOERROR without an answer, with an SOA in authority.
    NoData,
    /// NOERROR without an answer, with NS in authority.
    Delegation,
    /// SERVFAIL or NOTIMP.
    ServerError,
    /// A notification or a transfer.
    Meta,
    /// A dynamic update.
    Update,
    /// Any other rcode, or no response.
    OtherError,
}

// === impl ResponseClass ===

impl ResponseClass {
    /// The class by its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denial => "denial",
            Self::Error => "error",
        }
    }
}

// === impl ResponseType ===

impl ResponseType {
    /// The kind of the response to an ordinary query: its rcode (`None` for
    /// none), and whether it has records in the answer section, an SOA or NS in
    /// authority.
    pub const fn of(rcode: Option<u16>, answer: bool, soa: bool, ns: bool) -> Self {
        match rcode {
            Some(0) if answer => Self::NoError,
            Some(0) if soa => Self::NoData,
            Some(0) if ns => Self::Delegation,
            Some(0) => Self::NoError,
            Some(3) => Self::NxDomain,
            Some(2 | 4) => Self::ServerError,
            _ => Self::OtherError,
        }
    }

    /// The class that the kind belongs to.
    pub const fn class(self) -> ResponseClass {
        match self {
            Self::NoError | Self::Delegation => ResponseClass::Success,
            Self::NxDomain | Self::NoData => ResponseClass::Denial,
            Self::ServerError | Self::Meta | Self::Update | Self::OtherError => {
                ResponseClass::Error
            }
        }
    }

    /// The name that CoreDNS gives the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoError => "NOERROR",
            Self::NxDomain => "NXDOMAIN",
            Self::NoData => "NODATA",
            Self::Delegation => "DELEGATION",
            Self::ServerError => "SERVERERROR",
            Self::Meta => "META",
            Self::Update => "UPDATE",
            Self::OtherError => "OTHERERROR",
        }
    }
}

//! What a cluster is told.

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use portolan_proto::Name;

/// Configuration of a member.
///
/// What is not in [`Settings`] is fixed for the life of the member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this member, for people; two members may have the same.
    pub name: String,
    /// Address that membership binds, UDP and TCP.
    pub bind: SocketAddr,
    /// Address that others reach us by, if it is known.
    pub advertise: Option<(IpAddr, Option<u16>)>,
    /// Where the names of this member point, as far as that was configured: a
    /// candidate for the address that others reach us by.
    pub host_ips: Vec<IpAddr>,
    /// Label that keeps clusters apart. Not secret. At most 200 octets.
    pub label: String,
    /// Networks that members may have their addresses in; none for any.
    pub networks: Vec<IpNet>,
    /// UDP port of discovery by broadcast, which takes place without seeds.
    pub discovery_port: u16,
    /// What may change while the member is at work.
    pub settings: Settings,
}

/// What may change while a member is at work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Members to join; none for discovery by broadcast.
    pub seeds: Vec<Seed>,
    /// Keys; the first encrypts, each decrypts. None for plaintext. From none
    /// to some, or back, takes a restart.
    pub secrets: Vec<Secret>,
    /// What members may claim.
    pub rules: Rules,
}

/// A member to join.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed {
    /// Address or host name, of which every address is tried.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What members may claim, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Zones that the names of other members must be in; none for any.
    pub allowed_zones: Vec<Name>,
    /// How long the records of a member that failed are kept. Default 0.
    pub dead_hold: Duration,
    /// How long other members keep our records after we said good-bye: a
    /// restart within that time leaves no gap. Default 400 ms.
    pub leave_hold: Duration,
    /// So many records may one member have. Default 65,536.
    pub max_records: usize,
    /// So many octets may the records of one member take on the wire. Default
    /// 8 MiB, which is also the most.
    pub max_octets: usize,
}

/// Where a key comes from. Not shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A key of 16, 24 or 32 octets.
    Key(Vec<u8>),
    /// A text that a key is derived from.
    Passphrase(String),
}

/// How long other members keep our records after we said good-bye.
const DEFAULT_LEAVE_HOLD: Duration = Duration::from_millis(400);

/// So many records may one member have.
const DEFAULT_MAX_RECORDS: usize = 65_536;

/// So many octets may the records of one member take.
pub(crate) const MAX_OCTETS: usize = 8 << 20;

// === impl Rules ===

impl Default for Rules {
    fn default() -> Self {
        Self {
            allowed_zones: Vec::new(),
            dead_hold: Duration::ZERO,
            leave_hold: DEFAULT_LEAVE_HOLD,
            max_records: DEFAULT_MAX_RECORDS,
            max_octets: MAX_OCTETS,
        }
    }
}

// === impl Secret ===

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(…)",
            Self::Passphrase(_) => "Passphrase(…)",
        })
    }
}

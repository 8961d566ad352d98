//! The `cluster_…` properties of `docker-cluster`.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::IpNet;
use portolan_proto::Name;

use crate::address::split_host_port;
use crate::diagnostic::ConfigError;
use crate::directive::docker_cluster::secret::ClusterSecret;
use crate::directive::docker_cluster::values;
use crate::token::Token;
use crate::words::Words;
use crate::words::is_true;

/// Sharing names with other servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Whether names are shared. Default no.
    pub enabled: bool,
    /// TCP and UDP port of the membership protocol, 1..=65535. Default 7946.
    pub port: u16,
    /// Members to join. Empty for discovery by broadcast.
    pub seeds: Vec<ClusterSeed>,
    /// Name of this member. Default the host name.
    pub node_name: Option<String>,
    /// Address to bind. Default `0.0.0.0`.
    pub bind_address: IpAddr,
    /// Address that others reach this member by. Default found out.
    pub advertise: Option<ClusterAddress>,
    /// UDP port of discovery. Default 8889.
    pub discovery_port: u16,
    /// Label that keeps clusters apart, 128 octets of printable ASCII at
    /// most. Not secret. Default empty.
    pub label: String,
    /// Networks that members may have their addresses in. Empty for any.
    pub networks: Vec<IpNet>,
    /// Zones that the names of other members must be in. Empty for any.
    pub allowed_zones: Vec<Name>,
    /// How long the records of a member that failed are kept, 24 h at most.
    /// Default not at all.
    pub dead_hold: Duration,
    /// How long others keep this member's records after it left, 60 s at
    /// most. Default 400 ms.
    pub leave_hold: Duration,
    /// So many records may one member have, 1..=1000000. Default 65536.
    pub max_records: usize,
    /// What members encrypt with: the first encrypts, each decrypts. Empty
    /// for plaintext.
    pub secrets: Vec<ClusterSecret>,
}

/// A member to join.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterSeed {
    /// Address or host name.
    pub host: String,
    /// Port; `None` for the cluster's own.
    pub port: Option<u16>,
}

/// An address that others reach this member by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterAddress {
    /// The address; not unspecified, multicast or broadcast.
    pub address: IpAddr,
    /// Port; `None` for the cluster's own.
    pub port: Option<u16>,
}

// === impl Cluster ===

impl Default for Cluster {
    fn default() -> Self {
        Self {
            enabled: false,
            port: 7946,
            seeds: Vec::new(),
            node_name: None,
            bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            advertise: None,
            discovery_port: DISCOVERY_PORT,
            label: String::new(),
            networks: Vec::new(),
            allowed_zones: Vec::new(),
            dead_hold: Duration::ZERO,
            leave_hold: Duration::from_millis(400),
            max_records: 65_536,
            secrets: Vec::new(),
        }
    }
}

// === impl ClusterSeed ===

impl ClusterSeed {
    /// Reads `host`, `host:port` or `[v6]:port`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.parse::<IpAddr>().is_ok() {
            return Some(Self {
                host: text.to_owned(),
                port: None,
            });
        }
        let (host, port) = match split_host_port(text) {
            Ok((host, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => {
                (host, Some(port.parse().ok().filter(|port| *port > 0)?))
            }
            Ok(_) => return None,
            Err(_) => (text, None),
        };
        let is_host = host.parse::<IpAddr>().is_ok() || is_host_name(host);
        is_host.then(|| Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Whether a text may be the name of a host (RFC 1123 section 2.1), or one with
/// underscores, as container names have them. One that ends in a number is a
/// mistyped address.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_inner = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    let is_label = |label: &str| {
        let hyphen = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len()) && !hyphen && label.bytes().all(is_inner)
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|octet| octet.is_ascii_digit());
    text.len() <= 253 && !is_number && text.split('.').all(is_label)
}

/// Reads a `cluster_…` property, or refuses one that nobody knows.
pub(super) fn read_property(
    words: &mut Words<'_>,
    cluster: &mut Cluster,
) -> Result<(), ConfigError> {
    match words.current().text.as_str() {
        "cluster_enabled" => cluster.enabled = is_true(&words.expect()?.text),
        "cluster_port" => cluster.port = read(words, values::port)?,
        "cluster_seeds" => cluster.seeds.extend(read_list(words, values::seeds)?),
        "node_name" => cluster.node_name = Some(read(words, values::node_name)?),
        "cluster_bind_addr" => cluster.bind_address = read(words, values::bind_address)?,
        "cluster_advertise_addr" => {
            cluster.advertise = Some(read(words, values::advertise_address)?);
        }
        "discovery_port" => cluster.discovery_port = read(words, values::discovery_port)?,
        "cluster_label" => cluster.label = read(words, values::label)?,
        "cluster_networks" => cluster.networks.extend(read_list(words, values::networks)?),
        "cluster_allowed_zones" => {
            let zones = read_list(words, values::zones)?;
            cluster.allowed_zones.extend(zones);
        }
        "cluster_dead_hold" => {
            cluster.dead_hold = read(words, values::dead_hold)?;
        }
        "cluster_leave_hold" => {
            cluster.leave_hold = read(words, values::leave_hold)?;
        }
        "cluster_max_records" => cluster.max_records = read(words, values::max_records)?,
        "cluster_secret" => {
            return Err(words.error(
                "cluster_secret does not belong in a file: \
                 set the environment variable CLUSTER_SECRET, or name a file in \
                 cluster_secret_file",
            ));
        }
        _ => return Err(words.unknown_property(PROPERTIES)),
    }
    words.end()
}

/// Reads `PATH`. The file is read later, if the environment has no secret.
pub(super) fn read_secret_file(words: &mut Words<'_>) -> Result<Token, ConfigError> {
    let token = words.expect()?.clone();
    words.end()?;
    Ok(token)
}

/// Reads the value of a property.
fn read<T>(
    words: &mut Words<'_>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, ConfigError> {
    let property = words.current();
    let token = words.expect()?;
    parse(&token.text)
        .map_err(|problem| words.error(format!("invalid {}: {problem}", property.text)))
}

/// Reads the values of a property, each of which may be a list.
fn read_list<T>(
    words: &mut Words<'_>,
    parse: impl Fn(&str) -> Result<Vec<T>, String>,
) -> Result<Vec<T>, ConfigError> {
    let property = words.current();
    let mut items = Vec::new();
    for token in words.some()? {
        let more = parse(&token.text).map_err(|problem| {
            words.error_at(token, format!("invalid {}: {problem}", property.text))
        })?;
        items.extend(more);
    }
    Ok(items)
}

/// The port of discovery where none is given.
pub(super) const DISCOVERY_PORT: u16 = 8889;

/// The properties of `docker-cluster`, for suggestions.
const PROPERTIES: &[&str] = &[
    "docker_socket",
    "host_ip",
    "label",
    "traefik_labels",
    "ttl",
    "fallthrough",
    "unknown_action",
    "linger",
    "healthy_only",
    "no_reverse",
    "negative_ttl",
    "max_names",
    "cluster_enabled",
    "cluster_port",
    "cluster_seeds",
    "node_name",
    "cluster_bind_addr",
    "cluster_advertise_addr",
    "discovery_port",
    "cluster_label",
    "cluster_networks",
    "cluster_allowed_zones",
    "cluster_dead_hold",
    "cluster_leave_hold",
    "cluster_max_records",
    "cluster_secret_file",
];

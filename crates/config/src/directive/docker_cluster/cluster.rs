//! The `cluster_…` properties of `docker-cluster`.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;

use crate::address::split_host_port;
use crate::diagnostic::ConfigError;
use crate::position::Position;
use crate::scope::Scope;
use crate::words::Words;
use crate::words::parse_integer;

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
    /// UDP port of discovery. Default 8889.
    pub discovery_port: u16,
    /// Key that encrypts what members say, from `CLUSTER_SECRET` only.
    pub secret: Option<ClusterSecret>,
}

/// A member to join.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterSeed {
    /// Address or host name.
    pub host: String,
    /// Port; `None` for the cluster's own.
    pub port: Option<u16>,
}

/// A key of 16, 24 or 32 octets. Not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret(Vec<u8>);

// === impl Cluster ===

impl Default for Cluster {
    fn default() -> Self {
        Self {
            enabled: false,
            port: 7946,
            seeds: Vec::new(),
            node_name: None,
            bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            discovery_port: DISCOVERY_PORT,
            secret: None,
        }
    }
}

// === impl ClusterSeed ===

impl ClusterSeed {
    /// Reads `host`, `host:port` or `[v6]:port`.
    fn parse(text: &str) -> Option<Self> {
        if text.parse::<IpAddr>().is_ok() {
            return Some(Self {
                host: text.to_owned(),
                port: None,
            });
        }
        let (host, port) = match split_host_port(text) {
            Ok((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0)?)),
            Err(_) => (text, None),
        };
        let is_host = !host.is_empty() && !host.contains(['/', '[', ']', '@']);
        let is_host = is_host && (!host.contains(':') || host.parse::<IpAddr>().is_ok());
        is_host.then(|| Self {
            host: host.to_owned(),
            port,
        })
    }
}

// === impl ClusterSecret ===

impl ClusterSecret {
    /// Takes a key, if it has the length of one.
    pub(super) fn new(text: &str) -> Option<Self> {
        [16, 24, 32]
            .contains(&text.len())
            .then(|| Self(text.as_bytes().to_vec()))
    }

    /// The octets of the key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(…)")
    }
}

/// Reads a `cluster_…` property, or refuses one that nobody knows.
pub(super) fn read_property(
    words: &mut Words<'_>,
    cluster: &mut Cluster,
) -> Result<(), ConfigError> {
    let property = words.current();
    match property.text.as_str() {
        "cluster_enabled" => cluster.enabled = is_true(&words.expect()?.text),
        "cluster_port" => {
            let token = words.expect()?;
            cluster.port = parse_port(&token.text)
                .map_err(|problem| words.error(problem.text("cluster_port", &token.text)))?;
        }
        "cluster_seeds" => {
            for token in words.some()? {
                let seeds = parse_seeds(&token.text).map_err(|seed| {
                    words.error_at(token, format!("invalid cluster_seeds: {seed} (host:port)"))
                })?;
                cluster.seeds.extend(seeds);
            }
        }
        "node_name" => cluster.node_name = Some(words.expect()?.text.clone()),
        "cluster_bind_addr" => {
            let token = words.expect()?;
            cluster.bind_address = token.text.parse().map_err(|_| {
                words.error(format!(
                    "invalid cluster_bind_addr: {} (an address)",
                    token.text
                ))
            })?;
        }
        "discovery_port" => {
            let token = words.expect()?;
            cluster.discovery_port = parse_discovery_port(&token.text)
                .ok_or_else(|| words.error(format!("invalid discovery_port: {}", token.text)))?;
        }
        "cluster_secret" => {
            return Err(words.error(
                "cluster_secret does not belong in a file: \
                 set the environment variable CLUSTER_SECRET",
            ));
        }
        _ => return Err(words.unknown_property(PROPERTIES)),
    }
    words.end()
}

/// Checks what only the whole tells.
pub(super) fn check(scope: &mut Scope<'_>, position: &Position, cluster: &Cluster) {
    if cluster.enabled {
        scope.sink.warn(
            position,
            "clustering is not supported yet: this node serves its own containers only",
        );
    }
}

/// Why a text is no port.
pub(super) enum PortProblem {
    /// Not a number.
    NotNumber,
    /// Not within 1..=65535.
    OutOfRange,
}

impl PortProblem {
    /// The message.
    pub(super) fn text(&self, what: &str, text: &str) -> String {
        match self {
            Self::NotNumber => format!("invalid {what}: {text}"),
            Self::OutOfRange => {
                format!("invalid {what}: cluster port must be between 1 and 65535, got {text}")
            }
        }
    }
}

/// The membership port a text says.
pub(super) fn parse_port(text: &str) -> Result<u16, PortProblem> {
    let number = parse_integer(text).ok_or(PortProblem::NotNumber)?;
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or(PortProblem::OutOfRange)
}

/// The discovery port a text says; 0 is the default.
pub(super) fn parse_discovery_port(text: &str) -> Option<u16> {
    let port = u16::try_from(parse_integer(text)?).ok()?;
    Some(if port == 0 { DISCOVERY_PORT } else { port })
}

/// The members of a list with commas; the first that is none is the error.
pub(super) fn parse_seeds(text: &str) -> Result<Vec<ClusterSeed>, &str> {
    text.split(',')
        .map(str::trim)
        .filter(|seed| !seed.is_empty())
        .map(|seed| ClusterSeed::parse(seed).ok_or(seed))
        .collect()
}

/// Whether a text says yes, as Joyride reads it; anything else says no.
pub(super) fn is_true(text: &str) -> bool {
    ["true", "1", "yes"]
        .iter()
        .any(|yes| text.eq_ignore_ascii_case(yes))
}

/// The port of discovery where none is given.
const DISCOVERY_PORT: u16 = 8889;

/// The properties of `docker-cluster`, for suggestions.
const PROPERTIES: &[&str] = &[
    "docker_socket",
    "host_ip",
    "label",
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
    "discovery_port",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_hosts_with_an_optional_port() {
        let seed = |host: &str, port| ClusterSeed {
            host: host.to_owned(),
            port,
        };
        assert_eq!(
            parse_seeds("192.0.2.1:7946, node2:1,, node3 ,[2001:db8::1]:7,2001:db8::2"),
            Ok(vec![
                seed("192.0.2.1", Some(7946)),
                seed("node2", Some(1)),
                seed("node3", None),
                seed("2001:db8::1", Some(7)),
                seed("2001:db8::2", None),
            ])
        );
        for bad in [
            "node:0",
            "node:port",
            "node:99999",
            "tcp://node:1",
            "a:b:c",
            ":1",
        ] {
            assert_eq!(parse_seeds(bad), Err(bad));
        }
    }

    #[test]
    fn a_secret_has_the_length_of_a_key_and_is_not_shown() {
        assert!(ClusterSecret::new("your-shared-secret-key").is_none());
        let secret = ClusterSecret::new("0123456789abcdef").expect("a key");
        assert!(!format!("{secret:?}").contains("0123"));
        assert_eq!(secret.as_bytes(), b"0123456789abcdef");
    }
}

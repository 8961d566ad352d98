//! `docker-cluster`: names from the labels of containers.
//!
//! The environment comes after the file: what it sets replaces what the file
//! says, as in Joyride.

mod check;
mod cluster;
mod environment;
mod secret;
mod values;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use portolan_proto::Name;

use crate::diagnostic::ConfigError;
use crate::directive::fallthrough::Fallthrough;
use crate::directive::unknown_action::UnknownAction;
use crate::directive::unknown_action::VALID_ACTIONS;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::words::Words;
use crate::words::parse_integer;

pub(crate) use check::check_together;
pub use cluster::Cluster;
pub use cluster::ClusterAddress;
pub use cluster::ClusterSeed;
pub(crate) use environment::host_of_environment;
pub use secret::ClusterSecret;

/// Names from the labels of containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerCluster {
    /// The Docker Engines to watch. Empty for `DOCKER_HOST`, or else the
    /// default socket.
    pub endpoints: Vec<DockerEndpoint>,
    /// Where the names point.
    pub host: HostAddresses,
    /// Labels that hold names, most important first. Default
    /// `coredns.host.name` and `joyride.host.name`.
    pub labels: Vec<String>,
    /// Whether the rules of Traefik's routers, as labels have them, name
    /// containers as well. Default no.
    pub traefik_labels: bool,
    /// TTL in seconds, 0..=2147483647. Default 60.
    pub ttl: u32,
    /// Which unknown names the next stage is asked for.
    pub fallthrough: Option<Fallthrough>,
    /// The answer to an unknown name. Default none at all.
    pub unknown_action: UnknownAction,
    /// How long the names of a stopped container stay. Default 5 s.
    pub linger: Duration,
    /// Whether a container with a health check must be healthy. Default no.
    pub healthy_only: bool,
    /// Whether addresses answer with their names (PTR). Default yes.
    pub reverse: bool,
    /// TTL of a negative answer in seconds. Default 30.
    pub negative_ttl: u32,
    /// So many names may one container have, 1..=10000. Default 100.
    pub max_names: usize,
    /// A name of the host itself. Default none; from `JOYRIDE_HOSTNAME`, if
    /// `JOYRIDE_HOSTNAME_DNS_ENTRY` says yes.
    pub host_name: Option<Name>,
    /// Sharing names with other servers.
    pub cluster: Cluster,
}

/// Where the API of a Docker Engine is: a URL with one of the schemes `unix`,
/// `tcp`, `http`, `https`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DockerEndpoint(String);

/// The addresses the names of containers point to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddresses {
    /// Addresses as given, of either family.
    pub addresses: Vec<IpAddr>,
    /// Whether the address of the default route is found out and added: when
    /// none is given, or `0.0.0.0` is.
    pub detect: bool,
}

// === impl DockerEndpoint ===

impl DockerEndpoint {
    /// Reads a URL, or the bare path of a socket.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self(format!("unix://{text}")));
        }
        let (scheme, rest) = text.split_once("://")?;
        let known = match scheme.to_ascii_lowercase().as_str() {
            "unix" => rest.starts_with('/'),
            "tcp" | "http" | "https" => !rest.is_empty(),
            _ => false,
        };
        known.then(|| Self(text.to_owned()))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DockerEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl HostAddresses ===

impl HostAddresses {
    /// None given.
    pub(crate) fn detected() -> Self {
        Self {
            addresses: Vec::new(),
            detect: true,
        }
    }

    /// Reads addresses; the first that is none is the error.
    pub(crate) fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, &'t str> {
        let mut host = Self {
            addresses: Vec::new(),
            detect: false,
        };
        for text in texts {
            let address: IpAddr = text.parse().map_err(|_| text)?;
            if address.is_unspecified() {
                host.detect = true;
            } else if !host.addresses.contains(&address) {
                host.addresses.push(address);
            }
        }
        host.detect |= host.addresses.is_empty();
        Ok(host)
    }
}

/// Reads the occurrences of `docker-cluster`, which add up.
pub(crate) fn setup(
    scope: &mut Scope<'_>,
    written: &[&Directive],
) -> Option<Located<DockerCluster>> {
    let first = written.first()?;
    let mut docker = DockerCluster {
        endpoints: Vec::new(),
        host: HostAddresses::detected(),
        labels: Vec::new(),
        traefik_labels: false,
        ttl: 60,
        fallthrough: None,
        unknown_action: UnknownAction::Drop,
        linger: Duration::from_secs(5),
        healthy_only: false,
        reverse: true,
        negative_ttl: 30,
        max_names: 100,
        host_name: None,
        cluster: Cluster::default(),
    };
    let mut secret_file = None;
    for directive in written {
        for token in &directive.arguments {
            let message = format!(
                "argument '{}' has no effect: docker-cluster takes none",
                token.text
            );
            scope.sink.warn(&token.position, message);
        }
        scope.properties(directive, |words, _| {
            if words.current().text == "cluster_secret_file" {
                secret_file = Some(cluster::read_secret_file(words)?);
                return Ok(());
            }
            read_property(words, &mut docker)
        });
    }
    if docker.labels.is_empty() {
        docker.labels = DEFAULT_LABELS.map(str::to_owned).to_vec();
    }
    let position = &first.name.position;
    environment::apply(scope, position, &mut docker);
    secret::apply(scope, position, secret_file.as_ref(), &mut docker.cluster);
    check::check(scope, position, &docker.cluster);
    Some(Located::new(docker, position))
}

/// Reads one property.
fn read_property(words: &mut Words<'_>, docker: &mut DockerCluster) -> Result<(), ConfigError> {
    match words.current().text.as_str() {
        "docker_socket" => {
            for token in words.some()? {
                let endpoint = DockerEndpoint::parse(&token.text).ok_or_else(|| {
                    words.error_at(token, bad_endpoint("docker_socket", &token.text))
                })?;
                docker.endpoints.push(endpoint);
            }
        }
        "host_ip" => docker.host = read_host(words)?,
        "label" => docker
            .labels
            .extend(words.some()?.iter().map(|token| token.text.clone())),
        "ttl" => docker.ttl = read_ttl(words)?,
        "fallthrough" => docker.fallthrough = Some(Fallthrough::read(words)?),
        "unknown_action" => {
            let token = words.expect()?;
            docker.unknown_action = UnknownAction::parse(&token.text).ok_or_else(|| {
                words.error(format!(
                    "invalid unknown_action: {} ({VALID_ACTIONS})",
                    token.text
                ))
            })?;
        }
        "linger" => docker.linger = words.duration("linger")?,
        "traefik_labels" => docker.traefik_labels = true,
        "healthy_only" => docker.healthy_only = true,
        "no_reverse" => docker.reverse = false,
        "negative_ttl" => docker.negative_ttl = words.count("negative_ttl")?,
        "max_names" => {
            docker.max_names = words.count("max_names")?;
            if !MAX_NAMES.contains(&docker.max_names) {
                return Err(words.error(format!(
                    "max_names must be between {} and {}",
                    MAX_NAMES.start(),
                    MAX_NAMES.end()
                )));
            }
        }
        _ => return cluster::read_property(words, &mut docker.cluster),
    }
    words.end()
}

/// Reads `IP…`.
pub(crate) fn read_host(words: &mut Words<'_>) -> Result<HostAddresses, ConfigError> {
    let tokens = words.some()?;
    HostAddresses::parse(tokens.iter().map(|token| token.text.as_str()))
        .map_err(|text| words.error(format!("invalid host_ip: {text} (an IPv4 or IPv6 address)")))
}

/// Reads a TTL.
pub(crate) fn read_ttl(words: &mut Words<'_>) -> Result<u32, ConfigError> {
    let token = words.expect()?;
    parse_ttl(&token.text).ok_or_else(|| {
        words.error(format!(
            "invalid ttl: {} (seconds, 0..={MAX_TTL})",
            token.text
        ))
    })
}

/// The TTL a text says.
pub(crate) fn parse_ttl(text: &str) -> Option<u32> {
    parse_integer(text)
        .and_then(|ttl| u32::try_from(ttl).ok())
        .filter(|ttl| *ttl <= MAX_TTL)
}

/// Says what an endpoint looks like.
fn bad_endpoint(what: &str, text: &str) -> String {
    format!("invalid {what}: {text} (a URL such as unix:///var/run/docker.sock or tcp://host:2375)")
}

/// Labels that hold names when none is configured.
const DEFAULT_LABELS: [&str; 2] = ["coredns.host.name", "joyride.host.name"];

/// RFC 2181 §8: a TTL has 31 bits.
const MAX_TTL: u32 = 0x7fff_ffff;

/// The numbers `max_names` may be.
const MAX_NAMES: std::ops::RangeInclusive<usize> = 1..=10_000;

//! The whole configuration, typed and checked.

use portolan_proto::Name;

use crate::address::ListenAddress;
use crate::directive::bind::Bind;
use crate::directive::cache::Cache;
use crate::directive::docker_cluster::DockerCluster;
use crate::directive::errors::ErrorLog;
use crate::directive::forward::Forward;
use crate::directive::health::Health;
use crate::directive::hosts::Hosts;
use crate::directive::loadbalance::LoadBalance;
use crate::directive::log::LogRule;
use crate::directive::multisocket::Multisocket;
use crate::directive::prometheus::Prometheus;
use crate::directive::ready::Ready;
use crate::directive::reload::Reload;
use crate::directive::traefik_externals::TraefikExternals;
use crate::key::Key;
use crate::position::Located;

/// A configuration that has no mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The server blocks, in the order of the text. Never empty.
    pub blocks: Vec<Located<ServerBlock>>,
    /// Whether and how often the file is read again. From whichever block
    /// has it; it is for the process.
    pub reload: Option<Located<Reload>>,
    /// Where the version is told over HTTP. Default `:8081`; from
    /// `COREDNS_VERSION_PORT`.
    pub version: ListenAddress,
    /// SHA-512 in hexadecimal of every word, imports and environment put in,
    /// without its place: a comment or an empty line changes nothing. The
    /// secrets of clusters change it; with one, it is another in each process.
    pub digest: String,
}

/// A server block: zones and what is done with queries for them.
///
/// All its zones share one set of stages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerBlock {
    /// The keys, in the order of the text. Never empty.
    pub keys: Vec<Located<Key>>,
    /// Addresses to listen on; empty for every local address.
    pub bind: Vec<Located<Bind>>,
    /// The UDP sockets of each address.
    pub multisocket: Option<Located<Multisocket>>,
    /// `debug`: log messages of the debug level.
    pub debug: Option<Located<()>>,
    /// `any`: accepted; questions of type ANY follow RFC 8482 anyway.
    pub any: Option<Located<()>>,
    /// `loop`: accepted; forwarding loops are detected anyway.
    pub loop_detection: Option<Located<()>>,
    /// Reading the configuration again.
    pub reload: Option<Located<Reload>>,
    /// The health endpoint.
    pub health: Option<Located<Health>>,
    /// The readiness endpoint.
    pub ready: Option<Located<Ready>>,
    /// The metrics endpoint.
    pub prometheus: Option<Located<Prometheus>>,
    /// Logging of failed queries.
    pub errors: Option<Located<ErrorLog>>,
    /// Rules for logging queries; the first with the name decides.
    pub log: Vec<Located<LogRule>>,
    /// The order of addresses in an answer.
    pub loadbalance: Option<Located<LoadBalance>>,
    /// Names from hosts files.
    pub hosts: Option<Located<Hosts>>,
    /// Names from containers.
    pub docker_cluster: Option<Located<DockerCluster>>,
    /// Names from Traefik's files.
    pub traefik_externals: Option<Located<TraefikExternals>>,
    /// The cache of forwarded answers.
    pub cache: Option<Located<Cache>>,
    /// Forwarding; tried in this order.
    pub forward: Vec<Located<Forward>>,
    /// `whoami`: answers with the client's address.
    pub whoami: Option<Located<()>>,
}

// === impl ServerBlock ===

impl ServerBlock {
    /// The zones of all keys.
    pub fn zones(&self) -> impl Iterator<Item = &Name> {
        self.keys.iter().flat_map(|key| &key.zones)
    }

    /// Whether any directive of the block answers queries. If none does,
    /// they are refused.
    pub fn answers(&self) -> bool {
        self.hosts.is_some()
            || self.docker_cluster.is_some()
            || !self.forward.is_empty()
            || self.whoami.is_some()
    }
}

//! Settings of one `forward` stanza.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use portolan_proto::Name;
use portolan_proto::Rcode;

use crate::Policy;

/// Most upstreams of one stanza.
pub const MAX_UPSTREAMS: usize = 15;

/// Settings of one stanza.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Names at or below these are forwarded. Default: the root.
    pub from: Vec<Name>,
    /// Names at or below these are not, unless the name is in `from` itself.
    pub except: Vec<Name>,
    /// Whom to ask; 1 to [`MAX_UPSTREAMS`] addresses in the end.
    pub upstreams: Vec<UpstreamConfig>,
    /// In which order. Default: random.
    pub policy: Policy,
    /// An upstream with more failed probes than this in a row is down; 0
    /// means never, and no probes. Default: 2.
    pub max_fails: u32,
    /// How long an idle connection is kept. Default: 10 s.
    pub expire: Duration,
    /// How long any connection is reused; not less than `expire`. Default: no
    /// limit.
    pub max_age: Option<Duration>,
    /// Most idle connections to one upstream; 0 means
    /// no bound of its own. Default: 0.
    pub max_idle_conns: usize,
    /// How long to wait for one answer of one upstream, within
    /// [`crate::TOTAL_BUDGET`]. Default: 2 s.
    pub read_timeout: Duration,
    /// Most attempts that may fail, or be slow, in one query; `Some(0)` leaves
    /// only the bound of three per upstream. Default: twice the number of
    /// upstreams may fail.
    pub max_connect_attempts: Option<usize>,
    /// TCP upstream whatever the client uses. Default: no.
    pub force_tcp: bool,
    /// UDP upstream whatever the client uses; TCP after a truncated answer.
    /// Default: no.
    pub prefer_udp: bool,
    /// Letters of names in upper or lower case by chance over UDP, and to
    /// come back so. Default: no.
    pub case_randomization: bool,
    /// Certificates and name of encrypted upstreams.
    pub tls: TlsConfig,
    /// How DNS over HTTPS asks. Default: POST.
    pub doh_method: DohMethod,
    /// How a failed upstream is probed.
    pub health_check: HealthCheck,
    /// Most queries of this stanza at once; 0 means no bound but that of the
    /// process. Default: 0.
    pub max_concurrent: usize,
    /// Whether special-use names are forwarded like others. Default: no.
    pub forward_special_names: bool,
    /// Answers with these codes are left to the stanza that follows.
    pub next: Vec<Rcode>,
    /// So is NOERROR without an answer. Default: no.
    pub next_on_nodata: bool,
    /// SERVFAIL at once when all upstreams are down. Default: no, try them.
    pub failfast_all_unhealthy_upstreams: bool,
    /// Answers with these codes are kept back while another upstream has not
    /// been asked. Default: SERVFAIL and REFUSED.
    pub failover: Vec<Rcode>,
    /// Address to send from. Default: the system's choice.
    pub source_address: Option<IpAddr>,
    /// Servers that resolve upstreams given by name. Default: the system's.
    pub resolver: Vec<SocketAddr>,
    /// Clients that may use the stanza. Default: [`default_allow_from`].
    pub allow_from: Vec<IpNet>,
}

/// One upstream as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamConfig {
    /// An address and a port.
    Addr(SocketAddr),
    /// The `nameserver` lines of a file in the form of resolv.conf(5). The
    /// file is followed: a change takes effect within
    /// [`crate::resolv_conf::CHECK_EVERY`].
    File(PathBuf),
    /// A host name, resolved at construction and every minute.
    Hostname {
        /// The name.
        host: String,
        /// Port on each of its addresses.
        port: u16,
    },
    /// A server that is asked over an encrypted transport, and never over
    /// another.
    Encrypted {
        /// The transport.
        transport: EncryptedTransport,
        /// Address, or host name, resolved at construction and every minute.
        host: String,
        /// Port on each of its addresses.
        port: u16,
        /// Name that the server has to prove. Default: that of
        /// [`TlsConfig::server_name`], else `host`.
        server_name: Option<String>,
    },
}

/// An encrypted transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptedTransport {
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484), at `/dns-query`, over HTTP/2.
    Https,
}

/// Certificates and name of encrypted upstreams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificate and key that are shown to upstreams. Default: none.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Certificates of the authorities that vouch for upstreams. Default:
    /// those of the system.
    pub authority: Option<PathBuf>,
    /// Name that upstreams have to prove. Default: their own.
    pub server_name: Option<String>,
}

/// How DNS over HTTPS asks (RFC 8484 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DohMethod {
    /// The query is the body.
    #[default]
    Post,
    /// The query is in the path, where caches can see it.
    Get,
}

/// How an upstream is probed after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Time between two probes. Default: 500 ms; less than 50 ms counts as
    /// 50 ms.
    pub interval: Duration,
    /// Probe with RD cleared. Default: no.
    pub no_rec: bool,
    /// Name whose NS records are asked for. Default: the root.
    pub domain: Name,
    /// Whether SERVFAIL is no sign of life. Default: no.
    pub strict: bool,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            from: vec![Name::root()],
            except: Vec::new(),
            upstreams: Vec::new(),
            policy: Policy::Random,
            max_fails: 2,
            expire: Duration::from_secs(10),
            max_age: None,
            max_idle_conns: 0,
            read_timeout: Duration::from_secs(2),
            max_connect_attempts: None,
            force_tcp: false,
            prefer_udp: false,
            case_randomization: false,
            tls: TlsConfig::default(),
            doh_method: DohMethod::default(),
            health_check: HealthCheck::default(),
            max_concurrent: 0,
            forward_special_names: false,
            next: Vec::new(),
            next_on_nodata: false,
            failfast_all_unhealthy_upstreams: false,
            failover: vec![Rcode::SERVFAIL, Rcode::REFUSED],
            source_address: None,
            resolver: Vec::new(),
            allow_from: default_allow_from(),
        }
    }
}

// === impl HealthCheck ===

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            no_rec: false,
            domain: Name::root(),
            strict: false,
        }
    }
}

/// The clients a forwarder serves unless told otherwise: those of this host
/// and of private networks. Port 54 is open on every address, and an open
/// resolver is a weapon (RFC 5358).
pub fn default_allow_from() -> Vec<IpNet> {
    [
        // Loopback (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3).
        "127.0.0.0/8",
        "::1/128",
        // Private (RFC 1918 §3).
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        // Link-local (RFC 3927, RFC 4291 §2.5.6).
        "169.254.0.0/16",
        "fe80::/10",
        // Unique local (RFC 4193).
        "fc00::/7",
        // Carrier-grade NAT (RFC 6598).
        "100.64.0.0/10",
    ]
    .into_iter()
    .map(|range| range.parse().expect("a constant range is valid"))
    .collect()
}

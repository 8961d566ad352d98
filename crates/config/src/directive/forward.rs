//! `forward`: queries are asked of other servers.

mod property;
mod upstream;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use portolan_proto::Name;
use portolan_proto::Rcode;

use crate::diagnostic::ConfigError;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::words::Words;
use crate::zone::zones_of;

pub use upstream::Upstream;
pub use upstream::UpstreamHost;
pub use upstream::UpstreamServer;
pub use upstream::UpstreamTransport;

/// Forwarding of the names below one zone. Several in a block are tried in
/// the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Names within this zone are forwarded.
    pub from: Name,
    /// The upstreams, 1..=15 with those of files.
    pub to: Vec<Upstream>,
    /// Names within these zones are not forwarded, unless the zone is `from`.
    pub except: Vec<Name>,
    /// Whether upstreams are asked over TCP only.
    pub force_tcp: bool,
    /// Whether upstreams are asked over UDP first, however the client asked.
    pub prefer_udp: bool,
    /// Whether letters of names are in upper or lower case by chance over UDP.
    pub case_randomization: bool,
    /// How long an idle connection is kept. Default 10 s.
    pub expire: Duration,
    /// How long a connection is kept at all; `None` for ever.
    pub max_age: Option<Duration>,
    /// Idle connections kept for each upstream; `None` for any number.
    pub max_idle_connections: Option<u32>,
    /// How long a response is waited for, above zero. Default 2 s.
    pub read_timeout: Duration,
    /// An upstream with more failed probes than this is down; 0 for never.
    /// Default 2.
    pub max_fails: u32,
    /// Attempts for one query; 0 for no limit, `None` for twice the number of
    /// upstreams.
    pub max_connect_attempts: Option<u32>,
    /// Certificates for encrypted upstreams.
    pub tls: Option<TlsFiles>,
    /// Name that encrypted upstreams must prove.
    pub tls_server_name: Option<String>,
    /// Which upstream is asked first.
    pub policy: ForwardPolicy,
    /// Probing of upstreams that failed.
    pub health_check: HealthCheck,
    /// Queries in flight at once; the rest are refused. `None` for any number.
    pub max_concurrent: Option<u32>,
    /// Whether special-use names are forwarded like others.
    pub forward_special_names: bool,
    /// Responses with these codes make the next `forward` be asked.
    pub next: BTreeSet<Rcode>,
    /// Whether an empty response makes the next `forward` be asked.
    pub next_on_nodata: bool,
    /// Whether a query fails at once when every upstream is down.
    pub failfast: bool,
    /// Responses with these codes make the next upstream be asked.
    pub failover: BTreeSet<Rcode>,
    /// How DNS over HTTPS asks.
    pub doh_method: DohMethod,
    /// Local address that queries leave from.
    pub source_address: Option<IpAddr>,
    /// Servers that resolve upstreams given by host name; empty for the
    /// system's.
    pub resolvers: Vec<SocketAddr>,
    /// Clients that may use the upstreams; `None` for the server's default,
    /// clients of local networks.
    pub allow_from: Option<AllowFrom>,
}

/// Which upstream is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ForwardPolicy {
    /// A random one.
    #[default]
    Random,
    /// Each in turn.
    RoundRobin,
    /// The first one, as long as it answers.
    Sequential,
    /// The one that answers fastest.
    Fastest,
}

/// Probing of upstreams that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Time between probes. Default 0.5 s.
    pub interval: Duration,
    /// Whether probes ask for recursion. Default yes.
    pub recursion_desired: bool,
    /// Name that probes ask for. Default the root.
    pub qname: Name,
    /// Whether SERVFAIL is no sign of life. Default no.
    pub strict: bool,
}

/// Files of a TLS client.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// Certificate and key the client shows.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Authority that vouches for the server; `None` for the system's.
    pub authority: Option<PathBuf>,
}

/// How DNS over HTTPS asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DohMethod {
    /// POST.
    #[default]
    Post,
    /// GET.
    Get,
}

/// Who may use the upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowFrom {
    /// Every client: an open resolver, unless something else keeps
    /// strangers out.
    Any,
    /// Clients within these networks.
    Networks(Vec<IpNet>),
}

/// Reads the occurrences of `forward`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Vec<Located<Forward>> {
    written
        .iter()
        .filter_map(|directive| setup_one(scope, directive))
        .collect()
}

/// Reads one `forward`.
fn setup_one(scope: &mut Scope<'_>, directive: &Directive) -> Option<Located<Forward>> {
    let mut words = Words::arguments(scope.plugin, directive);
    let from = read_from(&mut words, scope);
    let from = scope.sink.keep(from);
    let mut forward = Forward::new(from.clone().unwrap_or_else(Name::root));
    let read = read_upstreams(&mut words, scope, &mut forward);
    scope.sink.keep(read);
    scope.properties(directive, |words, _| property::read(words, &mut forward));
    check(scope, directive, &forward);
    from.map(|_| Located::new(forward, &directive.name.position))
}

// === impl Forward ===

impl Forward {
    /// A stanza without upstreams and with every default.
    fn new(from: Name) -> Self {
        Self {
            from,
            to: Vec::new(),
            except: Vec::new(),
            force_tcp: false,
            prefer_udp: false,
            case_randomization: false,
            expire: Duration::from_secs(10),
            max_age: None,
            max_idle_connections: None,
            read_timeout: Duration::from_secs(2),
            max_fails: 2,
            max_connect_attempts: None,
            tls: None,
            tls_server_name: None,
            policy: ForwardPolicy::default(),
            health_check: HealthCheck {
                interval: Duration::from_millis(500),
                recursion_desired: true,
                qname: Name::root(),
                strict: false,
            },
            max_concurrent: None,
            forward_special_names: false,
            next: BTreeSet::new(),
            next_on_nodata: false,
            failfast: false,
            failover: BTreeSet::new(),
            doh_method: DohMethod::default(),
            source_address: None,
            resolvers: Vec::new(),
            allow_from: None,
        }
    }

    /// Whether a name is forwarded by this stanza.
    pub fn covers(&self, name: &Name) -> bool {
        let excepted = |zone: &Name| name.is_within(zone) && *name != self.from;
        name.is_within(&self.from) && !self.except.iter().any(excepted)
    }
}

/// Reads `FROM`.
fn read_from(words: &mut Words<'_>, scope: &mut Scope<'_>) -> Result<Name, ConfigError> {
    let token = words.expect()?;
    let zones = zones_of(&token.text)
        .map_err(|error| words.error(format!("unable to normalize '{}': {error}", token.text)))?;
    let mut zones = zones.into_iter();
    let first = zones.next().ok_or_else(|| words.argument_error())?;
    if zones.next().is_some() {
        scope.sink.warn(
            &token.position,
            format!(
                "'{}' stands for several reverse zones: only the first, {first}, is forwarded",
                token.text
            ),
        );
    }
    Ok(first)
}

/// Reads `TO…`.
fn read_upstreams(
    words: &mut Words<'_>,
    scope: &mut Scope<'_>,
    forward: &mut Forward,
) -> Result<(), ConfigError> {
    let tokens = words.some()?;
    let mut count = 0;
    for token in tokens {
        let upstream =
            Upstream::parse(&token.text).map_err(|message| words.error_at(token, message));
        let Some(upstream) = scope.sink.keep(upstream) else {
            count += 1;
            continue;
        };
        count += upstream.count(&token.position, scope.sink);
        forward.to.push(upstream);
    }
    if count == 0 {
        return Err(words.error("no valid upstream addresses found"));
    }
    if count > MAX_UPSTREAMS {
        return Err(words.error(format!("more than {MAX_UPSTREAMS} TOs configured: {count}")));
    }
    Ok(())
}

/// Checks what only the whole stanza tells.
fn check(scope: &mut Scope<'_>, directive: &Directive, forward: &Forward) {
    if let Some(age) = forward.max_age
        && age < forward.expire
    {
        scope.error_at(
            &directive.name,
            format!(
                "max_age ({age:?}) must not be less than expire ({:?})",
                forward.expire
            ),
        );
    }
    let named = forward.to.iter().any(Upstream::has_server_name);
    if named && forward.tls_server_name.is_some() {
        scope.error_at(
            &directive.name,
            "both forward ('tls_servername') and proxy level ('%name' of an upstream) \
             TLS servernames are set",
        );
    }
    let encrypted = forward.to.iter().any(Upstream::is_encrypted);
    if !encrypted && (forward.tls.is_some() || forward.tls_server_name.is_some()) {
        scope.sink.warn(
            &directive.name.position,
            "tls and tls_servername have no effect: no upstream is tls:// or https://",
        );
    }
}

/// So many upstreams may a stanza have.
const MAX_UPSTREAMS: usize = 15;

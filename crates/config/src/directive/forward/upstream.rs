//! Upstreams as they are written: addresses, host names, files.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;

use portolan_proto::Name;

use crate::diagnostic::Sink;
use crate::position::Position;

/// One thing to forward to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// A server.
    Server(UpstreamServer),
    /// A file in the form of `resolv.conf`, whose name servers are meant.
    ResolvConf(PathBuf),
}

/// A server to forward to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// How it is asked.
    pub transport: UpstreamTransport,
    /// Where it is.
    pub host: UpstreamHost,
    /// Port; 53, 853 or 443 by default.
    pub port: u16,
    /// Name the server must prove, of an encrypted transport.
    pub server_name: Option<String>,
}

/// How an upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamTransport {
    /// Plain DNS over UDP and TCP.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484), at `/dns-query`.
    Https,
}

/// Where an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamHost {
    /// At an address.
    Address {
        /// The address.
        address: IpAddr,
        /// Interface of a link-local address.
        scope: Option<String>,
    },
    /// At the addresses of a host name, which is resolved elsewhere.
    Hostname(Name),
}

// === impl Upstream ===

impl Upstream {
    /// Reads one TO.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (transport, rest) = match text.split_once("://") {
            None => (UpstreamTransport::Dns, text),
            Some((scheme, rest)) => (transport_of(scheme, text)?, rest),
        };
        if rest.is_empty() {
            return Err(format!("invalid address: {text:?}"));
        }
        if transport == UpstreamTransport::Dns && rest == text && is_path(rest) {
            return Ok(Self::ResolvConf(PathBuf::from(rest)));
        }
        if rest.contains('/') {
            return Err(format!("paths are not allowed in an upstream: {text:?}"));
        }
        UpstreamServer::parse(transport, rest).map(Self::Server)
    }

    /// Whether it is asked over an encrypted transport.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Server(server) if server.transport != UpstreamTransport::Dns)
    }

    /// Whether it says itself which name the server must prove.
    pub(super) fn has_server_name(&self) -> bool {
        matches!(self, Self::Server(server) if server.server_name.is_some())
    }

    /// How many servers this stands for. A file that cannot be read counts
    /// as one: it may be there when the server starts.
    pub(super) fn count(&self, position: &Position, sink: &mut Sink) -> usize {
        let Self::ResolvConf(path) = self else {
            return 1;
        };
        match read_resolv_conf(path) {
            Ok(text) => {
                let count = nameservers(&text).len();
                if count == 0 {
                    let message = format!("'{}' names no server", path.display());
                    sink.warn(position, message);
                }
                count
            }
            Err(error) => {
                let message = format!("'{}' cannot be read now: {error}", path.display());
                sink.warn(position, message);
                1
            }
        }
    }
}

// === impl UpstreamServer ===

impl UpstreamServer {
    /// Reads `HOST[%ZONE][:PORT]`. `%ZONE` is an interface in plain DNS and
    /// the name of the server otherwise; the port stands after it.
    fn parse(transport: UpstreamTransport, text: &str) -> Result<Self, String> {
        let (host, zone, port) = split(text).ok_or_else(|| not_address(text))?;
        let port = match port {
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| format!("invalid port in upstream {text:?}"))?,
            None => default_port(transport),
        };
        let is_dns = transport == UpstreamTransport::Dns;
        let zone = match zone {
            Some("") => return Err(not_address(text)),
            zone => zone.map(str::to_owned),
        };
        let (scope, server_name) = if is_dns { (zone, None) } else { (None, zone) };
        let host = match host.parse() {
            Ok(address) => UpstreamHost::Address { address, scope },
            Err(_) if scope.is_some() => return Err(not_address(text)),
            Err(_) => UpstreamHost::Hostname(hostname(host).ok_or_else(|| not_address(text))?),
        };
        Ok(Self {
            transport,
            host,
            port,
            server_name,
        })
    }
}

/// Reads a file in the form of `resolv.conf`. A device or a pipe could block,
/// and what is longer is no such file.
fn read_resolv_conf(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?
        .take(MAX_RESOLV_CONF)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The name servers of a text in the form of `resolv.conf`, with the
/// interface of link-local ones.
fn nameservers(text: &str) -> Vec<(IpAddr, Option<String>)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            if fields.next()? != "nameserver" {
                return None;
            }
            let server = fields.next()?;
            let (address, scope) = match server.split_once('%') {
                Some((address, scope)) => (address, Some(scope.to_owned())),
                None => (server, None),
            };
            address.parse().ok().map(|address| (address, scope))
        })
        .collect()
}

/// Splits `HOST[%ZONE][:PORT]`; an IPv6 address with a port stands in
/// brackets, with its zone.
fn split(text: &str) -> Option<(&str, Option<&str>, Option<&str>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return None,
        }
    } else {
        match text.rsplit_once(':') {
            // More colons than one belong to an IPv6 address. Behind a zone
            // there can be a port again.
            Some((host, port)) if !host.contains(':') || host.contains('%') => (host, Some(port)),
            _ => (text, None),
        }
    };
    Some(match host.split_once('%') {
        Some((host, zone)) => (host, Some(zone), port),
        None => (host, None, port),
    })
}

/// The transport of a scheme.
fn transport_of(scheme: &str, text: &str) -> Result<UpstreamTransport, String> {
    match scheme.to_ascii_lowercase().as_str() {
        "dns" => Ok(UpstreamTransport::Dns),
        "tls" => Ok(UpstreamTransport::Tls),
        "https" => Ok(UpstreamTransport::Https),
        other => Err(format!(
            "'{other}' is not supported as a destination protocol in forward: {text} \
             (valid: dns, tls, https)"
        )),
    }
}

/// The port of a transport.
fn default_port(transport: UpstreamTransport) -> u16 {
    match transport {
        UpstreamTransport::Dns => 53,
        UpstreamTransport::Tls => 853,
        UpstreamTransport::Https => 443,
    }
}

/// Whether a text is meant as a path, or happens to be one.
fn is_path(text: &str) -> bool {
    text.starts_with(['/', '.']) || Path::new(text).is_file()
}

/// The host name a text says. One whose last label is a number is a mistyped
/// address.
fn hostname(text: &str) -> Option<Name> {
    let name = Name::from_ascii_or_idn(text)
        .ok()
        .filter(|name| !name.is_root())?;
    let last_is_number = name.labels().last()?.iter().all(u8::is_ascii_digit);
    let is_host = name
        .labels()
        .flatten()
        .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
    (is_host && !last_is_number).then_some(name)
}

/// Says that a text is nothing to forward to.
fn not_address(text: &str) -> String {
    format!("failed to resolve {text:?}: not an IP address, host name or file")
}

/// So much of a `resolv.conf` is read, in octets.
const MAX_RESOLV_CONF: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A server at an address.
    fn server(
        transport: UpstreamTransport,
        address: &str,
        port: u16,
        scope: Option<&str>,
        name: Option<&str>,
    ) -> Upstream {
        Upstream::Server(UpstreamServer {
            transport,
            host: UpstreamHost::Address {
                address: address.parse().expect("an address"),
                scope: scope.map(str::to_owned),
            },
            port,
            server_name: name.map(str::to_owned),
        })
    }

    #[test]
    fn addresses_take_scheme_zone_and_port() {
        use UpstreamTransport::Dns;
        use UpstreamTransport::Https;
        use UpstreamTransport::Tls;
        for (text, expected) in [
            ("127.0.0.1", server(Dns, "127.0.0.1", 53, None, None)),
            ("127.0.0.1:5353", server(Dns, "127.0.0.1", 5353, None, None)),
            ("dns://127.0.0.1", server(Dns, "127.0.0.1", 53, None, None)),
            ("::1", server(Dns, "::1", 53, None, None)),
            ("[::1]", server(Dns, "::1", 53, None, None)),
            ("[::1]:5353", server(Dns, "::1", 5353, None, None)),
            (
                "fe80::1%eth0",
                server(Dns, "fe80::1", 53, Some("eth0"), None),
            ),
            (
                "[fe80::1%eth0]:54",
                server(Dns, "fe80::1", 54, Some("eth0"), None),
            ),
            (
                "tls://127.0.0.1%a:854",
                server(Tls, "127.0.0.1", 854, None, Some("a")),
            ),
            (
                "tls://127.0.0.2%b",
                server(Tls, "127.0.0.2", 853, None, Some("b")),
            ),
            (
                "tls://[2400:3200::1%dns.alidns.com]:853",
                server(Tls, "2400:3200::1", 853, None, Some("dns.alidns.com")),
            ),
            (
                "https://127.0.0.1",
                server(Https, "127.0.0.1", 443, None, None),
            ),
        ] {
            assert_eq!(Upstream::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn host_names_and_files_are_kept() {
        let host = |text: &str, port| {
            Upstream::Server(UpstreamServer {
                transport: UpstreamTransport::Dns,
                host: UpstreamHost::Hostname(Name::from_ascii_or_idn(text).expect("a name")),
                port,
                server_name: None,
            })
        };
        assert_eq!(
            Upstream::parse("dns.example.org"),
            Ok(host("dns.example.org", 53))
        );
        assert_eq!(Upstream::parse("resolver:5353"), Ok(host("resolver", 5353)));
        for path in ["/etc/resolv.conf", "./resolv.conf", "../resolv.conf"] {
            assert_eq!(
                Upstream::parse(path),
                Ok(Upstream::ResolvConf(PathBuf::from(path)))
            );
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for (text, fragment) in [
            ("", "invalid address: \"\""),
            ("tls://", "invalid address"),
            ("a27.0.0.1", "failed to resolve"),
            ("8.8.8.256", "failed to resolve"),
            ("8.8.8.8:0", "invalid port"),
            ("8.8.8.8:99999", "invalid port"),
            ("8.8.8.8:dns", "invalid port"),
            ("https://1.1.1.1/", "paths are not allowed"),
            ("https://1.1.1.1/dns-query", "paths are not allowed"),
            (
                "grpc://1.1.1.1",
                "'grpc' is not supported as a destination protocol",
            ),
            ("[::1", "failed to resolve"),
            ("[::1]x", "failed to resolve"),
            ("fe80::1%", "failed to resolve"),
            ("exa mple", "failed to resolve"),
            ("a{b", "failed to resolve"),
        ] {
            let error = Upstream::parse(text).expect_err(text);
            assert!(error.contains(fragment), "{text}: {error}");
        }
    }

    #[test]
    fn nameserver_lines_are_read() {
        let text =
            "# comment\nsearch a\nnameserver 192.0.2.1\n nameserver fe80::1%eth0\nnameserver x\n";
        assert_eq!(
            nameservers(text),
            [
                ("192.0.2.1".parse().expect("an address"), None),
                (
                    "fe80::1".parse().expect("an address"),
                    Some("eth0".to_owned())
                ),
            ]
        );
    }
}

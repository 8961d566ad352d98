//! Where an endpoint listens.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

/// An address to listen on; equal ones share a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listen {
    /// Every address of both families.
    Every(u16),
    /// This address.
    One(SocketAddr),
}

/// The text is no address to listen on.
#[derive(Debug, Error)]
#[error("address {addr}: {fault}")]
pub struct AddressError {
    /// The text.
    addr: String,
    /// What is wrong with it.
    fault: String,
}

// === impl AddressError ===

impl AddressError {
    /// The text.
    pub(super) fn addr(&self) -> &str {
        &self.addr
    }
}

// === impl Listen ===

impl Listen {
    /// Parses `host:port`, where host may be absent, an address, or a name.
    pub(super) fn resolve(typed: &str) -> Result<Self, AddressError> {
        let error = |fault: &str| AddressError {
            addr: typed.to_owned(),
            fault: fault.to_owned(),
        };
        let (host, port) = split_host_port(typed).map_err(error)?;
        let port: u16 = port.parse().map_err(|_| error("invalid port"))?;
        let ip = match host {
            "" | "::" => return Ok(Self::Every(port)),
            // It need not be in /etc/hosts, which a bare image lacks.
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            host => match host.parse::<IpAddr>() {
                Ok(ip) => ip,
                Err(_) => return look_up(host, port).map_err(|fault| error(&fault)),
            },
        };
        Ok(Self::One((ip, port).into()))
    }

    /// Whether one cannot listen here without sharing the port of a listener on
    /// `other`.
    pub(super) fn overlaps(self, other: SocketAddr) -> bool {
        let addr = self.socket_addr();
        let any = addr.ip().is_unspecified() || other.ip().is_unspecified();
        addr.port() == other.port() && (any || addr.ip() == other.ip())
    }

    /// Opens a listening socket, one that may share its port if `share` is set.
    pub(super) fn open(self, share: bool) -> io::Result<Socket> {
        match self {
            Self::One(addr) => open(addr, share),
            Self::Every(port) => match open(self.socket_addr(), share) {
                Err(error) if !is_final(&error) => {
                    // A host without IPv6.
                    open((Ipv4Addr::UNSPECIFIED, port).into(), share)
                }
                opened => opened,
            },
        }
    }

    /// The address for `bind`.
    fn socket_addr(self) -> SocketAddr {
        match self {
            Self::Every(port) => (Ipv6Addr::UNSPECIFIED, port).into(),
            Self::One(addr) => addr,
        }
    }
}

/// Opens a non-blocking listening socket on `addr`.
fn open(addr: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of an earlier process that are not forgotten yet do not count.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Whether an error of the dual-stack socket would befall any other too.
fn is_final(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied
    )
}

/// Splits as Go's `net.SplitHostPort` does, in its words.
fn split_host_port(typed: &str) -> Result<(&str, &str), &'static str> {
    let (host, port) = typed.rsplit_once(':').ok_or("missing port in address")?;
    if let Some(inner) = host.strip_prefix('[') {
        let host = inner.strip_suffix(']').ok_or("missing port in address")?;
        return Ok((host, port));
    }
    if host.contains(':') {
        return Err("too many colons in address");
    }
    Ok((host, port))
}

/// Looks up a name; an IPv4 address is preferred, as in Go.
fn look_up(host: &str, port: u16) -> Result<Listen, String> {
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|error| error.to_string())?;
    let found: Vec<SocketAddr> = found.collect();
    let ipv4 = found.iter().find(|addr| addr.is_ipv4());
    let chosen = ipv4
        .or_else(|| found.first())
        .ok_or("the name has no address")?;
    Ok(Listen::One(*chosen))
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_typed() {
        let one = |addr: &str| Listen::One(addr.parse().expect("a socket address"));
        let cases = [
            (":8080", Listen::Every(8080)),
            ("[::]:8080", Listen::Every(8080)),
            ("0.0.0.0:8080", one("0.0.0.0:8080")),
            ("127.0.0.1:9153", one("127.0.0.1:9153")),
            ("localhost:9153", one("127.0.0.1:9153")),
            ("[::1]:9153", one("[::1]:9153")),
            ("[2001:db8::1]:0", one("[2001:db8::1]:0")),
        ];
        for (typed, expected) in cases {
            assert_eq!(Listen::resolve(typed).expect(typed), expected, "{typed}");
        }
    }

    #[test]
    fn what_is_no_address_is_said_in_the_words_of_go() {
        let cases = [
            ("8080", "address 8080: missing port in address"),
            ("", "address : missing port in address"),
            ("[::1]", "address [::1]: missing port in address"),
            ("::1:8080", "address ::1:8080: too many colons in address"),
            (":http", "address :http: invalid port"),
            (":65536", "address :65536: invalid port"),
            (":", "address :: invalid port"),
        ];
        for (typed, expected) in cases {
            let error = Listen::resolve(typed).expect_err(typed);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn addresses_overlap_when_a_client_could_mean_both() {
        let cases = [
            (":1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "[::]:1", true),
            (":1", "0.0.0.0:1", true),
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            (":1", "127.0.0.1:2", false),
        ];
        for (typed, other, expected) in cases {
            let other = other.parse().expect("a socket address");
            let listen = Listen::resolve(typed).expect(typed);
            assert_eq!(listen.overlaps(other), expected, "{typed} {other}");
        }
    }
}

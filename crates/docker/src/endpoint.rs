//! Where a Docker Engine listens.

use std::fmt;
use std::path::Path;
use std::path::PathBuf;

/// Port of the Docker API without TLS.
const PLAIN_PORT: u16 = 2375;

/// Port of the Docker API over TLS.
const TLS_PORT: u16 = 2376;

/// Where a Docker Engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// Plain HTTP.
    Tcp(Authority),
    /// HTTP over TLS.
    Tls {
        /// Host and port.
        authority: Authority,
        /// Directory of `ca.pem` and, to authenticate ourselves, `cert.pem`
        /// and `key.pem`.
        cert_path: PathBuf,
    },
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Host name or address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why a text names no Docker Engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The scheme is none that we speak.
    #[error("unsupported scheme in {0:?}: use unix://, tcp://, http:// or https://")]
    UnsupportedScheme(String),
    /// The socket's path is missing or relative.
    #[error("{0:?} needs an absolute path, as in unix:///var/run/docker.sock")]
    BadPath(String),
    /// Host or port cannot be read.
    #[error("{0:?} needs a host and a port, as in tcp://docker.example.org:2375")]
    BadAuthority(String),
    /// TLS is asked for without saying where the certificates are.
    #[error("TLS to {0:?} needs DOCKER_CERT_PATH, a directory with ca.pem, cert.pem and key.pem")]
    MissingCertPath(String),
}

// === impl Endpoint ===

impl Endpoint {
    /// Reads an endpoint as `docker_socket` and `DOCKER_HOST` write it:
    /// `unix:///path`, `/path`, `tcp://host:port`, `http://host:port` or
    /// `https://host:port`, the last with certificates from `cert_path`.
    ///
    /// # Errors
    ///
    /// See [`EndpointError`].
    pub fn parse(url: &str, cert_path: Option<&Path>) -> Result<Self, EndpointError> {
        let url = url.trim();
        let Some((scheme, rest)) = url.split_once("://") else {
            return unix(url, url);
        };
        match scheme.to_ascii_lowercase().as_str() {
            "unix" => unix(url, rest),
            "tcp" | "http" => authority(url, rest, PLAIN_PORT).map(Self::Tcp),
            "https" => {
                let cert_path = cert_path
                    .ok_or_else(|| EndpointError::MissingCertPath(url.to_owned()))?
                    .to_owned();
                let authority = authority(url, rest, TLS_PORT)?;
                Ok(Self::Tls {
                    authority,
                    cert_path,
                })
            }
            _ => Err(EndpointError::UnsupportedScheme(url.to_owned())),
        }
    }

    /// Reads the environment of the Docker client: the values of
    /// `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`. There is no
    /// endpoint without a host. A `tcp` host is spoken to over TLS as soon as
    /// one of the other two says so; the certificate is verified in any case.
    ///
    /// # Errors
    ///
    /// See [`EndpointError`].
    pub fn from_env(
        host: Option<&str>,
        tls_verify: Option<&str>,
        cert_path: Option<&str>,
    ) -> Result<Option<Self>, EndpointError> {
        let Some(host) = present(host) else {
            return Ok(None);
        };
        let cert_path = present(cert_path).map(Path::new);
        let wants_tls = cert_path.is_some() || present(tls_verify).is_some();
        match host.split_once("://") {
            Some((scheme, rest)) if wants_tls && scheme.eq_ignore_ascii_case("tcp") => {
                let cert_path = cert_path
                    .ok_or_else(|| EndpointError::MissingCertPath(host.to_owned()))?
                    .to_owned();
                let authority = authority(host, rest, TLS_PORT)?;
                Ok(Some(Self::Tls {
                    authority,
                    cert_path,
                }))
            }
            _ => Self::parse(host, cert_path).map(Some),
        }
    }

    /// The socket's path, if it is one.
    pub(crate) fn socket_path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) | Self::Tls { .. } => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Tls { authority, .. } => write!(f, "https://{authority}"),
        }
    }
}

// === impl Authority ===

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A value of the environment, where an empty one is none.
fn present(value: Option<&str>) -> Option<&str> {
    value.map(str::trim).filter(|value| !value.is_empty())
}

/// A Unix socket by its absolute path.
fn unix(url: &str, path: &str) -> Result<Endpoint, EndpointError> {
    if path.len() < 2 || !path.starts_with('/') || path.contains('\0') {
        return Err(EndpointError::BadPath(url.to_owned()));
    }
    Ok(Endpoint::Unix(PathBuf::from(path)))
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`, perhaps with a final slash.
fn authority(url: &str, text: &str, default_port: u16) -> Result<Authority, EndpointError> {
    let bad = || EndpointError::BadAuthority(url.to_owned());
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(bad)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
            (
                host,
                rest.strip_prefix(':')
                    .or_else(|| rest.is_empty().then_some("")),
            )
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let port = match port.ok_or_else(bad)? {
        "" if text.ends_with(':') => return Err(bad()),
        "" => default_port,
        digits => digits.parse().map_err(|_| bad())?,
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if host.is_empty() || port == 0 || !host.chars().all(is_host) {
        return Err(bad());
    }
    Ok(Authority {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_docker_writes_them() {
        for (url, expected) in [
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("UNIX:///run/docker.sock", "unix:///run/docker.sock"),
            ("/run/podman/podman.sock", "unix:///run/podman/podman.sock"),
            (" /run/docker.sock ", "unix:///run/docker.sock"),
            ("tcp://192.0.2.1:2375", "tcp://192.0.2.1:2375"),
            ("tcp://socket-proxy", "tcp://socket-proxy:2375"),
            (
                "http://docker.example.org:80/",
                "tcp://docker.example.org:80",
            ),
            ("tcp://[2001:db8::1]:2375", "tcp://[2001:db8::1]:2375"),
            ("tcp://[2001:db8::1]", "tcp://[2001:db8::1]:2375"),
            (
                "https://docker.example.org",
                "https://docker.example.org:2376",
            ),
            ("https://192.0.2.1:1234", "https://192.0.2.1:1234"),
        ] {
            let endpoint = Endpoint::parse(url, Some(Path::new("/certs"))).unwrap();
            assert_eq!(endpoint.to_string(), expected, "{url}");
        }
    }

    #[test]
    fn endpoints_that_cannot_work_are_refused() {
        for url in [
            "",
            "unix://",
            "unix://relative/path",
            "docker.sock",
            "/",
            "tcp://",
            "tcp://:2375",
            "tcp://host:",
            "tcp://host:0",
            "tcp://host:65536",
            "tcp://host:port",
            "tcp://host/path",
            "tcp://2001:db8::1:2375",
            "tcp://[2001:db8::1",
            "tcp://[host]:1",
            "tcp://[::1]x",
            "tcp://user@host:1",
            "ssh://host",
            "npipe:////./pipe/docker_engine",
            "fd://",
        ] {
            assert!(Endpoint::parse(url, None).is_err(), "{url}");
        }
        assert_eq!(
            Endpoint::parse("https://host", None),
            Err(EndpointError::MissingCertPath("https://host".to_owned()))
        );
    }

    #[test]
    fn environment_of_the_docker_client_is_followed() {
        for (host, verify, certs, expected) in [
            (None, None, None, Ok(None)),
            (Some(""), Some("1"), Some("/certs"), Ok(None)),
            (
                Some("unix:///a.sock"),
                Some("1"),
                Some("/certs"),
                Ok(Some("unix:///a.sock")),
            ),
            (Some("tcp://h:2375"), None, None, Ok(Some("tcp://h:2375"))),
            (
                Some("tcp://h:2375"),
                Some(""),
                Some(""),
                Ok(Some("tcp://h:2375")),
            ),
            (
                Some("tcp://h:2376"),
                Some("1"),
                Some("/certs"),
                Ok(Some("https://h:2376")),
            ),
            (
                Some("tcp://h"),
                None,
                Some("/certs"),
                Ok(Some("https://h:2376")),
            ),
            (
                Some("https://h"),
                None,
                Some("/certs"),
                Ok(Some("https://h:2376")),
            ),
            (Some("tcp://h:2376"), Some("1"), None, Err(())),
            (Some("ssh://h"), None, None, Err(())),
        ] {
            let read = Endpoint::from_env(host, verify, certs)
                .map(|endpoint| endpoint.map(|endpoint| endpoint.to_string()))
                .map_err(|_| ());
            assert_eq!(
                read,
                expected.map(|text| text.map(str::to_owned)),
                "{host:?}"
            );
        }
    }
}

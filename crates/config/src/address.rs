//! Addresses to listen on: `host:port` with either part in Go's form.

use std::fmt;

/// Where an HTTP endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenAddress {
    /// An address or a host name; empty for every local address.
    pub host: String,
    /// TCP port, 0..=65535. 0 lets the system choose.
    pub port: u16,
}

/// Why a text is no address. The words are Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no colon.
    #[error("address {0}: missing port in address (write HOST:PORT or :PORT)")]
    MissingPort(String),
    /// An IPv6 address without brackets.
    #[error("address {0}: too many colons in address (an IPv6 address stands in brackets)")]
    TooManyColons(String),
    /// The port is none.
    #[error("address {0}: invalid port (a number up to 65535)")]
    InvalidPort(String),
}

// === impl ListenAddress ===

impl ListenAddress {
    /// Every local address, at a port.
    pub fn any(port: u16) -> Self {
        Self {
            host: String::new(),
            port,
        }
    }

    /// Reads `host:port`, `:port` or `[v6]:port`.
    ///
    /// # Errors
    ///
    /// When there is no port, or none of 0..=65535.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split_host_port(text)?;
        let port = port
            .parse()
            .map_err(|_| AddressError::InvalidPort(port.to_owned()))?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Splits a port off. An IPv6 address stands in brackets.
pub(crate) fn split_host_port(text: &str) -> Result<(&str, &str), AddressError> {
    let missing = || AddressError::MissingPort(text.to_owned());
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or_else(missing)?;
        return rest
            .strip_prefix(':')
            .map(|port| (host, port))
            .ok_or_else(missing);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(missing)?;
    if host.contains(':') {
        return Err(AddressError::TooManyColons(text.to_owned()));
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_host_and_port() {
        for (text, host, port) in [
            (":8080", "", 8080),
            ("localhost:1234", "localhost", 1234),
            ("127.0.0.1:0", "127.0.0.1", 0),
            ("[::1]:53", "::1", 53),
        ] {
            let address = ListenAddress::parse(text).expect(text);
            assert_eq!(
                (address.host.as_str(), address.port),
                (host, port),
                "{text}"
            );
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn complains_in_go_words() {
        for (text, message) in [
            (
                "8080",
                "address 8080: missing port in address (write HOST:PORT or :PORT)",
            ),
            (
                "bla",
                "address bla: missing port in address (write HOST:PORT or :PORT)",
            ),
            (
                "[::1]",
                "address [::1]: missing port in address (write HOST:PORT or :PORT)",
            ),
            (
                "[::1",
                "address [::1: missing port in address (write HOST:PORT or :PORT)",
            ),
            (
                ":80800",
                "address 80800: invalid port (a number up to 65535)",
            ),
            ("bla:a", "address a: invalid port (a number up to 65535)"),
            (
                "localhost:",
                "address : invalid port (a number up to 65535)",
            ),
        ] {
            assert_eq!(
                ListenAddress::parse(text).expect_err(text).to_string(),
                message
            );
        }
        assert!(ListenAddress::parse("::1:53").is_err());
    }
}

//! Why an exchange with an upstream failed.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use portolan_proto::Rcode;

/// A failed exchange, told as operators know it:
/// `read udp 192.0.2.1:40000->192.0.2.53:53: i/o timeout`.
#[derive(Debug)]
pub(crate) struct ExchangeError {
    /// At which step.
    pub(crate) step: Step,
    /// `udp`, `tcp`, `tcp-tls` or `https`.
    pub(crate) network: &'static str,
    /// Our end, once there is one.
    pub(crate) local: Option<SocketAddr>,
    /// The upstream.
    pub(crate) peer: SocketAddr,
    /// What happened.
    pub(crate) cause: Cause,
}

/// Step of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Getting a socket or a connection.
    Dial,
    /// Sending the query.
    Write,
    /// Waiting for the response.
    Read,
}

/// A step that failed.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// At which step.
    pub(crate) step: Step,
    /// What happened.
    pub(crate) cause: Cause,
}

/// What made an exchange fail.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    /// Nothing came in time.
    Timeout,
    /// The system or the network says no.
    Io(Arc<io::Error>),
    /// The upstream does not prove its name, or does not speak TLS.
    Tls(Arc<str>),
    /// The upstream does not answer as RFC 8484 wants it.
    Http(Arc<str>),
    /// The upstream closed the connection.
    Closed,
    /// The response on a connection is not to this query, or malformed.
    Mismatch,
    /// The name came back in another spelling: a forger's, or that of an
    /// upstream which does not keep it.
    Spelling,
    /// The upstream does not read queries with EDNS.
    NoEdns,
    /// The response code concerns this hop alone (RFC 6895 §2.3).
    HopRcode(Rcode),
    /// The response code says that the upstream cannot do its work.
    Unwell(Rcode),
}

// === impl ExchangeError ===

impl ExchangeError {
    /// Whether the fault is this host's, so that it says nothing about the
    /// upstream: no descriptors, no buffers, no such source address.
    pub(crate) fn is_local(&self) -> bool {
        // EMFILE, ENFILE, ENOMEM, ENOBUFS by number: std has no names for
        // most of them.
        match &self.cause {
            Cause::Io(error) => {
                matches!(error.raw_os_error(), Some(23 | 24 | 12 | 105))
                    || error.kind() == io::ErrorKind::AddrNotAvailable
            }
            Cause::Timeout
            | Cause::Tls(_)
            | Cause::Http(_)
            | Cause::Closed
            | Cause::Mismatch
            | Cause::Spelling
            | Cause::NoEdns
            | Cause::HopRcode(_)
            | Cause::Unwell(_) => false,
        }
    }

    /// Whether the upstream was reached, and what it said is of no use.
    pub(crate) fn is_reached(&self) -> bool {
        match self.cause {
            Cause::Timeout | Cause::Io(_) => false,
            Cause::Tls(_)
            | Cause::Http(_)
            | Cause::Closed
            | Cause::Mismatch
            | Cause::Spelling
            | Cause::NoEdns
            | Cause::HopRcode(_)
            | Cause::Unwell(_) => true,
        }
    }

    /// Whether nobody takes what is sent to the upstream over UDP, as ICMP says.
    pub(crate) fn is_refusal(&self) -> bool {
        let is_refusal = |kind| {
            matches!(
                kind,
                io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable
            )
        };
        self.network == "udp" && matches!(&self.cause, Cause::Io(error) if is_refusal(error.kind()))
    }

    /// Whether the upstream is reachable all the same: it answered, though
    /// not what is of use.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self.cause, Cause::NoEdns | Cause::HopRcode(_))
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::Dial => "dial",
            Step::Write => "write",
            Step::Read => "read",
        };
        write!(f, "{step} {} ", self.network)?;
        if let Some(local) = self.local {
            write!(f, "{local}->")?;
        }
        write!(f, "{}: ", self.peer)?;
        match &self.cause {
            // Go names the system call that failed, and so does what operators
            // match.
            Cause::Io(error) if error.kind() != io::ErrorKind::TimedOut => {
                let call = if self.step == Step::Dial {
                    "connect"
                } else {
                    step
                };
                write!(f, "{call}: {}", self.cause)
            }
            cause => cause.fmt(f),
        }
    }
}

impl std::error::Error for ExchangeError {}

// === impl Fault ===

impl Fault {
    /// A step that failed.
    pub(crate) fn new(step: Step, cause: Cause) -> Self {
        Self { step, cause }
    }

    /// Whether a connection that was there has been lost, so that another one
    /// may do.
    pub(crate) fn is_connection_lost(&self) -> bool {
        self.step != Step::Dial && matches!(self.cause, Cause::Closed | Cause::Io(_))
    }
}

// === impl Cause ===

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("i/o timeout"),
            Self::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => f.write_str("connection refused"),
                io::ErrorKind::TimedOut => f.write_str("i/o timeout"),
                _ => error.fmt(f),
            },
            Self::Tls(reason) => write!(f, "tls: {reason}"),
            Self::Http(reason) => write!(f, "http: {reason}"),
            Self::Closed => f.write_str("connection closed by the upstream"),
            Self::Mismatch => f.write_str("response does not match the query"),
            Self::Spelling => f.write_str("response spells the name in another way"),
            Self::NoEdns => f.write_str("upstream does not speak EDNS"),
            Self::HopRcode(rcode) | Self::Unwell(rcode) => write!(f, "upstream answered {rcode}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_the_words_operators_match() {
        let mut error = ExchangeError {
            step: Step::Read,
            network: "udp",
            local: Some("127.0.0.1:48495".parse().unwrap()),
            peer: "127.0.0.1:5351".parse().unwrap(),
            cause: Cause::Timeout,
        };
        assert_eq!(
            error.to_string(),
            "read udp 127.0.0.1:48495->127.0.0.1:5351: i/o timeout"
        );
        error.local = None;
        error.cause = io::Error::from(io::ErrorKind::ConnectionRefused).into();
        assert_eq!(
            error.to_string(),
            "read udp 127.0.0.1:5351: read: connection refused"
        );
        error.step = Step::Dial;
        error.network = "tcp";
        assert_eq!(
            error.to_string(),
            "dial tcp 127.0.0.1:5351: connect: connection refused"
        );
    }

    #[test]
    fn a_lack_of_descriptors_is_not_held_against_the_upstream() {
        let error = |cause| ExchangeError {
            step: Step::Dial,
            network: "udp",
            local: None,
            peer: "127.0.0.1:53".parse().unwrap(),
            cause,
        };
        assert!(error(io::Error::from_raw_os_error(24).into()).is_local());
        assert!(!error(io::Error::from_raw_os_error(111).into()).is_local());
        assert!(!error(Cause::Timeout).is_local());
    }
}

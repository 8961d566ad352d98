//! Zones as they are written: names, and address ranges that stand for their
//! reverse zones.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_proto::Name;

/// A zone as written, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZoneText<'t> {
    /// The scheme, without `://`.
    pub(crate) scheme: Option<&'t str>,
    /// The name or address range.
    pub(crate) zone: &'t str,
    /// The text after the last colon if it is made of digits.
    pub(crate) port: Option<&'t str>,
}

/// Why a text is no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ZoneError {
    /// A colon with nothing behind it.
    #[error("expecting data after last colon: {0:?} (a port, as in '.:53')")]
    MissingPort(String),
    /// What follows the colon is no port, and no name holds a colon.
    #[error("zone is not a valid domain name: {zone} (port '{port}' is not a number)")]
    PortNotNumber {
        /// The whole text.
        zone: String,
        /// What follows the colon.
        port: String,
    },
    /// An IPv6 address.
    #[error("{0} is an address, not a zone: its reverse zone is written {0}/128")]
    Address(IpAddr),
    /// The length of an address range is no number, or too long.
    #[error("zone is not a valid domain name: {0} (not a valid address range)")]
    BadRange(String),
    /// A brace in a name.
    #[error("zone is not a valid domain name: {0} (missing space before a brace?)")]
    Brace(String),
    /// Not a name.
    #[error("zone is not a valid domain name: {zone} ({reason})")]
    BadName {
        /// The text.
        zone: String,
        /// What the name reader says.
        reason: portolan_proto::NameError,
    },
}

// === impl ZoneText ===

impl<'t> ZoneText<'t> {
    /// Takes `[scheme://]zone[:port]` apart.
    pub(crate) fn split(text: &'t str) -> Result<Self, ZoneError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let (zone, port) = match rest.rsplit_once(':') {
            // The last group of an IPv6 address is no port.
            _ if rest.parse::<IpAddr>().is_ok() => (rest, None),
            Some((_, "")) => return Err(ZoneError::MissingPort(rest.to_owned())),
            Some((zone, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => {
                (zone, Some(port))
            }
            _ => (rest, None),
        };
        Ok(Self { scheme, zone, port })
    }
}

/// The zones a text stands for: one for a name, one or more for a range of
/// addresses. Scheme and port do not matter.
pub(crate) fn zones_of(text: &str) -> Result<Vec<Name>, ZoneError> {
    expand(ZoneText::split(text)?.zone)
}

/// The zones that a name or an address range without scheme and port stands
/// for.
pub(crate) fn expand(zone: &str) -> Result<Vec<Name>, ZoneError> {
    if let Ok(range) = zone.parse::<IpNet>() {
        return Ok(reverse_zones(range));
    }
    if zone.contains(['{', '}']) {
        return Err(ZoneError::Brace(zone.to_owned()));
    }
    if zone
        .split_once('/')
        .is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok())
    {
        return Err(ZoneError::BadRange(zone.to_owned()));
    }
    if zone.contains(':') {
        return Err(match zone.parse::<IpAddr>() {
            Ok(address) => ZoneError::Address(address),
            Err(_) => ZoneError::PortNotNumber {
                zone: zone.to_owned(),
                port: zone.rsplit(':').next().unwrap_or_default().to_owned(),
            },
        });
    }
    Name::from_ascii_or_idn(zone)
        .map(|name| vec![name])
        .map_err(|reason| ZoneError::BadName {
            zone: zone.to_owned(),
            reason,
        })
}

/// The reverse zones of a range, split on the next octet (IPv4) or nibble
/// (IPv6).
fn reverse_zones(range: IpNet) -> Vec<Name> {
    // A zone cut falls between labels: RFC 1035 §3.5 makes one of each octet,
    // RFC 3596 §2.5 one of each nibble.
    let step = match range {
        IpNet::V4(_) => 8,
        IpNet::V6(_) => 4,
    };
    let length = range
        .prefix_len()
        .next_multiple_of(step)
        .min(range.max_prefix_len());
    let dropped = usize::from((range.max_prefix_len() - length) / step);
    let Ok(subnets) = range.trunc().subnets(length) else {
        return Vec::new();
    };
    subnets
        .filter_map(|subnet| {
            let mut name = Name::reverse(subnet.addr());
            for _ in 0..dropped {
                name = name.parent()?;
            }
            Some(name)
        })
        .collect()
}

/// Whether a zone follows the preferred syntax of RFC 1035 §2.3.1, or is one
/// that need not: the root, or a reverse zone.
pub(crate) fn is_preferred_syntax(zone: &Name) -> bool {
    let text = zone.to_string();
    let is_reverse = text.ends_with("in-addr.arpa.") || text.ends_with("ip6.arpa.");
    zone.is_root() || is_reverse || zone.labels().all(is_preferred_label)
}

/// Whether a label is a letter, then letters, digits and hyphens, then no
/// hyphen.
fn is_preferred_label(label: &[u8]) -> bool {
    label.first().is_some_and(u8::is_ascii_alphabetic)
        && label.last().is_some_and(u8::is_ascii_alphanumeric)
        && label
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The zones of a text, as text.
    fn names(text: &str) -> Vec<String> {
        let zones = zones_of(text).expect(text);
        zones.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_become_reverse_zones() {
        for (text, expected) in [
            ("10.0.0.0/24", &["0.0.10.in-addr.arpa."][..]),
            (
                "10.0.0.0/22:53",
                &[
                    "0.0.10.in-addr.arpa.",
                    "1.0.10.in-addr.arpa.",
                    "2.0.10.in-addr.arpa.",
                    "3.0.10.in-addr.arpa.",
                ],
            ),
            ("10.0.0.0/15", &["0.10.in-addr.arpa.", "1.10.in-addr.arpa."]),
            (
                "192.168.1.1/23",
                &["0.168.192.in-addr.arpa.", "1.168.192.in-addr.arpa."],
            ),
            ("10.0.0.7/32", &["7.0.0.10.in-addr.arpa."]),
            ("0.0.0.0/0", &["in-addr.arpa."]),
            ("2001:db8::/32:53", &["8.b.d.0.1.0.0.2.ip6.arpa."]),
            (
                "2001:db8::/31",
                &["8.b.d.0.1.0.0.2.ip6.arpa.", "9.b.d.0.1.0.0.2.ip6.arpa."],
            ),
            ("::/0", &["ip6.arpa."]),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
        assert_eq!(names("10.0.0.0/27").len(), 32);
        assert_eq!(names("192.168.1.0/25").len(), 128);
    }

    #[test]
    fn names_are_lower_case_and_absolute() {
        for (text, expected) in [
            (".", "."),
            ("EXAMPLE.org", "example.org."),
            ("example.org.:5310", "example.org."),
            ("dns://c", "c."),
            ("10.0.0.1", "10.0.0.1."),
            ("0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa."),
        ] {
            assert_eq!(names(text), [expected], "{text}");
        }
    }

    #[test]
    fn misreadings_are_refused() {
        for text in [
            "",
            "example..org",
            "localhost:abc",
            "2001:db8::1",
            "a{",
            "{}",
            "10.0.0.0/33",
            ".:",
        ] {
            assert!(zones_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn preferred_syntax_exempts_root_and_reverse() {
        for (zone, preferred) in [
            (".", true),
            ("example.org", true),
            ("a-b.c1", true),
            ("0.10.in-addr.arpa", true),
            ("10.0.0.1", false),
            ("_tcp.example.org", false),
            ("a-.org", false),
        ] {
            let name = Name::from_ascii_or_idn(zone).expect(zone);
            assert_eq!(is_preferred_syntax(&name), preferred, "{zone}");
        }
    }
}

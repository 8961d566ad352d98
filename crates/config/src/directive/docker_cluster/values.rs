//! The values of the `cluster_…` properties and variables.
//!
//! Each function reads one text. Its error is what follows
//! `invalid PROPERTY: `, for the file and the environment alike.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use portolan_proto::Name;

use crate::directive::docker_cluster::cluster::ClusterAddress;
use crate::directive::docker_cluster::cluster::ClusterSeed;
use crate::directive::docker_cluster::cluster::DISCOVERY_PORT;
use crate::duration::SignedDuration;
use crate::words::parse_integer;
use crate::zone::zones_of;

/// The membership port a text says.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let number = parse_integer(text).ok_or_else(|| text.to_owned())?;
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("cluster port must be between 1 and 65535, got {text}"))
}

/// The discovery port a text says; 0 is the default.
pub(super) fn discovery_port(text: &str) -> Result<u16, String> {
    let port = parse_integer(text)
        .and_then(|port| u16::try_from(port).ok())
        .ok_or_else(|| text.to_owned())?;
    Ok(if port == 0 { DISCOVERY_PORT } else { port })
}

/// The members of a list; empty parts count for nothing.
pub(super) fn seeds(text: &str) -> Result<Vec<ClusterSeed>, String> {
    list(text)
        .map(|seed| ClusterSeed::parse(seed).ok_or_else(|| format!("{seed} (host:port)")))
        .collect()
}

/// The address to bind.
pub(super) fn bind_address(text: &str) -> Result<IpAddr, String> {
    let address: Option<IpAddr> = text.parse().ok();
    let one = |address: &IpAddr| !(address.is_multicast() || *address == BROADCAST);
    address
        .filter(one)
        .ok_or_else(|| format!("{text} (an address of this host, or 0.0.0.0 or ::)"))
}

/// The name of a member.
pub(super) fn node_name(text: &str) -> Result<String, String> {
    let shown = |c: char| !c.is_control() && !c.is_whitespace() && c != '#';
    if !text.is_empty() && text.len() <= MAX_NODE_NAME && text.chars().all(shown) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} (1 to {MAX_NODE_NAME} octets, without spaces and '#')"
    ))
}

/// The address that others reach us by.
pub(super) fn advertise_address(text: &str) -> Result<ClusterAddress, String> {
    let read = match text.parse::<SocketAddr>() {
        Ok(both) if both.port() > 0 => Some((both.ip(), Some(both.port()))),
        Ok(_) => None,
        Err(_) => text.parse().ok().map(|address| (address, None)),
    };
    let reachable = |address: &IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => {
            !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
        }
        IpAddr::V6(address) => !(address.is_unspecified() || address.is_multicast()),
    };
    read.filter(|(address, _)| reachable(address))
        .map(|(address, port)| ClusterAddress { address, port })
        .ok_or_else(|| {
            format!("{text} (one address of this host, such as 192.0.2.1 or [2001:db8::1]:7946)")
        })
}

/// The label of a cluster.
pub(super) fn label(text: &str) -> Result<String, String> {
    let printable = text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
    if printable && LABEL_LENGTHS.contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} ({} to {} printable ASCII characters)",
        LABEL_LENGTHS.start(),
        LABEL_LENGTHS.end()
    ))
}

/// The networks of a list; an address is a network of one.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let networks = list(text).map(|item| {
        item.parse::<IpNet>()
            .map(|network| network.trunc())
            .or_else(|_| item.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| format!("{item} (a network such as 192.0.2.0/24, or an address)"))
    });
    not_empty(text, networks.collect::<Result<_, _>>()?)
}

/// The zones of a list.
pub(super) fn zones(text: &str) -> Result<Vec<Name>, String> {
    let mut zones = Vec::new();
    for item in list(text) {
        if item.starts_with("*.") {
            return Err(format!(
                "{item} (a zone holds all names below it: no wildcard)"
            ));
        }
        if item.parse::<IpNet>().is_ok() {
            return Err(format!(
                "{item} (a name: addresses are judged by the names they answer with)"
            ));
        }
        zones.extend(zones_of(item).map_err(|error| error.to_string())?);
    }
    not_empty(text, zones)
}

/// How long the records of a member that failed are kept.
pub(super) fn dead_hold(text: &str) -> Result<Duration, String> {
    hold(text, Duration::from_secs(24 * 60 * 60), "24h")
}

/// How long the records of a member that left are kept.
pub(super) fn leave_hold(text: &str) -> Result<Duration, String> {
    hold(text, Duration::from_secs(60), "60s")
}

/// How many records a member may have.
pub(super) fn max_records(text: &str) -> Result<usize, String> {
    parse_integer(text)
        .and_then(|number| usize::try_from(number).ok())
        .filter(|number| MAX_RECORDS.contains(number))
        .ok_or_else(|| {
            let (least, most) = (MAX_RECORDS.start(), MAX_RECORDS.end());
            format!("{text} ({least} to {most})")
        })
}

/// The items of a list with commas or white space.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|item| !item.is_empty())
}

/// A duration of zero up to a longest one, which is also given as text.
fn hold(text: &str, longest: Duration, shown: &str) -> Result<Duration, String> {
    let duration = SignedDuration::parse(text).map_err(|error| error.to_string())?;
    duration
        .non_negative()
        .filter(|duration| *duration <= longest)
        .ok_or_else(|| format!("{text} (0s to {shown})"))
}

/// Refuses a list without items: what restricts must not come to mean no
/// restriction.
fn not_empty<T>(text: &str, items: Vec<T>) -> Result<Vec<T>, String> {
    if items.is_empty() {
        return Err(format!("{text:?} (a list of nothing)"));
    }
    Ok(items)
}

/// How long a label may be, in octets.
const LABEL_LENGTHS: RangeInclusive<usize> = 1..=128;

/// The numbers `cluster_max_records` may be.
const MAX_RECORDS: RangeInclusive<usize> = 1..=1_000_000;

/// Longest name of a member, in octets.
const MAX_NODE_NAME: usize = 128;

/// The address that means all hosts (RFC 919).
const BROADCAST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_hosts_with_an_optional_port() {
        let seed = |host: &str, port| ClusterSeed {
            host: host.to_owned(),
            port,
        };
        assert_eq!(
            seeds("192.0.2.1:7946, node2:1, node3 ,[2001:db8::1]:7,2001:db8::2 node4,"),
            Ok(vec![
                seed("192.0.2.1", Some(7946)),
                seed("node2", Some(1)),
                seed("node3", None),
                seed("2001:db8::1", Some(7)),
                seed("2001:db8::2", None),
                seed("node4", None),
            ])
        );
        for bad in [
            "node:0",
            "node:port",
            "node:99999",
            "tcp://node:1",
            "a:b:c",
            ":1",
            "node:",
            "node:+1",
            "node:-1",
            "node:1.5",
            "node:0x1",
            "node:7946:7946",
            "http://node",
            "node/24",
            "192.0.2.0/24",
            "192.0.2.300",
            "192.0.2",
            "192.0.2.1.1:7946",
            "[2001:db8::1",
            "2001:db8::1]:1",
            "2001:db8::g",
            "user@node",
            "node..lan",
            ".lan",
            "*.lan",
            "-node",
            "node-",
            "\"node\"",
            "n\u{f6}de",
            "{$SEEDS}",
        ] {
            assert_eq!(seeds(bad), Err(format!("{bad} (host:port)")), "{bad}");
        }
        let long = format!("{}.lan", "x".repeat(64));
        assert_eq!(seeds(&long), Err(format!("{long} (host:port)")));
        for good in ["a,", ",b", "tasks.joyride", "node_1.lan.", "7946.lan:1"] {
            assert_eq!(seeds(good).map(|seeds| seeds.len()), Ok(1), "{good}");
        }
    }

    #[test]
    fn an_advertised_address_has_an_optional_port() {
        for (text, address, port) in [
            ("192.0.2.1", "192.0.2.1", None),
            ("192.0.2.1:7", "192.0.2.1", Some(7)),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]:65535", "2001:db8::1", Some(65535)),
            ("127.0.0.1:7946", "127.0.0.1", Some(7946)),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(
                advertise_address(text),
                Ok(ClusterAddress { address, port }),
                "{text}"
            );
        }
        for bad in [
            "node",
            "node:7946",
            "192.0.2.1:0",
            "192.0.2.1:65536",
            "192.0.2.1/24",
            "192.0.2.1,192.0.2.2",
            "0.0.0.0",
            "0.0.0.0:7946",
            "::",
            "::ffff:0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "[ff02::1]:7946",
        ] {
            assert!(advertise_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_label_is_short_printable_text() {
        let longest = "x".repeat(128);
        for good in ["home", "a b ~!", longest.as_str()] {
            assert_eq!(label(good).as_deref(), Ok(good));
        }
        for bad in ["", "a\tb", "a\u{7f}", "caf\u{e9}", &"x".repeat(129)] {
            assert!(label(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn networks_have_commas_or_spaces_between_them() {
        let shown = |text: &str| {
            networks(text).map(|networks| networks.iter().map(ToString::to_string).collect())
        };
        assert_eq!(
            shown("192.0.2.0/24,198.51.100.7  2001:db8::1/32 ,2001:db8::1"),
            Ok(vec![
                "192.0.2.0/24".to_owned(),
                "198.51.100.7/32".to_owned(),
                "2001:db8::/32".to_owned(),
                "2001:db8::1/128".to_owned(),
            ])
        );
        for bad in ["192.0.2.0/33", "x", "192.0.2.0/24,x", "", " , "] {
            assert!(networks(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn zones_are_names() {
        let shown =
            |text: &str| zones(text).map(|zones| zones.iter().map(ToString::to_string).collect());
        assert_eq!(
            shown("example.org, lan."),
            Ok(vec!["example.org.".to_owned(), "lan.".to_owned()])
        );
        for bad in ["a..b", "192.0.2.0/24", ",", "*.example.org"] {
            assert!(zones(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_member_has_a_name_that_can_be_shown() {
        for good in ["node-1", "host.example.org", "é"] {
            assert_eq!(node_name(good), Ok(good.to_owned()));
        }
        for bad in ["", "a b", "a#1", "a\n", &"x".repeat(129)] {
            assert!(node_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_address_to_bind_is_one_of_a_host() {
        for good in ["0.0.0.0", "::", "192.0.2.1", "::1"] {
            assert!(bind_address(good).is_ok(), "{good}");
        }
        for bad in ["224.0.0.1", "ff02::1", "255.255.255.255", "node1", ""] {
            assert!(bind_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hold_ends_at_its_bound() {
        for (text, expected) in [("0", 0), ("0s", 0), ("1m", 60_000), ("400ms", 400)] {
            assert_eq!(leave_hold(text), Ok(Duration::from_millis(expected)));
        }
        assert_eq!(dead_hold("24h"), Ok(Duration::from_secs(86_400)));
        for (text, problem) in [
            ("60001ms", "60001ms (0s to 60s)"),
            ("-1s", "-1s (0s to 60s)"),
            ("5", "time: missing unit in duration \"5\" (as in \"5s\")"),
        ] {
            assert_eq!(leave_hold(text), Err(problem.to_owned()));
        }
        let problem = "24h1ns (0s to 24h)".to_owned();
        assert_eq!(dead_hold("24h1ns"), Err(problem));
    }

    #[test]
    fn records_are_counted_from_one_to_a_million() {
        assert_eq!(
            (max_records("1"), max_records("1000000")),
            (Ok(1), Ok(1_000_000))
        );
        for bad in ["0", "1000001", "-1", "x", ""] {
            assert_eq!(max_records(bad), Err(format!("{bad} (1 to 1000000)")));
        }
    }
}

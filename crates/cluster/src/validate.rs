//! What a member may claim.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_table::Row;

/// Longest TTL (RFC 2181 §8).
const MAX_TTL: u32 = i32::MAX as u32;

/// Where the names of addresses are.
const REVERSE_ZONES: [&[u8]; 2] = [b"\x07in-addr\x04arpa\x00", b"\x03ip6\x04arpa\x00"];

/// Whether a member may claim a record; if not, why.
///
/// The names of addresses are held to the reverse zones: a name that exists
/// answers for all its types, so that one such record anywhere else would hide
/// what that name really has.
pub(crate) fn check(row: &Row, zones: &[Name]) -> Result<(), &'static str> {
    if row.ttl > MAX_TTL {
        return Err("a TTL beyond 2^31-1");
    }
    check_name(&row.owner)?;
    let subject = match &row.rdata {
        Rdata::A(address) => check_address(IpAddr::V4(*address)).map(|()| &row.owner)?,
        Rdata::Aaaa(address) => check_address(IpAddr::V6(*address)).map(|()| &row.owner)?,
        Rdata::Cname(target) => check_target(target).map(|()| &row.owner)?,
        Rdata::Ptr(target) => {
            if !REVERSE_ZONES
                .iter()
                .any(|zone| row.owner.as_wire().ends_with(zone))
            {
                return Err("a PTR outside the reverse zones");
            }
            check_target(target).map(|()| target)?
        }
    };
    if zones.is_empty() || zones.iter().any(|zone| subject.is_within(zone)) {
        Ok(())
    } else {
        Err("a name outside `allowed_zones`")
    }
}

/// Whether a name is one that hosts have, or a wildcard below one.
fn check_name(name: &Name) -> Result<(), &'static str> {
    let mut labels = name.labels();
    let Some(first) = labels.next() else {
        return Err("the root as a name");
    };
    if first == b"*" {
        if name.label_count() == 1 {
            return Err("a wildcard below the root");
        }
    } else if !is_plain(first) {
        return Err("a name that no host has");
    }
    if labels.all(is_plain) {
        Ok(())
    } else {
        Err("a name that no host has")
    }
}

/// Whether a name is one that hosts have.
fn check_target(name: &Name) -> Result<(), &'static str> {
    if name.is_wildcard() {
        return Err("a wildcard as a target");
    }
    check_name(name)
}

/// Whether a label has letters, digits, hyphens and underscores only.
fn is_plain(label: &[u8]) -> bool {
    let plain = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    label.iter().all(plain)
}

/// Whether an address is one that a host can have on a network.
fn check_address(address: IpAddr) -> Result<(), &'static str> {
    let address = address.to_canonical();
    let is_bad = address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if is_bad {
        Err("an address that no host has")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_hosts_have_are_taken() {
        for row in [
            row("web.example.org", "192.0.2.1"),
            row("*.example.org", "2001:db8::1"),
            row("_x-1.a", "169.254.1.1"),
            row("a", "fe80::1"),
            cname("a.example", "b.example"),
            ptr("1.2.0.192.in-addr.arpa", "web.example"),
            ptr("1.ip6.arpa", "web.example"),
        ] {
            assert_eq!(check(&row, &[]), Ok(()), "{row:?}");
        }
    }

    #[test]
    fn records_that_no_host_has_are_refused() {
        let mut forever = row("a", "192.0.2.1");
        forever.ttl = 1 << 31;
        for row in [
            forever,
            row(".", "192.0.2.1"),
            row("*", "192.0.2.1"),
            row("a.*.b", "192.0.2.1"),
            row("a!.b", "192.0.2.1"),
            row("a\"b", "192.0.2.1"),
            row("a", "0.0.0.0"),
            row("a", "127.0.0.1"),
            row("a", "224.0.0.1"),
            row("a", "255.255.255.255"),
            row("a", "::"),
            row("a", "::1"),
            row("a", "ff02::1"),
            row("a", "::ffff:127.0.0.1"),
            row("a", "::ffff:255.255.255.255"),
            cname("a", "."),
            cname("a", "*.b"),
            cname("a", "b/c"),
            ptr("web.example", "b"),
            ptr("1.ip6.arpa", "."),
        ] {
            assert!(check(&row, &[]).is_err(), "{row:?}");
        }
    }

    #[test]
    fn zones_hold_names_and_the_targets_of_reverse_names() {
        let zones = ["lan".parse().unwrap(), "b.example".parse().unwrap()];
        for (row, fits) in [
            (row("a.lan", "192.0.2.1"), true),
            (row("lan", "192.0.2.1"), true),
            (row("*.lan", "192.0.2.1"), true),
            (row("xlan", "192.0.2.1"), false),
            (row("a.example", "192.0.2.1"), false),
            (cname("a.b.example", "c.example"), true),
            (ptr("1.in-addr.arpa", "c.lan"), true),
            (ptr("1.in-addr.arpa", "c.example"), false),
        ] {
            assert_eq!(check(&row, &zones).is_ok(), fits, "{row:?}");
        }
    }

    /// An address record.
    fn row(owner: &str, address: &str) -> Row {
        let address: IpAddr = address.parse().unwrap();
        with(owner, address.into())
    }

    /// An alias.
    fn cname(owner: &str, target: &str) -> Row {
        with(owner, Rdata::Cname(target.parse().unwrap()))
    }

    /// The name of an address.
    fn ptr(owner: &str, target: &str) -> Row {
        with(owner, Rdata::Ptr(target.parse().unwrap()))
    }

    /// A record.
    fn with(owner: &str, rdata: Rdata) -> Row {
        let owner = owner.parse().unwrap();
        Row {
            owner,
            rdata,
            ttl: 60,
        }
    }
}

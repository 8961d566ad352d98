//! The addresses that this host is reached by.
//!
//! The address that the default route sends from is what other machines know
//! the host by. The kernel is asked by connecting a UDP socket, which sends
//! nothing. What it answers is checked: an address that nobody else can reach
//! is refused or, where it may be meant, reported.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::path::Path;

use nix::ifaddrs::getifaddrs;

/// Where no packet is sent to: addresses behind the default route, the ones
/// for documentation first (RFC 5737, RFC 3849), public ones in case the
/// former are filtered.
const PROBES: [[IpAddr; 2]; 2] = [
    [
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)),
    ],
    [
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        IpAddr::V6(Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe)),
    ],
];

/// The kernel's table of IPv6 addresses.
const IF_INET6: &str = "/proc/net/if_inet6";

/// Flag of an address that is replaced every so often (RFC 8981).
const IFA_F_TEMPORARY: u8 = 0x01;

/// Flags of an address that should not be used: deprecated, tentative,
/// duplicate.
const IFA_F_UNUSABLE: u8 = 0x20 | 0x40 | 0x08;

/// Why no address was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// There is no default route, or only addresses that others cannot reach.
    #[error("no address that other hosts can reach was found: set HOSTIP or host_ip")]
    NoAddress,
}

/// An address, and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    /// The address that the default route sends from.
    address: IpAddr,
    /// The interface that has it.
    interface: Option<String>,
}

/// An address of the kernel's IPv6 table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Inet6 {
    /// The address.
    address: Ipv6Addr,
    /// Its flags.
    flags: u8,
    /// The interface that has it.
    interface: String,
}

/// Finds the addresses that the default routes of IPv4 and IPv6 send from. An
/// address that is likely wrong is logged with a warning.
///
/// # Errors
///
/// [`DetectError::NoAddress`] if there is none that others can reach; it never
/// settles for an unspecified, loopback or link-local one.
pub fn detect_host_ips() -> Result<Vec<IpAddr>, DetectError> {
    let inet6 = std::fs::read_to_string(IF_INET6).map_or_else(|_| Vec::new(), |t| parse_inet6(&t));
    let candidates: Vec<Candidate> = PROBES
        .iter()
        .filter_map(|probes| probes.iter().find_map(|probe| source_address(*probe).ok()))
        .filter_map(|address| stable(address, &inet6))
        .map(|address| Candidate {
            address,
            interface: interface_of(address),
        })
        .collect();
    let in_container = ["/.dockerenv", "/run/.containerenv"]
        .map(Path::new)
        .iter()
        .any(|p| p.exists());
    let (addresses, warnings) = choose(&candidates, in_container);
    for (address, reason) in warnings {
        tracing::warn!(plugin = "docker-cluster", %address, "detected host IP: {reason}");
    }
    if addresses.is_empty() {
        Err(DetectError::NoAddress)
    } else {
        Ok(addresses)
    }
}

/// The address that packets to `probe` would come from.
fn source_address(probe: IpAddr) -> io::Result<IpAddr> {
    let local: IpAddr = match probe {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(local, 0))?;
    socket.connect(SocketAddr::new(probe, 53))?;
    Ok(socket.local_addr()?.ip())
}

/// The interface that has an address.
fn interface_of(address: IpAddr) -> Option<String> {
    getifaddrs().ok()?.find_map(|interface| {
        let storage = interface.address?;
        let v4 = storage
            .as_sockaddr_in()
            .map(|socket| IpAddr::V4(socket.ip()));
        let v6 = storage
            .as_sockaddr_in6()
            .map(|socket| IpAddr::V6(socket.ip()));
        (v4.or(v6) == Some(address)).then_some(interface.interface_name)
    })
}

/// Reads the kernel's table of IPv6 addresses: address, index, prefix length,
/// scope and flags in hexadecimal digits, and the interface's name.
fn parse_inet6(text: &str) -> Vec<Inet6> {
    let parse_line = |line: &str| {
        let mut fields = line.split_whitespace();
        let digits = fields.next().filter(|digits| digits.len() == 32)?;
        let address = Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?);
        let flags = u8::from_str_radix(fields.nth(3)?, 16).ok()?;
        let interface = fields.next()?.to_owned();
        Some(Inet6 {
            address,
            flags,
            interface,
        })
    };
    text.lines().filter_map(parse_line).collect()
}

/// An address that is still there tomorrow. Outgoing packets prefer temporary
/// addresses (RFC 8981), which are no good as a target: the stable neighbor on
/// the same interface is.
fn stable(address: IpAddr, inet6: &[Inet6]) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else {
        return Some(address);
    };
    let Some(own) = inet6.iter().find(|entry| entry.address == v6) else {
        return Some(address);
    };
    if own.flags & IFA_F_TEMPORARY == 0 {
        return Some(address);
    }
    inet6
        .iter()
        .filter(|entry| entry.interface == own.interface && is_reachable(entry.address.into()))
        .filter(|entry| entry.flags & (IFA_F_TEMPORARY | IFA_F_UNUSABLE) == 0)
        .map(|entry| IpAddr::V6(entry.address))
        .next()
}

/// Keeps what others can reach, and says what looks wrong about it.
fn choose(candidates: &[Candidate], in_container: bool) -> (Vec<IpAddr>, Vec<(IpAddr, String)>) {
    let mut addresses = Vec::new();
    let mut warnings = Vec::new();
    for Candidate { address, interface } in candidates {
        if !is_reachable(*address) || addresses.contains(address) {
            continue;
        }
        addresses.push(*address);
        let interface = interface.as_deref().unwrap_or_default();
        if interface == "docker0" || interface.starts_with("br-") {
            let reason = format!(
                "it belongs to the container bridge {interface}, which other hosts cannot reach: \
                 set HOSTIP or host_ip"
            );
            warnings.push((*address, reason));
        } else if in_container && is_bridge_range(*address) {
            let reason = "it looks like the address of this container, which other hosts cannot \
                          reach: use host networking, or set HOSTIP or host_ip";
            warnings.push((*address, reason.to_owned()));
        }
    }
    (addresses, warnings)
}

/// Whether another host can reach an address at all.
fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_unspecified()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast())
        }
        // RFC 4291 §2.4: global unicast is what is not otherwise assigned;
        // unique local addresses (RFC 4193) are not global.
        IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000,
    }
}

/// Whether an address is in the range that Docker takes its bridges from.
fn is_bridge_range(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 172 && v4.octets()[1] & 0xf0 == 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_nobody_can_reach_are_never_chosen() {
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.1.1",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
        ] {
            assert_eq!(
                choose(&[candidate(text, "eth0")], false),
                (vec![], vec![]),
                "{text}"
            );
        }
    }

    #[test]
    fn both_families_are_chosen() {
        let candidates = [
            candidate("192.0.2.1", "eth0"),
            candidate("2001:db8::1", "eth0"),
        ];
        let (addresses, warnings) = choose(&candidates, true);
        assert_eq!(addresses, [candidates[0].address, candidates[1].address]);
        assert_eq!(warnings, []);
    }

    #[test]
    fn bridge_addresses_are_reported() {
        for (text, interface, in_container, expected) in [
            ("172.17.0.1", "docker0", false, 1),
            ("172.18.0.1", "br-0123456789ab", false, 1),
            ("172.18.0.2", "eth0", true, 1),
            ("172.18.0.2", "eth0", false, 0),
            ("172.32.0.2", "eth0", true, 0),
            ("192.0.2.1", "br0", true, 0),
        ] {
            let (addresses, warnings) = choose(&[candidate(text, interface)], in_container);
            assert_eq!(addresses.len(), 1, "{text}");
            assert_eq!(
                warnings.len(),
                expected,
                "{text} {interface} {in_container}"
            );
        }
    }

    #[test]
    fn temporary_addresses_give_way_to_stable_ones() {
        let table = parse_inet6(
            "20010db8000000000000000000000099 02 40 00 01     eth0\n\
             20010db8000000000000000000000003 02 40 00 20     eth0\n\
             20010db8000000000000000000000001 02 40 00 00     eth0\n\
             fe800000000000000000000000000001 02 40 20 80     eth0\n\
             20010db8000000000000000000000098 03 40 00 01     eth1\n\
             junk\n",
        );
        assert_eq!(table.len(), 5);
        for (address, expected) in [
            ("2001:db8::99", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("2001:db8::98", None),
            ("2001:db8::5", Some("2001:db8::5")),
            ("192.0.2.1", Some("192.0.2.1")),
        ] {
            let found = stable(address.parse().unwrap(), &table);
            assert_eq!(
                found,
                expected.map(|text| text.parse().unwrap()),
                "{address}"
            );
        }
    }

    #[test]
    fn detection_yields_usable_addresses_or_an_error() {
        if let Ok(addresses) = detect_host_ips() {
            assert!(!addresses.is_empty());
            assert!(addresses.into_iter().all(is_reachable));
        }
    }

    fn candidate(address: &str, interface: &str) -> Candidate {
        Candidate {
            address: address.parse().unwrap(),
            interface: Some(interface.to_owned()),
        }
    }
}

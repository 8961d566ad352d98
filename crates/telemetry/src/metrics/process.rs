//! Process metrics that Go programs have and the `prometheus` crate lacks.
//!
//! Traffic is counted where Go's client counts it, at the IP layer of the
//! network namespace: counting interfaces would count one packet several times
//! on a host with bridges. Unlike Go's client, IPv6 is included.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::float;
use super::reading::{desc, family};

/// Collects `process_network_*` and `process_virtual_memory_max_bytes`.
pub(super) struct NetworkAndLimits {
    /// Bytes received.
    receive: Desc,
    /// Bytes sent.
    transmit: Desc,
    /// The limit of the address space.
    virtual_memory_max: Desc,
}

/// Bytes that crossed the IP layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Octets {
    /// Received.
    received: u64,
    /// Sent.
    sent: u64,
}

// === impl NetworkAndLimits ===

impl NetworkAndLimits {
    /// A collector for the calling process.
    pub(super) fn new() -> prometheus::Result<Self> {
        Ok(Self {
            receive: desc(
                "process_network_receive_bytes_total",
                "Number of bytes received by the process over the network.",
            )?,
            transmit: desc(
                "process_network_transmit_bytes_total",
                "Number of bytes sent by the process over the network.",
            )?,
            virtual_memory_max: desc(
                "process_virtual_memory_max_bytes",
                "Maximum amount of virtual memory available in bytes.",
            )?,
        })
    }
}

impl Collector for NetworkAndLimits {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.receive, &self.transmit, &self.virtual_memory_max]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Vec::with_capacity(3);
        if let Some(octets) = octets() {
            let (received, sent) = (float(octets.received), float(octets.sent));
            families.push(family(&self.receive, MetricType::COUNTER, received));
            families.push(family(&self.transmit, MetricType::COUNTER, sent));
        }
        let limits = fs::read_to_string("/proc/self/limits").ok();
        if let Some(limit) = limits.as_deref().and_then(address_space_limit) {
            families.push(family(
                &self.virtual_memory_max,
                MetricType::GAUGE,
                float(limit),
            ));
        }
        families
    }
}

/// Bytes over both IP versions, where the kernel tells.
fn octets() -> Option<Octets> {
    let ipv4 = fs::read_to_string("/proc/self/net/netstat").ok();
    let ipv4 = ipv4.as_deref().and_then(ipv4_octets)?;
    // The file is absent where IPv6 is disabled.
    let ipv6 = fs::read_to_string("/proc/self/net/snmp6").ok();
    let ipv6 = ipv6.as_deref().and_then(ipv6_octets);
    let ipv6 = ipv6.unwrap_or(Octets {
        received: 0,
        sent: 0,
    });
    Some(Octets {
        received: ipv4.received.saturating_add(ipv6.received),
        sent: ipv4.sent.saturating_add(ipv6.sent),
    })
}

/// Reads `/proc/net/netstat`: a line of names, then a line of values, for each
/// group.
fn ipv4_octets(netstat: &str) -> Option<Octets> {
    let mut group = netstat
        .lines()
        .filter_map(|line| line.strip_prefix("IpExt:"));
    let names = group.next()?.split_whitespace();
    let values: Vec<&str> = group.next()?.split_whitespace().collect();
    let (mut received, mut sent) = (None, None);
    for (name, value) in names.zip(values) {
        match name {
            "InOctets" => received = value.parse().ok(),
            "OutOctets" => sent = value.parse().ok(),
            _ => {}
        }
    }
    Some(Octets {
        received: received?,
        sent: sent?,
    })
}

/// Reads `/proc/net/snmp6`: a name and a value on each line.
fn ipv6_octets(snmp6: &str) -> Option<Octets> {
    let value = |name: &str| {
        let mut words = snmp6.lines().map(str::split_whitespace);
        let mut line = words.find(|line| line.clone().next() == Some(name))?;
        line.nth(1)?.parse().ok()
    };
    Some(Octets {
        received: value("Ip6InOctets")?,
        sent: value("Ip6OutOctets")?,
    })
}

/// Reads the soft limit of the address space from `/proc/self/limits`; no limit
/// is the highest number, as Go's client has it.
fn address_space_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max address space"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        limit => limit.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_octets_are_found_by_name() {
        let netstat = "TcpExt: SyncookiesSent InOctets OutOctets\n\
                       TcpExt: 0 7 8\n\
                       IpExt: InNoRoutes InOctets OutOctets InMcastOctets\n\
                       IpExt: 1 2300 4500 6\n";

        assert_eq!(
            ipv4_octets(netstat),
            Some(Octets {
                received: 2300,
                sent: 4500
            })
        );
    }

    #[test]
    fn ipv6_octets_are_found_by_name() {
        let snmp6 = "Ip6InReceives   \t12\nIp6InOctets  \t345\nIp6OutOctets\t67\n";

        assert_eq!(
            ipv6_octets(snmp6),
            Some(Octets {
                received: 345,
                sent: 67
            })
        );
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_absent() {
        let cases = [
            "",
            "IpExt: InOctets",
            "IpExt: InOctets\nIpExt: 1\n",
            "IpExt: a\nIpExt: b\n",
        ];
        for netstat in cases {
            assert_eq!(ipv4_octets(netstat), None, "{netstat:?}");
        }
        assert_eq!(ipv6_octets("Ip6InOctets 5\n"), None);
        assert_eq!(ipv6_octets("Ip6InOctets 5\nIp6OutOctets x\n"), None);
    }

    #[test]
    fn the_address_space_may_be_unlimited() {
        let head = "Limit                     Soft Limit           Hard Limit           Units\n";
        let cases = [
            (
                "Max address space         unlimited            unlimited    bytes\n",
                Some(u64::MAX),
            ),
            (
                "Max address space         1048576              unlimited    bytes\n",
                Some(1 << 20),
            ),
            (
                "Max file locks            5                    5            locks\n",
                None,
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(
                address_space_limit(&format!("{head}{line}")),
                expected,
                "{line}"
            );
        }
    }
}

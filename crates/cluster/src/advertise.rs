//! The address that other members reach this one by.
//!
//! Nobody notices a wrong one at once: members join, and fall out again when
//! the answers to their probes go elsewhere. So it is derived from whom we want
//! to reach, and never from what an interface happens to be called first.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::path::Path;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrLike as _;
use nix::sys::socket::SockaddrStorage;

use crate::config::Config;
use crate::seeds::Seeds;

#[cfg(test)]
mod tests;

/// The address, and why it is that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertised {
    /// The address.
    pub(crate) address: SocketAddr,
    /// Why, for people.
    pub(crate) reason: String,
}

/// There is no address that others could reach.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: set cluster_advertise_addr or CLUSTER_ADVERTISE_ADDR")]
pub struct AdvertiseError {
    /// What is missing.
    reason: &'static str,
}

/// What the decision is made from.
#[derive(Clone, Debug)]
struct Facts {
    /// Address that is bound.
    bind: SocketAddr,
    /// What was configured.
    configured: Option<(IpAddr, Option<u16>)>,
    /// Where the names of this member point.
    host_ips: Vec<IpAddr>,
    /// The addresses of this machine.
    interfaces: Vec<Interface>,
    /// Whether this is a container.
    container: bool,
    /// The first seed that there is a route to.
    seed: Option<Route>,
    /// What the default routes send from.
    default: Vec<IpAddr>,
}

/// An address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interface {
    /// What it is called.
    name: String,
    /// Its address.
    address: IpAddr,
    /// The network that is reached without a router.
    network: IpNet,
}

/// The way to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    /// Who it is.
    to: IpAddr,
    /// What we send from.
    source: IpAddr,
}

/// Addresses behind the default route, to which nothing is sent: for
/// documentation (RFC 5737, RFC 3849).
const PROBES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// What tells a process that it is in a container: Docker's file, and Podman's.
const CONTAINER_FILES: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// Finds the address, and warns if it invites the world. Where it was
/// configured, whoever read the configuration has warned.
pub(crate) async fn decide(config: &Config, seeds: &Seeds) -> Result<Advertised, AdvertiseError> {
    let chosen = find(config, seeds).await?;
    let ip = chosen.address.ip();
    let configured = config.advertise.is_some() || !config.bind.ip().is_unspecified();
    if config.settings.secrets.is_empty() && !configured && is_public(ip) {
        tracing::warn!(
            plugin = "docker-cluster",
            address = %ip,
            "members reach this one at a public address and there is no secret: anybody can join \
             and claim names; set CLUSTER_SECRET"
        );
    }
    Ok(chosen)
}

/// Finds the address. Looks up seeds, if it takes them to know.
async fn find(config: &Config, seeds: &Seeds) -> Result<Advertised, AdvertiseError> {
    let mut facts = Facts {
        bind: config.bind,
        configured: config.advertise,
        host_ips: config.host_ips.clone(),
        interfaces: interfaces().unwrap_or_default(),
        container: CONTAINER_FILES.iter().any(|file| Path::new(file).exists()),
        seed: None,
        default: PROBES
            .iter()
            .filter_map(|probe| source(*probe).ok())
            .collect(),
    };
    if let Some(known) = facts.known() {
        return known;
    }
    let found = seeds.resolve(&config.settings.seeds).await;
    let fitting = found
        .iter()
        .map(SocketAddr::ip)
        .filter(|ip| facts.fits(*ip));
    let mut routes = fitting.filter_map(|to| source(to).ok().map(|source| Route { to, source }));
    facts.seed = routes.next();
    facts.choose()
}

/// Whether an interface is a network of containers on this machine.
pub(crate) fn is_bridge(name: &str) -> bool {
    name == "docker0" || name.starts_with("br-") || name.starts_with("veth")
}

/// Whether an address may be reached from anywhere: neither loopback,
/// link-local, for private use (RFC 1918, RFC 4193), shared (RFC 6598) nor for
/// documentation.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            let local = v4.is_loopback() || v4.is_link_local() || v4.is_unspecified();
            !(local || v4.is_private() || shared || v4.is_documentation())
        }
        IpAddr::V6(v6) => {
            let documentation = v6.segments()[0] == 0x2001 && v6.segments()[1] == 0xdb8;
            let local = v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified();
            !(local || v6.is_unique_local() || documentation)
        }
    }
}

// === impl Facts ===

impl Facts {
    /// The address, if it takes no seed to know it.
    fn known(&self) -> Option<Result<Advertised, AdvertiseError>> {
        if let Some((ip, port)) = self.configured {
            if ip.is_unspecified() {
                return Some(none(
                    "the address to advertise cannot be the unspecified one",
                ));
            }
            let address = SocketAddr::new(ip, port.unwrap_or_else(|| self.bind.port()));
            let reason = "configured".to_owned();
            return Some(Ok(Advertised { address, reason }));
        }
        if !self.bind.ip().is_unspecified() {
            return Some(self.advertise(self.bind.ip(), "the address that is bound".to_owned()));
        }
        let ours = |ip: &&IpAddr| self.interface(**ip).is_some_and(|i| !is_bridge(&i.name));
        let host_ip = self
            .host_ips
            .iter()
            .filter(|ip| self.fits(**ip))
            .find(ours)?;
        Some(self.advertise(*host_ip, "host_ip, which this machine has".to_owned()))
    }

    /// The address.
    fn choose(&self) -> Result<Advertised, AdvertiseError> {
        if let Some(known) = self.known() {
            return known;
        }
        if let Some(route) = self.seed
            && let Some((ip, reason)) = self.towards(route)
        {
            return self.advertise(ip, reason);
        }
        let usable = |ip: &&IpAddr| self.fits(**ip) && self.is_public(**ip);
        if let Some(ip) = self.default.iter().find(usable) {
            return self.advertise(*ip, "what the default route sends from".to_owned());
        }
        let mut rest = self
            .interfaces
            .iter()
            .map(|interface| &interface.address)
            .filter(usable);
        match (rest.next(), rest.next()) {
            (Some(ip), None) => self.advertise(*ip, "the only address there is".to_owned()),
            (Some(_), Some(_)) => none("there are several addresses that others may reach us by"),
            (None, _) => none("there is no address that others could reach us by"),
        }
    }

    /// The address that a seed reaches us by, if that can be told.
    fn towards(&self, route: Route) -> Option<(IpAddr, String)> {
        let Route { to, source } = route;
        let interface = self.interface(source);
        let on_link = interface.is_some_and(|interface| interface.network.contains(&to));
        if source.is_loopback() {
            let reason = format!("the seed {to} is on this machine");
            return to.is_loopback().then_some((source, reason));
        }
        if on_link {
            return Some((
                source,
                format!("what the seed {to} is reached from, without a router"),
            ));
        }
        let published = self.host_ips.iter().find(|ip| self.fits(**ip));
        if let Some(host_ip) = published.filter(|_| self.container) {
            // The container's own address means nothing beyond its network.
            let reason = format!("host_ip, as the seed {to} is beyond the container's network");
            return Some((*host_ip, reason));
        }
        let bridge = interface.is_some_and(|interface| is_bridge(&interface.name));
        (!bridge).then(|| (source, format!("what the seed {to} is reached from")))
    }

    /// Whether an address is of a family that is bound.
    fn fits(&self, ip: IpAddr) -> bool {
        (self.bind.is_ipv6() || ip.is_ipv4()) && !ip.is_unspecified() && !ip.is_multicast()
    }

    /// Whether others may reach an address of ours, by what it looks like.
    fn is_public(&self, ip: IpAddr) -> bool {
        let link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let bridge = self
            .interface(ip)
            .is_some_and(|interface| is_bridge(&interface.name));
        !ip.is_loopback() && !link_local && !bridge
    }

    /// The interface that has an address.
    fn interface(&self, ip: IpAddr) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.address == ip)
    }

    /// An address with the port that is bound.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "every way of the decision ends in a result"
    )]
    fn advertise(&self, ip: IpAddr, reason: String) -> Result<Advertised, AdvertiseError> {
        Ok(Advertised {
            address: SocketAddr::new(ip, self.bind.port()),
            reason,
        })
    }
}

/// No address.
fn none(reason: &'static str) -> Result<Advertised, AdvertiseError> {
    Err(AdvertiseError { reason })
}

/// The address that is sent from on the way to another. Sends nothing.
fn source(to: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Any port but none.
    socket.connect((to, 9))?;
    socket.local_addr().map(|address| address.ip())
}

/// The addresses of this machine.
fn interfaces() -> io::Result<Vec<Interface>> {
    let interfaces = getifaddrs()?.filter_map(|interface| {
        let address = ip(&interface.address?)?;
        let mask = interface.netmask.as_ref().and_then(ip);
        let network = mask.and_then(|mask| IpNet::with_netmask(address, mask).ok());
        Some(Interface {
            name: interface.interface_name,
            address,
            network: network.unwrap_or_else(|| IpNet::from(address)),
        })
    });
    Ok(interfaces.collect())
}

/// The IP address in an address of any kind.
fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    // A netmask of IPv6 may come without a family.
    address.family()?;
    let v4 = address
        .as_sockaddr_in()
        .map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|address| IpAddr::V6(address.ip()))
    })
}

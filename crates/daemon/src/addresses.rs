//! Where `bind` says to listen: interfaces to addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Context as _;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use portolan_config::{Bind, BindTarget, Located};
use portolan_server::ListenAddr;

use crate::place::Place;

/// An address of an interface: name, address, index.
struct Interface {
    /// Name, such as `eth0`.
    name: String,
    /// One of its addresses.
    ip: IpAddr,
    /// Its index, for link-local addresses.
    index: u32,
}

/// The listeners of a server block on `port`: all addresses of the host
/// without a `bind`, else those it names as they are now, each with the first
/// `bind` that names it.
pub(crate) fn listeners(
    bind: &[Located<Bind>],
    port: u16,
) -> anyhow::Result<BTreeMap<ListenAddr, Option<Place>>> {
    if bind.is_empty() {
        let all = ListenAddr {
            ip: None,
            scope: 0,
            port,
        };
        return Ok(BTreeMap::from([(all, None)]));
    }
    let interfaces = interfaces()?;
    let mut found = BTreeMap::new();
    let resolve = |directive: &Located<Bind>, targets: &[BindTarget]| {
        resolve_all(targets, &interfaces, port).with_context(|| place(directive).to_string())
    };
    for directive in bind {
        for address in resolve(directive, &directive.addresses)? {
            let first = || Some(place(directive));
            found.entry(address).or_insert_with(first);
        }
    }
    for directive in bind {
        for address in resolve(directive, &directive.except)? {
            found.remove(&address);
        }
    }
    match bind.first() {
        Some(first) if found.is_empty() => {
            anyhow::bail!("{}: no address is left to listen on", place(first))
        }
        _ => Ok(found),
    }
}

/// Where a `bind` stands.
fn place(directive: &Located<Bind>) -> Place {
    Place::of("bind", directive)
}

/// The addresses that the words of a `bind` stand for.
fn resolve_all(
    targets: &[BindTarget],
    interfaces: &[Interface],
    port: u16,
) -> anyhow::Result<Vec<ListenAddr>> {
    let mut all = Vec::new();
    for target in targets {
        all.extend(resolve(target, interfaces, port)?);
    }
    Ok(all)
}

/// The addresses that one word of `bind` stands for.
fn resolve(
    target: &BindTarget,
    interfaces: &[Interface],
    port: u16,
) -> anyhow::Result<Vec<ListenAddr>> {
    let listen = |ip: IpAddr, scope: u32| ListenAddr {
        ip: Some(ip),
        scope,
        port,
    };
    match target {
        BindTarget::Address {
            address,
            scope: None,
        } => Ok(vec![listen(*address, 0)]),
        BindTarget::Address {
            address,
            scope: Some(name),
        } => {
            let index = match name.parse() {
                Ok(index) => index,
                Err(_) => if_nametoindex(name.as_str())
                    .with_context(|| format!("no interface {name:?}"))?,
            };
            Ok(vec![listen(*address, index)])
        }
        BindTarget::Interface(name) => {
            let found: Vec<_> = interfaces
                .iter()
                .filter(|interface| interface.name == *name)
                .map(|interface| {
                    let local = is_link_local(interface.ip);
                    listen(interface.ip, if local { interface.index } else { 0 })
                })
                .collect();
            anyhow::ensure!(
                !found.is_empty(),
                "not a valid IP address or interface name: {name:?}"
            );
            Ok(found)
        }
    }
}

/// Every address of every interface.
fn interfaces() -> anyhow::Result<Vec<Interface>> {
    let all = getifaddrs().context("cannot list the interfaces of this host")?;
    Ok(all
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip()));
            let index = if_nametoindex(interface.interface_name.as_str()).unwrap_or(0);
            Some(Interface {
                name: interface.interface_name,
                ip: v4.or(v6)?,
                index,
            })
        })
        .collect())
}

/// Whether an address is meaningful only on its own link.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use portolan_config::Position;

    use super::*;

    #[test]
    fn without_bind_every_address_is_served() {
        let all = listeners(&[], 54).unwrap();
        assert_eq!(
            all.keys().map(ToString::to_string).collect::<Vec<_>>(),
            [":54"]
        );
    }

    #[test]
    fn an_interface_stands_for_its_addresses() {
        let all = listeners(&[bind("lo", &[])], 54).unwrap();
        assert!(
            all.keys()
                .any(|a| a.ip == Some("127.0.0.1".parse().unwrap())),
            "{all:?}"
        );
    }

    #[test]
    fn what_cannot_be_listened_on_names_its_bind() {
        for (bind, expected) in [
            (
                bind("eth99", &[]),
                "plugin/bind: Corefile:1:1: not a valid IP address or interface name: \"eth99\"",
            ),
            (
                bind("lo", &["lo"]),
                "plugin/bind: Corefile:1:1: no address is left to listen on",
            ),
        ] {
            let error = listeners(&[bind], 54).unwrap_err();
            assert_eq!(format!("{error:#}"), expected);
        }
    }

    /// A `bind` with one interface, and those it leaves out.
    fn bind(name: &str, except: &[&str]) -> Located<Bind> {
        let interface = |name: &&str| BindTarget::Interface((*name).to_owned());
        let bind = Bind {
            addresses: vec![interface(&name)],
            except: except.iter().map(interface).collect(),
        };
        Located::new(bind, &Position::start_of("Corefile"))
    }
}

//! Where `bind` says to listen: interfaces to addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::Context as _;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use portolan_config::{Bind, BindTarget};
use portolan_server::ListenAddr;

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
/// without a `bind`, else those it names as they are now.
pub(crate) fn listeners(bind: &[&Bind], port: u16) -> anyhow::Result<BTreeSet<ListenAddr>> {
    if bind.is_empty() {
        return Ok(BTreeSet::from([ListenAddr {
            ip: None,
            scope: 0,
            port,
        }]));
    }
    let interfaces = interfaces()?;
    let mut found = BTreeSet::new();
    for target in bind.iter().flat_map(|bind| &bind.addresses) {
        found.extend(resolve(target, &interfaces, port)?);
    }
    for target in bind.iter().flat_map(|bind| &bind.except) {
        for address in resolve(target, &interfaces, port)? {
            found.remove(&address);
        }
    }
    anyhow::ensure!(
        !found.is_empty(),
        "plugin/bind: no address is left to listen on"
    );
    Ok(found)
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
                    .with_context(|| format!("plugin/bind: no interface {name:?}"))?,
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
                "plugin/bind: not a valid IP address or interface name: {name:?}"
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
    use super::*;

    #[test]
    fn without_bind_every_address_is_served() {
        let all = listeners(&[], 54).unwrap();
        assert_eq!(
            all.into_iter().map(|a| a.to_string()).collect::<Vec<_>>(),
            [":54"]
        );
    }

    #[test]
    fn an_interface_stands_for_its_addresses() {
        let bind = Bind {
            addresses: vec![BindTarget::Interface("lo".to_owned())],
            except: vec![],
        };
        let all = listeners(&[&bind], 54).unwrap();
        assert!(
            all.iter()
                .any(|a| a.ip == Some("127.0.0.1".parse().unwrap())),
            "{all:?}"
        );
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        let bind = Bind {
            addresses: vec![BindTarget::Interface("eth99".to_owned())],
            except: vec![],
        };
        let error = listeners(&[&bind], 54).unwrap_err().to_string();
        assert!(
            error.contains("not a valid IP address or interface name: \"eth99\""),
            "{error}"
        );
    }
}

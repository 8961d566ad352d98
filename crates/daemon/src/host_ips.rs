//! Which addresses names point to.

use std::collections::BTreeSet;
use std::net::IpAddr;

use portolan_config as config;
use portolan_docker as docker;

/// The addresses that names point to, or why the host seems to have none.
pub(crate) type HostIps = Result<Vec<IpAddr>, docker::DetectError>;

/// The addresses as they are now, or those `before` if there are none.
pub(crate) fn find(host: &config::HostAddresses, before: Option<&HostIps>) -> HostIps {
    last_known(host_ips(host), before)
}

/// Says what was found out. Without an address, the names of a directive have
/// none, `lost` says which; that is said loudly.
pub(crate) fn report(
    plugin: &'static str,
    lost: &str,
    host: &config::HostAddresses,
    found: &HostIps,
) {
    match found {
        Ok(addresses) if host.detect => {
            tracing::info!(plugin, ?addresses, "detected host IP");
        }
        Ok(_) => {}
        Err(error) => tracing::error!(plugin, "{error}; until then {lost}"),
    }
}

/// What was found, or what was known before if nothing was.
fn last_known(found: HostIps, before: Option<&HostIps>) -> HostIps {
    found.or_else(|error| before.cloned().unwrap_or(Err(error)))
}

/// The addresses that names point to, as they are now.
fn host_ips(host: &config::HostAddresses) -> HostIps {
    let mut addresses: BTreeSet<IpAddr> = host.addresses.iter().copied().collect();
    if host.detect {
        match docker::detect_host_ips() {
            Ok(found) => addresses.extend(found),
            Err(error) if addresses.is_empty() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(addresses.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_an_address_keeps_the_one_it_had() {
        let address = |last| Ok(vec![IpAddr::from([192, 0, 2, last])]);
        let none = || Err(docker::DetectError::NoAddress);
        for (found, before, expected) in [
            (address(1), None, address(1)),
            (address(1), Some(address(2)), address(1)),
            (address(1), Some(none()), address(1)),
            (none(), Some(address(2)), address(2)),
            (none(), Some(none()), none()),
            (none(), None, none()),
        ] {
            assert_eq!(last_known(found, before.as_ref()), expected);
        }
    }
}

//! Upstreams from a file in the form of resolv.conf(5).

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV6;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

/// How often files of upstreams are looked at.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(5);

/// Most octets of a file that are read.
const MAX_FILE: u64 = 64 * 1024;

/// A file of upstreams, as it was read last.
#[derive(Debug)]
pub(crate) struct Followed {
    /// Where it is.
    path: PathBuf,
    /// What tells one version from the next.
    version: Option<Version>,
    /// Its upstreams when it last had any.
    pub(crate) addrs: Vec<SocketAddr>,
}

/// What tells one version of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    /// Time of the last change.
    modified: Option<SystemTime>,
    /// Length in octets.
    length: u64,
}

// === impl Followed ===

impl Followed {
    /// Reads a file for the first time.
    pub(crate) async fn open(path: PathBuf) -> std::io::Result<Self> {
        let version = version(&path).await?;
        let addrs = read(&path, version.length).await?;
        Ok(Self {
            path,
            version: Some(version),
            addrs,
        })
    }

    /// Reads the file again if it has changed. Says whether there are other
    /// upstreams now; a file that is gone or has none leaves those it had.
    pub(crate) async fn check(&mut self) -> bool {
        let Ok(version) = version(&self.path).await else {
            return false;
        };
        if self.version == Some(version) {
            return false;
        }
        let Ok(addrs) = read(&self.path, version.length).await else {
            return false;
        };
        self.version = Some(version);
        if addrs.is_empty() {
            tracing::warn!(
                plugin = "forward",
                file = %self.path.display(),
                "no upstreams in the file, keeping the last ones"
            );
            return false;
        }
        if addrs == self.addrs {
            return false;
        }
        tracing::info!(
            plugin = "forward",
            file = %self.path.display(),
            upstreams = addrs.len(),
            "upstreams changed"
        );
        self.addrs = addrs;
        true
    }
}

/// The version of a file.
async fn version(path: &Path) -> std::io::Result<Version> {
    let metadata = tokio::fs::metadata(path).await?;
    Ok(Version {
        modified: metadata.modified().ok(),
        length: metadata.len(),
    })
}

/// The upstreams in a file.
async fn read(path: &Path, length: u64) -> std::io::Result<Vec<SocketAddr>> {
    if length > MAX_FILE {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    let text = tokio::fs::read(path).await?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// The addresses of the `nameserver` lines, on port 53. Other lines, and
/// addresses that are none, are skipped.
pub(crate) fn parse(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            if words.next()? != "nameserver" {
                return None;
            }
            server(words.next()?)
        })
        .collect()
}

/// An address with an optional zone (RFC 4007 §11), on port 53.
fn server(text: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53));
    };
    let address: Ipv6Addr = address.parse().ok()?;
    Some(SocketAddrV6::new(address, 53, 0, scope_id(zone)?).into())
}

/// The index of a zone that is given by number or by interface name.
fn scope_id(zone: &str) -> Option<u32> {
    if let Ok(index) = zone.parse() {
        return Some(index);
    }
    if zone.contains(['/', '.']) {
        return None;
    }
    let text = std::fs::read_to_string(format!("/sys/class/net/{zone}/ifindex")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameserver_lines_are_upstreams_and_the_rest_is_not() {
        let text = "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1\n\
                    \tnameserver\t2001:db8::1 trailing\nnameserver fe80::1%2\nnameserver x\n\
                    nameserver\n; nameserver 192.0.2.8\noptions edns0\nnameserver 192.0.2.1:53\n";
        let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53"]
        );
    }

    #[test]
    fn a_zone_may_be_an_interface_name() {
        assert_eq!(scope_id("lo"), Some(1));
        assert_eq!(scope_id("7"), Some(7));
        assert_eq!(scope_id("../etc"), None);
        assert_eq!(scope_id("nosuchinterface0"), None);
    }
}

//! Where a node runs.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use crate::netns::Namespace;

/// Where a node runs, and at which addresses.
#[derive(Clone, Debug)]
pub struct Place {
    /// Address that other nodes reach it by.
    pub ip: Ipv4Addr,
    /// Where it is asked.
    pub dns: SocketAddr,
    /// Where its admin endpoints are.
    pub admin: SocketAddr,
    /// Its namespace; none for that of the test.
    pub namespace: Option<Arc<Namespace>>,
}

// === impl Place ===

impl Place {
    /// A node of a cluster on loopback: an address of its own, ports that no
    /// system gives to clients.
    pub fn on_loopback(cluster: u32, number: usize) -> Self {
        let [_, _, high, low] = cluster.to_be_bytes();
        let last = u8::try_from(number + 1).unwrap_or(u8::MAX);
        let ip = Ipv4Addr::new(127, 64 + high % 128, low, last);
        Self {
            ip,
            dns: SocketAddr::from((ip, 5300)),
            admin: SocketAddr::from((ip, 8080)),
            namespace: None,
        }
    }

    /// A node that has a host for itself.
    pub fn on_host(namespace: Arc<Namespace>, ip: Ipv4Addr) -> Self {
        Self {
            ip,
            dns: SocketAddr::from((Ipv4Addr::LOCALHOST, 53)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            namespace: Some(namespace),
        }
    }

    /// Does something there.
    ///
    /// # Errors
    ///
    /// What the work fails with, or that the place cannot be entered.
    pub fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        match &self.namespace {
            Some(namespace) => namespace.enter(work),
            None => work(),
        }
    }
}

/// A number for a cluster on loopback that no other cluster of a test that
/// runs now is likely to have.
pub(super) fn next_cluster() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::process::id()
        .wrapping_mul(31)
        .wrapping_add(number.wrapping_mul(7_919))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_clusters_have_addresses_of_their_own() {
        let clusters = [next_cluster(), next_cluster(), u32::MAX];
        let mut seen = std::collections::BTreeSet::new();
        for cluster in clusters {
            for number in 0..40 {
                let place = Place::on_loopback(cluster, number);
                assert!(place.ip.is_loopback() && place.ip.octets()[1] >= 64);
                assert!(seen.insert(place.ip), "{place:?}");
            }
        }
    }
}

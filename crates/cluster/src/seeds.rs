//! From the seeds that were configured to addresses.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Seed;

/// Looks up seeds, and remembers what was found. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seeds {
    /// What was found, and not, by seed.
    known: Arc<Mutex<BTreeMap<Seed, Known>>>,
}

/// What is known of a seed.
#[derive(Debug, Default)]
struct Known {
    /// The addresses that were found last.
    addresses: Vec<SocketAddr>,
    /// What went wrong, as it was reported.
    failure: Option<String>,
    /// Whether a look-up is under way: one that hangs holds a thread.
    busy: bool,
}

/// How long a look-up is waited for.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// So many seeds are looked up.
const MAX_SEEDS: usize = 64;

/// So many addresses may a seed have.
const MAX_ADDRESSES: usize = 256;

// === impl Seeds ===

impl Seeds {
    /// All addresses of all seeds, in order and each once. A seed that cannot
    /// be looked up has the addresses it had. Ends in a few seconds.
    pub(crate) async fn resolve(&self, seeds: &[Seed]) -> Vec<SocketAddr> {
        let seeds: BTreeSet<&Seed> = seeds.iter().take(MAX_SEEDS).collect();
        self.known().retain(|seed, _| seeds.contains(seed));
        let mut lookups = JoinSet::new();
        for seed in &seeds {
            if let Ok(ip) = address(&seed.host) {
                let found = vec![SocketAddr::new(ip, seed.port)];
                self.known().entry((*seed).clone()).or_default().addresses = found;
            } else if self.begin(seed) {
                lookups.spawn(self.clone().look_up((*seed).clone()));
            }
        }
        let all = async { while lookups.join_next().await.is_some() {} };
        // What is not there by then comes next time.
        let late = timeout(LOOKUP_TIMEOUT, all).await.is_err();
        lookups.detach_all();
        let mut known = self.known();
        let mut addresses = BTreeSet::new();
        for seed in seeds {
            let known = known.entry(seed.clone()).or_default();
            if late && known.busy {
                known.failed(seed, "no answer in time");
            }
            addresses.extend(known.addresses.iter().copied());
        }
        addresses.into_iter().collect()
    }

    /// Begins a look-up, unless one is under way.
    fn begin(&self, seed: &Seed) -> bool {
        let mut known = self.known();
        let known = known.entry(seed.clone()).or_default();
        !std::mem::replace(&mut known.busy, true)
    }

    /// Looks a seed up, however long that takes.
    async fn look_up(self, seed: Seed) {
        let found = lookup_host((seed.host.as_str(), seed.port)).await;
        let mut known = self.known();
        // Unless it is no seed any more.
        let Some(known) = known.get_mut(&seed) else {
            return;
        };
        known.busy = false;
        match found {
            Ok(found) => {
                let found: BTreeSet<SocketAddr> = found.take(MAX_ADDRESSES).collect();
                known.found(&seed, found.into_iter().collect());
            }
            Err(error) => known.failed(&seed, &error.to_string()),
        }
    }

    /// What is known; nothing panics while it is held.
    fn known(&self) -> MutexGuard<'_, BTreeMap<Seed, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Known ===

impl Known {
    /// A seed has been looked up.
    fn found(&mut self, seed: &Seed, addresses: Vec<SocketAddr>) {
        if addresses.is_empty() {
            return self.failed(seed, "no address");
        }
        if self.failure.take().is_some() {
            tracing::info!(
                plugin = "docker-cluster",
                seed = seed.host,
                "cluster seed can be looked up again"
            );
        }
        self.addresses = addresses;
    }

    /// A seed cannot be looked up: said once, until that changes.
    fn failed(&mut self, seed: &Seed, reason: &str) {
        if self.failure.as_deref() != Some(reason) {
            tracing::warn!(
                plugin = "docker-cluster",
                seed = seed.host,
                reason,
                "cannot look up a cluster seed"
            );
            self.failure = Some(reason.to_owned());
        }
    }
}

/// The address that a host is written as, if it is one.
fn address(host: &str) -> Result<IpAddr, std::net::AddrParseError> {
    host.trim_start_matches('[').trim_end_matches(']').parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_and_names_are_told_apart_and_all_are_taken() {
        let seeds = Seeds::default();
        let wanted = [
            seed("192.0.2.2", 7946),
            seed("192.0.2.2", 7946),
            seed("[2001:db8::1]", 1),
            seed("localhost", 7947),
        ];
        let found = seeds.resolve(&wanted).await;
        assert!(
            found.contains(&"192.0.2.2:7946".parse().unwrap()),
            "{found:?}"
        );
        assert!(
            found.contains(&"[2001:db8::1]:1".parse().unwrap()),
            "{found:?}"
        );
        assert!(
            found.contains(&"127.0.0.1:7947".parse().unwrap()),
            "{found:?}"
        );
        assert!(found.is_sorted());
    }

    #[tokio::test]
    async fn what_cannot_be_looked_up_keeps_what_it_had() {
        let seeds = Seeds::default();
        let gone = seed("no-such-name.invalid", 7946);
        assert!(seeds.resolve(std::slice::from_ref(&gone)).await.is_empty());
        let failure = seeds.known()[&gone].failure.clone();
        assert!(failure.is_some());

        let address = "192.0.2.7:7946".parse().unwrap();
        seeds
            .known()
            .get_mut(&gone)
            .unwrap()
            .found(&gone, vec![address]);
        assert_eq!(seeds.known()[&gone].failure, None);
        assert_eq!(seeds.resolve(std::slice::from_ref(&gone)).await, [address]);
        assert_eq!(seeds.resolve(&[]).await, []);
        assert!(seeds.known().is_empty());
    }

    #[tokio::test]
    async fn a_look_up_that_hangs_is_not_begun_again() {
        let seeds = Seeds::default();
        let slow = seed("slow.example.org", 7946);
        assert!(seeds.begin(&slow));
        assert!(!seeds.begin(&slow));
        assert!(seeds.resolve(&[slow]).await.is_empty());
    }

    fn seed(host: &str, port: u16) -> Seed {
        Seed {
            host: host.to_owned(),
            port,
        }
    }
}

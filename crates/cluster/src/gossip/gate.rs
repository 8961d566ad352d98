//! Who may talk to us, and how much.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use ipnet::IpNet;
use memberlist_proto::EncryptionAlgorithm;
use memberlist_proto::SecretKey;
use tokio::time::Instant;

use super::Refusals;

/// Decides at the sockets who is let in, before memberlist reads an octet.
pub(super) struct Gate {
    /// Networks that members may be in; none for any.
    networks: Vec<IpNet>,
    /// What every connection and datagram begins with.
    opening: Vec<u8>,
    /// What authenticates a message, besides the key.
    label: Vec<u8>,
    /// Keys that messages may be encrypted with.
    keys: Mutex<Vec<SecretKey>>,
    /// Connections that are open, by address.
    open: Mutex<BTreeMap<IpAddr, usize>>,
    /// Octets that have been announced on connections and are waited for.
    announced: AtomicUsize,
    /// Who was told apart lately, and when the log said so.
    told: Mutex<BTreeMap<IpAddr, Instant>>,
    /// Connections that were not let in.
    connections: AtomicU64,
    /// Datagrams that were not let in.
    datagrams: AtomicU64,
    /// Messages announced to be too long.
    oversized: AtomicU64,
    /// Connections and datagrams of other clusters.
    foreign: AtomicU64,
    /// Addresses that nothing passes to or from.
    #[cfg(test)]
    cut: Mutex<Vec<IpAddr>>,
}

/// The right to one open connection.
#[derive(Debug)]
pub(super) struct Permit {
    /// Where it goes back to.
    gate: Arc<Gate>,
    /// Whose it is.
    key: IpAddr,
}

/// Room for a message that was announced.
#[derive(Debug)]
pub(super) struct Claim {
    /// Where it goes back to.
    gate: Arc<Gate>,
    /// How many octets.
    octets: usize,
}

/// How what somebody sent begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// As ours does, as far as it goes.
    Ours,
    /// With another label, or none.
    Label,
    /// Without the encryption that we have.
    Plaintext,
    /// With encryption that we have not.
    Encrypted,
}

/// So many connections from others are open at once.
const MAX_CONNECTIONS: usize = 128;

/// So many of them are from one address.
const MAX_CONNECTIONS_EACH: usize = 16;

/// The longest message, in octets.
pub(super) const MAX_MESSAGE: usize = 32 << 20;

/// So many octets may all connections together have announced.
const MAX_ANNOUNCED: usize = 128 << 20;

/// A message of so few octets needs no room of that.
const SMALL: usize = 64 << 10;

/// How long the log is silent about an address it has told of.
const SILENCE: Duration = Duration::from_secs(300);

/// So many addresses are remembered for that.
const MAX_TOLD: usize = 256;

/// memberlist's tag of a label.
pub(super) const LABELED: u8 = 12;

/// memberlist's tag of what is encrypted.
pub(super) const ENCRYPTED: u8 = 15;

// === impl Gate ===

impl Gate {
    /// Lets in whoever is in `networks`, or all if there are none.
    pub(super) fn new(networks: Vec<IpNet>, label: &[u8], keys: Vec<SecretKey>) -> Self {
        let encrypted = !keys.is_empty();
        // memberlist has labels of 253 octets at most.
        let mut opening = vec![LABELED, u8::try_from(label.len()).unwrap_or(u8::MAX)];
        opening.extend_from_slice(label);
        if encrypted {
            opening.push(ENCRYPTED);
        }
        Self {
            networks,
            opening,
            label: label.to_vec(),
            keys: Mutex::new(keys),
            open: Mutex::default(),
            announced: AtomicUsize::new(0),
            told: Mutex::default(),
            connections: AtomicU64::new(0),
            datagrams: AtomicU64::new(0),
            oversized: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
            #[cfg(test)]
            cut: Mutex::default(),
        }
    }

    /// Whether a member may have this address.
    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        #[cfg(test)]
        if lock(&self.cut).contains(&ip) {
            return false;
        }
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Lets a connection in, or does not and counts that.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Permit> {
        let key = host(ip);
        let mut open = lock(&self.open);
        let all: usize = open.values().sum();
        let each = open.get(&key).copied().unwrap_or(0);
        if !self.allows(ip) || all >= MAX_CONNECTIONS || each >= MAX_CONNECTIONS_EACH {
            self.connections.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        open.insert(key, each + 1);
        Some(Permit {
            gate: Arc::clone(self),
            key,
        })
    }

    /// Lets a datagram in, or does not and counts that.
    pub(super) fn admit_datagram(&self, ip: IpAddr, octets: &[u8]) -> bool {
        if !self.allows(ip) {
            self.datagrams.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let ours = self.is_opened(octets) && self.opening(octets) == Opening::Ours;
        if !ours {
            self.foreign.fetch_add(1, Ordering::Relaxed);
        }
        ours
    }

    /// Room for a message of so many octets on a connection.
    pub(super) fn claim(self: &Arc<Self>, octets: usize) -> Option<Claim> {
        // The number of connections bounds those; without them large claims of
        // strangers would keep members from joining.
        let octets = if octets <= SMALL { 0 } else { octets };
        let fits = |all: usize| Some(all + octets).filter(|all| *all <= MAX_ANNOUNCED);
        let claimed = octets <= MAX_MESSAGE
            && self
                .announced
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
                .is_ok();
        if !claimed {
            self.oversized.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Claim {
            gate: Arc::clone(self),
            octets,
        })
    }

    /// How what somebody sent begins. What is too short to tell is ours so far.
    pub(super) fn opening(&self, octets: &[u8]) -> Opening {
        let both = self.opening.len().min(octets.len());
        let (ours, theirs) = (self.opening.get(..both), octets.get(..both));
        let encrypted = self.opening.last() == Some(&ENCRYPTED);
        if ours != theirs {
            let last = both == self.opening.len();
            let label = both.saturating_sub(1);
            if encrypted && last && self.opening.get(..label) == octets.get(..label) {
                return Opening::Plaintext;
            }
            return Opening::Label;
        }
        if !encrypted && octets.get(self.opening.len()) == Some(&ENCRYPTED) {
            return Opening::Encrypted;
        }
        Opening::Ours
    }

    /// Whether enough is there to tell how it begins.
    pub(super) fn is_opened(&self, octets: &[u8]) -> bool {
        octets.len() > self.opening.len()
    }

    /// Counts what is not of our cluster, and says so in the log now and then.
    pub(super) fn foreign(&self, ip: IpAddr, opening: Opening) {
        self.foreign.fetch_add(1, Ordering::Relaxed);
        let reason = match opening {
            Opening::Ours => "its cluster secret is another",
            Opening::Label => "it belongs to another cluster, or is no member",
            Opening::Plaintext => "it has no cluster secret, and we have",
            Opening::Encrypted => "it has a cluster secret, and we have none",
        };
        if self.is_news(ip) {
            tracing::warn!(plugin = "docker-cluster", address = %ip, reason, "refused to talk to a member");
        }
    }

    /// Whether the log has been silent about an address for long enough.
    fn is_news(&self, ip: IpAddr) -> bool {
        let mut told = lock(&self.told);
        let now = Instant::now();
        told.retain(|_, at| now.saturating_duration_since(*at) < SILENCE);
        let is_news = told.len() < MAX_TOLD && !told.contains_key(&ip);
        if is_news {
            told.insert(ip, now);
        }
        is_news
    }

    /// The keys are these.
    pub(super) fn set_keys(&self, keys: &[SecretKey]) {
        *lock(&self.keys) = keys.to_vec();
    }

    /// Whether one of our keys opens a message: nonce, text and tag. memberlist
    /// finds out by itself, but tells nobody on this side.
    pub(super) fn opens(&self, algorithm: u8, sealed: &[u8]) -> bool {
        let algorithm = EncryptionAlgorithm::from(algorithm);
        let Some((nonce, text)) = sealed.split_at_checked(algorithm.nonce_size()) else {
            return false;
        };
        lock(&self.keys).iter().any(|key| {
            let mut text = BytesMut::from(text);
            algorithm
                .decrypt(key, nonce, &self.label, &mut text)
                .is_ok()
        })
    }

    /// What was not let in.
    pub(super) fn refusals(&self) -> Refusals {
        Refusals {
            connections: self.connections.load(Ordering::Relaxed),
            datagrams: self.datagrams.load(Ordering::Relaxed),
            oversized: self.oversized.load(Ordering::Relaxed),
            foreign: self.foreign.load(Ordering::Relaxed),
            ..Refusals::default()
        }
    }

    /// Counts a datagram that found no room.
    pub(super) fn no_room(&self) {
        self.datagrams.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets nothing pass to or from these addresses.
    #[cfg(test)]
    pub(super) fn cut(&self, addresses: &[IpAddr]) {
        *lock(&self.cut) = addresses.to_vec();
    }
}

impl fmt::Debug for Gate {
    /// Without the keys, which memberlist shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

// === impl Permit ===

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = lock(&self.gate.open);
        match open.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&self.key);
            }
        }
    }
}

// === impl Claim ===

impl Drop for Claim {
    fn drop(&mut self) {
        self.gate.announced.fetch_sub(self.octets, Ordering::AcqRel);
    }
}

/// Whom an address stands for: with IPv6 whoever has one has a whole /64.
fn host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

/// What is behind a lock; nothing panics while one is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_shown() {
        let gate = Gate::new(Vec::new(), b"l", vec![SecretKey::Aes128([1; 16])]);
        assert!(!format!("{gate:?}").contains("Aes128"));
    }

    #[test]
    fn large_claims_of_strangers_leave_room_for_small_messages() {
        let gate = Arc::new(Gate::new(Vec::new(), b"l", Vec::new()));
        let large: Vec<_> = (0..8).filter_map(|_| gate.claim(MAX_MESSAGE)).collect();
        assert_eq!(large.len(), MAX_ANNOUNCED / MAX_MESSAGE);
        assert!(gate.claim(SMALL + 1).is_none());
        assert!(gate.claim(SMALL).is_some());
    }

    #[test]
    fn connections_are_limited_by_address_and_in_all() {
        let gate = Arc::new(Gate::new(Vec::new(), b"l", Vec::new()));
        let ip = |n: u8| IpAddr::from([192, 0, 2, n]);
        let one: Vec<_> = (0..40).filter_map(|_| gate.admit(ip(1))).collect();
        assert_eq!(one.len(), MAX_CONNECTIONS_EACH);
        let all: Vec<_> = (2..=250).filter_map(|n| gate.admit(ip(n))).collect();
        assert_eq!(all.len(), MAX_CONNECTIONS - MAX_CONNECTIONS_EACH);
        drop((one, all));
        assert!(gate.admit(ip(1)).is_some());
        assert!(lock(&gate.open).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_gives_up_is_told_of_now_and_then() {
        let gate = Gate::new(Vec::new(), b"l", Vec::new());
        let ip = IpAddr::from([192, 0, 2, 1]);
        let mut told = 0;
        for _ in 0..900 {
            told += u32::from(gate.is_news(ip));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(told, 3);
    }

    #[test]
    fn whoever_has_a_network_of_ipv6_is_one() {
        let gate = Arc::new(Gate::new(Vec::new(), b"l", Vec::new()));
        let ip = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        let one: Vec<_> = (0..40).filter_map(|n| gate.admit(ip(n))).collect();
        assert_eq!(one.len(), MAX_CONNECTIONS_EACH);
    }

    #[test]
    fn only_the_networks_are_let_in() {
        let networks = vec!["192.0.2.0/25".parse().unwrap()];
        let gate = Arc::new(Gate::new(networks, b"l", Vec::new()));
        assert!(gate.admit("192.0.2.1".parse().unwrap()).is_some());
        assert!(gate.admit("::ffff:192.0.2.1".parse().unwrap()).is_some());
        assert!(gate.admit("192.0.2.129".parse().unwrap()).is_none());
        assert!(gate.admit("2001:db8::1".parse().unwrap()).is_none());
        assert_eq!(gate.refusals().connections, 2);
    }

    #[test]
    fn no_more_is_waited_for_than_there_is_room() {
        let gate = Arc::new(Gate::new(Vec::new(), b"l", Vec::new()));
        assert!(gate.claim(MAX_MESSAGE + 1).is_none());
        let claims: Vec<_> = (0..9).filter_map(|_| gate.claim(MAX_MESSAGE)).collect();
        assert_eq!(claims.len(), 4);
        drop(claims);
        assert!(gate.claim(MAX_MESSAGE).is_some());
        assert_eq!(gate.announced.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_is_not_of_the_cluster_is_told_by_how_it_begins() {
        let plain = Gate::new(Vec::new(), b"ab", Vec::new());
        let secret = Gate::new(Vec::new(), b"ab", vec![SecretKey::Aes128([1; 16])]);
        let table: [(&[u8], Opening, Opening); 7] = [
            (b"\x0c\x02ab\x08...", Opening::Ours, Opening::Plaintext),
            (b"\x0c\x02ab\x0f...", Opening::Encrypted, Opening::Ours),
            (b"\x0c\x02ac\x0f...", Opening::Label, Opening::Label),
            (b"\x0c\x03abc\x0f..", Opening::Label, Opening::Label),
            (b"\x08....", Opening::Label, Opening::Label),
            (b"\x0c\x02a", Opening::Ours, Opening::Ours),
            (b"", Opening::Ours, Opening::Ours),
        ];
        for (octets, by_plain, by_secret) in table {
            assert_eq!(plain.opening(octets), by_plain, "{octets:?}");
            assert_eq!(secret.opening(octets), by_secret, "{octets:?}");
        }
        let ip = IpAddr::from([192, 0, 2, 1]);
        assert!(
            !secret.admit_datagram(ip, b"\x0c\x02ab\x0f"),
            "nothing behind it"
        );
        assert!(secret.admit_datagram(ip, b"\x0c\x02ab\x0f."));
    }
}

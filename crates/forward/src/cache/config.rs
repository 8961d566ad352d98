//! Settings of a cache.

use std::time::Duration;

use portolan_proto::Name;

/// Settings of a cache.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheConfig {
    /// Names at or below these are kept. Default: the root.
    pub zones: Vec<Name>,
    /// Of the positive answers. Default: 9,984 entries, 3600 s at most, 5 s at
    /// least.
    pub success: StoreConfig,
    /// Of the negative answers. Default: 9,984 entries, 1800 s at most, 5 s
    /// at least.
    pub denial: StoreConfig,
    /// Most octets that all entries take together. Default: 840 for each
    /// entry of the capacities, 16 MiB for those by default. Each half has
    /// the share that its capacity has.
    pub max_size: Option<u64>,
    /// Refresh of popular entries before they expire. Default: none.
    pub prefetch: Option<Prefetch>,
    /// Use of expired entries. Default: none.
    pub serve_stale: Option<ServeStale>,
    /// How long SERVFAIL is kept, up to 5 min; 0 is not at all. Default: 5 s.
    pub servfail: Duration,
    /// Names at or below these have no positive entries.
    pub disable_success: Vec<Name>,
    /// Names at or below these have no negative entries.
    pub disable_denial: Vec<Name>,
    /// Whether TTLs stay as they were when kept. Default: no, they count down.
    pub keepttl: bool,
}

/// Bounds of one half of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Most entries.
    pub capacity: usize,
    /// Longest time that an entry is kept, in seconds.
    pub max_ttl: u32,
    /// Shortest time, in seconds. A TTL of 0 stays 0, and is not kept.
    pub min_ttl: u32,
}

/// What one half of a cache may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Entries.
    pub(super) entries: u64,
    /// Octets that they take.
    pub(super) octets: u64,
}

/// Which entries are refreshed before they expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// Those asked for this often,
    pub amount: u32,
    /// never this long apart; default 1 min,
    pub duration: Duration,
    /// once this share of their TTL is left; 10 to 90 %, default 10.
    pub percentage: u8,
}

/// How expired entries are used (RFC 8767).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeStale {
    /// For how long after they expired. Default: 1 h.
    pub duration: Duration,
    /// At once, or if upstreams fail. Default: at once.
    pub mode: StaleMode,
    /// TTL of such an answer in seconds. Default: 0.
    pub reply_ttl: u32,
    /// How long after a failed refresh the next one may begin, up to 5 min.
    /// Default: 0, with the next query.
    pub recheck: Duration,
    /// Whether an expired positive entry goes before an expired negative one.
    /// Default: no.
    pub prefer_positive: bool,
}

/// When an expired entry is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleMode {
    /// At once; upstreams are asked meanwhile.
    Immediate,
    /// After upstreams failed, or had no answer in this time. 0 stands for
    /// 1.8 s (RFC 8767 §5).
    Verify {
        /// The time.
        timeout: Duration,
    },
}

/// Values of the labels that the metrics of a cache carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheLabels {
    /// The server, such as `dns://:54`.
    pub server: String,
    /// The zones, joined by commas.
    pub zones: String,
    /// The view, or nothing.
    pub view: String,
}

/// Octets that an entry may take on average unless `max_size` says otherwise:
/// twice what an address takes.
const OCTETS_PER_ENTRY: u64 = 840;

// === impl CacheConfig ===

impl CacheConfig {
    /// The bounds of both halves, positive and negative answers.
    pub(super) fn bounds(&self) -> (Bounds, Bounds) {
        let capacity =
            |store: &StoreConfig| u64::try_from(store.capacity.max(1)).unwrap_or(u64::MAX);
        let (success, denial) = (capacity(&self.success), capacity(&self.denial));
        let both = success.saturating_add(denial);
        let size = self
            .max_size
            .unwrap_or_else(|| both.saturating_mul(OCTETS_PER_ENTRY));
        // In 128 bits nothing of this is out of range.
        let share = u128::from(size) * u128::from(success) / u128::from(both);
        let of_success = u64::try_from(share).unwrap_or(size);
        let bounds = |entries, octets| Bounds { entries, octets };
        (
            bounds(success, of_success),
            bounds(denial, size - of_success),
        )
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            zones: vec![Name::root()],
            success: StoreConfig {
                capacity: 9984,
                max_ttl: 3600,
                min_ttl: 5,
            },
            denial: StoreConfig {
                capacity: 9984,
                max_ttl: 1800,
                min_ttl: 5,
            },
            max_size: None,
            prefetch: None,
            serve_stale: None,
            servfail: Duration::from_secs(5),
            disable_success: Vec::new(),
            disable_denial: Vec::new(),
            keepttl: false,
        }
    }
}

// === impl StoreConfig ===

impl StoreConfig {
    /// A TTL that is within bounds.
    pub(super) fn bound(&self, ttl: u32) -> u32 {
        ttl.max(self.min_ttl).min(self.max_ttl.max(self.min_ttl))
    }
}

// === impl Prefetch ===

impl Prefetch {
    /// Entries asked for `amount` times, with the other defaults.
    pub fn new(amount: u32) -> Self {
        Self {
            amount,
            duration: Duration::from_secs(60),
            percentage: 10,
        }
    }
}

// === impl ServeStale ===

impl Default for ServeStale {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(3600),
            mode: StaleMode::Immediate,
            reply_ttl: 0,
            recheck: Duration::ZERO,
            prefer_positive: false,
        }
    }
}

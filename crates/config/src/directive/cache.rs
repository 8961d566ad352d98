//! `cache`: answers of upstreams are kept for their TTL.

use std::time::Duration;

use portolan_proto::Name;

use crate::diagnostic::ConfigError;
use crate::duration::SignedDuration;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::token::Token;
use crate::words::Words;
use crate::words::parse_integer;

/// The cache of a server block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Names that are cached; by default the block's zones.
    pub zones: Vec<Name>,
    /// Answers that hold what was asked for.
    pub success: CacheStore,
    /// Answers that deny it.
    pub denial: CacheStore,
    /// So many octets are kept in all, at least 64 KiB. Default: in
    /// proportion to the capacities, 16 MiB for those by default.
    pub max_size: Option<u64>,
    /// Refreshing entries before they expire; off by default.
    pub prefetch: Option<Prefetch>,
    /// Answering with expired entries; off by default.
    pub serve_stale: Option<ServeStale>,
    /// How long a failure is kept, at most 5 min. Default 5 s; zero for not.
    pub servfail: Duration,
    /// Zones whose positive answers are not kept.
    pub success_disabled: Vec<Name>,
    /// Zones whose denials are not kept.
    pub denial_disabled: Vec<Name>,
    /// Whether an answer from the cache has its TTL as stored, not what is
    /// left of it.
    pub keep_ttl: bool,
    /// Whether a reload empties it, though nothing about it has changed.
    pub flush_on_reload: bool,
}

/// One of the two halves of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStore {
    /// So many messages are kept. Default 9984.
    pub capacity: usize,
    /// Longest life in seconds, at least 1. Default 3600, of denials 1800.
    pub max_ttl: u32,
    /// Shortest life in seconds. Default 5.
    pub min_ttl: u32,
}

/// Refreshing entries that are asked for often, shortly before they expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// So many questions make an entry popular; at least 1.
    pub amount: u32,
    /// A pause of this length makes it unpopular. Default 1 min.
    pub duration: Duration,
    /// Share of the TTL that is left when an entry is refreshed, in percent,
    /// 10..=90. Default 10.
    pub percentage: u8,
}

/// Answering with expired entries (RFC 8767).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeStale {
    /// How long after it expired an entry may be used. Default 1 h.
    pub window: Duration,
    /// Whether the upstream is asked before or after.
    pub refresh: StaleRefresh,
    /// TTL of a stale answer, in seconds. Default 0.
    pub ttl: u32,
    /// After a failed refresh, so long no other is tried; at most 5 min.
    pub recheck: Option<Duration>,
    /// Whether an expired positive answer is used rather than an expired
    /// denial (`serve_stale_policy prefer_positive`).
    pub prefer_positive: bool,
}

/// When an expired entry is refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleRefresh {
    /// Answer first, then ask.
    Immediate,
    /// Ask first; answer with the expired entry when that fails.
    Verify {
        /// How long to wait for the upstream; `None` for as long as the
        /// upstream's own limit is.
        timeout: Option<Duration>,
    },
}

/// Reads the occurrences of `cache`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<Cache>> {
    let directive = scope.once(written)?;
    let mut cache = Cache {
        zones: Vec::new(),
        success: CacheStore {
            capacity: CAPACITY,
            max_ttl: 3600,
            min_ttl: 5,
        },
        denial: CacheStore {
            capacity: CAPACITY,
            max_ttl: 1800,
            min_ttl: 5,
        },
        max_size: None,
        prefetch: None,
        serve_stale: None,
        servfail: Duration::from_secs(5),
        success_disabled: Vec::new(),
        denial_disabled: Vec::new(),
        keep_ttl: false,
        flush_on_reload: false,
    };
    let arguments = read_arguments(
        &mut Words::arguments(scope.plugin, directive),
        scope,
        &mut cache,
    );
    scope.sink.keep(arguments);
    let mut prefer_positive = None;
    scope.properties(directive, |words, scope| {
        match words.current().text.as_str() {
            "serve_stale_policy" => {
                prefer_positive = Some(words.current().clone());
                read_policy(words)
            }
            _ => read_property(words, scope, &mut cache),
        }
    });
    if let Some(token) = prefer_positive {
        match &mut cache.serve_stale {
            Some(serve_stale) => serve_stale.prefer_positive = true,
            None => scope.sink.warn(
                &token.position,
                "serve_stale_policy has no effect without serve_stale",
            ),
        }
    }
    Some(Located::new(cache, &directive.name.position))
}

/// Reads `[TTL] [ZONES…]`.
fn read_arguments(
    words: &mut Words<'_>,
    scope: &Scope<'_>,
    cache: &mut Cache,
) -> Result<(), ConfigError> {
    if let Some(ttl) = words.peek().and_then(|token| parse_integer(&token.text)) {
        words.take();
        let ttl = positive_ttl(words, words.current(), ttl)?;
        cache.success.max_ttl = ttl;
        cache.denial.max_ttl = ttl;
    } else if let Some(token) = words.peek()
        && token.text.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(duration) = SignedDuration::parse(&token.text)
    {
        let seconds = duration.non_negative().unwrap_or_default().as_secs();
        return Err(words.error_at(
            token,
            format!(
                "'{}' would be read as a zone: the TTL is in seconds (write {seconds})",
                token.text
            ),
        ));
    }
    let tokens = words.rest();
    cache.zones = scope.zones_or_own(words, tokens)?;
    Ok(())
}

/// Reads one property.
fn read_property(
    words: &mut Words<'_>,
    scope: &Scope<'_>,
    cache: &mut Cache,
) -> Result<(), ConfigError> {
    match words.current().text.as_str() {
        "success" => cache.success = read_store(words, cache.success)?,
        "denial" => cache.denial = read_store(words, cache.denial)?,
        "max_size" => cache.max_size = Some(read_max_size(words)?),
        // None is enough to be popular: CoreDNS fetches nothing then.
        "prefetch" => cache.prefetch = Some(read_prefetch(words)?).filter(|p| p.amount > 0),
        "serve_stale" => cache.serve_stale = read_serve_stale(words)?,
        "servfail" => {
            cache.servfail = words.duration("caching SERVFAIL responses")?;
            if cache.servfail > MAX_SERVFAIL {
                return Err(words.error(format!(
                    "caching SERVFAIL responses over 5 minutes is not permitted: {}",
                    words.current().text
                )));
            }
            words.end()?;
        }
        "disable" => read_disable(words, scope, cache)?,
        "keepttl" => {
            words.end()?;
            cache.keep_ttl = true;
        }
        "flush_on_reload" => {
            words.end()?;
            cache.flush_on_reload = true;
        }
        _ => {
            let argument_error = words.argument_error();
            let unknown = words.unknown_property(PROPERTIES);
            return Err(words.error(format!(
                "{} ({})",
                argument_error.message(),
                unknown.message()
            )));
        }
    }
    Ok(())
}

/// Reads `CAPACITY [TTL] [MINTTL]`.
fn read_store(words: &mut Words<'_>, default: CacheStore) -> Result<CacheStore, ConfigError> {
    let mut store = CacheStore {
        capacity: words.count("cache capacity")?,
        ..default
    };
    if let Some(token) = words.take() {
        store.max_ttl = positive_ttl(words, token, words.integer_of(token)?)?;
    }
    if words.peek().is_some() {
        store.min_ttl = words.count("cache min TTL")?;
    }
    words.end()?;
    Ok(store)
}

/// Reads `SIZE`.
fn read_max_size(words: &mut Words<'_>) -> Result<u64, ConfigError> {
    let size = words.size()?;
    if size < MIN_SIZE {
        return Err(words.error(format!(
            "max_size must be at least 64KiB: {}",
            words.current().text
        )));
    }
    words.end()?;
    Ok(size)
}

/// Reads `AMOUNT [DURATION] [PERCENTAGE%]`.
fn read_prefetch(words: &mut Words<'_>) -> Result<Prefetch, ConfigError> {
    let amount = words.count("prefetch amount")?;
    let mut prefetch = Prefetch {
        amount,
        duration: Duration::from_secs(60),
        percentage: 10,
    };
    if words.peek().is_some() {
        prefetch.duration = words.duration("prefetch duration")?;
    }
    if let Some(token) = words.take() {
        let number = token.text.strip_suffix('%').ok_or_else(|| {
            words.error(format!(
                "last character of percentage should be `%`, but is: {:?}",
                token
                    .text
                    .chars()
                    .last()
                    .map(String::from)
                    .unwrap_or_default()
            ))
        })?;
        let number = parse_integer(number)
            .ok_or_else(|| words.error(format!("'{}' is not a percentage", token.text)))?;
        prefetch.percentage = u8::try_from(number)
            .ok()
            .filter(|percentage| (10..=90).contains(percentage))
            .ok_or_else(|| {
                words.error(format!(
                    "percentage should fall in range [10, 90]: {number}"
                ))
            })?;
    }
    words.end()?;
    Ok(prefetch)
}

/// Reads `[WINDOW] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]`.
fn read_serve_stale(words: &mut Words<'_>) -> Result<Option<ServeStale>, ConfigError> {
    let mut stale = ServeStale {
        window: Duration::from_secs(3600),
        refresh: StaleRefresh::Immediate,
        ttl: 0,
        recheck: None,
        prefer_positive: false,
    };
    if words.peek().is_some() {
        stale.window = words.duration("serve_stale duration")?;
    }
    if let Some(mode) = words.take() {
        stale.refresh = match mode.text.to_ascii_lowercase().as_str() {
            "immediate" => StaleRefresh::Immediate,
            "verify" => {
                let mut timeout = None;
                if words.peek().is_some() {
                    timeout = Some(words.duration("verify timeout")?);
                }
                StaleRefresh::Verify {
                    timeout: timeout.filter(|timeout| !timeout.is_zero()),
                }
            }
            _ => {
                return Err(words.error(format!(
                    "invalid value for serve_stale refresh mode: {} (valid: immediate, verify)",
                    mode.text
                )));
            }
        };
    }
    if let Some(token) = words.take() {
        stale.ttl = whole_seconds(words, token)?;
    }
    if words.peek().is_some() {
        let recheck = words.duration("serve_stale recheck")?;
        if recheck > MAX_SERVFAIL {
            return Err(words.error(format!(
                "serve_stale recheck over 5 minutes is not permitted: {}",
                words.current().text
            )));
        }
        stale.recheck = Some(recheck);
    }
    words.end()?;
    Ok(Some(stale).filter(|stale| !stale.window.is_zero()))
}

/// Reads `prefer_positive`.
fn read_policy(words: &mut Words<'_>) -> Result<(), ConfigError> {
    let token = words.expect()?;
    if token.text != "prefer_positive" {
        return Err(words.error(format!(
            "unknown serve_stale_policy '{}' (valid: prefer_positive)",
            token.text
        )));
    }
    words.end()
}

/// Reads `success|denial [ZONES…]`.
fn read_disable(
    words: &mut Words<'_>,
    scope: &Scope<'_>,
    cache: &mut Cache,
) -> Result<(), ConfigError> {
    let kind = words.expect()?;
    let disabled = match kind.text.as_str() {
        "success" => &mut cache.success_disabled,
        "denial" => &mut cache.denial_disabled,
        other => {
            return Err(words.error(format!(
                "cache type for disable must be \"success\" or \"denial\", not {other:?}"
            )));
        }
    };
    let tokens = words.rest();
    disabled.extend(scope.zones_or_own(words, tokens)?);
    Ok(())
}

/// A TTL in seconds, which must be at least 1.
fn positive_ttl(words: &Words<'_>, token: &Token, ttl: i64) -> Result<u32, ConfigError> {
    u32::try_from(ttl)
        .ok()
        .filter(|ttl| *ttl > 0)
        .ok_or_else(|| {
            let message = if ttl > 0 {
                format!("cache TTL is too large: {ttl}")
            } else {
                format!("cache TTL can not be zero or negative: {ttl}")
            };
            words.error_at(token, message)
        })
}

/// A duration of whole seconds.
fn whole_seconds(words: &Words<'_>, token: &Token) -> Result<u32, ConfigError> {
    let duration = words.duration_of(token, "serve_stale TTL")?;
    u32::try_from(duration.as_secs())
        .ok()
        .filter(|_| duration.subsec_nanos() == 0)
        .ok_or_else(|| {
            words.error_at(
                token,
                format!(
                    "serve_stale TTL must be a whole number of seconds: {}",
                    token.text
                ),
            )
        })
}

/// Messages a half of the cache keeps by default.
const CAPACITY: usize = 9984;

/// Octets of the smallest cache.
const MIN_SIZE: u64 = 64 << 10;

/// RFC 2308 §7.1: a failure is kept for five minutes at most.
const MAX_SERVFAIL: Duration = Duration::from_secs(300);

/// The properties, for suggestions.
const PROPERTIES: &[&str] = &[
    "success",
    "denial",
    "max_size",
    "prefetch",
    "serve_stale",
    "serve_stale_policy",
    "servfail",
    "disable",
    "keepttl",
    "flush_on_reload",
];

//! `reload`: the configuration is read again when it changed.

use std::time::Duration;

use crate::diagnostic::ConfigError;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::words::Words;

/// How often the configuration is looked at. One in any block is enough for
/// the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Time between two looks, at least 2 s. Default 30 s.
    pub interval: Duration,
    /// The interval varies by so much, half of it either way: zero, or at
    /// least 1 s; at most half the interval. Default 15 s.
    pub jitter: Duration,
}

/// Reads the occurrences of `reload`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<Reload>> {
    let directive = scope.last(written)?;
    let reload = read(&mut Words::arguments(scope.plugin, directive));
    scope.no_properties(directive);
    Some(Located::new(
        scope.sink.keep(reload)?,
        &directive.name.position,
    ))
}

/// Reads `[INTERVAL] [JITTER]`.
fn read(words: &mut Words<'_>) -> Result<Reload, ConfigError> {
    let mut interval = Duration::from_secs(30);
    let mut jitter = Duration::from_secs(15);
    if words.peek().is_some() {
        interval = words.duration("interval value")?;
        if interval < MIN_INTERVAL {
            return Err(words.error("interval value must be greater or equal to 2s"));
        }
    }
    if words.peek().is_some() {
        jitter = words.duration("jitter value")?;
        if jitter < MIN_JITTER && !jitter.is_zero() {
            return Err(words.error("jitter value must be 0 or greater or equal to 1s"));
        }
    }
    words.end()?;
    Ok(Reload {
        interval,
        jitter: jitter.min(interval / 2),
    })
}

/// Looking more often costs more than it brings.
const MIN_INTERVAL: Duration = Duration::from_secs(2);

/// A smaller jitter spreads nothing.
const MIN_JITTER: Duration = Duration::from_secs(1);

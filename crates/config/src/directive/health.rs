//! `health`: an HTTP endpoint that says the process is alive.

use std::time::Duration;

use crate::address::ListenAddress;
use crate::diagnostic::ConfigError;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::words::Words;

/// The health endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Where it listens. Default `:8080`.
    pub address: ListenAddress,
    /// How long the server goes on answering after it was told to stop.
    /// Default zero.
    pub lameduck: Duration,
}

/// Reads the occurrences of `health`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<Health>> {
    let directive = scope.last(written)?;
    let address = read_address(&mut Words::arguments(scope.plugin, directive));
    let address = scope
        .sink
        .keep(address)
        .flatten()
        .unwrap_or_else(|| ListenAddress::any(8080));
    let mut health = Health {
        address,
        lameduck: Duration::ZERO,
    };
    scope.properties(directive, |words, _| match words.current().text.as_str() {
        "lameduck" => {
            let token = words.expect()?;
            health.lameduck = words.duration_of(token, "lameduck").map_err(|error| {
                words.error(format!(
                    "unable to parse lameduck duration value: '{}' : {}",
                    token.text,
                    error.message()
                ))
            })?;
            words.end()
        }
        _ => Err(words.unknown_property(&["lameduck"])),
    });
    Some(Located::new(health, &directive.name.position))
}

/// Reads the one argument of an HTTP endpoint, `[ADDRESS]`.
pub(crate) fn read_address(words: &mut Words<'_>) -> Result<Option<ListenAddress>, ConfigError> {
    let Some(token) = words.take() else {
        return Ok(None);
    };
    let address =
        ListenAddress::parse(&token.text).map_err(|error| words.error(error.to_string()))?;
    words.end()?;
    Ok(Some(address))
}

//! `ready`: an HTTP endpoint that says every stage is ready to answer.

use crate::address::ListenAddress;
use crate::directive::health::read_address;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::words::Words;

/// The readiness endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where it listens. Default `:8181`.
    pub address: ListenAddress,
    /// Whether a stage that was ready once is asked again.
    pub monitor: Monitor,
}

/// How long readiness is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Monitor {
    /// Until every stage has been ready once. The default.
    #[default]
    UntilReady,
    /// For as long as the server runs.
    Continuously,
}

/// Reads the occurrences of `ready`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<Ready>> {
    let directive = scope.once(written)?;
    let address = read_address(&mut Words::arguments(scope.plugin, directive));
    let address = scope
        .sink
        .keep(address)
        .flatten()
        .unwrap_or_else(|| ListenAddress::any(8181));
    let mut ready = Ready {
        address,
        monitor: Monitor::default(),
    };
    scope.properties(directive, |words, _| match words.current().text.as_str() {
        "monitor" => {
            let token = words.expect()?;
            ready.monitor = match token.text.as_str() {
                "until-ready" => Monitor::UntilReady,
                "continuously" => Monitor::Continuously,
                other => {
                    return Err(words.error(format!(
                        "monitor type '{other}' not supported (valid: until-ready, continuously)"
                    )));
                }
            };
            words.end()
        }
        _ => Err(words.unknown_property(&["monitor"])),
    });
    Some(Located::new(ready, &directive.name.position))
}

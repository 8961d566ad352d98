//! `prometheus`: an HTTP endpoint with the metrics.

use crate::address::ListenAddress;
use crate::catalog;
use crate::directive::health::read_address;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::words::Words;

/// The metrics endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// Where it listens. Default `localhost:9153`: in a container write
    /// `:9153`.
    pub address: ListenAddress,
    /// `runtime_metrics`: Go's own metrics. There are none to add.
    pub runtime_metrics: bool,
}

/// Reads the occurrences of `prometheus`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<Prometheus>> {
    let directive = scope.once(written)?;
    let address = read_address(&mut Words::arguments(scope.plugin, directive));
    let address = scope
        .sink
        .keep(address)
        .flatten()
        .unwrap_or_else(|| ListenAddress {
            host: "localhost".to_owned(),
            port: 9153,
        });
    let mut prometheus = Prometheus {
        address,
        runtime_metrics: false,
    };
    scope.properties(directive, |words, _| match words.current().text.as_str() {
        "runtime_metrics" => {
            prometheus.runtime_metrics = true;
            words.end()
        }
        "tls" => Err(words.error("metrics over TLS are not supported yet")),
        other => {
            let suggestion = catalog::suggestion(other, ["runtime_metrics"]);
            Err(words.error(format!("unknown option: {other}{suggestion}")))
        }
    });
    Some(Located::new(prometheus, &directive.name.position))
}

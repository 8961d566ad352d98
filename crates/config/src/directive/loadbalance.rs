//! `loadbalance`: the order of several addresses in an answer.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::diagnostic::ConfigError;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::token::Token;
use crate::words::Words;

/// How the addresses of an answer are ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalance {
    /// Which address comes first.
    pub policy: LoadBalancePolicy,
    /// Addresses within these ranges come before the others.
    pub prefer: Vec<IpNet>,
}

/// Which address comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadBalancePolicy {
    /// Another one in each answer.
    RoundRobin,
    /// One drawn by its weight.
    Weighted {
        /// The file with the weights.
        file: PathBuf,
        /// How often it is looked at; `None` for never. Default 30 s.
        reload: Option<Duration>,
    },
}

/// Reads the occurrences of `loadbalance`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<LoadBalance>> {
    let directive = scope.last(written)?;
    let policy = read_policy(&mut Words::arguments(scope.plugin, directive));
    let policy = scope
        .sink
        .keep(policy)
        .unwrap_or(LoadBalancePolicy::RoundRobin);
    let mut balance = LoadBalance {
        policy,
        prefer: Vec::new(),
    };
    scope.properties(directive, |words, _| match words.current().text.as_str() {
        "prefer" => {
            for token in words.some()? {
                balance.prefer.push(network(words, token)?);
            }
            Ok(())
        }
        "reload" => {
            let LoadBalancePolicy::Weighted { reload, .. } = &mut balance.policy else {
                return Err(words.error("reload belongs to 'loadbalance weighted FILE'"));
            };
            *reload = Some(words.duration("reload")?).filter(|interval| !interval.is_zero());
            words.end()
        }
        _ => Err(words.unknown_property(&["prefer", "reload"])),
    });
    Some(Located::new(balance, &directive.name.position))
}

/// Reads `[round_robin | weighted FILE]`.
fn read_policy(words: &mut Words<'_>) -> Result<LoadBalancePolicy, ConfigError> {
    let Some(token) = words.take() else {
        return Ok(LoadBalancePolicy::RoundRobin);
    };
    let policy = match token.text.as_str() {
        "round_robin" => LoadBalancePolicy::RoundRobin,
        "weighted" => {
            let file = words
                .take()
                .ok_or_else(|| words.error("missing weight file argument"))?;
            LoadBalancePolicy::Weighted {
                file: PathBuf::from(&file.text),
                reload: Some(Duration::from_secs(30)),
            }
        }
        other => {
            return Err(words.error(format!(
                "unknown policy: {other} (valid: round_robin, weighted FILE)"
            )));
        }
    };
    words.end()?;
    Ok(policy)
}

/// The range of addresses a word says. A single address is a range of one.
pub(crate) fn network(words: &Words<'_>, token: &Token) -> Result<IpNet, ConfigError> {
    let text = token.text.as_str();
    text.parse::<IpNet>()
        .map(|network| network.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            words.error_at(
                token,
                format!("illegal CIDR notation {text:?} (as in 192.0.2.0/24)"),
            )
        })
}

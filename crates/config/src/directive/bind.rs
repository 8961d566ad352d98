//! `bind`: the addresses a server block listens on.

use std::fmt;
use std::net::IpAddr;

use crate::diagnostic::ConfigError;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::token::Token;
use crate::words::Words;

/// One `bind` of a server block. Several add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Where to listen, at least one.
    pub addresses: Vec<BindTarget>,
    /// Where not to listen, although `addresses` has it.
    pub except: Vec<BindTarget>,
}

/// An address, or an interface that stands for its addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BindTarget {
    /// An address; a link-local one may name its interface.
    Address {
        /// The address.
        address: IpAddr,
        /// The part after `%`.
        scope: Option<String>,
    },
    /// An interface by name. Whether it exists is known when the listener is
    /// opened.
    Interface(String),
}

// === impl BindTarget ===

impl fmt::Display for BindTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address {
                address,
                scope: None,
            } => write!(f, "{address}"),
            Self::Address {
                address,
                scope: Some(scope),
            } => write!(f, "{address}%{scope}"),
            Self::Interface(name) => f.write_str(name),
        }
    }
}

/// Reads the occurrences of `bind`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Vec<Located<Bind>> {
    written
        .iter()
        .map(|directive| {
            let mut words = Words::arguments(scope.plugin, directive);
            let addresses = targets(&mut words);
            let addresses = scope.sink.keep(addresses).unwrap_or_default();
            let mut bind = Bind {
                addresses,
                except: Vec::new(),
            };
            scope.properties(directive, |words, _| match words.current().text.as_str() {
                "except" => {
                    bind.except.extend(targets(words)?);
                    Ok(())
                }
                _ => Err(words.unknown_property(&["except"])),
            });
            Located::new(bind, &directive.name.position)
        })
        .collect()
}

/// Reads the targets that are left.
fn targets(words: &mut Words<'_>) -> Result<Vec<BindTarget>, ConfigError> {
    words
        .some()?
        .iter()
        .map(|token| target(words, token))
        .collect()
}

/// The target a word says.
fn target(words: &Words<'_>, token: &Token) -> Result<BindTarget, ConfigError> {
    let text = token.text.as_str();
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, Some(scope.to_owned())),
        None => (text, None),
    };
    if let Ok(address) = address.parse() {
        return Ok(BindTarget::Address { address, scope });
    }
    if !is_interface_name(text) {
        return Err(words.error_at(
            token,
            format!("not a valid IP address or interface name: {text:?}"),
        ));
    }
    Ok(BindTarget::Interface(text.to_owned()))
}

/// Whether Linux would let an interface have this name.
fn is_interface_name(text: &str) -> bool {
    // A name that begins with a digit and has dots is a mistyped address
    // rather than an interface.
    let mistyped = text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.');
    (1..=MAX_INTERFACE_NAME).contains(&text.len())
        && !mistyped
        && !text.contains(['/', ':', ','])
        && !text.contains(char::is_whitespace)
}

/// Longest name of an interface, `IFNAMSIZ` without the final zero.
const MAX_INTERFACE_NAME: usize = 15;

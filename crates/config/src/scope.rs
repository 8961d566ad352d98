//! What the setup of a directive may see and use.

use portolan_proto::Name;

use crate::diagnostic::ConfigError;
use crate::diagnostic::Sink;
use crate::env::Env;
use crate::position::Position;
use crate::token::Directive;
use crate::token::Token;
use crate::words::Words;

/// The surroundings of a directive.
pub(crate) struct Scope<'a> {
    /// The name of the directive.
    pub(crate) plugin: &'static str,
    /// The zones of its server block.
    pub(crate) zones: &'a [Name],
    /// The environment.
    pub(crate) env: Env<'a>,
    /// Takes what is wrong.
    pub(crate) sink: &'a mut Sink,
}

// === impl Scope ===

impl Scope<'_> {
    /// The one occurrence of a directive that may not be repeated.
    pub(crate) fn once<'d>(&mut self, written: &[&'d Directive]) -> Option<&'d Directive> {
        let (first, others) = written.split_first()?;
        for other in others {
            self.error_at(
                &other.name,
                "this plugin can only be used once per Server Block",
            );
        }
        Some(first)
    }

    /// The last of several occurrences of a directive, the one that counts.
    pub(crate) fn last<'d>(&mut self, written: &[&'d Directive]) -> Option<&'d Directive> {
        let (last, others) = written.split_last()?;
        for other in others {
            let message = format!(
                "this '{}' has no effect: another one at {} replaces it",
                self.plugin, last.name.position
            );
            self.sink.warn(&other.name.position, message);
        }
        Some(last)
    }

    /// Reads a directive's block line by line.
    ///
    /// `read` is called with the name of a property as the current word. What
    /// it leaves unread is taken as a further property, as CoreDNS does it:
    /// `{ max_fails 2 expire 5s }` is two properties on a line.
    pub(crate) fn properties(
        &mut self,
        directive: &Directive,
        mut read: impl FnMut(&mut Words<'_>, &mut Self) -> Result<(), ConfigError>,
    ) {
        for property in directive.block.iter().flatten() {
            let mut words = Words::property(self.plugin, property);
            let mut more = true;
            while more {
                if let Err(error) = read(&mut words, self) {
                    self.sink.error(error);
                    break;
                }
                more = words.take().is_some();
            }
        }
    }

    /// Checks that a directive has no properties.
    pub(crate) fn no_properties(&mut self, directive: &Directive) {
        self.properties(directive, |words, _| Err(words.unknown_property(&[])));
    }

    /// The zones that words stand for, or the block's if there are none.
    pub(crate) fn zones_or_own(
        &self,
        words: &Words<'_>,
        tokens: &[Token],
    ) -> Result<Vec<Name>, ConfigError> {
        if tokens.is_empty() {
            Ok(self.zones.to_vec())
        } else {
            words.zones(tokens)
        }
    }

    /// A variable of the environment that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// Notes a mistake in a word.
    pub(crate) fn error_at(&mut self, token: &Token, message: impl Into<String>) {
        self.error_in(&token.position, message);
    }

    /// Notes a mistake at a place.
    pub(crate) fn error_in(&mut self, position: &Position, message: impl Into<String>) {
        self.sink
            .error(ConfigError::plugin(self.plugin, position, message));
    }
}

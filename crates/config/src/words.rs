//! The words of one line of a directive, read one after the other.

use std::slice::Iter;
use std::time::Duration;

use portolan_proto::Name;

use crate::catalog;
use crate::diagnostic::ConfigError;
use crate::duration::SignedDuration;
use crate::size;
use crate::token::Directive;
use crate::token::Property;
use crate::token::Token;
use crate::zone::zones_of;

/// A reader of words that knows how to complain about them.
pub(crate) struct Words<'a> {
    /// The directive whose words they are.
    plugin: &'static str,
    /// The word read last.
    current: &'a Token,
    /// The words not read.
    rest: Iter<'a, Token>,
}

// === impl Words ===

impl<'a> Words<'a> {
    /// The arguments of a directive; the current word is its name.
    pub(crate) fn arguments(plugin: &'static str, directive: &'a Directive) -> Self {
        Self {
            plugin,
            current: &directive.name,
            rest: directive.arguments.iter(),
        }
    }

    /// The arguments of a property; the current word is its name.
    pub(crate) fn property(plugin: &'static str, property: &'a Property) -> Self {
        Self {
            plugin,
            current: &property.name,
            rest: property.arguments.iter(),
        }
    }

    /// The word read last.
    pub(crate) fn current(&self) -> &'a Token {
        self.current
    }

    /// Reads a word, if there is one.
    pub(crate) fn take(&mut self) -> Option<&'a Token> {
        let token = self.rest.next()?;
        self.current = token;
        Some(token)
    }

    /// The next word, unread.
    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.rest.as_slice().first()
    }

    /// Reads a word that must be there.
    pub(crate) fn expect(&mut self) -> Result<&'a Token, ConfigError> {
        self.take().ok_or_else(|| self.too_few())
    }

    /// Reads every word that is left.
    pub(crate) fn rest(&mut self) -> &'a [Token] {
        let words = self.rest.as_slice();
        self.rest = [].iter();
        self.current = words.last().unwrap_or(self.current);
        words
    }

    /// Reads every word that is left, of which there must be one.
    pub(crate) fn some(&mut self) -> Result<&'a [Token], ConfigError> {
        match self.rest() {
            [] => Err(self.too_few()),
            words => Ok(words),
        }
    }

    /// Checks that every word has been read.
    pub(crate) fn end(&mut self) -> Result<(), ConfigError> {
        match self.take() {
            Some(_) => Err(self.argument_error_because("one word too many")),
            None => Ok(()),
        }
    }

    /// Reads a duration that is not negative.
    pub(crate) fn duration(&mut self, what: &str) -> Result<Duration, ConfigError> {
        let token = self.expect()?;
        self.duration_of(token, what)
    }

    /// The duration a word says, which must not be negative.
    pub(crate) fn duration_of(&self, token: &Token, what: &str) -> Result<Duration, ConfigError> {
        let duration = SignedDuration::parse(&token.text)
            .map_err(|error| self.error_at(token, error.to_string()))?;
        duration.non_negative().ok_or_else(|| {
            self.error_at(token, format!("{what} can't be negative: {}", token.text))
        })
    }

    /// Reads a size in octets.
    pub(crate) fn size(&mut self) -> Result<u64, ConfigError> {
        let token = self.expect()?;
        size::parse(&token.text).map_err(|error| self.error_at(token, error.to_string()))
    }

    /// The whole number a word says.
    pub(crate) fn integer_of(&self, token: &Token) -> Result<i64, ConfigError> {
        parse_integer(&token.text)
            .ok_or_else(|| self.error_at(token, format!("'{}' is not a whole number", token.text)))
    }

    /// Reads a whole number of a type that knows no sign.
    pub(crate) fn count<N: TryFrom<i64>>(&mut self, what: &str) -> Result<N, ConfigError> {
        let token = self.expect()?;
        let number = self.integer_of(token)?;
        if number < 0 {
            return Err(self.error_at(token, format!("{what} can't be negative: {number}")));
        }
        N::try_from(number)
            .map_err(|_| self.error_at(token, format!("{what} is too large: {number}")))
    }

    /// The zones that words stand for.
    pub(crate) fn zones(&self, words: &[Token]) -> Result<Vec<Name>, ConfigError> {
        let mut zones = Vec::with_capacity(words.len());
        for token in words {
            let found =
                zones_of(&token.text).map_err(|error| self.error_at(token, error.to_string()))?;
            zones.extend(found);
        }
        Ok(zones)
    }

    /// A mistake in the current word.
    pub(crate) fn error(&self, message: impl Into<String>) -> ConfigError {
        self.error_at(self.current, message)
    }

    /// A mistake in a word.
    pub(crate) fn error_at(&self, token: &Token, message: impl Into<String>) -> ConfigError {
        ConfigError::plugin(self.plugin, &token.position, message)
    }

    /// Too few words, or too many.
    pub(crate) fn argument_error(&self) -> ConfigError {
        self.error(format!(
            "Wrong argument count or unexpected line ending after '{}'",
            self.current.text
        ))
    }

    /// A word is missing.
    fn too_few(&self) -> ConfigError {
        self.argument_error_because("a word is missing")
    }

    /// Too few words, or too many, and which of the two.
    fn argument_error_because(&self, why: &str) -> ConfigError {
        let error = self.argument_error();
        self.error(format!(
            "{} ({why}; docs/directives.md has the syntax)",
            error.message()
        ))
    }

    /// A property the directive does not have.
    pub(crate) fn unknown_property(&self, known: &[&str]) -> ConfigError {
        let word = &self.current.text;
        let mut suggestion = catalog::suggestion(word, known.iter().copied());
        if suggestion.is_empty() && catalog::is_directive(word) {
            suggestion = format!(" (a directive: is the block of '{}' closed?)", self.plugin);
        }
        self.error(format!("unknown property '{word}'{suggestion}"))
    }
}

/// Whether a text says yes, as Joyride reads it; anything else says no.
pub(crate) fn is_true(text: &str) -> bool {
    ["true", "1", "yes"]
        .iter()
        .any(|yes| text.eq_ignore_ascii_case(yes))
}

/// A whole number in decimal, with an optional sign.
pub(crate) fn parse_integer(text: &str) -> Option<i64> {
    // Go's Atoi and Rust's `parse` accept the same texts.
    text.parse().ok()
}

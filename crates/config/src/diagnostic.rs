//! What is wrong with a configuration, and what is doubtful.
//!
//! Loading never stops at the first mistake: errors and warnings are collected
//! in a [`Sink`], and the loader decides at the end.

use std::collections::BTreeMap;
use std::fmt;

use crate::abbreviate::abbreviate;
use crate::position::Position;
use crate::token::Token;

/// One mistake that keeps a configuration from being used.
///
/// `Display` gives CoreDNS's form, with a column:
/// `plugin/NAME: FILE:LINE:COLUMN - Error during parsing: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The directive whose arguments are wrong; none for the file's structure.
    plugin: Option<&'static str>,
    /// Where the mistake is.
    position: Position,
    /// Which of the two forms of text it has.
    kind: Kind,
    /// What is wrong, and the fix where it is known.
    message: String,
}

/// Every mistake of a configuration, in the order of the text. Never empty.
///
/// `Display` gives one line for each mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Errors {
    /// The mistakes.
    errors: Vec<ConfigError>,
    /// The doubts, which may explain a mistake: a variable that is not set.
    warnings: Vec<Warning>,
}

/// Something legal that is probably not what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it is.
    pub position: Position,
    /// What it is.
    pub message: String,
}

/// Collects what is found while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    /// Mistakes, in the order they were found.
    errors: Vec<ConfigError>,
    /// Doubts, in the order they were found.
    warnings: Vec<Warning>,
}

/// The two forms of CoreDNS's error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `Error during parsing: …`
    Parsing,
    /// `Syntax error: …`
    Syntax,
}

// === impl ConfigError ===

impl ConfigError {
    /// A mistake in the structure of the file.
    pub(crate) fn parsing(position: &Position, message: impl Into<String>) -> Self {
        Self {
            plugin: None,
            position: position.clone(),
            kind: Kind::Parsing,
            message: abbreviate(message.into()),
        }
    }

    /// A token that cannot stand where it does.
    pub(crate) fn syntax(token: &Token, expecting: &str, why: &str) -> Self {
        Self {
            plugin: None,
            position: token.position.clone(),
            kind: Kind::Syntax,
            message: abbreviate(format!(
                "Unexpected token '{}', expecting '{expecting}'{why}",
                token.text
            )),
        }
    }

    /// A mistake in a directive.
    pub(crate) fn plugin(
        plugin: &'static str,
        position: &Position,
        message: impl Into<String>,
    ) -> Self {
        Self {
            plugin: Some(plugin),
            ..Self::parsing(position, message)
        }
    }

    /// Where the mistake is.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// What is wrong, without the position.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The directive whose arguments are wrong, if it is that.
    pub fn directive(&self) -> Option<&'static str> {
        self.plugin
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plugin) = self.plugin {
            write!(f, "plugin/{plugin}: ")?;
        }
        let kind = match self.kind {
            Kind::Parsing => "Error during parsing",
            Kind::Syntax => "Syntax error",
        };
        write!(f, "{} - {kind}: {}", self.position, self.message)
    }
}

impl std::error::Error for ConfigError {}

// === impl Errors ===

impl Errors {
    /// The mistakes, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }

    /// What is doubtful besides, in the order of the text.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

// === impl Warning ===

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - Warning: {}", self.position, self.message)
    }
}

// === impl Sink ===

impl Sink {
    /// Notes a mistake.
    pub(crate) fn error(&mut self, error: ConfigError) {
        if self.errors.len() < MAX_DIAGNOSTICS && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Notes a doubt.
    pub(crate) fn warn(&mut self, position: &Position, message: impl Into<String>) {
        let warning = Warning {
            position: position.clone(),
            message: abbreviate(message.into()),
        };
        if self.warnings.len() < MAX_DIAGNOSTICS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Notes the mistake of a failed step; gives the value of a good one.
    pub(crate) fn keep<T>(&mut self, result: Result<T, ConfigError>) -> Option<T> {
        result.map_err(|error| self.error(error)).ok()
    }

    /// Whether a mistake has been noted.
    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Ends the collection: the value and the warnings, or every mistake.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<(T, Vec<Warning>), Errors> {
        let mut files = BTreeMap::new();
        for position in self.positions() {
            let next = files.len();
            files.entry(position.file.to_string()).or_insert(next);
        }
        let rank = |position: &Position| {
            (
                files.get(&*position.file).copied(),
                position.line,
                position.column,
            )
        };
        self.errors.sort_by_key(|error| rank(&error.position));
        self.warnings.sort_by_key(|warning| rank(&warning.position));
        let Self { errors, warnings } = self;
        if errors.is_empty() {
            Ok((value, warnings))
        } else {
            Err(Errors { errors, warnings })
        }
    }

    /// Every position, in the order found.
    fn positions(&self) -> impl Iterator<Item = &Position> {
        let errors = self.errors.iter().map(|error| &error.position);
        errors.chain(self.warnings.iter().map(|warning| &warning.position))
    }
}

/// So many mistakes, or doubts, are reported; a file that is no configuration
/// at all would otherwise fill the screen.
const MAX_DIAGNOSTICS: usize = 100;

//! Writing directives down as the words of a Corefile.

use std::sync::Arc;

use toml::Spanned;

use crate::diagnostic::Sink;
use crate::env::Env;
use crate::env::expand_all;
use crate::position::Position;
use crate::token::Directive;
use crate::token::Property;
use crate::token::Token;
use crate::toml::value::Flag;
use crate::toml::value::List;
use crate::toml::value::Value;
use crate::toml::value::Values;
use crate::toml::value::Zones;

/// The text that is read.
pub(super) struct Source<'a> {
    /// Its name.
    file: Arc<str>,
    /// The text.
    text: &'a str,
    /// Where each line begins, in octets.
    line_starts: Vec<usize>,
    /// The environment.
    env: Env<'a>,
    /// Takes what is wrong.
    pub(super) sink: &'a mut Sink,
}

/// A directive that is being written.
pub(super) struct Draft<'s, 'a> {
    /// The text its values come from.
    source: &'s mut Source<'a>,
    /// What has been written.
    directive: Directive,
}

// === impl Source ===

impl<'a> Source<'a> {
    /// Prepares a text.
    pub(super) fn new(file: &Arc<str>, text: &'a str, env: Env<'a>, sink: &'a mut Sink) -> Self {
        let breaks = text.match_indices('\n').map(|(offset, _)| offset + 1);
        let line_starts = std::iter::once(0).chain(breaks).collect();
        Self {
            file: Arc::clone(file),
            text,
            line_starts,
            env,
            sink,
        }
    }

    /// The place of an octet.
    pub(super) fn position(&self, offset: usize) -> Position {
        let line = self
            .line_starts
            .partition_point(|start| *start <= offset)
            .max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let before = self
            .text
            .get(start..offset)
            .unwrap_or_default()
            .chars()
            .count();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Position {
            file: Arc::clone(&self.file),
            line: number(line),
            column: number(before).saturating_add(1),
        }
    }

    /// A word at an octet. References to the environment are replaced; a
    /// string is always one word.
    pub(super) fn word(&mut self, text: &str, offset: usize) -> Token {
        let token = Token {
            text: text.to_owned(),
            position: self.position(offset),
            first_on_line: false,
            literal: true,
        };
        let empty = Token {
            text: String::new(),
            ..token.clone()
        };
        expand_all(vec![token], self.env, self.sink)
            .pop()
            .unwrap_or(empty)
    }

    /// A value as a word.
    pub(super) fn value(&mut self, value: &Value) -> Token {
        self.word(&value.get_ref().0, value.span().start)
    }

    /// Values as words.
    pub(super) fn values(&mut self, values: &Values) -> Vec<Token> {
        self.list(values.get_ref(), values.span().start)
    }

    /// A list at an octet as words.
    fn list(&mut self, list: &List, offset: usize) -> Vec<Token> {
        match list {
            List::One(word) => vec![self.word(&word.0, offset)],
            List::Many(values) => values.iter().map(|value| self.value(value)).collect(),
        }
    }

    /// Begins a directive.
    pub(super) fn draft(&mut self, name: &str, offset: usize) -> Draft<'_, 'a> {
        let name = self.word(name, offset);
        Draft {
            source: self,
            directive: Directive {
                name,
                arguments: Vec::new(),
                block: None,
            },
        }
    }
}

// === impl Draft ===

impl Draft<'_, '_> {
    /// Ends the directive.
    pub(super) fn finish(self) -> Directive {
        self.directive
    }

    /// A word that is not in the text, to be written with a property.
    pub(super) fn token(&mut self, text: &str, offset: usize) -> Token {
        self.source.word(text, offset)
    }

    /// A value as a word, to be written with a property.
    pub(super) fn value(&mut self, value: &Value) -> Token {
        self.source.value(value)
    }

    /// Values as words, to be written with a property.
    pub(super) fn values(&mut self, values: &Values) -> Vec<Token> {
        self.source.values(values)
    }

    /// Writes an argument that is not in the text.
    pub(super) fn word(&mut self, text: &str) {
        let token = Token {
            text: text.to_owned(),
            ..self.directive.name.clone()
        };
        self.directive.arguments.push(token);
    }

    /// Writes a value as an argument.
    pub(super) fn argument(&mut self, value: Option<&Value>) {
        if let Some(value) = value {
            let token = self.source.value(value);
            self.directive.arguments.push(token);
        }
    }

    /// Writes values as arguments.
    pub(super) fn arguments(&mut self, values: Option<&Values>) {
        if let Some(values) = values {
            let tokens = self.source.values(values);
            self.directive.arguments.extend(tokens);
        }
    }

    /// Writes a property of one value.
    pub(super) fn property(&mut self, name: &str, value: Option<&Value>) {
        if let Some(value) = value {
            let token = self.source.value(value);
            self.line(name, value.span().start, vec![token]);
        }
    }

    /// Writes a property of several values.
    pub(super) fn properties(&mut self, name: &str, values: Option<&Values>) {
        if let Some(values) = values {
            let tokens = self.source.values(values);
            self.line(name, values.span().start, tokens);
        }
    }

    /// Writes a property that is there or not.
    pub(super) fn flag(&mut self, name: &str, flag: Option<&Flag>) {
        if let Some(flag) = flag.filter(|flag| *flag.get_ref()) {
            self.line(name, flag.span().start, Vec::new());
        }
    }

    /// Writes `fallthrough`.
    pub(super) fn fallthrough(&mut self, zones: Option<&Spanned<Zones>>) {
        let Some(zones) = zones else { return };
        let offset = zones.span().start;
        match zones.get_ref() {
            Zones::All(false) => {}
            Zones::All(true) => self.line("fallthrough", offset, Vec::new()),
            Zones::Some(list) => {
                let tokens = self.source.list(list, offset);
                self.line("fallthrough", offset, tokens);
            }
        }
    }

    /// Writes a property of optional values in a fixed order: where a later
    /// one is given, those before it take their defaults.
    pub(super) fn positional(
        &mut self,
        name: &str,
        offset: usize,
        values: &[(Option<&Value>, &str)],
    ) {
        let given = values
            .iter()
            .rposition(|(value, _)| value.is_some())
            .map_or(0, |at| at + 1);
        let tokens = values
            .iter()
            .take(given)
            .map(|(value, default)| match value {
                Some(value) => self.source.value(value),
                None => self.source.word(default, offset),
            })
            .collect();
        self.line(name, offset, tokens);
    }

    /// Writes a line for each value, of the words in it.
    pub(super) fn split_lines(&mut self, value: &Values) {
        for token in self.source.values(value) {
            let mut words = token.text.split_whitespace().map(str::to_owned);
            let Some(name) = words.next() else { continue };
            let arguments = words
                .map(|text| Token {
                    text,
                    ..token.clone()
                })
                .collect();
            let property = Property {
                name: Token {
                    text: name,
                    ..token.clone()
                },
                arguments,
            };
            self.directive.block.get_or_insert_default().push(property);
        }
    }

    /// Writes a property.
    pub(super) fn line(&mut self, name: &str, offset: usize, arguments: Vec<Token>) {
        let name = Token {
            text: name.to_owned(),
            position: self.source.position(offset),
            first_on_line: true,
            literal: true,
        };
        let property = Property { name, arguments };
        self.directive.block.get_or_insert_default().push(property);
    }
}

//! Text to words.
//!
//! A word is a run of characters without white space, or anything between
//! double quotes. `#` begins a comment. Braces are ordinary words here; the
//! parser gives them their meaning.

use std::str::Chars;
use std::sync::Arc;

use crate::diagnostic::ConfigError;
use crate::diagnostic::Sink;
use crate::position::Position;
use crate::token::Token;

/// Reads the words of a file.
pub(crate) fn lex(file: &Arc<str>, text: &str, sink: &mut Sink) -> Vec<Token> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lexer = Lexer {
        file: Arc::clone(file),
        chars: text.chars(),
        line: 1,
        column: 1,
        at_line_start: true,
        tokens: Vec::new(),
        sink,
    };
    lexer.run();
    lexer.tokens
}

/// The state of reading one file.
struct Lexer<'a> {
    /// The name of the file.
    file: Arc<str>,
    /// What has not been read.
    chars: Chars<'a>,
    /// The line of the next character.
    line: u32,
    /// The column of the next character.
    column: u32,
    /// Whether no word has been read on this line.
    at_line_start: bool,
    /// The words so far.
    tokens: Vec<Token>,
    /// Takes what is wrong.
    sink: &'a mut Sink,
}

// === impl Lexer ===

impl Lexer<'_> {
    /// Reads to the end.
    fn run(&mut self) {
        loop {
            let position = self.position();
            let Some(character) = self.take() else { return };
            match character {
                '\n' => self.at_line_start = true,
                '#' => self.skip_comment(),
                '"' => self.read_quoted(position),
                _ if character.is_whitespace() => {}
                _ => self.read_word(character, position),
            }
        }
    }

    /// Reads a word without quotes, whose first character is taken.
    fn read_word(&mut self, first: char, position: Position) {
        let mut text = String::from(first);
        while let Some(next) = self.peek() {
            if next == '#' {
                self.sink.warn(
                    &self.position(),
                    format!(
                        "'#' after '{text}' begins a comment; quote the word if it belongs to it"
                    ),
                );
                self.skip_comment();
                break;
            }
            if next == '\r' {
                self.take();
                continue;
            }
            if next.is_whitespace() {
                break;
            }
            text.push(next);
            self.take();
            if next == '$' && text.ends_with("{$") {
                for _ in 0..reference_with_default(self.chars.as_str()) {
                    text.extend(self.take());
                }
            }
        }
        self.push(text, position, false);
    }

    /// Reads to the closing quote. Only `\"` is an escape.
    fn read_quoted(&mut self, position: Position) {
        let mut text = String::new();
        loop {
            match self.take() {
                Some('"') => break,
                Some('\\') => match self.take() {
                    Some('"') => text.push('"'),
                    Some(other) => text.extend(['\\', other]),
                    None => {}
                },
                Some(other) => text.push(other),
                None => {
                    self.sink.error(ConfigError::parsing(
                        &position,
                        "Unexpected EOF: the quote that begins here is never closed",
                    ));
                    break;
                }
            }
        }
        self.push(text, position, true);
    }

    /// Goes to the end of the line.
    fn skip_comment(&mut self) {
        while self.peek().is_some_and(|next| next != '\n') {
            self.take();
        }
    }

    /// Adds a word.
    fn push(&mut self, text: String, position: Position, literal: bool) {
        let first_on_line = std::mem::take(&mut self.at_line_start);
        self.tokens.push(Token {
            text,
            position,
            first_on_line,
            literal,
        });
    }

    /// The place of the next character.
    fn position(&self) -> Position {
        Position {
            file: Arc::clone(&self.file),
            line: self.line,
            column: self.column,
        }
    }

    /// The next character.
    fn peek(&self) -> Option<char> {
        self.chars.clone().next()
    }

    /// Takes the next character and counts it.
    fn take(&mut self) -> Option<char> {
        let character = self.chars.next()?;
        if character == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(character)
    }
}

/// How many characters after `{$` belong to a reference with a default,
/// `NAME:default text}`; 0 when it is no such reference.
///
/// Only this form may hold white space, so every other text lexes as it does
/// in CoreDNS.
fn reference_with_default(rest: &str) -> usize {
    let mut in_default = false;
    for (index, character) in rest.chars().enumerate() {
        match character {
            '\n' => return 0,
            '}' => return if in_default { index + 1 } else { 0 },
            ':' if index > 0 => in_default = true,
            _ if in_default || character == '_' || character.is_ascii_alphanumeric() => {}
            _ => return 0,
        }
    }
    0
}

#[cfg(test)]
mod tests;

//! Words to server blocks.
//!
//! The grammar is CoreDNS's, with one-line blocks (`. { whoami }`) besides.
//! What a directive's words mean is not known here.
//!
//! A mistake is noted and reading goes on with the next directive or block, so
//! that one run reports them all.

mod body;
mod import;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostic::ConfigError;
use crate::diagnostic::Sink;
use crate::env::Env;
use crate::env::expand_all;
use crate::lexer::lex;
use crate::parser::stream::Stream;
use crate::position::Position;
use crate::token::Directive;
use crate::token::RawBlock;
use crate::token::Token;

/// Reads the server blocks of a Corefile.
pub(crate) fn parse(file: &str, text: &str, env: Env<'_>, sink: &mut Sink) -> Vec<RawBlock> {
    let file: Arc<str> = Arc::from(file);
    let tokens = lex(&file, text, sink);
    let tokens = expand_all(tokens, env, sink);
    let mut parser = Parser {
        stream: Stream::new(tokens),
        snippets: BTreeMap::new(),
        files: BTreeMap::new(),
        snippet_imports: 0,
        file_imports: 0,
        gave_up: false,
        env,
        sink,
        blocks: Vec::new(),
    };
    while parser.stream.peek().is_some() {
        parser.block();
    }
    parser.blocks
}

/// The state of reading a configuration.
struct Parser<'a> {
    /// What is left to read.
    stream: Stream,
    /// The snippets defined so far.
    snippets: BTreeMap<String, Arc<[Token]>>,
    /// The files imported so far.
    files: BTreeMap<PathBuf, Arc<[Token]>>,
    /// How many snippets have been imported.
    snippet_imports: usize,
    /// How many files have been imported.
    file_imports: usize,
    /// The environment.
    env: Env<'a>,
    /// Whether what was left has been given up.
    gave_up: bool,
    /// Takes what is wrong.
    sink: &'a mut Sink,
    /// The blocks so far.
    blocks: Vec<RawBlock>,
}

/// How a block goes on after its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// With a brace that has not been taken.
    Brace,
    /// With a brace that was glued to the last key.
    Opened,
    /// Not at all: `{}` stood there.
    Empty,
    /// Without a brace, to the end of the file.
    Bare,
}

// === impl Parser ===

impl Parser<'_> {
    /// Reads a server block or a snippet.
    fn block(&mut self) {
        let (keys, body) = self.keys();
        let Some(first) = keys.first() else {
            if let Some(brace) = self.stream.peek().cloned() {
                self.error_here("Expected a zone before '{', as in '. {'");
                self.body(body, &brace.position, &mut Vec::new());
            }
            return;
        };
        let position = first.position.clone();
        if let [only] = keys.as_slice()
            && let Some(name) = snippet_name(only)
        {
            self.snippet(name.to_owned(), &position, body);
            return;
        }
        let mut directives = Vec::new();
        self.body(body, &position, &mut directives);
        self.blocks.push(RawBlock {
            keys,
            directives,
            position,
        });
    }

    /// Reads what follows the keys.
    fn body(&mut self, body: Body, start: &Position, into: &mut Vec<Directive>) {
        match body {
            Body::Brace => {
                self.stream.take();
                self.directives(Some(start), into);
            }
            Body::Opened => self.directives(Some(start), into),
            Body::Bare => self.directives(None, into),
            Body::Empty => {}
        }
    }

    /// Reads the keys of a block.
    fn keys(&mut self) -> (Vec<Token>, Body) {
        let mut keys: Vec<Token> = Vec::new();
        let mut expects_another = false;
        loop {
            let continues = self.stream.continues_line();
            let Some(next) = self.stream.peek() else {
                if expects_another {
                    self.error_at_last("Unexpected EOF");
                }
                return (keys, Body::Bare);
            };
            if next.opens() {
                if expects_another {
                    self.error_here("Expected another address but had '{' - check for extra comma");
                }
                return (keys, Body::Brace);
            }
            if !continues && !keys.is_empty() && !expects_another {
                return (keys, Body::Bare);
            }
            let Some(token) = self.stream.take() else {
                return (keys, Body::Bare);
            };
            if token.closes() {
                self.stray_brace(&token);
            } else if token.text == "import" && !continues {
                self.import(&token);
            } else if token.is_empty_block() && !keys.is_empty() {
                self.warn_empty_block(&token);
                return (keys, Body::Empty);
            } else if let Some(key) = self.glued_key(&token) {
                keys.push(key);
                return (keys, Body::Opened);
            } else if !token.text.is_empty() {
                let comma = token.text.strip_suffix(',').map(str::to_owned);
                expects_another = comma.is_some();
                let text = comma.unwrap_or_else(|| token.text.clone());
                keys.push(Token { text, ..token });
            }
        }
    }

    /// The key of a word like `.:53{`, whose brace lacks its space.
    fn glued_key(&mut self, token: &Token) -> Option<Token> {
        let key = token.glued_brace()?;
        if self.stream.peek().is_some_and(Token::opens) {
            return None;
        }
        self.sink.error(ConfigError::parsing(
            &token.position,
            format!(
                "error inspecting server blocks: zone is not a valid domain name: {} \
                 (missing space before '{{': write '{key} {{')",
                token.text
            ),
        ));
        Some(Token {
            text: key.to_owned(),
            ..token.clone()
        })
    }

    /// Reads a snippet, whose name was just taken, and keeps its words.
    fn snippet(&mut self, name: String, position: &Position, body: Body) {
        match body {
            Body::Brace => {
                self.stream.take();
            }
            Body::Opened => {}
            Body::Empty => {
                self.define(name, position, Vec::new());
                return;
            }
            Body::Bare => {
                self.error_brace("{", "");
                return;
            }
        }
        let mut depth = 1_usize;
        let mut tokens = Vec::new();
        while let Some(token) = self.take() {
            if token.opens() {
                depth += 1;
            } else if token.closes() {
                depth -= 1;
            }
            if depth == 0 {
                self.define(name, position, tokens);
                return;
            }
            tokens.push(token);
        }
        self.error_brace("}", &not_closed(position));
    }

    /// Keeps the words of a snippet.
    fn define(&mut self, name: String, position: &Position, tokens: Vec<Token>) {
        if self.snippets.contains_key(&name) {
            self.sink.error(ConfigError::parsing(
                position,
                format!("redeclaration of previously declared snippet {name}"),
            ));
            return;
        }
        self.snippets.insert(name, Arc::from(tokens));
    }

    /// Gives up on what is left. It would only lead to errors that follow
    /// from the one that was told.
    fn give_up(&mut self) {
        self.stream.abandon();
        self.gave_up = true;
    }

    /// Takes the next word, unless there have been too many.
    fn take(&mut self) -> Option<Token> {
        if self.stream.taken() >= MAX_TOKENS {
            self.error_at_last(&format!("more than {MAX_TOKENS} words"));
            self.give_up();
        }
        self.stream.take()
    }

    /// Reports a `}` without a `{`.
    fn stray_brace(&mut self, brace: &Token) {
        self.sink.error(ConfigError::parsing(
            &brace.position,
            "Unexpected '}' because no matching opening brace",
        ));
    }

    /// Says that `{}` is taken as an empty block.
    fn warn_empty_block(&mut self, token: &Token) {
        self.sink.warn(
            &token.position,
            "'{}' is read as an empty block; CoreDNS reads it as a word: write '{ }'",
        );
    }

    /// Reports that the last word is not followed by a brace.
    fn error_brace(&mut self, brace: &str, why: &str) {
        if let Some(last) = self.stream.last()
            && !self.gave_up
        {
            self.sink.error(ConfigError::syntax(last, brace, why));
        }
    }

    /// Reports a mistake at the next word.
    fn error_here(&mut self, message: &str) {
        if let Some(token) = self.stream.peek() {
            let error = ConfigError::parsing(&token.position, message);
            self.sink.error(error);
        }
    }

    /// Reports a mistake at the last word.
    fn error_at_last(&mut self, message: &str) {
        if let Some(token) = self.stream.last()
            && !self.gave_up
        {
            let error = ConfigError::parsing(&token.position, message);
            self.sink.error(error);
        }
    }
}

/// The name in a key of the form `(name)`.
fn snippet_name(key: &Token) -> Option<&str> {
    key.text.strip_prefix('(')?.strip_suffix(')')
}

/// Says which block lacks its closing brace.
fn not_closed(start: &Position) -> String {
    format!(" (the block that begins at {start} is not closed)")
}

/// So many words may a configuration have, imports included.
const MAX_TOKENS: usize = 4_000_000;

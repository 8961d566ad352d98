//! Words to server blocks.
//!
//! The grammar is CoreDNS's, with one-line blocks (`. { whoami }`) besides.
//! What a directive's words mean is not known here.
//!
//! A mistake is noted and reading goes on with the next directive or block, so
//! that one run reports them all.

mod import;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::catalog;
use crate::diagnostic::ConfigError;
use crate::diagnostic::Sink;
use crate::env::Env;
use crate::env::expand_all;
use crate::lexer::lex;
use crate::parser::stream::Stream;
use crate::position::Position;
use crate::token::Directive;
use crate::token::Property;
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
            if body == Body::Brace {
                self.error_here("Expected a zone before '{', as in '. {'");
            } else if body == Body::Bare {
                return;
            }
            let mut directives = Vec::new();
            self.body(body, &mut directives);
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
        self.body(body, &mut directives);
        self.blocks.push(RawBlock {
            keys,
            directives,
            position,
        });
    }

    /// Reads what follows the keys.
    fn body(&mut self, body: Body, into: &mut Vec<Directive>) {
        match body {
            Body::Brace => {
                self.stream.take();
                self.directives(true, into);
            }
            Body::Opened => self.directives(true, into),
            Body::Bare => self.directives(false, into),
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
                let error = self.syntax_error("{");
                self.sink.error(error);
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
        let error = self.syntax_error("}");
        self.sink.error(error);
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

    /// Reads directives to the closing brace, or to the end of the file.
    fn directives(&mut self, braced: bool, into: &mut Vec<Directive>) {
        while let Some(token) = self.take() {
            if token.closes() {
                if braced {
                    return;
                }
                self.stray_brace(&token);
            } else if token.opens() {
                self.brace_on_its_own_line(&token, into);
            } else if token.text == "import" {
                self.import(&token);
            } else {
                let directive = self.directive(token);
                into.push(directive);
            }
        }
        if braced {
            let error = self.syntax_error("}");
            self.sink.error(error);
        }
    }

    /// Reads the arguments and the block of a directive.
    fn directive(&mut self, name: Token) -> Directive {
        let mut directive = Directive {
            name,
            arguments: Vec::new(),
            block: None,
        };
        while self.stream.continues_line() && !self.stream.peek().is_some_and(Token::closes) {
            let Some(token) = self.take() else { break };
            if token.is_empty_block() {
                self.warn_empty_block(&token);
                directive.block = Some(Vec::new());
            } else if token.opens() {
                directive.block = Some(self.properties(&directive.name.text));
            } else {
                directive.arguments.push(token);
                continue;
            }
            self.expect_line_end();
            return directive;
        }
        self.open_glued(&mut directive);
        directive
    }

    /// Opens the block of a directive whose brace lacks its space.
    fn open_glued(&mut self, directive: &mut Directive) {
        let last = directive
            .arguments
            .last_mut()
            .unwrap_or(&mut directive.name);
        let Some(word) = last.glued_brace().map(str::to_owned) else {
            return;
        };
        self.sink.error(ConfigError::parsing(
            &last.position,
            format!("missing space before '{{': write '{word} {{'"),
        ));
        last.text = word;
        directive.block = Some(self.properties(&directive.name.text));
    }

    /// Reads the lines of a directive's block to its closing brace.
    fn properties(&mut self, directive: &str) -> Vec<Property> {
        let reads_nested = !catalog::is_supported(directive);
        let mut lines = Vec::new();
        let mut line = Vec::new();
        loop {
            let continues = self.stream.continues_line();
            let Some(token) = self.take() else {
                self.error_at_last("Unexpected EOF");
                break;
            };
            if !continues {
                lines.extend(Property::of(std::mem::take(&mut line)));
            }
            if token.closes() {
                break;
            }
            if token.opens() {
                if !reads_nested {
                    self.sink.error(ConfigError::parsing(
                        &token.position,
                        "Unexpected token '{': a block within a directive's block",
                    ));
                }
                self.skip_block();
            } else if token.text == "import" && line.is_empty() {
                self.import(&token);
            } else {
                line.push(token);
            }
        }
        lines.extend(Property::of(line));
        lines
    }

    /// Skips to the brace that closes a block.
    fn skip_block(&mut self) {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.take() {
                Some(token) if token.opens() => depth += 1,
                Some(token) if token.closes() => depth -= 1,
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Reports a `{` at the beginning of a line among directives, and gives
    /// its block to the directive before it.
    fn brace_on_its_own_line(&mut self, brace: &Token, into: &mut [Directive]) {
        let message = "Unexpected token '{', expecting argument \
                       (the '{' belongs on the line of its directive)";
        let previous = into.last_mut();
        let plugin = previous
            .as_ref()
            .and_then(|d| catalog::supported(&d.name.text));
        self.sink.error(match plugin {
            Some(plugin) => ConfigError::plugin(plugin, &brace.position, message),
            None => ConfigError::parsing(&brace.position, message),
        });
        let name = previous
            .as_ref()
            .map(|d| d.name.text.clone())
            .unwrap_or_default();
        let block = self.properties(&name);
        if let Some(directive) = previous
            && directive.block.is_none()
        {
            directive.block = Some(block);
        }
    }

    /// Reports what follows a closing brace on its line.
    fn expect_line_end(&mut self) {
        if !self.stream.continues_line() {
            return;
        }
        if let Some(token) = self.stream.peek()
            && !token.closes()
        {
            let error = ConfigError::parsing(
                &token.position,
                format!(
                    "Unexpected token '{}' after '}}': begin a new line",
                    token.text
                ),
            );
            self.sink.error(error);
        }
    }

    /// Takes the next word, unless there have been too many.
    fn take(&mut self) -> Option<Token> {
        if self.stream.taken() >= MAX_TOKENS {
            self.error_at_last(&format!("more than {MAX_TOKENS} words"));
            self.stream.abandon();
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

    /// The last word, where another was expected.
    fn syntax_error(&self, expecting: &str) -> ConfigError {
        match self.stream.last() {
            Some(last) => ConfigError::syntax(&last.position, &last.text, expecting),
            None => ConfigError::syntax(&Position::start_of(""), "", expecting),
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
        if let Some(token) = self.stream.last() {
            let error = ConfigError::parsing(&token.position, message);
            self.sink.error(error);
        }
    }
}

/// The name in a key of the form `(name)`.
fn snippet_name(key: &Token) -> Option<&str> {
    key.text.strip_prefix('(')?.strip_suffix(')')
}

/// So many words may a configuration have, imports included.
const MAX_TOKENS: usize = 4_000_000;

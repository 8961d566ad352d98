//! What stands between the braces of a server block: directives, and the
//! lines of their own blocks.

use crate::catalog;
use crate::diagnostic::ConfigError;
use crate::parser::Parser;
use crate::parser::not_closed;
use crate::position::Position;
use crate::token::Directive;
use crate::token::Property;
use crate::token::Token;

// === impl Parser ===

impl Parser<'_> {
    /// Reads directives to the closing brace of the block that begins at
    /// `braced`, or to the end of the file.
    pub(super) fn directives(&mut self, braced: Option<&Position>, into: &mut Vec<Directive>) {
        while let Some(token) = self.take() {
            if token.closes() {
                if braced.is_some() {
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
        if let Some(start) = braced {
            self.error_brace("}", &not_closed(start));
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
                directive.block = Some(self.properties(&directive.name));
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
        directive.block = Some(self.properties(&directive.name));
    }

    /// Reads the lines of a directive's block to its closing brace.
    fn properties(&mut self, directive: &Token) -> Vec<Property> {
        let reads_nested = !catalog::is_supported(&directive.text);
        let mut lines = Vec::new();
        let mut line = Vec::new();
        loop {
            let continues = self.stream.continues_line();
            let Some(token) = self.take() else {
                let why = not_closed(&directive.position);
                self.error_at_last(&format!("Unexpected EOF{why}"));
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
            .map_or_else(|| brace.clone(), |d| d.name.clone());
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
}

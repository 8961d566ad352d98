//! The words of a rule.
//!
//! Traefik reads rules as expressions of Go, so these are Go's: identifiers,
//! texts within `"` or backticks, `&&`, `||`, `!`, parentheses and commas.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::CharIndices;

use crate::rule::RuleError;

/// A word of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// The name of a matcher.
    Word(&'a str),
    /// A text, without its quotes.
    Text(Cow<'a, str>),
    /// `&&`.
    And,
    /// `||`.
    Or,
    /// `!`.
    Not,
    /// `(`.
    Open,
    /// `)`.
    Close,
    /// `,`.
    Comma,
}

/// Reads words one by one.
#[derive(Debug)]
pub(crate) struct Tokens<'a> {
    /// The rule.
    text: &'a str,
    /// The characters not read.
    rest: Peekable<CharIndices<'a>>,
}

// === impl Tokens ===

impl<'a> Tokens<'a> {
    /// The words of a rule.
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            rest: text.char_indices().peekable(),
        }
    }

    /// The next word, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Token<'a>>, RuleError> {
        while self.rest.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let Some((at, c)) = self.rest.next() else {
            return Ok(None);
        };
        let token = match c {
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '!' => Token::Not,
            '&' => self.double('&', Token::And)?,
            '|' => self.double('|', Token::Or)?,
            '`' | '"' => self.quoted(at, c)?,
            '\'' => return Err(RuleError::SingleQuote),
            c if is_word(c) => {
                let mut end = at + c.len_utf8();
                while let Some((at, c)) = self.rest.next_if(|(_, c)| is_word(*c)) {
                    end = at + c.len_utf8();
                }
                Token::Word(self.text.get(at..end).unwrap_or_default())
            }
            c => return Err(RuleError::Character(c)),
        };
        Ok(Some(token))
    }

    /// The second half of an operator.
    fn double(&mut self, half: char, token: Token<'a>) -> Result<Token<'a>, RuleError> {
        match self.rest.next_if(|(_, c)| *c == half) {
            Some(_) => Ok(token),
            None => Err(RuleError::Character(half)),
        }
    }

    /// The rest of a text that begins with a quote. In double quotes, a
    /// backslash protects a quote and itself; other escapes stay as they are,
    /// since no name has any use for them.
    fn quoted(&mut self, open: usize, quote: char) -> Result<Token<'a>, RuleError> {
        let start = open + quote.len_utf8();
        let mut unescaped = None::<String>;
        while let Some((at, c)) = self.rest.next() {
            if c == quote {
                let raw = self.text.get(start..at).unwrap_or_default();
                let text = unescaped.map_or(Cow::Borrowed(raw), Cow::Owned);
                return Ok(Token::Text(text));
            }
            let is_escape = quote == '"' && c == '\\';
            let c = if is_escape {
                let before = self.text.get(start..at).unwrap_or_default();
                let unescaped = unescaped.get_or_insert_with(|| before.to_owned());
                let next = self.rest.next().ok_or(RuleError::OpenQuote)?.1;
                if !matches!(next, '"' | '\\') {
                    unescaped.push('\\');
                }
                next
            } else {
                c
            };
            if let Some(unescaped) = &mut unescaped {
                unescaped.push(c);
            }
        }
        Err(RuleError::OpenQuote)
    }
}

/// Whether a character may be in the name of a matcher.
fn is_word(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lose_their_quotes_and_escapes() {
        for (text, expected) in [
            ("`a\\b\"c`", "a\\b\"c"),
            (r#""a.b""#, "a.b"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r#""\d+""#, r"\d+"),
            ("\"é`\"", "é`"),
            ("``", ""),
        ] {
            assert_eq!(all(text), Ok(vec![Token::Text(expected.into())]), "{text}");
        }
    }

    #[test]
    fn operators_need_no_space() {
        assert_eq!(
            all("!A(`x`,`y`)&&(B||_c1)"),
            Ok(vec![
                Token::Not,
                Token::Word("A"),
                Token::Open,
                Token::Text("x".into()),
                Token::Comma,
                Token::Text("y".into()),
                Token::Close,
                Token::And,
                Token::Open,
                Token::Word("B"),
                Token::Or,
                Token::Word("_c1"),
                Token::Close,
            ])
        );
    }

    #[test]
    fn what_go_does_not_have_is_an_error() {
        for (text, expected) in [
            ("'a'", RuleError::SingleQuote),
            ("`a", RuleError::OpenQuote),
            ("\"a\\", RuleError::OpenQuote),
            ("a & b", RuleError::Character('&')),
            ("a |", RuleError::Character('|')),
            ("a;b", RuleError::Character(';')),
        ] {
            assert_eq!(all(text), Err(expected), "{text}");
        }
    }

    /// All words of a text.
    fn all(text: &str) -> Result<Vec<Token<'_>>, RuleError> {
        let mut tokens = Tokens::new(text);
        let mut all = Vec::new();
        while let Some(token) = tokens.next()? {
            all.push(token);
        }
        Ok(all)
    }
}

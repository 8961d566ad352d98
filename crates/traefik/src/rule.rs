//! Rules of routers.
//!
//! A rule is an expression of matchers. What counts here is which names it is
//! for, not whether a request matches, so no tree is built: each matcher is
//! taken as it is read, and all there is to know of its surroundings is
//! whether an odd number of `!` stands before it and before the groups that it
//! is in. `&&` and `||` do not matter, and neither do the matchers that look
//! at something else than the name: a router that is for a name under some
//! condition is for that name.
//!
//! ```text
//! rule     = operand *( ( "&&" / "||" ) operand )
//! operand  = *"!" ( matcher / "(" rule ")" )
//! matcher  = word "(" [ text *( "," text ) [ "," ] ] ")"
//! ```
//!
//! Version 2 of Traefik lets a matcher have several texts, version 3 one.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::fmt::Write as _;

use portolan_proto::HostNameError;
use portolan_proto::Name;

use crate::tokens::Token;
use crate::tokens::Tokens;

/// The names that a rule is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The names, each once, in the order written.
    pub names: Vec<Name>,
    /// Texts that stand for a name and are none.
    pub bad_names: Vec<BadName>,
    /// Whether the rule is also for names that match a pattern: nobody can
    /// say which these are.
    pub has_pattern: bool,
}

/// A text in the place of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub error: HostNameError,
}

/// Why a text is not a rule. Traefik would not take it either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// It is longer than [`MAX_RULE`].
    #[error("longer than {MAX_RULE} octets")]
    TooLong,
    /// More than [`MAX_DEPTH`] groups are in one another.
    #[error("more than {MAX_DEPTH} parentheses within one another")]
    TooDeep,
    /// A character that no rule has outside of quotes.
    #[error("unexpected character {0:?}")]
    Character(char),
    /// A text within single quotes.
    #[error("single quotes do not enclose a name, backticks and double quotes do")]
    SingleQuote,
    /// A text does not end.
    #[error("a quote is not closed")]
    OpenQuote,
    /// A matcher or a group has to follow.
    #[error("a matcher such as Host(`example.org`) is missing")]
    NoMatcher,
    /// A word is not followed by its parentheses.
    #[error("a matcher has no parentheses")]
    NoArguments,
    /// Something else than texts and commas stands between parentheses.
    #[error("a matcher takes texts within backticks or double quotes")]
    BadArguments,
    /// A matcher of names has none.
    #[error("a matcher of names has no name")]
    NoName,
    /// Two operands follow one another.
    #[error("'&&' or '||' is missing")]
    NoOperator,
    /// A parenthesis closes nothing.
    #[error("a parenthesis closes nothing")]
    StrayClose,
    /// A parenthesis is not closed.
    #[error("a parenthesis is not closed")]
    OpenGroup,
}

/// What a matcher looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matcher {
    /// The name of the host.
    Host,
    /// The name that the client asks TLS for.
    Sni,
    /// A name, by pattern.
    Pattern,
    /// Anything else.
    Other,
}

/// The rule so far.
#[derive(Default)]
struct Reader {
    /// Result so far.
    rule: Rule,
    /// The names so far.
    seen: HashSet<Name>,
    /// For each open group, whether what is around it is negated.
    groups: Vec<bool>,
    /// Whether what stands in the present group is negated.
    negated: bool,
}

// === impl Rule ===

impl Rule {
    /// Reads a rule of Traefik 2 or 3.
    ///
    /// # Errors
    ///
    /// See [`RuleError`].
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text.len() > MAX_RULE {
            return Err(RuleError::TooLong);
        }
        let mut tokens = Tokens::new(text);
        let mut reader = Reader::default();
        loop {
            reader.operand(&mut tokens)?;
            if reader.operator(&mut tokens)? {
                return Ok(reader.rule);
            }
        }
    }
}

// === impl BadName ===

impl fmt::Display for BadName {
    /// Shows the beginning of the text, without what could spoil a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.text.chars().take(MAX_SHOWN) {
            write!(f, "{}", c.escape_debug())?;
        }
        if self.text.chars().nth(MAX_SHOWN).is_some() {
            f.write_str("...")?;
        }
        write!(f, "\": {}", self.error)
    }
}

// === impl Matcher ===

impl Matcher {
    /// The matcher of a name, in any case: Traefik knows most spellings.
    fn named(word: &str) -> Self {
        // `HostHeader` is an old name of `Host`, until version 2.
        for (known, matcher) in [
            ("Host", Self::Host),
            ("HostHeader", Self::Host),
            ("HostSNI", Self::Sni),
            ("HostRegexp", Self::Pattern),
            ("HostSNIRegexp", Self::Pattern),
        ] {
            if word.eq_ignore_ascii_case(known) {
                return matcher;
            }
        }
        Self::Other
    }
}

// === impl Reader ===

impl Reader {
    /// Reads an operand, the beginnings of the groups before it included.
    fn operand(&mut self, tokens: &mut Tokens<'_>) -> Result<(), RuleError> {
        let mut inverted = false;
        loop {
            match tokens.next()? {
                Some(Token::Not) => inverted = !inverted,
                Some(Token::Open) => {
                    if self.groups.len() == MAX_DEPTH {
                        return Err(RuleError::TooDeep);
                    }
                    self.groups.push(self.negated);
                    self.negated ^= std::mem::take(&mut inverted);
                }
                Some(Token::Word(word)) => {
                    return self.matcher(Matcher::named(word), inverted, tokens);
                }
                _ => return Err(RuleError::NoMatcher),
            }
        }
    }

    /// Reads the ends of groups and the operator after an operand. True at
    /// the end of the rule.
    fn operator(&mut self, tokens: &mut Tokens<'_>) -> Result<bool, RuleError> {
        loop {
            match tokens.next()? {
                None if self.groups.is_empty() => return Ok(true),
                None => return Err(RuleError::OpenGroup),
                Some(Token::And | Token::Or) => return Ok(false),
                Some(Token::Close) => {
                    self.negated = self.groups.pop().ok_or(RuleError::StrayClose)?;
                }
                Some(_) => return Err(RuleError::NoOperator),
            }
        }
    }

    /// Reads the texts of a matcher.
    fn matcher(
        &mut self,
        matcher: Matcher,
        inverted: bool,
        tokens: &mut Tokens<'_>,
    ) -> Result<(), RuleError> {
        if tokens.next()? != Some(Token::Open) {
            return Err(RuleError::NoArguments);
        }
        let counts = self.negated == inverted;
        let mut is_empty = true;
        loop {
            let text = match tokens.next()? {
                Some(Token::Text(text)) => text,
                Some(Token::Close) => break,
                None => return Err(RuleError::OpenGroup),
                Some(_) => return Err(RuleError::BadArguments),
            };
            is_empty = false;
            if counts {
                self.take(matcher, text);
            }
            match tokens.next()? {
                Some(Token::Comma) => {}
                Some(Token::Close) => break,
                None => return Err(RuleError::OpenGroup),
                Some(_) => return Err(RuleError::BadArguments),
            }
        }
        if is_empty && matcher != Matcher::Other {
            return Err(RuleError::NoName);
        }
        Ok(())
    }

    /// Takes a text of a matcher.
    fn take(&mut self, matcher: Matcher, text: Cow<'_, str>) {
        match matcher {
            Matcher::Other => {}
            Matcher::Pattern => self.rule.has_pattern = true,
            // Every name at all, which connections without TLS have to be for.
            Matcher::Sni if text == "*" => {}
            Matcher::Host | Matcher::Sni => match Name::from_host(&text) {
                Ok(name) => {
                    if self.seen.insert(name.clone()) {
                        self.rule.names.push(name);
                    }
                }
                Err(error) => {
                    let text = text.into_owned();
                    self.rule.bad_names.push(BadName { text, error });
                }
            },
        }
    }
}

/// Longest rule that is read, in octets.
pub const MAX_RULE: usize = 64 * 1024;

/// How many groups may be in one another.
pub const MAX_DEPTH: usize = 256;

/// Characters of a bad name that are shown.
const MAX_SHOWN: usize = 48;

#[cfg(test)]
mod tests;

//! The words of a configuration, and the structure they are put into.

use crate::position::Position;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// The word, without quotes, environment references replaced.
    pub(crate) text: String,
    /// Where it begins.
    pub(crate) position: Position,
    /// Whether it is the first of its line.
    pub(crate) first_on_line: bool,
    /// Whether it is text whatever it looks like: it was quoted, or came out
    /// of the environment. Such a word is never a brace.
    pub(crate) literal: bool,
}

/// A server block as written.
#[derive(Clone, Debug)]
pub(crate) struct RawBlock {
    /// What stands before the brace.
    pub(crate) keys: Vec<Token>,
    /// What stands in it.
    pub(crate) directives: Vec<Directive>,
    /// Where its first key stands.
    pub(crate) position: Position,
}

/// A directive as written.
#[derive(Clone, Debug)]
pub(crate) struct Directive {
    /// Its name.
    pub(crate) name: Token,
    /// The words after the name, on its line.
    pub(crate) arguments: Vec<Token>,
    /// The lines of its own block, if it has one.
    pub(crate) block: Option<Vec<Property>>,
}

/// A line of a directive's block: at least one word.
#[derive(Clone, Debug)]
pub(crate) struct Property {
    /// The first word.
    pub(crate) name: Token,
    /// The others.
    pub(crate) arguments: Vec<Token>,
}

// === impl Token ===

impl Token {
    /// Whether this opens a block.
    pub(crate) fn opens(&self) -> bool {
        !self.literal && self.text == "{"
    }

    /// Whether this closes a block.
    pub(crate) fn closes(&self) -> bool {
        !self.literal && self.text == "}"
    }

    /// Whether this is an empty block without its space, `{}`.
    pub(crate) fn is_empty_block(&self) -> bool {
        !self.literal && self.text == "{}"
    }

    /// The word before a brace that lacks its space, as in `.:53{`.
    pub(crate) fn glued_brace(&self) -> Option<&str> {
        self.text
            .strip_suffix('{')
            .filter(|word| !self.literal && !word.is_empty())
    }
}

// === impl Property ===

impl Property {
    /// Makes a line of words; none of no words.
    pub(crate) fn of(words: Vec<Token>) -> Option<Self> {
        let mut words = words.into_iter();
        let name = words.next()?;
        Some(Self {
            name,
            arguments: words.collect(),
        })
    }
}

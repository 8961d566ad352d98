//! Where something was written.

use std::fmt;
use std::ops::Deref;
use std::ops::DerefMut;
use std::sync::Arc;

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The file: the main one as the operator typed it, an imported one as
    /// an absolute path.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A value and the place where it was written.
///
/// Two of them are equal when the values are: where something was written is
/// no part of what it says.
#[derive(Clone)]
pub struct Located<T> {
    /// What was written.
    pub value: T,
    /// Where it was written.
    pub position: Position,
}

// === impl Position ===

impl Position {
    /// The first character of a file.
    pub fn start_of(file: &str) -> Self {
        Self {
            file: Arc::from(file),
            line: 1,
            column: 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

// === impl Located ===

impl<T> Located<T> {
    /// Ties a value to the place where it was written.
    pub fn new(value: T, position: &Position) -> Self {
        Self {
            value,
            position: position.clone(),
        }
    }
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

impl<T: fmt::Debug> fmt::Debug for Located<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Located<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

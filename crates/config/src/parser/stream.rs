//! The words of a configuration in order, across imports.
//!
//! An import pushes the words of a snippet or a file on top of what is being
//! read. The border between two sources always counts as a new line, so that
//! what is imported never runs into what stands around it.

use std::sync::Arc;

use crate::token::Token;

/// Words still to be read, innermost import last.
#[derive(Debug)]
pub(super) struct Stream {
    /// Every source that is being read.
    frames: Vec<Frame>,
    /// Whether a border was crossed since the last word.
    crossed: bool,
    /// The last word taken.
    last: Option<Token>,
    /// How many words have been taken.
    taken: usize,
}

/// One source and how far it has been read.
#[derive(Debug)]
struct Frame {
    /// Its words.
    tokens: Arc<[Token]>,
    /// The next one.
    next: usize,
}

// === impl Stream ===

impl Stream {
    /// Begins with the words of the main file.
    pub(super) fn new(tokens: Vec<Token>) -> Self {
        let frames = vec![Frame {
            tokens: Arc::from(tokens),
            next: 0,
        }];
        Self {
            frames,
            crossed: true,
            last: None,
            taken: 0,
        }
    }

    /// Reads these words before what is left.
    pub(super) fn push(&mut self, tokens: Arc<[Token]>) {
        self.frames.push(Frame { tokens, next: 0 });
        self.crossed = true;
    }

    /// The next word.
    pub(super) fn peek(&mut self) -> Option<&Token> {
        self.leave_finished();
        let frame = self.frames.last()?;
        frame.tokens.get(frame.next)
    }

    /// Whether the next word is on the line of the last one.
    pub(super) fn continues_line(&mut self) -> bool {
        self.leave_finished();
        let crossed = self.crossed;
        self.peek()
            .is_some_and(|token| !crossed && !token.first_on_line)
    }

    /// Takes the next word.
    pub(super) fn take(&mut self) -> Option<Token> {
        self.leave_finished();
        let frame = self.frames.last_mut()?;
        let mut token = frame.tokens.get(frame.next)?.clone();
        frame.next += 1;
        self.taken += 1;
        token.first_on_line |= std::mem::take(&mut self.crossed);
        self.last = Some(token.clone());
        Some(token)
    }

    /// Takes the next word if it is on the line of the last one.
    pub(super) fn take_on_line(&mut self) -> Option<Token> {
        if self.continues_line() {
            self.take()
        } else {
            None
        }
    }

    /// The last word taken.
    pub(super) fn last(&self) -> Option<&Token> {
        self.last.as_ref()
    }

    /// How many words have been taken.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Gives up on everything that is left.
    pub(super) fn abandon(&mut self) {
        self.frames.clear();
    }

    /// Drops the sources that are read to the end.
    fn leave_finished(&mut self) {
        while self
            .frames
            .last()
            .is_some_and(|frame| frame.next >= frame.tokens.len())
        {
            self.frames.pop();
            self.crossed = true;
        }
    }
}

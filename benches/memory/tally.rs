//! What became of the questions of a phase.

use std::ops::AddAssign;

use crate::question::Verdict;

/// How many there were of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Answered as they should be.
    pub(crate) right: usize,
    /// Answered SERVFAIL.
    pub(crate) refused: usize,
    /// Answered otherwise.
    pub(crate) wrong: usize,
    /// Not answered, though they should be.
    pub(crate) lost: usize,
    /// Connections that the server closed, or should.
    pub(crate) closed: usize,
}

// === impl Tally ===

impl Tally {
    /// Counts an answer.
    pub(crate) fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Right => self.right += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::Wrong => self.wrong += 1,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.right += other.right;
        self.refused += other.refused;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.closed += other.closed;
    }
}

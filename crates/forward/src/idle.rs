//! Which UDP sockets to an upstream are used again.
//!
//! A socket of its own for each query is the best there is against forgers,
//! who have to guess its port (RFC 5452 §9.2), and costs more than the query
//! itself. Where many queries go to one upstream, a socket that has had its
//! answer is therefore kept for another query, in a way that leaves the port
//! hard to guess:
//!
//! - there are at least [`CHOICE`] idle ones, of which one is drawn by chance,
//!   but none of the [`REST`] that were used last; otherwise a new one is
//!   opened. So as many queries are answered before a port comes back;
//! - none is used more than [`USES`] times or longer than [`LIFE`];
//! - one query at a time is on a socket, under an id of its own;
//! - one that anything has reached while it was idle is closed, so that
//!   nobody can lay in guesses; so is one that had no answer or an error.
//!
//! A socket is bound to the route that there was when it was opened. When one
//! fails, all that are older than the failure are closed.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Fewest idle sockets that one is chosen from. Each that is in use has to be
/// fetched into the processor's caches, and so do the kernel's parts of it.
pub(crate) const CHOICE: usize = 576;

/// Of these, so many that were used last are not chosen.
const REST: usize = 448;

/// Most queries on one socket.
pub(crate) const USES: u32 = 256;

/// Longest that a socket is used.
pub(crate) const LIFE: Duration = Duration::from_secs(10);

/// The idle sockets to one upstream.
#[derive(Debug)]
pub(crate) struct Idle<S> {
    /// In the order in which they came back.
    queue: VecDeque<S>,
    /// Those opened no later than this are not used again.
    void: Option<Instant>,
    /// Fewest that one is chosen from.
    choice: usize,
    /// Of these, so many that were used last are not chosen.
    rest: usize,
    /// The place of the one that is chosen next, drawn in advance.
    next: usize,
}

/// A socket that may be used again.
pub(crate) trait Port {
    /// When it was opened.
    fn opened(&self) -> Instant;

    /// Queries that it was used for.
    fn uses(&self) -> u32;
}

// === impl Idle ===

impl<S: Port> Idle<S> {
    /// None yet, with other bounds.
    #[cfg(test)]
    pub(crate) fn with_choice(choice: usize, rest: usize) -> Self {
        Self {
            choice,
            rest,
            ..Self::default()
        }
    }

    /// Takes out one of those used longest ago, if there are enough. The error
    /// is one that is not to be used again.
    pub(crate) fn choose(&mut self, now: Instant) -> Option<Result<S, S>> {
        let count = self.queue.len();
        if count < self.choice {
            return None;
        }
        let among = count - self.rest;
        // There may have been more of them.
        let chosen = if self.next < among {
            self.next
        } else {
            rand::random_range(..among)
        };
        let chosen = self.queue.swap_remove_front(chosen)?;
        self.next = rand::random_range(..among);
        Some(if self.is_valid(&chosen, now) {
            Ok(chosen)
        } else {
            Err(chosen)
        })
    }

    /// Which one is chosen next, if none is taken out or closed before.
    pub(crate) fn next(&self) -> Option<&S> {
        self.queue.get(self.next)
    }

    /// Takes back a socket that has had its answer. Gives one to be closed:
    /// this one if it is not to be used again or there is no room, or another
    /// that is not to be.
    pub(crate) fn put_back(&mut self, socket: S, now: Instant, has_room: bool) -> Option<S> {
        let is_kept = socket.uses() < USES
            && self.queue.len() < 2 * self.choice
            && self.is_valid(&socket, now)
            && has_room;
        if !is_kept {
            return Some(socket);
        }
        self.queue.push_back(socket);
        self.pop_invalid(now)
    }

    /// Has none be used again that was opened up to now.
    pub(crate) fn void(&mut self, now: Instant) {
        self.void = Some(now);
    }

    /// Takes out the first one if it is not to be used again.
    pub(crate) fn pop_invalid(&mut self, now: Instant) -> Option<S> {
        let first = self.queue.front()?;
        if self.is_valid(first, now) {
            return None;
        }
        self.queue.pop_front()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// All of them.
    #[cfg(test)]
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.queue.iter_mut()
    }

    /// Whether a socket may be used again.
    fn is_valid(&self, socket: &S, now: Instant) -> bool {
        now.saturating_duration_since(socket.opened()) < LIFE
            && self.void.is_none_or(|void| socket.opened() > void)
    }
}

impl<S: Port> Default for Idle<S> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            void: None,
            choice: CHOICE,
            rest: REST,
            next: usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket, by its number.
    struct Numbered(u32, Instant);

    impl Port for Numbered {
        fn opened(&self) -> Instant {
            self.1
        }

        fn uses(&self) -> u32 {
            0
        }
    }

    #[test]
    fn none_of_those_used_last_is_chosen_from_fewer_than_there_were() {
        const CHOICE: u32 = 32;
        const REST: u32 = 16;
        let now = Instant::now();
        for _ in 0..100 {
            let mut idle = Idle::with_choice(CHOICE as usize, REST as usize);
            for number in 0..2 * CHOICE {
                assert!(idle.put_back(Numbered(number, now), now, true).is_none());
            }
            let mut chosen = 0;
            while let Some(Ok(Numbered(number, _))) = idle.choose(now) {
                assert!(number < 2 * CHOICE - REST, "{number}");
                chosen += 1;
            }
            assert_eq!(chosen, CHOICE + 1);
        }
    }
}

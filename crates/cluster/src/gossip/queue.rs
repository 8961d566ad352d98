//! What is to be gossiped.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use bytes::Bytes;

/// Messages for gossip, each handed out so often that a cluster of the given
/// size hears of it. What was handed out least comes first, and among that the
/// oldest: deltas build on one another.
///
/// Takes the place of memberlist's own queue, which waits for a lock.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// All of it.
    state: Mutex<State>,
}

/// What a lock is needed for.
#[derive(Debug, Default)]
struct State {
    /// Messages by how often they were handed out, and when they came.
    messages: BTreeMap<(usize, u64), Bytes>,
    /// How many messages came.
    last: u64,
    /// How many members there are, this one among them.
    members: usize,
    /// How many messages had to make room.
    pruned: u64,
}

/// Each message goes out so often, times the digits of the number of members.
const TIMES: usize = 6;

/// So many messages are held.
const MAX_MESSAGES: usize = 4_096;

/// What memberlist adds to a message: its tag and its length.
const OVERHEAD: usize = 1 + 3;

/// What memberlist adds to a datagram of several messages.
const BATCH_OVERHEAD: usize = 6;

// === impl Queue ===

impl Queue {
    /// Adds a message, if there is somebody to tell it to.
    pub(super) fn push(&self, message: Bytes) {
        let mut state = self.lock();
        if state.members < 2 {
            return;
        }
        state.last += 1;
        let key = (0, state.last);
        state.messages.insert(key, message);
        if state.messages.len() > MAX_MESSAGES {
            // What most have heard goes first; for the rest there are digests.
            let heard = state.messages.last_key_value().map(|(key, _)| *key);
            let told = heard.filter(|(times, _)| *times > 0);
            let oldest = state.messages.first_key_value().map(|(key, _)| *key);
            if let Some(key) = told.or(oldest) {
                state.messages.remove(&key);
                state.pruned += 1;
            }
        }
    }

    /// So many members are there now.
    pub(super) fn set_members(&self, members: usize) {
        let mut state = self.lock();
        state.members = members;
        if members < 2 {
            state.messages.clear();
        }
    }

    /// The messages for one datagram that has room for `room` octets.
    pub(super) fn take(&self, room: usize) -> Vec<Bytes> {
        let mut state = self.lock();
        let limit = limit(state.members);
        let mut left = room.saturating_sub(BATCH_OVERHEAD);
        let mut keys = Vec::new();
        for (key, message) in &state.messages {
            if left <= OVERHEAD {
                break;
            }
            let size = message.len() + OVERHEAD;
            if size <= left {
                left -= size;
                keys.push(*key);
            }
        }
        let mut taken = Vec::with_capacity(keys.len());
        for (times, at) in keys {
            let Some(message) = state.messages.remove(&(times, at)) else {
                continue;
            };
            if times + 1 < limit {
                state.messages.insert((times + 1, at), message.clone());
            }
            taken.push(message);
        }
        taken
    }

    /// How many messages had to make room for newer ones.
    pub(super) fn pruned(&self) -> u64 {
        self.lock().pruned
    }

    /// The state; nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often a message is handed out.
fn limit(members: usize) -> usize {
    // The rounded-up decimal logarithm of `members + 1`.
    let digits = usize::try_from(members.max(1).ilog10()).unwrap_or(0) + 1;
    TIMES * digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_goes_out_so_often_and_no_more() {
        let queue = Queue::default();
        queue.set_members(3);
        queue.push(Bytes::from_static(b"a"));
        let times = (0..20).filter(|_| !queue.take(1_000).is_empty()).count();
        assert_eq!(times, TIMES);
        for (members, expected) in [(1, 6), (3, 6), (9, 6), (10, 12), (99, 12), (100, 18)] {
            assert_eq!(limit(members), expected, "{members}");
        }
    }

    #[test]
    fn what_was_told_least_goes_first_and_the_oldest_of_that() {
        let queue = Queue::default();
        queue.set_members(2);
        queue.push(Bytes::from_static(b"aaaa"));
        assert_eq!(queue.take(14), [Bytes::from_static(b"aaaa")]);
        queue.push(Bytes::from_static(b"bbbb"));
        queue.push(Bytes::from_static(b"cccc"));
        assert_eq!(queue.take(14), [Bytes::from_static(b"bbbb")]);
        assert_eq!(queue.take(14), [Bytes::from_static(b"cccc")]);
        assert_eq!(queue.take(14), [Bytes::from_static(b"aaaa")]);
        assert_eq!(queue.take(100).len(), 3);
        assert!(queue.take(8).is_empty());
    }

    #[test]
    fn alone_there_is_nobody_to_tell_and_nothing_to_keep() {
        let queue = Queue::default();
        queue.push(Bytes::from_static(b"a"));
        queue.set_members(2);
        queue.push(Bytes::from_static(b"b"));
        queue.set_members(1);
        queue.set_members(2);
        assert!(queue.take(1_000).is_empty());
    }

    #[test]
    fn the_queue_is_bounded_and_the_newest_stay() {
        let queue = Queue::default();
        queue.set_members(2);
        for n in 0..10_000_u32 {
            queue.push(Bytes::copy_from_slice(&n.to_be_bytes()));
        }
        assert_eq!(queue.lock().messages.len(), MAX_MESSAGES);
        assert_eq!(queue.pruned(), 10_000 - 4_096);
        let taken = queue.take(18);
        assert_eq!(
            taken,
            [Bytes::copy_from_slice(&(10_000_u32 - 4_096).to_be_bytes())]
        );
    }
}

//! Why members could not be joined, as it was said last.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::gossip::JoinError;

/// What was said of addresses that could not be joined: each reason once.
#[derive(Debug, Default)]
pub(crate) struct Unjoined(BTreeMap<SocketAddr, JoinError>);

/// So many addresses are spoken of.
const MAX_UNJOINED: usize = 64;

// === impl Unjoined ===

impl Unjoined {
    /// An address was tried; whether there is something new to say.
    pub(crate) fn note(&mut self, address: SocketAddr, failure: Option<&JoinError>) -> bool {
        let Some(error) = failure else {
            self.0.remove(&address);
            return false;
        };
        let before = self.0.get(&address);
        let has_room = before.is_some() || self.0.len() < MAX_UNJOINED;
        let is_new = before != Some(error) && has_room;
        if is_new {
            self.0.insert(address, error.clone());
        }
        is_new
    }

    /// Forgets addresses that nobody tries any more, so that there is room for
    /// others.
    pub(crate) fn retain(&mut self, is_tried: impl Fn(&SocketAddr) -> bool) {
        self.0.retain(|address, _| is_tried(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_and_again_after_a_success() {
        let mut unjoined = Unjoined::default();
        let (one, other) = (error("one"), error("other"));
        assert!(unjoined.note(address(1), Some(&one)));
        assert!(!unjoined.note(address(1), Some(&one)));
        assert!(unjoined.note(address(1), Some(&other)));
        assert!(!unjoined.note(address(1), None));
        assert!(unjoined.note(address(1), Some(&other)));
    }

    #[test]
    fn addresses_that_nobody_tries_make_room_for_others() {
        let mut unjoined = Unjoined::default();
        let error = error("no answer");
        for n in 0..100 {
            assert_eq!(unjoined.note(address(n), Some(&error)), n < 64, "{n}");
        }
        unjoined.retain(|address| address.port() < 10);
        assert_eq!(unjoined.0.len(), 10);
        assert!(unjoined.note(address(99), Some(&error)));
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn error(text: &str) -> JoinError {
        JoinError::Unreached(text.to_owned())
    }
}

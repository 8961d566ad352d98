//! Members that said good-bye, or were replaced.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use crate::member::MemberId;

/// So many are remembered.
const MAX_GONE: usize = 4_096;

/// For so long.
const REMEMBER: Duration = Duration::from_mins(10);

/// Members that will not come back: whoever still believes in one of them is
/// late.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Who.
    ids: BTreeSet<MemberId>,
    /// When they went, the first one first.
    order: VecDeque<(Instant, MemberId)>,
}

// === impl Gone ===

impl Gone {
    /// Whether a member is gone.
    pub(super) fn contains(&self, id: &MemberId) -> bool {
        self.ids.contains(id)
    }

    /// Notes that a member is gone; false if that is known.
    pub(super) fn insert(&mut self, id: &MemberId, now: Instant) -> bool {
        if !self.ids.insert(id.clone()) {
            return false;
        }
        self.order.push_back((now, id.clone()));
        if self.order.len() > MAX_GONE {
            self.forget_first();
        }
        true
    }

    /// Forgets who went long ago.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((since, _)) = self.order.front()
            && now.saturating_duration_since(*since) > REMEMBER
        {
            self.forget_first();
        }
    }

    /// Forgets who went first.
    fn forget_first(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn who_is_gone_is_forgotten_in_time_and_in_order() {
        let start = Instant::now();
        let mut gone = Gone::default();
        for number in 0..5_000u64 {
            assert!(gone.insert(&MemberId::new("a", number), start));
        }
        assert!(!gone.insert(&MemberId::new("a", 4_999), start));
        assert_eq!((gone.ids.len(), gone.order.len()), (MAX_GONE, MAX_GONE));
        assert!(!gone.contains(&MemberId::new("a", 903)));
        assert!(gone.contains(&MemberId::new("a", 904)));
        gone.expire(start + REMEMBER);
        assert!(gone.contains(&MemberId::new("a", 4_999)));
        gone.expire(start + REMEMBER + Duration::from_millis(1));
        assert!(gone.ids.is_empty() && gone.order.is_empty());
    }
}

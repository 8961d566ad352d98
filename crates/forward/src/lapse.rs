//! What an upstream lacks, remembered for a while.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// How long it is remembered: upstreams get better.
const REMEMBERED: Duration = Duration::from_secs(900);

/// Something that an upstream was found to lack.
#[derive(Debug, Default)]
pub(crate) struct Lapse {
    /// Whether it ever was: mostly not, and then nobody takes the lock.
    is_found: AtomicBool,
    /// Until when that is remembered.
    until: Mutex<Option<Instant>>,
}

// === impl Lapse ===

impl Lapse {
    /// Takes in that it is lacking.
    pub(crate) fn found(&self, now: Instant) {
        *self.lock() = Some(now + REMEMBERED);
        self.is_found.store(true, Ordering::Release);
    }

    /// Whether it is remembered to be lacking.
    pub(crate) fn is_known(&self, now: Instant) -> bool {
        self.is_found.load(Ordering::Acquire) && self.lock().is_some_and(|until| now < until)
    }

    /// Until when that is remembered.
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn a_lapse_is_forgotten_in_time() {
        let (lapse, now) = (Lapse::default(), Instant::now());
        assert!(!lapse.is_known(now));
        lapse.found(now);
        assert!(lapse.is_known(now + REMEMBERED / 2));
        assert!(!lapse.is_known(now + REMEMBERED));
    }
}

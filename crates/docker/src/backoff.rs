//! Growing delays between attempts.

use std::time::Duration;

/// Part of a delay that is left to chance, so that many servers do not come
/// back at the same moment.
const JITTER: f64 = 0.25;

/// Delays that double from a shortest to a longest one.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    /// The first delay; none is shorter.
    shortest: Duration,
    /// No delay is longer.
    longest: Duration,
    /// The next delay, before chance has its part.
    next: Duration,
}

// === impl Backoff ===

impl Backoff {
    /// Starts with the shortest delay.
    pub(crate) fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            next: shortest,
        }
    }

    /// The next delay; `chance` is uniform in `0.0..1.0`.
    pub(crate) fn next(&mut self, chance: f64) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.longest);
        delay.mul_f64(1.0 - JITTER * chance).max(self.shortest)
    }

    /// Starts again with the shortest delay.
    pub(crate) fn reset(&mut self) {
        self.next = self.shortest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let delays: Vec<u64> = (0..6).map(|_| backoff.next(0.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_secs(1));
    }

    #[test]
    fn chance_shortens_a_delay_by_a_quarter_at_most() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        assert_eq!(backoff.next(0.99), Duration::from_secs(1));
        assert_eq!(backoff.next(1.0), Duration::from_millis(1500));
    }
}

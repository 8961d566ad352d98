//! How long an upstream takes to answer, as it is measured.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::policy::RoundTrip;

/// A smoothed round trip and its variation (RFC 6298 §2): each new one counts
/// an eighth, its distance a quarter, or a 32nd where it is less than usual:
/// a resolver that mostly knows and sometimes has to look up varies as much
/// after a few that it knew.
///
/// An answer that comes after another upstream's is measured too. Otherwise
/// only fast ones would be, and ever more would seem slow.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Round trip and variation in microseconds, 32 bits each; 0 before the
    /// first.
    micros: AtomicU64,
}

// === impl Measured ===

impl Measured {
    /// What is known.
    pub(crate) fn known(&self) -> Option<RoundTrip> {
        let micros = self.micros.load(Ordering::Relaxed);
        (micros != 0).then(|| RoundTrip {
            smoothed: Duration::from_micros(micros >> 32),
            variation: Duration::from_micros(micros & MASK),
        })
    }

    /// Takes in a round trip. Of two at the same time, one may be lost.
    pub(crate) fn add(&self, taken: Duration) {
        let taken = u64::try_from(taken.as_micros())
            .unwrap_or(MASK)
            .clamp(1, MASK);
        let (smoothed, variation) = match self.micros.load(Ordering::Relaxed) {
            0 => (taken, taken / 2),
            before => {
                let (smoothed, variation) = (before >> 32, before & MASK);
                let distance = smoothed.abs_diff(taken);
                let variation = if distance > variation {
                    variation + (distance - variation) / 4
                } else {
                    variation - (variation - distance) / 32
                };
                (smoothed - smoothed / 8 + taken / 8, variation)
            }
        };
        let micros = smoothed.clamp(1, MASK) << 32 | variation.min(MASK);
        self.micros.store(micros, Ordering::Relaxed);
    }
}

/// The lower 32 bits.
const MASK: u64 = u32::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_smoothed_by_an_eighth() {
        let measured = Measured::default();
        assert_eq!(measured.known(), None);
        measured.add(Duration::from_millis(8));
        let known = measured.known().unwrap();
        assert_eq!(known.smoothed, Duration::from_millis(8));
        assert_eq!(known.variation, Duration::from_millis(4));
        measured.add(Duration::from_millis(16));
        let known = measured.known().unwrap();
        assert_eq!(known.smoothed, Duration::from_millis(9));
        assert_eq!(known.variation, Duration::from_millis(5));
        measured.add(Duration::ZERO);
        assert!(measured.known().is_some());
        for _ in 0..100 {
            measured.add(Duration::from_hours(1));
        }
        assert!(measured.known().unwrap().smoothed > Duration::from_mins(50));
    }
}

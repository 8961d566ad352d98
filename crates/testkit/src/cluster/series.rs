//! Times of repeated tries.

use std::fmt;
use std::time::Duration;

/// Times of repeated tries, of which the median and the worst are told.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// The times, as they came.
    times: Vec<Duration>,
}

// === impl Series ===

impl Series {
    /// Adds a time.
    pub fn add(&mut self, time: Duration) {
        self.times.push(time);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The least time that half of them do not exceed; zero of none.
    pub fn median(&self) -> Duration {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let middle = sorted.len().div_ceil(2).saturating_sub(1);
        sorted.get(middle).copied().unwrap_or_default()
    }

    /// The longest; zero of none.
    pub fn worst(&self) -> Duration {
        self.times.iter().copied().max().unwrap_or_default()
    }
}

impl Extend<Duration> for Series {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, times: I) {
        self.times.extend(times);
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "median {:.0?}, worst {:.0?} of {}",
            self.median(),
            self.worst(),
            self.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_of_the_times() {
        let mut series = Series::default();
        assert_eq!(series.median(), Duration::ZERO);
        series.extend([5, 1, 9, 3].map(Duration::from_millis));
        assert_eq!(series.median(), Duration::from_millis(3));
        assert_eq!(series.worst(), Duration::from_millis(9));
        assert_eq!(series.to_string(), "median 3ms, worst 9ms of 4");
    }
}

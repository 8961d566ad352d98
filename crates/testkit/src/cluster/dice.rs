//! Numbers that look random and are the same in every run.

/// A sequence of numbers that its seed decides (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Dice {
    /// Where the sequence is.
    state: u64,
}

// === impl Dice ===

impl Dice {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// The next number, below a limit.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.roll() % limit).unwrap_or_default()
    }

    /// Some octets.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = Vec::with_capacity(count + 8);
        while octets.len() < count {
            octets.extend(self.roll().to_be_bytes());
        }
        octets.truncate(count);
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        assert_eq!(one.octets(20), other.octets(20));
        assert_ne!(Dice::new(8).roll(), Dice::new(7).roll());
    }

    #[test]
    fn every_number_below_a_limit_comes_up() {
        let mut dice = Dice::new(1);
        let mut seen = [0; 6];
        for _ in 0..600 {
            seen[dice.below(6)] += 1;
        }
        assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
    }
}

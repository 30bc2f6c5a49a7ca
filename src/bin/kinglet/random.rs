//! Random inputs with a fixed seed: the same on every machine and in every release.

/// Ids are drawn from this range, cut to the vocabulary: tokens below it are often special.
const IDS: std::ops::Range<usize> = 200..30_000;

/// Steele, Lea & Flood 2014.
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from `low..high`, which is not empty (by the high half of a product: Lemire 2019, without the rejection).
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + ((u128::from(self.next()) * (high - low) as u128) >> 64) as usize
    }

    /// The time to the next event of a Poisson process with one event per unit of time on average.
    pub fn exponential(&mut self) -> f64 {
        // From (0, 1], in 53 bits.
        let uniform = ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        -uniform.ln()
    }

    /// A token id of a vocabulary.
    pub fn id(&mut self, vocabulary: usize) -> u32 {
        let end = IDS.end.min(vocabulary);
        let start = if end > IDS.start { IDS.start } else { 0 };
        self.between(start, end) as u32
    }

    /// Token ids of `count` sequences and their lengths: lengths are drawn first, then ids.
    pub fn sequences(
        &mut self,
        count: usize,
        (low, high): (usize, usize),
        vocabulary: usize,
    ) -> (Vec<u32>, Vec<usize>) {
        let lengths: Vec<usize> = (0..count).map(|_| self.between(low, high + 1)).collect();
        let ids = (0..lengths.iter().sum()).map(|_| self.id(vocabulary)).collect();
        (ids, lengths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_range_and_reach_both_ends() {
        let mut random = SplitMix64(1);
        let drawn: Vec<usize> = (0..1000).map(|_| random.between(3, 7)).collect();
        assert!((3..7).all(|n| drawn.contains(&n)) && drawn.iter().all(|n| (3..7).contains(n)));
    }

    #[test]
    fn times_between_events_have_the_mean_and_spread_of_a_poisson_process() {
        let mut random = SplitMix64(1);
        let times: Vec<f64> = (0..100_000).map(|_| random.exponential()).collect();
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let deviation = (times.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / times.len() as f64).sqrt();
        assert!((mean - 1.0).abs() < 0.02 && (deviation - 1.0).abs() < 0.02, "{mean} {deviation}");
        assert!(times.iter().all(|&t| t >= 0.0 && t.is_finite()));
    }
}

//! Relative position bias in T5's buckets (Raffel et al. 2020, section 2.1; `relative_position_bucket` in Hugging Face's MPNet and T5):
//! short distances have one bucket each, long ones share buckets of logarithmic width, and keys after the query have separate buckets.

use crate::spec::Relative;

/// The bucket of a distance `key - query`. In one direction, all keys after the query share the bucket of distance 0.
fn bucket(distance: isize, relative: Relative) -> usize {
    let Relative { buckets, max_distance, bidirectional } = relative;
    let half = if bidirectional { buckets / 2 } else { buckets };
    let base = if bidirectional && distance > 0 { half } else { 0 };
    let n = if bidirectional { distance.unsigned_abs() } else { distance.min(0).unsigned_abs() };
    let exact = half / 2;
    if n < exact {
        return base + n;
    }
    // In f32, as the reference computes it: the truncation to an integer is sensitive to rounding.
    let ratio = (n as f32 / exact as f32).ln() / ((max_distance as f64 / exact as f64).ln() as f32);
    let far = exact + (ratio * (half - exact) as f32) as usize;
    base + far.min(half - 1)
}

/// Expands a table `[buckets, heads]` to one bias per distance: `[head][key - query + longest - 1]`.
pub fn by_distance(table: &[f32], relative: Relative, heads: usize, longest: usize) -> Vec<Vec<f32>> {
    let distances = 1 - longest as isize..longest as isize;
    let rows: Vec<usize> = distances.map(|d| bucket(d, relative)).collect();
    (0..heads).map(|head| rows.iter().map(|row| table[row * heads + head]).collect()).collect()
}

/// ALiBi's bias (Press et al. 2022) by distance, as [`by_distance`] has it. If the number of heads is no power of two, the slopes are those of
/// the next lower power, and then every other one of the next higher power (`get_slopes` of the paper's code).
pub fn alibi(max: f32, heads: usize, longest: usize) -> Vec<Vec<f32>> {
    let slope = |of: usize, number: usize| (-f64::from(max) * number as f64 / of as f64).exp2() as f32;
    let lower = if heads.is_power_of_two() { heads } else { heads.next_power_of_two() / 2 };
    let slopes = (1..=lower).map(|n| slope(lower, n)).chain((0..heads - lower).map(|n| slope(2 * lower, 2 * n + 1)));
    let distances = 1 - longest as isize..longest as isize;
    slopes.map(|slope| distances.clone().map(|d| -slope * d.unsigned_abs() as f32).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Relative = Relative { buckets: 32, max_distance: 128, bidirectional: true };

    #[test]
    fn one_direction_has_all_buckets_for_the_past() {
        // transformers' T5Attention._relative_position_bucket(torch.tensor(d), bidirectional=False).
        for (distance, row) in
            [(5, 0), (0, 0), (-1, 1), (-15, 15), (-16, 16), (-31, 21), (-64, 26), (-127, 31), (-999, 31)]
        {
            assert_eq!(bucket(distance, Relative { bidirectional: false, ..BOTH }), row, "distance {distance}");
        }
    }

    #[test]
    fn buckets_are_those_of_the_reference() {
        // transformers' MPNet relative_position_bucket(torch.tensor(d), num_buckets=32, max_distance=128).
        let expected = [
            (0, 0),
            (-1, 1),
            (-7, 7),
            (-8, 8),
            (-11, 8),
            (-12, 9),
            (-16, 10),
            (-31, 11),
            (-32, 12),
            (-64, 14),
            (-127, 15),
            (-500, 15),
            (1, 17),
            (7, 23),
            (8, 24),
            (16, 26),
            (128, 31),
            (500, 31),
        ];
        for (distance, row) in expected {
            assert_eq!(bucket(distance, BOTH), row, "distance {distance}");
        }
    }

    #[test]
    fn slopes_are_those_of_the_reference() {
        // transformers' build_mpt_alibi_tensor and build_alibi_tensor of BLOOM, for 4, 6 and 8 heads.
        for (heads, expected) in [
            (4, vec![0.25, 0.0625, 0.015625, 0.00390625]),
            (6, vec![0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]),
            (8, (1..=8).map(|n| 0.5_f32.powi(n)).collect()),
        ] {
            let rows = alibi(8.0, heads, 3);
            let slopes: Vec<f32> = rows.iter().map(|row| -row[3]).collect();
            assert_eq!(slopes, expected);
            assert_eq!(rows[0][0], -2.0 * expected[0]);
            assert_eq!((rows[0][2], rows[0][4]), (0.0, rows[0][0]));
        }
    }

    #[test]
    fn distances_index_from_the_most_negative() {
        let table: Vec<f32> = (0..32 * 2).map(|i| i as f32).collect();
        let rows = by_distance(&table, BOTH, 2, 3);
        assert_eq!(rows[0], [4.0, 2.0, 0.0, 34.0, 36.0]);
        assert_eq!(rows[1], [5.0, 3.0, 1.0, 35.0, 37.0]);
    }
}

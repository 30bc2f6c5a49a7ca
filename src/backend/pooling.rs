//! From one vector per token to one vector per text (sentence-transformers' `Pooling` module, Reimers & Gurevych 2019).

use crate::spec::Pooling;

/// Pools packed rows: `hidden` is `[tokens, width]`, the result `[sequences, poolings · width]`, or `hidden` itself for
/// `Pooling::None`. The first `skip` tokens of each sequence are left out. A sequence without other tokens gives zeros, but with
/// `Pooling::Cls` its first token. Sums run over the tokens in order, so they do not depend on the batch.
pub fn pool(hidden: Vec<f32>, starts: &[usize], width: usize, poolings: &[Pooling], skip: usize) -> Vec<f32> {
    if poolings == [Pooling::None] {
        return hidden;
    }
    let mut out = vec![0.0f32; (starts.len() - 1) * width * poolings.len()];
    for (row, bounds) in out.chunks_exact_mut((width * poolings.len()).max(1)).zip(starts.windows(2)) {
        let tokens = &hidden[bounds[0] * width..bounds[1] * width];
        for (row, &pooling) in row.chunks_exact_mut(width).zip(poolings) {
            pool_one(row, tokens, pooling, skip);
        }
    }
    out
}

/// Pools one sequence's tokens into a row of zeros.
fn pool_one(row: &mut [f32], tokens: &[f32], pooling: Pooling, skip: usize) {
    let width = row.len();
    let count = tokens.len() / width;
    let pooled = || tokens.chunks_exact(width).enumerate().skip(skip);
    let add = |row: &mut [f32], token: &[f32], weight: f32| {
        row.iter_mut().zip(token).for_each(|(sum, value)| *sum += weight * value);
    };
    let divide = |row: &mut [f32], by: f32| row.iter_mut().for_each(|sum| *sum /= by);
    match pooling {
        Pooling::Cls => {
            // sentence-transformers takes the first token where a prompt fills the whole text.
            let first = if skip < count { skip } else { 0 };
            if count > 0 {
                row.copy_from_slice(&tokens[first * width..][..width]);
            }
        }
        _ if count <= skip => {}
        Pooling::Last => row.copy_from_slice(&tokens[(count - 1) * width..]),
        Pooling::Mean | Pooling::None => {
            pooled().for_each(|(_, token)| row.iter_mut().zip(token).for_each(|(sum, value)| *sum += *value));
            divide(row, (count - skip) as f32);
        }
        Pooling::MeanSqrtLen => {
            pooled().for_each(|(_, token)| add(row, token, 1.0));
            divide(row, ((count - skip) as f32).sqrt());
        }
        Pooling::WeightedMean => {
            // A token's weight is its place in the text, whatever is skipped.
            pooled().for_each(|(i, token)| add(row, token, (i + 1) as f32));
            divide(row, (skip..count).map(|i| (i + 1) as f32).sum());
        }
        Pooling::Max => {
            row.fill(f32::NEG_INFINITY);
            pooled()
                .for_each(|(_, token)| row.iter_mut().zip(token).for_each(|(most, value)| *most = most.max(*value)));
        }
    }
}

/// Scales each row to length 1 (torch's `normalize`: rows shorter than 1e-12 are divided by 1e-12).
pub fn normalize(rows: &mut [f32], width: usize) {
    for row in rows.chunks_exact_mut(width) {
        let norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt().max(1e-12);
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_pooling() {
        let hidden = vec![1.0, 2.0, 3.0, 4.0, 5.0, 9.0];
        let starts = [0, 1, 1, 3];
        let pooled = |pooling| pool(hidden.clone(), &starts, 2, &[pooling], 0);
        assert_eq!(pooled(Pooling::Mean), [1.0, 2.0, 0.0, 0.0, 4.0, 6.5]);
        assert_eq!(pooled(Pooling::Cls), [1.0, 2.0, 0.0, 0.0, 3.0, 4.0]);
        assert_eq!(pooled(Pooling::Last), [1.0, 2.0, 0.0, 0.0, 5.0, 9.0]);
        assert_eq!(pooled(Pooling::None), hidden);
        assert_eq!(pooled(Pooling::Max), [1.0, 2.0, 0.0, 0.0, 5.0, 9.0]);
        assert_eq!(pooled(Pooling::WeightedMean), [1.0, 2.0, 0.0, 0.0, 13.0 / 3.0, 22.0 / 3.0]);
        let root = 2f32.sqrt();
        assert_eq!(pooled(Pooling::MeanSqrtLen), [1.0, 2.0, 0.0, 0.0, 8.0 / root, 13.0 / root]);
    }

    #[test]
    fn several_poolings_are_concatenated_and_a_prompt_is_left_out() {
        let hidden = vec![7.0, 1.0, 3.0, 8.0];
        let both = pool(hidden.clone(), &[0, 3, 4], 1, &[Pooling::Max, Pooling::Mean], 1);
        // The second text has nothing but the prompt.
        assert_eq!(both, [3.0, 2.0, 0.0, 0.0]);
        let rest = [Pooling::Cls, Pooling::Last, Pooling::WeightedMean, Pooling::MeanSqrtLen];
        let rest = pool(hidden, &[0, 3, 4], 1, &rest, 1);
        assert_eq!(rest, [1.0, 3.0, (2.0 + 9.0) / 5.0, 4.0 / 2f32.sqrt(), 8.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn rows_get_length_one_and_zero_stays_zero() {
        let mut rows = vec![3.0, 4.0, 0.0, 0.0];
        normalize(&mut rows, 2);
        assert_eq!(rows, [0.6, 0.8, 0.0, 0.0]);
    }
}

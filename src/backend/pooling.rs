//! From one vector per token to one vector per text (sentence-transformers' `Pooling` module, Reimers & Gurevych 2019).

use crate::spec::Pooling;

/// Pools packed rows: `hidden` is `[tokens, width]`, the result `[sequences, width]`, or `hidden` itself for `Pooling::None`.
/// A sequence without tokens gives zeros. Sums run over the tokens in order, so they do not depend on the batch.
pub fn pool(hidden: Vec<f32>, starts: &[usize], width: usize, pooling: Pooling) -> Vec<f32> {
    if pooling == Pooling::None {
        return hidden;
    }
    let mut out = vec![0.0f32; (starts.len() - 1) * width];
    for (row, bounds) in out.chunks_exact_mut(width).zip(starts.windows(2)) {
        let tokens = bounds[0]..bounds[1];
        if tokens.is_empty() {
            continue;
        }
        let token = |i: usize| &hidden[i * width..][..width];
        match pooling {
            Pooling::Cls => row.copy_from_slice(token(tokens.start)),
            Pooling::Last => row.copy_from_slice(token(tokens.end - 1)),
            Pooling::Mean | Pooling::None => {
                for i in tokens.clone() {
                    row.iter_mut().zip(token(i)).for_each(|(sum, value)| *sum += value);
                }
                let count = tokens.len() as f32;
                row.iter_mut().for_each(|sum| *sum /= count);
            }
        }
    }
    out
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
        let pooled = |pooling| pool(hidden.clone(), &starts, 2, pooling);
        assert_eq!(pooled(Pooling::Mean), [1.0, 2.0, 0.0, 0.0, 4.0, 6.5]);
        assert_eq!(pooled(Pooling::Cls), [1.0, 2.0, 0.0, 0.0, 3.0, 4.0]);
        assert_eq!(pooled(Pooling::Last), [1.0, 2.0, 0.0, 0.0, 5.0, 9.0]);
        assert_eq!(pooled(Pooling::None), hidden);
    }

    #[test]
    fn rows_get_length_one_and_zero_stays_zero() {
        let mut rows = vec![3.0, 4.0, 0.0, 0.0];
        normalize(&mut rows, 2);
        assert_eq!(rows, [0.6, 0.8, 0.0, 0.0]);
    }
}

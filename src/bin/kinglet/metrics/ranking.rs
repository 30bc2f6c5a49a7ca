//! How well scores and rankings agree with those expected.

/// Pearson's correlation; NaN if one side does not vary.
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let count = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / count, y.iter().sum::<f64>() / count);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        (xx, yy, xy) = (xx + x * x, yy + y * y, xy + x * y);
    }
    xy / (xx * yy).sqrt()
}

/// Spearman's rank correlation: Pearson's of the ranks, where equal values share the mean of their ranks.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    pearson(&ranks(x), &ranks(y))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        // Ranks of sorted values are their positions; `equal` is a part of `order`.
        let first = (equal.as_ptr() as usize - order.as_ptr() as usize) / size_of::<usize>();
        let mean = first as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|&i| ranks[i] = mean);
    }
    ranks
}

/// The normalised discounted cumulative gain of the first `depth` documents. `gains` are those of the ranked documents, `all` those of
/// every relevant document. Järvelin & Kekäläinen 2002.
pub fn ndcg(gains: &[f64], all: &[f64], depth: usize) -> f64 {
    let discounted = |gains: &[f64]| {
        let each = gains.iter().take(depth).enumerate().map(|(i, gain)| gain / (i as f64 + 2.0).log2());
        each.sum::<f64>()
    };
    let mut ideal = all.to_vec();
    ideal.sort_by(|a, b| b.total_cmp(a));
    let best = discounted(&ideal);
    if best == 0.0 { 0.0 } else { discounted(gains) / best }
}

/// The reciprocal rank of the first relevant document; 0 if no document is relevant.
pub fn reciprocal_rank(gains: &[f64]) -> f64 {
    gains.iter().position(|&gain| gain > 0.0).map_or(0.0, |i| 1.0 / (i as f64 + 1.0))
}

/// The cosine of two vectors; 0 if one of them is.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

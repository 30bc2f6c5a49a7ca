//! Statistics of durations.

/// Statistics of durations in milliseconds. All are NaN if there are no durations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyStatistics {
    pub mean: f64,
    pub median: f64,
    /// The population standard deviation: the sum of squares is divided by n.
    pub standard_deviation: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub min: f64,
    pub max: f64,
}

impl LatencyStatistics {
    /// Sorts the durations.
    pub fn of(milliseconds: &mut [f64]) -> Self {
        milliseconds.sort_by(f64::total_cmp);
        let times = &*milliseconds;
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / count;
        Self {
            mean,
            median: percentile(times, 0.5),
            standard_deviation: variance.sqrt(),
            p90: percentile(times, 0.9),
            p95: percentile(times, 0.95),
            p99: percentile(times, 0.99),
            min: percentile(times, 0.0),
            max: percentile(times, 1.0),
        }
    }
}

/// Linear interpolation between the two nearest sorted values (numpy's `linear`).
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = last as f64 * share;
    let below = (place as usize).min(last);
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    low + (high - low) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() < 1e-9
    }

    /// Against numpy 2.4: mean, median, std, percentile, min and max.
    #[test]
    fn latencies_are_those_of_numpy() {
        let close = |found: LatencyStatistics, wanted: [f64; 8]| {
            let LatencyStatistics { mean, median, standard_deviation, p90, p95, p99, min, max } = found;
            let found = [mean, median, standard_deviation, p90, p95, p99, min, max];
            assert!(found.iter().zip(wanted).all(|(a, b)| near(*a, b)), "{found:?} {wanted:?}");
        };
        let times = [5.5, 1.25, 9.75, 3.0, 100.125, 2.0, 7.5, 4.25, 6.0, 8.875, 0.5];
        close(
            LatencyStatistics::of(&mut times.to_vec()),
            [13.522727272727273, 5.5, 27.539579894105167, 9.75, 54.9375, 91.08750000000003, 0.5, 100.125],
        );
        close(
            LatencyStatistics::of(&mut times[..10].to_vec()),
            [14.825, 5.75, 28.55899595574046, 18.787499999999966, 59.456249999999905, 91.99125000000001, 1.25, 100.125],
        );
        close(LatencyStatistics::of(&mut [5.5]), [5.5, 5.5, 0.0, 5.5, 5.5, 5.5, 5.5, 5.5]);
        close(LatencyStatistics::of(&mut [5.5, 1.25]), [3.375, 3.375, 2.125, 5.075, 5.2875, 5.4575, 1.25, 5.5]);
        assert!(LatencyStatistics::of(&mut []).mean.is_nan() && LatencyStatistics::of(&mut []).p99.is_nan());
    }
}

//! The rows of distances in the table of disentangled attention, in DeBERTa v2's buckets (`make_log_bucket_position` in Hugging Face's
//! DeBERTa v2): short distances have a row each, long ones share rows of logarithmic width.

use crate::backend::DistanceRows;
use crate::spec::Disentangled;

/// The bucket of a distance `query - key`: up to `span / 2` the distance itself.
fn bucket(distance: isize, span: usize, max_distance: usize) -> isize {
    let (exact, far) = (span / 2, distance.unsigned_abs());
    if far <= exact {
        return distance;
    }
    // In f32, as the reference computes it: rounding up to an integer is sensitive to the last bits.
    let exact_f32 = exact as f32;
    let longest = ((max_distance - 1) as f64 / exact as f64) as f32;
    let ratio = (far as f32 / exact_f32).ln() / longest.ln();
    let rows = (ratio * (exact_f32 - 1.0)).ceil() + exact_f32;
    distance.signum() * rows as isize
}

/// The row of a distance `query - key`.
pub fn row(distance: isize, disentangled: Disentangled) -> usize {
    let Disentangled { span, max_distance, .. } = disentangled;
    let near = max_distance.map_or(distance, |most| bucket(distance, span, most));
    near.saturating_add_unsigned(span).clamp(0, 2 * span as isize - 1).unsigned_abs()
}

/// The rows of all distances in texts of up to `longest` tokens.
pub fn rows(disentangled: Disentangled, longest: usize) -> DistanceRows {
    let most = longest as isize - 1;
    DistanceRows::new((-most..=most).map(|distance| row(distance, disentangled) as u32).collect(), disentangled.span)
}

/// At most the bytes that a backend keeps of a layer's vectors of one kind, of all heads.
pub fn bytes(span: usize, width: usize) -> usize {
    /// Beyond the ends of the table, and so that lengths of rows are odd multiples of a cache line.
    const PADDING: usize = 64;
    let row = span.saturating_mul(2).saturating_add(PADDING);
    row.saturating_mul(width).saturating_mul(size_of::<f32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V3: Disentangled =
        Disentangled { span: 256, max_distance: Some(512), content_to_position: true, position_to_content: true };

    #[test]
    fn rows_are_those_of_the_reference() {
        // transformers' make_log_bucket_position(torch.tensor(d), 256, 512), plus 256 and clamped.
        let expected = [
            (0, 256),
            (1, 257),
            (127, 383),
            (128, 384),
            (129, 385),
            (130, 386),
            (131, 387),
            (132, 387),
            (200, 425),
            (255, 448),
            (300, 463),
            (500, 510),
            (510, 511),
            (600, 511),
            (-1, 255),
            (-128, 128),
            (-129, 127),
            (-130, 126),
            (-256, 64),
            (-511, 1),
            (-512, 0),
            (-700, 0),
        ];
        for (distance, expected) in expected {
            assert_eq!(row(distance, V3), expected, "distance {distance}");
        }
        let plain = Disentangled { span: 4, max_distance: None, ..V3 };
        assert_eq!([-9, -5, -4, -1, 0, 3, 4, 9].map(|distance| row(distance, plain)), [0, 0, 0, 3, 4, 7, 7, 7]);
    }

    #[test]
    fn short_distances_have_rows_of_their_own() {
        // Rounding up, the first shared rows are of one distance each.
        assert_eq!(rows(V3, 512).linear, 131);
        assert_eq!(rows(V3, 40).linear, 39);
        assert_eq!(rows(Disentangled { span: 4, max_distance: None, ..V3 }, 40).linear, 3);
        let found = rows(V3, 512);
        for distance in -511..=511 {
            assert_eq!(found.row(distance), row(distance, V3));
        }
    }
}

//! Absolute positions: which row of which table a token gets.

/// Absolute positions, added to the embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// None; attention may have relative or rotary positions.
    None,
    /// A learned vector per position; the first token takes row `first` of `rows`.
    Learned { rows: usize, first: usize },
    /// RoBERTa's: the first token has the row after `padding`; a padding token within a text takes row `padding` and is not
    /// counted. Only for encoders.
    LearnedAfterPadding { rows: usize, padding: usize },
    /// Sines in the first half of the width and cosines in the second (Vaswani et al. 2017, as Marian orders them): `rows` positions, of
    /// which the first one is `first`. The lowest frequency is 1/10000 if `inclusive`, as in tensor2tensor and fairseq, and else one step
    /// above it.
    Sinusoidal { rows: usize, first: usize, inclusive: bool },
    /// As `LearnedAfterPadding`, with fairseq's sines (`inclusive`), and zeros in row `padding`. Only for encoders.
    SinusoidalAfterPadding { rows: usize, padding: usize },
}

impl Position {
    /// The maximum number of tokens; None if positions do not limit it.
    pub fn max_tokens(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Learned { rows, first } => Some(rows.saturating_sub(first)),
            Self::LearnedAfterPadding { rows, padding } | Self::SinusoidalAfterPadding { rows, padding } => {
                Some(rows.saturating_sub(padding.saturating_add(1)))
            }
            Self::Sinusoidal { rows, .. } => Some(rows),
        }
    }

    /// The numbers of the sinusoidal table, row by row, `width` in each; None of other positions.
    pub fn sines(self, width: usize) -> Option<Vec<f32>> {
        let (rows, first, inclusive, padding) = match self {
            Self::Sinusoidal { rows, first, inclusive } => (rows, first, inclusive, None),
            Self::SinusoidalAfterPadding { rows, padding } => (rows, 0, true, Some(padding)),
            Self::None | Self::Learned { .. } | Self::LearnedAfterPadding { .. } => return None,
        };
        let half = width.div_ceil(2);
        let steps = if inclusive { (half as f64 - 1.0).max(1.0) } else { width as f64 / 2.0 };
        let mut values = Vec::with_capacity(rows * width);
        for row in 0..rows {
            let angle = |i: usize| (first + row) as f64 / 10_000f64.powf(i as f64 / steps);
            if Some(row) == padding {
                values.resize(values.len() + width, 0.0);
                continue;
            }
            values.extend((0..half).map(|i| angle(i).sin() as f32));
            values.extend((0..width - half).map(|i| angle(i).cos() as f32));
        }
        Some(values)
    }

    /// Whether padding tokens within a text have a row of their own and are not counted.
    pub fn is_after_padding(self) -> bool {
        matches!(self, Self::LearnedAfterPadding { .. } | Self::SinusoidalAfterPadding { .. })
    }

    /// Appends the row of the position table for each token; `positions` are the positions in the texts. After padding
    /// ([`Self::is_after_padding`]) texts must be whole, because padding tokens are counted from the beginning.
    pub fn rows(self, ids: &[u32], positions: &[u32], out: &mut Vec<u32>) {
        let padding = match self {
            Self::Learned { first, .. } => return out.extend(positions.iter().map(|p| p + first as u32)),
            Self::LearnedAfterPadding { padding, .. } | Self::SinusoidalAfterPadding { padding, .. } => padding as u32,
            Self::None | Self::Sinusoidal { .. } => return out.extend_from_slice(positions),
        };
        let mut skipped = 0;
        out.extend(positions.iter().zip(ids).map(|(&position, &id)| {
            skipped = if position == 0 { 0 } else { skipped };
            if id == padding {
                skipped += 1;
                return padding;
            }
            padding + 1 + position - skipped
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_tokens_within_a_text_are_not_counted() {
        // transformers' create_position_ids_from_input_ids, sequence by sequence.
        let ids = [0, 5, 1, 6, 2, 0, 1, 1, 2];
        let positions = [0, 1, 2, 3, 4, 0, 1, 2, 3];
        let rows = |position: Position| {
            let mut rows = Vec::new();
            position.rows(&ids, &positions, &mut rows);
            rows
        };
        assert_eq!(rows(Position::LearnedAfterPadding { rows: 9, padding: 1 }), [2, 3, 1, 4, 5, 2, 1, 1, 3]);
        assert_eq!(rows(Position::Learned { rows: 9, first: 0 }), positions);
        assert_eq!(rows(Position::Learned { rows: 9, first: 2 })[3..6], [5, 6, 2]);
        assert_eq!(rows(Position::Sinusoidal { rows: 9, first: 0, inclusive: false }), positions);
        assert_eq!(rows(Position::SinusoidalAfterPadding { rows: 9, padding: 1 }), [2, 3, 1, 4, 5, 2, 1, 1, 3]);
    }

    #[test]
    fn sines_come_before_cosines() {
        let near = |found: &[f32], expected: [f64; 4]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-7), "{found:?}");
        };
        let values = Position::Sinusoidal { rows: 3, first: 0, inclusive: false }.sines(4).unwrap();
        near(&values[..4], [0.0, 0.0, 1.0, 1.0]);
        near(&values[8..], [2f64.sin(), 0.02f64.sin(), 2f64.cos(), 0.02f64.cos()]);
        let values = Position::Sinusoidal { rows: 2, first: 1, inclusive: true }.sines(4).unwrap();
        near(&values[4..], [2f64.sin(), 2e-4f64.sin(), 2f64.cos(), 2e-4f64.cos()]);
        let padded = Position::SinusoidalAfterPadding { rows: 3, padding: 1 }.sines(4).unwrap();
        near(&padded[4..8], [0.0; 4]);
        assert_eq!(padded[8..], values[4..]);
    }
}

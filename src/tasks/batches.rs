//! Large calls in parts, so that the memory beside the texts and the result does not grow with their number.

use std::ops::Range;

/// The maximum number of texts of a part; enough that threads seldom wait at its end.
const TEXTS: usize = 16 << 10;
/// The bytes of texts after which a part ends.
const BYTES: usize = 16 << 20;

/// The parts of a call. There is at least one, so that a call without texts is checked as any other.
pub(super) fn batches<'a>(
    texts: &'a [&'a str],
    pairs: Option<&'a [&'a str]>,
) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let (mut end, mut bytes) = (start, 0);
        while end < texts.len() && end - start < TEXTS && bytes < BYTES {
            bytes += texts[end].len() + pairs.and_then(|pairs| pairs.get(end)).map_or(0, |pair| pair.len());
            end += 1;
        }
        next = (end < texts.len()).then_some(end);
        Some(start..end)
    })
}

/// The bytes of rows that a call holds beside its result.
const ROW_BYTES: usize = 64 << 20;

/// Cuts texts into parts of which each has rows of at most [`ROW_BYTES`], or one text. `rows` are those of each text, `width` values wide.
pub(super) fn by_rows(rows: &[usize], width: usize) -> Vec<Vec<usize>> {
    let most = (ROW_BYTES / (width * size_of::<f32>()).max(1)).max(1);
    let (mut parts, mut count): (Vec<Vec<usize>>, usize) = (Vec::new(), 0);
    for (text, &rows) in rows.iter().enumerate() {
        match parts.last_mut() {
            Some(part) if count + rows <= most => part.push(text),
            _ => {
                parts.push(vec![text]);
                count = 0;
            }
        }
        count += rows;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_and_are_limited() {
        let ranges = |texts: &[&str], pairs| {
            let parts = batches(texts, pairs).map(|range| (range.start, range.end));
            parts.collect::<Vec<_>>()
        };
        assert_eq!(ranges(&[], None), [(0, 0)]);
        assert_eq!(ranges(&["a", "b"], None), [(0, 2)]);
        assert_eq!(ranges(&vec!["a"; 40_000], None), [(0, 16384), (16384, 32768), (32768, 40_000)]);
        let long = "a".repeat(10 << 20);
        assert_eq!(ranges(&[&long, &long, &long], None), [(0, 2), (2, 3)]);
        assert_eq!(ranges(&["a", "b", "c"], Some(&[&long, &long, &long])), [(0, 2), (2, 3)]);
    }

    #[test]
    fn parts_by_rows_hold_one_text_or_little() {
        let width = ROW_BYTES / size_of::<f32>() / 4;
        assert_eq!(by_rows(&[1, 2, 1, 1, 9, 4], width), [vec![0, 1, 2], vec![3], vec![4], vec![5]]);
        assert_eq!(by_rows(&[1, 1], usize::MAX >> 8), [vec![0], vec![1]]);
        assert!(by_rows(&[], width).is_empty());
    }
}

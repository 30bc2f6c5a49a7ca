//! WordPiece gives one unknown token for a word that is longer than its limit. Of such a word the middle is left out before the text is
//! tokenised, so that a text of one word takes no memory.

use tokenizers::Encoding;

/// The bytes of a word that are kept in any case, beside the limit.
const KEPT: usize = 1 << 10;

/// A text without the middles of its longest words.
pub struct Shortened {
    pub text: String,
    /// Places in the shortened text, and how many bytes are missing before them.
    removed: Vec<(usize, usize)>,
}

/// None if no word of ASCII letters and digits is much longer than `limit` letters.
pub fn shortened(text: &str, limit: usize) -> Option<Shortened> {
    let kept = limit.checked_add(KEPT)?;
    let bytes = text.as_bytes();
    let (mut out, mut removed) = (String::new(), Vec::new());
    let (mut copied, mut at, mut missing) = (0, 0, 0);
    while at < bytes.len() {
        let length = bytes[at..].iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(bytes.len() - at);
        if length / 4 > kept {
            out.push_str(&text[copied..at + kept]);
            copied = at + length - kept;
            missing += length - 2 * kept;
            removed.push((out.len(), missing));
        }
        at += length.max(1);
    }
    out.push_str(&text[copied..]);
    (!removed.is_empty()).then_some(Shortened { text: out, removed })
}

impl Shortened {
    /// Tokens of the shortened text with the offsets of the whole.
    pub fn restore(&self, encoding: &Encoding) -> Encoding {
        let whole = |at: usize| {
            let before = self.removed.partition_point(|&(place, _)| place < at);
            at + before.checked_sub(1).map_or(0, |last| self.removed[last].1)
        };
        let count = encoding.len();
        Encoding::new(
            encoding.get_ids().to_vec(),
            vec![0; count],
            vec![String::new(); count],
            encoding.get_word_ids().to_vec(),
            encoding.get_offsets().iter().map(|&(start, end)| (whole(start), whole(end))).collect(),
            vec![0; count],
            vec![1; count],
            Vec::new(),
            Default::default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_middles_of_long_words_are_left_out() {
        assert!(shortened(&"some words ".repeat(10_000), 100).is_none());
        assert!(shortened(&"é".repeat(50_000), 100).is_none());
        let long = "x".repeat(100_000);
        let text = format!("a {long}, b {long}é");
        let short = shortened(&text, 100).unwrap();
        let kept = "x".repeat(2 * 1124);
        assert_eq!(short.text, format!("a {kept}, b {kept}é"));
        let at = |place: usize| short.text[place..].as_ptr().addr() - short.text.as_ptr().addr();
        let ends = [(0, 1), (2, 2 + kept.len()), (at(short.text.len() - 2), short.text.len())];
        let encoding = Encoding::new(
            vec![0; 3],
            vec![0; 3],
            vec![String::new(); 3],
            vec![None; 3],
            ends.to_vec(),
            vec![0; 3],
            vec![1; 3],
            Vec::new(),
            Default::default(),
        );
        let whole = [(0, 1), (2, 2 + long.len()), (text.len() - 2, text.len())];
        assert_eq!(short.restore(&encoding).get_offsets(), whole);
    }
}

//! `clean_up_tokenization_spaces`: removes the spaces that a WordPiece or unigram vocabulary leaves before punctuation and English
//! contractions, as transformers does after decoding.

use std::borrow::Cow;

/// What is replaced, in this order.
const PAIRS: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// The bytes before a cut that must not be spaces, so that no replacement reaches over it. The longest pattern has four
/// characters and begins with a space; an earlier replacement may have removed a space after it.
const REACH: usize = 6;

pub fn clean_up(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for (from, to) in PAIRS {
        if text.contains(from) {
            text = Cow::Owned(text.replace(from, to));
        }
    }
    text
}

/// The end of the part of `text` whose cleaned form no later text changes: cleaned alone and followed by the rest, cleaned alone, it is
/// the whole, cleaned. The search begins at `from`, an earlier result.
pub fn certain(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes();
    // A cut before a space, or at the end if no space is near.
    let is_cut = |at: usize| {
        !bytes[at.saturating_sub(REACH)..at].contains(&b' ') && bytes.get(at).is_none_or(|&byte| byte == b' ')
    };
    (from + 1..=bytes.len()).rev().find(|&at| is_cut(at)).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_before_punctuation_and_contractions_go() {
        for (text, cleaned) in [
            ("It is n't hard : read , then run !", "It isn't hard : read, then run!"),
            ("we 've , they 're , I 'm , John 's ?", "we've, they're, I'm, John's?"),
            ("check ' the ' sizes .", "check'the'sizes."),
            ("a  . b", "a . b"),
            ("plain", "plain"),
        ] {
            assert_eq!(clean_up(text), cleaned);
        }
    }

    /// Pieces cleaned at the cuts give the whole, whatever the text.
    #[test]
    fn cuts_do_not_change_the_result() {
        let parts = [" ", " ", "'", "n't", "s", ".", ",", "word", "longer", "n", "t", "é", "m", "ve", "!", "'s"];
        let mut state = 11u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            let (mut cleaned, mut from) = (String::new(), 0);
            for _ in 0..24 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text += parts[(state >> 33) as usize % parts.len()];
                let to = certain(&text, from);
                cleaned += &clean_up(&text[from..to]);
                from = to;
            }
            cleaned += &clean_up(&text[from..]);
            assert_eq!(cleaned, clean_up(&text), "{text:?}");
        }
    }
}

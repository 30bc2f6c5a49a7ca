//! Words: what is kept or dropped as a whole.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// The words of a text, in order: what stands between spaces, with the punctuation at its ends as words of their own. In scripts without
/// spaces each character is a word.
pub fn words(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (start, c.is_whitespace()) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                in_chunk(text, from..at, &mut found);
                start = None;
            }
            _ => {}
        }
    }
    found
}

/// Whether a word is punctuation only.
pub fn is_punctuation(word: &str) -> bool {
    !word.contains(char::is_alphanumeric)
}

/// Whether a character is of a script that does not put spaces between words.
pub fn without_spaces(c: char) -> bool {
    matches!(c,
        // Thai, Lao, Tibetan, Myanmar, Khmer.
        '\u{e00}'..='\u{fff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        // Kana and Han.
        | '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
}

/// The words of a stretch without spaces.
fn in_chunk(text: &str, chunk: Range<usize>, found: &mut Vec<Range<usize>>) {
    let piece = &text[chunk.clone()];
    let first = piece.find(char::is_alphanumeric);
    // Marks that follow a letter belong to it.
    let last = piece.grapheme_indices(true).rev().find(|(_, c)| c.contains(char::is_alphanumeric));
    let last = last.map(|(at, c)| at + c.len());
    let (Some(first), Some(last)) = (first, last) else {
        found.push(chunk);
        return;
    };
    let mut add = |range: Range<usize>| {
        if !range.is_empty() {
            found.push(chunk.start + range.start..chunk.start + range.end);
        }
    };
    add(0..first);
    let mut begin = first;
    if piece[first..last].contains(without_spaces) {
        for (at, part) in piece[first..last].split_word_bound_indices() {
            let at = first + at;
            if part.starts_with(without_spaces) {
                add(begin..at);
                // Kana that form a word are one part.
                add(at..at + part.len());
                begin = at + part.len();
            }
        }
    }
    add(begin..last);
    add(last..piece.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        words(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn punctuation_at_the_ends_of_a_word_is_apart() {
        assert_eq!(
            found(" A small (well-known) bird, isn't it?\n"),
            ["A", "small", "(", "well-known", ")", "bird", ",", "isn't", "it", "?"]
        );
        assert_eq!(found("... 3.14 \"end.\""), ["...", "3.14", "\"", "end", ".\""]);
        assert!(found(" \n\t").is_empty() && found("").is_empty());
    }

    #[test]
    fn characters_of_scripts_without_spaces_are_words() {
        assert_eq!(found("你好，世界 iPhone手机"), ["你", "好", "，", "世", "界", "iPhone", "手", "机"]);
        assert_eq!(found("cafe\u{301}, nai\u{308}ve"), ["cafe\u{301}", ",", "nai\u{308}ve"]);
    }

    #[test]
    fn words_are_in_order_and_hold_all_but_spaces() {
        let text = "«Здравствуй», мир!  ไทย e-mail@x.org — 99%\r\n日本語のカタカナ";
        let ranges = words(text);
        assert!(ranges.windows(2).all(|w| w[0].end <= w[1].start));
        let joined: String = ranges.into_iter().map(|range| &text[range]).collect();
        assert_eq!(joined, text.split_whitespace().collect::<String>());
    }
}

//! Sentences: by the rules of Unicode (UAX #29), with line breaks told apart that only wrap a line.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// A line with this many bytes before its end may have been wrapped there.
const WRAPPED: usize = 60;

/// A full stop after these does not end a sentence; nor does one after a single letter.
const ABBREVIATIONS: [&str; 16] =
    ["Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Sr", "Jr", "Fig", "No", "vs", "cf", "e.g", "i.e", "approx", "et al"];

/// The sentences in the bytes `range` of a document, in order; together they cover it. A line break ends a sentence unless it wraps a
/// line: one of at least 60 bytes, followed by one that begins no list.
pub fn sentences(document: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut text = document[range.clone()].as_bytes().to_vec();
    for at in range.clone().filter(|&at| wraps(document, at)) {
        text[at - range.start] = b' ';
        if at > range.start && text[at - range.start - 1] == b'\r' {
            text[at - range.start - 1] = b' ';
        }
    }
    // Only line breaks have become spaces.
    let text = String::from_utf8_lossy(&text);
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, sentence) in text.split_sentence_bound_indices() {
        let (start, end) = (range.start + at, range.start + at + sentence.len());
        match found.last_mut() {
            Some(last) if sentence.trim().is_empty() || abbreviates(&document[last.clone()]) => last.end = end,
            _ => found.push(start..end),
        }
    }
    found
}

/// Whether the byte at `at` is a line break within a sentence.
fn wraps(document: &str, at: usize) -> bool {
    let bytes = document.as_bytes();
    if bytes[at] != b'\n' || at < WRAPPED || bytes[at - WRAPPED..at].contains(&b'\n') {
        return false;
    }
    let next = document[at + 1..].split('\n').next().unwrap_or_default().trim();
    let number = next.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = number.len() < next.len() && number.starts_with(['.', ')', ':']);
    !next.is_empty() && !numbered && !next.starts_with(['-', '*', '+', '•', '#', '|', '>', '='])
}

/// Whether a sentence that seems to end does so only for an abbreviation.
fn abbreviates(sentence: &str) -> bool {
    let Some(text) = sentence.trim_end_matches(' ').strip_suffix('.') else { return false };
    let last = text.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let letter = last.chars().count() == 1 && last.chars().all(char::is_uppercase);
    letter || ABBREVIATIONS.iter().any(|short| last == *short || short.contains(' ') && text.ends_with(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let all = sentences(text, 0..text.len());
        assert!(all.iter().map(|range| &text[range.clone()]).collect::<String>() == text);
        all.into_iter().map(|range| text[range].trim()).collect()
    }

    #[test]
    fn full_stops_that_end_no_sentence() {
        let text = "Dr. J. Smith paid 3.50 dollars. He left! (Did he?) Yes, e.g. today.";
        assert_eq!(found(text), ["Dr. J. Smith paid 3.50 dollars.", "He left!", "(Did he?)", "Yes, e.g. today."]);
        assert_eq!(found("一。二！三"), ["一。", "二！", "三"]);
        assert!(found("").is_empty());
    }

    #[test]
    fn a_line_break_ends_a_sentence_unless_it_wraps_a_line() {
        let long = "a line that is long enough for its break to be one that an editor";
        assert_eq!(found(&format!("{long}\nput there. New.")), [&format!("{long}\nput there."), "New."]);
        assert_eq!(found("Heading\nText of it."), ["Heading", "Text of it."]);
        assert_eq!(found(&format!("{long}\n- point\n- more")), [long, "- point", "- more"]);
        assert_eq!(found(&format!("{long}\r\nput.\r\n\r\nB.")), [&format!("{long}\r\nput."), "B."]);
    }
}

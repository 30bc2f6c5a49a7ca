//! The merges of a byte-pair encoding: listed in the file, or, for SentencePiece's, derived from the tokens' scores.

use std::cmp::Reverse;

use super::metadata::Metadata;
use super::vocabulary::{self, Kind, Vocabulary, contradiction};
use crate::base::error::Result;
use crate::formats::quoted;

pub(super) const KEY: &str = "tokenizer.ggml.merges";

/// Two tokens that make a third.
pub(super) type Merge<'a> = (&'a str, &'a str);

/// Tokens of more bytes are not made by merges. SentencePiece's have 16 letters by default, the longest known a few dozen.
const LONGEST: usize = 256;

/// The most derived merges, for each token. Real vocabularies have two or three.
const MOST: usize = 16;

/// The merges that the file lists, first things first. The two tokens are apart by a space.
pub(super) fn listed<'a>(metadata: &'a Metadata, vocabulary: &Vocabulary) -> Result<Vec<Merge<'a>>> {
    let listed = metadata.texts(KEY)?;
    if listed.len() > vocabulary::MOST {
        return Err(metadata.invalid(KEY, format!("has more than {} merges", vocabulary::MOST)));
    }
    let mut merges = Vec::with_capacity(listed.len());
    let mut whole = String::new();
    for (i, merge) in listed.iter().enumerate() {
        // A token may begin with a space.
        let at = merge.char_indices().skip(1).find(|(_, c)| *c == ' ');
        let Some((at, _)) = at else {
            return Err(contradiction(metadata, format!("merge {i} is {}, not two tokens", quoted(merge))));
        };
        let (left, right) = (&merge[..at], &merge[at + 1..]);
        whole.clear();
        whole.extend([left, right]);
        // The tokenizers crate relies on it.
        if let Some(absent) = [left, right, &whole].into_iter().find(|token| !vocabulary.ids.contains_key(token)) {
            let (merge, absent) = (quoted(merge), quoted(absent));
            return Err(contradiction(metadata, format!("merge {i} is {merge}, and {absent} is not a token")));
        }
        merges.push((left, right));
    }
    Ok(merges)
}

/// SentencePiece merges whichever neighbours make the token with the best score. As a list of merges: every way to make a
/// token out of two others, the best token's first. Control and user-defined tokens are not made of others.
pub(super) fn derived<'a>(metadata: &Metadata, vocabulary: &Vocabulary<'a>) -> Result<Vec<Merge<'a>>> {
    let Some(scores) = &vocabulary.scores else {
        return Err(metadata.missing("tokenizer.ggml.scores"));
    };
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        if vocabulary.kinds[id] != Kind::Normal || token.len() > LONGEST {
            continue;
        }
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if vocabulary.ids.contains_key(left) && vocabulary.ids.contains_key(right) {
                found.push((id, at));
            }
        }
        if found.len() / MOST > vocabulary.tokens.len() {
            return Err(contradiction(metadata, "its tokens can be made of each other in implausibly many ways"));
        }
    }
    let text = |id: usize| vocabulary.text(id as u32);
    // Among equals the longer left half comes first, as in Hugging Face's conversions.
    found.sort_by(|a, b| {
        let letters = |&(id, at): &(usize, usize)| Reverse(text(id)[..at].chars().count());
        let length = |&(id, _): &(usize, usize)| Reverse(text(id).chars().count());
        let by_score = scores[b.0].total_cmp(&scores[a.0]);
        by_score.then_with(|| letters(a).cmp(&letters(b))).then_with(|| length(a).cmp(&length(b))).then(a.0.cmp(&b.0))
    });
    Ok(found.into_iter().map(|(id, at)| text(id).split_at(at)).collect())
}

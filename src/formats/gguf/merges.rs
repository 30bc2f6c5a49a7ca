//! The merges of a byte-pair encoding: listed in the file or, for SentencePiece, derived from the scores of tokens.

use std::cmp::Reverse;

use super::metadata::Metadata;
use super::vocabulary::{self, Kind, Vocabulary, contradiction};
use crate::base::error::Result;
use crate::formats::quoted;

pub(super) const KEY: &str = "tokenizer.ggml.merges";

/// Two tokens that merge into a third.
pub(super) type Merge<'a> = (&'a str, &'a str);

/// Longer tokens, in bytes, get no merges. SentencePiece's have up to 16 characters by default, the longest known a few dozen.
const MAX_BYTES: usize = 256;

/// The maximum number of derived merges per token, on average. Published vocabularies have two or three.
const MAX_PER_TOKEN: usize = 16;

/// The merges that the file lists, by priority. A space separates the two tokens.
pub(super) fn listed<'a>(metadata: &'a Metadata, vocabulary: &Vocabulary) -> Result<Vec<Merge<'a>>> {
    let listed = metadata.texts(KEY)?;
    if listed.len() > vocabulary::MAX_TOKENS {
        return Err(metadata.invalid(KEY, format!("has more than {} merges", vocabulary::MAX_TOKENS)));
    }
    let mut merges = Vec::with_capacity(listed.len());
    let mut whole = String::new();
    for (i, merge) in listed.iter().enumerate() {
        // A token may begin with a space.
        let at = merge.char_indices().skip(1).find(|(_, c)| *c == ' ');
        let Some((at, _)) = at else {
            return Err(contradiction(metadata, format!("merge {i} is {}, which is not two tokens", quoted(merge))));
        };
        let (left, right) = (&merge[..at], &merge[at + 1..]);
        whole.clear();
        whole.extend([left, right]);
        // The tokenizers crate assumes that these tokens exist.
        if let Some(absent) = [left, right, &whole].into_iter().find(|token| !vocabulary.ids.contains_key(token)) {
            let (merge, absent) = (quoted(merge), quoted(absent));
            return Err(contradiction(metadata, format!("merge {i} is {merge}, but {absent} is not a token")));
        }
        merges.push((left, right));
    }
    Ok(merges)
}

/// SentencePiece merges the two neighbours whose token has the best score. As a list of merges, this is every way to make a
/// token of two others, by the score of the result. Control and user-defined tokens are never the result of a merge.
pub(super) fn derived<'a>(metadata: &Metadata, vocabulary: &Vocabulary<'a>) -> Result<Vec<Merge<'a>>> {
    let Some(scores) = &vocabulary.scores else {
        return Err(metadata.missing("tokenizer.ggml.scores"));
    };
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        if vocabulary.kinds[id] != Kind::Normal || token.len() > MAX_BYTES {
            continue;
        }
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if vocabulary.ids.contains_key(left) && vocabulary.ids.contains_key(right) {
                found.push((id, at));
            }
        }
        if found.len() / MAX_PER_TOKEN > vocabulary.tokens.len() {
            return Err(contradiction(metadata, "its tokens have implausibly many merges"));
        }
    }
    let text = |id: usize| vocabulary.text(id as u32);
    // Of equal scores, the merge with the longer left token comes first, as in Hugging Face's converter.
    found.sort_by(|a, b| {
        let letters = |&(id, at): &(usize, usize)| Reverse(text(id)[..at].chars().count());
        let length = |&(id, _): &(usize, usize)| Reverse(text(id).chars().count());
        let by_score = scores[b.0].total_cmp(&scores[a.0]);
        by_score.then_with(|| letters(a).cmp(&letters(b))).then_with(|| length(a).cmp(&length(b))).then(a.0.cmp(&b.0))
    });
    Ok(found.into_iter().map(|(id, at)| text(id).split_at(at)).collect())
}

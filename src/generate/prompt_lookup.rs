//! Prompt lookup decoding (Saxena 2023; `PromptLookupCandidateGenerator` of transformers): what a text will go on with is guessed from
//! where its last tokens stood before. The guess, a draft, runs through the model in one step with the last token, and as much of
//! it stays as the model would have chosen itself. A wrong draft costs its rows of the step and changes nothing.

use super::options::Settings;
use super::search::ROOM;

/// How drafts are found. `tokens` is 0 where none are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LookupSettings {
    /// The most tokens of a draft.
    pub tokens: usize,
    /// How many of a text's last tokens must have stood together before, at most; fewer are tried next.
    pub ngram: usize,
}

/// Finds drafts for one text.
pub struct Lookup {
    /// The decoder's prompt and what was generated.
    own: Vec<u32>,
    /// What the encoder read: a summary or a correction copies from there. Empty without an encoder.
    source: Vec<u32>,
    /// A length that no draft crosses, because beyond it the keys of all tokens are others.
    switch: Option<usize>,
    /// The most tokens of the next draft, where fewer than wanted: rows of wrong drafts are time lost.
    trust: usize,
}

/// Tokens that stood before, and how many of the last tokens stood before them.
#[derive(Clone, Copy, Default)]
struct Found<'a> {
    matched: usize,
    after: &'a [u32],
}

/// The first place in `text` where the most of `last`'s end stands, at most `most` tokens, and some token after it.
fn find<'a>(text: &'a [u32], last: &[u32], most: usize) -> Found<'a> {
    let mut best = Found::default();
    let (Some(end), Some(places)) = (last.last(), text.len().checked_sub(1)) else { return best };
    for (place, _) in text[..places].iter().enumerate().filter(|(_, token)| *token == end) {
        let pairs = text[..=place].iter().rev().zip(last.iter().rev());
        let matched = pairs.take(most).take_while(|(a, b)| a == b).count();
        if matched > best.matched {
            best = Found { matched, after: &text[place + 1..] };
            if matched == most {
                break;
            }
        }
    }
    best
}

impl Lookup {
    /// `limit` is how many new tokens there may be.
    pub fn new(prompt: &[u32], source: &[u32], switch: Option<usize>, limit: usize, settings: LookupSettings) -> Self {
        let mut own = Vec::with_capacity(prompt.len() + limit.min(ROOM));
        own.extend_from_slice(prompt);
        Self { own, source: source.to_vec(), switch, trust: settings.tokens }
    }

    /// Notes a token that was generated.
    pub fn push(&mut self, token: u32) {
        self.own.push(token);
    }

    /// Adds a draft of at most `most` tokens to `tokens`. Returns how many it has.
    pub fn draft(&self, most: usize, s: &Settings, tokens: &mut Vec<u32>) -> usize {
        let most = most.min(self.trust).min(s.lookup.tokens).min(match self.switch {
            Some(switch) if self.own.len() <= switch => switch - self.own.len(),
            _ => usize::MAX,
        });
        if most == 0 {
            return 0;
        }
        // The longer match counts, wherever it is; of equals the text's own.
        let ngram = s.lookup.ngram;
        let mut found = find(&self.own, &self.own, ngram);
        if s.no_repeat_ngram_size > 0 {
            // The text may not go on as it did before for longer than that.
            found.after =
                &found.after[..found.after.len().min(s.no_repeat_ngram_size.saturating_sub(found.matched + 1))];
        }
        if found.matched < ngram || found.after.is_empty() {
            let read = find(&self.source, &self.own, ngram);
            if read.matched > found.matched || found.after.is_empty() {
                found = read;
            }
        }
        let most = most.min(found.after.len());
        // An end token ends the text without being drafted, and what is never chosen cannot be right.
        let never = |token: &u32| s.eos.contains(token) || s.suppress.contains(token);
        let draft = &found.after[..most];
        let draft = &draft[..draft.iter().position(never).unwrap_or(most)];
        tokens.extend_from_slice(draft);
        draft.len()
    }

    /// Learns what came of a draft: as many tokens as stood are worth another try, and twice as many if all did.
    pub fn judge(&mut self, drafted: usize, accepted: usize) {
        self.trust = if accepted == drafted { self.trust.max(2 * drafted) } else { accepted.max(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::options::{Defaults, GenerateOptions};

    fn settings(tokens: usize, ngram: usize, more: GenerateOptions) -> Settings {
        let options =
            GenerateOptions { prompt_lookup_num_tokens: Some(tokens), max_matching_ngram_size: Some(ngram), ..more };
        options.settle(&Defaults::default(), 100).unwrap()
    }

    fn draft(lookup: &Lookup, most: usize, s: &Settings) -> Vec<u32> {
        let mut tokens = vec![99];
        let count = lookup.draft(most, s, &mut tokens);
        assert_eq!(tokens.len(), 1 + count);
        tokens.split_off(1)
    }

    fn plain(own: &[u32], source: &[u32], s: &Settings) -> Vec<u32> {
        draft(&Lookup::new(own, source, None, 10, s.lookup), usize::MAX, s)
    }

    #[test]
    fn the_longest_match_is_taken_and_of_those_the_first() {
        let s = settings(3, 2, GenerateOptions::default());
        // 7 alone stands first; 3 7 twice after it.
        assert_eq!(plain(&[7, 1, 3, 7, 4, 5, 6, 8, 3, 7, 9, 3, 7], &[], &s), [4, 5, 6]);
        assert_eq!(plain(&[7, 1, 2, 3, 4, 7], &[], &s), [1, 2, 3]);
        assert_eq!(plain(&[5, 5, 5], &[], &s), [5]);
        assert!(plain(&[1, 2, 3], &[], &s).is_empty() && plain(&[1], &[], &s).is_empty());
        let one = settings(3, 1, GenerateOptions::default());
        assert_eq!(plain(&[7, 1, 3, 7, 4, 5, 3, 7], &[], &one), [1, 3, 7]);
    }

    #[test]
    fn a_longer_match_in_the_source_is_taken_and_of_equals_the_text_s_own() {
        let s = settings(2, 2, GenerateOptions::default());
        assert_eq!(plain(&[0, 3], &[1, 2, 3, 4, 5], &s), [4, 5]);
        assert_eq!(plain(&[3, 8, 2, 3], &[1, 2, 3, 4, 5], &s), [4, 5]);
        assert_eq!(plain(&[3, 8, 9, 3], &[1, 2, 3, 4, 5], &s), [8, 9]);
        // Nothing comes after a source's last token.
        assert!(plain(&[0, 5], &[1, 2, 5], &s).is_empty());
    }

    #[test]
    fn what_cannot_be_right_is_not_drafted() {
        let options = || GenerateOptions {
            eos_token_id: Some(vec![5]),
            suppress_tokens: Some(vec![6]),
            ..GenerateOptions::default()
        };
        let s = settings(9, 2, options());
        assert_eq!(plain(&[1, 2, 3, 5, 4, 1, 2], &[], &s), [3]);
        assert_eq!(plain(&[1, 2, 3, 4, 6, 1, 2], &[], &s), [3, 4]);
        // Two tokens match already, and four may not.
        let s = settings(9, 2, GenerateOptions { no_repeat_ngram_size: Some(4), ..options() });
        assert_eq!(plain(&[1, 2, 3, 4, 9, 1, 2], &[], &s), [3]);
        let s = settings(9, 2, GenerateOptions { no_repeat_ngram_size: Some(3), ..options() });
        assert_eq!(plain(&[1, 2, 3, 4, 9, 1, 2], &[8, 2, 7], &s), [7]);
    }

    #[test]
    fn drafts_keep_to_their_limits_and_shrink_where_they_fail() {
        let s = settings(4, 2, GenerateOptions::default());
        let own: Vec<u32> = (0..10).chain(0..2).collect();
        let mut lookup = Lookup::new(&own, &[], None, 10, s.lookup);
        assert_eq!(draft(&lookup, 9, &s), [2, 3, 4, 5]);
        assert_eq!(draft(&lookup, 2, &s), [2, 3]);
        assert!(draft(&lookup, 0, &s).is_empty());
        for (drafted, accepted, next) in [(4, 2, 2), (2, 0, 1), (1, 0, 1), (1, 1, 2), (2, 2, 4), (4, 4, 4)] {
            lookup.judge(drafted, accepted);
            assert_eq!(draft(&lookup, 9, &s).len(), next);
        }
        // Twelve tokens are there, the last of which is fed with the draft.
        for (switch, count) in [(11, 4), (12, 0), (13, 1), (15, 3), (20, 4)] {
            let lookup = Lookup::new(&own, &[], Some(switch), 10, s.lookup);
            assert_eq!(draft(&lookup, 9, &s).len(), count, "{switch}");
        }
    }
}

//! Prompt-lookup speculative decoding (Saxena 2023; `PromptLookupCandidateGenerator` of transformers): the draft is the text after an
//! earlier occurrence of the last tokens. It runs in one step with the last token, and its tokens are accepted as long as the model
//! would have chosen them. A rejected draft costs its rows of the step and does not change the output.

use super::search::RESERVED_TOKENS;
use super::settings::Settings;
use crate::spec::RotarySwitch;

/// The options of prompt lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LookupSettings {
    /// The maximum number of tokens of a draft; 0 for no drafts.
    pub tokens: usize,
    /// The maximum length of the n-gram at the end of the text that is looked up; shorter ones are tried next.
    pub ngram: usize,
}

/// Finds drafts for one text.
pub struct Lookup {
    /// The decoder's prompt and the generated tokens.
    own: Vec<u32>,
    /// The encoder's source text, which summaries and corrections copy from. Empty without an encoder.
    source: Vec<u32>,
    /// No draft crosses it: all keys change there, or those of each further token.
    switch: Option<RotarySwitch>,
    /// The maximum length of the next draft, from the acceptance of the last ones.
    draft_length: usize,
}

/// An earlier occurrence of the last tokens: how many of them match, and the tokens after it.
#[derive(Clone, Copy, Default)]
struct Match<'a> {
    matched: usize,
    after: &'a [u32],
}

/// The longest match of the end of `last` in `text`, of at most `max` tokens and with a token after it; the first of equals.
fn find<'a>(text: &'a [u32], last: &[u32], max: usize) -> Match<'a> {
    let mut best = Match::default();
    let (Some(end), Some(places)) = (last.last(), text.len().checked_sub(1)) else { return best };
    for (place, _) in text[..places].iter().enumerate().filter(|(_, token)| *token == end) {
        let pairs = text[..=place].iter().rev().zip(last.iter().rev());
        let matched = pairs.take(max).take_while(|(a, b)| a == b).count();
        if matched > best.matched {
            best = Match { matched, after: &text[place + 1..] };
            if matched == max {
                break;
            }
        }
    }
    best
}

impl Lookup {
    /// `limit` is the maximum number of new tokens.
    pub fn new(
        prompt: &[u32],
        source: &[u32],
        switch: Option<RotarySwitch>,
        limit: usize,
        settings: LookupSettings,
    ) -> Self {
        let mut own = Vec::with_capacity(prompt.len() + limit.min(RESERVED_TOKENS));
        own.extend_from_slice(prompt);
        Self { own, source: source.to_vec(), switch, draft_length: settings.tokens }
    }

    /// Adds a generated token.
    pub fn push(&mut self, token: u32) {
        self.own.push(token);
    }

    /// Appends a draft of at most `max` tokens to `tokens`. Returns its length.
    pub fn draft(&self, max: usize, s: &Settings, tokens: &mut Vec<u32>) -> usize {
        let max = max.min(self.draft_length).min(s.lookup.tokens).min(match self.switch {
            Some(switch) if self.own.len() <= switch.length => switch.length - self.own.len(),
            Some(switch) if switch.grows => 0,
            _ => usize::MAX,
        });
        if max == 0 {
            return 0;
        }
        // The longest match of both texts; of equals the one in the decoder's own.
        let ngram = s.lookup.ngram;
        let mut found = find(&self.own, &self.own, ngram);
        if s.no_repeat_ngram_size > 0 {
            // Longer drafts would repeat an n-gram.
            found.after =
                &found.after[..found.after.len().min(s.no_repeat_ngram_size.saturating_sub(found.matched + 1))];
        }
        if found.matched < ngram || found.after.is_empty() {
            let read = find(&self.source, &self.own, ngram);
            if read.matched > found.matched || found.after.is_empty() {
                found = read;
            }
        }
        let max = max.min(found.after.len());
        // Nothing can follow an end token, and suppressed tokens are never chosen.
        let never = |token: &u32| s.eos.contains(token) || s.suppress.contains(token);
        let draft = &found.after[..max];
        let draft = &draft[..draft.iter().position(never).unwrap_or(max)];
        tokens.extend_from_slice(draft);
        draft.len()
    }

    /// Sets the length of the next draft: as many tokens as were accepted, or twice as many if all were.
    pub fn record(&mut self, drafted: usize, accepted: usize) {
        self.draft_length = if accepted == drafted { self.draft_length.max(2 * drafted) } else { accepted.max(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::defaults::Defaults;
    use crate::generate::options::GenerateOptions;

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
        // `7` alone is first; `3 7` occurs twice after it.
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
        // No token follows the source's last one.
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
        // Two tokens match already; four must not.
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
            lookup.record(drafted, accepted);
            assert_eq!(draft(&lookup, 9, &s).len(), next);
        }
        // There are twelve tokens; the last one is fed with the draft.
        for (length, grows, count) in [
            (11, false, 4),
            (11, true, 0),
            (12, false, 0),
            (13, false, 1),
            (13, true, 1),
            (15, false, 3),
            (20, true, 4),
        ] {
            let lookup = Lookup::new(&own, &[], Some(RotarySwitch { length, grows }), 10, s.lookup);
            assert_eq!(draft(&lookup, 9, &s).len(), count, "{length} {grows}");
        }
    }
}

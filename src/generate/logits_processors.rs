//! Logits processors: penalties and forbidden or forced tokens, in the order of transformers' `generate`.

use super::search::RESERVED_TOKENS;
use super::settings::Settings;

/// The tokens of one sequence so far: the decoder's prompt, then the generated tokens.
pub struct History<'a> {
    pub prompt: &'a [u32],
    pub generated: &'a [u32],
    /// The encoder's input; the prompt if the model has no encoder.
    pub source: &'a [u32],
}

impl History<'_> {
    fn len(&self) -> usize {
        self.prompt.len() + self.generated.len()
    }

    fn all(&self) -> impl Iterator<Item = u32> + '_ {
        self.prompt.iter().chain(self.generated).copied()
    }

    fn at(&self, i: usize) -> u32 {
        if i < self.prompt.len() { self.prompt[i] } else { self.generated[i - self.prompt.len()] }
    }

    /// Whether the tokens before position `end` are `tokens`.
    fn ends_with(&self, end: usize, tokens: &[u32]) -> bool {
        end >= tokens.len() && tokens.iter().enumerate().all(|(i, &t)| self.at(end - tokens.len() + i) == t)
    }
}

const NEVER: f32 = f32::NEG_INFINITY;

fn forbid(scores: &mut [f32], tokens: &[u32]) {
    for &token in tokens {
        scores[token as usize] = NEVER;
    }
}

fn force(scores: &mut [f32], tokens: &[u32]) {
    scores.fill(NEVER);
    for &token in tokens {
        scores[token as usize] = 0.0;
    }
}

/// Applies all logits processors except the grammar and the sampling options. `limit` is the maximum number of new tokens of this
/// sequence; `list` is a scratch buffer.
pub fn process(scores: &mut [f32], history: &History, s: &Settings, limit: usize, list: &mut Vec<u32>) {
    list.clear();
    list.reserve(history.prompt.len().max(history.source.len()) + limit.min(RESERVED_TOKENS));
    for (word, bias) in &s.sequence_bias {
        if let Some((last, before)) = word.split_last()
            && history.ends_with(history.len(), before)
        {
            scores[*last as usize] += bias;
        }
    }
    if s.encoder_repetition_penalty != 1.0 {
        list.clear();
        list.extend_from_slice(history.source);
        list.sort_unstable();
        list.dedup();
        // The reference multiplies by the reciprocal.
        let penalty = (1.0 / f64::from(s.encoder_repetition_penalty)) as f32;
        // The encoder's vocabulary may be larger.
        for &token in &*list {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
            }
        }
    }
    if s.repetition_penalty != 1.0 {
        list.clear();
        list.extend(history.all());
        list.sort_unstable();
        list.dedup();
        for &token in &*list {
            let score = &mut scores[token as usize];
            *score = if *score < 0.0 { *score * s.repetition_penalty } else { *score / s.repetition_penalty };
        }
    }
    if s.presence_penalty != 0.0 || s.frequency_penalty != 0.0 {
        list.clear();
        list.extend_from_slice(history.generated);
        list.sort_unstable();
        for equal in list.chunk_by(|a, b| a == b) {
            scores[equal[0] as usize] -= s.presence_penalty + s.frequency_penalty * equal.len() as f32;
        }
    }
    let n = s.no_repeat_ngram_size;
    if n > 0 && history.len() + 1 >= n {
        let end = history.len();
        list.clear();
        list.extend((end + 1 - n..end).map(|i| history.at(i)));
        for next in n - 1..end {
            if history.ends_with(next, list) {
                scores[history.at(next) as usize] = NEVER;
            }
        }
    }
    let n = s.encoder_no_repeat_ngram_size;
    if n > 0 && history.len() + 1 >= n {
        let end = history.len();
        list.clear();
        list.extend((end + 1 - n..end).map(|i| history.at(i)));
        for ngram in history.source.windows(n).filter(|ngram| ngram[..n - 1] == **list) {
            if let Some(score) = scores.get_mut(ngram[n - 1] as usize) {
                *score = NEVER;
            }
        }
    }
    for word in &s.bad_words {
        if let Some((last, before)) = word.split_last()
            && !(before.is_empty() && s.eos.contains(last))
            && history.ends_with(history.len(), before)
        {
            scores[*last as usize] = NEVER;
        }
    }
    if history.generated.len() < s.min_new_tokens || history.len() < s.min_length || s.ignore_eos {
        forbid(scores, &s.eos);
    }
    let mut forced = false;
    if let Some(token) = s.forced_bos
        && history.len() == 1
    {
        force(scores, &[token]);
        forced = true;
    }
    if !s.forced_eos.is_empty() && history.generated.len() + 1 == limit {
        force(scores, &s.forced_eos);
        forced = true;
    }
    if let Some((start, factor)) = s.exponential_decay
        && history.generated.len() > start
    {
        let power = (history.generated.len() - start).min(i32::MAX as usize) as i32;
        let gain = (f64::from(factor).powi(power) - 1.0) as f32;
        for &token in &s.eos {
            let score = &mut scores[token as usize];
            if score.is_finite() {
                *score += score.abs() * gain;
            }
        }
    }
    forbid(scores, &s.suppress);
    // After a forced first token, the next one counts as the first. A forced last token stays, though it be the first.
    let begin = usize::from(history.prompt.len() == 1 && s.forced_bos.is_some());
    if history.generated.len() == begin && !forced {
        forbid(scores, &s.begin_suppress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::defaults::Defaults;
    use crate::generate::options::GenerateOptions;

    fn run(options: GenerateOptions, prompt: &[u32], generated: &[u32], scores: &[f32]) -> Vec<f32> {
        let settings = options.settle(&Defaults::default(), scores.len()).unwrap();
        let mut scores = scores.to_vec();
        let history = History { prompt, generated, source: prompt };
        process(&mut scores, &history, &settings, settings.limit(prompt.len()), &mut Vec::new());
        scores
    }

    fn base() -> GenerateOptions {
        GenerateOptions { eos_token_id: Some(vec![0]), ..GenerateOptions::default() }
    }

    #[test]
    fn repetition_multiplies_and_divides() {
        let options = GenerateOptions { repetition_penalty: Some(2.0), ..base() };
        assert_eq!(run(options, &[1], &[2, 2], &[1.0, 4.0, -4.0, 4.0]), [1.0, 2.0, -8.0, 4.0]);
        let options = GenerateOptions { presence_penalty: Some(1.0), frequency_penalty: Some(0.5), ..base() };
        assert_eq!(run(options, &[1], &[2, 2], &[0.0; 4]), [0.0, 0.0, -2.0, 0.0]);
    }

    #[test]
    fn no_ngram_comes_twice() {
        let options = GenerateOptions { no_repeat_ngram_size: Some(2), ..base() };
        assert_eq!(run(options, &[1, 2, 3], &[1], &[0.0; 4]), [0.0, 0.0, NEVER, 0.0]);
        let options = GenerateOptions { no_repeat_ngram_size: Some(1), ..base() };
        assert_eq!(run(options, &[1], &[3], &[0.0; 4]), [0.0, NEVER, 0.0, NEVER]);
    }

    #[test]
    fn words_and_tokens_are_kept_out() {
        let words = Some(vec![vec![0], vec![3], vec![1, 2]]);
        let options = GenerateOptions { bad_words_ids: words.clone(), ..base() };
        assert_eq!(run(options, &[2], &[1], &[0.0; 4]), [0.0, 0.0, NEVER, NEVER]);
        let options = GenerateOptions { bad_words_ids: words, ..base() };
        assert_eq!(run(options, &[1], &[2], &[0.0; 4]), [0.0, 0.0, 0.0, NEVER]);
        let first = GenerateOptions {
            min_new_tokens: Some(2),
            suppress_tokens: Some(vec![2]),
            begin_suppress_tokens: Some(vec![3]),
            ..base()
        };
        assert_eq!(run(first.clone(), &[1, 1], &[], &[0.0; 4]), [NEVER, 0.0, NEVER, NEVER]);
        assert_eq!(run(first, &[1, 1], &[1, 1], &[0.0; 4]), [0.0, 0.0, NEVER, 0.0]);
    }

    #[test]
    fn first_and_last_tokens_are_forced() {
        let options = GenerateOptions {
            forced_bos_token_id: Some(2),
            forced_eos_token_id: Some(vec![0]),
            max_new_tokens: Some(3),
            ..base()
        };
        assert_eq!(run(options.clone(), &[1], &[], &[1.0; 4]), [NEVER, NEVER, 0.0, NEVER]);
        assert_eq!(run(options.clone(), &[1], &[2], &[1.0; 4]), [1.0; 4]);
        assert_eq!(run(options, &[1], &[2, 3], &[1.0; 4]), [0.0, NEVER, NEVER, NEVER]);
    }
}

//! Units by their self-information: `-ln p` of each token given those before it, by a decoder. Selective Context (Li et al. 2023,
//! arXiv 2310.06201).

use crate::backend::host;
use crate::base::call::Call;
use crate::base::error::{Error, Result};
use crate::engine::Engine;
use crate::network::{Feed, StepOutput, Want};

use super::segments::overlaps;
use super::units::{Score, Unit, Units};
use super::windows::{Sizes, Windows};
use super::{CompressOptions, CompressUnit};

/// The most logits at a time, in values.
const LOGITS: usize = 8 << 20;
/// The most rows of logits at a time.
const ROWS: usize = 256;

/// Refuses a model that is not a decoder.
pub fn require_decoder(engine: &Engine) -> Result<()> {
    if engine.spec.language.is_some() && engine.spec.encoder.is_none() {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "{}: compressing by self-information needs a decoder that generates text",
        engine.path.display()
    )))
}

/// Scores the units of a document. Returns them and the number of windows.
pub fn score(engine: &Engine, document: &str, options: &CompressOptions, call: Call<'_>) -> Result<(Vec<Unit>, usize)> {
    // Beyond a switch of rotary frequencies the parts of a window would not be read with the same ones.
    let same = engine.network.rotary_switch().map_or(usize::MAX, |switch| switch.length);
    let sizes = Sizes::new(engine, options, engine.spec.max_tokens().min(same), call)?;
    let unit = options.unit.unwrap_or(CompressUnit::Sentence);
    // A word is without a score only where nothing precedes it.
    let mut units = Units::new(document, options, unit, sizes.sentence()).unscored(f32::INFINITY);
    let mut windows = Windows::new(engine, document, sizes);
    let mut output = StepOutput::default();
    let mut count = 0;
    while let Some(window) = windows.next(call)? {
        count += 1;
        let encoding = &window.encoding;
        let surprise = engine.finite(surprises(engine, encoding.ids(), &mut output, call)?)?;
        let offsets = encoding.offsets().unwrap_or_default();
        let tokens = (1..encoding.tokens()).filter(|&token| encoding.special_tokens_mask()[token] == 0);
        let tokens = tokens.map(|t| (t, window.start + offsets[t].start..window.start + offsets[t].end));
        let mut scores = vec![Score::default(); window.words.len()];
        overlaps(&window.words, tokens, |word, token| scores[word].add(surprise[token - 1]));
        // What was in the window before had more before it there.
        units.window(window.words, scores, window.repeated, window.repeated);
    }
    Ok((units.finish(), count))
}

/// `-ln p` of each token but the first, given those before it.
fn surprises(engine: &Engine, ids: &[u32], output: &mut StepOutput, call: Call<'_>) -> Result<Vec<f32>> {
    let vocabulary = engine.spec.vocabulary;
    let rows = (LOGITS / vocabulary).clamp(1, ROWS).min(ids.len());
    let _held = engine.budget.hold((rows * vocabulary * size_of::<f32>()) as u64, "the logits")?;
    let mut sequence = engine.network.sequence()?;
    let mut found = Vec::with_capacity(ids.len());
    let known = &ids[..ids.len().saturating_sub(1)];
    for (part, next) in known.chunks(rows).zip(ids[known.len().min(1)..].chunks(rows)) {
        let sequence = &mut sequence;
        let feed = Feed { sequence, ids: part, want: Want::Logits, last: part.len(), cancelled: None };
        engine.step_once(&mut [feed], output, call)?;
        let logits = output.logits.chunks_exact(vocabulary).zip(next);
        found.extend(logits.map(|(row, &next)| host::log_sum_exp(row) - row[next as usize]));
    }
    Ok(found)
}

//! Words by the probability that a token classifier gives to keeping them: LLMLingua-2 (Pan et al. 2024, arXiv 2403.12968).

use crate::base::call::Call;
use crate::base::error::{Error, Result, quoted};
use crate::engine::Engine;
use crate::spec::HeadKind;
use crate::tasks::classification::{ClassifierSettings, ScoreFunction, token_scores};
use crate::text::encoding::Encoding;

use super::segments::overlaps;
use super::units::{Score, Unit, Units};
use super::windows::{Sizes, Windows};
use super::{CompressOptions, CompressUnit};

/// Windows are run together up to about this many tokens.
const BATCH: usize = 4096;

/// Names of the label of tokens to keep, in lower case, and of the other one.
const KEEP: [&str; 5] = ["keep", "kept", "preserve", "preserved", "retain"];
const DROP: [&str; 6] = ["drop", "dropped", "delete", "discard", "remove", "removed"];

/// The number of the label of tokens to keep: by its name, or 1 as in LLMLingua-2's models.
pub fn keep_label(engine: &Engine, settings: &ClassifierSettings, options: &CompressOptions) -> Result<usize> {
    engine.require_head(HeadKind::Token, "compressing by a token classifier")?;
    let labels = &settings.labels;
    let names = || labels.iter().map(|label| quoted(label)).collect::<Vec<_>>().join(", ");
    if let Some(name) = &options.keep_label {
        let unknown = || {
            Error::invalid_argument(format!(
                "keep_label: {} is not a label of the model, whose labels are {}",
                quoted(name),
                names()
            ))
        };
        return labels.iter().position(|label| label == name).ok_or_else(unknown);
    }
    if labels.len() != 2 {
        return Err(Error::unsupported(format!(
            "{}: compressing needs a token classifier with 2 labels, and this one has {} ({}); keep_label names the label of \
             tokens to keep",
            engine.path.display(),
            labels.len(),
            names()
        )));
    }
    let named = |list: &[&str]| labels.iter().position(|label| list.contains(&label.to_lowercase().as_str()));
    Ok(named(&KEEP).or_else(|| named(&DROP).map(|drop| 1 - drop)).unwrap_or(1))
}

/// Scores the units of a document. Returns them and the number of windows.
pub fn score(
    engine: &Engine,
    (labels, keep): (usize, usize),
    document: &str,
    options: &CompressOptions,
    call: Call<'_>,
) -> Result<(Vec<Unit>, usize)> {
    let sizes = Sizes::new(engine, options, engine.spec.max_tokens(), call)?;
    let unit = options.unit.unwrap_or(CompressUnit::Word);
    let mut units = Units::new(document, options, unit, sizes.sentence());
    let mut windows = Windows::new(engine, document, sizes);
    let mut count = 0;
    loop {
        let (mut batch, mut all) = (Encoding::with_offsets(true, 0), Vec::new());
        while batch.tokens() < BATCH
            && let Some(mut window) = windows.next(call)?
        {
            batch.append(std::mem::take(&mut window.encoding));
            all.push(window);
        }
        if all.is_empty() {
            return Ok((units.finish(), count));
        }
        count += all.len();
        let scores = token_scores(engine, labels, &batch, Some(ScoreFunction::Softmax), call)?;
        for (window, bounds) in all.into_iter().zip(batch.starts().windows(2)) {
            let offsets = batch.offsets().unwrap_or_default();
            let tokens = (bounds[0]..bounds[1]).filter(|&token| batch.special_tokens_mask()[token] == 0);
            let tokens = tokens.map(|t| (t, window.start + offsets[t].start..window.start + offsets[t].end));
            let mut of_words = vec![Score::default(); window.words.len()];
            overlaps(&window.words, tokens, |word, token| of_words[word].add(scores[token * labels + keep]));
            // A word in two windows has the score of the window in which it is nearer to the middle.
            units.window(window.words, of_words, window.repeated, window.repeated / 2);
        }
    }
}

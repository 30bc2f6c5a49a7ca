//! Sentences by their relevance and novelty: maximal marginal relevance (Carbonell & Goldstein 1998) over sentence embeddings.

use crate::backend::pooling;
use crate::base::call::Call;
use crate::base::error::Result;
use crate::engine::Engine;
use crate::families::SentenceTransformers;
use crate::tasks::embedding::{EmbedOptions, Embedder};

use super::segments::Segments;
use super::units::{Score, Unit, Units};
use super::windows::Sizes;
use super::{CompressOptions, CompressUnit};

/// Sentences that are compared with each other: neighbours, so that time grows with the length of a document and not with its square.
const BLOCK: usize = 512;
/// The bytes of embeddings that are kept for the second reading; those of longer documents are computed again.
const KEPT: usize = 32 << 20;
/// How much relevance counts if the options do not say so; novelty has the rest.
const RELEVANCE: f32 = 0.7;

/// Scores the sentences of a document. Returns them and how many were embedded.
pub fn score(
    engine: &Engine,
    settings: &SentenceTransformers,
    document: &str,
    options: &CompressOptions,
    call: Call<'_>,
) -> Result<(Vec<Unit>, usize)> {
    let sizes = Sizes::new(engine, options, engine.spec.max_tokens(), call)?;
    let embed = EmbedOptions { normalize: Some(true), max_length: Some(sizes.window), ..EmbedOptions::default() };
    let embedder = Embedder::new(engine, settings, &embed)?;
    let longest = sizes.sentence().min(sizes.room.saturating_sub(embedder.prompt_tokens(call)?)).max(1);
    let mut units = Units::new(document, options, CompressUnit::Sentence, longest);
    let mut segments = Segments::new(engine, document, sizes.word);
    while let Some(words) = segments.next(call)? {
        words.iter().for_each(|word| units.add(word, Score::default()));
    }
    let mut units = units.finish();
    let width = embedder.dimension();
    let of_block = |block: &[Unit]| {
        let texts: Vec<&str> = block.iter().map(|unit| &document[unit.start as usize..unit.end as usize]).collect();
        embedder.embed(&texts, call).map(|embeddings| embeddings.values)
    };
    let mut embedded = 0;
    let mut kept: Vec<f32> = Vec::new();
    let target = match &options.query {
        Some(query) => embedder.embed(&[query], call)?.values,
        None => {
            let mut sum = vec![0f32; width];
            for block in units.chunks(BLOCK) {
                let values = of_block(block)?;
                embedded += block.len();
                for (row, unit) in values.chunks_exact(width).zip(block) {
                    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value * f32::from(unit.tokens));
                }
                if kept.len() == (embedded - block.len()) * width
                    && (kept.len() + values.len()) * size_of::<f32>() <= KEPT
                {
                    kept.extend(values);
                }
            }
            pooling::normalize(&mut sum, width);
            sum
        }
    };
    let relevance = options.relevance.unwrap_or(RELEVANCE);
    for (number, block) in units.chunks_mut(BLOCK).enumerate() {
        let known = number * BLOCK * width..(number * BLOCK + block.len()) * width;
        let values = match kept.get(known) {
            Some(values) => values,
            None => {
                embedded += block.len();
                &of_block(block)?
            }
        };
        for (unit, score) in block.iter_mut().zip(marginal_relevance(values, &target, relevance)) {
            unit.score = score;
        }
    }
    Ok((units, embedded))
}

/// For each row, its marginal relevance when it is chosen: `λ · target·row - (1 - λ) · max chosen·row`. The rows by falling values are
/// the order in which they are chosen.
fn marginal_relevance(rows: &[f32], target: &[f32], lambda: f32) -> Vec<f32> {
    let width = target.len();
    let row = |i: usize| &rows[i * width..][..width];
    let count = rows.len() / width;
    let relevance: Vec<f32> = (0..count).map(|i| lambda * dot(row(i), target)).collect();
    // Of each row with what was chosen; nothing precedes the first one.
    let mut likeness = vec![0f32; count];
    let mut values = vec![f32::NAN; count];
    let value = |i: usize, likeness: &[f32]| relevance[i] - (1.0 - lambda) * likeness[i];
    for _ in 0..count {
        let open = (0..count).filter(|&i| values[i].is_nan());
        let best = open.max_by(|&a, &b| value(a, &likeness).total_cmp(&value(b, &likeness)).then(b.cmp(&a)));
        let Some(best) = best else { break };
        values[best] = value(best, &likeness);
        for (i, likeness) in likeness.iter_mut().enumerate() {
            *likeness = likeness.max(dot(row(i), row(best)));
        }
    }
    values
}

/// A sum in eight parts, which the compiler turns into vectors.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a, b) = (a.chunks(8), b.chunks(8));
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_comes_later() {
        // Two rows that are alike, and one apart from both.
        let rows = [1.0, 0.0, 0.0, 0.99, 0.141, 0.0, 0.3, 0.0, 0.954];
        let near = |values: &[f32], wanted: [f32; 3]| {
            assert!(values.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{values:?} for {wanted:?}");
        };
        let target = [0.8, 0.0, 0.6];
        near(&marginal_relevance(&rows, &target, 1.0), [0.8, 0.792, 0.8124]);
        // The third is chosen first, then the first.
        near(&marginal_relevance(&rows, &target, 0.5), [0.4 - 0.15, 0.396 - 0.495, 0.4062]);
    }
}

//! Text embeddings as sentence-transformers computes them: the transformer, and the modules after it.

use std::time::Instant;

use crate::backend::pooling;
use crate::base::call::{Call, CallLimits, Cancellation, Priority};
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::memory::grow;
use crate::engine::Engine;
use crate::families::SentenceTransformers;
use crate::spec::{EncodeOutput, Layers, Modules, Pooling};
use crate::text::encoding::Encoding;
use crate::text::tokenizer::EncodeOptions;

use super::batches::batches;
use super::prompts::{self, Prompt};

/// Options of [`crate::Model::embed`]. `None` means the setting of the model's files.
#[derive(Clone, Debug, Default)]
pub struct EmbedOptions {
    /// In place of the model's own pooling; its modules after the pooling are applied all the same. With [`Pooling::None`] only those
    /// of tokens are.
    pub pooling: Option<Pooling>,
    /// Whether embeddings are scaled to length 1. `Some(true)` does it last, after `truncate_dim`; `Some(false)` leaves out the
    /// module `Normalize` at the end of the chain. `None`: as the modules say; not with [`Pooling::None`].
    pub normalize: Option<bool>,
    /// The maximum number of tokens of a text, special tokens and the prompt included; longer texts are truncated.
    pub max_length: Option<usize>,
    /// The name of a prompt of the model's files that is put before each text. `None`: their `default_prompt_name`, if they have one.
    pub prompt_name: Option<String>,
    /// A prompt that is put before each text, whatever `prompt_name` says; empty for none.
    pub prompt: Option<String>,
    /// Keeps only so many values of each embedding, the first ones; more than it has are all of them.
    pub truncate_dim: Option<usize>,
    pub cancellation: Option<Cancellation>,
    pub priority: Priority,
    /// When the call ends in any case, with [`Status::DeadlineExceeded`](crate::Status::DeadlineExceeded).
    pub deadline: Option<Instant>,
}

/// The embeddings of a batch.
#[derive(Clone, Debug)]
pub struct Embeddings {
    /// Rows of `dimension` values: one per text, or one per token with `Pooling::None`, all texts concatenated.
    pub values: Vec<f32>,
    pub dimension: usize,
    /// Text `i`'s rows are `starts[i]..starts[i + 1]`.
    pub starts: Vec<usize>,
    /// The number of tokens of each text, special tokens included.
    pub tokens: Vec<usize>,
    /// 1 for each text that was truncated, else 0.
    pub truncated: Vec<u8>,
}

impl Embeddings {
    /// None yet, of so many texts.
    fn of(texts: usize, dimension: usize) -> Self {
        let mut all =
            Self { values: Vec::new(), dimension, starts: vec![0], tokens: Vec::new(), truncated: Vec::new() };
        grow(&mut all.starts, texts, "the result");
        grow(&mut all.tokens, texts, "the result");
        grow(&mut all.truncated, texts, "the result");
        all
    }

    /// Appends the rows of some of the call's texts.
    fn append(&mut self, values: Vec<f32>, encoding: &Encoding, by_token: bool, texts: usize) {
        match self.tokens.len() {
            // All at once.
            0 if encoding.len() == texts => self.values = values,
            done => {
                if done == 0 && !by_token {
                    // Growing would copy a large result.
                    grow(&mut self.values, texts.saturating_mul(self.dimension), "the result");
                }
                grow(&mut self.values, values.len(), "the result");
                self.values.extend_from_slice(&values);
            }
        }
        let rows = self.starts.last().copied().unwrap_or(0);
        match by_token {
            true => self.starts.extend(encoding.starts()[1..].iter().map(|start| rows + start)),
            false => self.starts.extend(rows + 1..=rows + encoding.len()),
        }
        self.tokens.extend(encoding.starts().windows(2).map(|w| w[1] - w[0]));
        self.truncated.extend_from_slice(&encoding.truncated);
    }

    /// The first row of text `i`: its embedding, or with `Pooling::None` the vector of its first token.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[self.starts[i] * self.dimension..][..self.dimension]
    }
}

/// What a call embeds by.
pub(super) struct Embedder<'a> {
    engine: &'a Engine,
    normalize: Option<bool>,
    output: EncodeOutput,
    /// Values per row that the network gives, and those that are kept.
    width: usize,
    dimension: usize,
    encode: EncodeOptions,
    prompt: Prompt<'a>,
}

impl<'a> Embedder<'a> {
    pub fn new(engine: &'a Engine, settings: &'a SentenceTransformers, options: &'a EmbedOptions) -> Result<Self> {
        let output = output(engine, settings, options)?;
        let (width, dimension) = widths(engine, settings, options, &output)?;
        let max_length = options.max_length.map(|n| n.min(engine.spec.max_tokens()));
        let encode = EncodeOptions { add_special_tokens: settings.special_tokens, max_length, ..Default::default() };
        let prompt = Prompt::choose(settings, options.prompt.as_deref(), options.prompt_name.as_deref())?;
        Ok(Self { engine, normalize: options.normalize, output, width, dimension, encode, prompt })
    }

    /// Values per embedding.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Tokens that the prompt takes of each text's limit.
    pub fn prompt_tokens(&self, call: Call<'_>) -> Result<usize> {
        self.prompt.tokens(self.engine, &self.encode, call)
    }

    pub fn embed(&self, texts: &[&str], call: Call<'_>) -> Result<Embeddings> {
        let Self { engine, normalize, ref output, width, dimension, ref encode, prompt } = *self;
        engine.tokenizer.check_lengths(texts, None)?;
        let skip = if engine.modules.include_prompt { 0 } else { prompt.tokens(engine, encode, call)? };
        if skip > 0 && output.layers == Layers::Graph {
            return Err(Error::unsupported(format!(
                "{}: prompt: the pooling is to leave the prompt out (include_prompt), and the graph has built-in pooling",
                engine.path.display()
            )));
        }
        let output = EncodeOutput { skip, ..output.clone() };
        let mut all = Embeddings::of(texts.len(), dimension);
        for range in batches(texts, None) {
            let batch = &texts[range];
            let with_prompt = prompt.before(batch);
            let encoding = engine.encode(&prompts::refs(&with_prompt, batch), None, encode, call)?;
            let mut values = engine.read(&encoding, &output, call)?;
            let start = Instant::now();
            if output.layers == Layers::Graph && engine.modules.normalizes() && normalize != Some(false) {
                pooling::normalize(&mut values, width);
            }
            cut_rows(&mut values, width, dimension);
            if normalize == Some(true) {
                pooling::normalize(&mut values, dimension);
                call.counters.add(Stage::Pool, encoding.len(), encoding.tokens(), start.elapsed());
            }
            all.append(values, &encoding, output.by_token(), texts.len());
        }
        Ok(all)
    }
}

/// As [`crate::Model::embed`].
pub(crate) fn embed(
    engine: &Engine,
    settings: &SentenceTransformers,
    texts: &[&str],
    options: &EmbedOptions,
) -> Result<Embeddings> {
    let embedder = Embedder::new(engine, settings, options)?;
    let limits = CallLimits {
        cancellation: options.cancellation.as_ref(),
        priority: options.priority,
        deadline: options.deadline,
        bytes: texts.iter().map(|text| text.len()).sum(),
    };
    engine.call(limits, |call| embedder.embed(texts, call), |e| (e.truncated.len(), e.tokens.iter().sum()))
}

/// As [`crate::Model::embedding_size_with`].
pub(crate) fn dimension(engine: &Engine, settings: &SentenceTransformers, options: &EmbedOptions) -> Result<usize> {
    let output = output(engine, settings, options)?;
    if output.by_token() {
        return Err(Error::invalid_argument("pooling: none gives one vector per token, and one per text is needed"));
    }
    widths(engine, settings, options, &output).map(|(_, dimension)| dimension)
}

/// Values per row that the network gives, and those that are kept.
fn widths(
    engine: &Engine,
    settings: &SentenceTransformers,
    options: &EmbedOptions,
    output: &EncodeOutput,
) -> Result<(usize, usize)> {
    let width = output.width(&engine.spec, &engine.modules);
    let truncate_dim = options.truncate_dim.or(settings.truncate_dim.filter(|_| !output.by_token()));
    let dimension = truncate_dim.map_or(width, |dim| dim.min(width));
    match dimension {
        0 => Err(Error::invalid_argument("truncate_dim: is 0")),
        _ => Ok((width, dimension)),
    }
}

/// What is to be read of the texts: the model's modules, with what the caller wants otherwise.
fn output(engine: &Engine, settings: &SentenceTransformers, options: &EmbedOptions) -> Result<EncodeOutput> {
    let modules = &engine.modules;
    if modules.graph.is_some() && options.pooling.is_none() {
        return Ok(EncodeOutput { poolings: modules.poolings.clone(), skip: 0, layers: Layers::Graph });
    }
    let poolings = match options.pooling {
        Some(pooling) => vec![pooling],
        None => settings.modules.as_ref().map(|_| modules.poolings.clone()).map_err(Error::clone)?,
    };
    let mut texts = modules.texts.len();
    if options.normalize == Some(false) && modules.normalizes() {
        texts -= 1;
    }
    let output = EncodeOutput { poolings, skip: 0, layers: Layers::Modules { texts } };
    let pooled = modules.token_width(engine.spec.hidden()) * output.poolings.len();
    if !output.by_token()
        && let Err(what) = Modules::check(&modules.texts[..texts], pooled)
    {
        return Err(Error::invalid_argument(format!("pooling: {what}; leave it out, and the model's own is used")));
    }
    Ok(output)
}

/// Keeps the first `kept` of each row's `width` values.
fn cut_rows(values: &mut Vec<f32>, width: usize, kept: usize) {
    if kept == width {
        return;
    }
    let rows = values.len() / width;
    for row in 1..rows {
        values.copy_within(row * width..row * width + kept, row * kept);
    }
    values.truncate(rows * kept);
    values.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_first_values() {
        let mut values = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        cut_rows(&mut values, 3, 2);
        assert_eq!(values, [1.0, 2.0, 4.0, 5.0]);
        cut_rows(&mut values, 2, 2);
        assert_eq!(values.len(), 4);
        cut_rows(&mut Vec::new(), 3, 1);
    }
}

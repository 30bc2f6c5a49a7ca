//! Classification of texts and pairs, and scoring of pairs by a cross-encoder.

use std::time::Instant;

use crate::base::call::{Call, CallLimits, Cancellation, Priority};
use crate::base::error::{Error, Result, quoted};
use crate::base::memory::grow;
use crate::engine::Engine;
use crate::families::{CrossEncoder, SentenceTransformers};
use crate::formats::json::Config;
use crate::spec::{EncodeOutput, HeadKind, Spec};
use crate::text::chat::ChatTemplate;
use crate::text::encoding::Encoding;
use crate::text::tokenizer::EncodeOptions;

use super::batches::batches;
use super::logit_score::{self, PairRenderer};
use super::prompts::{self, Prompt};

/// The function from logits to scores. The numbers are part of the C ABI: new ones are only appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ScoreFunction {
    /// No function: the logits.
    None = 1,
    /// Independent labels: each score is between 0 and 1.
    Sigmoid = 2,
    /// Exclusive labels: the scores sum to 1.
    Softmax = 3,
    /// Each label on its own, between -1 and 1.
    Tanh = 4,
}

impl ScoreFunction {
    pub fn from_u32(value: u32) -> Option<Self> {
        [Self::None, Self::Sigmoid, Self::Softmax, Self::Tanh].into_iter().find(|&f| f as u32 == value)
    }

    /// The function of a class of torch.nn, by its full name.
    fn of_torch(class: &str) -> Option<Self> {
        match class.strip_prefix("torch.nn.")?.rsplit('.').next()? {
            "Identity" => Some(Self::None),
            "Sigmoid" => Some(Self::Sigmoid),
            "Softmax" => Some(Self::Softmax),
            "Tanh" => Some(Self::Tanh),
            _ => None,
        }
    }

    /// Applies it to rows of `labels` values.
    pub(super) fn apply(self, scores: &mut [f32], labels: usize) {
        match self {
            Self::None => {}
            Self::Sigmoid => scores.iter_mut().for_each(|s| *s = 1.0 / (1.0 + (-*s).exp())),
            Self::Tanh => scores.iter_mut().for_each(|s| *s = s.tanh()),
            Self::Softmax => scores.chunks_exact_mut(labels).for_each(|row| {
                let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                row.iter_mut().for_each(|s| *s = (*s - most).exp());
                let sum: f32 = row.iter().sum();
                row.iter_mut().for_each(|s| *s /= sum);
            }),
        }
    }
}

/// The classification settings of `config.json`.
#[derive(Clone, Debug, Default)]
pub struct ClassifierSettings {
    pub labels: Vec<String>,
    /// For classification: by `problem_type`, or by Hugging Face's rule without it.
    function: Option<ScoreFunction>,
    /// The function of a cross-encoder, which is for scoring and for classifying, or why it cannot be computed.
    cross_encoder: Option<Result<ScoreFunction>>,
    /// How a cross-encoder reads pairs and scores them.
    pub(crate) scoring: CrossEncoder,
    /// The output of a model of natural language inference that stands for entailment.
    pub(crate) entailment: Option<usize>,
}

impl ClassifierSettings {
    pub(crate) fn read(config: &Config, spec: &Spec, sentence: &SentenceTransformers) -> Result<Self> {
        let scoring = match &sentence.cross_encoder {
            Some(Ok(scoring)) => scoring.clone(),
            _ => CrossEncoder::default(),
        };
        let Some(head) = &spec.head else {
            let cross_encoder = match (&sentence.cross_encoder, scoring.logit_score) {
                (Some(Err(error)), _) => Some(Err(error.clone())),
                (Some(Ok(_)), Some(_)) => Some(function_of(config, sentence).unwrap_or(Ok(ScoreFunction::Sigmoid))),
                _ => None,
            };
            if let Some(from) = scoring.logit_score {
                let most = from.true_token.max(from.false_token.unwrap_or(0));
                if most as usize >= spec.vocabulary {
                    let what = format!("{most} is not below the vocabulary's size, {}", spec.vocabulary);
                    return Err(Error::invalid_file(
                        config.path(),
                        format!("a token of the module LogitScore: {what}"),
                    ));
                }
            }
            return Ok(Self { cross_encoder, scoring, ..Self::default() });
        };
        let mut labels: Vec<String> = (0..head.labels).map(|i| format!("LABEL_{i}")).collect();
        if let Some(names) = config.get("id2label").and_then(|v| v.as_object()) {
            for (id, name) in names {
                let slot = id.parse().ok().and_then(|id: usize| labels.get_mut(id));
                let slot = slot
                    .ok_or_else(|| config.invalid("id2label", format!("numbers a label {id:?}; expected 0, 1, …")))?;
                *slot = name.as_str().map_or_else(|| name.to_string(), str::to_string);
            }
        }
        if let Some(names) = config.get("id2label").and_then(|v| v.as_array()) {
            let name = |name: &serde_json::Value| name.as_str().map_or_else(|| name.to_string(), str::to_string);
            labels = names.iter().map(name).collect();
        }
        let function = match config.get("problem_type").and_then(|v| v.as_str()) {
            Some("single_label_classification") => ScoreFunction::Softmax,
            Some("multi_label_classification") => ScoreFunction::Sigmoid,
            Some("regression") => ScoreFunction::None,
            Some(other) => return Err(config.invalid("problem_type", format!("is {other:?}, which is not known"))),
            None if head.kind == HeadKind::Sequence && head.labels == 1 => ScoreFunction::Sigmoid,
            None => ScoreFunction::Softmax,
        };
        let named = function_of(config, sentence);
        let default = if labels.len() == 1 { ScoreFunction::Sigmoid } else { ScoreFunction::None };
        let cross_encoder = match (&sentence.cross_encoder, named) {
            (Some(Err(error)), _) => Some(Err(error.clone())),
            (_, Some(function)) => Some(function),
            (Some(Ok(_)), None) => Some(Ok(default)),
            (None, None) => None,
        };
        let entailment = entailment(config, &labels);
        Ok(Self { labels, function: Some(function), cross_encoder, scoring, entailment })
    }
}

/// The output whose name begins with "entail": by `label2id`, as in transformers, or by the labels where the file has none.
fn entailment(config: &Config, labels: &[String]) -> Option<usize> {
    let is = |name: &str| name.to_lowercase().starts_with("entail");
    match config.get("label2id").and_then(|v| v.as_object()) {
        Some(ids) => {
            let (_, id) = ids.iter().find(|(name, _)| is(name))?;
            id.as_u64().and_then(|id| usize::try_from(id).ok())
        }
        None => labels.iter().position(|name| is(name)),
    }
}

/// The function that sentence-transformers' CrossEncoder writes, as a class of Python: from version 6 on into a file of its own, before
/// into config.json.
fn function_of(config: &Config, sentence: &SentenceTransformers) -> Option<Result<ScoreFunction>> {
    let older = config.get("sentence_transformers").and_then(|v| v["activation_fn"].as_str());
    let oldest = || config.get("sbert_ce_default_activation_function").and_then(|v| v.as_str());
    let class = sentence.activation_fn.as_deref().or(older).or_else(oldest)?;
    Some(ScoreFunction::of_torch(class).ok_or_else(|| {
        let (path, class) = (config.path().display(), quoted(class));
        let what =
            format!("{path}: activation_fn {class} of the cross-encoder is not supported; name a score function");
        Error::unsupported(what)
    }))
}

/// Options of [`crate::Model::classify`] and [`crate::Model::score`].
#[derive(Clone, Debug, Default)]
pub struct ClassifyOptions {
    /// `None`: the setting of the model's files.
    pub function: Option<ScoreFunction>,
    /// The maximum number of tokens of a text or pair, special tokens and the prompt included; longer ones are truncated.
    pub max_length: Option<usize>,
    /// The name of a prompt of the model's files that is put before each text, or before the first of each pair. `None`: their
    /// `default_prompt_name`, if they have one. Not for tokens.
    pub prompt_name: Option<String>,
    /// A prompt that is put there, whatever `prompt_name` says; empty for none. Not for tokens.
    pub prompt: Option<String>,
    pub cancellation: Option<Cancellation>,
    pub priority: Priority,
    /// When the call ends in any case, with [`Status::DeadlineExceeded`](crate::Status::DeadlineExceeded).
    pub deadline: Option<Instant>,
}

impl ClassifyOptions {
    /// For a call with this many bytes of texts.
    pub(super) fn limits(&self, bytes: usize) -> CallLimits<'_> {
        let Self { cancellation, priority, deadline, .. } = self;
        CallLimits { cancellation: cancellation.as_ref(), priority: *priority, deadline: *deadline, bytes }
    }
}

/// Scores of a batch.
#[derive(Clone, Debug, Default)]
pub struct Classifications {
    /// `[texts, labels]`.
    pub scores: Vec<f32>,
    pub labels: usize,
    /// The label with the highest score, one per text.
    pub best: Vec<u32>,
    /// The number of tokens of each text or pair.
    pub tokens: Vec<usize>,
    /// 1 for each text that was truncated, else 0.
    pub truncated: Vec<u8>,
}

/// Documents in the order of how well they answer a query.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    /// The numbers of the documents, the best first; of equal ones the lower number.
    pub indices: Vec<usize>,
    /// Their scores.
    pub scores: Vec<f32>,
    /// The number of tokens of the query with each document, in the order of the call.
    pub tokens: Vec<usize>,
    /// 1 for each of these pairs that was truncated, else 0.
    pub truncated: Vec<u8>,
}

/// What the files say of classifying, what sentence-transformers' files say, and the chat template.
pub(crate) type Setting<'a> = (&'a ClassifierSettings, &'a SentenceTransformers, &'a Result<ChatTemplate>);

/// As [`crate::Model::classify`].
pub(crate) fn classify(
    engine: &Engine,
    (settings, sentence, chat): Setting<'_>,
    texts: &[&str],
    pairs: Option<&[&str]>,
    options: &ClassifyOptions,
) -> Result<Classifications> {
    if settings.scoring.logit_score.is_some() {
        let path = engine.path.display();
        let what =
            format!("{path}: the model has one score for a pair (its module LogitScore) and no labels; use score");
        return Err(Error::unsupported(what));
    }
    engine.require_head(HeadKind::Sequence, "classification")?;
    let function = match (options.function, &settings.cross_encoder) {
        (Some(function), _) => function,
        (None, Some(function)) => function.clone()?,
        (None, None) => settings.function.unwrap_or(ScoreFunction::Softmax),
    };
    run_classifier(engine, (settings, sentence, chat), texts, pairs, function, options)
}

/// As [`crate::Model::score`].
pub(crate) fn score(
    engine: &Engine,
    (settings, sentence, chat): Setting<'_>,
    queries: &[&str],
    documents: &[&str],
    options: &ClassifyOptions,
) -> Result<Classifications> {
    let of_tokens = settings.scoring.logit_score.is_some();
    if !of_tokens {
        let refused = settings.cross_encoder.as_ref().and_then(|function| function.as_ref().err());
        let why = engine.require_head(HeadKind::Sequence, "scoring pairs");
        why.map_err(|error| refused.cloned().unwrap_or_else(|| without_score(engine, error)))?;
    }
    let labels = settings.labels.len();
    if labels != 1 && !of_tokens {
        let path = engine.path.display();
        return Err(Error::unsupported(format!(
            "{path}: scoring pairs needs a model with one output, and this one has {labels} labels; classify the \
             pairs instead"
        )));
    }
    let of_file = || settings.cross_encoder.clone().unwrap_or(Ok(ScoreFunction::Sigmoid));
    let function = options.function.map_or_else(of_file, Ok)?;
    run_classifier(engine, (settings, sentence, chat), queries, Some(documents), function, options)
}

/// As [`crate::Model::rerank`].
pub(crate) fn rerank(
    engine: &Engine,
    setting: Setting<'_>,
    query: &str,
    documents: &[&str],
    top_n: Option<usize>,
    options: &ClassifyOptions,
) -> Result<Ranking> {
    let Classifications { scores, tokens, truncated, .. } =
        score(engine, setting, &vec![query; documents.len()], documents, options)?;
    let mut indices: Vec<usize> = (0..documents.len()).collect();
    // A total order, also of NaN.
    indices.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    indices.truncate(top_n.unwrap_or(documents.len()));
    let scores = indices.iter().map(|&i| scores[i]).collect();
    Ok(Ranking { indices, scores, tokens, truncated })
}

/// What a decoder without a score needs to give one.
fn without_score(engine: &Engine, error: Error) -> Error {
    if engine.spec.language.is_none() || engine.spec.encoder.is_some() {
        return error;
    }
    Error::unsupported(format!(
        "{}; a decoder scores pairs if sentence-transformers' files say which tokens mean yes and no (module LogitScore) and \
         how a pair is written: docs/sentence-transformers.md has those of Qwen3-Reranker and mxbai-rerank-v2",
        error.message()
    ))
}

fn run_classifier(
    engine: &Engine,
    (settings, sentence, chat): Setting<'_>,
    texts: &[&str],
    pairs: Option<&[&str]>,
    function: ScoreFunction,
    options: &ClassifyOptions,
) -> Result<Classifications> {
    let of_tokens = settings.scoring.logit_score;
    let labels = if of_tokens.is_some() { 1 } else { settings.labels.len() };
    let prompt = Prompt::choose(sentence, options.prompt.as_deref(), options.prompt_name.as_deref())?;
    let renderer = match (&settings.scoring.template, pairs) {
        (Some(how), Some(_)) => Some(PairRenderer::new(chat, how, prompt.text())?),
        (Some(_), None) => {
            let path = engine.path.display();
            return Err(Error::unsupported(format!("{path}: the model's chat template takes pairs; pass pairs")));
        }
        (None, _) => None,
    };
    let work = |call: Call<'_>| {
        engine.tokenizer.check_lengths(texts, pairs)?;
        let mut all = Classifications { labels, ..Classifications::default() };
        grow(&mut all.scores, texts.len().saturating_mul(labels), "the result");
        grow(&mut all.best, texts.len(), "the result");
        grow(&mut all.tokens, texts.len(), "the result");
        grow(&mut all.truncated, texts.len(), "the result");
        for range in batches(texts, pairs) {
            let (first, batch) = (range.start, &texts[range.clone()]);
            let pairs = pairs.map(|pairs| &pairs[range]);
            let how = encode_options(engine, options, false);
            let encoding = match &renderer {
                Some(renderer) => {
                    let pairs = (batch, pairs.unwrap_or_default());
                    renderer.encode(engine, pairs, &how, options.cancellation.as_ref(), call)?
                }
                None => {
                    let with_prompt = prompt.before(batch);
                    engine.encode(&prompts::refs(&with_prompt, batch), pairs, &how, call)?
                }
            };
            if let Some(i) = encoding.starts().windows(2).position(|w| w[0] == w[1]) {
                return Err(Error::invalid_argument(format!("texts[{}]: has no tokens to classify", first + i)));
            }
            let mut scores = match of_tokens {
                Some(from) => logit_score::scores(engine, from, &encoding, call)?,
                None => engine.read(&encoding, &EncodeOutput::head(HeadKind::Sequence), call)?,
            };
            function.apply(&mut scores, labels);
            all.best.extend(scores.chunks_exact(labels).map(|row| best(row) as u32));
            all.scores.extend_from_slice(&scores);
            all.tokens.extend(encoding.starts().windows(2).map(|w| w[1] - w[0]));
            all.truncated.extend_from_slice(&encoding.truncated);
        }
        Ok(all)
    };
    let bytes = texts.iter().chain(pairs.unwrap_or_default()).map(|text| text.len()).sum();
    engine.call(options.limits(bytes), work, |c| (c.truncated.len(), c.tokens.iter().sum()))
}

pub(super) fn encode_options(engine: &Engine, options: &ClassifyOptions, offsets: bool) -> EncodeOptions {
    EncodeOptions {
        max_length: options.max_length.map(|n| n.min(engine.spec.max_tokens())),
        offsets,
        ..Default::default()
    }
}

/// The probabilities of an encoded batch's tokens.
pub(super) fn token_scores(
    engine: &Engine,
    labels: usize,
    encoding: &Encoding,
    function: Option<ScoreFunction>,
    call: Call<'_>,
) -> Result<Vec<f32>> {
    let mut scores = engine.read(encoding, &EncodeOutput::head(HeadKind::Token), call)?;
    function.unwrap_or(ScoreFunction::Softmax).apply(&mut scores, labels);
    Ok(scores)
}

/// The index of the highest score; the first of equals.
pub(crate) fn best(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_functions() {
        let mut row = vec![0.0, 1000.0, 0.0, 0.0];
        ScoreFunction::Softmax.apply(&mut row, 2);
        assert_eq!(row, [0.0, 1.0, 0.5, 0.5]);
        let mut row = vec![0.0, 100.0, -100.0];
        ScoreFunction::Sigmoid.apply(&mut row, 3);
        assert!(row[0] == 0.5 && row[1] == 1.0 && row[2] < 1e-30);
        assert_eq!(best(&[1.0, 3.0, 3.0]), 1);
    }
}

//! Text embeddings as sentence-transformers computes them: encoder, pooling, normalisation.

use crate::backend::pooling;
use crate::base::call::{Call, Cancellation};
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::engine::Engine;
use crate::formats::files::Files;
use crate::formats::json::Config;
use crate::spec::{EncodeOutput, Pooling};
use crate::text::tokenizer::EncodeOptions;

/// The settings of sentence-transformers' files. Without such files: mean pooling, not normalised.
#[derive(Clone, Debug)]
pub struct EmbeddingSettings {
    /// An error is kept for later: it does not matter to a caller who chooses a pooling.
    pub pooling: Result<Pooling>,
    pub normalize: bool,
    pub lowercase: bool,
    pub max_seq_length: Option<usize>,
    /// Whether there are such files.
    pub found: bool,
}

impl EmbeddingSettings {
    /// Reads `modules.json`, the pooling module's `config.json`, and `sentence_bert_config.json`, as far as they exist.
    pub(crate) fn read(files: &Files) -> Result<Self> {
        let sentence = files.config("sentence_bert_config.json")?;
        let (max_seq_length, lowercase) = match &sentence {
            Some(c) => (c.usize_opt("max_seq_length")?.filter(|&n| n > 0), c.bool_or("do_lower_case", false)?),
            None => (None, false),
        };
        let path = files.name("modules.json");
        let modules = files.json("modules.json")?;
        let mut settings =
            Self { pooling: Ok(Pooling::Mean), normalize: false, lowercase, max_seq_length, found: true };
        let Some(modules) = modules else {
            if let Some(config) = files.config("1_Pooling/config.json")? {
                settings.pooling = read_pooling(&config);
            } else {
                settings.found = false;
            }
            return Ok(settings);
        };
        let modules = modules.as_array().ok_or_else(|| Error::invalid_file(&path, "not a list of modules"))?;
        for module in modules {
            let kind = module["type"].as_str().unwrap_or_default();
            match kind.rsplit('.').next().unwrap_or_default() {
                "Transformer" => {}
                "Normalize" => settings.normalize = true,
                "Pooling" => {
                    let folder = module["path"].as_str().unwrap_or("1_Pooling");
                    // The path comes from the file: it must not leave the directory.
                    if folder.is_empty() || folder.contains(['/', '\\']) || folder.starts_with("..") {
                        return Err(Error::invalid_file(
                            &path,
                            format!("module path {folder:?} is not a plain folder name"),
                        ));
                    }
                    settings.pooling = read_pooling(&files.require_config(&format!("{folder}/config.json"))?);
                }
                other => {
                    let path = path.display();
                    settings.pooling = Err(Error::unsupported(format!(
                        "{path}: module {other:?} is not supported, only Transformer, Pooling and Normalize; to embed \
                         without it, name a pooling"
                    )));
                    break;
                }
            }
        }
        Ok(settings)
    }
}

/// `pooling_mode_…` flags (sentence-transformers up to 5) or one `pooling_mode` string.
fn read_pooling(config: &Config) -> Result<Pooling> {
    let named = [
        ("mean", "pooling_mode_mean_tokens", Some(Pooling::Mean)),
        ("cls", "pooling_mode_cls_token", Some(Pooling::Cls)),
        ("lasttoken", "pooling_mode_lasttoken", Some(Pooling::Last)),
        ("max", "pooling_mode_max_tokens", None),
        ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", None),
        ("weightedmean", "pooling_mode_weightedmean_tokens", None),
    ];
    let mut chosen = Vec::new();
    let mode = config.get("pooling_mode").and_then(|v| v.as_str());
    for (name, flag, pooling) in named {
        if mode == Some(name) || config.bool_or(flag, false)? {
            chosen.push((name, pooling));
        }
    }
    match chosen.as_slice() {
        [(_, Some(pooling))] => Ok(*pooling),
        _ => {
            let names: Vec<_> = chosen.iter().map(|(name, _)| *name).collect();
            let (path, names) = (config.path().display(), names.join(" + "));
            Err(Error::unsupported(format!(
                "{path}: pooling {names:?} is not supported, only mean, cls or lasttoken alone; name one to embed with"
            )))
        }
    }
}

/// Options of [`crate::Model::embed`]. `None` means the setting of the model's files.
#[derive(Clone, Debug, Default)]
pub struct EmbedOptions {
    pub pooling: Option<Pooling>,
    pub normalize: Option<bool>,
    /// The maximum number of tokens of a text, special tokens included; longer texts are truncated.
    pub max_length: Option<usize>,
    pub cancellation: Option<Cancellation>,
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
    /// The first row of text `i`: its embedding, unless pooling is none.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[self.starts[i] * self.dimension..][..self.dimension]
    }
}

/// As [`crate::Model::embed`].
pub(crate) fn embed(
    engine: &Engine,
    settings: &EmbeddingSettings,
    texts: &[&str],
    options: &EmbedOptions,
) -> Result<Embeddings> {
    let pooling = options.pooling.map_or_else(|| settings.pooling.clone(), Ok)?;
    let normalize = options.normalize.unwrap_or(settings.normalize);
    let encode =
        EncodeOptions { max_length: options.max_length.map(|n| n.min(engine.spec.max_tokens())), ..Default::default() };
    let lower: Option<Vec<String>> = settings.lowercase.then(|| texts.iter().map(|t| t.to_lowercase()).collect());
    let lower: Option<Vec<&str>> = lower.as_ref().map(|l| l.iter().map(String::as_str).collect());
    let work = |call: Call<'_>| {
        let encoding = engine.encode(lower.as_deref().unwrap_or(texts), None, &encode, call)?;
        let mut values = engine.read(&encoding, EncodeOutput::states(pooling), call)?;
        if normalize {
            let start = std::time::Instant::now();
            pooling::normalize(&mut values, engine.spec.hidden());
            call.counters.add(Stage::Pool, encoding.len(), encoding.tokens(), start.elapsed());
        }
        Ok(Embeddings {
            values,
            dimension: engine.spec.hidden(),
            starts: match pooling {
                Pooling::None => encoding.starts().to_vec(),
                _ => (0..=encoding.len()).collect(),
            },
            tokens: encoding.starts().windows(2).map(|w| w[1] - w[0]).collect(),
            truncated: encoding.truncated,
        })
    };
    engine.call(options.cancellation.as_ref(), work, |e| (e.truncated.len(), e.tokens.iter().sum()))
}

//! What sentence-transformers keeps beside a transformer, as sentence-transformers 6 reads it: `modules.json` and the modules' own
//! files, `sentence_bert_config.json` and its like, and `config_sentence_transformers.json`. What is not honoured is an error that
//! names it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::cross_encoder::{self, CrossEncoder};
use super::sentence_fields::{self as fields, known};
use super::sparse_encoder;
use super::transformer_module::TransformerModule;
use crate::base::error::{Error, Result, Status, quoted};
use crate::formats::files::Files;
use crate::formats::json::Config;
use crate::formats::modules::{self, Entry};
use crate::spec::{Elementwise, Module, ModuleDense, Modules, Pooling, Residual, SparsePooling};

/// The file of prompts and of what else belongs to the whole chain.
const CONFIG: &str = "config_sentence_transformers.json";

/// The `model_type` of models whose embeddings are sparse.
const SPARSE: &str = "SparseEncoder";

/// What modules pass on: a vector per token, and a vector per text.
const TOKENS: &str = "token_embeddings";
const TEXT: &str = "sentence_embedding";

/// What sentence-transformers' files say of a model.
#[derive(Clone, Debug)]
pub struct SentenceTransformers {
    /// Whether there are such files.
    pub found: bool,
    /// What follows the transformer. An error is kept, not raised: only embedding needs it.
    pub modules: Result<Modules>,
    /// By their names; None for a name without a text.
    pub prompts: BTreeMap<String, Option<String>>,
    /// The prompt of calls that name none.
    pub default_prompt_name: Option<String>,
    /// The first so many values of an embedding are kept.
    pub truncate_dim: Option<usize>,
    /// The function that embeddings are compared with: cosine, dot, euclidean or manhattan.
    pub similarity_fn_name: Option<String>,
    /// The maximum number of tokens of a text.
    pub max_seq_length: Option<usize>,
    /// Texts are put in lower case before they are tokenised.
    pub do_lower_case: bool,
    /// Whether texts that are embedded get `[CLS]` and the like; not those of a `StaticEmbedding`.
    pub special_tokens: bool,
    /// The function after a cross-encoder's logits, by the full name of its class.
    pub activation_fn: Option<String>,
    /// Fields that are not known and not used, with the names of their files.
    pub unknown: Vec<String>,
    /// How a `CrossEncoder` scores, if the files are of one, or what of its modules is not honoured.
    pub cross_encoder: Option<Result<CrossEncoder>>,
    /// How a `SparseEncoder` pools, or what is not honoured or why the files are of another kind of model.
    pub sparse: Result<SparsePooling>,
    /// The largest so many weights of a sparse embedding are kept.
    pub max_active_dims: Option<usize>,
}

impl SentenceTransformers {
    /// What follows the transformer, as far as it can be computed.
    pub fn known_modules(&self) -> Modules {
        self.modules.clone().unwrap_or_else(|_| Modules::pooling(Pooling::Mean))
    }
}

/// Reads the files, of which `files` has those of the transformer's folder. `model` is its `config.json`, and `hidden` the width of
/// its hidden states.
pub fn read(files: &Files, model: &Config, hidden: usize) -> Result<SentenceTransformers> {
    let top = files.top();
    let entries = modules::read(&top)?;
    let whole = top.config(CONFIG)?;
    let kind =
        whole.as_ref().and_then(|c| c.get("model_type")).and_then(Value::as_str).unwrap_or("SentenceTransformer");
    let transformer = TransformerModule::read(files)?;
    let all = entries.as_deref().unwrap_or_default();
    let cross_encoder =
        (kind == "CrossEncoder" || cross_encoder::is_one(all)).then(|| cross_encoder::read(&top, all, &transformer));
    let is_static = entries.as_ref().is_some_and(|list| list[0].kind == "StaticEmbedding");
    let chain = match &entries {
        Some(_) if cross_encoder.is_some() => Ok(default_modules(model)),
        Some(entries) if kind == SPARSE || sparse_encoder::is_one(entries) => Err(Error::unsupported(format!(
            "{}: the model is a SparseEncoder; its embeddings are sparse",
            top.name(CONFIG).display()
        ))),
        Some(_) if kind != "SentenceTransformer" => Err(Error::unsupported(format!(
            "{}: model_type {} is not supported",
            top.name(CONFIG).display(),
            quoted(kind)
        ))),
        Some(entries) => chain(&top, entries),
        None => match top.config("1_Pooling/config.json")? {
            Some(config) => pooling(&config),
            None => Ok(default_modules(model)),
        },
    };
    let is_sparse = kind == SPARSE || sparse_encoder::is_one(all);
    let sparse = sparse_encoder::read(&top, entries.as_deref(), &transformer);
    let refused = if cross_encoder.is_none() && !is_sparse { transformer.of_texts() } else { Ok(()) };
    let pooling = top.config("1_Pooling/config.json")?;
    let found = entries.is_some() || whole.is_some() || transformer.is_found() || pooling.is_some();
    // Names that every model has; they stand for no text unless the file gives one.
    let names = if kind == "SentenceTransformer" || is_sparse { &["query", "document"][..] } else { &[] };
    let mut read = SentenceTransformers {
        found,
        modules: refused.and(chain).and_then(|modules| fitting(&top, modules, hidden)),
        prompts: names.iter().map(|name| (name.to_string(), None)).collect(),
        default_prompt_name: None,
        truncate_dim: None,
        similarity_fn_name: None,
        max_seq_length: transformer.max_length,
        do_lower_case: transformer.do_lower_case,
        special_tokens: !is_static,
        activation_fn: None,
        unknown: fields::unknown(whole.as_ref(), top.json(modules::FILE)?.as_ref()),
        cross_encoder,
        sparse,
        max_active_dims: None,
    };
    if let Some(whole) = &whole {
        read.whole(whole)?;
    }
    Ok(read)
}

impl SentenceTransformers {
    /// Reads `config_sentence_transformers.json`.
    fn whole(&mut self, config: &Config) -> Result<()> {
        for (name, text) in config.get("prompts").and_then(Value::as_object).into_iter().flatten() {
            let text = match text {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                _ => return Err(config.invalid("prompts", format!("has no text for {}", quoted(name)))),
            };
            self.prompts.insert(name.clone(), text);
        }
        self.default_prompt_name = config.str_opt("default_prompt_name")?.map(str::to_string);
        if let Some(name) = self.default_prompt_name.as_ref().filter(|name| !self.prompts.contains_key(*name)) {
            return Err(
                config.invalid("default_prompt_name", format!("is {}, which is not one of the prompts", quoted(name)))
            );
        }
        self.truncate_dim = config.usize_opt("truncate_dim")?;
        if self.truncate_dim == Some(0) {
            return Err(config.invalid("truncate_dim", "is 0"));
        }
        self.max_active_dims = config.usize_opt("max_active_dims")?;
        if self.max_active_dims == Some(0) {
            return Err(config.invalid("max_active_dims", "is 0"));
        }
        // Those of other kinds of models are left out, as by sentence-transformers.
        let known = |name: &&str| ["cosine", "dot", "euclidean", "manhattan"].contains(name);
        self.similarity_fn_name = config.str_opt("similarity_fn_name")?.filter(known).map(str::to_string);
        self.activation_fn = config.str_opt("activation_fn")?.map(str::to_string);
        Ok(())
    }
}

/// Refuses modules that do not take what comes before them.
fn fitting(top: &Files, modules: Modules, hidden: usize) -> Result<Modules> {
    let pooled = modules.token_width(hidden) * modules.poolings.len();
    let checked = Modules::check(&modules.tokens, hidden).and_then(|()| Modules::check(&modules.texts, pooled));
    checked.map_err(|what| Error::invalid_file(&top.name(modules::FILE), what))?;
    Ok(modules)
}

fn unsupported(top: &Files, what: String) -> Error {
    Error::unsupported(format!("{}: {what} is not supported", top.name(modules::FILE).display()))
}

/// A module's configuration that is not there, often because only a part of a model was fetched.
fn absent(kind: &str, file: &Path) -> Error {
    let what =
        format!("there is no such file, but {} has a {} there: fetch the whole model", modules::FILE, quoted(kind));
    Error::new(Status::NotFound, format!("{}: {what}", file.display()))
}

/// What sentence-transformers makes of a model without `modules.json`: decoders pool the last token, all others the mean.
fn default_modules(model: &Config) -> Modules {
    let architecture = model.get("architectures").and_then(|v| v[0].as_str()).unwrap_or_default();
    let causal = model.get("is_causal").and_then(Value::as_bool).unwrap_or(true);
    Modules::pooling(if architecture.ends_with("ForCausalLM") && causal { Pooling::Last } else { Pooling::Mean })
}

/// The modules after the first.
fn chain(top: &Files, entries: &[Entry]) -> Result<Modules> {
    let first = &entries[0].kind;
    if first != "Transformer" && first != "StaticEmbedding" {
        return Err(unsupported(top, format!("module {}", quoted(first))));
    }
    let mut tokens = Vec::new();
    let mut pooled = (first == "StaticEmbedding").then(|| Modules::pooling(Pooling::Mean));
    for Entry { kind, folder } in &entries[1..] {
        let own = top.folder(folder);
        let required = || {
            if folder.is_empty() {
                return Err(unsupported(top, format!("module {} without a folder of its own", quoted(kind))));
            }
            own.config("config.json")?.ok_or_else(|| absent(kind, &own.name("config.json")))
        };
        let (module, of) = match kind.as_str() {
            "Pooling" if pooled.is_none() => {
                pooled = Some(pooling(&required()?)?);
                continue;
            }
            "Pooling" => return Err(unsupported(top, "a Pooling of vectors that are pooled already".into())),
            "Dropout" => continue,
            "Normalize" => {
                let config = if folder.is_empty() { None } else { own.config("config.json")? };
                if let Some(config) = &config {
                    known(config, fields::NORMALIZE)?;
                }
                let of = config.as_ref().map_or(Ok(TEXT), input)?;
                // sentence-transformers normalises what is there.
                if of == TEXT && pooled.is_none() {
                    continue;
                }
                (Module::Normalize, of)
            }
            "Dense" => {
                let config = required()?;
                (Module::Dense(dense(&config, folder)?), input(&config)?)
            }
            "LayerNorm" => {
                let config = required()?;
                known(&config, fields::LAYER_NORM)?;
                (Module::LayerNorm { name: format!("{folder}/norm"), width: config.usize("dimension")? }, TEXT)
            }
            other => return Err(unsupported(top, format!("module {}", quoted(other)))),
        };
        match (of, &mut pooled) {
            (TOKENS, None) => tokens.push(module),
            (TEXT, Some(pooled)) => pooled.texts.push(module),
            (TEXT, None) => return Err(unsupported(top, format!("module {} before the Pooling", quoted(kind)))),
            _ => return Err(unsupported(top, format!("module {} of tokens after the Pooling", quoted(kind)))),
        }
    }
    match pooled {
        Some(pooled) => Ok(Modules { tokens, ..pooled }),
        None => Err(unsupported(top, "a chain without a module Pooling".into())),
    }
}

/// Which vectors a module changes.
fn input(config: &Config) -> Result<&'static str> {
    let from = config.str_or("module_input_name", TEXT)?;
    let to = config.str_or("module_output_name", from)?;
    match (from, to) {
        (TEXT, TEXT) => Ok(TEXT),
        (TOKENS, TOKENS) => Ok(TOKENS),
        _ => Err(Error::unsupported(format!(
            "{}: module_input_name {} with module_output_name {} is not supported, only {TEXT} or {TOKENS} for both",
            config.path().display(),
            quoted(from),
            quoted(to)
        ))),
    }
}

fn dense(config: &Config, folder: &str) -> Result<ModuleDense> {
    known(config, fields::DENSE)?;
    let class = config.str_or("activation_function", "torch.nn.modules.activation.Tanh")?;
    let Some(activation) = Elementwise::of_torch(class) else {
        let (path, class) = (config.path().display(), quoted(class));
        return Err(Error::unsupported(format!("{path}: activation_function {class} is not supported")));
    };
    let (inputs, outputs) = (config.usize("in_features")?, config.usize("out_features")?);
    if inputs == 0 || outputs == 0 {
        return Err(config.invalid(if inputs == 0 { "in_features" } else { "out_features" }, "is 0"));
    }
    let residual = config.bool_or("use_residual", false)?.then(|| match inputs == outputs {
        true => Residual::Input,
        false => Residual::Projected(format!("{folder}/residual")),
    });
    let bias = config.bool_or("bias", true)?;
    Ok(ModuleDense { name: format!("{folder}/linear"), inputs, outputs, bias, activation, residual })
}

/// The poolings by sentence-transformers' names and by the flags of its versions before 6, which are concatenated in this order.
const POOLINGS: [(&str, &str, Pooling); 6] = [
    ("cls", "pooling_mode_cls_token", Pooling::Cls),
    ("max", "pooling_mode_max_tokens", Pooling::Max),
    ("mean", "pooling_mode_mean_tokens", Pooling::Mean),
    ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", Pooling::MeanSqrtLen),
    ("weightedmean", "pooling_mode_weightedmean_tokens", Pooling::WeightedMean),
    ("lasttoken", "pooling_mode_lasttoken", Pooling::Last),
];

/// A Pooling's configuration: `pooling_mode` as a name or a list of names, or flags.
fn pooling(config: &Config) -> Result<Modules> {
    known(config, fields::POOLING)?;
    let by_name = |value: &Value| {
        let name = value.as_str().unwrap_or_default();
        let found = POOLINGS.iter().find(|(known, ..)| *known == name);
        found.map(|(.., pooling)| *pooling).ok_or_else(|| {
            let (path, known) = (config.path().display(), POOLINGS.map(|(name, ..)| name).join(", "));
            let value = quoted(&value.as_str().map_or_else(|| value.to_string(), str::to_string));
            Error::unsupported(format!("{path}: pooling_mode {value} is not supported; supported are {known}"))
        })
    };
    let mut poolings = match config.get("pooling_mode") {
        Some(Value::Array(list)) if list.len() <= POOLINGS.len() => list.iter().map(by_name).collect::<Result<_>>()?,
        Some(value) => vec![by_name(value)?],
        None => {
            let mut chosen = Vec::new();
            for (_, flag, pooling) in POOLINGS {
                if config.bool_or(flag, false)? {
                    chosen.push(pooling);
                }
            }
            chosen
        }
    };
    if poolings.is_empty() {
        poolings.push(Pooling::Mean);
    }
    let include_prompt = config.bool_or("include_prompt", true)?;
    Ok(Modules { include_prompt, ..Modules::poolings(poolings) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(list: &[(&str, Value)]) -> Files {
        let list = list.iter().map(|(name, value)| (name.to_string(), value.to_string().into_bytes()));
        Files::inside(Path::new("m"), list.collect())
    }

    fn read_all(list: &[(&str, Value)]) -> SentenceTransformers {
        let model = Config::from_value(Path::new("m/config.json"), json!({})).unwrap();
        read(&files(list), &model, 4).unwrap()
    }

    fn module(kind: &str, path: &str) -> Value {
        json!({ "type": format!("sentence_transformers.models.{kind}"), "path": path })
    }

    /// The chain after a transformer, with a mean as its pooling.
    fn chain_of(modules: &[Value], more: &[(&str, Value)]) -> Result<Modules> {
        let mut list = vec![module("Transformer", "")];
        list.extend_from_slice(modules);
        let mut all = vec![("modules.json", Value::Array(list)), ("1_Pooling/config.json", json!({}))];
        all.extend_from_slice(more);
        read_all(&all).modules
    }

    #[test]
    fn poolings_keep_their_order_and_flags_have_one_of_their_own() {
        let of = |value: Value| {
            let config = Config::from_value(Path::new("p"), value).unwrap();
            pooling(&config).map(|modules| modules.poolings)
        };
        assert_eq!(of(json!({ "pooling_mode": ["mean", "cls"] })).unwrap(), [Pooling::Mean, Pooling::Cls]);
        assert_eq!(of(json!({ "pooling_mode": "lasttoken" })).unwrap(), [Pooling::Last]);
        let flags = json!({ "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true });
        assert_eq!(of(flags).unwrap(), [Pooling::Cls, Pooling::Mean]);
        assert_eq!(of(json!({ "pooling_mode_cls_token": false })).unwrap(), [Pooling::Mean]);
        for wrong in [json!({ "pooling_mode": "median" }), json!({ "pooling_mode": [1] }), json!({ "new": 1 })] {
            assert!(of(wrong.clone()).unwrap_err().message().starts_with("p: "), "{wrong}");
        }
    }

    #[test]
    fn chains_are_taken_apart_at_the_pooling() {
        let pool = module("Pooling", "1_Pooling");
        let dense = json!({ "in_features": 4, "out_features": 2, "bias": false });
        let of_tokens = json!({ "in_features": 4, "out_features": 4, "module_input_name": "token_embeddings",
            "activation_function": "torch.nn.modules.linear.Identity", "use_residual": true });
        let modules = chain_of(
            &[
                module("Normalize", "x"),
                module("Dense", "0_Dense"),
                pool.clone(),
                module("Dropout", "d"),
                module("Dense", "2_Dense"),
                module("Normalize", "n"),
            ],
            &[("2_Dense/config.json", dense), ("0_Dense/config.json", of_tokens)],
        )
        .unwrap();
        assert!(modules.normalizes() && modules.tokens.len() == 1 && modules.texts.len() == 2);
        assert_eq!(modules.width(4), 2);
        for kind in ["LSTM", "CNN", "Pooling", "WordWeights"] {
            let error = chain_of(&[pool.clone(), module(kind, "1_Pooling")], &[]).unwrap_err();
            assert!(error.message().contains("modules.json") && error.message().contains(kind), "{error}");
        }
        assert!(chain_of(&[], &[]).unwrap_err().message().contains("without a module Pooling"));
        let error = chain_of(&[module("Pooling", "pool/mean")], &[]).unwrap_err();
        assert_eq!(error.status(), Status::NotFound);
        let what = "m/pool/mean/config.json: there is no such file, but modules.json has a `Pooling` there";
        assert!(error.message().contains(what), "{error}");
        let narrow = json!({ "in_features": 3, "out_features": 2 });
        let error =
            chain_of(&[pool.clone(), module("Dense", "2_Dense")], &[("2_Dense/config.json", narrow)]).unwrap_err();
        assert!(error.message().contains("2_Dense/linear takes vectors 3 wide, and gets vectors 4 wide"), "{error}");
        let strange = json!({ "in_features": 4, "out_features": 2, "activation_function": "mine.Swish" });
        let error = chain_of(&[pool, module("Dense", "2_Dense")], &[("2_Dense/config.json", strange)]).unwrap_err();
        assert!(error.message().contains("2_Dense/config.json: activation_function `mine.Swish`"), "{error}");
    }

    #[test]
    fn the_whole_chain_s_settings() {
        let settings = |value: Value| {
            let model = Config::from_value(Path::new("m/config.json"), json!({})).unwrap();
            read(&files(&[(CONFIG, value)]), &model, 4)
        };
        let read = settings(json!({ "prompts": { "query": "q: ", "x": null }, "default_prompt_name": "query",
            "truncate_dim": 3, "similarity_fn_name": "dot" }))
        .unwrap();
        assert_eq!(read.prompts.keys().collect::<Vec<_>>(), ["document", "query", "x"]);
        assert_eq!(read.prompts["query"].as_deref(), Some("q: "));
        assert_eq!((read.truncate_dim, read.similarity_fn_name.as_deref()), (Some(3), Some("dot")));
        for wrong in
            [json!({ "default_prompt_name": "none" }), json!({ "prompts": { "a": 1 } }), json!({ "truncate_dim": 0 })]
        {
            assert!(settings(wrong.clone()).unwrap_err().message().contains(CONFIG), "{wrong}");
        }
    }

    #[test]
    fn decoders_pool_the_last_token_by_default() {
        let of = |value: Value| default_modules(&Config::from_value(Path::new("c"), value).unwrap()).poolings[0];
        assert_eq!(of(json!({ "architectures": ["Qwen3ForCausalLM"] })), Pooling::Last);
        assert_eq!(of(json!({ "architectures": ["Qwen3ForCausalLM"], "is_causal": false })), Pooling::Mean);
        assert_eq!(of(json!({ "architectures": ["BertModel"] })), Pooling::Mean);
    }
}

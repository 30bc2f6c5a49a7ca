//! One small file per model family, which maps `config.json` and tensor names to a [`Spec`]. No arithmetic.

mod albert;
mod bart;
mod bert;
mod bloom;
mod cohere;
mod cross_encoder;
mod deberta_v2;
mod distilbert;
mod electra;
mod ernie4_5;
mod eurobert;
mod fields;
mod gemma;
mod generic;
mod glm;
mod gpt2;
mod gpt_bigcode;
mod gpt_neo;
mod gpt_neox;
mod gptj;
mod granite;
mod gte;
mod llama;
mod marian;
mod mistral;
mod mixtral;
mod modernbert;
mod mpnet;
mod mpt;
mod nomic_bert;
mod olmo2;
mod olmoe;
mod opt;
mod pegasus;
mod phi;
mod phi3;
mod qwen;
mod roberta;
mod rope;
mod sentence_fields;
mod sentence_transformers;
mod smollm3;
mod sparse_encoder;
mod stablelm;
mod starcoder2;
mod static_embedding;
mod t5;
mod transformer_module;

use crate::base::error::{Error, Result, Status, quoted};
use crate::formats::json::Config;
use crate::spec::{
    Activation, Dense, Head, HeadKind, HeadToken, Heads, LanguageWeight, MaskedHead, Position, Spec, Stack,
};

pub use fields::unknown_fields;

pub use cross_encoder::{CrossEncoder, LogitScore, PairTemplate};
pub use sentence_transformers::{SentenceTransformers, read as sentence_transformers};

type Reader = fn(&Config) -> Result<Spec>;

/// The maximum vocabulary size of an ONNX model.
const MAX_TOKENS: usize = 1 << 24;

/// The maximum number of labels of a head.
const MAX_LABELS: usize = 1 << 20;

/// The maximum number of experts of a layer.
const MAX_EXPERTS: usize = 1 << 10;

/// The families, by `model_type`.
const FAMILIES: &[(&str, Reader)] = &[
    ("bert", bert::spec),
    ("distilbert", distilbert::spec),
    ("roberta", roberta::spec),
    ("xlm-roberta", roberta::spec),
    ("camembert", roberta::spec),
    ("mpnet", mpnet::spec),
    ("electra", electra::spec),
    ("albert", albert::spec),
    ("deberta-v2", deberta_v2::spec),
    ("nomic_bert", nomic_bert::spec),
    ("modernbert", modernbert::spec),
    ("eurobert", eurobert::spec),
    ("gte", gte::spec),
    ("t5", t5::spec),
    ("mt5", t5::spec),
    ("bart", bart::spec),
    ("mbart", bart::spec),
    ("marian", marian::spec),
    ("pegasus", pegasus::spec),
    ("m2m_100", pegasus::m2m100),
    ("gpt2", gpt2::spec),
    ("gpt_neo", gpt_neo::spec),
    ("gpt_neox", gpt_neox::spec),
    ("gptj", gptj::spec),
    ("gpt_bigcode", gpt_bigcode::spec),
    ("starcoder2", starcoder2::spec),
    ("bloom", bloom::spec),
    ("mpt", mpt::spec),
    ("cohere", cohere::spec),
    ("glm", glm::spec),
    ("ernie4_5", ernie4_5::spec),
    ("helium", ernie4_5::helium),
    ("seed_oss", llama::seed_oss),
    ("olmo2", olmo2::spec),
    ("opt", opt::spec),
    ("phi", phi::spec),
    ("stablelm", stablelm::spec),
    ("llama", llama::spec),
    ("mistral", mistral::spec),
    ("qwen2", qwen::spec),
    ("qwen3", qwen::spec),
    ("mixtral", mixtral::spec),
    ("qwen2_moe", qwen::moe),
    ("qwen3_moe", qwen::moe),
    ("olmoe", olmoe::spec),
    ("granitemoe", granite::moe),
    ("smollm3", smollm3::spec),
    ("granite", granite::spec),
    ("gemma", gemma::first),
    ("gemma2", gemma::spec),
    ("gemma3_text", gemma::spec),
    ("phi3", phi3::spec),
];

/// Values of `model_type` in files that are older than transformers' class of the family.
const OLDER_NAMES: &[(&str, &str)] = &[("new", "gte")];

/// The family that a `model_type` names.
fn family(model_type: &str) -> &str {
    OLDER_NAMES.iter().find(|(name, _)| *name == model_type).map_or(model_type, |(_, family)| family)
}

/// The supported values of `model_type`.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|&(name, _)| name)
}

/// Reads the Spec of a model from its `config.json`.
pub fn spec(config: &Config) -> Result<Spec> {
    let family = family(config.str("model_type")?);
    let made: &(&str, Reader) = &(static_embedding::FAMILY, static_embedding::spec);
    let Some((_, read)) = FAMILIES.iter().chain([made]).find(|&&(name, _)| name == family) else {
        let known: Vec<_> = names().collect();
        let path = config.path().display();
        let known = known.join(", ");
        return Err(Error::unsupported(format!(
            "{path}: model_type {family:?} is not supported; supported are {known}"
        )));
    };
    let config = &config.with_aliases(fields::aliases(family));
    fields::check(config, family)?;
    let head = decoder_head(config, family)?;
    let mut spec = read(config)?;
    if head.is_some() {
        // The class has this head in place of the language head.
        (spec.head, spec.language) = (head, None);
    }
    check(config, &spec)?;
    Ok(spec)
}

/// As [`spec`], for a model that runs as an ONNX graph: of an unsupported family, only the sizes, limits and labels are read that
/// tasks need. `has_decoder` says whether a decoder was exported.
pub fn spec_of_graph(config: &Config, has_decoder: bool) -> Result<Spec> {
    let spec = match spec(config) {
        Err(error) if error.status() == Status::Unsupported => {
            let spec = generic::spec(config, has_decoder)?;
            check(config, &spec)?;
            spec
        }
        // The graph computes the decoder, and it gives what a graph of an encoder gives.
        Ok(spec) if spec.head.is_some() && spec.encoder.is_none() && !has_decoder => {
            generic::spec(config, has_decoder)?
        }
        outcome => outcome?,
    };
    // There is no embedding table that would bound it, and a row of logits has this size.
    if spec.vocabulary > MAX_TOKENS {
        let what = format!("is {}; at most {MAX_TOKENS} are supported", spec.vocabulary);
        return Err(config.invalid("vocab_size", what));
    }
    Ok(spec)
}

/// Checks what must be true of a Spec of any family.
fn check(config: &Config, spec: &Spec) -> Result<()> {
    if spec.vocabulary == 0 {
        return Err(Error::invalid_file(config.path(), "the vocabulary is 0"));
    }
    let least = usize::from(spec.family != static_embedding::FAMILY);
    [&spec.encoder, &spec.decoder].into_iter().flatten().try_for_each(|stack| check_stack(config, stack, least))
}

fn check_stack(config: &Config, stack: &Stack, least_layers: usize) -> Result<()> {
    let bad = |what: String| Err(Error::invalid_file(config.path(), what));
    let (hidden, heads) = (stack.hidden, stack.heads);
    for (name, value) in [
        ("the hidden size", hidden),
        ("the number of layers", stack.layers + 1 - least_layers),
        ("the number of heads", heads.count),
        ("the number of key/value heads", heads.kv),
        ("the size of a head", heads.dim),
        ("the intermediate size", stack.intermediate),
        ("the number of positions (less those before the first token)", stack.max_tokens),
    ] {
        if value == 0 {
            return bad(format!("{name} is 0"));
        }
    }
    if !heads.count.is_multiple_of(heads.kv) {
        return bad(format!("{} query heads are not a multiple of {} key/value heads", heads.count, heads.kv));
    }
    if !stack.norm.eps.is_finite() || stack.norm.eps < 0.0 {
        return bad(format!("the epsilon of the norms is {}, which must be finite and at least 0", stack.norm.eps));
    }
    if stack.relative.is_some_and(|r| r.buckets < 4) {
        return bad("relative_attention_num_buckets is less than 4".into());
    }
    if let Some(rotary) = &stack.rotary
        && (rotary.dim < 2 || rotary.dim > heads.dim || !rotary.dim.is_multiple_of(2))
    {
        return bad(format!(
            "{} rotary components per head of {}: the number must be even, from 2 to the head's size",
            rotary.dim, heads.dim
        ));
    }
    let inner = stack.experts.as_ref().map_or(0, |experts| experts.intermediate.max(experts.shared.unwrap_or(0)));
    if let Some(experts) = &stack.experts {
        if experts.count == 0 || experts.intermediate == 0 || experts.shared == Some(0) {
            return bad("an expert has no size, or there are none".into());
        }
        if experts.per_token == 0 || experts.per_token > experts.count {
            return bad(format!("a token has {} of {} experts", experts.per_token, experts.count));
        }
        if experts.count > MAX_EXPERTS {
            return bad(format!("{} experts; at most {MAX_EXPERTS} are supported", experts.count));
        }
    }
    // The 32-bit sums of 8-bit products cannot overflow up to this many inputs.
    let max = (i32::MAX / (255 * 128)) as usize;
    let inputs = hidden.max(stack.intermediate).max(inner).max(heads.count.saturating_mul(heads.dim));
    if inputs > max {
        return bad(format!("a layer has {inputs} inputs; at most {max} are supported"));
    }
    // No tensor bounds the number of sinusoidal positions.
    if let Position::Sinusoidal { rows, .. } | Position::SinusoidalAfterPadding { rows, .. } = stack.position
        && rows > 1 << 16
    {
        return bad("more than 65536 sinusoidal positions".into());
    }
    // Nor of those between which there are distances.
    if stack.disentangled.is_some() && stack.max_tokens > 1 << 16 {
        return bad("more than 65536 positions with disentangled attention".into());
    }
    // The sizes of KV caches and of bias tables are products of these.
    if stack.layers > 4096 || stack.max_tokens > 1 << 28 {
        return bad(format!(
            "{} layers or {} positions are too many (maximum 4096 and 268435456)",
            stack.layers, stack.max_tokens
        ));
    }
    Ok(())
}

/// The number in a field that a class of transformers has by default: that of an absent field is `default`, null is None.
fn usize_default(config: &Config, key: &str, default: Option<usize>) -> Result<Option<usize>> {
    if config.contains(key) { config.usize_opt(key) } else { Ok(default) }
}

/// `max_position_embeddings`, or what the class of transformers has by default.
fn positions(config: &Config) -> Result<usize> {
    let default = match config.str("model_type")? {
        "bert" | "roberta" | "xlm-roberta" | "camembert" | "electra" | "albert" | "deberta-v2" => 512,
        "bart" | "mbart" | "marian" | "pegasus" | "m2m_100" => 1024,
        "llama" | "gpt_neo" | "gpt_neox" | "olmo2" | "opt" | "phi" | "granite" | "granitemoe" | "nomic_bert" => 2048,
        "phi3" | "stablelm" | "starcoder2" | "helium" | "olmoe" => 4096,
        "gemma" | "gemma2" | "modernbert" | "eurobert" | "gte" | "cohere" => 8192,
        "qwen2" | "qwen3" | "qwen2_moe" | "qwen3_moe" | "smollm3" => 32768,
        "mistral" | "mixtral" | "gemma3_text" | "glm" | "ernie4_5" => 131_072,
        "seed_oss" => 524_288,
        _ => return config.usize("max_position_embeddings"),
    };
    config.usize_or("max_position_embeddings", default)
}

/// Where the language head is: `tied` is the class's default of `tie_word_embeddings`. Like transformers 5, a checkpoint's own head is
/// used although the configuration ties it, if it differs.
fn language_weight(config: &Config, tied: bool, names: &'static [&'static str]) -> Result<LanguageWeight> {
    Ok(match config.bool_or("tie_word_embeddings", tied)? {
        true => LanguageWeight::OwnOrTied(names),
        false => LanguageWeight::Own(names),
    })
}

/// With `is_causal` false, which transformers 5 reads for every decoder, the tokens see each other in both directions.
fn causal_or_not(config: &Config, spec: Spec) -> Result<Spec> {
    match config.bool_or("is_causal", true)? {
        true => Ok(spec),
        // A token then sees `sliding_window` tokens on each side.
        false => Ok(bidirectional(spec, |window| window.saturating_mul(2))),
    }
}

/// A decoder whose tokens see each other in both directions, which is an encoder: it embeds and generates nothing. `window` converts
/// the window of a layer to that of an encoder.
fn bidirectional(mut spec: Spec, window: impl Fn(usize) -> usize) -> Spec {
    if let Some(mut stack) = spec.decoder.take() {
        stack.attention.windows.iter_mut().for_each(|w| *w = window(*w));
        spec.encoder = Some(stack);
        spec.language = None;
    }
    spec
}

/// The head that `architectures` names on a model of a family of decoders: `score`, of sequences.
///
/// # Errors
/// `Unsupported`: a head that is not computed.
fn decoder_head(config: &Config, family: &str) -> Result<Option<Head>> {
    const ENCODERS: [&str; 11] = [
        "Bert",
        "DistilBert",
        "Roberta",
        "XLMRoberta",
        "MPNet",
        "Camembert",
        "Electra",
        "Albert",
        "DebertaV2",
        "Gte",
        "New",
    ];
    const HEADS: [&str; 5] = [
        "ForSequenceClassification",
        "ForTokenClassification",
        "ForQuestionAnswering",
        "ForMultipleChoice",
        "DoubleHeadsModel",
    ];
    let architecture = config.strings("architectures")?.first().copied().unwrap_or_default();
    let stem = HEADS.iter().find_map(|head| architecture.strip_suffix(head));
    if stem.is_none_or(|stem| ENCODERS.contains(&stem)) {
        return Ok(None);
    }
    let padding = match family {
        "gemma2" | "gemma3_text" => Some(0),
        "phi3" => Some(32000),
        _ => None,
    };
    let padding = usize_default(config, "pad_token_id", padding)?.and_then(|id| u32::try_from(id).ok());
    const DECODERS: [&str; 9] =
        ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "gpt2", "gpt_neox"];
    match head_kind(architecture) {
        Some(kind @ HeadKind::Sequence) if DECODERS.contains(&family) => {
            let layers = vec![Dense { name: "score", bias: false, activation: Activation::None, prefixed: false }];
            Ok(Some(Head { kind, token: HeadToken::Last { padding }, layers, labels: some_labels(config)? }))
        }
        _ => {
            let path = config.path().display();
            Err(Error::unsupported(format!(
                "{path}: field `architectures`: the head of {} is not supported; export it to ONNX (optimum-cli export onnx \
                 --model MODEL DIRECTORY) and load that",
                quoted(architecture)
            )))
        }
    }
}

/// As many key/value heads as query heads, of `hidden / count` components each.
fn heads(config: &Config, hidden: usize, count: usize) -> Result<Heads> {
    if count == 0 || !hidden.is_multiple_of(count) {
        let what = format!("the hidden size {hidden} is not a multiple of {count} heads");
        return Err(Error::invalid_file(config.path(), what));
    }
    Ok(Heads::equal(count, hidden / count))
}

fn equal_heads(config: &Config, hidden: &str, count: &str) -> Result<Heads> {
    heads(config, config.usize(hidden)?, config.usize(count)?)
}

/// The activation in the field `key`, by Hugging Face's names.
fn activation(config: &Config, key: &str, default: &str) -> Result<Activation> {
    named_activation(config, key, config.str_or(key, default)?)
}

fn named_activation(config: &Config, key: &str, name: &str) -> Result<Activation> {
    Ok(match name {
        "gelu" | "gelu_python" => Activation::Gelu,
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        "silu" | "swish" => Activation::Silu,
        "tanh" => Activation::Tanh,
        other => {
            let path = config.path().display();
            return Err(Error::unsupported(format!(
                "{path}: {key} {other:?} is not supported; supported are gelu, gelu_new, relu, silu, tanh"
            )));
        }
    })
}

/// The number of labels: from `id2label`, or else `num_labels`, or else Hugging Face's default of 2.
pub fn labels(config: &Config) -> Result<usize> {
    // A list is what some hand-written files have.
    let listed = config.get("id2label").and_then(|v| v.as_array()).map(Vec::len);
    match config.get("id2label").and_then(|v| v.as_object()).map(|labels| labels.len()).or(listed) {
        Some(labels) => Ok(labels),
        None => match config.usize_or("num_labels", 2)? {
            count if count > MAX_LABELS => {
                Err(config.invalid("num_labels", format!("is {count}; at most {MAX_LABELS} are supported")))
            }
            count => Ok(count),
        },
    }
}

/// The number of labels, which is not 0.
fn some_labels(config: &Config) -> Result<usize> {
    match labels(config)? {
        0 => Err(Error::invalid_file(config.path(), "id2label: it is empty")),
        labels => Ok(labels),
    }
}

/// The kind of head of a model class of transformers.
fn head_kind(architecture: &str) -> Option<HeadKind> {
    match architecture {
        a if a.ends_with("ForSequenceClassification") => Some(HeadKind::Sequence),
        a if a.ends_with("ForTokenClassification") => Some(HeadKind::Token),
        _ => None,
    }
}

/// The head that `architectures` names, if any: `dense` and `output` for sequence classification, only `classifier` for token
/// classification.
fn head(config: &Config, dense: Dense, output: &'static str) -> Result<Option<Head>> {
    let architecture = config.get("architectures").and_then(|v| v[0].as_str()).unwrap_or_default();
    let Some(kind) = head_kind(architecture) else { return Ok(None) };
    let labels = some_labels(config)?;
    let last = |name| Dense { name, bias: true, activation: Activation::None, prefixed: false };
    Ok(Some(match kind {
        HeadKind::Sequence => Head { kind, token: HeadToken::First, layers: vec![dense, last(output)], labels },
        HeadKind::Token => Head { kind, token: HeadToken::First, layers: vec![last("classifier")], labels },
    }))
}

/// Whether `architectures` names a masked language model.
fn is_masked(config: &Config) -> bool {
    config.get("architectures").and_then(|v| v[0].as_str()).is_some_and(|name| name.ends_with("ForMaskedLM"))
}

/// The head of a masked language model, if `architectures` names one: a dense layer with a bias and this activation, a norm, and the
/// decoder, which is the word embeddings unless the checkpoint has another.
fn masked(
    config: &Config,
    (dense, activation): (&'static str, Activation),
    norm: &'static str,
    decoder: &'static [&'static str],
    bias: &'static [&'static str],
) -> Result<Option<MaskedHead>> {
    if !is_masked(config) {
        return Ok(None);
    }
    let dense = Dense { name: dense, bias: true, activation, prefixed: false };
    Ok(Some(MaskedHead { dense, norm, weight: language_weight(config, true, decoder)?, bias }))
}

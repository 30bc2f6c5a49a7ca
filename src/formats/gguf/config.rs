//! The equivalent of `config.json`, from the fields of a GGUF file.

use serde_json::{Map, Value, json};

use super::architecture::Architecture;
use super::metadata::Metadata;
use super::{keys, rope};
use crate::base::error::{Error, Result};
use crate::formats::quoted;
use crate::formats::weights::Weights;
use crate::spec::Heads;

/// The fields of a file that belong to its architecture.
pub(super) struct Fields<'a> {
    pub metadata: &'a Metadata,
    pub architecture: Architecture,
}

impl Fields<'_> {
    pub fn key(&self, leaf: &str) -> String {
        format!("{}.{leaf}", self.architecture.name())
    }

    /// A key without the architecture's name, if it begins with it.
    pub fn leaf<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(self.architecture.name())?.strip_prefix('.')
    }

    /// A whole number above 0.
    fn size(&self, leaf: &str) -> Result<usize> {
        let key = self.key(leaf);
        match self.metadata.usize(&key)? {
            0 => Err(self.metadata.invalid(&key, "must not be 0")),
            number => Ok(number),
        }
    }

    pub fn size_opt(&self, leaf: &str) -> Result<Option<usize>> {
        self.metadata.usize_opt(&self.key(leaf))
    }

    pub fn number_opt(&self, leaf: &str) -> Result<Option<f32>> {
        self.metadata.f32_opt(&self.key(leaf))
    }

    pub fn text_opt(&self, leaf: &str) -> Result<Option<&str>> {
        self.metadata.text_opt(&self.key(leaf))
    }

    fn flag_opt(&self, leaf: &str) -> Result<Option<bool>> {
        self.metadata.bool_opt(&self.key(leaf))
    }

    pub fn unsupported(&self, what: impl std::fmt::Display) -> Error {
        Error::unsupported(format!("{}: {what}", self.metadata.path().display()))
    }

    /// The attention heads. Unless the file says otherwise, a head has `hidden / count` components.
    pub fn heads(&self) -> Result<Heads> {
        let (hidden, count) = (self.size("embedding_length")?, self.size("attention.head_count")?);
        let kv = self.size_opt("attention.head_count_kv")?.unwrap_or(count);
        let dim = self.size_opt("attention.key_length")?.unwrap_or(hidden / count);
        if kv == 0 || dim == 0 {
            let what = format!("invalid attention: {count} heads, {kv} key/value heads, {dim} components per head");
            return Err(Error::invalid_file(self.metadata.path(), what));
        }
        if self.size_opt("attention.value_length")?.is_some_and(|values| values != dim) {
            return Err(self.unsupported("attention.value_length other than the key length is not supported"));
        }
        if self.architecture == Architecture::Llama && dim % 2 == 1 {
            let what = format!("heads of {dim} components cannot be rotated: the number must be even");
            return Err(Error::invalid_file(self.metadata.path(), what));
        }
        // Each is at most 2^31.
        match count.max(kv).checked_mul(dim).and_then(|n| n.checked_mul(3)) {
            Some(_) => Ok(Heads { count, kv, dim }),
            None => Err(self.unsupported(format!("{count} heads of {dim} components are too many"))),
        }
    }
}

/// The shortest JSON number that reads as this f32.
pub(super) fn number(x: f32) -> Value {
    x.to_string().parse::<f64>().ok().and_then(serde_json::Number::from_f64).map_or(Value::Null, Value::Number)
}

/// The fraction of a head's components that are rotated, such that `dim * fraction`, truncated, is `rotated` again.
fn fraction(rotated: usize, dim: usize) -> f32 {
    let fraction = rotated as f32 / dim as f32;
    if ((dim as f32 * fraction) as usize) < rotated { fraction.next_up() } else { fraction }
}

/// The configuration, without token ids. `weights` have Hugging Face's names, and `gated` is as in [`Architecture::rename`].
pub(super) fn config(fields: &Fields, weights: &Weights, vocabulary: usize, gated: bool) -> Result<Value> {
    use Architecture::{
        Bert, Gemma2, Gemma3, Gpt2, GptNeoX, Llama, NomicBert, Phi3, Qwen2, Qwen2Moe, Qwen3, Qwen3Moe, T5,
    };
    let mut config = match fields.architecture {
        Llama if fields.size_opt("expert_count")?.unwrap_or(0) > 0 => {
            let mut config = llama(fields, weights, "mixtral", "MixtralForCausalLM")?;
            config.insert("num_local_experts".into(), fields.size("expert_count")?.into());
            config.insert("num_experts_per_tok".into(), fields.size("expert_used_count")?.into());
            config
        }
        Llama => llama(fields, weights, "llama", "LlamaForCausalLM")?,
        Qwen2 => llama(fields, weights, "qwen2", "Qwen2ForCausalLM")?,
        Qwen3 => llama(fields, weights, "qwen3", "Qwen3ForCausalLM")?,
        Qwen2Moe => qwen_moe(fields, weights, "qwen2_moe", "Qwen2MoeForCausalLM")?,
        Qwen3Moe => qwen_moe(fields, weights, "qwen3_moe", "Qwen3MoeForCausalLM")?,
        Gemma2 => gemma(fields, weights, "gemma2", "Gemma2ForCausalLM")?,
        Gemma3 => gemma(fields, weights, "gemma3_text", "Gemma3ForCausalLM")?,
        Phi3 => phi3(fields, weights)?,
        Gpt2 => gpt2(fields)?,
        GptNeoX => gpt_neox(fields)?,
        T5 => t5(fields, gated)?,
        Bert => bert(fields, weights)?,
        NomicBert => nomic_bert(fields, weights)?,
    };
    let head = if fields.architecture == GptNeoX { "embed_out.weight" } else { "lm_head.weight" };
    config.insert("vocab_size".into(), vocabulary.into());
    config.insert("tie_word_embeddings".into(), weights.get(head).is_none().into());
    // GGUF stores GPT-2's Conv1D weights `[outputs, inputs]`, as linear layers.
    config.insert("kinglet_linear_weights".into(), true.into());
    if let Some(causal) = fields.flag_opt("attention.causal")? {
        if !fields.architecture.is_encoder() {
            config.insert("is_causal".into(), causal.into());
        } else if causal {
            return Err(fields
                .metadata
                .invalid(&fields.key("attention.causal"), "is true, and an encoder is not causal"));
        }
    }
    let unknown = keys::unknown(fields);
    if !unknown.is_empty() {
        config.insert("kinglet_unknown_keys".into(), unknown.into());
    }
    Ok(Value::Object(config))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What decoders since Llama share.
fn llama(fields: &Fields, weights: &Weights, model_type: &str, class: &str) -> Result<Map<String, Value>> {
    let Heads { count, kv, dim } = fields.heads()?;
    let context = fields.size("context_length")?;
    let epsilon = fields.metadata.f32(&fields.key("attention.layer_norm_rms_epsilon"))?;
    let theta = fields.number_opt("rope.freq_base")?.unwrap_or(10_000.0);
    let mut config = object(json!({
        "model_type": model_type,
        "architectures": [class],
        "hidden_size": fields.size("embedding_length")?,
        "intermediate_size": fields.size("feed_forward_length")?,
        "num_hidden_layers": fields.size("block_count")?,
        "num_attention_heads": count,
        "num_key_value_heads": kv,
        "head_dim": dim,
        "max_position_embeddings": context,
        "rms_norm_eps": number(epsilon),
        "rope_theta": number(theta),
        "hidden_act": "silu",
        "attention_bias": weights.get("model.layers.0.self_attn.q_proj.bias").is_some(),
        "mlp_bias": weights.get("model.layers.0.mlp.up_proj.bias").is_some(),
    }));
    let rotated = fields.size_opt("rope.dimension_count")?.unwrap_or(dim);
    if rotated != dim {
        if rotated > dim || fields.architecture != Architecture::Phi3 {
            let what = format!("is {rotated}, but heads have {dim} components");
            return Err(fields.metadata.invalid(&fields.key("rope.dimension_count"), what));
        }
        config.insert("partial_rotary_factor".into(), number(fraction(rotated, dim)));
    }
    if let Some(scaling) = rope::scaling(fields, weights, rotated, theta, context)? {
        config.insert("rope_scaling".into(), scaling);
    }
    if matches!(fields.architecture, Architecture::Qwen2 | Architecture::Qwen3) {
        config.insert("use_sliding_window".into(), false.into());
    }
    Ok(config)
}

fn qwen_moe(fields: &Fields, weights: &Weights, model_type: &str, class: &str) -> Result<Map<String, Value>> {
    let mut config = llama(fields, weights, model_type, class)?;
    // Older files do not have the sizes.
    let outputs = |name: &str| {
        let tensor = weights.get(&format!("model.layers.0.mlp.{name}.weight"));
        tensor.and_then(|tensor| tensor.shape.iter().rev().nth(1).copied())
    };
    let third = fields.architecture == Architecture::Qwen3Moe;
    config.extend(object(json!({
        "num_experts": fields.size("expert_count")?,
        "num_experts_per_tok": fields.size("expert_used_count")?,
        "moe_intermediate_size": outputs("experts.gate_proj"),
        // As llama.cpp has it for these architectures.
        "norm_topk_prob": third,
        "use_sliding_window": false,
    })));
    if !third {
        config.remove("attention_bias");
        config.insert("qkv_bias".into(), weights.get("model.layers.0.self_attn.q_proj.bias").is_some().into());
        config.insert("shared_expert_intermediate_size".into(), json!(outputs("shared_expert.gate_proj")));
    }
    Ok(config)
}

fn gemma(fields: &Fields, weights: &Weights, model_type: &str, class: &str) -> Result<Map<String, Value>> {
    let third = fields.architecture == Architecture::Gemma3;
    let mut config = llama(fields, weights, model_type, class)?;
    let (heads, layers) = (fields.heads()?, fields.size("block_count")?);
    let default_theta = if third { 1_000_000.0 } else { 10_000.0 };
    let theta = fields.number_opt("rope.freq_base")?.unwrap_or(default_theta);
    let cap = |leaf: &str, default: Option<f32>| Ok::<_, Error>(fields.number_opt(leaf)?.or(default).map(number));
    // The file does not have the scale of attention scores. It is the head's size, except in the 27B models, which are recognised
    // by their layers, as in llama.cpp; the numbers are in https://github.com/google/gemma_pytorch/blob/main/gemma/config.py.
    let large = layers == if third { 62 } else { 46 };
    let scalar = if large { fields.size("embedding_length")? / heads.count } else { heads.dim };
    let window = fields.size_opt("attention.sliding_window")?.filter(|&window| window > 0);
    config.extend(object(json!({
        "rope_theta": number(theta),
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": scalar,
        "attn_logit_softcapping": cap("attn_logit_softcapping", (!third).then_some(50.0))?,
        "final_logit_softcapping": cap("final_logit_softcapping", (!third).then_some(30.0))?,
        "sliding_window": window,
        "layer_types": layer_types(fields, layers, window.is_some())?,
    })));
    if third {
        let local = fields.number_opt("rope.freq_base_swa")?.unwrap_or(10_000.0);
        config.insert("rope_local_base_freq".into(), number(local));
    }
    Ok(config)
}

/// Which layers have a sliding window. Unless the file says: every other layer in Gemma 2, all but every sixth in Gemma 3.
fn layer_types(fields: &Fields, layers: usize, window: bool) -> Result<Vec<&'static str>> {
    let key = fields.key("attention.sliding_window_pattern");
    let listed = fields.metadata.list_opt(&key)?;
    let period = match fields.architecture {
        _ if listed.is_some() => 1,
        Architecture::Gemma2 => 2,
        _ => fields.metadata.usize_opt(&key)?.unwrap_or(6).max(1),
    };
    // Every layer has tensors, so the number of layers cannot exceed the number of tensors.
    let max = crate::formats::weights::MAX_TENSORS;
    if layers > max {
        return Err(fields.metadata.invalid(&fields.key("block_count"), format!("is {layers}; the maximum is {max}")));
    }
    let listed: Option<Vec<bool>> = listed.map(|numbers| numbers.map(|n| n != 0.0).collect());
    if let Some(list) = &listed
        && list.len() != layers
    {
        return Err(fields.metadata.invalid(&key, format!("has {} values for {layers} layers", list.len())));
    }
    let sliding = |i: usize| window && listed.as_ref().map_or(!(i + 1).is_multiple_of(period), |list| list[i]);
    Ok((0..layers).map(|i| if sliding(i) { "sliding_attention" } else { "full_attention" }).collect())
}

fn phi3(fields: &Fields, weights: &Weights) -> Result<Map<String, Value>> {
    let mut config = llama(fields, weights, "phi3", "Phi3ForCausalLM")?;
    config.insert("sliding_window".into(), json!(fields.size_opt("attention.sliding_window")?.filter(|&n| n > 0)));
    if let Some(original) = fields.size_opt("rope.scaling.original_context_length")? {
        config.insert("original_max_position_embeddings".into(), original.into());
    }
    Ok(config)
}

fn gpt2(fields: &Fields) -> Result<Map<String, Value>> {
    let context = fields.size("context_length")?;
    Ok(object(json!({
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": fields.size("embedding_length")?,
        "n_layer": fields.size("block_count")?,
        "n_head": fields.size("attention.head_count")?,
        "n_inner": fields.size("feed_forward_length")?,
        "n_positions": context,
        "n_ctx": context,
        "layer_norm_epsilon": number(fields.metadata.f32(&fields.key("attention.layer_norm_epsilon"))?),
        "activation_function": "gelu_new",
    })))
}

fn gpt_neox(fields: &Fields) -> Result<Map<String, Value>> {
    let heads = fields.heads()?;
    let rotated = fields.size_opt("rope.dimension_count")?.unwrap_or(heads.dim);
    let mut config = object(json!({
        "model_type": "gpt_neox",
        "architectures": ["GPTNeoXForCausalLM"],
        "hidden_size": fields.size("embedding_length")?,
        "intermediate_size": fields.size("feed_forward_length")?,
        "num_hidden_layers": fields.size("block_count")?,
        "num_attention_heads": heads.count,
        "max_position_embeddings": fields.size("context_length")?,
        "layer_norm_eps": number(fields.metadata.f32(&fields.key("attention.layer_norm_epsilon"))?),
        "rotary_pct": number(fraction(rotated, heads.dim)),
        "rotary_emb_base": number(fields.number_opt("rope.freq_base")?.unwrap_or(10_000.0)),
        "use_parallel_residual": fields.flag_opt("use_parallel_residual")?.unwrap_or(true),
        "attention_bias": true,
        "hidden_act": "gelu",
    }));
    if rotated > heads.dim {
        let what = format!("is {rotated}, but heads have {} components", heads.dim);
        return Err(fields.metadata.invalid(&fields.key("rope.dimension_count"), what));
    }
    config.insert("rope_theta".into(), config["rotary_emb_base"].clone());
    Ok(config)
}

fn t5(fields: &Fields, gated: bool) -> Result<Map<String, Value>> {
    let layers = fields.size("block_count")?;
    let heads = fields.heads()?;
    Ok(object(json!({
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "is_encoder_decoder": true,
        "d_model": fields.size("embedding_length")?,
        "d_ff": fields.size("feed_forward_length")?,
        "d_kv": heads.dim,
        "num_heads": heads.count,
        "num_layers": layers,
        "num_decoder_layers": fields.size_opt("decoder_block_count")?.unwrap_or(layers),
        "n_positions": fields.size("context_length")?,
        "layer_norm_epsilon": number(fields.metadata.f32(&fields.key("attention.layer_norm_epsilon"))?),
        "relative_attention_num_buckets": fields.size("attention.relative_buckets_count")?,
        // Not in the file; every published model has this value.
        "relative_attention_max_distance": 128,
        "feed_forward_proj": if gated { "gated-gelu" } else { "relu" },
        "decoder_start_token_id": fields.size_opt("decoder_start_token_id")?.unwrap_or(0),
    })))
}

/// What BERT and NomicBERT share.
fn encoder(fields: &Fields, weights: &Weights, model_type: &str, class: &str) -> Result<Map<String, Value>> {
    let types = weights.get("embeddings.token_type_embeddings.weight").and_then(|table| table.shape.first().copied());
    Ok(object(json!({
        "model_type": model_type,
        "architectures": [class],
        "hidden_size": fields.size("embedding_length")?,
        "intermediate_size": fields.size("feed_forward_length")?,
        "num_hidden_layers": fields.size("block_count")?,
        "num_attention_heads": fields.size("attention.head_count")?,
        "layer_norm_eps": number(fields.metadata.f32(&fields.key("attention.layer_norm_epsilon"))?),
        "max_position_embeddings": fields.size("context_length")?,
        "type_vocab_size": types.unwrap_or(0),
    })))
}

fn bert(fields: &Fields, weights: &Weights) -> Result<Map<String, Value>> {
    let mut config = encoder(fields, weights, "bert", "BertModel")?;
    config.insert("hidden_act".into(), "gelu".into());
    // The table may have more rows than the context is long.
    if let Some([rows, _]) = weights.get("embeddings.position_embeddings.weight").map(|table| table.shape) {
        config.insert("max_position_embeddings".into(), (*rows).into());
    }
    Ok(config)
}

fn nomic_bert(fields: &Fields, weights: &Weights) -> Result<Map<String, Value>> {
    let mut config = encoder(fields, weights, "nomic_bert", "NomicBertModel")?;
    config.insert("hidden_act".into(), "silu".into());
    let theta = fields.number_opt("rope.freq_base")?.unwrap_or(10_000.0);
    config.insert("rope_theta".into(), number(theta));
    let dim = fields.heads()?.dim;
    if let Some(scaling) = rope::scaling(fields, weights, dim, theta, fields.size("context_length")?)? {
        config.insert("rope_scaling".into(), scaling);
    }
    Ok(config)
}

/// The vocabulary size of the model: the number of rows of its word embeddings.
pub(super) fn vocabulary(fields: &Fields, weights: &Weights) -> Result<usize> {
    let path = fields.metadata.path();
    let name = fields.architecture.rename("token_embd.weight", false).unwrap_or_default();
    let Some(table) = weights.get(&name) else {
        return Err(Error::invalid_file(path, "there is no tensor `token_embd.weight`"));
    };
    match table.shape {
        [rows, _] => Ok(*rows),
        shape => {
            let what = format!("tensor {} has shape {shape:?}, but a matrix is needed", quoted("token_embd.weight"));
            Err(Error::invalid_file(path, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_give_the_number_back() {
        for dim in 1..=512 {
            for rotated in 1..=dim {
                assert_eq!((dim as f32 * fraction(rotated, dim)) as usize, rotated, "{rotated} of {dim}");
            }
        }
        assert_eq!((fraction(32, 128), fraction(64, 64)), (0.25, 1.0));
    }

    #[test]
    fn numbers_are_written_in_their_shortest_form() {
        for (x, text) in [(1e-5, "0.00001"), (10_000.0, "10000.0"), (1e6, "1000000.0"), (0.1, "0.1")] {
            let written = number(x);
            assert_eq!(written.as_f64().unwrap(), text.parse::<f64>().unwrap());
            assert_eq!(written.as_f64().unwrap() as f32, x);
        }
    }
}

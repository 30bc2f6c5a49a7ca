//! What is done with each key of a GGUF file's metadata: it is read, it is refused unless it has the value that changes nothing, or it
//! does not matter to inference. The test compares the lists with the keys of the `gguf` package, llama.cpp's own writer.

use serde_json::Value as Json;

use super::config::Fields;
use super::metadata::Value;
use crate::base::error::Result;
use crate::formats::quoted;

/// Keys that are read, without the architecture's name before them.
const READ: &[&str] = &[
    "attention.causal",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.relative_buckets_count",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.value_length",
    "attn_logit_softcapping",
    "block_count",
    "context_length",
    "decoder_block_count",
    "decoder_start_token_id",
    "embedding_length",
    "expert_count",
    "expert_used_count",
    "feed_forward_length",
    "final_logit_softcapping",
    "pooling_type",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "use_parallel_residual",
    "vocab_size",
];

/// Keys that are read, whole.
const READ_WHOLE: &[&str] = &[
    "general.architecture",
    "general.alignment",
    "general.sampling.min_p",
    "general.sampling.mirostat",
    "general.sampling.penalty_repeat",
    "general.sampling.temp",
    "general.sampling.top_k",
    "general.sampling.top_p",
    "general.sampling.xtc_probability",
    "general.type",
    "split.count",
    "split.no",
    "split.tensors.count",
    "tokenizer.chat_template",
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.add_sep_token",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.cls_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.mask_token_id",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.model",
    "tokenizer.ggml.padding_token_id",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.precompiled_charsmap",
    "tokenizer.ggml.remove_extra_whitespaces",
    "tokenizer.ggml.scores",
    "tokenizer.ggml.separator_token_id",
    "tokenizer.ggml.seperator_token_id",
    "tokenizer.ggml.suppress_tokens",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.unknown_token_id",
];

/// Keys of other architectures, and of parts that no architecture here has: refused unless they are 0, false, empty or `neutral`.
const REFUSED: &[(&str, f64)] = &[
    ("activation_sparsity_scale", 0.0),
    ("altup.active_idx", 0.0),
    ("altup.num_inputs", 0.0),
    ("attention.clamp_kqv", 0.0),
    ("attention.decay_lora_rank", 0.0),
    ("attention.gate_lora_rank", 0.0),
    ("attention.group_norm_epsilon", 0.0),
    ("attention.group_norm_groups", 0.0),
    ("attention.iclr_lora_rank", 0.0),
    ("attention.indexer.head_count", 0.0),
    ("attention.indexer.key_length", 0.0),
    ("attention.indexer.top_k", 0.0),
    ("attention.key_length_mla", 0.0),
    ("attention.key_length_swa", 0.0),
    ("attention.kv_lora_rank", 0.0),
    ("attention.max_alibi_bias", 0.0),
    ("attention.output_scale", 1.0),
    ("attention.q_lora_rank", 0.0),
    ("attention.scale", 0.0),
    ("attention.shared_kv_layers", 0.0),
    ("attention.temperature_length", 0.0),
    ("attention.temperature_scale", 0.0),
    ("attention.value_length_mla", 0.0),
    ("attention.value_length_swa", 0.0),
    ("attention.value_residual_mix_lora_rank", 0.0),
    ("classifier.output_labels", 0.0),
    ("convnext.block_count", 0.0),
    ("convnext.embedding_length", 0.0),
    ("embedding_length_out", 0.0),
    ("embedding_length_per_layer_input", 0.0),
    ("embedding_scale", 1.0),
    // Softmax.
    ("expert_gating_func", 1.0),
    ("expert_weights_scale", 1.0),
    ("features_length", 0.0),
    ("full_attention_interval", 0.0),
    ("kda.head_dim", 0.0),
    ("logit_scale", 1.0),
    ("n_deepstack_layers", 0.0),
    ("nextn_predict_layers", 0.0),
    ("posnet.block_count", 0.0),
    ("posnet.embedding_length", 0.0),
    ("rescale_every_n_layers", 0.0),
    ("residual_scale", 1.0),
    ("rope.dimension_count_swa", 0.0),
    ("rope.dimension_sections", 0.0),
    ("rope.scaling.alpha", 0.0),
    ("rope.scaling.yarn_log_multiplier", 0.0),
    ("router_logit_softcapping", 0.0),
    ("shortconv.l_cache", 0.0),
    ("ssm.conv_kernel", 0.0),
    ("ssm.dt_b_c_rms", 0.0),
    ("ssm.group_count", 0.0),
    ("ssm.inner_size", 0.0),
    ("ssm.state_size", 0.0),
    ("ssm.time_step_rank", 0.0),
    ("swiglu_clamp_exp", 0.0),
    ("swiglu_clamp_shexp", 0.0),
    ("swin_norm", 0.0),
    ("time_decay_extra_dim", 0.0),
    ("time_mix_extra_dim", 0.0),
    ("token_shift_count", 0.0),
    ("wkv.head_size", 0.0),
];

/// Beginnings of whole keys that do not matter to inference: where the model comes from, other kinds of files, and tokens for filling
/// gaps in code.
const IRRELEVANT: &[&str] = &[
    "adapter.",
    "clip.",
    "diffusion.",
    "general.",
    "imatrix.",
    "quantize.",
    "tokenizer.chat_template.",
    "tokenizer.chat_templates",
    "tokenizer.ggml.fim_",
    "tokenizer.ggml.middle_token_id",
    "tokenizer.ggml.prefix_token_id",
    "tokenizer.ggml.suffix_token_id",
    "tokenizer.ggml.token_type_count",
    "tokenizer.huggingface.json",
    "tokenizer.rwkv.world",
    "xielu.",
];

/// Beginnings of keys of an architecture that do not matter, because what they describe is refused by another key or is read from the
/// tensors.
const IRRELEVANT_HERE: &[&str] = &[
    "expert",
    "interleave_moe_layer_step",
    "leading_dense_block_count",
    "moe_",
    "rope.scaling.finetuned",
    "tensor_data_layout",
];

/// Refuses keys that change what is computed and are not read.
///
/// # Errors
/// `Unsupported`, with the key.
pub(super) fn check(fields: &Fields) -> Result<()> {
    for &(leaf, neutral) in REFUSED {
        let key = fields.key(leaf);
        if fields.metadata.value(&key).is_some_and(|value| !is_neutral(value, neutral)) {
            return Err(fields.unsupported(format!("field {} is not supported", quoted(&key))));
        }
    }
    // The sizes of sentence-transformers' Dense modules.
    let mut keys = fields.metadata.keys();
    match keys.find(|key| fields.leaf(key).is_some_and(is_dense)) {
        Some(key) => Err(fields.unsupported(format!("field {}: Dense modules are not supported", quoted(key)))),
        None => Ok(()),
    }
}

fn is_dense(leaf: &str) -> bool {
    leaf.starts_with("dense_") && (leaf.ends_with("_feat_in") || leaf.ends_with("_feat_out"))
}

fn is_neutral(value: &Value, neutral: f64) -> bool {
    match value {
        Value::Unsigned(n) => *n as f64 == neutral || *n == 0,
        Value::Signed(n) => *n as f64 == neutral || *n == 0,
        Value::Single(x) => f64::from(*x) == neutral || *x == 0.0,
        Value::Double(x) => *x == neutral || *x == 0.0,
        Value::Bool(yes) => !yes,
        Value::Text(text) => text.is_empty(),
        Value::Array(list) => list.numbers().is_some_and(|mut numbers| numbers.all(|n| n == 0.0 || n == neutral)),
    }
}

/// The keys that are neither read nor known.
pub(super) fn unknown(fields: &Fields) -> Vec<Json> {
    let known = |key: &&str| is_known(key, fields.leaf(key));
    fields.metadata.keys().filter(|key| !known(key)).map(Json::from).collect()
}

/// `leaf` is the key without the architecture's name, if it begins with it.
fn is_known(key: &str, leaf: Option<&str>) -> bool {
    let here = |leaf: &str| {
        READ.contains(&leaf)
            || REFUSED.iter().any(|(refused, _)| *refused == leaf)
            || IRRELEVANT_HERE.iter().any(|start| leaf.starts_with(start))
            || is_dense(leaf)
    };
    READ_WHOLE.contains(&key) || IRRELEVANT.iter().any(|start| key.starts_with(start)) || leaf.is_some_and(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_llama_cpp_is_read_or_refused_or_irrelevant() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config_fields.json");
        let fields: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let mut unknown = Vec::new();
        for key in fields["gguf_keys"].as_array().unwrap() {
            let key = key.as_str().unwrap().replace("{dense}", "dense_2");
            let leaf = key.strip_prefix("{arch}.");
            if !is_known(&key, leaf) {
                unknown.push(key);
            }
        }
        assert!(unknown.is_empty(), "{unknown:?}");
        for leaf in READ {
            assert!(!REFUSED.iter().any(|(refused, _)| refused == leaf), "{leaf}");
        }
    }
}

//! What is done with each field of `config.json`: it is read into the Spec, it is refused unless it has the value that changes nothing,
//! or it does not matter to inference. The tests compare the lists with the fields of transformers' configuration classes
//! (`tests/fixtures/config_fields.json`); a field of theirs that is in no list fails them.

use serde_json::Value;

use super::quantised;
use crate::base::error::{Error, Result};
use crate::formats::json::Config;

/// A value with which the field has no effect. Null means that the field is unset, so it has no effect either.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Neutral {
    Null,
    False,
    True,
    /// A number, or false for 0.
    Number(f64),
    Text(&'static str),
    /// An empty list or object.
    Empty,
}

use Neutral::{Empty, False, Null, Number, Text, True};

impl Neutral {
    fn is(self, value: &Value) -> bool {
        match self {
            Null => value.is_null(),
            False => value.as_bool() == Some(false),
            True => value.as_bool() == Some(true),
            Number(number) => value.as_f64() == Some(number) || number == 0.0 && value.as_bool() == Some(false),
            Text(text) => value.as_str() == Some(text),
            Empty => value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(|o| o.is_empty()),
        }
    }

    fn describe(self) -> String {
        match self {
            Null => "null".into(),
            False => "false".into(),
            True => "true".into(),
            Number(number) => number.to_string(),
            Text(text) => format!("{text:?}"),
            Empty => "an empty one".into(),
        }
    }
}

/// Fields that change what a model computes and that no family, or not the family at hand, computes.
const REFUSED: &[(&str, Neutral)] = &[
    ("_remove_final_layer_norm", False),
    ("add_cross_attention", False),
    ("alibi", False),
    ("attn_temperature_tuning", Number(0.0)),
    ("causal", False),
    ("compression_config", Null),
    ("do_layer_norm_before", True),
    ("enable_bias", True),
    ("is_causal", True),
    ("is_decoder", False),
    ("layer_norm_elementwise_affine", True),
    ("mlp_fc1_bias", False),
    ("mlp_fc2_bias", False),
    ("moe_every_n_layers", Number(0.0)),
    ("mrope_section", Null),
    ("no_rope_layers", Empty),
    ("num_experts", Number(0.0)),
    ("num_local_experts", Number(0.0)),
    ("parallel_block", False),
    ("partial_rotary_factor", Number(1.0)),
    ("per_layer_config", Empty),
    ("position_embedding_type", Text("absolute")),
    ("prenorm", False),
    ("pruned_heads", Empty),
    ("qk_layernorm", False),
    ("qkv_proj_bias", False),
    ("rotary_emb_fraction", Number(1.0)),
    ("rotary_emb_interleaved", False),
    ("rotary_emb_scale_base", Null),
    ("scale_attn_by_inverse_layer_idx", False),
    ("share_encoder_decoder_embeddings", True),
    ("use_bidirectional_attention", False),
    ("use_mrope", False),
    ("use_rms_norm", False),
];

/// Beginnings of the names of fields that scale a model's parts (maximal update parametrisation); none is computed.
const REFUSED_PREFIXES: &[&str] = &["mup_"];

/// Fields that are read outside the families: labels and scores by tasks, token ids and generation by `generate`.
const READ_ELSEWHERE: &[&str] = &[
    "architectures",
    "bos_token_id",
    "decoder_start_token_id",
    "eos_token_id",
    "id2label",
    "kinglet_linear_weights",
    "kinglet_unknown_keys",
    "label2id",
    "model_type",
    "num_labels",
    "pad_token_id",
    "problem_type",
    "sentence_transformers",
    "vocab_size",
];

/// Fields of transformers' classes that do not change what is computed, because they are about training, the form of results or
/// the program that wrote the file.
const IRRELEVANT: &[&str] = &[
    // Training.
    "activation_dropout",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_pdrop",
    "classif_dropout",
    "classifier_dropout",
    "decoder_layerdrop",
    "dropout",
    "dropout_rate",
    "embd_pdrop",
    "encoder_layerdrop",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "init_std",
    "layerdrop",
    "initializer_factor",
    "initializer_range",
    "pretraining_tp",
    "qa_dropout",
    "resid_pdrop",
    "seq_classif_dropout",
    "unsloth_fixed",
    "unsloth_version",
    // The form of results, and how another program computes.
    "attn_implementation",
    "cache_implementation",
    "chunk_size_feed_forward",
    "keys_to_ignore_at_inference",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "reorder_and_upcast_attn",
    "return_dict",
    "torchscript",
    "use_bfloat16",
    "use_cache",
    "xla_device",
    // What the file is of, and what wrote it.
    "_name_or_path",
    "auto_map",
    "dtype",
    "finetuning_task",
    "is_encoder_decoder",
    "name_or_path",
    "prefix",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
    // Token ids that the tokenizer's files have too.
    "cls_token_id",
    "mask_token_id",
    "sep_token_id",
    "unk_token_id",
    // transformers derives these from others, or has them for heads of its own that are not read.
    "decoder_vocab_size",
    "dense_act_fn",
    "is_gated_act",
    "sinusoidal_pos_embds",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "tie_last_hidden_states",
    // Of old files; transformers 5 does not read them either.
    "add_bias_logits",
    "add_final_layer_norm",
    "cross_attention_hidden_size",
    "directionality",
    "extra_pos_embeddings",
    "gradient_checkpointing_kwargs",
    "n_ctx",
    "n_special",
    "normalize_before",
    "normalize_embedding",
    "num_hidden_groups",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "predict_special_tokens",
    "save_step",
    "static_position_embeddings",
    "tie_encoder_decoder",
    "tie_weights_",
    "type_vocab_sizes",
];

/// The options of generation that a configuration of old models has; `generate` reads them.
const GENERATION: &[&str] = &[
    "assistant_confidence_threshold",
    "assistant_lookbehind",
    "bad_words_ids",
    "begin_suppress_tokens",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "epsilon_cutoff",
    "eta_cutoff",
    "exponential_decay_length_penalty",
    "force_bos_token_to_be_generated",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "no_repeat_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "penalty_alpha",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "suppress_tokens",
    "target_lookbehind",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];

const BERT: &[&str] = &[
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "type_vocab_size",
];

/// NomicBERT's, by transformers 5 and as published.
const NOMIC_BERT: &[&str] = &[
    "activation_function",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "max_position_embeddings",
    "max_trained_positions",
    "n_embd",
    "n_head",
    "n_inner",
    "n_layer",
    "n_positions",
    "num_attention_heads",
    "num_hidden_layers",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "rotary_emb_base",
    "rotary_scaling_factor",
    "type_vocab_size",
];

const MODERNBERT: &[&str] = &[
    "attention_bias",
    "global_attn_every_n_layers",
    "global_rope_theta",
    "hidden_activation",
    "hidden_size",
    "intermediate_size",
    "layer_types",
    "local_attention",
    "local_rope_theta",
    "max_position_embeddings",
    "mlp_bias",
    "norm_bias",
    "norm_eps",
    "num_attention_heads",
    "num_hidden_layers",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
];

const EUROBERT: &[&str] = &[
    "attention_bias",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "mlp_bias",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
];

const OPT: &[&str] = &[
    "activation_function",
    "ffn_dim",
    "hidden_size",
    "is_causal",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "tie_word_embeddings",
];

const DISTILBERT: &[&str] = &["activation", "dim", "hidden_dim", "max_position_embeddings", "n_heads", "n_layers"];

const MPNET: &[&str] = &[
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "relative_attention_num_buckets",
];

const T5: &[&str] = &[
    "d_ff",
    "d_kv",
    "d_model",
    "feed_forward_proj",
    "layer_norm_epsilon",
    "num_decoder_layers",
    "num_heads",
    "num_layers",
    "relative_attention_max_distance",
    "relative_attention_num_buckets",
];

const BART: &[&str] = &[
    "activation_function",
    "d_model",
    "decoder_attention_heads",
    "decoder_ffn_dim",
    "decoder_layers",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "encoder_layers",
    "max_position_embeddings",
    "scale_embedding",
    "tie_word_embeddings",
];

const GPT2: &[&str] = &[
    "activation_function",
    "is_causal",
    "layer_norm_epsilon",
    "n_embd",
    "n_head",
    "n_inner",
    "n_layer",
    "n_positions",
    "scale_attn_weights",
    "tie_word_embeddings",
];

const GPT_NEOX: &[&str] = &[
    "attention_bias",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "is_causal",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "partial_rotary_factor",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "rotary_emb_base",
    "rotary_pct",
    "tie_word_embeddings",
    "use_parallel_residual",
];

/// What Llama and the families after it share.
const LLAMA: &[&str] = &[
    "head_dim",
    "hidden_size",
    "intermediate_size",
    "is_causal",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
];

/// Phi's, and StableLM's.
const PHI: &[&str] = &[
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "is_causal",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
];

const GEMMA: &[&str] = &[
    "attention_bias",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "hidden_activation",
    "layer_types",
    "query_pre_attn_scalar",
    "sliding_window",
];

/// The fields that a family reads into its Spec, in one or two lists.
fn honoured(family: &str) -> [&'static [&'static str]; 2] {
    match family {
        "bert" | "roberta" | "xlm-roberta" | "camembert" => [BERT, &[]],
        "nomic_bert" => [NOMIC_BERT, &[]],
        "modernbert" => [MODERNBERT, &[]],
        "eurobert" => [EUROBERT, &[]],
        "opt" => [OPT, &[]],
        "phi" => [PHI, &[]],
        "stablelm" => [PHI, &["use_parallel_residual", "use_qkv_bias"]],
        "distilbert" => [DISTILBERT, &[]],
        "mpnet" => [MPNET, &[]],
        "t5" => [T5, &["scale_decoder_outputs", "tie_word_embeddings"]],
        "mt5" => [T5, &[]],
        "bart" | "mbart" => [BART, &[]],
        "marian" => [BART, &[]],
        "gpt2" => [GPT2, &[]],
        "gpt_neox" => [GPT_NEOX, &[]],
        "llama" => [LLAMA, &["attention_bias", "hidden_act", "mlp_bias"]],
        "smollm3" => [
            LLAMA,
            &[
                "attention_bias",
                "hidden_act",
                "layer_types",
                "mlp_bias",
                "no_rope_layer_interval",
                "no_rope_layers",
                "sliding_window",
                "use_sliding_window",
            ],
        ],
        "granite" => [
            LLAMA,
            &[
                "attention_bias",
                "attention_multiplier",
                "embedding_multiplier",
                "hidden_act",
                "logits_scaling",
                "mlp_bias",
                "residual_multiplier",
            ],
        ],
        "mistral" => [LLAMA, &["hidden_act", "layer_types", "sliding_window"]],
        "qwen2" => [LLAMA, &["hidden_act", "layer_types", "max_window_layers", "sliding_window", "use_sliding_window"]],
        "qwen3" => [
            LLAMA,
            &[
                "attention_bias",
                "hidden_act",
                "layer_types",
                "max_window_layers",
                "sliding_window",
                "use_sliding_window",
            ],
        ],
        "phi3" => [LLAMA, &["hidden_act", "partial_rotary_factor", "sliding_window"]],
        "gemma" => [LLAMA, &["attention_bias", "hidden_act", "use_bidirectional_attention"]],
        "gemma2" => [LLAMA, GEMMA],
        "gemma3_text" => [
            LLAMA,
            &[
                "attention_bias",
                "attn_logit_softcapping",
                "final_logit_softcapping",
                "hidden_activation",
                "layer_types",
                "query_pre_attn_scalar",
                "rope_local_base_freq",
                "sliding_window",
                "sliding_window_pattern",
                "use_bidirectional_attention",
            ],
        ],
        _ => [&[], &[]],
    }
}

/// Fields that a family's class has and that change nothing in this family.
fn irrelevant_here(family: &str) -> &'static [&'static str] {
    match family {
        // Encoders have no language head, and T5 with untied embeddings is told by its weights.
        "bert" | "roberta" | "xlm-roberta" | "camembert" | "distilbert" | "mpnet" => &["tie_word_embeddings"],
        // The family refuses a width that differs from the hidden size.
        "opt" => &["is_decoder", "word_embed_proj_dim"],
        // What these say is of heads that are not read.
        "modernbert" => &[
            "classifier_activation",
            "classifier_bias",
            "classifier_pooling",
            "decoder_bias",
            "deterministic_flash_attn",
            "embedding_dropout",
            "initializer_cutoff_factor",
            "layer_norm_eps",
            "mlp_dropout",
            "position_embedding_type",
            "reference_compile",
            "repad_logits_with_grad",
            "sparse_pred_ignore_index",
            "sparse_prediction",
            "tie_word_embeddings",
        ],
        "eurobert" => &["classifier_pooling", "is_causal", "is_decoder", "tie_word_embeddings"],
        "nomic_bert" => &[
            "dense_seq_output",
            "fused_bias_fc",
            "fused_dropout_add_ln",
            "pad_vocab_size_multiple",
            "pad_vocab_to_multiple_of",
            "parallel_block_tied_norm",
            "scale_attn_weights",
            "tie_word_embeddings",
            "use_flash_attn",
            "use_xentropy",
        ],
        "mt5" => &["scale_decoder_outputs", "tie_word_embeddings"],
        // A decoder is one.
        "gpt_neox" | "llama" | "mistral" | "qwen2" | "qwen3" | "phi" | "phi3" | "gpt2" | "bart" | "mbart"
        | "marian" | "stablelm" | "smollm3" | "granite" | "gemma" => &["is_decoder"],
        "gemma2" | "gemma3_text" => &["hidden_act", "is_decoder"],
        _ => &[],
    }
}

fn is_honoured(family: &str, name: &str) -> bool {
    honoured(family).concat().contains(&name)
}

/// Other names of fields, which win where a file has both (`attribute_map` of transformers' classes).
pub(super) fn aliases(family: &str) -> &'static [(&'static str, &'static str)] {
    match family {
        "distilbert" => {
            &[("hidden_size", "dim"), ("num_attention_heads", "n_heads"), ("num_hidden_layers", "n_layers")]
        }
        "t5" | "mt5" => &[
            ("head_dim", "d_kv"),
            ("hidden_size", "d_model"),
            ("num_attention_heads", "num_heads"),
            ("num_hidden_layers", "num_layers"),
        ],
        "bart" | "mbart" | "marian" => &[
            ("hidden_size", "d_model"),
            ("num_attention_heads", "encoder_attention_heads"),
            ("num_hidden_layers", "encoder_layers"),
        ],
        "gpt2" => &[
            ("hidden_size", "n_embd"),
            ("max_position_embeddings", "n_positions"),
            ("num_attention_heads", "n_head"),
            ("num_hidden_layers", "n_layer"),
        ],
        _ => &[],
    }
}

/// Refuses fields that change what is computed and are not honoured.
///
/// # Errors
/// `Unsupported`, with the field, its value and what is supported.
pub(super) fn check(config: &Config, family: &str) -> Result<()> {
    quantised::check(config)?;
    let here = irrelevant_here(family);
    for &(name, neutral) in REFUSED {
        let Some(value) = config.get(name) else { continue };
        if !is_honoured(family, name) && !here.contains(&name) && !neutral.is(value) {
            return Err(refusal(config, family, name, value, &format!("; only {} is", neutral.describe())));
        }
    }
    let scales = |key: &&str| REFUSED_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    match config.keys().filter(scales).find_map(|key| Some((key, config.get(key)?))) {
        Some((name, value)) => Err(refusal(config, family, name, value, "")),
        None => Ok(()),
    }
}

fn refusal(config: &Config, family: &str, name: &str, value: &Value, only: &str) -> Error {
    let mut value = value.to_string();
    if value.len() > 60 {
        let end = (0..=60).rev().find(|&at| value.is_char_boundary(at)).unwrap_or(0);
        value.replace_range(end.., "…");
    }
    let path = config.path().display();
    Error::unsupported(format!("{path}: field `{name}` is {value}, which is not supported for {family}{only}"))
}

/// The fields that neither this program nor transformers' class of the family knows. They are no error, because a file may hold
/// fields of its owner's.
pub fn unknown_fields(config: &Config) -> Vec<String> {
    let family = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    if honoured(family)[0].is_empty() {
        return Vec::new();
    }
    let lists = [READ_ELSEWHERE, IRRELEVANT, GENERATION, irrelevant_here(family)];
    let is_known = |name: &str| {
        name.starts_with('_')
            || lists.iter().any(|list| list.contains(&name))
            || is_honoured(family, name)
            || aliases(family).iter().any(|(alias, _)| *alias == name)
            || REFUSED.iter().any(|(refused, _)| *refused == name)
            || name == quantised::FIELD
    };
    let here = config.keys().filter(|name| config.has(name) && !is_known(name));
    // Those of a GGUF file, whose own keys are not here.
    let of_file = config.get("kinglet_unknown_keys").and_then(Value::as_array).into_iter().flatten();
    here.chain(of_file.filter_map(Value::as_str)).map(String::from).collect()
}

#[cfg(test)]
mod tests;

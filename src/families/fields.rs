//! What is done with each field of `config.json`: it is read into the Spec, it is refused unless it has the value that changes nothing,
//! or it does not matter to inference. The tests compare the lists with the fields of transformers' configuration classes
//! (`tests/fixtures/config_fields.json`); a field of theirs that is in no list fails them.

mod by_family;

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::formats::json::Config;
use crate::formats::quantised::{self, Scheme};

pub(super) use by_family::aliases;
use by_family::{honoured, irrelevant_here, is_honoured};

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
    ("clip_qkv", Null),
    ("compression_config", Null),
    ("conv_kernel_size", Number(0.0)),
    ("do_layer_norm_before", True),
    ("enable_bias", True),
    ("expert_choice_router", False),
    ("inner_group_num", Number(1.0)),
    ("is_causal", True),
    ("is_decoder", False),
    ("layer_norm_elementwise_affine", True),
    ("mlp_fc1_bias", False),
    ("mlp_fc2_bias", False),
    ("moe_every_n_layers", Number(0.0)),
    ("moe_impl", Text("megablocks")),
    ("mrope_section", Null),
    ("no_rope_layers", Empty),
    ("num_experts", Number(0.0)),
    ("num_hidden_groups", Number(1.0)),
    ("num_local_experts", Number(0.0)),
    ("num_shared_experts", Number(0.0)),
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
    "classifier_dropout_prob",
    "decoder_layerdrop",
    "dropout",
    "dropout_rate",
    "embd_pdrop",
    "encoder_layerdrop",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "init_std",
    "moe_resid_pdrop",
    "layerdrop",
    "initializer_factor",
    "initializer_range",
    "pretraining_tp",
    "qa_dropout",
    "resid_pdrop",
    "router_aux_loss_coef",
    "router_jitter_noise",
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
    "output_router_logits",
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

/// Refuses fields that change what is computed and are not honoured.
///
/// # Errors
/// `Unsupported`, with the field, its value and what is supported.
pub(super) fn check(config: &Config, family: &str) -> Result<()> {
    Scheme::read(config)?;
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
    let family = super::family(config.get("model_type").and_then(Value::as_str).unwrap_or_default());
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

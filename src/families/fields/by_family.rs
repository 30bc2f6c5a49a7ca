//! The fields of `config.json` that each family reads into its Spec, those that change nothing in it, and other names of fields.

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

/// Of the head of a masked language model.
const MASKED: &[&str] = &["tie_word_embeddings"];

/// NomicBERT's, by transformers 5 and as published.
const NOMIC_BERT: &[&str] = &[
    "activation_function",
    "ffn_div",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "max_position_embeddings",
    "max_trained_positions",
    "mlp_fc1_bias",
    "mlp_fc2_bias",
    "moe_every_n_layers",
    "moe_normalize_expert_weights",
    "moe_top_k",
    "n_embd",
    "n_head",
    "n_inner",
    "n_layer",
    "n_positions",
    "num_attention_heads",
    "num_experts",
    "num_hidden_layers",
    "qkv_proj_bias",
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

/// What DeBERTa v2 has beside BERT's.
const DEBERTA: &[&str] = &[
    "legacy",
    "max_relative_positions",
    "norm_rel_ebd",
    "pooler_hidden_act",
    "pos_att_type",
    "position_biased_input",
    "position_buckets",
    "relative_attention",
    "share_att_key",
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

const GPT_NEO: &[&str] = &[
    "activation_function",
    "attention_types",
    "hidden_size",
    "intermediate_size",
    "is_causal",
    "layer_norm_epsilon",
    "max_position_embeddings",
    "num_heads",
    "num_layers",
    "tie_word_embeddings",
    "window_size",
];

const STARCODER2: &[&str] = &[
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "is_causal",
    "max_position_embeddings",
    "norm_epsilon",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "use_bias",
];

const GPTJ: &[&str] = &[
    "activation_function",
    "is_causal",
    "layer_norm_epsilon",
    "n_embd",
    "n_head",
    "n_inner",
    "n_layer",
    "n_positions",
    "rotary_dim",
    "tie_word_embeddings",
];

const BLOOM: &[&str] = &["hidden_size", "is_causal", "layer_norm_epsilon", "n_head", "n_layer", "tie_word_embeddings"];

const MPT: &[&str] = &[
    "attn_config",
    "d_model",
    "is_causal",
    "layer_norm_epsilon",
    "max_seq_len",
    "n_heads",
    "n_layers",
    "tie_word_embeddings",
];

const GTE: &[&str] = &[
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "pack_qkv",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "type_vocab_size",
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

const QWEN2_MOE: &[&str] = &[
    "decoder_sparse_step",
    "hidden_act",
    "layer_types",
    "max_window_layers",
    "mlp_only_layers",
    "moe_intermediate_size",
    "norm_topk_prob",
    "num_experts",
    "num_experts_per_tok",
    "qkv_bias",
    "shared_expert_intermediate_size",
    "sliding_window",
    "use_sliding_window",
];

const QWEN3_MOE: &[&str] = &[
    "attention_bias",
    "decoder_sparse_step",
    "hidden_act",
    "mlp_only_layers",
    "moe_intermediate_size",
    "norm_topk_prob",
    "num_experts_per_tok",
    "num_local_experts",
    "sliding_window",
    "use_sliding_window",
];

const GRANITE_MOE: &[&str] = &[
    "attention_bias",
    "attention_multiplier",
    "embedding_multiplier",
    "hidden_act",
    "logits_scaling",
    "num_experts_per_tok",
    "num_local_experts",
    "residual_multiplier",
];

/// The fields that a family reads into its Spec, in one or two lists.
pub(super) fn honoured(family: &str) -> [&'static [&'static str]; 2] {
    match family {
        "bert" | "roberta" | "xlm-roberta" | "camembert" => [BERT, MASKED],
        "electra" | "albert" => [BERT, &["embedding_size", "tie_word_embeddings"]],
        "deberta-v2" => [BERT, DEBERTA],
        "nomic_bert" => [NOMIC_BERT, &[]],
        "modernbert" => {
            [MODERNBERT, &["classifier_activation", "classifier_bias", "decoder_bias", "tie_word_embeddings"]]
        }
        "eurobert" => [EUROBERT, &[]],
        "opt" => [OPT, &[]],
        "phi" => [PHI, &[]],
        "stablelm" => [PHI, &["use_parallel_residual", "use_qkv_bias"]],
        "distilbert" => [DISTILBERT, MASKED],
        "mpnet" => [MPNET, MASKED],
        "t5" => [T5, &["scale_decoder_outputs", "tie_word_embeddings"]],
        "mt5" => [T5, &[]],
        "bart" | "mbart" => [BART, &[]],
        "marian" | "pegasus" | "m2m_100" => [BART, &[]],
        "gpt2" => [GPT2, &[]],
        "gpt_neo" => [GPT_NEO, &[]],
        "gpt_neox" => [GPT_NEOX, &[]],
        "gptj" => [GPTJ, &[]],
        "gpt_bigcode" => [GPT2, &["multi_query"]],
        "bloom" => [BLOOM, &[]],
        "mpt" => [MPT, &[]],
        "gte" => [GTE, &[]],
        "starcoder2" => [STARCODER2, &[]],
        "glm" => [LLAMA, &["attention_bias", "hidden_act", "partial_rotary_factor"]],
        "olmo2" => [LLAMA, &["attention_bias", "hidden_act"]],
        "ernie4_5" => [LLAMA, &["hidden_act", "use_bias"]],
        "helium" => [LLAMA, &["attention_bias", "hidden_act", "mlp_bias"]],
        "seed_oss" => [LLAMA, &["attention_bias", "attention_out_bias", "hidden_act", "mlp_bias"]],
        "cohere" => [PHI, &["attention_bias", "logit_scale"]],
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
        "mixtral" => [LLAMA, &["hidden_act", "num_experts_per_tok", "num_local_experts", "sliding_window"]],
        "qwen2_moe" => [LLAMA, QWEN2_MOE],
        "qwen3_moe" => [LLAMA, QWEN3_MOE],
        "olmoe" => [LLAMA, &["attention_bias", "hidden_act", "norm_topk_prob", "num_experts", "num_experts_per_tok"]],
        "granitemoe" => [LLAMA, GRANITE_MOE],
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
pub(super) fn irrelevant_here(family: &str) -> &'static [&'static str] {
    match family {
        "electra" => {
            &["summary_activation", "summary_first_dropout", "summary_last_dropout", "summary_type", "summary_use_proj"]
        }
        // Other names of fields that are read.
        "mixtral" | "qwen3_moe" => &["num_experts"],
        "olmoe" => &["num_local_experts"],
        // The published files have some of Google's.
        "albert" => &["down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks"],
        // The family refuses widths that differ from the hidden size; the others are of dropout and of the refused convolution.
        "deberta-v2" => &["conv_act", "conv_groups", "embedding_size", "pooler_dropout", "pooler_hidden_size"],
        // The family refuses a width that differs from the hidden size.
        "opt" => &["is_decoder", "word_embed_proj_dim"],
        // What these say is of heads that are not read.
        "modernbert" => &[
            "classifier_pooling",
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
        ],
        "eurobert" => &["classifier_pooling", "is_causal", "is_decoder", "tie_word_embeddings"],
        "nomic_bert" => &[
            "dense_seq_output",
            "fused_bias_fc",
            "fused_dropout_add_ln",
            "pad_vocab_size_multiple",
            "pad_vocab_to_multiple_of",
            "padded_vocab_size",
            "parallel_block_tied_norm",
            "scale_attn_weights",
            "tie_word_embeddings",
            "use_flash_attn",
            "use_xentropy",
        ],
        "mt5" => &["scale_decoder_outputs", "tie_word_embeddings"],
        // How the class published with the models computes, and its scaling of logits, which the family refuses.
        "gte" => &[
            "layer_norm_type",
            "logn_attention_clip1",
            "logn_attention_scale",
            "position_embedding_type",
            "tie_word_embeddings",
            "unpad_inputs",
            "use_memory_efficient_attention",
        ],
        "bloom" => &[
            "apply_residual_connection_post_layernorm",
            "attention_softmax_in_fp32",
            "bias_dropout_fusion",
            "is_decoder",
            "masked_softmax_fusion",
            "n_positions",
            "offset_alibi",
            "seq_length",
            "skip_bias_add",
            "skip_bias_add_qkv",
            "slow_but_exact",
            "unk_token_id",
        ],
        "mpt" => &[
            "emb_pdrop",
            "embedding_fraction",
            "expansion_ratio",
            "init_config",
            "init_device",
            "is_decoder",
            "learned_pos_emb",
            "logit_scale",
            "no_bias",
            "norm_type",
            "verbose",
        ],
        "gpt_neo" => &["attention_layers", "embed_dropout", "is_decoder", "resid_dropout"],
        "gptj" => &["is_decoder", "rotary", "scale_attn_weights"],
        "gpt_bigcode" => &[
            "attention_softmax_in_fp32",
            "inference_runner",
            "is_decoder",
            "max_batch_size",
            "max_sequence_length",
            "num_key_value_heads",
            "pad_key_length",
            "pre_allocate_kv_cache",
            "scale_attention_softmax_in_fp32",
            "validate_runner_input",
        ],
        "starcoder2" => &["embedding_dropout", "is_decoder", "residual_dropout"],
        "seed_oss" => &["is_decoder", "residual_dropout"],
        "glm" | "ernie4_5" | "helium" | "olmo2" => &["is_decoder"],
        // The family refuses norms of queries and keys.
        "cohere" => &["is_decoder", "use_qk_norm"],
        // A decoder is one.
        "gpt_neox" | "llama" | "mistral" | "qwen2" | "qwen3" | "phi" | "phi3" | "gpt2" | "bart" | "mbart"
        | "marian" | "pegasus" | "m2m_100" | "stablelm" | "smollm3" | "granite" | "gemma" => &["is_decoder"],
        "gemma2" | "gemma3_text" => &["hidden_act", "is_decoder"],
        _ => &[],
    }
}

pub(super) fn is_honoured(family: &str, name: &str) -> bool {
    honoured(family).concat().contains(&name)
}

/// Other names of fields, which win where a file has both (`attribute_map` of transformers' classes).
pub(in crate::families) fn aliases(family: &str) -> &'static [(&'static str, &'static str)] {
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
        "bart" | "mbart" | "marian" | "pegasus" | "m2m_100" => &[
            ("hidden_size", "d_model"),
            ("num_attention_heads", "encoder_attention_heads"),
            ("num_hidden_layers", "encoder_layers"),
        ],
        "mixtral" | "qwen3_moe" => &[("num_experts", "num_local_experts")],
        "olmoe" => &[("num_local_experts", "num_experts")],
        "gpt_neo" => &[("num_attention_heads", "num_heads"), ("num_hidden_layers", "num_layers")],
        "bloom" => &[("num_attention_heads", "n_head"), ("num_hidden_layers", "n_layer")],
        "mpt" => &[("hidden_size", "d_model"), ("num_attention_heads", "n_heads"), ("num_hidden_layers", "n_layers")],
        "gpt2" | "gptj" | "gpt_bigcode" => &[
            ("hidden_size", "n_embd"),
            ("max_position_embeddings", "n_positions"),
            ("num_attention_heads", "n_head"),
            ("num_hidden_layers", "n_layer"),
        ],
        _ => &[],
    }
}

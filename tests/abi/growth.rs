//! Structs that grow: the sizes that they had at first, and zero as the default.

use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::{first_sizes, load, ok, refused, text};

/// The size of each struct in the first version that had it. Lines are added; none is ever changed.
const FIRST: [(&str, usize); 50] = [
    ("kinglet_arrow_texts", 64),
    ("kinglet_batch_suggestion_view", 72),
    ("kinglet_chat_options", 80),
    ("kinglet_classifications_view", 56),
    ("kinglet_classify_options", 32),
    ("kinglet_compress_options", 128),
    ("kinglet_compression_view", 72),
    ("kinglet_detokenize_options", 16),
    ("kinglet_device_info", 48),
    ("kinglet_devices_options", 16),
    ("kinglet_embed_options", 32),
    ("kinglet_embedding_buffer", 56),
    ("kinglet_embedding_codes", 40),
    ("kinglet_embedding_rows", 48),
    ("kinglet_embeddings_view", 64),
    ("kinglet_encoding_view", 104),
    ("kinglet_entity", 56),
    ("kinglet_fill_mask_options", 56),
    ("kinglet_generate_options", 304),
    ("kinglet_generation_output", 64),
    ("kinglet_generations_view", 32),
    ("kinglet_hidden_states_options", 16),
    ("kinglet_hidden_states_view", 48),
    ("kinglet_latency", 80),
    ("kinglet_logits_options", 24),
    ("kinglet_logits_view", 32),
    ("kinglet_mask_fill", 48),
    ("kinglet_mask_fills_view", 56),
    ("kinglet_message", 40),
    ("kinglet_model_options", 112),
    ("kinglet_model_view", 136),
    ("kinglet_prefix_options", 24),
    ("kinglet_quantize_embeddings_options", 16),
    ("kinglet_quantize_options", 32),
    ("kinglet_ranking_view", 56),
    ("kinglet_rerank_options", 24),
    ("kinglet_scheduler_options", 40),
    ("kinglet_search_buffer", 32),
    ("kinglet_search_options", 48),
    ("kinglet_session_options", 8),
    ("kinglet_session_view", 24),
    ("kinglet_sparse_embeddings_view", 64),
    ("kinglet_sparse_options", 72),
    ("kinglet_stage_totals", 40),
    ("kinglet_suggest_batch_size_options", 64),
    ("kinglet_token_classifications_view", 64),
    ("kinglet_tokenize_options", 32),
    ("kinglet_workload", 40),
    ("kinglet_zero_shot_options", 56),
    ("kinglet_zero_shot_results_view", 56),
];

#[test]
fn first_sizes_are_those_of_the_first_version() {
    let mut found = first_sizes();
    found.sort();
    let expected = FIRST.map(|(name, size)| (name.to_string(), size)).to_vec();
    assert_eq!(found, expected);
}

#[test]
fn zero_is_the_default_of_every_option() {
    let model = load("bert-token-classifier");
    let texts = [text("a small bird")];
    let (mut encoding, mut again) = (null_mut(), null_mut());
    let (mut tagged, mut embeddings) = (null_mut(), null_mut());
    // SAFETY: valid arguments.
    unsafe {
        let options = sized!(kinglet_tokenize_options);
        ok(|e| kinglet_model_tokenize(model, texts.as_ptr(), null(), 1, &options, &mut encoding, e));
        ok(|e| kinglet_model_tokenize(model, texts.as_ptr(), null(), 1, null(), &mut again, e));
        let (mut view, mut view_again) = (sized!(kinglet_encoding_view), sized!(kinglet_encoding_view));
        ok(|e| kinglet_encoding_read(encoding, &mut view, e));
        ok(|e| kinglet_encoding_read(again, &mut view_again, e));
        // Special tokens are added by default.
        assert_eq!((view.token_count, *view.special_tokens_mask), (view_again.token_count, 1));
        let options = sized!(kinglet_classify_options);
        ok(|e| kinglet_model_classify_tokens(model, texts.as_ptr(), 1, &options, &mut tagged, e));
        let options = sized!(kinglet_embed_options);
        ok(|e| kinglet_model_embed(model, texts.as_ptr(), 1, &options, &mut embeddings, e));
        kinglet_encoding_free(encoding);
        kinglet_encoding_free(again);
        kinglet_token_classifications_free(tagged);
        kinglet_embeddings_free(embeddings);
        kinglet_model_free(model);
    }
}

#[test]
fn generate_options_of_zeros_are_refused() {
    let model = load("generation/gpt2");
    let texts = [text("The river")];
    let options = sized!(kinglet_generate_options);
    let mut generations = null_mut();
    // SAFETY: valid arguments, but for what is tested.
    unsafe {
        refused("kinglet_model_generate", "kinglet_generate_options_init", |e| {
            kinglet_model_generate(model, texts.as_ptr(), 1, &options, &mut generations, e)
        });
        kinglet_model_free(model);
    }
}

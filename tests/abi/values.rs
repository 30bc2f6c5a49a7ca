//! Versions, errors, strings, cancellations, and the functions that cannot fail: they take NULL.

use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::{api, read};

pub const COVERS: &[&str] = &[
    "kinglet_abi_v0",
    "kinglet_abi_version",
    "kinglet_aggregation_name",
    "kinglet_batch_goal_name",
    "kinglet_cancellation_cancel",
    "kinglet_cancellation_free",
    "kinglet_cancellation_new",
    "kinglet_classifications_count",
    "kinglet_classifications_free",
    "kinglet_classifications_scores",
    "kinglet_counters_format_name",
    "kinglet_device_name",
    "kinglet_devices_count",
    "kinglet_devices_free",
    "kinglet_devices_missing",
    "kinglet_early_stopping_name",
    "kinglet_embedding_type_name",
    "kinglet_embeddings_count",
    "kinglet_embeddings_dimension",
    "kinglet_embeddings_free",
    "kinglet_embeddings_vector",
    "kinglet_encoding_free",
    "kinglet_error_free",
    "kinglet_error_message",
    "kinglet_error_status",
    "kinglet_finish_reason_name",
    "kinglet_generate_options_init",
    "kinglet_generations_free",
    "kinglet_generations_text",
    "kinglet_grammar_kind_name",
    "kinglet_hidden_states_free",
    "kinglet_log_level_name",
    "kinglet_logits_free",
    "kinglet_mask_fills_free",
    "kinglet_messages_count",
    "kinglet_messages_free",
    "kinglet_model_free",
    "kinglet_model_reset_counters",
    "kinglet_model_retain",
    "kinglet_pooling_name",
    "kinglet_precision_name",
    "kinglet_priority_name",
    "kinglet_prefix_free",
    "kinglet_ranking_free",
    "kinglet_schema_mode_name",
    "kinglet_score_function_name",
    "kinglet_session_free",
    "kinglet_similarity_name",
    "kinglet_sparse_embeddings_free",
    "kinglet_stage_name",
    "kinglet_status_name",
    "kinglet_text_free",
    "kinglet_text_str",
    "kinglet_token_classifications_free",
    "kinglet_tool_format_name",
    "kinglet_tristate_name",
    "kinglet_version",
    "kinglet_zero_shot_results_free",
];

fn name(made: *const c_char) -> &'static str {
    // SAFETY: names are NUL-terminated and live as long as the library.
    unsafe { CStr::from_ptr(made) }.to_str().unwrap()
}

#[test]
fn versions() {
    assert_eq!(kinglet_abi_version(), KINGLET_ABI_VERSION);
    kinglet_abi_v0();
    assert_eq!(name(kinglet_version()), env!("CARGO_PKG_VERSION"));
    // build.rs makes the SONAME of it.
    let build = include_str!("../../build.rs");
    assert!(build.contains(&format!("const ABI: u32 = {KINGLET_ABI_VERSION};")), "build.rs has another ABI version");
    let guard = format!("kinglet_abi_v{KINGLET_ABI_VERSION}");
    assert!(COVERS.contains(&guard.as_str()), "{guard} is missing");
}

#[test]
fn names_of_values_are_those_of_the_description() {
    let names: [(&str, extern "C" fn(u32) -> *const c_char); 21] = [
        ("kinglet_aggregation", kinglet_aggregation_name),
        ("kinglet_batch_goal", kinglet_batch_goal_name),
        ("kinglet_compress_method", kinglet_compress_method_name),
        ("kinglet_compress_unit", kinglet_compress_unit_name),
        ("kinglet_counters_format", kinglet_counters_format_name),
        ("kinglet_device", kinglet_device_name),
        ("kinglet_early_stopping", kinglet_early_stopping_name),
        ("kinglet_embedding_type", kinglet_embedding_type_name),
        ("kinglet_finish_reason", kinglet_finish_reason_name),
        ("kinglet_grammar_kind", kinglet_grammar_kind_name),
        ("kinglet_log_level", kinglet_log_level_name),
        ("kinglet_pooling", kinglet_pooling_name),
        ("kinglet_precision", kinglet_precision_name),
        ("kinglet_priority", kinglet_priority_name),
        ("kinglet_schema_mode", kinglet_schema_mode_name),
        ("kinglet_score_function", kinglet_score_function_name),
        ("kinglet_similarity", kinglet_similarity_name),
        ("kinglet_stage", kinglet_stage_name),
        ("kinglet_status", kinglet_status_name),
        ("kinglet_tool_format", kinglet_tool_format_name),
        ("kinglet_tristate", kinglet_tristate_name),
    ];
    let api = api();
    let sections = api["sections"].as_array().unwrap().iter();
    let mut enumerations = 0;
    for enumeration in sections.flat_map(|section| section["enumerations"].as_array().unwrap()) {
        let of = enumeration["name"].as_str().unwrap();
        let (_, function) = names.iter().find(|(name, _)| *name == of).unwrap_or_else(|| panic!("{of} is not tested"));
        for value in enumeration["values"].as_array().unwrap() {
            assert_eq!(
                name(function(value["value"].as_u64().unwrap() as u32)),
                value["text"].as_str().unwrap(),
                "{of}"
            );
        }
        let count = enumeration["values"].as_array().unwrap().len();
        assert_eq!((name(function(count as u32)), name(function(u32::MAX))), ("unknown", "unknown"), "{of}");
        enumerations += 1;
    }
    assert_eq!(enumerations, 21);
    // The same names as in the command line and in exports.
    for stage in kinglet::Stage::ALL {
        assert_eq!(name(kinglet_stage_name(stage as u32)), stage.name());
    }
    for device in (0..).map_while(kinglet::Device::from_u32) {
        assert_eq!(name(kinglet_device_name(device as u32)), device.name());
    }
    for precision in (0..).map_while(kinglet::Precision::from_u32) {
        assert_eq!(name(kinglet_precision_name(precision as u32)), precision.name());
    }
    for pooling in (1..).map_while(kinglet::Pooling::from_u32) {
        assert_eq!(name(kinglet_pooling_name(pooling as u32)), pooling.name());
    }
    for kind in kinglet::EmbeddingType::ALL {
        assert_eq!(name(kinglet_embedding_type_name(kind as u32)), kind.name());
    }
    for similarity in kinglet::Similarity::ALL {
        assert_eq!(name(kinglet_similarity_name(similarity as u32)), similarity.name());
    }
}

#[test]
fn what_cannot_fail_takes_null() {
    // SAFETY: NULL is allowed.
    unsafe {
        assert_eq!(kinglet_error_status(null()), KINGLET_STATUS_OK);
        assert_eq!(CStr::from_ptr(kinglet_error_message(null())), c"");
        kinglet_error_free(null_mut());
        kinglet_model_free(null_mut());
        kinglet_text_free(null_mut());
        kinglet_encoding_free(null_mut());
        kinglet_embeddings_free(null_mut());
        kinglet_classifications_free(null_mut());
        kinglet_token_classifications_free(null_mut());
        kinglet_hidden_states_free(null_mut());
        kinglet_cancellation_free(null_mut());
        kinglet_generations_free(null_mut());
        kinglet_logits_free(null_mut());
        kinglet_prefix_free(null_mut());
        kinglet_ranking_free(null_mut());
        kinglet_sparse_embeddings_free(null_mut());
        kinglet_mask_fills_free(null_mut());
        kinglet_zero_shot_results_free(null_mut());
        kinglet_session_free(null_mut());
        kinglet_messages_free(null_mut());
        kinglet_devices_free(null_mut());
        kinglet_cancellation_cancel(null_mut());
        kinglet_model_reset_counters(null_mut());
        kinglet_generate_options_init(null_mut(), size_of::<kinglet_generate_options>());
        assert!(kinglet_model_retain(null_mut()).is_null());
        assert_eq!(read(kinglet_text_str(null())), "");
        assert_eq!((kinglet_embeddings_count(null()), kinglet_embeddings_dimension(null())), (0, 0));
        assert!(kinglet_embeddings_vector(null(), 0).is_null());
        assert_eq!(kinglet_classifications_count(null()), 0);
        assert!(kinglet_classifications_scores(null(), 0).is_null());
        assert_eq!(read(kinglet_generations_text(null(), 0)), "");
        assert_eq!((kinglet_messages_count(null()), kinglet_devices_count(null())), (0, 0));
        assert_eq!(read(kinglet_devices_missing(null())), "");
    }
}

#[test]
fn a_cancellation_is_made_and_freed() {
    let cancellation = kinglet_cancellation_new();
    assert!(!cancellation.is_null());
    // SAFETY: a live handle, freed once.
    unsafe {
        kinglet_cancellation_cancel(cancellation);
        kinglet_cancellation_cancel(cancellation);
        kinglet_cancellation_free(cancellation);
    }
}

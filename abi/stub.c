/* Generated from src/ffi by `make header`; do not edit. scripts/check-abi compiles it and compares it with kinglet.abi. */

#include <kinglet.h>

uint32_t kinglet_abi_version(void) { __builtin_trap(); }
void kinglet_abi_v0(void) { __builtin_trap(); }
const char *kinglet_version(void) { __builtin_trap(); }
const char *kinglet_status_name(kinglet_status value) { __builtin_trap(); }
void kinglet_error_free(kinglet_error *error) { __builtin_trap(); }
kinglet_status kinglet_error_status(const kinglet_error *error) { __builtin_trap(); }
const char *kinglet_error_message(const kinglet_error *error) { __builtin_trap(); }
const char *kinglet_tristate_name(kinglet_tristate value) { __builtin_trap(); }
void kinglet_text_free(kinglet_text *text) { __builtin_trap(); }
kinglet_str kinglet_text_str(const kinglet_text *text) { __builtin_trap(); }
void kinglet_cancellation_free(kinglet_cancellation *cancellation) { __builtin_trap(); }
kinglet_cancellation *kinglet_cancellation_new(void) { __builtin_trap(); }
void kinglet_cancellation_cancel(kinglet_cancellation *cancellation) { __builtin_trap(); }
const char *kinglet_device_name(kinglet_device value) { __builtin_trap(); }
const char *kinglet_precision_name(kinglet_precision value) { __builtin_trap(); }
const char *kinglet_log_level_name(kinglet_log_level value) { __builtin_trap(); }
void kinglet_model_free(kinglet_model *model) { __builtin_trap(); }
kinglet_status kinglet_model_load(kinglet_str path, const kinglet_model_options *options, kinglet_model **model, kinglet_error **error) { __builtin_trap(); }
kinglet_model *kinglet_model_retain(kinglet_model *model) { __builtin_trap(); }
kinglet_status kinglet_model_read(const kinglet_model *model, kinglet_model_view *view, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_model_describe(const kinglet_model *model, kinglet_text **text, kinglet_error **error) { __builtin_trap(); }
void kinglet_encoding_free(kinglet_encoding *encoding) { __builtin_trap(); }
kinglet_status kinglet_model_tokenize(const kinglet_model *model, const kinglet_str *texts, const kinglet_str *pairs, size_t count, const kinglet_tokenize_options *options, kinglet_encoding **encoding, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_encoding_read(const kinglet_encoding *encoding, kinglet_encoding_view *view, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_encoding_pad(const kinglet_encoding *encoding, size_t length, uint32_t pad_id, uint32_t *ids, uint32_t *attention_mask, size_t capacity, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_model_detokenize(const kinglet_model *model, const uint32_t *ids, size_t count, const kinglet_detokenize_options *options, kinglet_text **text, kinglet_error **error) { __builtin_trap(); }
const char *kinglet_pooling_name(kinglet_pooling value) { __builtin_trap(); }
void kinglet_embeddings_free(kinglet_embeddings *embeddings) { __builtin_trap(); }
kinglet_status kinglet_model_embed(const kinglet_model *model, const kinglet_str *texts, size_t count, const kinglet_embed_options *options, kinglet_embeddings **embeddings, kinglet_error **error) { __builtin_trap(); }
size_t kinglet_embeddings_count(const kinglet_embeddings *embeddings) { __builtin_trap(); }
size_t kinglet_embeddings_dimension(const kinglet_embeddings *embeddings) { __builtin_trap(); }
const float *kinglet_embeddings_vector(const kinglet_embeddings *embeddings, size_t row) { __builtin_trap(); }
kinglet_status kinglet_embeddings_read(const kinglet_embeddings *embeddings, kinglet_embeddings_view *view, kinglet_error **error) { __builtin_trap(); }
const char *kinglet_score_function_name(kinglet_score_function value) { __builtin_trap(); }
const char *kinglet_aggregation_name(kinglet_aggregation value) { __builtin_trap(); }
void kinglet_classifications_free(kinglet_classifications *classifications) { __builtin_trap(); }
kinglet_status kinglet_model_classify(const kinglet_model *model, const kinglet_str *texts, const kinglet_str *pairs, size_t count, const kinglet_classify_options *options, kinglet_classifications **classifications, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_model_score(const kinglet_model *model, const kinglet_str *queries, const kinglet_str *documents, size_t count, const kinglet_classify_options *options, kinglet_classifications **classifications, kinglet_error **error) { __builtin_trap(); }
size_t kinglet_classifications_count(const kinglet_classifications *classifications) { __builtin_trap(); }
const float *kinglet_classifications_scores(const kinglet_classifications *classifications, size_t index) { __builtin_trap(); }
kinglet_status kinglet_classifications_read(const kinglet_classifications *classifications, kinglet_classifications_view *view, kinglet_error **error) { __builtin_trap(); }
void kinglet_token_classifications_free(kinglet_token_classifications *classifications) { __builtin_trap(); }
kinglet_status kinglet_model_classify_tokens(const kinglet_model *model, const kinglet_str *texts, size_t count, const kinglet_classify_options *options, kinglet_token_classifications **classifications, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_token_classifications_read(const kinglet_token_classifications *classifications, kinglet_token_classifications_view *view, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_token_classifications_entity(const kinglet_token_classifications *classifications, size_t index, kinglet_entity *entity, kinglet_error **error) { __builtin_trap(); }
void kinglet_prefix_free(kinglet_prefix *prefix) { __builtin_trap(); }
kinglet_status kinglet_prefix_new(const kinglet_model *model, kinglet_str text, const kinglet_prefix_options *options, kinglet_prefix **prefix, kinglet_error **error) { __builtin_trap(); }
const char *kinglet_early_stopping_name(kinglet_early_stopping value) { __builtin_trap(); }
const char *kinglet_grammar_kind_name(kinglet_grammar_kind value) { __builtin_trap(); }
const char *kinglet_finish_reason_name(kinglet_finish_reason value) { __builtin_trap(); }
void kinglet_generate_options_init(kinglet_generate_options *options, size_t struct_size) { __builtin_trap(); }
void kinglet_generations_free(kinglet_generations *generations) { __builtin_trap(); }
kinglet_status kinglet_model_generate(const kinglet_model *model, const kinglet_str *texts, size_t count, const kinglet_generate_options *options, kinglet_generations **generations, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_model_generate_ids(const kinglet_model *model, const uint32_t *ids, size_t id_count, const size_t *lengths, size_t count, const kinglet_generate_options *options, kinglet_generations **generations, kinglet_error **error) { __builtin_trap(); }
kinglet_str kinglet_generations_text(const kinglet_generations *generations, size_t index) { __builtin_trap(); }
kinglet_status kinglet_generations_read(const kinglet_generations *generations, kinglet_generations_view *view, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_generations_output(const kinglet_generations *generations, size_t index, size_t sequence, kinglet_generation_output *output, kinglet_error **error) { __builtin_trap(); }
void kinglet_session_free(kinglet_session *session) { __builtin_trap(); }
kinglet_status kinglet_session_new(const kinglet_model *model, const kinglet_session_options *options, kinglet_session **session, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_session_add(kinglet_session *session, const kinglet_message *message, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_session_send(kinglet_session *session, kinglet_str content, const kinglet_generate_options *options, kinglet_generations **generations, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_session_reply(kinglet_session *session, const kinglet_generate_options *options, kinglet_generations **generations, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_session_rewind(kinglet_session *session, size_t count, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_session_read(const kinglet_session *session, kinglet_session_view *view, kinglet_error **error) { __builtin_trap(); }
void kinglet_messages_free(kinglet_messages *messages) { __builtin_trap(); }
kinglet_status kinglet_session_messages(const kinglet_session *session, kinglet_messages **messages, kinglet_error **error) { __builtin_trap(); }
size_t kinglet_messages_count(const kinglet_messages *messages) { __builtin_trap(); }
kinglet_status kinglet_messages_get(const kinglet_messages *messages, size_t index, kinglet_message *message, kinglet_error **error) { __builtin_trap(); }
void kinglet_logits_free(kinglet_logits *logits) { __builtin_trap(); }
kinglet_status kinglet_model_logits(const kinglet_model *model, const uint32_t *ids, size_t id_count, const uint32_t *decoder_ids, size_t decoder_id_count, const kinglet_logits_options *options, kinglet_logits **logits, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_logits_read(const kinglet_logits *logits, kinglet_logits_view *view, kinglet_error **error) { __builtin_trap(); }
void kinglet_hidden_states_free(kinglet_hidden_states *states) { __builtin_trap(); }
kinglet_status kinglet_model_hidden_states(const kinglet_model *model, const uint32_t *ids, const uint32_t *type_ids, size_t id_count, const size_t *lengths, size_t count, const kinglet_hidden_states_options *options, kinglet_hidden_states **states, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_hidden_states_read(const kinglet_hidden_states *states, kinglet_hidden_states_view *view, kinglet_error **error) { __builtin_trap(); }
const char *kinglet_stage_name(kinglet_stage value) { __builtin_trap(); }
kinglet_status kinglet_model_stage(const kinglet_model *model, kinglet_stage stage, kinglet_stage_totals *totals, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_model_latency(const kinglet_model *model, kinglet_latency *latency, kinglet_error **error) { __builtin_trap(); }
void kinglet_model_reset_counters(kinglet_model *model) { __builtin_trap(); }
const char *kinglet_counters_format_name(kinglet_counters_format value) { __builtin_trap(); }
kinglet_status kinglet_model_export_counters(const kinglet_model *model, kinglet_counters_format format, kinglet_text **text, kinglet_error **error) { __builtin_trap(); }
void kinglet_devices_free(kinglet_devices *devices) { __builtin_trap(); }
kinglet_status kinglet_devices_list(const kinglet_devices_options *options, kinglet_devices **devices, kinglet_error **error) { __builtin_trap(); }
size_t kinglet_devices_count(const kinglet_devices *devices) { __builtin_trap(); }
kinglet_str kinglet_devices_missing(const kinglet_devices *devices) { __builtin_trap(); }
kinglet_status kinglet_devices_info(const kinglet_devices *devices, size_t index, kinglet_device_info *info, kinglet_error **error) { __builtin_trap(); }
kinglet_status kinglet_model_quantize(kinglet_str source, kinglet_str destination, kinglet_precision precision, const kinglet_quantize_options *options, kinglet_error **error) { __builtin_trap(); }

enum kinglet_status_values abi_kinglet_status_values;
enum kinglet_tristate_values abi_kinglet_tristate_values;
enum kinglet_device_values abi_kinglet_device_values;
enum kinglet_precision_values abi_kinglet_precision_values;
enum kinglet_log_level_values abi_kinglet_log_level_values;
enum kinglet_pooling_values abi_kinglet_pooling_values;
enum kinglet_score_function_values abi_kinglet_score_function_values;
enum kinglet_aggregation_values abi_kinglet_aggregation_values;
enum kinglet_early_stopping_values abi_kinglet_early_stopping_values;
enum kinglet_grammar_kind_values abi_kinglet_grammar_kind_values;
enum kinglet_finish_reason_values abi_kinglet_finish_reason_values;
enum kinglet_stage_values abi_kinglet_stage_values;
enum kinglet_counters_format_values abi_kinglet_counters_format_values;

enum abi_numbers {
    first_size_of_kinglet_model_options = 112,
    first_size_of_kinglet_model_view = 136,
    value_of_KINGLET_NO_SEQUENCE = KINGLET_NO_SEQUENCE,
    first_size_of_kinglet_tokenize_options = 32,
    first_size_of_kinglet_encoding_view = 104,
    first_size_of_kinglet_detokenize_options = 16,
    first_size_of_kinglet_embed_options = 32,
    first_size_of_kinglet_embeddings_view = 64,
    first_size_of_kinglet_classify_options = 32,
    first_size_of_kinglet_classifications_view = 56,
    first_size_of_kinglet_token_classifications_view = 64,
    first_size_of_kinglet_entity = 56,
    first_size_of_kinglet_prefix_options = 24,
    value_of_KINGLET_UNSET = KINGLET_UNSET,
    first_size_of_kinglet_generate_options = 304,
    first_size_of_kinglet_generations_view = 32,
    first_size_of_kinglet_generation_output = 64,
    first_size_of_kinglet_message = 40,
    first_size_of_kinglet_session_options = 8,
    first_size_of_kinglet_session_view = 24,
    first_size_of_kinglet_logits_options = 24,
    first_size_of_kinglet_logits_view = 32,
    first_size_of_kinglet_hidden_states_options = 16,
    first_size_of_kinglet_hidden_states_view = 48,
    first_size_of_kinglet_stage_totals = 40,
    first_size_of_kinglet_latency = 80,
    first_size_of_kinglet_devices_options = 16,
    first_size_of_kinglet_device_info = 48,
    first_size_of_kinglet_quantize_options = 32,
} abi_numbers;

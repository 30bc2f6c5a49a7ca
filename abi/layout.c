/* Generated from src/ffi by `make header`; do not edit. Compiles, as C11 and as C++, if the compiler lays out each struct as
 * bindings and older programs expect (64-bit machines). */

#include <assert.h>
#include <kinglet.h>
#include <stddef.h>

static_assert(offsetof(kinglet_str, data) == 0, "offset of kinglet_str.data");
static_assert(offsetof(kinglet_str, size) == 8, "offset of kinglet_str.size");
static_assert(sizeof(kinglet_str) == 16, "size of kinglet_str");

static_assert(offsetof(kinglet_ids, data) == 0, "offset of kinglet_ids.data");
static_assert(offsetof(kinglet_ids, count) == 8, "offset of kinglet_ids.count");
static_assert(sizeof(kinglet_ids) == 16, "size of kinglet_ids");

static_assert(offsetof(kinglet_scheduler_options, struct_size) == 0, "offset of kinglet_scheduler_options.struct_size");
static_assert(offsetof(kinglet_scheduler_options, max_tokens) == 8, "offset of kinglet_scheduler_options.max_tokens");
static_assert(offsetof(kinglet_scheduler_options, max_sequences) == 12, "offset of kinglet_scheduler_options.max_sequences");
static_assert(offsetof(kinglet_scheduler_options, max_wait_us) == 16, "offset of kinglet_scheduler_options.max_wait_us");
static_assert(offsetof(kinglet_scheduler_options, queue_length) == 20, "offset of kinglet_scheduler_options.queue_length");
static_assert(offsetof(kinglet_scheduler_options, queue_bytes) == 24, "offset of kinglet_scheduler_options.queue_bytes");
static_assert(offsetof(kinglet_scheduler_options, requests) == 32, "offset of kinglet_scheduler_options.requests");
static_assert(offsetof(kinglet_scheduler_options, reserved) == 36, "offset of kinglet_scheduler_options.reserved");
static_assert(sizeof(kinglet_scheduler_options) == 40, "size of kinglet_scheduler_options");

static_assert(offsetof(kinglet_progress, struct_size) == 0, "offset of kinglet_progress.struct_size");
static_assert(offsetof(kinglet_progress, fraction) == 8, "offset of kinglet_progress.fraction");
static_assert(sizeof(kinglet_progress) == 16, "size of kinglet_progress");

static_assert(offsetof(kinglet_log_record, struct_size) == 0, "offset of kinglet_log_record.struct_size");
static_assert(offsetof(kinglet_log_record, level) == 8, "offset of kinglet_log_record.level");
static_assert(offsetof(kinglet_log_record, reserved) == 12, "offset of kinglet_log_record.reserved");
static_assert(offsetof(kinglet_log_record, message) == 16, "offset of kinglet_log_record.message");
static_assert(sizeof(kinglet_log_record) == 32, "size of kinglet_log_record");

static_assert(offsetof(kinglet_model_options, struct_size) == 0, "offset of kinglet_model_options.struct_size");
static_assert(offsetof(kinglet_model_options, device) == 8, "offset of kinglet_model_options.device");
static_assert(offsetof(kinglet_model_options, device_index) == 12, "offset of kinglet_model_options.device_index");
static_assert(offsetof(kinglet_model_options, precision) == 16, "offset of kinglet_model_options.precision");
static_assert(offsetof(kinglet_model_options, log_level) == 20, "offset of kinglet_model_options.log_level");
static_assert(offsetof(kinglet_model_options, threads) == 24, "offset of kinglet_model_options.threads");
static_assert(offsetof(kinglet_model_options, memory_limit) == 32, "offset of kinglet_model_options.memory_limit");
static_assert(offsetof(kinglet_model_options, answer_cache_bytes) == 40, "offset of kinglet_model_options.answer_cache_bytes");
static_assert(offsetof(kinglet_model_options, onnxruntime) == 48, "offset of kinglet_model_options.onnxruntime");
static_assert(offsetof(kinglet_model_options, cancellation) == 64, "offset of kinglet_model_options.cancellation");
static_assert(offsetof(kinglet_model_options, progress) == 72, "offset of kinglet_model_options.progress");
static_assert(offsetof(kinglet_model_options, progress_user_data) == 80, "offset of kinglet_model_options.progress_user_data");
static_assert(offsetof(kinglet_model_options, log) == 88, "offset of kinglet_model_options.log");
static_assert(offsetof(kinglet_model_options, log_user_data) == 96, "offset of kinglet_model_options.log_user_data");
static_assert(offsetof(kinglet_model_options, log_release) == 104, "offset of kinglet_model_options.log_release");
static_assert(offsetof(kinglet_model_options, map_files) == 112, "offset of kinglet_model_options.map_files");
static_assert(offsetof(kinglet_model_options, reserved) == 116, "offset of kinglet_model_options.reserved");
static_assert(offsetof(kinglet_model_options, scheduler) == 120, "offset of kinglet_model_options.scheduler");
static_assert(offsetof(kinglet_model_options, max_text_bytes) == 128, "offset of kinglet_model_options.max_text_bytes");
static_assert(sizeof(kinglet_model_options) == 136, "size of kinglet_model_options");

static_assert(offsetof(kinglet_model_view, struct_size) == 0, "offset of kinglet_model_view.struct_size");
static_assert(offsetof(kinglet_model_view, path) == 8, "offset of kinglet_model_view.path");
static_assert(offsetof(kinglet_model_view, family) == 24, "offset of kinglet_model_view.family");
static_assert(offsetof(kinglet_model_view, device) == 40, "offset of kinglet_model_view.device");
static_assert(offsetof(kinglet_model_view, device_index) == 44, "offset of kinglet_model_view.device_index");
static_assert(offsetof(kinglet_model_view, precision) == 48, "offset of kinglet_model_view.precision");
static_assert(offsetof(kinglet_model_view, can_generate) == 52, "offset of kinglet_model_view.can_generate");
static_assert(offsetof(kinglet_model_view, can_chat) == 56, "offset of kinglet_model_view.can_chat");
static_assert(offsetof(kinglet_model_view, has_encoder) == 60, "offset of kinglet_model_view.has_encoder");
static_assert(offsetof(kinglet_model_view, threads) == 64, "offset of kinglet_model_view.threads");
static_assert(offsetof(kinglet_model_view, dimension) == 72, "offset of kinglet_model_view.dimension");
static_assert(offsetof(kinglet_model_view, max_length) == 80, "offset of kinglet_model_view.max_length");
static_assert(offsetof(kinglet_model_view, vocabulary_size) == 88, "offset of kinglet_model_view.vocabulary_size");
static_assert(offsetof(kinglet_model_view, labels) == 96, "offset of kinglet_model_view.labels");
static_assert(offsetof(kinglet_model_view, label_count) == 104, "offset of kinglet_model_view.label_count");
static_assert(offsetof(kinglet_model_view, weight_bytes) == 112, "offset of kinglet_model_view.weight_bytes");
static_assert(offsetof(kinglet_model_view, cache_bytes) == 120, "offset of kinglet_model_view.cache_bytes");
static_assert(offsetof(kinglet_model_view, device_bytes) == 128, "offset of kinglet_model_view.device_bytes");
static_assert(offsetof(kinglet_model_view, embedding_dimension) == 136, "offset of kinglet_model_view.embedding_dimension");
static_assert(sizeof(kinglet_model_view) == 144, "size of kinglet_model_view");

static_assert(offsetof(kinglet_tokenize_options, struct_size) == 0, "offset of kinglet_tokenize_options.struct_size");
static_assert(offsetof(kinglet_tokenize_options, add_special_tokens) == 8, "offset of kinglet_tokenize_options.add_special_tokens");
static_assert(offsetof(kinglet_tokenize_options, offsets) == 12, "offset of kinglet_tokenize_options.offsets");
static_assert(offsetof(kinglet_tokenize_options, max_length) == 16, "offset of kinglet_tokenize_options.max_length");
static_assert(offsetof(kinglet_tokenize_options, cancellation) == 24, "offset of kinglet_tokenize_options.cancellation");
static_assert(sizeof(kinglet_tokenize_options) == 32, "size of kinglet_tokenize_options");

static_assert(offsetof(kinglet_span, start) == 0, "offset of kinglet_span.start");
static_assert(offsetof(kinglet_span, end) == 8, "offset of kinglet_span.end");
static_assert(sizeof(kinglet_span) == 16, "size of kinglet_span");

static_assert(offsetof(kinglet_encoding_view, struct_size) == 0, "offset of kinglet_encoding_view.struct_size");
static_assert(offsetof(kinglet_encoding_view, count) == 8, "offset of kinglet_encoding_view.count");
static_assert(offsetof(kinglet_encoding_view, token_count) == 16, "offset of kinglet_encoding_view.token_count");
static_assert(offsetof(kinglet_encoding_view, longest) == 24, "offset of kinglet_encoding_view.longest");
static_assert(offsetof(kinglet_encoding_view, starts) == 32, "offset of kinglet_encoding_view.starts");
static_assert(offsetof(kinglet_encoding_view, lengths) == 40, "offset of kinglet_encoding_view.lengths");
static_assert(offsetof(kinglet_encoding_view, ids) == 48, "offset of kinglet_encoding_view.ids");
static_assert(offsetof(kinglet_encoding_view, type_ids) == 56, "offset of kinglet_encoding_view.type_ids");
static_assert(offsetof(kinglet_encoding_view, special_tokens_mask) == 64, "offset of kinglet_encoding_view.special_tokens_mask");
static_assert(offsetof(kinglet_encoding_view, sequences) == 72, "offset of kinglet_encoding_view.sequences");
static_assert(offsetof(kinglet_encoding_view, offsets) == 80, "offset of kinglet_encoding_view.offsets");
static_assert(offsetof(kinglet_encoding_view, truncated) == 88, "offset of kinglet_encoding_view.truncated");
static_assert(offsetof(kinglet_encoding_view, pad_id) == 96, "offset of kinglet_encoding_view.pad_id");
static_assert(offsetof(kinglet_encoding_view, reserved) == 100, "offset of kinglet_encoding_view.reserved");
static_assert(sizeof(kinglet_encoding_view) == 104, "size of kinglet_encoding_view");

static_assert(offsetof(kinglet_detokenize_options, struct_size) == 0, "offset of kinglet_detokenize_options.struct_size");
static_assert(offsetof(kinglet_detokenize_options, skip_special_tokens) == 8, "offset of kinglet_detokenize_options.skip_special_tokens");
static_assert(offsetof(kinglet_detokenize_options, reserved) == 12, "offset of kinglet_detokenize_options.reserved");
static_assert(sizeof(kinglet_detokenize_options) == 16, "size of kinglet_detokenize_options");

static_assert(offsetof(kinglet_embed_options, struct_size) == 0, "offset of kinglet_embed_options.struct_size");
static_assert(offsetof(kinglet_embed_options, pooling) == 8, "offset of kinglet_embed_options.pooling");
static_assert(offsetof(kinglet_embed_options, normalize) == 12, "offset of kinglet_embed_options.normalize");
static_assert(offsetof(kinglet_embed_options, max_length) == 16, "offset of kinglet_embed_options.max_length");
static_assert(offsetof(kinglet_embed_options, cancellation) == 24, "offset of kinglet_embed_options.cancellation");
static_assert(offsetof(kinglet_embed_options, prompt_name) == 32, "offset of kinglet_embed_options.prompt_name");
static_assert(offsetof(kinglet_embed_options, prompt) == 48, "offset of kinglet_embed_options.prompt");
static_assert(offsetof(kinglet_embed_options, truncate_dim) == 64, "offset of kinglet_embed_options.truncate_dim");
static_assert(offsetof(kinglet_embed_options, priority) == 72, "offset of kinglet_embed_options.priority");
static_assert(offsetof(kinglet_embed_options, deadline_ms) == 76, "offset of kinglet_embed_options.deadline_ms");
static_assert(sizeof(kinglet_embed_options) == 80, "size of kinglet_embed_options");

static_assert(offsetof(kinglet_embeddings_view, struct_size) == 0, "offset of kinglet_embeddings_view.struct_size");
static_assert(offsetof(kinglet_embeddings_view, count) == 8, "offset of kinglet_embeddings_view.count");
static_assert(offsetof(kinglet_embeddings_view, dimension) == 16, "offset of kinglet_embeddings_view.dimension");
static_assert(offsetof(kinglet_embeddings_view, row_count) == 24, "offset of kinglet_embeddings_view.row_count");
static_assert(offsetof(kinglet_embeddings_view, values) == 32, "offset of kinglet_embeddings_view.values");
static_assert(offsetof(kinglet_embeddings_view, starts) == 40, "offset of kinglet_embeddings_view.starts");
static_assert(offsetof(kinglet_embeddings_view, token_counts) == 48, "offset of kinglet_embeddings_view.token_counts");
static_assert(offsetof(kinglet_embeddings_view, truncated) == 56, "offset of kinglet_embeddings_view.truncated");
static_assert(sizeof(kinglet_embeddings_view) == 64, "size of kinglet_embeddings_view");

static_assert(offsetof(kinglet_sparse_options, struct_size) == 0, "offset of kinglet_sparse_options.struct_size");
static_assert(offsetof(kinglet_sparse_options, max_active_dims) == 8, "offset of kinglet_sparse_options.max_active_dims");
static_assert(offsetof(kinglet_sparse_options, max_length) == 16, "offset of kinglet_sparse_options.max_length");
static_assert(offsetof(kinglet_sparse_options, cancellation) == 24, "offset of kinglet_sparse_options.cancellation");
static_assert(offsetof(kinglet_sparse_options, prompt_name) == 32, "offset of kinglet_sparse_options.prompt_name");
static_assert(offsetof(kinglet_sparse_options, prompt) == 48, "offset of kinglet_sparse_options.prompt");
static_assert(offsetof(kinglet_sparse_options, priority) == 64, "offset of kinglet_sparse_options.priority");
static_assert(offsetof(kinglet_sparse_options, deadline_ms) == 68, "offset of kinglet_sparse_options.deadline_ms");
static_assert(sizeof(kinglet_sparse_options) == 72, "size of kinglet_sparse_options");

static_assert(offsetof(kinglet_sparse_embeddings_view, struct_size) == 0, "offset of kinglet_sparse_embeddings_view.struct_size");
static_assert(offsetof(kinglet_sparse_embeddings_view, count) == 8, "offset of kinglet_sparse_embeddings_view.count");
static_assert(offsetof(kinglet_sparse_embeddings_view, dimension) == 16, "offset of kinglet_sparse_embeddings_view.dimension");
static_assert(offsetof(kinglet_sparse_embeddings_view, starts) == 24, "offset of kinglet_sparse_embeddings_view.starts");
static_assert(offsetof(kinglet_sparse_embeddings_view, indices) == 32, "offset of kinglet_sparse_embeddings_view.indices");
static_assert(offsetof(kinglet_sparse_embeddings_view, weights) == 40, "offset of kinglet_sparse_embeddings_view.weights");
static_assert(offsetof(kinglet_sparse_embeddings_view, token_counts) == 48, "offset of kinglet_sparse_embeddings_view.token_counts");
static_assert(offsetof(kinglet_sparse_embeddings_view, truncated) == 56, "offset of kinglet_sparse_embeddings_view.truncated");
static_assert(sizeof(kinglet_sparse_embeddings_view) == 64, "size of kinglet_sparse_embeddings_view");

static_assert(offsetof(kinglet_arrow_texts, struct_size) == 0, "offset of kinglet_arrow_texts.struct_size");
static_assert(offsetof(kinglet_arrow_texts, count) == 8, "offset of kinglet_arrow_texts.count");
static_assert(offsetof(kinglet_arrow_texts, first) == 16, "offset of kinglet_arrow_texts.first");
static_assert(offsetof(kinglet_arrow_texts, offsets) == 24, "offset of kinglet_arrow_texts.offsets");
static_assert(offsetof(kinglet_arrow_texts, offset_bits) == 32, "offset of kinglet_arrow_texts.offset_bits");
static_assert(offsetof(kinglet_arrow_texts, reserved) == 36, "offset of kinglet_arrow_texts.reserved");
static_assert(offsetof(kinglet_arrow_texts, data) == 40, "offset of kinglet_arrow_texts.data");
static_assert(offsetof(kinglet_arrow_texts, data_size) == 48, "offset of kinglet_arrow_texts.data_size");
static_assert(offsetof(kinglet_arrow_texts, validity) == 56, "offset of kinglet_arrow_texts.validity");
static_assert(sizeof(kinglet_arrow_texts) == 64, "size of kinglet_arrow_texts");

static_assert(offsetof(kinglet_embedding_buffer, struct_size) == 0, "offset of kinglet_embedding_buffer.struct_size");
static_assert(offsetof(kinglet_embedding_buffer, dimension) == 8, "offset of kinglet_embedding_buffer.dimension");
static_assert(offsetof(kinglet_embedding_buffer, values) == 16, "offset of kinglet_embedding_buffer.values");
static_assert(offsetof(kinglet_embedding_buffer, capacity) == 24, "offset of kinglet_embedding_buffer.capacity");
static_assert(offsetof(kinglet_embedding_buffer, stride) == 32, "offset of kinglet_embedding_buffer.stride");
static_assert(offsetof(kinglet_embedding_buffer, token_counts) == 40, "offset of kinglet_embedding_buffer.token_counts");
static_assert(offsetof(kinglet_embedding_buffer, truncated) == 48, "offset of kinglet_embedding_buffer.truncated");
static_assert(sizeof(kinglet_embedding_buffer) == 56, "size of kinglet_embedding_buffer");

static_assert(offsetof(kinglet_embedding_rows, struct_size) == 0, "offset of kinglet_embedding_rows.struct_size");
static_assert(offsetof(kinglet_embedding_rows, kind) == 8, "offset of kinglet_embedding_rows.kind");
static_assert(offsetof(kinglet_embedding_rows, reserved) == 12, "offset of kinglet_embedding_rows.reserved");
static_assert(offsetof(kinglet_embedding_rows, data) == 16, "offset of kinglet_embedding_rows.data");
static_assert(offsetof(kinglet_embedding_rows, count) == 24, "offset of kinglet_embedding_rows.count");
static_assert(offsetof(kinglet_embedding_rows, dimension) == 32, "offset of kinglet_embedding_rows.dimension");
static_assert(offsetof(kinglet_embedding_rows, stride) == 40, "offset of kinglet_embedding_rows.stride");
static_assert(sizeof(kinglet_embedding_rows) == 48, "size of kinglet_embedding_rows");

static_assert(offsetof(kinglet_embedding_codes, struct_size) == 0, "offset of kinglet_embedding_codes.struct_size");
static_assert(offsetof(kinglet_embedding_codes, kind) == 8, "offset of kinglet_embedding_codes.kind");
static_assert(offsetof(kinglet_embedding_codes, reserved) == 12, "offset of kinglet_embedding_codes.reserved");
static_assert(offsetof(kinglet_embedding_codes, data) == 16, "offset of kinglet_embedding_codes.data");
static_assert(offsetof(kinglet_embedding_codes, capacity) == 24, "offset of kinglet_embedding_codes.capacity");
static_assert(offsetof(kinglet_embedding_codes, stride) == 32, "offset of kinglet_embedding_codes.stride");
static_assert(sizeof(kinglet_embedding_codes) == 40, "size of kinglet_embedding_codes");

static_assert(offsetof(kinglet_quantize_embeddings_options, struct_size) == 0, "offset of kinglet_quantize_embeddings_options.struct_size");
static_assert(offsetof(kinglet_quantize_embeddings_options, ranges) == 8, "offset of kinglet_quantize_embeddings_options.ranges");
static_assert(sizeof(kinglet_quantize_embeddings_options) == 16, "size of kinglet_quantize_embeddings_options");

static_assert(offsetof(kinglet_search_options, struct_size) == 0, "offset of kinglet_search_options.struct_size");
static_assert(offsetof(kinglet_search_options, top_k) == 8, "offset of kinglet_search_options.top_k");
static_assert(offsetof(kinglet_search_options, similarity) == 16, "offset of kinglet_search_options.similarity");
static_assert(offsetof(kinglet_search_options, threads) == 20, "offset of kinglet_search_options.threads");
static_assert(offsetof(kinglet_search_options, cancellation) == 24, "offset of kinglet_search_options.cancellation");
static_assert(offsetof(kinglet_search_options, ranges) == 32, "offset of kinglet_search_options.ranges");
static_assert(offsetof(kinglet_search_options, rescore_multiplier) == 40, "offset of kinglet_search_options.rescore_multiplier");
static_assert(sizeof(kinglet_search_options) == 48, "size of kinglet_search_options");

static_assert(offsetof(kinglet_search_buffer, struct_size) == 0, "offset of kinglet_search_buffer.struct_size");
static_assert(offsetof(kinglet_search_buffer, indices) == 8, "offset of kinglet_search_buffer.indices");
static_assert(offsetof(kinglet_search_buffer, scores) == 16, "offset of kinglet_search_buffer.scores");
static_assert(offsetof(kinglet_search_buffer, capacity) == 24, "offset of kinglet_search_buffer.capacity");
static_assert(sizeof(kinglet_search_buffer) == 32, "size of kinglet_search_buffer");

static_assert(offsetof(kinglet_classify_options, struct_size) == 0, "offset of kinglet_classify_options.struct_size");
static_assert(offsetof(kinglet_classify_options, function) == 8, "offset of kinglet_classify_options.function");
static_assert(offsetof(kinglet_classify_options, aggregation) == 12, "offset of kinglet_classify_options.aggregation");
static_assert(offsetof(kinglet_classify_options, max_length) == 16, "offset of kinglet_classify_options.max_length");
static_assert(offsetof(kinglet_classify_options, cancellation) == 24, "offset of kinglet_classify_options.cancellation");
static_assert(offsetof(kinglet_classify_options, prompt_name) == 32, "offset of kinglet_classify_options.prompt_name");
static_assert(offsetof(kinglet_classify_options, prompt) == 48, "offset of kinglet_classify_options.prompt");
static_assert(offsetof(kinglet_classify_options, priority) == 64, "offset of kinglet_classify_options.priority");
static_assert(offsetof(kinglet_classify_options, deadline_ms) == 68, "offset of kinglet_classify_options.deadline_ms");
static_assert(sizeof(kinglet_classify_options) == 72, "size of kinglet_classify_options");

static_assert(offsetof(kinglet_classifications_view, struct_size) == 0, "offset of kinglet_classifications_view.struct_size");
static_assert(offsetof(kinglet_classifications_view, count) == 8, "offset of kinglet_classifications_view.count");
static_assert(offsetof(kinglet_classifications_view, label_count) == 16, "offset of kinglet_classifications_view.label_count");
static_assert(offsetof(kinglet_classifications_view, scores) == 24, "offset of kinglet_classifications_view.scores");
static_assert(offsetof(kinglet_classifications_view, best) == 32, "offset of kinglet_classifications_view.best");
static_assert(offsetof(kinglet_classifications_view, token_counts) == 40, "offset of kinglet_classifications_view.token_counts");
static_assert(offsetof(kinglet_classifications_view, truncated) == 48, "offset of kinglet_classifications_view.truncated");
static_assert(sizeof(kinglet_classifications_view) == 56, "size of kinglet_classifications_view");

static_assert(offsetof(kinglet_rerank_options, struct_size) == 0, "offset of kinglet_rerank_options.struct_size");
static_assert(offsetof(kinglet_rerank_options, top_n) == 8, "offset of kinglet_rerank_options.top_n");
static_assert(offsetof(kinglet_rerank_options, scoring) == 16, "offset of kinglet_rerank_options.scoring");
static_assert(sizeof(kinglet_rerank_options) == 24, "size of kinglet_rerank_options");

static_assert(offsetof(kinglet_ranking_view, struct_size) == 0, "offset of kinglet_ranking_view.struct_size");
static_assert(offsetof(kinglet_ranking_view, count) == 8, "offset of kinglet_ranking_view.count");
static_assert(offsetof(kinglet_ranking_view, indices) == 16, "offset of kinglet_ranking_view.indices");
static_assert(offsetof(kinglet_ranking_view, scores) == 24, "offset of kinglet_ranking_view.scores");
static_assert(offsetof(kinglet_ranking_view, document_count) == 32, "offset of kinglet_ranking_view.document_count");
static_assert(offsetof(kinglet_ranking_view, token_counts) == 40, "offset of kinglet_ranking_view.token_counts");
static_assert(offsetof(kinglet_ranking_view, truncated) == 48, "offset of kinglet_ranking_view.truncated");
static_assert(sizeof(kinglet_ranking_view) == 56, "size of kinglet_ranking_view");

static_assert(offsetof(kinglet_token_classifications_view, struct_size) == 0, "offset of kinglet_token_classifications_view.struct_size");
static_assert(offsetof(kinglet_token_classifications_view, count) == 8, "offset of kinglet_token_classifications_view.count");
static_assert(offsetof(kinglet_token_classifications_view, entity_count) == 16, "offset of kinglet_token_classifications_view.entity_count");
static_assert(offsetof(kinglet_token_classifications_view, token_count) == 24, "offset of kinglet_token_classifications_view.token_count");
static_assert(offsetof(kinglet_token_classifications_view, label_count) == 32, "offset of kinglet_token_classifications_view.label_count");
static_assert(offsetof(kinglet_token_classifications_view, scores) == 40, "offset of kinglet_token_classifications_view.scores");
static_assert(offsetof(kinglet_token_classifications_view, starts) == 48, "offset of kinglet_token_classifications_view.starts");
static_assert(offsetof(kinglet_token_classifications_view, truncated) == 56, "offset of kinglet_token_classifications_view.truncated");
static_assert(sizeof(kinglet_token_classifications_view) == 64, "size of kinglet_token_classifications_view");

static_assert(offsetof(kinglet_entity, struct_size) == 0, "offset of kinglet_entity.struct_size");
static_assert(offsetof(kinglet_entity, text) == 8, "offset of kinglet_entity.text");
static_assert(offsetof(kinglet_entity, start) == 16, "offset of kinglet_entity.start");
static_assert(offsetof(kinglet_entity, end) == 24, "offset of kinglet_entity.end");
static_assert(offsetof(kinglet_entity, name) == 32, "offset of kinglet_entity.name");
static_assert(offsetof(kinglet_entity, label) == 48, "offset of kinglet_entity.label");
static_assert(offsetof(kinglet_entity, score) == 52, "offset of kinglet_entity.score");
static_assert(sizeof(kinglet_entity) == 56, "size of kinglet_entity");

static_assert(offsetof(kinglet_zero_shot_options, struct_size) == 0, "offset of kinglet_zero_shot_options.struct_size");
static_assert(offsetof(kinglet_zero_shot_options, hypothesis_template) == 8, "offset of kinglet_zero_shot_options.hypothesis_template");
static_assert(offsetof(kinglet_zero_shot_options, max_length) == 24, "offset of kinglet_zero_shot_options.max_length");
static_assert(offsetof(kinglet_zero_shot_options, cancellation) == 32, "offset of kinglet_zero_shot_options.cancellation");
static_assert(offsetof(kinglet_zero_shot_options, multi_label) == 40, "offset of kinglet_zero_shot_options.multi_label");
static_assert(offsetof(kinglet_zero_shot_options, reserved) == 44, "offset of kinglet_zero_shot_options.reserved");
static_assert(offsetof(kinglet_zero_shot_options, priority) == 48, "offset of kinglet_zero_shot_options.priority");
static_assert(offsetof(kinglet_zero_shot_options, deadline_ms) == 52, "offset of kinglet_zero_shot_options.deadline_ms");
static_assert(sizeof(kinglet_zero_shot_options) == 56, "size of kinglet_zero_shot_options");

static_assert(offsetof(kinglet_zero_shot_results_view, struct_size) == 0, "offset of kinglet_zero_shot_results_view.struct_size");
static_assert(offsetof(kinglet_zero_shot_results_view, count) == 8, "offset of kinglet_zero_shot_results_view.count");
static_assert(offsetof(kinglet_zero_shot_results_view, label_count) == 16, "offset of kinglet_zero_shot_results_view.label_count");
static_assert(offsetof(kinglet_zero_shot_results_view, labels) == 24, "offset of kinglet_zero_shot_results_view.labels");
static_assert(offsetof(kinglet_zero_shot_results_view, scores) == 32, "offset of kinglet_zero_shot_results_view.scores");
static_assert(offsetof(kinglet_zero_shot_results_view, token_counts) == 40, "offset of kinglet_zero_shot_results_view.token_counts");
static_assert(offsetof(kinglet_zero_shot_results_view, truncated) == 48, "offset of kinglet_zero_shot_results_view.truncated");
static_assert(sizeof(kinglet_zero_shot_results_view) == 56, "size of kinglet_zero_shot_results_view");

static_assert(offsetof(kinglet_fill_mask_options, struct_size) == 0, "offset of kinglet_fill_mask_options.struct_size");
static_assert(offsetof(kinglet_fill_mask_options, top_k) == 8, "offset of kinglet_fill_mask_options.top_k");
static_assert(offsetof(kinglet_fill_mask_options, targets) == 16, "offset of kinglet_fill_mask_options.targets");
static_assert(offsetof(kinglet_fill_mask_options, target_count) == 24, "offset of kinglet_fill_mask_options.target_count");
static_assert(offsetof(kinglet_fill_mask_options, max_length) == 32, "offset of kinglet_fill_mask_options.max_length");
static_assert(offsetof(kinglet_fill_mask_options, cancellation) == 40, "offset of kinglet_fill_mask_options.cancellation");
static_assert(offsetof(kinglet_fill_mask_options, priority) == 48, "offset of kinglet_fill_mask_options.priority");
static_assert(offsetof(kinglet_fill_mask_options, deadline_ms) == 52, "offset of kinglet_fill_mask_options.deadline_ms");
static_assert(sizeof(kinglet_fill_mask_options) == 56, "size of kinglet_fill_mask_options");

static_assert(offsetof(kinglet_mask_fills_view, struct_size) == 0, "offset of kinglet_mask_fills_view.struct_size");
static_assert(offsetof(kinglet_mask_fills_view, count) == 8, "offset of kinglet_mask_fills_view.count");
static_assert(offsetof(kinglet_mask_fills_view, mask_count) == 16, "offset of kinglet_mask_fills_view.mask_count");
static_assert(offsetof(kinglet_mask_fills_view, top_k) == 24, "offset of kinglet_mask_fills_view.top_k");
static_assert(offsetof(kinglet_mask_fills_view, starts) == 32, "offset of kinglet_mask_fills_view.starts");
static_assert(offsetof(kinglet_mask_fills_view, token_counts) == 40, "offset of kinglet_mask_fills_view.token_counts");
static_assert(offsetof(kinglet_mask_fills_view, truncated) == 48, "offset of kinglet_mask_fills_view.truncated");
static_assert(sizeof(kinglet_mask_fills_view) == 56, "size of kinglet_mask_fills_view");

static_assert(offsetof(kinglet_mask_fill, struct_size) == 0, "offset of kinglet_mask_fill.struct_size");
static_assert(offsetof(kinglet_mask_fill, token) == 8, "offset of kinglet_mask_fill.token");
static_assert(offsetof(kinglet_mask_fill, score) == 12, "offset of kinglet_mask_fill.score");
static_assert(offsetof(kinglet_mask_fill, token_text) == 16, "offset of kinglet_mask_fill.token_text");
static_assert(offsetof(kinglet_mask_fill, sequence) == 32, "offset of kinglet_mask_fill.sequence");
static_assert(sizeof(kinglet_mask_fill) == 48, "size of kinglet_mask_fill");

static_assert(offsetof(kinglet_compress_options, struct_size) == 0, "offset of kinglet_compress_options.struct_size");
static_assert(offsetof(kinglet_compress_options, ratio) == 8, "offset of kinglet_compress_options.ratio");
static_assert(offsetof(kinglet_compress_options, max_tokens) == 16, "offset of kinglet_compress_options.max_tokens");
static_assert(offsetof(kinglet_compress_options, method) == 24, "offset of kinglet_compress_options.method");
static_assert(offsetof(kinglet_compress_options, unit) == 28, "offset of kinglet_compress_options.unit");
static_assert(offsetof(kinglet_compress_options, query) == 32, "offset of kinglet_compress_options.query");
static_assert(offsetof(kinglet_compress_options, keep_label) == 48, "offset of kinglet_compress_options.keep_label");
static_assert(offsetof(kinglet_compress_options, window) == 64, "offset of kinglet_compress_options.window");
static_assert(offsetof(kinglet_compress_options, overlap) == 72, "offset of kinglet_compress_options.overlap");
static_assert(offsetof(kinglet_compress_options, relevance) == 80, "offset of kinglet_compress_options.relevance");
static_assert(offsetof(kinglet_compress_options, force_digits) == 84, "offset of kinglet_compress_options.force_digits");
static_assert(offsetof(kinglet_compress_options, force_capitalized) == 88, "offset of kinglet_compress_options.force_capitalized");
static_assert(offsetof(kinglet_compress_options, reserved) == 92, "offset of kinglet_compress_options.reserved");
static_assert(offsetof(kinglet_compress_options, force_tokens) == 96, "offset of kinglet_compress_options.force_tokens");
static_assert(offsetof(kinglet_compress_options, force_token_count) == 104, "offset of kinglet_compress_options.force_token_count");
static_assert(offsetof(kinglet_compress_options, cancellation) == 112, "offset of kinglet_compress_options.cancellation");
static_assert(offsetof(kinglet_compress_options, priority) == 120, "offset of kinglet_compress_options.priority");
static_assert(offsetof(kinglet_compress_options, deadline_ms) == 124, "offset of kinglet_compress_options.deadline_ms");
static_assert(sizeof(kinglet_compress_options) == 128, "size of kinglet_compress_options");

static_assert(offsetof(kinglet_compression_view, struct_size) == 0, "offset of kinglet_compression_view.struct_size");
static_assert(offsetof(kinglet_compression_view, text) == 8, "offset of kinglet_compression_view.text");
static_assert(offsetof(kinglet_compression_view, kept) == 24, "offset of kinglet_compression_view.kept");
static_assert(offsetof(kinglet_compression_view, kept_count) == 32, "offset of kinglet_compression_view.kept_count");
static_assert(offsetof(kinglet_compression_view, tokens_before) == 40, "offset of kinglet_compression_view.tokens_before");
static_assert(offsetof(kinglet_compression_view, tokens_after) == 48, "offset of kinglet_compression_view.tokens_after");
static_assert(offsetof(kinglet_compression_view, windows) == 56, "offset of kinglet_compression_view.windows");
static_assert(offsetof(kinglet_compression_view, method) == 64, "offset of kinglet_compression_view.method");
static_assert(offsetof(kinglet_compression_view, reserved) == 68, "offset of kinglet_compression_view.reserved");
static_assert(sizeof(kinglet_compression_view) == 72, "size of kinglet_compression_view");

static_assert(offsetof(kinglet_prefix_options, struct_size) == 0, "offset of kinglet_prefix_options.struct_size");
static_assert(offsetof(kinglet_prefix_options, add_special_tokens) == 8, "offset of kinglet_prefix_options.add_special_tokens");
static_assert(offsetof(kinglet_prefix_options, reserved) == 12, "offset of kinglet_prefix_options.reserved");
static_assert(offsetof(kinglet_prefix_options, cancellation) == 16, "offset of kinglet_prefix_options.cancellation");
static_assert(sizeof(kinglet_prefix_options) == 24, "size of kinglet_prefix_options");

static_assert(offsetof(kinglet_generation_piece, struct_size) == 0, "offset of kinglet_generation_piece.struct_size");
static_assert(offsetof(kinglet_generation_piece, index) == 8, "offset of kinglet_generation_piece.index");
static_assert(offsetof(kinglet_generation_piece, sequence) == 16, "offset of kinglet_generation_piece.sequence");
static_assert(offsetof(kinglet_generation_piece, text) == 24, "offset of kinglet_generation_piece.text");
static_assert(offsetof(kinglet_generation_piece, token) == 40, "offset of kinglet_generation_piece.token");
static_assert(offsetof(kinglet_generation_piece, finish_reason) == 44, "offset of kinglet_generation_piece.finish_reason");
static_assert(sizeof(kinglet_generation_piece) == 48, "size of kinglet_generation_piece");

static_assert(offsetof(kinglet_generate_options, struct_size) == 0, "offset of kinglet_generate_options.struct_size");
static_assert(offsetof(kinglet_generate_options, max_new_tokens) == 8, "offset of kinglet_generate_options.max_new_tokens");
static_assert(offsetof(kinglet_generate_options, min_new_tokens) == 16, "offset of kinglet_generate_options.min_new_tokens");
static_assert(offsetof(kinglet_generate_options, num_beams) == 24, "offset of kinglet_generate_options.num_beams");
static_assert(offsetof(kinglet_generate_options, num_return_sequences) == 32, "offset of kinglet_generate_options.num_return_sequences");
static_assert(offsetof(kinglet_generate_options, prompt_lookup_num_tokens) == 40, "offset of kinglet_generate_options.prompt_lookup_num_tokens");
static_assert(offsetof(kinglet_generate_options, max_matching_ngram_size) == 48, "offset of kinglet_generate_options.max_matching_ngram_size");
static_assert(offsetof(kinglet_generate_options, no_repeat_ngram_size) == 56, "offset of kinglet_generate_options.no_repeat_ngram_size");
static_assert(offsetof(kinglet_generate_options, top_k) == 64, "offset of kinglet_generate_options.top_k");
static_assert(offsetof(kinglet_generate_options, seed) == 72, "offset of kinglet_generate_options.seed");
static_assert(offsetof(kinglet_generate_options, has_seed) == 80, "offset of kinglet_generate_options.has_seed");
static_assert(offsetof(kinglet_generate_options, do_sample) == 84, "offset of kinglet_generate_options.do_sample");
static_assert(offsetof(kinglet_generate_options, temperature) == 88, "offset of kinglet_generate_options.temperature");
static_assert(offsetof(kinglet_generate_options, top_p) == 92, "offset of kinglet_generate_options.top_p");
static_assert(offsetof(kinglet_generate_options, min_p) == 96, "offset of kinglet_generate_options.min_p");
static_assert(offsetof(kinglet_generate_options, typical_p) == 100, "offset of kinglet_generate_options.typical_p");
static_assert(offsetof(kinglet_generate_options, repetition_penalty) == 104, "offset of kinglet_generate_options.repetition_penalty");
static_assert(offsetof(kinglet_generate_options, presence_penalty) == 108, "offset of kinglet_generate_options.presence_penalty");
static_assert(offsetof(kinglet_generate_options, frequency_penalty) == 112, "offset of kinglet_generate_options.frequency_penalty");
static_assert(offsetof(kinglet_generate_options, length_penalty) == 116, "offset of kinglet_generate_options.length_penalty");
static_assert(offsetof(kinglet_generate_options, early_stopping) == 120, "offset of kinglet_generate_options.early_stopping");
static_assert(offsetof(kinglet_generate_options, ignore_eos) == 124, "offset of kinglet_generate_options.ignore_eos");
static_assert(offsetof(kinglet_generate_options, logprobs) == 128, "offset of kinglet_generate_options.logprobs");
static_assert(offsetof(kinglet_generate_options, add_special_tokens) == 132, "offset of kinglet_generate_options.add_special_tokens");
static_assert(offsetof(kinglet_generate_options, skip_special_tokens) == 136, "offset of kinglet_generate_options.skip_special_tokens");
static_assert(offsetof(kinglet_generate_options, grammar_kind) == 140, "offset of kinglet_generate_options.grammar_kind");
static_assert(offsetof(kinglet_generate_options, grammar) == 144, "offset of kinglet_generate_options.grammar");
static_assert(offsetof(kinglet_generate_options, stop_strings) == 160, "offset of kinglet_generate_options.stop_strings");
static_assert(offsetof(kinglet_generate_options, stop_string_count) == 168, "offset of kinglet_generate_options.stop_string_count");
static_assert(offsetof(kinglet_generate_options, bad_words_ids) == 176, "offset of kinglet_generate_options.bad_words_ids");
static_assert(offsetof(kinglet_generate_options, bad_word_count) == 184, "offset of kinglet_generate_options.bad_word_count");
static_assert(offsetof(kinglet_generate_options, suppress_tokens) == 192, "offset of kinglet_generate_options.suppress_tokens");
static_assert(offsetof(kinglet_generate_options, begin_suppress_tokens) == 208, "offset of kinglet_generate_options.begin_suppress_tokens");
static_assert(offsetof(kinglet_generate_options, eos_token_ids) == 224, "offset of kinglet_generate_options.eos_token_ids");
static_assert(offsetof(kinglet_generate_options, forced_eos_token_ids) == 240, "offset of kinglet_generate_options.forced_eos_token_ids");
static_assert(offsetof(kinglet_generate_options, forced_bos_token_id) == 256, "offset of kinglet_generate_options.forced_bos_token_id");
static_assert(offsetof(kinglet_generate_options, decoder_start_token_id) == 264, "offset of kinglet_generate_options.decoder_start_token_id");
static_assert(offsetof(kinglet_generate_options, prefix) == 272, "offset of kinglet_generate_options.prefix");
static_assert(offsetof(kinglet_generate_options, cancellation) == 280, "offset of kinglet_generate_options.cancellation");
static_assert(offsetof(kinglet_generate_options, on_piece) == 288, "offset of kinglet_generate_options.on_piece");
static_assert(offsetof(kinglet_generate_options, on_piece_user_data) == 296, "offset of kinglet_generate_options.on_piece_user_data");
static_assert(offsetof(kinglet_generate_options, encoder_no_repeat_ngram_size) == 304, "offset of kinglet_generate_options.encoder_no_repeat_ngram_size");
static_assert(offsetof(kinglet_generate_options, exponential_decay_start) == 312, "offset of kinglet_generate_options.exponential_decay_start");
static_assert(offsetof(kinglet_generate_options, exponential_decay_factor) == 320, "offset of kinglet_generate_options.exponential_decay_factor");
static_assert(offsetof(kinglet_generate_options, encoder_repetition_penalty) == 324, "offset of kinglet_generate_options.encoder_repetition_penalty");
static_assert(offsetof(kinglet_generate_options, sequence_bias_ids) == 328, "offset of kinglet_generate_options.sequence_bias_ids");
static_assert(offsetof(kinglet_generate_options, sequence_bias) == 336, "offset of kinglet_generate_options.sequence_bias");
static_assert(offsetof(kinglet_generate_options, sequence_bias_count) == 344, "offset of kinglet_generate_options.sequence_bias_count");
static_assert(offsetof(kinglet_generate_options, decoder_input_ids) == 352, "offset of kinglet_generate_options.decoder_input_ids");
static_assert(offsetof(kinglet_generate_options, decoder_input_count) == 360, "offset of kinglet_generate_options.decoder_input_count");
static_assert(offsetof(kinglet_generate_options, decoder_input_texts) == 368, "offset of kinglet_generate_options.decoder_input_texts");
static_assert(offsetof(kinglet_generate_options, decoder_input_text_count) == 376, "offset of kinglet_generate_options.decoder_input_text_count");
static_assert(offsetof(kinglet_generate_options, max_input_length) == 384, "offset of kinglet_generate_options.max_input_length");
static_assert(offsetof(kinglet_generate_options, schema_mode) == 392, "offset of kinglet_generate_options.schema_mode");
static_assert(offsetof(kinglet_generate_options, priority) == 396, "offset of kinglet_generate_options.priority");
static_assert(offsetof(kinglet_generate_options, deadline_ms) == 400, "offset of kinglet_generate_options.deadline_ms");
static_assert(offsetof(kinglet_generate_options, reserved) == 404, "offset of kinglet_generate_options.reserved");
static_assert(offsetof(kinglet_generate_options, grammar_work_limit) == 408, "offset of kinglet_generate_options.grammar_work_limit");
static_assert(offsetof(kinglet_generate_options, grammar_memory_limit) == 416, "offset of kinglet_generate_options.grammar_memory_limit");
static_assert(offsetof(kinglet_generate_options, tool_choice) == 424, "offset of kinglet_generate_options.tool_choice");
static_assert(sizeof(kinglet_generate_options) == 440, "size of kinglet_generate_options");

static_assert(offsetof(kinglet_generations_view, struct_size) == 0, "offset of kinglet_generations_view.struct_size");
static_assert(offsetof(kinglet_generations_view, count) == 8, "offset of kinglet_generations_view.count");
static_assert(offsetof(kinglet_generations_view, input_token_counts) == 16, "offset of kinglet_generations_view.input_token_counts");
static_assert(offsetof(kinglet_generations_view, truncated) == 24, "offset of kinglet_generations_view.truncated");
static_assert(sizeof(kinglet_generations_view) == 32, "size of kinglet_generations_view");

static_assert(offsetof(kinglet_generation_output, struct_size) == 0, "offset of kinglet_generation_output.struct_size");
static_assert(offsetof(kinglet_generation_output, output_count) == 8, "offset of kinglet_generation_output.output_count");
static_assert(offsetof(kinglet_generation_output, text) == 16, "offset of kinglet_generation_output.text");
static_assert(offsetof(kinglet_generation_output, tokens) == 32, "offset of kinglet_generation_output.tokens");
static_assert(offsetof(kinglet_generation_output, token_count) == 40, "offset of kinglet_generation_output.token_count");
static_assert(offsetof(kinglet_generation_output, logprobs) == 48, "offset of kinglet_generation_output.logprobs");
static_assert(offsetof(kinglet_generation_output, score) == 56, "offset of kinglet_generation_output.score");
static_assert(offsetof(kinglet_generation_output, finish_reason) == 60, "offset of kinglet_generation_output.finish_reason");
static_assert(offsetof(kinglet_generation_output, message) == 64, "offset of kinglet_generation_output.message");
static_assert(sizeof(kinglet_generation_output) == 80, "size of kinglet_generation_output");

static_assert(offsetof(kinglet_chat_options, struct_size) == 0, "offset of kinglet_chat_options.struct_size");
static_assert(offsetof(kinglet_chat_options, tools) == 8, "offset of kinglet_chat_options.tools");
static_assert(offsetof(kinglet_chat_options, documents) == 24, "offset of kinglet_chat_options.documents");
static_assert(offsetof(kinglet_chat_options, template_variables) == 40, "offset of kinglet_chat_options.template_variables");
static_assert(offsetof(kinglet_chat_options, tool_format) == 56, "offset of kinglet_chat_options.tool_format");
static_assert(offsetof(kinglet_chat_options, add_generation_prompt) == 60, "offset of kinglet_chat_options.add_generation_prompt");
static_assert(offsetof(kinglet_chat_options, continue_final_message) == 64, "offset of kinglet_chat_options.continue_final_message");
static_assert(offsetof(kinglet_chat_options, reserved) == 68, "offset of kinglet_chat_options.reserved");
static_assert(offsetof(kinglet_chat_options, cancellation) == 72, "offset of kinglet_chat_options.cancellation");
static_assert(sizeof(kinglet_chat_options) == 80, "size of kinglet_chat_options");

static_assert(offsetof(kinglet_message, struct_size) == 0, "offset of kinglet_message.struct_size");
static_assert(offsetof(kinglet_message, role) == 8, "offset of kinglet_message.role");
static_assert(offsetof(kinglet_message, content) == 24, "offset of kinglet_message.content");
static_assert(offsetof(kinglet_message, json) == 40, "offset of kinglet_message.json");
static_assert(sizeof(kinglet_message) == 56, "size of kinglet_message");

static_assert(offsetof(kinglet_session_options, struct_size) == 0, "offset of kinglet_session_options.struct_size");
static_assert(offsetof(kinglet_session_options, chat) == 8, "offset of kinglet_session_options.chat");
static_assert(sizeof(kinglet_session_options) == 16, "size of kinglet_session_options");

static_assert(offsetof(kinglet_session_view, struct_size) == 0, "offset of kinglet_session_view.struct_size");
static_assert(offsetof(kinglet_session_view, message_count) == 8, "offset of kinglet_session_view.message_count");
static_assert(offsetof(kinglet_session_view, held_tokens) == 16, "offset of kinglet_session_view.held_tokens");
static_assert(sizeof(kinglet_session_view) == 24, "size of kinglet_session_view");

static_assert(offsetof(kinglet_logits_options, struct_size) == 0, "offset of kinglet_logits_options.struct_size");
static_assert(offsetof(kinglet_logits_options, stepwise) == 8, "offset of kinglet_logits_options.stepwise");
static_assert(offsetof(kinglet_logits_options, reserved) == 12, "offset of kinglet_logits_options.reserved");
static_assert(offsetof(kinglet_logits_options, cancellation) == 16, "offset of kinglet_logits_options.cancellation");
static_assert(sizeof(kinglet_logits_options) == 24, "size of kinglet_logits_options");

static_assert(offsetof(kinglet_logits_view, struct_size) == 0, "offset of kinglet_logits_view.struct_size");
static_assert(offsetof(kinglet_logits_view, token_count) == 8, "offset of kinglet_logits_view.token_count");
static_assert(offsetof(kinglet_logits_view, vocabulary_size) == 16, "offset of kinglet_logits_view.vocabulary_size");
static_assert(offsetof(kinglet_logits_view, values) == 24, "offset of kinglet_logits_view.values");
static_assert(sizeof(kinglet_logits_view) == 32, "size of kinglet_logits_view");

static_assert(offsetof(kinglet_hidden_states_options, struct_size) == 0, "offset of kinglet_hidden_states_options.struct_size");
static_assert(offsetof(kinglet_hidden_states_options, cancellation) == 8, "offset of kinglet_hidden_states_options.cancellation");
static_assert(sizeof(kinglet_hidden_states_options) == 16, "size of kinglet_hidden_states_options");

static_assert(offsetof(kinglet_hidden_states_view, struct_size) == 0, "offset of kinglet_hidden_states_view.struct_size");
static_assert(offsetof(kinglet_hidden_states_view, count) == 8, "offset of kinglet_hidden_states_view.count");
static_assert(offsetof(kinglet_hidden_states_view, token_count) == 16, "offset of kinglet_hidden_states_view.token_count");
static_assert(offsetof(kinglet_hidden_states_view, dimension) == 24, "offset of kinglet_hidden_states_view.dimension");
static_assert(offsetof(kinglet_hidden_states_view, values) == 32, "offset of kinglet_hidden_states_view.values");
static_assert(offsetof(kinglet_hidden_states_view, starts) == 40, "offset of kinglet_hidden_states_view.starts");
static_assert(sizeof(kinglet_hidden_states_view) == 48, "size of kinglet_hidden_states_view");

static_assert(offsetof(kinglet_stage_totals, struct_size) == 0, "offset of kinglet_stage_totals.struct_size");
static_assert(offsetof(kinglet_stage_totals, calls) == 8, "offset of kinglet_stage_totals.calls");
static_assert(offsetof(kinglet_stage_totals, items) == 16, "offset of kinglet_stage_totals.items");
static_assert(offsetof(kinglet_stage_totals, tokens) == 24, "offset of kinglet_stage_totals.tokens");
static_assert(offsetof(kinglet_stage_totals, nanoseconds) == 32, "offset of kinglet_stage_totals.nanoseconds");
static_assert(sizeof(kinglet_stage_totals) == 40, "size of kinglet_stage_totals");

static_assert(offsetof(kinglet_latency, struct_size) == 0, "offset of kinglet_latency.struct_size");
static_assert(offsetof(kinglet_latency, count) == 8, "offset of kinglet_latency.count");
static_assert(offsetof(kinglet_latency, min) == 16, "offset of kinglet_latency.min");
static_assert(offsetof(kinglet_latency, max) == 24, "offset of kinglet_latency.max");
static_assert(offsetof(kinglet_latency, p50) == 32, "offset of kinglet_latency.p50");
static_assert(offsetof(kinglet_latency, p90) == 40, "offset of kinglet_latency.p90");
static_assert(offsetof(kinglet_latency, p95) == 48, "offset of kinglet_latency.p95");
static_assert(offsetof(kinglet_latency, p99) == 56, "offset of kinglet_latency.p99");
static_assert(offsetof(kinglet_latency, mean) == 64, "offset of kinglet_latency.mean");
static_assert(offsetof(kinglet_latency, standard_deviation) == 72, "offset of kinglet_latency.standard_deviation");
static_assert(sizeof(kinglet_latency) == 80, "size of kinglet_latency");

static_assert(offsetof(kinglet_devices_options, struct_size) == 0, "offset of kinglet_devices_options.struct_size");
static_assert(offsetof(kinglet_devices_options, open_libraries) == 8, "offset of kinglet_devices_options.open_libraries");
static_assert(offsetof(kinglet_devices_options, reserved) == 12, "offset of kinglet_devices_options.reserved");
static_assert(sizeof(kinglet_devices_options) == 16, "size of kinglet_devices_options");

static_assert(offsetof(kinglet_device_info, struct_size) == 0, "offset of kinglet_device_info.struct_size");
static_assert(offsetof(kinglet_device_info, device) == 8, "offset of kinglet_device_info.device");
static_assert(offsetof(kinglet_device_info, device_index) == 12, "offset of kinglet_device_info.device_index");
static_assert(offsetof(kinglet_device_info, name) == 16, "offset of kinglet_device_info.name");
static_assert(offsetof(kinglet_device_info, memory_total) == 32, "offset of kinglet_device_info.memory_total");
static_assert(offsetof(kinglet_device_info, memory_free) == 40, "offset of kinglet_device_info.memory_free");
static_assert(sizeof(kinglet_device_info) == 48, "size of kinglet_device_info");

static_assert(offsetof(kinglet_quantize_options, struct_size) == 0, "offset of kinglet_quantize_options.struct_size");
static_assert(offsetof(kinglet_quantize_options, cancellation) == 8, "offset of kinglet_quantize_options.cancellation");
static_assert(offsetof(kinglet_quantize_options, progress) == 16, "offset of kinglet_quantize_options.progress");
static_assert(offsetof(kinglet_quantize_options, progress_user_data) == 24, "offset of kinglet_quantize_options.progress_user_data");
static_assert(offsetof(kinglet_quantize_options, calibration_texts) == 32, "offset of kinglet_quantize_options.calibration_texts");
static_assert(offsetof(kinglet_quantize_options, calibration_text_count) == 40, "offset of kinglet_quantize_options.calibration_text_count");
static_assert(sizeof(kinglet_quantize_options) == 48, "size of kinglet_quantize_options");

static_assert(offsetof(kinglet_workload, struct_size) == 0, "offset of kinglet_workload.struct_size");
static_assert(offsetof(kinglet_workload, input_tokens) == 8, "offset of kinglet_workload.input_tokens");
static_assert(offsetof(kinglet_workload, input_spread) == 16, "offset of kinglet_workload.input_spread");
static_assert(offsetof(kinglet_workload, output_tokens) == 24, "offset of kinglet_workload.output_tokens");
static_assert(offsetof(kinglet_workload, beams) == 32, "offset of kinglet_workload.beams");
static_assert(sizeof(kinglet_workload) == 40, "size of kinglet_workload");

static_assert(offsetof(kinglet_suggest_batch_size_options, struct_size) == 0, "offset of kinglet_suggest_batch_size_options.struct_size");
static_assert(offsetof(kinglet_suggest_batch_size_options, goal) == 8, "offset of kinglet_suggest_batch_size_options.goal");
static_assert(offsetof(kinglet_suggest_batch_size_options, skip_calibration) == 12, "offset of kinglet_suggest_batch_size_options.skip_calibration");
static_assert(offsetof(kinglet_suggest_batch_size_options, latency_ms) == 16, "offset of kinglet_suggest_batch_size_options.latency_ms");
static_assert(offsetof(kinglet_suggest_batch_size_options, memory_bytes) == 24, "offset of kinglet_suggest_batch_size_options.memory_bytes");
static_assert(offsetof(kinglet_suggest_batch_size_options, calibration_file) == 32, "offset of kinglet_suggest_batch_size_options.calibration_file");
static_assert(offsetof(kinglet_suggest_batch_size_options, calibration_ms) == 48, "offset of kinglet_suggest_batch_size_options.calibration_ms");
static_assert(offsetof(kinglet_suggest_batch_size_options, reserved) == 52, "offset of kinglet_suggest_batch_size_options.reserved");
static_assert(offsetof(kinglet_suggest_batch_size_options, cancellation) == 56, "offset of kinglet_suggest_batch_size_options.cancellation");
static_assert(sizeof(kinglet_suggest_batch_size_options) == 64, "size of kinglet_suggest_batch_size_options");

static_assert(offsetof(kinglet_batch_suggestion_view, struct_size) == 0, "offset of kinglet_batch_suggestion_view.struct_size");
static_assert(offsetof(kinglet_batch_suggestion_view, batch_size) == 8, "offset of kinglet_batch_suggestion_view.batch_size");
static_assert(offsetof(kinglet_batch_suggestion_view, batch_ms) == 16, "offset of kinglet_batch_suggestion_view.batch_ms");
static_assert(offsetof(kinglet_batch_suggestion_view, texts_per_second) == 24, "offset of kinglet_batch_suggestion_view.texts_per_second");
static_assert(offsetof(kinglet_batch_suggestion_view, tokens_per_second) == 32, "offset of kinglet_batch_suggestion_view.tokens_per_second");
static_assert(offsetof(kinglet_batch_suggestion_view, bytes) == 40, "offset of kinglet_batch_suggestion_view.bytes");
static_assert(offsetof(kinglet_batch_suggestion_view, within_bound) == 48, "offset of kinglet_batch_suggestion_view.within_bound");
static_assert(offsetof(kinglet_batch_suggestion_view, reserved) == 52, "offset of kinglet_batch_suggestion_view.reserved");
static_assert(offsetof(kinglet_batch_suggestion_view, explanation) == 56, "offset of kinglet_batch_suggestion_view.explanation");
static_assert(sizeof(kinglet_batch_suggestion_view) == 72, "size of kinglet_batch_suggestion_view");

// Generated from src/ffi by `make header`; do not edit. What Swift's compiler makes of each struct is what bindings and older
// programs expect (64-bit machines), and each constant has its number and name.

import CKinglet
import Testing

@Suite struct LayoutTests {
    func field(_ field: String, at got: Int?, _ want: Int) {
        #expect(got == want, "\(field)")
    }

    func constant(_ constant: String, _ got: UInt32, _ want: UInt32, _ name: UnsafePointer<CChar>, _ wanted: String) {
        #expect(got == want && String(cString: name) == wanted, "\(constant)")
    }

    @Test func kinglet_status_values() {
        constant("KINGLET_STATUS_OK", KINGLET_STATUS_OK.rawValue, 0, kinglet_status_name(0), "ok")
        constant("KINGLET_STATUS_INVALID_ARGUMENT", KINGLET_STATUS_INVALID_ARGUMENT.rawValue, 1, kinglet_status_name(1), "invalid_argument")
        constant("KINGLET_STATUS_NOT_FOUND", KINGLET_STATUS_NOT_FOUND.rawValue, 2, kinglet_status_name(2), "not_found")
        constant("KINGLET_STATUS_IO", KINGLET_STATUS_IO.rawValue, 3, kinglet_status_name(3), "io")
        constant("KINGLET_STATUS_INVALID_FILE", KINGLET_STATUS_INVALID_FILE.rawValue, 4, kinglet_status_name(4), "invalid_file")
        constant("KINGLET_STATUS_UNSUPPORTED", KINGLET_STATUS_UNSUPPORTED.rawValue, 5, kinglet_status_name(5), "unsupported")
        constant("KINGLET_STATUS_OUT_OF_MEMORY", KINGLET_STATUS_OUT_OF_MEMORY.rawValue, 6, kinglet_status_name(6), "out_of_memory")
        constant("KINGLET_STATUS_CANCELLED", KINGLET_STATUS_CANCELLED.rawValue, 7, kinglet_status_name(7), "cancelled")
        constant("KINGLET_STATUS_PANIC", KINGLET_STATUS_PANIC.rawValue, 8, kinglet_status_name(8), "panic")
        constant("KINGLET_STATUS_INTERNAL", KINGLET_STATUS_INTERNAL.rawValue, 9, kinglet_status_name(9), "internal")
        constant("KINGLET_STATUS_BUSY", KINGLET_STATUS_BUSY.rawValue, 10, kinglet_status_name(10), "busy")
        constant("KINGLET_STATUS_DEADLINE_EXCEEDED", KINGLET_STATUS_DEADLINE_EXCEEDED.rawValue, 11, kinglet_status_name(11), "deadline_exceeded")
    }

    @Test func kinglet_str_layout() {
        field("kinglet_str.data", at: MemoryLayout<kinglet_str>.offset(of: \.data), 0)
        field("kinglet_str.size", at: MemoryLayout<kinglet_str>.offset(of: \.size), 8)
        field("end of kinglet_str", at: MemoryLayout<kinglet_str>.stride, 16)
    }

    @Test func kinglet_ids_layout() {
        field("kinglet_ids.data", at: MemoryLayout<kinglet_ids>.offset(of: \.data), 0)
        field("kinglet_ids.count", at: MemoryLayout<kinglet_ids>.offset(of: \.count), 8)
        field("end of kinglet_ids", at: MemoryLayout<kinglet_ids>.stride, 16)
    }

    @Test func kinglet_tristate_values() {
        constant("KINGLET_TRISTATE_AUTO", KINGLET_TRISTATE_AUTO.rawValue, 0, kinglet_tristate_name(0), "auto")
        constant("KINGLET_TRISTATE_NO", KINGLET_TRISTATE_NO.rawValue, 1, kinglet_tristate_name(1), "no")
        constant("KINGLET_TRISTATE_YES", KINGLET_TRISTATE_YES.rawValue, 2, kinglet_tristate_name(2), "yes")
    }

    @Test func kinglet_priority_values() {
        constant("KINGLET_PRIORITY_NORMAL", KINGLET_PRIORITY_NORMAL.rawValue, 0, kinglet_priority_name(0), "normal")
        constant("KINGLET_PRIORITY_INTERACTIVE", KINGLET_PRIORITY_INTERACTIVE.rawValue, 1, kinglet_priority_name(1), "interactive")
        constant("KINGLET_PRIORITY_BULK", KINGLET_PRIORITY_BULK.rawValue, 2, kinglet_priority_name(2), "bulk")
    }

    @Test func kinglet_scheduler_options_layout() {
        field("kinglet_scheduler_options.struct_size", at: MemoryLayout<kinglet_scheduler_options>.offset(of: \.struct_size), 0)
        field("kinglet_scheduler_options.max_tokens", at: MemoryLayout<kinglet_scheduler_options>.offset(of: \.max_tokens), 8)
        field("kinglet_scheduler_options.max_sequences", at: MemoryLayout<kinglet_scheduler_options>.offset(of: \.max_sequences), 12)
        field("kinglet_scheduler_options.max_wait_us", at: MemoryLayout<kinglet_scheduler_options>.offset(of: \.max_wait_us), 16)
        field("kinglet_scheduler_options.queue_length", at: MemoryLayout<kinglet_scheduler_options>.offset(of: \.queue_length), 20)
        field("kinglet_scheduler_options.queue_bytes", at: MemoryLayout<kinglet_scheduler_options>.offset(of: \.queue_bytes), 24)
        field("kinglet_scheduler_options.requests", at: MemoryLayout<kinglet_scheduler_options>.offset(of: \.requests), 32)
        field("kinglet_scheduler_options.reserved", at: MemoryLayout<kinglet_scheduler_options>.offset(of: \.reserved), 36)
        field("end of kinglet_scheduler_options", at: MemoryLayout<kinglet_scheduler_options>.stride, 40)
    }

    @Test func kinglet_device_values() {
        constant("KINGLET_DEVICE_CPU", KINGLET_DEVICE_CPU.rawValue, 0, kinglet_device_name(0), "cpu")
        constant("KINGLET_DEVICE_CANDLE_CPU", KINGLET_DEVICE_CANDLE_CPU.rawValue, 1, kinglet_device_name(1), "candle-cpu")
        constant("KINGLET_DEVICE_CUDA", KINGLET_DEVICE_CUDA.rawValue, 2, kinglet_device_name(2), "cuda")
        constant("KINGLET_DEVICE_METAL", KINGLET_DEVICE_METAL.rawValue, 3, kinglet_device_name(3), "metal")
    }

    @Test func kinglet_precision_values() {
        constant("KINGLET_PRECISION_AUTO", KINGLET_PRECISION_AUTO.rawValue, 0, kinglet_precision_name(0), "auto")
        constant("KINGLET_PRECISION_F32", KINGLET_PRECISION_F32.rawValue, 1, kinglet_precision_name(1), "f32")
        constant("KINGLET_PRECISION_F16", KINGLET_PRECISION_F16.rawValue, 2, kinglet_precision_name(2), "f16")
        constant("KINGLET_PRECISION_INT8", KINGLET_PRECISION_INT8.rawValue, 3, kinglet_precision_name(3), "int8")
        constant("KINGLET_PRECISION_BF16", KINGLET_PRECISION_BF16.rawValue, 4, kinglet_precision_name(4), "bf16")
        constant("KINGLET_PRECISION_INT4", KINGLET_PRECISION_INT4.rawValue, 5, kinglet_precision_name(5), "int4")
    }

    @Test func kinglet_log_level_values() {
        constant("KINGLET_LOG_LEVEL_DEFAULT", KINGLET_LOG_LEVEL_DEFAULT.rawValue, 0, kinglet_log_level_name(0), "default")
        constant("KINGLET_LOG_LEVEL_ERROR", KINGLET_LOG_LEVEL_ERROR.rawValue, 1, kinglet_log_level_name(1), "error")
        constant("KINGLET_LOG_LEVEL_WARNING", KINGLET_LOG_LEVEL_WARNING.rawValue, 2, kinglet_log_level_name(2), "warning")
        constant("KINGLET_LOG_LEVEL_INFO", KINGLET_LOG_LEVEL_INFO.rawValue, 3, kinglet_log_level_name(3), "info")
        constant("KINGLET_LOG_LEVEL_DEBUG", KINGLET_LOG_LEVEL_DEBUG.rawValue, 4, kinglet_log_level_name(4), "debug")
    }

    @Test func kinglet_progress_layout() {
        field("kinglet_progress.struct_size", at: MemoryLayout<kinglet_progress>.offset(of: \.struct_size), 0)
        field("kinglet_progress.fraction", at: MemoryLayout<kinglet_progress>.offset(of: \.fraction), 8)
        field("end of kinglet_progress", at: MemoryLayout<kinglet_progress>.stride, 16)
    }

    @Test func kinglet_log_record_layout() {
        field("kinglet_log_record.struct_size", at: MemoryLayout<kinglet_log_record>.offset(of: \.struct_size), 0)
        field("kinglet_log_record.level", at: MemoryLayout<kinglet_log_record>.offset(of: \.level), 8)
        field("kinglet_log_record.reserved", at: MemoryLayout<kinglet_log_record>.offset(of: \.reserved), 12)
        field("kinglet_log_record.message", at: MemoryLayout<kinglet_log_record>.offset(of: \.message), 16)
        field("end of kinglet_log_record", at: MemoryLayout<kinglet_log_record>.stride, 32)
    }

    @Test func kinglet_model_options_layout() {
        field("kinglet_model_options.struct_size", at: MemoryLayout<kinglet_model_options>.offset(of: \.struct_size), 0)
        field("kinglet_model_options.device", at: MemoryLayout<kinglet_model_options>.offset(of: \.device), 8)
        field("kinglet_model_options.device_index", at: MemoryLayout<kinglet_model_options>.offset(of: \.device_index), 12)
        field("kinglet_model_options.precision", at: MemoryLayout<kinglet_model_options>.offset(of: \.precision), 16)
        field("kinglet_model_options.log_level", at: MemoryLayout<kinglet_model_options>.offset(of: \.log_level), 20)
        field("kinglet_model_options.threads", at: MemoryLayout<kinglet_model_options>.offset(of: \.threads), 24)
        field("kinglet_model_options.memory_limit", at: MemoryLayout<kinglet_model_options>.offset(of: \.memory_limit), 32)
        field("kinglet_model_options.answer_cache_bytes", at: MemoryLayout<kinglet_model_options>.offset(of: \.answer_cache_bytes), 40)
        field("kinglet_model_options.onnxruntime", at: MemoryLayout<kinglet_model_options>.offset(of: \.onnxruntime), 48)
        field("kinglet_model_options.cancellation", at: MemoryLayout<kinglet_model_options>.offset(of: \.cancellation), 64)
        field("kinglet_model_options.progress", at: MemoryLayout<kinglet_model_options>.offset(of: \.progress), 72)
        field("kinglet_model_options.progress_user_data", at: MemoryLayout<kinglet_model_options>.offset(of: \.progress_user_data), 80)
        field("kinglet_model_options.log", at: MemoryLayout<kinglet_model_options>.offset(of: \.log), 88)
        field("kinglet_model_options.log_user_data", at: MemoryLayout<kinglet_model_options>.offset(of: \.log_user_data), 96)
        field("kinglet_model_options.log_release", at: MemoryLayout<kinglet_model_options>.offset(of: \.log_release), 104)
        field("kinglet_model_options.map_files", at: MemoryLayout<kinglet_model_options>.offset(of: \.map_files), 112)
        field("kinglet_model_options.reserved", at: MemoryLayout<kinglet_model_options>.offset(of: \.reserved), 116)
        field("kinglet_model_options.scheduler", at: MemoryLayout<kinglet_model_options>.offset(of: \.scheduler), 120)
        field("kinglet_model_options.max_text_bytes", at: MemoryLayout<kinglet_model_options>.offset(of: \.max_text_bytes), 128)
        field("end of kinglet_model_options", at: MemoryLayout<kinglet_model_options>.stride, 136)
    }

    @Test func kinglet_model_view_layout() {
        field("kinglet_model_view.struct_size", at: MemoryLayout<kinglet_model_view>.offset(of: \.struct_size), 0)
        field("kinglet_model_view.path", at: MemoryLayout<kinglet_model_view>.offset(of: \.path), 8)
        field("kinglet_model_view.family", at: MemoryLayout<kinglet_model_view>.offset(of: \.family), 24)
        field("kinglet_model_view.device", at: MemoryLayout<kinglet_model_view>.offset(of: \.device), 40)
        field("kinglet_model_view.device_index", at: MemoryLayout<kinglet_model_view>.offset(of: \.device_index), 44)
        field("kinglet_model_view.precision", at: MemoryLayout<kinglet_model_view>.offset(of: \.precision), 48)
        field("kinglet_model_view.can_generate", at: MemoryLayout<kinglet_model_view>.offset(of: \.can_generate), 52)
        field("kinglet_model_view.can_chat", at: MemoryLayout<kinglet_model_view>.offset(of: \.can_chat), 56)
        field("kinglet_model_view.has_encoder", at: MemoryLayout<kinglet_model_view>.offset(of: \.has_encoder), 60)
        field("kinglet_model_view.threads", at: MemoryLayout<kinglet_model_view>.offset(of: \.threads), 64)
        field("kinglet_model_view.dimension", at: MemoryLayout<kinglet_model_view>.offset(of: \.dimension), 72)
        field("kinglet_model_view.max_length", at: MemoryLayout<kinglet_model_view>.offset(of: \.max_length), 80)
        field("kinglet_model_view.vocabulary_size", at: MemoryLayout<kinglet_model_view>.offset(of: \.vocabulary_size), 88)
        field("kinglet_model_view.labels", at: MemoryLayout<kinglet_model_view>.offset(of: \.labels), 96)
        field("kinglet_model_view.label_count", at: MemoryLayout<kinglet_model_view>.offset(of: \.label_count), 104)
        field("kinglet_model_view.weight_bytes", at: MemoryLayout<kinglet_model_view>.offset(of: \.weight_bytes), 112)
        field("kinglet_model_view.cache_bytes", at: MemoryLayout<kinglet_model_view>.offset(of: \.cache_bytes), 120)
        field("kinglet_model_view.device_bytes", at: MemoryLayout<kinglet_model_view>.offset(of: \.device_bytes), 128)
        field("kinglet_model_view.embedding_dimension", at: MemoryLayout<kinglet_model_view>.offset(of: \.embedding_dimension), 136)
        field("end of kinglet_model_view", at: MemoryLayout<kinglet_model_view>.stride, 144)
    }

    @Test func kinglet_tokenize_options_layout() {
        field("kinglet_tokenize_options.struct_size", at: MemoryLayout<kinglet_tokenize_options>.offset(of: \.struct_size), 0)
        field("kinglet_tokenize_options.add_special_tokens", at: MemoryLayout<kinglet_tokenize_options>.offset(of: \.add_special_tokens), 8)
        field("kinglet_tokenize_options.offsets", at: MemoryLayout<kinglet_tokenize_options>.offset(of: \.offsets), 12)
        field("kinglet_tokenize_options.max_length", at: MemoryLayout<kinglet_tokenize_options>.offset(of: \.max_length), 16)
        field("kinglet_tokenize_options.cancellation", at: MemoryLayout<kinglet_tokenize_options>.offset(of: \.cancellation), 24)
        field("end of kinglet_tokenize_options", at: MemoryLayout<kinglet_tokenize_options>.stride, 32)
    }

    @Test func kinglet_span_layout() {
        field("kinglet_span.start", at: MemoryLayout<kinglet_span>.offset(of: \.start), 0)
        field("kinglet_span.end", at: MemoryLayout<kinglet_span>.offset(of: \.end), 8)
        field("end of kinglet_span", at: MemoryLayout<kinglet_span>.stride, 16)
    }

    @Test func kinglet_encoding_view_layout() {
        field("kinglet_encoding_view.struct_size", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.struct_size), 0)
        field("kinglet_encoding_view.count", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.count), 8)
        field("kinglet_encoding_view.token_count", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.token_count), 16)
        field("kinglet_encoding_view.longest", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.longest), 24)
        field("kinglet_encoding_view.starts", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.starts), 32)
        field("kinglet_encoding_view.lengths", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.lengths), 40)
        field("kinglet_encoding_view.ids", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.ids), 48)
        field("kinglet_encoding_view.type_ids", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.type_ids), 56)
        field("kinglet_encoding_view.special_tokens_mask", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.special_tokens_mask), 64)
        field("kinglet_encoding_view.sequences", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.sequences), 72)
        field("kinglet_encoding_view.offsets", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.offsets), 80)
        field("kinglet_encoding_view.truncated", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.truncated), 88)
        field("kinglet_encoding_view.pad_id", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.pad_id), 96)
        field("kinglet_encoding_view.reserved", at: MemoryLayout<kinglet_encoding_view>.offset(of: \.reserved), 100)
        field("end of kinglet_encoding_view", at: MemoryLayout<kinglet_encoding_view>.stride, 104)
    }

    @Test func kinglet_detokenize_options_layout() {
        field("kinglet_detokenize_options.struct_size", at: MemoryLayout<kinglet_detokenize_options>.offset(of: \.struct_size), 0)
        field("kinglet_detokenize_options.skip_special_tokens", at: MemoryLayout<kinglet_detokenize_options>.offset(of: \.skip_special_tokens), 8)
        field("kinglet_detokenize_options.reserved", at: MemoryLayout<kinglet_detokenize_options>.offset(of: \.reserved), 12)
        field("end of kinglet_detokenize_options", at: MemoryLayout<kinglet_detokenize_options>.stride, 16)
    }

    @Test func kinglet_pooling_values() {
        constant("KINGLET_POOLING_AUTO", KINGLET_POOLING_AUTO.rawValue, 0, kinglet_pooling_name(0), "auto")
        constant("KINGLET_POOLING_MEAN", KINGLET_POOLING_MEAN.rawValue, 1, kinglet_pooling_name(1), "mean")
        constant("KINGLET_POOLING_CLS", KINGLET_POOLING_CLS.rawValue, 2, kinglet_pooling_name(2), "cls")
        constant("KINGLET_POOLING_LAST", KINGLET_POOLING_LAST.rawValue, 3, kinglet_pooling_name(3), "last")
        constant("KINGLET_POOLING_NONE", KINGLET_POOLING_NONE.rawValue, 4, kinglet_pooling_name(4), "none")
        constant("KINGLET_POOLING_MAX", KINGLET_POOLING_MAX.rawValue, 5, kinglet_pooling_name(5), "max")
        constant("KINGLET_POOLING_WEIGHTEDMEAN", KINGLET_POOLING_WEIGHTEDMEAN.rawValue, 6, kinglet_pooling_name(6), "weightedmean")
        constant("KINGLET_POOLING_MEAN_SQRT_LEN_TOKENS", KINGLET_POOLING_MEAN_SQRT_LEN_TOKENS.rawValue, 7, kinglet_pooling_name(7), "mean_sqrt_len_tokens")
    }

    @Test func kinglet_embed_options_layout() {
        field("kinglet_embed_options.struct_size", at: MemoryLayout<kinglet_embed_options>.offset(of: \.struct_size), 0)
        field("kinglet_embed_options.pooling", at: MemoryLayout<kinglet_embed_options>.offset(of: \.pooling), 8)
        field("kinglet_embed_options.normalize", at: MemoryLayout<kinglet_embed_options>.offset(of: \.normalize), 12)
        field("kinglet_embed_options.max_length", at: MemoryLayout<kinglet_embed_options>.offset(of: \.max_length), 16)
        field("kinglet_embed_options.cancellation", at: MemoryLayout<kinglet_embed_options>.offset(of: \.cancellation), 24)
        field("kinglet_embed_options.prompt_name", at: MemoryLayout<kinglet_embed_options>.offset(of: \.prompt_name), 32)
        field("kinglet_embed_options.prompt", at: MemoryLayout<kinglet_embed_options>.offset(of: \.prompt), 48)
        field("kinglet_embed_options.truncate_dim", at: MemoryLayout<kinglet_embed_options>.offset(of: \.truncate_dim), 64)
        field("kinglet_embed_options.priority", at: MemoryLayout<kinglet_embed_options>.offset(of: \.priority), 72)
        field("kinglet_embed_options.deadline_ms", at: MemoryLayout<kinglet_embed_options>.offset(of: \.deadline_ms), 76)
        field("end of kinglet_embed_options", at: MemoryLayout<kinglet_embed_options>.stride, 80)
    }

    @Test func kinglet_embeddings_view_layout() {
        field("kinglet_embeddings_view.struct_size", at: MemoryLayout<kinglet_embeddings_view>.offset(of: \.struct_size), 0)
        field("kinglet_embeddings_view.count", at: MemoryLayout<kinglet_embeddings_view>.offset(of: \.count), 8)
        field("kinglet_embeddings_view.dimension", at: MemoryLayout<kinglet_embeddings_view>.offset(of: \.dimension), 16)
        field("kinglet_embeddings_view.row_count", at: MemoryLayout<kinglet_embeddings_view>.offset(of: \.row_count), 24)
        field("kinglet_embeddings_view.values", at: MemoryLayout<kinglet_embeddings_view>.offset(of: \.values), 32)
        field("kinglet_embeddings_view.starts", at: MemoryLayout<kinglet_embeddings_view>.offset(of: \.starts), 40)
        field("kinglet_embeddings_view.token_counts", at: MemoryLayout<kinglet_embeddings_view>.offset(of: \.token_counts), 48)
        field("kinglet_embeddings_view.truncated", at: MemoryLayout<kinglet_embeddings_view>.offset(of: \.truncated), 56)
        field("end of kinglet_embeddings_view", at: MemoryLayout<kinglet_embeddings_view>.stride, 64)
    }

    @Test func kinglet_sparse_options_layout() {
        field("kinglet_sparse_options.struct_size", at: MemoryLayout<kinglet_sparse_options>.offset(of: \.struct_size), 0)
        field("kinglet_sparse_options.max_active_dims", at: MemoryLayout<kinglet_sparse_options>.offset(of: \.max_active_dims), 8)
        field("kinglet_sparse_options.max_length", at: MemoryLayout<kinglet_sparse_options>.offset(of: \.max_length), 16)
        field("kinglet_sparse_options.cancellation", at: MemoryLayout<kinglet_sparse_options>.offset(of: \.cancellation), 24)
        field("kinglet_sparse_options.prompt_name", at: MemoryLayout<kinglet_sparse_options>.offset(of: \.prompt_name), 32)
        field("kinglet_sparse_options.prompt", at: MemoryLayout<kinglet_sparse_options>.offset(of: \.prompt), 48)
        field("kinglet_sparse_options.priority", at: MemoryLayout<kinglet_sparse_options>.offset(of: \.priority), 64)
        field("kinglet_sparse_options.deadline_ms", at: MemoryLayout<kinglet_sparse_options>.offset(of: \.deadline_ms), 68)
        field("end of kinglet_sparse_options", at: MemoryLayout<kinglet_sparse_options>.stride, 72)
    }

    @Test func kinglet_sparse_embeddings_view_layout() {
        field("kinglet_sparse_embeddings_view.struct_size", at: MemoryLayout<kinglet_sparse_embeddings_view>.offset(of: \.struct_size), 0)
        field("kinglet_sparse_embeddings_view.count", at: MemoryLayout<kinglet_sparse_embeddings_view>.offset(of: \.count), 8)
        field("kinglet_sparse_embeddings_view.dimension", at: MemoryLayout<kinglet_sparse_embeddings_view>.offset(of: \.dimension), 16)
        field("kinglet_sparse_embeddings_view.starts", at: MemoryLayout<kinglet_sparse_embeddings_view>.offset(of: \.starts), 24)
        field("kinglet_sparse_embeddings_view.indices", at: MemoryLayout<kinglet_sparse_embeddings_view>.offset(of: \.indices), 32)
        field("kinglet_sparse_embeddings_view.weights", at: MemoryLayout<kinglet_sparse_embeddings_view>.offset(of: \.weights), 40)
        field("kinglet_sparse_embeddings_view.token_counts", at: MemoryLayout<kinglet_sparse_embeddings_view>.offset(of: \.token_counts), 48)
        field("kinglet_sparse_embeddings_view.truncated", at: MemoryLayout<kinglet_sparse_embeddings_view>.offset(of: \.truncated), 56)
        field("end of kinglet_sparse_embeddings_view", at: MemoryLayout<kinglet_sparse_embeddings_view>.stride, 64)
    }

    @Test func kinglet_arrow_texts_layout() {
        field("kinglet_arrow_texts.struct_size", at: MemoryLayout<kinglet_arrow_texts>.offset(of: \.struct_size), 0)
        field("kinglet_arrow_texts.count", at: MemoryLayout<kinglet_arrow_texts>.offset(of: \.count), 8)
        field("kinglet_arrow_texts.first", at: MemoryLayout<kinglet_arrow_texts>.offset(of: \.first), 16)
        field("kinglet_arrow_texts.offsets", at: MemoryLayout<kinglet_arrow_texts>.offset(of: \.offsets), 24)
        field("kinglet_arrow_texts.offset_bits", at: MemoryLayout<kinglet_arrow_texts>.offset(of: \.offset_bits), 32)
        field("kinglet_arrow_texts.reserved", at: MemoryLayout<kinglet_arrow_texts>.offset(of: \.reserved), 36)
        field("kinglet_arrow_texts.data", at: MemoryLayout<kinglet_arrow_texts>.offset(of: \.data), 40)
        field("kinglet_arrow_texts.data_size", at: MemoryLayout<kinglet_arrow_texts>.offset(of: \.data_size), 48)
        field("kinglet_arrow_texts.validity", at: MemoryLayout<kinglet_arrow_texts>.offset(of: \.validity), 56)
        field("end of kinglet_arrow_texts", at: MemoryLayout<kinglet_arrow_texts>.stride, 64)
    }

    @Test func kinglet_embedding_buffer_layout() {
        field("kinglet_embedding_buffer.struct_size", at: MemoryLayout<kinglet_embedding_buffer>.offset(of: \.struct_size), 0)
        field("kinglet_embedding_buffer.dimension", at: MemoryLayout<kinglet_embedding_buffer>.offset(of: \.dimension), 8)
        field("kinglet_embedding_buffer.values", at: MemoryLayout<kinglet_embedding_buffer>.offset(of: \.values), 16)
        field("kinglet_embedding_buffer.capacity", at: MemoryLayout<kinglet_embedding_buffer>.offset(of: \.capacity), 24)
        field("kinglet_embedding_buffer.stride", at: MemoryLayout<kinglet_embedding_buffer>.offset(of: \.stride), 32)
        field("kinglet_embedding_buffer.token_counts", at: MemoryLayout<kinglet_embedding_buffer>.offset(of: \.token_counts), 40)
        field("kinglet_embedding_buffer.truncated", at: MemoryLayout<kinglet_embedding_buffer>.offset(of: \.truncated), 48)
        field("end of kinglet_embedding_buffer", at: MemoryLayout<kinglet_embedding_buffer>.stride, 56)
    }

    @Test func kinglet_embedding_type_values() {
        constant("KINGLET_EMBEDDING_TYPE_FLOAT32", KINGLET_EMBEDDING_TYPE_FLOAT32.rawValue, 0, kinglet_embedding_type_name(0), "float32")
        constant("KINGLET_EMBEDDING_TYPE_FLOAT16", KINGLET_EMBEDDING_TYPE_FLOAT16.rawValue, 1, kinglet_embedding_type_name(1), "float16")
        constant("KINGLET_EMBEDDING_TYPE_INT8", KINGLET_EMBEDDING_TYPE_INT8.rawValue, 2, kinglet_embedding_type_name(2), "int8")
        constant("KINGLET_EMBEDDING_TYPE_UINT8", KINGLET_EMBEDDING_TYPE_UINT8.rawValue, 3, kinglet_embedding_type_name(3), "uint8")
        constant("KINGLET_EMBEDDING_TYPE_BINARY", KINGLET_EMBEDDING_TYPE_BINARY.rawValue, 4, kinglet_embedding_type_name(4), "binary")
        constant("KINGLET_EMBEDDING_TYPE_UBINARY", KINGLET_EMBEDDING_TYPE_UBINARY.rawValue, 5, kinglet_embedding_type_name(5), "ubinary")
    }

    @Test func kinglet_similarity_values() {
        constant("KINGLET_SIMILARITY_AUTO", KINGLET_SIMILARITY_AUTO.rawValue, 0, kinglet_similarity_name(0), "auto")
        constant("KINGLET_SIMILARITY_DOT", KINGLET_SIMILARITY_DOT.rawValue, 1, kinglet_similarity_name(1), "dot")
        constant("KINGLET_SIMILARITY_COSINE", KINGLET_SIMILARITY_COSINE.rawValue, 2, kinglet_similarity_name(2), "cosine")
        constant("KINGLET_SIMILARITY_HAMMING", KINGLET_SIMILARITY_HAMMING.rawValue, 3, kinglet_similarity_name(3), "hamming")
    }

    @Test func kinglet_embedding_rows_layout() {
        field("kinglet_embedding_rows.struct_size", at: MemoryLayout<kinglet_embedding_rows>.offset(of: \.struct_size), 0)
        field("kinglet_embedding_rows.kind", at: MemoryLayout<kinglet_embedding_rows>.offset(of: \.kind), 8)
        field("kinglet_embedding_rows.reserved", at: MemoryLayout<kinglet_embedding_rows>.offset(of: \.reserved), 12)
        field("kinglet_embedding_rows.data", at: MemoryLayout<kinglet_embedding_rows>.offset(of: \.data), 16)
        field("kinglet_embedding_rows.count", at: MemoryLayout<kinglet_embedding_rows>.offset(of: \.count), 24)
        field("kinglet_embedding_rows.dimension", at: MemoryLayout<kinglet_embedding_rows>.offset(of: \.dimension), 32)
        field("kinglet_embedding_rows.stride", at: MemoryLayout<kinglet_embedding_rows>.offset(of: \.stride), 40)
        field("end of kinglet_embedding_rows", at: MemoryLayout<kinglet_embedding_rows>.stride, 48)
    }

    @Test func kinglet_embedding_codes_layout() {
        field("kinglet_embedding_codes.struct_size", at: MemoryLayout<kinglet_embedding_codes>.offset(of: \.struct_size), 0)
        field("kinglet_embedding_codes.kind", at: MemoryLayout<kinglet_embedding_codes>.offset(of: \.kind), 8)
        field("kinglet_embedding_codes.reserved", at: MemoryLayout<kinglet_embedding_codes>.offset(of: \.reserved), 12)
        field("kinglet_embedding_codes.data", at: MemoryLayout<kinglet_embedding_codes>.offset(of: \.data), 16)
        field("kinglet_embedding_codes.capacity", at: MemoryLayout<kinglet_embedding_codes>.offset(of: \.capacity), 24)
        field("kinglet_embedding_codes.stride", at: MemoryLayout<kinglet_embedding_codes>.offset(of: \.stride), 32)
        field("end of kinglet_embedding_codes", at: MemoryLayout<kinglet_embedding_codes>.stride, 40)
    }

    @Test func kinglet_quantize_embeddings_options_layout() {
        field("kinglet_quantize_embeddings_options.struct_size", at: MemoryLayout<kinglet_quantize_embeddings_options>.offset(of: \.struct_size), 0)
        field("kinglet_quantize_embeddings_options.ranges", at: MemoryLayout<kinglet_quantize_embeddings_options>.offset(of: \.ranges), 8)
        field("end of kinglet_quantize_embeddings_options", at: MemoryLayout<kinglet_quantize_embeddings_options>.stride, 16)
    }

    @Test func kinglet_search_options_layout() {
        field("kinglet_search_options.struct_size", at: MemoryLayout<kinglet_search_options>.offset(of: \.struct_size), 0)
        field("kinglet_search_options.top_k", at: MemoryLayout<kinglet_search_options>.offset(of: \.top_k), 8)
        field("kinglet_search_options.similarity", at: MemoryLayout<kinglet_search_options>.offset(of: \.similarity), 16)
        field("kinglet_search_options.threads", at: MemoryLayout<kinglet_search_options>.offset(of: \.threads), 20)
        field("kinglet_search_options.cancellation", at: MemoryLayout<kinglet_search_options>.offset(of: \.cancellation), 24)
        field("kinglet_search_options.ranges", at: MemoryLayout<kinglet_search_options>.offset(of: \.ranges), 32)
        field("kinglet_search_options.rescore_multiplier", at: MemoryLayout<kinglet_search_options>.offset(of: \.rescore_multiplier), 40)
        field("end of kinglet_search_options", at: MemoryLayout<kinglet_search_options>.stride, 48)
    }

    @Test func kinglet_search_buffer_layout() {
        field("kinglet_search_buffer.struct_size", at: MemoryLayout<kinglet_search_buffer>.offset(of: \.struct_size), 0)
        field("kinglet_search_buffer.indices", at: MemoryLayout<kinglet_search_buffer>.offset(of: \.indices), 8)
        field("kinglet_search_buffer.scores", at: MemoryLayout<kinglet_search_buffer>.offset(of: \.scores), 16)
        field("kinglet_search_buffer.capacity", at: MemoryLayout<kinglet_search_buffer>.offset(of: \.capacity), 24)
        field("end of kinglet_search_buffer", at: MemoryLayout<kinglet_search_buffer>.stride, 32)
    }

    @Test func kinglet_score_function_values() {
        constant("KINGLET_SCORE_FUNCTION_AUTO", KINGLET_SCORE_FUNCTION_AUTO.rawValue, 0, kinglet_score_function_name(0), "auto")
        constant("KINGLET_SCORE_FUNCTION_NONE", KINGLET_SCORE_FUNCTION_NONE.rawValue, 1, kinglet_score_function_name(1), "none")
        constant("KINGLET_SCORE_FUNCTION_SIGMOID", KINGLET_SCORE_FUNCTION_SIGMOID.rawValue, 2, kinglet_score_function_name(2), "sigmoid")
        constant("KINGLET_SCORE_FUNCTION_SOFTMAX", KINGLET_SCORE_FUNCTION_SOFTMAX.rawValue, 3, kinglet_score_function_name(3), "softmax")
        constant("KINGLET_SCORE_FUNCTION_TANH", KINGLET_SCORE_FUNCTION_TANH.rawValue, 4, kinglet_score_function_name(4), "tanh")
    }

    @Test func kinglet_aggregation_values() {
        constant("KINGLET_AGGREGATION_AUTO", KINGLET_AGGREGATION_AUTO.rawValue, 0, kinglet_aggregation_name(0), "auto")
        constant("KINGLET_AGGREGATION_NONE", KINGLET_AGGREGATION_NONE.rawValue, 1, kinglet_aggregation_name(1), "none")
        constant("KINGLET_AGGREGATION_SIMPLE", KINGLET_AGGREGATION_SIMPLE.rawValue, 2, kinglet_aggregation_name(2), "simple")
    }

    @Test func kinglet_classify_options_layout() {
        field("kinglet_classify_options.struct_size", at: MemoryLayout<kinglet_classify_options>.offset(of: \.struct_size), 0)
        field("kinglet_classify_options.function", at: MemoryLayout<kinglet_classify_options>.offset(of: \.function), 8)
        field("kinglet_classify_options.aggregation", at: MemoryLayout<kinglet_classify_options>.offset(of: \.aggregation), 12)
        field("kinglet_classify_options.max_length", at: MemoryLayout<kinglet_classify_options>.offset(of: \.max_length), 16)
        field("kinglet_classify_options.cancellation", at: MemoryLayout<kinglet_classify_options>.offset(of: \.cancellation), 24)
        field("kinglet_classify_options.prompt_name", at: MemoryLayout<kinglet_classify_options>.offset(of: \.prompt_name), 32)
        field("kinglet_classify_options.prompt", at: MemoryLayout<kinglet_classify_options>.offset(of: \.prompt), 48)
        field("kinglet_classify_options.priority", at: MemoryLayout<kinglet_classify_options>.offset(of: \.priority), 64)
        field("kinglet_classify_options.deadline_ms", at: MemoryLayout<kinglet_classify_options>.offset(of: \.deadline_ms), 68)
        field("end of kinglet_classify_options", at: MemoryLayout<kinglet_classify_options>.stride, 72)
    }

    @Test func kinglet_classifications_view_layout() {
        field("kinglet_classifications_view.struct_size", at: MemoryLayout<kinglet_classifications_view>.offset(of: \.struct_size), 0)
        field("kinglet_classifications_view.count", at: MemoryLayout<kinglet_classifications_view>.offset(of: \.count), 8)
        field("kinglet_classifications_view.label_count", at: MemoryLayout<kinglet_classifications_view>.offset(of: \.label_count), 16)
        field("kinglet_classifications_view.scores", at: MemoryLayout<kinglet_classifications_view>.offset(of: \.scores), 24)
        field("kinglet_classifications_view.best", at: MemoryLayout<kinglet_classifications_view>.offset(of: \.best), 32)
        field("kinglet_classifications_view.token_counts", at: MemoryLayout<kinglet_classifications_view>.offset(of: \.token_counts), 40)
        field("kinglet_classifications_view.truncated", at: MemoryLayout<kinglet_classifications_view>.offset(of: \.truncated), 48)
        field("end of kinglet_classifications_view", at: MemoryLayout<kinglet_classifications_view>.stride, 56)
    }

    @Test func kinglet_rerank_options_layout() {
        field("kinglet_rerank_options.struct_size", at: MemoryLayout<kinglet_rerank_options>.offset(of: \.struct_size), 0)
        field("kinglet_rerank_options.top_n", at: MemoryLayout<kinglet_rerank_options>.offset(of: \.top_n), 8)
        field("kinglet_rerank_options.scoring", at: MemoryLayout<kinglet_rerank_options>.offset(of: \.scoring), 16)
        field("end of kinglet_rerank_options", at: MemoryLayout<kinglet_rerank_options>.stride, 24)
    }

    @Test func kinglet_ranking_view_layout() {
        field("kinglet_ranking_view.struct_size", at: MemoryLayout<kinglet_ranking_view>.offset(of: \.struct_size), 0)
        field("kinglet_ranking_view.count", at: MemoryLayout<kinglet_ranking_view>.offset(of: \.count), 8)
        field("kinglet_ranking_view.indices", at: MemoryLayout<kinglet_ranking_view>.offset(of: \.indices), 16)
        field("kinglet_ranking_view.scores", at: MemoryLayout<kinglet_ranking_view>.offset(of: \.scores), 24)
        field("kinglet_ranking_view.document_count", at: MemoryLayout<kinglet_ranking_view>.offset(of: \.document_count), 32)
        field("kinglet_ranking_view.token_counts", at: MemoryLayout<kinglet_ranking_view>.offset(of: \.token_counts), 40)
        field("kinglet_ranking_view.truncated", at: MemoryLayout<kinglet_ranking_view>.offset(of: \.truncated), 48)
        field("end of kinglet_ranking_view", at: MemoryLayout<kinglet_ranking_view>.stride, 56)
    }

    @Test func kinglet_token_classifications_view_layout() {
        field("kinglet_token_classifications_view.struct_size", at: MemoryLayout<kinglet_token_classifications_view>.offset(of: \.struct_size), 0)
        field("kinglet_token_classifications_view.count", at: MemoryLayout<kinglet_token_classifications_view>.offset(of: \.count), 8)
        field("kinglet_token_classifications_view.entity_count", at: MemoryLayout<kinglet_token_classifications_view>.offset(of: \.entity_count), 16)
        field("kinglet_token_classifications_view.token_count", at: MemoryLayout<kinglet_token_classifications_view>.offset(of: \.token_count), 24)
        field("kinglet_token_classifications_view.label_count", at: MemoryLayout<kinglet_token_classifications_view>.offset(of: \.label_count), 32)
        field("kinglet_token_classifications_view.scores", at: MemoryLayout<kinglet_token_classifications_view>.offset(of: \.scores), 40)
        field("kinglet_token_classifications_view.starts", at: MemoryLayout<kinglet_token_classifications_view>.offset(of: \.starts), 48)
        field("kinglet_token_classifications_view.truncated", at: MemoryLayout<kinglet_token_classifications_view>.offset(of: \.truncated), 56)
        field("end of kinglet_token_classifications_view", at: MemoryLayout<kinglet_token_classifications_view>.stride, 64)
    }

    @Test func kinglet_entity_layout() {
        field("kinglet_entity.struct_size", at: MemoryLayout<kinglet_entity>.offset(of: \.struct_size), 0)
        field("kinglet_entity.text", at: MemoryLayout<kinglet_entity>.offset(of: \.text), 8)
        field("kinglet_entity.start", at: MemoryLayout<kinglet_entity>.offset(of: \.start), 16)
        field("kinglet_entity.end", at: MemoryLayout<kinglet_entity>.offset(of: \.end), 24)
        field("kinglet_entity.name", at: MemoryLayout<kinglet_entity>.offset(of: \.name), 32)
        field("kinglet_entity.label", at: MemoryLayout<kinglet_entity>.offset(of: \.label), 48)
        field("kinglet_entity.score", at: MemoryLayout<kinglet_entity>.offset(of: \.score), 52)
        field("end of kinglet_entity", at: MemoryLayout<kinglet_entity>.stride, 56)
    }

    @Test func kinglet_zero_shot_options_layout() {
        field("kinglet_zero_shot_options.struct_size", at: MemoryLayout<kinglet_zero_shot_options>.offset(of: \.struct_size), 0)
        field("kinglet_zero_shot_options.hypothesis_template", at: MemoryLayout<kinglet_zero_shot_options>.offset(of: \.hypothesis_template), 8)
        field("kinglet_zero_shot_options.max_length", at: MemoryLayout<kinglet_zero_shot_options>.offset(of: \.max_length), 24)
        field("kinglet_zero_shot_options.cancellation", at: MemoryLayout<kinglet_zero_shot_options>.offset(of: \.cancellation), 32)
        field("kinglet_zero_shot_options.multi_label", at: MemoryLayout<kinglet_zero_shot_options>.offset(of: \.multi_label), 40)
        field("kinglet_zero_shot_options.reserved", at: MemoryLayout<kinglet_zero_shot_options>.offset(of: \.reserved), 44)
        field("kinglet_zero_shot_options.priority", at: MemoryLayout<kinglet_zero_shot_options>.offset(of: \.priority), 48)
        field("kinglet_zero_shot_options.deadline_ms", at: MemoryLayout<kinglet_zero_shot_options>.offset(of: \.deadline_ms), 52)
        field("end of kinglet_zero_shot_options", at: MemoryLayout<kinglet_zero_shot_options>.stride, 56)
    }

    @Test func kinglet_zero_shot_results_view_layout() {
        field("kinglet_zero_shot_results_view.struct_size", at: MemoryLayout<kinglet_zero_shot_results_view>.offset(of: \.struct_size), 0)
        field("kinglet_zero_shot_results_view.count", at: MemoryLayout<kinglet_zero_shot_results_view>.offset(of: \.count), 8)
        field("kinglet_zero_shot_results_view.label_count", at: MemoryLayout<kinglet_zero_shot_results_view>.offset(of: \.label_count), 16)
        field("kinglet_zero_shot_results_view.labels", at: MemoryLayout<kinglet_zero_shot_results_view>.offset(of: \.labels), 24)
        field("kinglet_zero_shot_results_view.scores", at: MemoryLayout<kinglet_zero_shot_results_view>.offset(of: \.scores), 32)
        field("kinglet_zero_shot_results_view.token_counts", at: MemoryLayout<kinglet_zero_shot_results_view>.offset(of: \.token_counts), 40)
        field("kinglet_zero_shot_results_view.truncated", at: MemoryLayout<kinglet_zero_shot_results_view>.offset(of: \.truncated), 48)
        field("end of kinglet_zero_shot_results_view", at: MemoryLayout<kinglet_zero_shot_results_view>.stride, 56)
    }

    @Test func kinglet_fill_mask_options_layout() {
        field("kinglet_fill_mask_options.struct_size", at: MemoryLayout<kinglet_fill_mask_options>.offset(of: \.struct_size), 0)
        field("kinglet_fill_mask_options.top_k", at: MemoryLayout<kinglet_fill_mask_options>.offset(of: \.top_k), 8)
        field("kinglet_fill_mask_options.targets", at: MemoryLayout<kinglet_fill_mask_options>.offset(of: \.targets), 16)
        field("kinglet_fill_mask_options.target_count", at: MemoryLayout<kinglet_fill_mask_options>.offset(of: \.target_count), 24)
        field("kinglet_fill_mask_options.max_length", at: MemoryLayout<kinglet_fill_mask_options>.offset(of: \.max_length), 32)
        field("kinglet_fill_mask_options.cancellation", at: MemoryLayout<kinglet_fill_mask_options>.offset(of: \.cancellation), 40)
        field("kinglet_fill_mask_options.priority", at: MemoryLayout<kinglet_fill_mask_options>.offset(of: \.priority), 48)
        field("kinglet_fill_mask_options.deadline_ms", at: MemoryLayout<kinglet_fill_mask_options>.offset(of: \.deadline_ms), 52)
        field("end of kinglet_fill_mask_options", at: MemoryLayout<kinglet_fill_mask_options>.stride, 56)
    }

    @Test func kinglet_mask_fills_view_layout() {
        field("kinglet_mask_fills_view.struct_size", at: MemoryLayout<kinglet_mask_fills_view>.offset(of: \.struct_size), 0)
        field("kinglet_mask_fills_view.count", at: MemoryLayout<kinglet_mask_fills_view>.offset(of: \.count), 8)
        field("kinglet_mask_fills_view.mask_count", at: MemoryLayout<kinglet_mask_fills_view>.offset(of: \.mask_count), 16)
        field("kinglet_mask_fills_view.top_k", at: MemoryLayout<kinglet_mask_fills_view>.offset(of: \.top_k), 24)
        field("kinglet_mask_fills_view.starts", at: MemoryLayout<kinglet_mask_fills_view>.offset(of: \.starts), 32)
        field("kinglet_mask_fills_view.token_counts", at: MemoryLayout<kinglet_mask_fills_view>.offset(of: \.token_counts), 40)
        field("kinglet_mask_fills_view.truncated", at: MemoryLayout<kinglet_mask_fills_view>.offset(of: \.truncated), 48)
        field("end of kinglet_mask_fills_view", at: MemoryLayout<kinglet_mask_fills_view>.stride, 56)
    }

    @Test func kinglet_mask_fill_layout() {
        field("kinglet_mask_fill.struct_size", at: MemoryLayout<kinglet_mask_fill>.offset(of: \.struct_size), 0)
        field("kinglet_mask_fill.token", at: MemoryLayout<kinglet_mask_fill>.offset(of: \.token), 8)
        field("kinglet_mask_fill.score", at: MemoryLayout<kinglet_mask_fill>.offset(of: \.score), 12)
        field("kinglet_mask_fill.token_text", at: MemoryLayout<kinglet_mask_fill>.offset(of: \.token_text), 16)
        field("kinglet_mask_fill.sequence", at: MemoryLayout<kinglet_mask_fill>.offset(of: \.sequence), 32)
        field("end of kinglet_mask_fill", at: MemoryLayout<kinglet_mask_fill>.stride, 48)
    }

    @Test func kinglet_compress_method_values() {
        constant("KINGLET_COMPRESS_METHOD_AUTO", KINGLET_COMPRESS_METHOD_AUTO.rawValue, 0, kinglet_compress_method_name(0), "auto")
        constant("KINGLET_COMPRESS_METHOD_TOKEN_CLASSIFIER", KINGLET_COMPRESS_METHOD_TOKEN_CLASSIFIER.rawValue, 1, kinglet_compress_method_name(1), "token_classifier")
        constant("KINGLET_COMPRESS_METHOD_SELF_INFORMATION", KINGLET_COMPRESS_METHOD_SELF_INFORMATION.rawValue, 2, kinglet_compress_method_name(2), "self_information")
        constant("KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS", KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS.rawValue, 3, kinglet_compress_method_name(3), "sentence_embeddings")
    }

    @Test func kinglet_compress_unit_values() {
        constant("KINGLET_COMPRESS_UNIT_AUTO", KINGLET_COMPRESS_UNIT_AUTO.rawValue, 0, kinglet_compress_unit_name(0), "auto")
        constant("KINGLET_COMPRESS_UNIT_TOKEN", KINGLET_COMPRESS_UNIT_TOKEN.rawValue, 1, kinglet_compress_unit_name(1), "token")
        constant("KINGLET_COMPRESS_UNIT_WORD", KINGLET_COMPRESS_UNIT_WORD.rawValue, 2, kinglet_compress_unit_name(2), "word")
        constant("KINGLET_COMPRESS_UNIT_SENTENCE", KINGLET_COMPRESS_UNIT_SENTENCE.rawValue, 3, kinglet_compress_unit_name(3), "sentence")
    }

    @Test func kinglet_compress_options_layout() {
        field("kinglet_compress_options.struct_size", at: MemoryLayout<kinglet_compress_options>.offset(of: \.struct_size), 0)
        field("kinglet_compress_options.ratio", at: MemoryLayout<kinglet_compress_options>.offset(of: \.ratio), 8)
        field("kinglet_compress_options.max_tokens", at: MemoryLayout<kinglet_compress_options>.offset(of: \.max_tokens), 16)
        field("kinglet_compress_options.method", at: MemoryLayout<kinglet_compress_options>.offset(of: \.method), 24)
        field("kinglet_compress_options.unit", at: MemoryLayout<kinglet_compress_options>.offset(of: \.unit), 28)
        field("kinglet_compress_options.query", at: MemoryLayout<kinglet_compress_options>.offset(of: \.query), 32)
        field("kinglet_compress_options.keep_label", at: MemoryLayout<kinglet_compress_options>.offset(of: \.keep_label), 48)
        field("kinglet_compress_options.window", at: MemoryLayout<kinglet_compress_options>.offset(of: \.window), 64)
        field("kinglet_compress_options.overlap", at: MemoryLayout<kinglet_compress_options>.offset(of: \.overlap), 72)
        field("kinglet_compress_options.relevance", at: MemoryLayout<kinglet_compress_options>.offset(of: \.relevance), 80)
        field("kinglet_compress_options.force_digits", at: MemoryLayout<kinglet_compress_options>.offset(of: \.force_digits), 84)
        field("kinglet_compress_options.force_capitalized", at: MemoryLayout<kinglet_compress_options>.offset(of: \.force_capitalized), 88)
        field("kinglet_compress_options.reserved", at: MemoryLayout<kinglet_compress_options>.offset(of: \.reserved), 92)
        field("kinglet_compress_options.force_tokens", at: MemoryLayout<kinglet_compress_options>.offset(of: \.force_tokens), 96)
        field("kinglet_compress_options.force_token_count", at: MemoryLayout<kinglet_compress_options>.offset(of: \.force_token_count), 104)
        field("kinglet_compress_options.cancellation", at: MemoryLayout<kinglet_compress_options>.offset(of: \.cancellation), 112)
        field("kinglet_compress_options.priority", at: MemoryLayout<kinglet_compress_options>.offset(of: \.priority), 120)
        field("kinglet_compress_options.deadline_ms", at: MemoryLayout<kinglet_compress_options>.offset(of: \.deadline_ms), 124)
        field("end of kinglet_compress_options", at: MemoryLayout<kinglet_compress_options>.stride, 128)
    }

    @Test func kinglet_compression_view_layout() {
        field("kinglet_compression_view.struct_size", at: MemoryLayout<kinglet_compression_view>.offset(of: \.struct_size), 0)
        field("kinglet_compression_view.text", at: MemoryLayout<kinglet_compression_view>.offset(of: \.text), 8)
        field("kinglet_compression_view.kept", at: MemoryLayout<kinglet_compression_view>.offset(of: \.kept), 24)
        field("kinglet_compression_view.kept_count", at: MemoryLayout<kinglet_compression_view>.offset(of: \.kept_count), 32)
        field("kinglet_compression_view.tokens_before", at: MemoryLayout<kinglet_compression_view>.offset(of: \.tokens_before), 40)
        field("kinglet_compression_view.tokens_after", at: MemoryLayout<kinglet_compression_view>.offset(of: \.tokens_after), 48)
        field("kinglet_compression_view.windows", at: MemoryLayout<kinglet_compression_view>.offset(of: \.windows), 56)
        field("kinglet_compression_view.method", at: MemoryLayout<kinglet_compression_view>.offset(of: \.method), 64)
        field("kinglet_compression_view.reserved", at: MemoryLayout<kinglet_compression_view>.offset(of: \.reserved), 68)
        field("end of kinglet_compression_view", at: MemoryLayout<kinglet_compression_view>.stride, 72)
    }

    @Test func kinglet_prefix_options_layout() {
        field("kinglet_prefix_options.struct_size", at: MemoryLayout<kinglet_prefix_options>.offset(of: \.struct_size), 0)
        field("kinglet_prefix_options.add_special_tokens", at: MemoryLayout<kinglet_prefix_options>.offset(of: \.add_special_tokens), 8)
        field("kinglet_prefix_options.reserved", at: MemoryLayout<kinglet_prefix_options>.offset(of: \.reserved), 12)
        field("kinglet_prefix_options.cancellation", at: MemoryLayout<kinglet_prefix_options>.offset(of: \.cancellation), 16)
        field("end of kinglet_prefix_options", at: MemoryLayout<kinglet_prefix_options>.stride, 24)
    }

    @Test func kinglet_early_stopping_values() {
        constant("KINGLET_EARLY_STOPPING_AUTO", KINGLET_EARLY_STOPPING_AUTO.rawValue, 0, kinglet_early_stopping_name(0), "auto")
        constant("KINGLET_EARLY_STOPPING_NO", KINGLET_EARLY_STOPPING_NO.rawValue, 1, kinglet_early_stopping_name(1), "no")
        constant("KINGLET_EARLY_STOPPING_YES", KINGLET_EARLY_STOPPING_YES.rawValue, 2, kinglet_early_stopping_name(2), "yes")
        constant("KINGLET_EARLY_STOPPING_NEVER", KINGLET_EARLY_STOPPING_NEVER.rawValue, 3, kinglet_early_stopping_name(3), "never")
    }

    @Test func kinglet_grammar_kind_values() {
        constant("KINGLET_GRAMMAR_KIND_NONE", KINGLET_GRAMMAR_KIND_NONE.rawValue, 0, kinglet_grammar_kind_name(0), "none")
        constant("KINGLET_GRAMMAR_KIND_JSON_SCHEMA", KINGLET_GRAMMAR_KIND_JSON_SCHEMA.rawValue, 1, kinglet_grammar_kind_name(1), "json-schema")
        constant("KINGLET_GRAMMAR_KIND_REGEX", KINGLET_GRAMMAR_KIND_REGEX.rawValue, 2, kinglet_grammar_kind_name(2), "regex")
        constant("KINGLET_GRAMMAR_KIND_LARK", KINGLET_GRAMMAR_KIND_LARK.rawValue, 3, kinglet_grammar_kind_name(3), "lark")
    }

    @Test func kinglet_schema_mode_values() {
        constant("KINGLET_SCHEMA_MODE_AUTO", KINGLET_SCHEMA_MODE_AUTO.rawValue, 0, kinglet_schema_mode_name(0), "auto")
        constant("KINGLET_SCHEMA_MODE_CHECK", KINGLET_SCHEMA_MODE_CHECK.rawValue, 1, kinglet_schema_mode_name(1), "check")
        constant("KINGLET_SCHEMA_MODE_STRICT", KINGLET_SCHEMA_MODE_STRICT.rawValue, 2, kinglet_schema_mode_name(2), "strict")
    }

    @Test func kinglet_finish_reason_values() {
        constant("KINGLET_FINISH_REASON_NONE", KINGLET_FINISH_REASON_NONE.rawValue, 0, kinglet_finish_reason_name(0), "none")
        constant("KINGLET_FINISH_REASON_EOS", KINGLET_FINISH_REASON_EOS.rawValue, 1, kinglet_finish_reason_name(1), "eos")
        constant("KINGLET_FINISH_REASON_STOP_STRING", KINGLET_FINISH_REASON_STOP_STRING.rawValue, 2, kinglet_finish_reason_name(2), "stop_string")
        constant("KINGLET_FINISH_REASON_LENGTH", KINGLET_FINISH_REASON_LENGTH.rawValue, 3, kinglet_finish_reason_name(3), "length")
        constant("KINGLET_FINISH_REASON_SCHEMA_MISMATCH", KINGLET_FINISH_REASON_SCHEMA_MISMATCH.rawValue, 4, kinglet_finish_reason_name(4), "schema_mismatch")
    }

    @Test func kinglet_generation_piece_layout() {
        field("kinglet_generation_piece.struct_size", at: MemoryLayout<kinglet_generation_piece>.offset(of: \.struct_size), 0)
        field("kinglet_generation_piece.index", at: MemoryLayout<kinglet_generation_piece>.offset(of: \.index), 8)
        field("kinglet_generation_piece.sequence", at: MemoryLayout<kinglet_generation_piece>.offset(of: \.sequence), 16)
        field("kinglet_generation_piece.text", at: MemoryLayout<kinglet_generation_piece>.offset(of: \.text), 24)
        field("kinglet_generation_piece.token", at: MemoryLayout<kinglet_generation_piece>.offset(of: \.token), 40)
        field("kinglet_generation_piece.finish_reason", at: MemoryLayout<kinglet_generation_piece>.offset(of: \.finish_reason), 44)
        field("end of kinglet_generation_piece", at: MemoryLayout<kinglet_generation_piece>.stride, 48)
    }

    @Test func kinglet_generate_options_layout() {
        field("kinglet_generate_options.struct_size", at: MemoryLayout<kinglet_generate_options>.offset(of: \.struct_size), 0)
        field("kinglet_generate_options.max_new_tokens", at: MemoryLayout<kinglet_generate_options>.offset(of: \.max_new_tokens), 8)
        field("kinglet_generate_options.min_new_tokens", at: MemoryLayout<kinglet_generate_options>.offset(of: \.min_new_tokens), 16)
        field("kinglet_generate_options.num_beams", at: MemoryLayout<kinglet_generate_options>.offset(of: \.num_beams), 24)
        field("kinglet_generate_options.num_return_sequences", at: MemoryLayout<kinglet_generate_options>.offset(of: \.num_return_sequences), 32)
        field("kinglet_generate_options.prompt_lookup_num_tokens", at: MemoryLayout<kinglet_generate_options>.offset(of: \.prompt_lookup_num_tokens), 40)
        field("kinglet_generate_options.max_matching_ngram_size", at: MemoryLayout<kinglet_generate_options>.offset(of: \.max_matching_ngram_size), 48)
        field("kinglet_generate_options.no_repeat_ngram_size", at: MemoryLayout<kinglet_generate_options>.offset(of: \.no_repeat_ngram_size), 56)
        field("kinglet_generate_options.top_k", at: MemoryLayout<kinglet_generate_options>.offset(of: \.top_k), 64)
        field("kinglet_generate_options.seed", at: MemoryLayout<kinglet_generate_options>.offset(of: \.seed), 72)
        field("kinglet_generate_options.has_seed", at: MemoryLayout<kinglet_generate_options>.offset(of: \.has_seed), 80)
        field("kinglet_generate_options.do_sample", at: MemoryLayout<kinglet_generate_options>.offset(of: \.do_sample), 84)
        field("kinglet_generate_options.temperature", at: MemoryLayout<kinglet_generate_options>.offset(of: \.temperature), 88)
        field("kinglet_generate_options.top_p", at: MemoryLayout<kinglet_generate_options>.offset(of: \.top_p), 92)
        field("kinglet_generate_options.min_p", at: MemoryLayout<kinglet_generate_options>.offset(of: \.min_p), 96)
        field("kinglet_generate_options.typical_p", at: MemoryLayout<kinglet_generate_options>.offset(of: \.typical_p), 100)
        field("kinglet_generate_options.repetition_penalty", at: MemoryLayout<kinglet_generate_options>.offset(of: \.repetition_penalty), 104)
        field("kinglet_generate_options.presence_penalty", at: MemoryLayout<kinglet_generate_options>.offset(of: \.presence_penalty), 108)
        field("kinglet_generate_options.frequency_penalty", at: MemoryLayout<kinglet_generate_options>.offset(of: \.frequency_penalty), 112)
        field("kinglet_generate_options.length_penalty", at: MemoryLayout<kinglet_generate_options>.offset(of: \.length_penalty), 116)
        field("kinglet_generate_options.early_stopping", at: MemoryLayout<kinglet_generate_options>.offset(of: \.early_stopping), 120)
        field("kinglet_generate_options.ignore_eos", at: MemoryLayout<kinglet_generate_options>.offset(of: \.ignore_eos), 124)
        field("kinglet_generate_options.logprobs", at: MemoryLayout<kinglet_generate_options>.offset(of: \.logprobs), 128)
        field("kinglet_generate_options.add_special_tokens", at: MemoryLayout<kinglet_generate_options>.offset(of: \.add_special_tokens), 132)
        field("kinglet_generate_options.skip_special_tokens", at: MemoryLayout<kinglet_generate_options>.offset(of: \.skip_special_tokens), 136)
        field("kinglet_generate_options.grammar_kind", at: MemoryLayout<kinglet_generate_options>.offset(of: \.grammar_kind), 140)
        field("kinglet_generate_options.grammar", at: MemoryLayout<kinglet_generate_options>.offset(of: \.grammar), 144)
        field("kinglet_generate_options.stop_strings", at: MemoryLayout<kinglet_generate_options>.offset(of: \.stop_strings), 160)
        field("kinglet_generate_options.stop_string_count", at: MemoryLayout<kinglet_generate_options>.offset(of: \.stop_string_count), 168)
        field("kinglet_generate_options.bad_words_ids", at: MemoryLayout<kinglet_generate_options>.offset(of: \.bad_words_ids), 176)
        field("kinglet_generate_options.bad_word_count", at: MemoryLayout<kinglet_generate_options>.offset(of: \.bad_word_count), 184)
        field("kinglet_generate_options.suppress_tokens", at: MemoryLayout<kinglet_generate_options>.offset(of: \.suppress_tokens), 192)
        field("kinglet_generate_options.begin_suppress_tokens", at: MemoryLayout<kinglet_generate_options>.offset(of: \.begin_suppress_tokens), 208)
        field("kinglet_generate_options.eos_token_ids", at: MemoryLayout<kinglet_generate_options>.offset(of: \.eos_token_ids), 224)
        field("kinglet_generate_options.forced_eos_token_ids", at: MemoryLayout<kinglet_generate_options>.offset(of: \.forced_eos_token_ids), 240)
        field("kinglet_generate_options.forced_bos_token_id", at: MemoryLayout<kinglet_generate_options>.offset(of: \.forced_bos_token_id), 256)
        field("kinglet_generate_options.decoder_start_token_id", at: MemoryLayout<kinglet_generate_options>.offset(of: \.decoder_start_token_id), 264)
        field("kinglet_generate_options.prefix", at: MemoryLayout<kinglet_generate_options>.offset(of: \.prefix), 272)
        field("kinglet_generate_options.cancellation", at: MemoryLayout<kinglet_generate_options>.offset(of: \.cancellation), 280)
        field("kinglet_generate_options.on_piece", at: MemoryLayout<kinglet_generate_options>.offset(of: \.on_piece), 288)
        field("kinglet_generate_options.on_piece_user_data", at: MemoryLayout<kinglet_generate_options>.offset(of: \.on_piece_user_data), 296)
        field("kinglet_generate_options.encoder_no_repeat_ngram_size", at: MemoryLayout<kinglet_generate_options>.offset(of: \.encoder_no_repeat_ngram_size), 304)
        field("kinglet_generate_options.exponential_decay_start", at: MemoryLayout<kinglet_generate_options>.offset(of: \.exponential_decay_start), 312)
        field("kinglet_generate_options.exponential_decay_factor", at: MemoryLayout<kinglet_generate_options>.offset(of: \.exponential_decay_factor), 320)
        field("kinglet_generate_options.encoder_repetition_penalty", at: MemoryLayout<kinglet_generate_options>.offset(of: \.encoder_repetition_penalty), 324)
        field("kinglet_generate_options.sequence_bias_ids", at: MemoryLayout<kinglet_generate_options>.offset(of: \.sequence_bias_ids), 328)
        field("kinglet_generate_options.sequence_bias", at: MemoryLayout<kinglet_generate_options>.offset(of: \.sequence_bias), 336)
        field("kinglet_generate_options.sequence_bias_count", at: MemoryLayout<kinglet_generate_options>.offset(of: \.sequence_bias_count), 344)
        field("kinglet_generate_options.decoder_input_ids", at: MemoryLayout<kinglet_generate_options>.offset(of: \.decoder_input_ids), 352)
        field("kinglet_generate_options.decoder_input_count", at: MemoryLayout<kinglet_generate_options>.offset(of: \.decoder_input_count), 360)
        field("kinglet_generate_options.decoder_input_texts", at: MemoryLayout<kinglet_generate_options>.offset(of: \.decoder_input_texts), 368)
        field("kinglet_generate_options.decoder_input_text_count", at: MemoryLayout<kinglet_generate_options>.offset(of: \.decoder_input_text_count), 376)
        field("kinglet_generate_options.max_input_length", at: MemoryLayout<kinglet_generate_options>.offset(of: \.max_input_length), 384)
        field("kinglet_generate_options.schema_mode", at: MemoryLayout<kinglet_generate_options>.offset(of: \.schema_mode), 392)
        field("kinglet_generate_options.priority", at: MemoryLayout<kinglet_generate_options>.offset(of: \.priority), 396)
        field("kinglet_generate_options.deadline_ms", at: MemoryLayout<kinglet_generate_options>.offset(of: \.deadline_ms), 400)
        field("kinglet_generate_options.reserved", at: MemoryLayout<kinglet_generate_options>.offset(of: \.reserved), 404)
        field("kinglet_generate_options.grammar_work_limit", at: MemoryLayout<kinglet_generate_options>.offset(of: \.grammar_work_limit), 408)
        field("kinglet_generate_options.grammar_memory_limit", at: MemoryLayout<kinglet_generate_options>.offset(of: \.grammar_memory_limit), 416)
        field("kinglet_generate_options.tool_choice", at: MemoryLayout<kinglet_generate_options>.offset(of: \.tool_choice), 424)
        field("end of kinglet_generate_options", at: MemoryLayout<kinglet_generate_options>.stride, 440)
    }

    @Test func kinglet_generations_view_layout() {
        field("kinglet_generations_view.struct_size", at: MemoryLayout<kinglet_generations_view>.offset(of: \.struct_size), 0)
        field("kinglet_generations_view.count", at: MemoryLayout<kinglet_generations_view>.offset(of: \.count), 8)
        field("kinglet_generations_view.input_token_counts", at: MemoryLayout<kinglet_generations_view>.offset(of: \.input_token_counts), 16)
        field("kinglet_generations_view.truncated", at: MemoryLayout<kinglet_generations_view>.offset(of: \.truncated), 24)
        field("end of kinglet_generations_view", at: MemoryLayout<kinglet_generations_view>.stride, 32)
    }

    @Test func kinglet_generation_output_layout() {
        field("kinglet_generation_output.struct_size", at: MemoryLayout<kinglet_generation_output>.offset(of: \.struct_size), 0)
        field("kinglet_generation_output.output_count", at: MemoryLayout<kinglet_generation_output>.offset(of: \.output_count), 8)
        field("kinglet_generation_output.text", at: MemoryLayout<kinglet_generation_output>.offset(of: \.text), 16)
        field("kinglet_generation_output.tokens", at: MemoryLayout<kinglet_generation_output>.offset(of: \.tokens), 32)
        field("kinglet_generation_output.token_count", at: MemoryLayout<kinglet_generation_output>.offset(of: \.token_count), 40)
        field("kinglet_generation_output.logprobs", at: MemoryLayout<kinglet_generation_output>.offset(of: \.logprobs), 48)
        field("kinglet_generation_output.score", at: MemoryLayout<kinglet_generation_output>.offset(of: \.score), 56)
        field("kinglet_generation_output.finish_reason", at: MemoryLayout<kinglet_generation_output>.offset(of: \.finish_reason), 60)
        field("kinglet_generation_output.message", at: MemoryLayout<kinglet_generation_output>.offset(of: \.message), 64)
        field("end of kinglet_generation_output", at: MemoryLayout<kinglet_generation_output>.stride, 80)
    }

    @Test func kinglet_tool_format_values() {
        constant("KINGLET_TOOL_FORMAT_AUTO", KINGLET_TOOL_FORMAT_AUTO.rawValue, 0, kinglet_tool_format_name(0), "auto")
        constant("KINGLET_TOOL_FORMAT_HERMES", KINGLET_TOOL_FORMAT_HERMES.rawValue, 1, kinglet_tool_format_name(1), "hermes")
        constant("KINGLET_TOOL_FORMAT_LLAMA3", KINGLET_TOOL_FORMAT_LLAMA3.rawValue, 2, kinglet_tool_format_name(2), "llama3")
        constant("KINGLET_TOOL_FORMAT_MISTRAL", KINGLET_TOOL_FORMAT_MISTRAL.rawValue, 3, kinglet_tool_format_name(3), "mistral")
        constant("KINGLET_TOOL_FORMAT_QWEN_XML", KINGLET_TOOL_FORMAT_QWEN_XML.rawValue, 4, kinglet_tool_format_name(4), "qwen_xml")
    }

    @Test func kinglet_chat_options_layout() {
        field("kinglet_chat_options.struct_size", at: MemoryLayout<kinglet_chat_options>.offset(of: \.struct_size), 0)
        field("kinglet_chat_options.tools", at: MemoryLayout<kinglet_chat_options>.offset(of: \.tools), 8)
        field("kinglet_chat_options.documents", at: MemoryLayout<kinglet_chat_options>.offset(of: \.documents), 24)
        field("kinglet_chat_options.template_variables", at: MemoryLayout<kinglet_chat_options>.offset(of: \.template_variables), 40)
        field("kinglet_chat_options.tool_format", at: MemoryLayout<kinglet_chat_options>.offset(of: \.tool_format), 56)
        field("kinglet_chat_options.add_generation_prompt", at: MemoryLayout<kinglet_chat_options>.offset(of: \.add_generation_prompt), 60)
        field("kinglet_chat_options.continue_final_message", at: MemoryLayout<kinglet_chat_options>.offset(of: \.continue_final_message), 64)
        field("kinglet_chat_options.reserved", at: MemoryLayout<kinglet_chat_options>.offset(of: \.reserved), 68)
        field("kinglet_chat_options.cancellation", at: MemoryLayout<kinglet_chat_options>.offset(of: \.cancellation), 72)
        field("end of kinglet_chat_options", at: MemoryLayout<kinglet_chat_options>.stride, 80)
    }

    @Test func kinglet_message_layout() {
        field("kinglet_message.struct_size", at: MemoryLayout<kinglet_message>.offset(of: \.struct_size), 0)
        field("kinglet_message.role", at: MemoryLayout<kinglet_message>.offset(of: \.role), 8)
        field("kinglet_message.content", at: MemoryLayout<kinglet_message>.offset(of: \.content), 24)
        field("kinglet_message.json", at: MemoryLayout<kinglet_message>.offset(of: \.json), 40)
        field("end of kinglet_message", at: MemoryLayout<kinglet_message>.stride, 56)
    }

    @Test func kinglet_session_options_layout() {
        field("kinglet_session_options.struct_size", at: MemoryLayout<kinglet_session_options>.offset(of: \.struct_size), 0)
        field("kinglet_session_options.chat", at: MemoryLayout<kinglet_session_options>.offset(of: \.chat), 8)
        field("end of kinglet_session_options", at: MemoryLayout<kinglet_session_options>.stride, 16)
    }

    @Test func kinglet_session_view_layout() {
        field("kinglet_session_view.struct_size", at: MemoryLayout<kinglet_session_view>.offset(of: \.struct_size), 0)
        field("kinglet_session_view.message_count", at: MemoryLayout<kinglet_session_view>.offset(of: \.message_count), 8)
        field("kinglet_session_view.held_tokens", at: MemoryLayout<kinglet_session_view>.offset(of: \.held_tokens), 16)
        field("end of kinglet_session_view", at: MemoryLayout<kinglet_session_view>.stride, 24)
    }

    @Test func kinglet_logits_options_layout() {
        field("kinglet_logits_options.struct_size", at: MemoryLayout<kinglet_logits_options>.offset(of: \.struct_size), 0)
        field("kinglet_logits_options.stepwise", at: MemoryLayout<kinglet_logits_options>.offset(of: \.stepwise), 8)
        field("kinglet_logits_options.reserved", at: MemoryLayout<kinglet_logits_options>.offset(of: \.reserved), 12)
        field("kinglet_logits_options.cancellation", at: MemoryLayout<kinglet_logits_options>.offset(of: \.cancellation), 16)
        field("end of kinglet_logits_options", at: MemoryLayout<kinglet_logits_options>.stride, 24)
    }

    @Test func kinglet_logits_view_layout() {
        field("kinglet_logits_view.struct_size", at: MemoryLayout<kinglet_logits_view>.offset(of: \.struct_size), 0)
        field("kinglet_logits_view.token_count", at: MemoryLayout<kinglet_logits_view>.offset(of: \.token_count), 8)
        field("kinglet_logits_view.vocabulary_size", at: MemoryLayout<kinglet_logits_view>.offset(of: \.vocabulary_size), 16)
        field("kinglet_logits_view.values", at: MemoryLayout<kinglet_logits_view>.offset(of: \.values), 24)
        field("end of kinglet_logits_view", at: MemoryLayout<kinglet_logits_view>.stride, 32)
    }

    @Test func kinglet_hidden_states_options_layout() {
        field("kinglet_hidden_states_options.struct_size", at: MemoryLayout<kinglet_hidden_states_options>.offset(of: \.struct_size), 0)
        field("kinglet_hidden_states_options.cancellation", at: MemoryLayout<kinglet_hidden_states_options>.offset(of: \.cancellation), 8)
        field("end of kinglet_hidden_states_options", at: MemoryLayout<kinglet_hidden_states_options>.stride, 16)
    }

    @Test func kinglet_hidden_states_view_layout() {
        field("kinglet_hidden_states_view.struct_size", at: MemoryLayout<kinglet_hidden_states_view>.offset(of: \.struct_size), 0)
        field("kinglet_hidden_states_view.count", at: MemoryLayout<kinglet_hidden_states_view>.offset(of: \.count), 8)
        field("kinglet_hidden_states_view.token_count", at: MemoryLayout<kinglet_hidden_states_view>.offset(of: \.token_count), 16)
        field("kinglet_hidden_states_view.dimension", at: MemoryLayout<kinglet_hidden_states_view>.offset(of: \.dimension), 24)
        field("kinglet_hidden_states_view.values", at: MemoryLayout<kinglet_hidden_states_view>.offset(of: \.values), 32)
        field("kinglet_hidden_states_view.starts", at: MemoryLayout<kinglet_hidden_states_view>.offset(of: \.starts), 40)
        field("end of kinglet_hidden_states_view", at: MemoryLayout<kinglet_hidden_states_view>.stride, 48)
    }

    @Test func kinglet_stage_values() {
        constant("KINGLET_STAGE_LOAD", KINGLET_STAGE_LOAD.rawValue, 0, kinglet_stage_name(0), "load")
        constant("KINGLET_STAGE_TOKENIZE", KINGLET_STAGE_TOKENIZE.rawValue, 1, kinglet_stage_name(1), "tokenize")
        constant("KINGLET_STAGE_PACK", KINGLET_STAGE_PACK.rawValue, 2, kinglet_stage_name(2), "pack")
        constant("KINGLET_STAGE_EMBED", KINGLET_STAGE_EMBED.rawValue, 3, kinglet_stage_name(3), "embed")
        constant("KINGLET_STAGE_ATTENTION", KINGLET_STAGE_ATTENTION.rawValue, 4, kinglet_stage_name(4), "attention")
        constant("KINGLET_STAGE_LINEAR", KINGLET_STAGE_LINEAR.rawValue, 5, kinglet_stage_name(5), "linear")
        constant("KINGLET_STAGE_POOL", KINGLET_STAGE_POOL.rawValue, 6, kinglet_stage_name(6), "pool")
        constant("KINGLET_STAGE_CALL", KINGLET_STAGE_CALL.rawValue, 7, kinglet_stage_name(7), "call")
        constant("KINGLET_STAGE_PREFILL", KINGLET_STAGE_PREFILL.rawValue, 8, kinglet_stage_name(8), "prefill")
        constant("KINGLET_STAGE_DECODE", KINGLET_STAGE_DECODE.rawValue, 9, kinglet_stage_name(9), "decode")
        constant("KINGLET_STAGE_SAMPLE", KINGLET_STAGE_SAMPLE.rawValue, 10, kinglet_stage_name(10), "sample")
        constant("KINGLET_STAGE_DETOKENIZE", KINGLET_STAGE_DETOKENIZE.rawValue, 11, kinglet_stage_name(11), "detokenize")
        constant("KINGLET_STAGE_FIRST_TOKEN", KINGLET_STAGE_FIRST_TOKEN.rawValue, 12, kinglet_stage_name(12), "first_token")
        constant("KINGLET_STAGE_ANSWER_HIT", KINGLET_STAGE_ANSWER_HIT.rawValue, 13, kinglet_stage_name(13), "answer_hit")
        constant("KINGLET_STAGE_ANSWER_MISS", KINGLET_STAGE_ANSWER_MISS.rawValue, 14, kinglet_stage_name(14), "answer_miss")
        constant("KINGLET_STAGE_DRAFT", KINGLET_STAGE_DRAFT.rawValue, 15, kinglet_stage_name(15), "draft")
        constant("KINGLET_STAGE_ACCEPT", KINGLET_STAGE_ACCEPT.rawValue, 16, kinglet_stage_name(16), "accept")
        constant("KINGLET_STAGE_TRANSFER", KINGLET_STAGE_TRANSFER.rawValue, 17, kinglet_stage_name(17), "transfer")
        constant("KINGLET_STAGE_QUEUE_WAIT", KINGLET_STAGE_QUEUE_WAIT.rawValue, 18, kinglet_stage_name(18), "queue_wait")
        constant("KINGLET_STAGE_SHARED_PASS", KINGLET_STAGE_SHARED_PASS.rawValue, 19, kinglet_stage_name(19), "shared_pass")
        constant("KINGLET_STAGE_BUSY", KINGLET_STAGE_BUSY.rawValue, 20, kinglet_stage_name(20), "busy")
        constant("KINGLET_STAGE_DEADLINE_MISSED", KINGLET_STAGE_DEADLINE_MISSED.rawValue, 21, kinglet_stage_name(21), "deadline_missed")
        constant("KINGLET_STAGE_FIRST_TOKEN_INTERACTIVE", KINGLET_STAGE_FIRST_TOKEN_INTERACTIVE.rawValue, 22, kinglet_stage_name(22), "first_token_interactive")
        constant("KINGLET_STAGE_FIRST_TOKEN_NORMAL", KINGLET_STAGE_FIRST_TOKEN_NORMAL.rawValue, 23, kinglet_stage_name(23), "first_token_normal")
        constant("KINGLET_STAGE_FIRST_TOKEN_BULK", KINGLET_STAGE_FIRST_TOKEN_BULK.rawValue, 24, kinglet_stage_name(24), "first_token_bulk")
        constant("KINGLET_STAGE_OUTPUT_TOKEN_INTERACTIVE", KINGLET_STAGE_OUTPUT_TOKEN_INTERACTIVE.rawValue, 25, kinglet_stage_name(25), "output_token_interactive")
        constant("KINGLET_STAGE_OUTPUT_TOKEN_NORMAL", KINGLET_STAGE_OUTPUT_TOKEN_NORMAL.rawValue, 26, kinglet_stage_name(26), "output_token_normal")
        constant("KINGLET_STAGE_OUTPUT_TOKEN_BULK", KINGLET_STAGE_OUTPUT_TOKEN_BULK.rawValue, 27, kinglet_stage_name(27), "output_token_bulk")
    }

    @Test func kinglet_stage_totals_layout() {
        field("kinglet_stage_totals.struct_size", at: MemoryLayout<kinglet_stage_totals>.offset(of: \.struct_size), 0)
        field("kinglet_stage_totals.calls", at: MemoryLayout<kinglet_stage_totals>.offset(of: \.calls), 8)
        field("kinglet_stage_totals.items", at: MemoryLayout<kinglet_stage_totals>.offset(of: \.items), 16)
        field("kinglet_stage_totals.tokens", at: MemoryLayout<kinglet_stage_totals>.offset(of: \.tokens), 24)
        field("kinglet_stage_totals.nanoseconds", at: MemoryLayout<kinglet_stage_totals>.offset(of: \.nanoseconds), 32)
        field("end of kinglet_stage_totals", at: MemoryLayout<kinglet_stage_totals>.stride, 40)
    }

    @Test func kinglet_latency_layout() {
        field("kinglet_latency.struct_size", at: MemoryLayout<kinglet_latency>.offset(of: \.struct_size), 0)
        field("kinglet_latency.count", at: MemoryLayout<kinglet_latency>.offset(of: \.count), 8)
        field("kinglet_latency.min", at: MemoryLayout<kinglet_latency>.offset(of: \.min), 16)
        field("kinglet_latency.max", at: MemoryLayout<kinglet_latency>.offset(of: \.max), 24)
        field("kinglet_latency.p50", at: MemoryLayout<kinglet_latency>.offset(of: \.p50), 32)
        field("kinglet_latency.p90", at: MemoryLayout<kinglet_latency>.offset(of: \.p90), 40)
        field("kinglet_latency.p95", at: MemoryLayout<kinglet_latency>.offset(of: \.p95), 48)
        field("kinglet_latency.p99", at: MemoryLayout<kinglet_latency>.offset(of: \.p99), 56)
        field("kinglet_latency.mean", at: MemoryLayout<kinglet_latency>.offset(of: \.mean), 64)
        field("kinglet_latency.standard_deviation", at: MemoryLayout<kinglet_latency>.offset(of: \.standard_deviation), 72)
        field("end of kinglet_latency", at: MemoryLayout<kinglet_latency>.stride, 80)
    }

    @Test func kinglet_counters_format_values() {
        constant("KINGLET_COUNTERS_FORMAT_JSON", KINGLET_COUNTERS_FORMAT_JSON.rawValue, 0, kinglet_counters_format_name(0), "json")
        constant("KINGLET_COUNTERS_FORMAT_CSV", KINGLET_COUNTERS_FORMAT_CSV.rawValue, 1, kinglet_counters_format_name(1), "csv")
        constant("KINGLET_COUNTERS_FORMAT_PROMETHEUS", KINGLET_COUNTERS_FORMAT_PROMETHEUS.rawValue, 2, kinglet_counters_format_name(2), "prometheus")
    }

    @Test func kinglet_devices_options_layout() {
        field("kinglet_devices_options.struct_size", at: MemoryLayout<kinglet_devices_options>.offset(of: \.struct_size), 0)
        field("kinglet_devices_options.open_libraries", at: MemoryLayout<kinglet_devices_options>.offset(of: \.open_libraries), 8)
        field("kinglet_devices_options.reserved", at: MemoryLayout<kinglet_devices_options>.offset(of: \.reserved), 12)
        field("end of kinglet_devices_options", at: MemoryLayout<kinglet_devices_options>.stride, 16)
    }

    @Test func kinglet_device_info_layout() {
        field("kinglet_device_info.struct_size", at: MemoryLayout<kinglet_device_info>.offset(of: \.struct_size), 0)
        field("kinglet_device_info.device", at: MemoryLayout<kinglet_device_info>.offset(of: \.device), 8)
        field("kinglet_device_info.device_index", at: MemoryLayout<kinglet_device_info>.offset(of: \.device_index), 12)
        field("kinglet_device_info.name", at: MemoryLayout<kinglet_device_info>.offset(of: \.name), 16)
        field("kinglet_device_info.memory_total", at: MemoryLayout<kinglet_device_info>.offset(of: \.memory_total), 32)
        field("kinglet_device_info.memory_free", at: MemoryLayout<kinglet_device_info>.offset(of: \.memory_free), 40)
        field("end of kinglet_device_info", at: MemoryLayout<kinglet_device_info>.stride, 48)
    }

    @Test func kinglet_quantize_options_layout() {
        field("kinglet_quantize_options.struct_size", at: MemoryLayout<kinglet_quantize_options>.offset(of: \.struct_size), 0)
        field("kinglet_quantize_options.cancellation", at: MemoryLayout<kinglet_quantize_options>.offset(of: \.cancellation), 8)
        field("kinglet_quantize_options.progress", at: MemoryLayout<kinglet_quantize_options>.offset(of: \.progress), 16)
        field("kinglet_quantize_options.progress_user_data", at: MemoryLayout<kinglet_quantize_options>.offset(of: \.progress_user_data), 24)
        field("kinglet_quantize_options.calibration_texts", at: MemoryLayout<kinglet_quantize_options>.offset(of: \.calibration_texts), 32)
        field("kinglet_quantize_options.calibration_text_count", at: MemoryLayout<kinglet_quantize_options>.offset(of: \.calibration_text_count), 40)
        field("end of kinglet_quantize_options", at: MemoryLayout<kinglet_quantize_options>.stride, 48)
    }

    @Test func kinglet_batch_goal_values() {
        constant("KINGLET_BATCH_GOAL_THROUGHPUT", KINGLET_BATCH_GOAL_THROUGHPUT.rawValue, 0, kinglet_batch_goal_name(0), "throughput")
        constant("KINGLET_BATCH_GOAL_LATENCY", KINGLET_BATCH_GOAL_LATENCY.rawValue, 1, kinglet_batch_goal_name(1), "latency")
        constant("KINGLET_BATCH_GOAL_MEMORY", KINGLET_BATCH_GOAL_MEMORY.rawValue, 2, kinglet_batch_goal_name(2), "memory")
    }

    @Test func kinglet_workload_layout() {
        field("kinglet_workload.struct_size", at: MemoryLayout<kinglet_workload>.offset(of: \.struct_size), 0)
        field("kinglet_workload.input_tokens", at: MemoryLayout<kinglet_workload>.offset(of: \.input_tokens), 8)
        field("kinglet_workload.input_spread", at: MemoryLayout<kinglet_workload>.offset(of: \.input_spread), 16)
        field("kinglet_workload.output_tokens", at: MemoryLayout<kinglet_workload>.offset(of: \.output_tokens), 24)
        field("kinglet_workload.beams", at: MemoryLayout<kinglet_workload>.offset(of: \.beams), 32)
        field("end of kinglet_workload", at: MemoryLayout<kinglet_workload>.stride, 40)
    }

    @Test func kinglet_suggest_batch_size_options_layout() {
        field("kinglet_suggest_batch_size_options.struct_size", at: MemoryLayout<kinglet_suggest_batch_size_options>.offset(of: \.struct_size), 0)
        field("kinglet_suggest_batch_size_options.goal", at: MemoryLayout<kinglet_suggest_batch_size_options>.offset(of: \.goal), 8)
        field("kinglet_suggest_batch_size_options.skip_calibration", at: MemoryLayout<kinglet_suggest_batch_size_options>.offset(of: \.skip_calibration), 12)
        field("kinglet_suggest_batch_size_options.latency_ms", at: MemoryLayout<kinglet_suggest_batch_size_options>.offset(of: \.latency_ms), 16)
        field("kinglet_suggest_batch_size_options.memory_bytes", at: MemoryLayout<kinglet_suggest_batch_size_options>.offset(of: \.memory_bytes), 24)
        field("kinglet_suggest_batch_size_options.calibration_file", at: MemoryLayout<kinglet_suggest_batch_size_options>.offset(of: \.calibration_file), 32)
        field("kinglet_suggest_batch_size_options.calibration_ms", at: MemoryLayout<kinglet_suggest_batch_size_options>.offset(of: \.calibration_ms), 48)
        field("kinglet_suggest_batch_size_options.reserved", at: MemoryLayout<kinglet_suggest_batch_size_options>.offset(of: \.reserved), 52)
        field("kinglet_suggest_batch_size_options.cancellation", at: MemoryLayout<kinglet_suggest_batch_size_options>.offset(of: \.cancellation), 56)
        field("end of kinglet_suggest_batch_size_options", at: MemoryLayout<kinglet_suggest_batch_size_options>.stride, 64)
    }

    @Test func kinglet_batch_suggestion_view_layout() {
        field("kinglet_batch_suggestion_view.struct_size", at: MemoryLayout<kinglet_batch_suggestion_view>.offset(of: \.struct_size), 0)
        field("kinglet_batch_suggestion_view.batch_size", at: MemoryLayout<kinglet_batch_suggestion_view>.offset(of: \.batch_size), 8)
        field("kinglet_batch_suggestion_view.batch_ms", at: MemoryLayout<kinglet_batch_suggestion_view>.offset(of: \.batch_ms), 16)
        field("kinglet_batch_suggestion_view.texts_per_second", at: MemoryLayout<kinglet_batch_suggestion_view>.offset(of: \.texts_per_second), 24)
        field("kinglet_batch_suggestion_view.tokens_per_second", at: MemoryLayout<kinglet_batch_suggestion_view>.offset(of: \.tokens_per_second), 32)
        field("kinglet_batch_suggestion_view.bytes", at: MemoryLayout<kinglet_batch_suggestion_view>.offset(of: \.bytes), 40)
        field("kinglet_batch_suggestion_view.within_bound", at: MemoryLayout<kinglet_batch_suggestion_view>.offset(of: \.within_bound), 48)
        field("kinglet_batch_suggestion_view.reserved", at: MemoryLayout<kinglet_batch_suggestion_view>.offset(of: \.reserved), 52)
        field("kinglet_batch_suggestion_view.explanation", at: MemoryLayout<kinglet_batch_suggestion_view>.offset(of: \.explanation), 56)
        field("end of kinglet_batch_suggestion_view", at: MemoryLayout<kinglet_batch_suggestion_view>.stride, 72)
    }
}

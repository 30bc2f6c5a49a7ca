// Generated from src/ffi by `make header`; do not edit.

#ifndef KINGLET_ENUMS_HPP
#define KINGLET_ENUMS_HPP

#include <kinglet.h>

#include <cstdint>

namespace kinglet {

/// The outcome of a call. Later versions may add values.
enum class Status : std::uint32_t {
    /// The call succeeded.
    Ok = KINGLET_STATUS_OK,
    /// An argument is NULL, out of range, not UTF-8, or contradicts another.
    InvalidArgument = KINGLET_STATUS_INVALID_ARGUMENT,
    /// A file or directory does not exist.
    NotFound = KINGLET_STATUS_NOT_FOUND,
    /// A file exists but could not be read or written.
    Io = KINGLET_STATUS_IO,
    /// The contents of a file break the rules of its format.
    InvalidFile = KINGLET_STATUS_INVALID_FILE,
    /// The request is well formed, but this build, machine or model cannot serve it.
    Unsupported = KINGLET_STATUS_UNSUPPORTED,
    /// The call would exceed the memory limit, or the system has no memory left.
    OutOfMemory = KINGLET_STATUS_OUT_OF_MEMORY,
    /// The caller cancelled the call, by its cancellation handle or from a callback.
    Cancelled = KINGLET_STATUS_CANCELLED,
    /// A defect in Kinglet, reported instead of crashing the program.
    Panic = KINGLET_STATUS_PANIC,
    /// A defect in Kinglet, found by one of its own checks.
    Internal = KINGLET_STATUS_INTERNAL,
    /// The model's queue is full (kinglet_scheduler_options); nothing was done. Try again later.
    Busy = KINGLET_STATUS_BUSY,
    /// The deadline in the call's options passed before it was done.
    DeadlineExceeded = KINGLET_STATUS_DEADLINE_EXCEEDED,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(Status value) noexcept {
    return kinglet_status_name(static_cast<kinglet_status>(value));
}

/// A switch that may be left undecided.
enum class Tristate : std::uint32_t {
    /// The model's files decide; where they are silent, the default that the field names.
    Auto = KINGLET_TRISTATE_AUTO,
    /// No.
    No = KINGLET_TRISTATE_NO,
    /// Yes.
    Yes = KINGLET_TRISTATE_YES,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(Tristate value) noexcept {
    return kinglet_tristate_name(static_cast<kinglet_tristate>(value));
}

/// How urgent a call is. Work of a higher priority goes first; within a priority, calls take turns.
enum class Priority : std::uint32_t {
    /// The default.
    Normal = KINGLET_PRIORITY_NORMAL,
    /// Somebody waits for the result: it goes first, and it does not wait until texts of a lower priority are
    /// done.
    Interactive = KINGLET_PRIORITY_INTERACTIVE,
    /// Work in the background, which waits for all other calls.
    Bulk = KINGLET_PRIORITY_BULK,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(Priority value) noexcept {
    return kinglet_priority_name(static_cast<kinglet_priority>(value));
}

/// Where a model runs.
enum class Device : std::uint32_t {
    /// Kinglet's own engine on the CPU.
    Cpu = KINGLET_DEVICE_CPU,
    /// The candle library on the CPU: in f32 the reference that the engine is tested against. Slow; candle
    /// chooses its number of threads.
    CandleCpu = KINGLET_DEVICE_CANDLE_CPU,
    /// NVIDIA GPUs, through a second library, libkinglet_cuda.so, which is opened on first use from the
    /// directory of this library, or from the path in the environment variable KINGLET_PROVIDER. Where the
    /// library, a driver or a GPU is missing, loading a model fails as unsupported, with the reason.
    Cuda = KINGLET_DEVICE_CUDA,
    /// Apple GPUs, in builds with the feature `metal`; unsupported in other builds.
    Metal = KINGLET_DEVICE_METAL,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(Device value) noexcept {
    return kinglet_device_name(static_cast<kinglet_device>(value));
}

/// The number format of weights and matrix products.
enum class Precision : std::uint32_t {
    /// The format of the model's files: f32 stays f32; f16 and bf16 become f16; Q4_0 and Q4_1 of GGUF become
    /// int4, its other quantised types int8; a .kinglet file keeps its own. On CUDA and Metal bf16 stays
    /// bf16; on the device candle-cpu all become f32.
    Auto = KINGLET_PRECISION_AUTO,
    /// Weights, activations and KV cache in f32.
    F32 = KINGLET_PRECISION_F32,
    /// Weights in f16; activations and accumulation in f32. On GPUs matrix products read and write f16. On
    /// the CPU the KV cache is f16 in this and the next three precisions.
    F16 = KINGLET_PRECISION_F16,
    /// Weights and the activations that they are multiplied with in 8-bit integers, accumulated exactly. On
    /// GPUs weights are quantised in blocks of 32 that share a scale.
    Int8 = KINGLET_PRECISION_INT8,
    /// Weights and the activations that they are multiplied with in bf16, accumulated in f32. Use it on CPUs
    /// with AMX or fast AVX512-BF16 (AMD Zen 5: twice the speed of f32). On other CPUs f16 is at least as
    /// fast and more accurate.
    Bf16 = KINGLET_PRECISION_BF16,
    /// Weights in 4 bits with a step and a least value per group of 32 inputs, multiplied with activations in
    /// 8 bits and accumulated exactly within a group. The output layer and embedding tables are as in int8.
    /// For models of a billion parameters or more, whose decoding waits for memory; smaller ones lose more
    /// quality (docs/precision.md).
    Int4 = KINGLET_PRECISION_INT4,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(Precision value) noexcept {
    return kinglet_precision_name(static_cast<kinglet_precision>(value));
}

/// How severe a log record is; a smaller number is more severe.
enum class LogLevel : std::uint32_t {
    /// In options: the default level, info.
    Default = KINGLET_LOG_LEVEL_DEFAULT,
    /// Something failed.
    Error = KINGLET_LOG_LEVEL_ERROR,
    /// Something may surprise: a setting of the model that is not supported, fewer threads than were asked
    /// for.
    Warning = KINGLET_LOG_LEVEL_WARNING,
    /// Something happened, about once per load.
    Info = KINGLET_LOG_LEVEL_INFO,
    /// Details.
    Debug = KINGLET_LOG_LEVEL_DEBUG,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(LogLevel value) noexcept {
    return kinglet_log_level_name(static_cast<kinglet_log_level>(value));
}

/// How the token vectors of a text become one vector.
enum class Pooling : std::uint32_t {
    /// As the model's sentence-transformers files say. Without such files the last token for decoders that
    /// generate, else the mean.
    Auto = KINGLET_POOLING_AUTO,
    /// The mean over all tokens, special tokens included.
    Mean = KINGLET_POOLING_MEAN,
    /// The vector of the first token.
    Cls = KINGLET_POOLING_CLS,
    /// The vector of the last token.
    Last = KINGLET_POOLING_LAST,
    /// No pooling: one vector per token.
    None = KINGLET_POOLING_NONE,
    /// The largest value of each component over all tokens.
    Max = KINGLET_POOLING_MAX,
    /// The mean weighted by position: the first token counts once, the second twice, and so on.
    Weightedmean = KINGLET_POOLING_WEIGHTEDMEAN,
    /// The sum over all tokens divided by the square root of their number.
    MeanSqrtLenTokens = KINGLET_POOLING_MEAN_SQRT_LEN_TOKENS,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(Pooling value) noexcept {
    return kinglet_pooling_name(static_cast<kinglet_pooling>(value));
}

/// The type of an embedding's elements.
enum class EmbeddingType : std::uint32_t {
    /// float.
    Float32 = KINGLET_EMBEDDING_TYPE_FLOAT32,
    /// IEEE half precision, two bytes.
    Float16 = KINGLET_EMBEDDING_TYPE_FLOAT16,
    /// One of 256 steps of the dimension's range, from -128 to 127.
    Int8 = KINGLET_EMBEDDING_TYPE_INT8,
    /// The same from 0 to 255.
    Uint8 = KINGLET_EMBEDDING_TYPE_UINT8,
    /// Whether each value is above 0, as a bit: eight values to an element, the first in the highest bit, and
    /// 128 subtracted, which makes it an int8_t.
    Binary = KINGLET_EMBEDDING_TYPE_BINARY,
    /// The same as uint8_t.
    Ubinary = KINGLET_EMBEDDING_TYPE_UBINARY,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(EmbeddingType value) noexcept {
    return kinglet_embedding_type_name(static_cast<kinglet_embedding_type>(value));
}

/// What makes two embeddings similar.
enum class Similarity : std::uint32_t {
    /// Cosine for floats, the dot product for int8 and uint8, Hamming for binary types.
    Auto = KINGLET_SIMILARITY_AUTO,
    /// The sum of the products of their values. Codes count as the numbers that they are.
    Dot = KINGLET_SIMILARITY_DOT,
    /// The same divided by the lengths of both; 0 where a length is 0.
    Cosine = KINGLET_SIMILARITY_COSINE,
    /// Only of binary types: how many bits differ, negated, so that more is more similar.
    Hamming = KINGLET_SIMILARITY_HAMMING,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(Similarity value) noexcept {
    return kinglet_similarity_name(static_cast<kinglet_similarity>(value));
}

/// How the outputs of a classification head become scores.
enum class ScoreFunction : std::uint32_t {
    /// As the model's files say: for a cross-encoder its activation_fn; for others softmax or sigmoid by
    /// `problem_type`, and sigmoid to score pairs.
    Auto = KINGLET_SCORE_FUNCTION_AUTO,
    /// The outputs unchanged.
    None = KINGLET_SCORE_FUNCTION_NONE,
    /// Independent labels: each score is between 0 and 1.
    Sigmoid = KINGLET_SCORE_FUNCTION_SIGMOID,
    /// Exclusive labels: the scores sum to 1.
    Softmax = KINGLET_SCORE_FUNCTION_SOFTMAX,
    /// Each label by itself, between -1 and 1.
    Tanh = KINGLET_SCORE_FUNCTION_TANH,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(ScoreFunction value) noexcept {
    return kinglet_score_function_name(static_cast<kinglet_score_function>(value));
}

/// How labelled tokens become entities.
enum class Aggregation : std::uint32_t {
    /// The default: simple.
    Auto = KINGLET_AGGREGATION_AUTO,
    /// One entity per token, named by the full label, for instance `B-PER`.
    None = KINGLET_AGGREGATION_NONE,
    /// One entity per run of adjacent tokens of the same kind, named without `B-` and `I-`; its score is
    /// their mean.
    Simple = KINGLET_AGGREGATION_SIMPLE,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(Aggregation value) noexcept {
    return kinglet_aggregation_name(static_cast<kinglet_aggregation>(value));
}

/// How the units of a document are scored.
enum class CompressMethod : std::uint32_t {
    /// By the model: a token classifier; a decoder, unless it has sentence-transformers' files; else sentence
    /// embeddings.
    Auto = KINGLET_COMPRESS_METHOD_AUTO,
    /// The probability of the label of tokens to keep, by a token classifier (LLMLingua-2).
    TokenClassifier = KINGLET_COMPRESS_METHOD_TOKEN_CLASSIFIER,
    /// `-ln p` of tokens given those before, by a decoder (Selective Context).
    SelfInformation = KINGLET_COMPRESS_METHOD_SELF_INFORMATION,
    /// The relevance and novelty of sentences by their embeddings (maximal marginal relevance).
    SentenceEmbeddings = KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(CompressMethod value) noexcept {
    return kinglet_compress_method_name(static_cast<kinglet_compress_method>(value));
}

/// What is kept or dropped as a whole.
enum class CompressUnit : std::uint32_t {
    /// Words for a token classifier, else sentences.
    Auto = KINGLET_COMPRESS_UNIT_AUTO,
    /// A token of the model's tokenizer.
    Token = KINGLET_COMPRESS_UNIT_TOKEN,
    /// What stands between spaces, without the punctuation at its ends, which is a unit of its own.
    Word = KINGLET_COMPRESS_UNIT_WORD,
    /// A sentence; a long list or table is cut between words.
    Sentence = KINGLET_COMPRESS_UNIT_SENTENCE,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(CompressUnit value) noexcept {
    return kinglet_compress_unit_name(static_cast<kinglet_compress_unit>(value));
}

/// When beam search stops.
enum class EarlyStopping : std::uint32_t {
    /// As the model's files say; where they are silent, as the value `no`.
    Auto = KINGLET_EARLY_STOPPING_AUTO,
    /// When the best running beam, scored at its present length, cannot beat the worst finished one.
    No = KINGLET_EARLY_STOPPING_NO,
    /// As soon as there are as many finished beams as `num_beams`.
    Yes = KINGLET_EARLY_STOPPING_YES,
    /// When no running beam can beat the worst finished one at any length.
    Never = KINGLET_EARLY_STOPPING_NEVER,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(EarlyStopping value) noexcept {
    return kinglet_early_stopping_name(static_cast<kinglet_early_stopping>(value));
}

/// What becomes of a JSON schema with keywords that cannot be enforced while the text is generated:
/// `uniqueItems` over many values, a `oneOf` whose alternatives cannot be told apart, and the like.
enum class SchemaMode : std::uint32_t {
    /// The default: SchemaMode::Check.
    Auto = KINGLET_SCHEMA_MODE_AUTO,
    /// The finished text is checked against the whole schema. One that does not satisfy it has
    /// FinishReason::SchemaMismatch.
    Check = KINGLET_SCHEMA_MODE_CHECK,
    /// The schema is refused; the error has the JSON pointers of these keywords.
    Strict = KINGLET_SCHEMA_MODE_STRICT,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(SchemaMode value) noexcept {
    return kinglet_schema_mode_name(static_cast<kinglet_schema_mode>(value));
}

/// Why a text ended.
enum class FinishReason : std::uint32_t {
    /// The text is not finished.
    None = KINGLET_FINISH_REASON_NONE,
    /// The model chose an end token, or the grammar allowed nothing more.
    Eos = KINGLET_FINISH_REASON_EOS,
    /// A stop string was generated.
    StopString = KINGLET_FINISH_REASON_STOP_STRING,
    /// `max_new_tokens` or the model's maximum length was reached.
    Length = KINGLET_FINISH_REASON_LENGTH,
    /// The text is complete, but does not satisfy a part of the JSON schema that cannot be enforced while it
    /// is generated.
    SchemaMismatch = KINGLET_FINISH_REASON_SCHEMA_MISMATCH,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(FinishReason value) noexcept {
    return kinglet_finish_reason_name(static_cast<kinglet_finish_reason>(value));
}

/// How a model writes the calls of tools.
enum class ToolFormat : std::uint32_t {
    /// As the model's chat template says.
    Auto = KINGLET_TOOL_FORMAT_AUTO,
    /// `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: Hermes, Qwen 2.5 and 3.
    Hermes = KINGLET_TOOL_FORMAT_HERMES,
    /// `{"name": ..., "parameters": {...}}` at the beginning of the answer, with or without `<|python_tag|>`:
    /// Llama 3.
    Llama3 = KINGLET_TOOL_FORMAT_LLAMA3,
    /// `[TOOL_CALLS][{"name": ..., "arguments": {...}}]`, or `[TOOL_CALLS]name[ARGS]{...}`: Mistral.
    Mistral = KINGLET_TOOL_FORMAT_MISTRAL,
    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`: Qwen 3 Coder.
    QwenXml = KINGLET_TOOL_FORMAT_QWEN_XML,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(ToolFormat value) noexcept {
    return kinglet_tool_format_name(static_cast<kinglet_tool_format>(value));
}

/// A stage of the work. Later versions may add values.
enum class Stage : std::uint32_t {
    /// Reading, converting and packing the model.
    Load = KINGLET_STAGE_LOAD,
    /// Text to token ids.
    Tokenize = KINGLET_STAGE_TOKENIZE,
    /// Concatenating token sequences into one pass.
    Pack = KINGLET_STAGE_PACK,
    /// Looking up and adding embeddings, and their norm.
    Embed = KINGLET_STAGE_EMBED,
    /// Scaled dot-product attention; its projections count as linear.
    Attention = KINGLET_STAGE_ATTENTION,
    /// Matrix products with weights, and the norms between them; for ONNX models the whole run of the graph.
    Linear = KINGLET_STAGE_LINEAR,
    /// Pooling and normalisation, and the activations of heads.
    Pool = KINGLET_STAGE_POOL,
    /// Whole calls, from the arguments to the result.
    Call = KINGLET_STAGE_CALL,
    /// Generation steps that process at least one prompt; tokens of other texts advanced in the same step are
    /// counted here too.
    Prefill = KINGLET_STAGE_PREFILL,
    /// Generation steps that add tokens to each text: one, or several with prompt-lookup decoding.
    Decode = KINGLET_STAGE_DECODE,
    /// Choosing tokens.
    Sample = KINGLET_STAGE_SAMPLE,
    /// Token ids to text.
    Detokenize = KINGLET_STAGE_DETOKENIZE,
    /// From the beginning of a call to the first token of each text.
    FirstToken = KINGLET_STAGE_FIRST_TOKEN,
    /// Inputs that were answered from the answer cache; `tokens` counts the tokens of the answers.
    AnswerHit = KINGLET_STAGE_ANSWER_HIT,
    /// Inputs that the answer cache did not have.
    AnswerMiss = KINGLET_STAGE_ANSWER_MISS,
    /// Prompt lookup: `items` counts the texts for which tokens were proposed, `tokens` the proposed tokens.
    Draft = KINGLET_STAGE_DRAFT,
    /// Proposed tokens that were accepted; each saved one decoding step.
    Accept = KINGLET_STAGE_ACCEPT,
    /// Transfers between host and GPU; `items` counts bytes. GPU work is asynchronous: other stages show the
    /// time to submit work, this one includes the time spent waiting for it.
    Transfer = KINGLET_STAGE_TRANSFER,
    /// From the moment when a call has a pass or a step to run until it is begun; `calls` counts these.
    QueueWait = KINGLET_STAGE_QUEUE_WAIT,
    /// Passes and steps that the scheduler ran: `items` counts their sequences and `tokens` their tokens, of
    /// all calls together.
    SharedPass = KINGLET_STAGE_SHARED_PASS,
    /// Calls that were refused because the queue was full.
    Busy = KINGLET_STAGE_BUSY,
    /// Calls that ended because their deadline had passed; the time from their beginning.
    DeadlineMissed = KINGLET_STAGE_DEADLINE_MISSED,
    /// As Stage::FirstToken, for calls of the priority interactive.
    FirstTokenInteractive = KINGLET_STAGE_FIRST_TOKEN_INTERACTIVE,
    /// As Stage::FirstToken, for calls of the priority normal.
    FirstTokenNormal = KINGLET_STAGE_FIRST_TOKEN_NORMAL,
    /// As Stage::FirstToken, for calls of the priority bulk.
    FirstTokenBulk = KINGLET_STAGE_FIRST_TOKEN_BULK,
    /// From one token of a text to the next, for calls of the priority interactive; `calls` counts steps, so
    /// the mean time per output token is `nanoseconds` by `calls`.
    OutputTokenInteractive = KINGLET_STAGE_OUTPUT_TOKEN_INTERACTIVE,
    /// The same for calls of the priority normal.
    OutputTokenNormal = KINGLET_STAGE_OUTPUT_TOKEN_NORMAL,
    /// The same for calls of the priority bulk.
    OutputTokenBulk = KINGLET_STAGE_OUTPUT_TOKEN_BULK,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(Stage value) noexcept {
    return kinglet_stage_name(static_cast<kinglet_stage>(value));
}

/// A text format of exported counters.
enum class CountersFormat : std::uint32_t {
    /// One JSON object with the members `stages`, by name, and `latency`; times in nanoseconds.
    Json = KINGLET_COUNTERS_FORMAT_JSON,
    /// A header line, then one line per stage.
    Csv = KINGLET_COUNTERS_FORMAT_CSV,
    /// The text exposition format of Prometheus.
    Prometheus = KINGLET_COUNTERS_FORMAT_PROMETHEUS,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(CountersFormat value) noexcept {
    return kinglet_counters_format_name(static_cast<kinglet_counters_format>(value));
}

/// What a batch size is chosen for.
enum class BatchGoal : std::uint32_t {
    /// The best throughput.
    Throughput = KINGLET_BATCH_GOAL_THROUGHPUT,
    /// The best throughput among batches that take at most `latency_ms`.
    Latency = KINGLET_BATCH_GOAL_LATENCY,
    /// The best throughput among batches with which the model takes at most `memory_bytes`, its weights
    /// included.
    Memory = KINGLET_BATCH_GOAL_MEMORY,
};

/// The short name of a value; "unknown" for a number that the library does not know.
[[nodiscard]] inline const char *name(BatchGoal value) noexcept {
    return kinglet_batch_goal_name(static_cast<kinglet_batch_goal>(value));
}

} // namespace kinglet

#endif

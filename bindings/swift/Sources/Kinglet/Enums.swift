// Generated from src/ffi by `make header`; do not edit.

import CKinglet

/// The outcome of a call. Later versions may add values.
public struct Status: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The call succeeded.
    public static let ok = Status(rawValue: KINGLET_STATUS_OK.rawValue)
    /// An argument is NULL, out of range, not UTF-8, or contradicts another.
    public static let invalidArgument = Status(rawValue: KINGLET_STATUS_INVALID_ARGUMENT.rawValue)
    /// A file or directory does not exist.
    public static let notFound = Status(rawValue: KINGLET_STATUS_NOT_FOUND.rawValue)
    /// A file exists but could not be read or written.
    public static let io = Status(rawValue: KINGLET_STATUS_IO.rawValue)
    /// The contents of a file break the rules of its format.
    public static let invalidFile = Status(rawValue: KINGLET_STATUS_INVALID_FILE.rawValue)
    /// The request is well formed, but this build, machine or model cannot serve it.
    public static let unsupported = Status(rawValue: KINGLET_STATUS_UNSUPPORTED.rawValue)
    /// The call would exceed the memory limit, or the system has no memory left.
    public static let outOfMemory = Status(rawValue: KINGLET_STATUS_OUT_OF_MEMORY.rawValue)
    /// The caller cancelled the call, by its cancellation handle or from a callback.
    public static let cancelled = Status(rawValue: KINGLET_STATUS_CANCELLED.rawValue)
    /// A defect in Kinglet, reported instead of crashing the program.
    public static let panic = Status(rawValue: KINGLET_STATUS_PANIC.rawValue)
    /// A defect in Kinglet, found by one of its own checks.
    public static let `internal` = Status(rawValue: KINGLET_STATUS_INTERNAL.rawValue)
    /// The model's queue is full (kinglet_scheduler_options); nothing was done. Try again later.
    public static let busy = Status(rawValue: KINGLET_STATUS_BUSY.rawValue)
    /// The deadline in the call's options passed before it was done.
    public static let deadlineExceeded = Status(rawValue: KINGLET_STATUS_DEADLINE_EXCEEDED.rawValue)

    /// The values that this version knows.
    public static let allCases: [Status] = [.ok, .invalidArgument, .notFound, .io, .invalidFile,
        .unsupported, .outOfMemory, .cancelled, .panic, .internal, .busy, .deadlineExceeded]

    /// The short name of the value, for instance "deadline_exceeded".
    public var description: String { nameOf(self, kinglet_status_name(rawValue)) }
}

/// How urgent a call is. Work of a higher priority goes first; within a priority, calls take turns.
public struct Priority: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The default.
    public static let normal = Priority(rawValue: KINGLET_PRIORITY_NORMAL.rawValue)
    /// Somebody waits for the result: it goes first, and it does not wait until texts of a lower priority are
    /// done.
    public static let interactive = Priority(rawValue: KINGLET_PRIORITY_INTERACTIVE.rawValue)
    /// Work in the background, which waits for all other calls.
    public static let bulk = Priority(rawValue: KINGLET_PRIORITY_BULK.rawValue)

    /// The values that this version knows.
    public static let allCases: [Priority] = [.normal, .interactive, .bulk]

    /// The short name of the value, for instance "bulk".
    public var description: String { nameOf(self, kinglet_priority_name(rawValue)) }
}

/// Where a model runs.
public struct Device: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Kinglet's own engine on the CPU.
    public static let cpu = Device(rawValue: KINGLET_DEVICE_CPU.rawValue)
    /// The candle library on the CPU: in f32 the reference that the engine is tested against. Slow; candle
    /// chooses its number of threads.
    public static let candleCPU = Device(rawValue: KINGLET_DEVICE_CANDLE_CPU.rawValue)
    /// NVIDIA GPUs, through a second library, libkinglet_cuda.so, which is opened on first use from the
    /// directory of this library, or from the path in the environment variable KINGLET_PROVIDER. Where the
    /// library, a driver or a GPU is missing, loading a model fails as unsupported, with the reason.
    public static let cuda = Device(rawValue: KINGLET_DEVICE_CUDA.rawValue)
    /// Apple GPUs, in builds with the feature `metal`; unsupported in other builds.
    public static let metal = Device(rawValue: KINGLET_DEVICE_METAL.rawValue)

    /// The values that this version knows.
    public static let allCases: [Device] = [.cpu, .candleCPU, .cuda, .metal]

    /// The short name of the value, for instance "metal".
    public var description: String { nameOf(self, kinglet_device_name(rawValue)) }
}

/// The number format of weights and matrix products.
public struct Precision: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The format of the model's files: f32 stays f32; f16 and bf16 become f16; Q4_0 and Q4_1 of GGUF become
    /// int4, its other quantised types int8; a .kinglet file keeps its own. On CUDA and Metal bf16 stays
    /// bf16; on the device candle-cpu all become f32.
    public static let auto = Precision(rawValue: KINGLET_PRECISION_AUTO.rawValue)
    /// Weights, activations and KV cache in f32.
    public static let f32 = Precision(rawValue: KINGLET_PRECISION_F32.rawValue)
    /// Weights in f16; activations and accumulation in f32. On GPUs matrix products read and write f16. On
    /// the CPU the KV cache is f16 in this and the next three precisions.
    public static let f16 = Precision(rawValue: KINGLET_PRECISION_F16.rawValue)
    /// Weights and the activations that they are multiplied with in 8-bit integers, accumulated exactly. On
    /// GPUs weights are quantised in blocks of 32 that share a scale.
    public static let int8 = Precision(rawValue: KINGLET_PRECISION_INT8.rawValue)
    /// Weights and the activations that they are multiplied with in bf16, accumulated in f32. Use it on CPUs
    /// with AMX or fast AVX512-BF16 (AMD Zen 5: twice the speed of f32). On other CPUs f16 is at least as
    /// fast and more accurate.
    public static let bf16 = Precision(rawValue: KINGLET_PRECISION_BF16.rawValue)
    /// Weights in 4 bits with a step and a least value per group of 32 inputs, multiplied with activations in
    /// 8 bits and accumulated exactly within a group. The output layer and embedding tables are as in int8.
    /// For models of a billion parameters or more, whose decoding waits for memory; smaller ones lose more
    /// quality (docs/precision.md).
    public static let int4 = Precision(rawValue: KINGLET_PRECISION_INT4.rawValue)

    /// The values that this version knows.
    public static let allCases: [Precision] = [.auto, .f32, .f16, .int8, .bf16, .int4]

    /// The short name of the value, for instance "int4".
    public var description: String { nameOf(self, kinglet_precision_name(rawValue)) }
}

/// How severe a log record is; a smaller number is more severe.
public struct LogLevel: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// In options: the default level, info.
    public static let `default` = LogLevel(rawValue: KINGLET_LOG_LEVEL_DEFAULT.rawValue)
    /// Something failed.
    public static let error = LogLevel(rawValue: KINGLET_LOG_LEVEL_ERROR.rawValue)
    /// Something may surprise: a setting of the model that is not supported, fewer threads than were asked
    /// for.
    public static let warning = LogLevel(rawValue: KINGLET_LOG_LEVEL_WARNING.rawValue)
    /// Something happened, about once per load.
    public static let info = LogLevel(rawValue: KINGLET_LOG_LEVEL_INFO.rawValue)
    /// Details.
    public static let debug = LogLevel(rawValue: KINGLET_LOG_LEVEL_DEBUG.rawValue)

    /// The values that this version knows.
    public static let allCases: [LogLevel] = [.default, .error, .warning, .info, .debug]

    /// The short name of the value, for instance "debug".
    public var description: String { nameOf(self, kinglet_log_level_name(rawValue)) }
}

/// How the token vectors of a text become one vector.
public struct Pooling: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// As the model's sentence-transformers files say. Without such files the last token for decoders that
    /// generate, else the mean.
    public static let auto = Pooling(rawValue: KINGLET_POOLING_AUTO.rawValue)
    /// The mean over all tokens, special tokens included.
    public static let mean = Pooling(rawValue: KINGLET_POOLING_MEAN.rawValue)
    /// The vector of the first token.
    public static let cls = Pooling(rawValue: KINGLET_POOLING_CLS.rawValue)
    /// The vector of the last token.
    public static let last = Pooling(rawValue: KINGLET_POOLING_LAST.rawValue)
    /// No pooling: one vector per token.
    public static let none = Pooling(rawValue: KINGLET_POOLING_NONE.rawValue)
    /// The largest value of each component over all tokens.
    public static let max = Pooling(rawValue: KINGLET_POOLING_MAX.rawValue)
    /// The mean weighted by position: the first token counts once, the second twice, and so on.
    public static let weightedmean = Pooling(rawValue: KINGLET_POOLING_WEIGHTEDMEAN.rawValue)
    /// The sum over all tokens divided by the square root of their number.
    public static let meanSqrtLenTokens = Pooling(rawValue: KINGLET_POOLING_MEAN_SQRT_LEN_TOKENS.rawValue)

    /// The values that this version knows.
    public static let allCases: [Pooling] = [.auto, .mean, .cls, .last, .none, .max, .weightedmean,
        .meanSqrtLenTokens]

    /// The short name of the value, for instance "mean_sqrt_len_tokens".
    public var description: String { nameOf(self, kinglet_pooling_name(rawValue)) }
}

/// The type of an embedding's elements.
public struct EmbeddingType: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// float.
    public static let float32 = EmbeddingType(rawValue: KINGLET_EMBEDDING_TYPE_FLOAT32.rawValue)
    /// IEEE half precision, two bytes.
    public static let float16 = EmbeddingType(rawValue: KINGLET_EMBEDDING_TYPE_FLOAT16.rawValue)
    /// One of 256 steps of the dimension's range, from -128 to 127.
    public static let int8 = EmbeddingType(rawValue: KINGLET_EMBEDDING_TYPE_INT8.rawValue)
    /// The same from 0 to 255.
    public static let uint8 = EmbeddingType(rawValue: KINGLET_EMBEDDING_TYPE_UINT8.rawValue)
    /// Whether each value is above 0, as a bit: eight values to an element, the first in the highest bit, and
    /// 128 subtracted, which makes it an int8_t.
    public static let binary = EmbeddingType(rawValue: KINGLET_EMBEDDING_TYPE_BINARY.rawValue)
    /// The same as uint8_t.
    public static let ubinary = EmbeddingType(rawValue: KINGLET_EMBEDDING_TYPE_UBINARY.rawValue)

    /// The values that this version knows.
    public static let allCases: [EmbeddingType] = [.float32, .float16, .int8, .uint8, .binary, .ubinary]

    /// The short name of the value, for instance "ubinary".
    public var description: String { nameOf(self, kinglet_embedding_type_name(rawValue)) }
}

/// What makes two embeddings similar.
public struct Similarity: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Cosine for floats, the dot product for int8 and uint8, Hamming for binary types.
    public static let auto = Similarity(rawValue: KINGLET_SIMILARITY_AUTO.rawValue)
    /// The sum of the products of their values. Codes count as the numbers that they are.
    public static let dot = Similarity(rawValue: KINGLET_SIMILARITY_DOT.rawValue)
    /// The same divided by the lengths of both; 0 where a length is 0.
    public static let cosine = Similarity(rawValue: KINGLET_SIMILARITY_COSINE.rawValue)
    /// Only of binary types: how many bits differ, negated, so that more is more similar.
    public static let hamming = Similarity(rawValue: KINGLET_SIMILARITY_HAMMING.rawValue)

    /// The values that this version knows.
    public static let allCases: [Similarity] = [.auto, .dot, .cosine, .hamming]

    /// The short name of the value, for instance "hamming".
    public var description: String { nameOf(self, kinglet_similarity_name(rawValue)) }
}

/// How the outputs of a classification head become scores.
public struct ScoreFunction: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// As the model's files say: for a cross-encoder its activation_fn; for others softmax or sigmoid by
    /// `problem_type`, and sigmoid to score pairs.
    public static let auto = ScoreFunction(rawValue: KINGLET_SCORE_FUNCTION_AUTO.rawValue)
    /// The outputs unchanged.
    public static let none = ScoreFunction(rawValue: KINGLET_SCORE_FUNCTION_NONE.rawValue)
    /// Independent labels: each score is between 0 and 1.
    public static let sigmoid = ScoreFunction(rawValue: KINGLET_SCORE_FUNCTION_SIGMOID.rawValue)
    /// Exclusive labels: the scores sum to 1.
    public static let softmax = ScoreFunction(rawValue: KINGLET_SCORE_FUNCTION_SOFTMAX.rawValue)
    /// Each label by itself, between -1 and 1.
    public static let tanh = ScoreFunction(rawValue: KINGLET_SCORE_FUNCTION_TANH.rawValue)

    /// The values that this version knows.
    public static let allCases: [ScoreFunction] = [.auto, .none, .sigmoid, .softmax, .tanh]

    /// The short name of the value, for instance "tanh".
    public var description: String { nameOf(self, kinglet_score_function_name(rawValue)) }
}

/// How labelled tokens become entities.
public struct Aggregation: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The default: simple.
    public static let auto = Aggregation(rawValue: KINGLET_AGGREGATION_AUTO.rawValue)
    /// One entity per token, named by the full label, for instance `B-PER`.
    public static let none = Aggregation(rawValue: KINGLET_AGGREGATION_NONE.rawValue)
    /// One entity per run of adjacent tokens of the same kind, named without `B-` and `I-`; its score is
    /// their mean.
    public static let simple = Aggregation(rawValue: KINGLET_AGGREGATION_SIMPLE.rawValue)

    /// The values that this version knows.
    public static let allCases: [Aggregation] = [.auto, .none, .simple]

    /// The short name of the value, for instance "simple".
    public var description: String { nameOf(self, kinglet_aggregation_name(rawValue)) }
}

/// How the units of a document are scored.
public struct CompressMethod: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// By the model: a token classifier; a decoder, unless it has sentence-transformers' files; else sentence
    /// embeddings.
    public static let auto = CompressMethod(rawValue: KINGLET_COMPRESS_METHOD_AUTO.rawValue)
    /// The probability of the label of tokens to keep, by a token classifier (LLMLingua-2).
    public static let tokenClassifier = CompressMethod(rawValue: KINGLET_COMPRESS_METHOD_TOKEN_CLASSIFIER.rawValue)
    /// `-ln p` of tokens given those before, by a decoder (Selective Context).
    public static let selfInformation = CompressMethod(rawValue: KINGLET_COMPRESS_METHOD_SELF_INFORMATION.rawValue)
    /// The relevance and novelty of sentences by their embeddings (maximal marginal relevance).
    public static let sentenceEmbeddings = CompressMethod(rawValue: KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS.rawValue)

    /// The values that this version knows.
    public static let allCases: [CompressMethod] = [.auto, .tokenClassifier, .selfInformation,
        .sentenceEmbeddings]

    /// The short name of the value, for instance "sentence_embeddings".
    public var description: String { nameOf(self, kinglet_compress_method_name(rawValue)) }
}

/// What is kept or dropped as a whole.
public struct CompressUnit: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Words for a token classifier, else sentences.
    public static let auto = CompressUnit(rawValue: KINGLET_COMPRESS_UNIT_AUTO.rawValue)
    /// A token of the model's tokenizer.
    public static let token = CompressUnit(rawValue: KINGLET_COMPRESS_UNIT_TOKEN.rawValue)
    /// What stands between spaces, without the punctuation at its ends, which is a unit of its own.
    public static let word = CompressUnit(rawValue: KINGLET_COMPRESS_UNIT_WORD.rawValue)
    /// A sentence; a long list or table is cut between words.
    public static let sentence = CompressUnit(rawValue: KINGLET_COMPRESS_UNIT_SENTENCE.rawValue)

    /// The values that this version knows.
    public static let allCases: [CompressUnit] = [.auto, .token, .word, .sentence]

    /// The short name of the value, for instance "sentence".
    public var description: String { nameOf(self, kinglet_compress_unit_name(rawValue)) }
}

/// When beam search stops.
public struct EarlyStopping: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// As the model's files say; where they are silent, as the value `no`.
    public static let auto = EarlyStopping(rawValue: KINGLET_EARLY_STOPPING_AUTO.rawValue)
    /// When the best running beam, scored at its present length, cannot beat the worst finished one.
    public static let no = EarlyStopping(rawValue: KINGLET_EARLY_STOPPING_NO.rawValue)
    /// As soon as there are as many finished beams as `num_beams`.
    public static let yes = EarlyStopping(rawValue: KINGLET_EARLY_STOPPING_YES.rawValue)
    /// When no running beam can beat the worst finished one at any length.
    public static let never = EarlyStopping(rawValue: KINGLET_EARLY_STOPPING_NEVER.rawValue)

    /// The values that this version knows.
    public static let allCases: [EarlyStopping] = [.auto, .no, .yes, .never]

    /// The short name of the value, for instance "never".
    public var description: String { nameOf(self, kinglet_early_stopping_name(rawValue)) }
}

/// What becomes of a JSON schema with keywords that cannot be enforced while the text is generated:
/// `uniqueItems` over many values, a `oneOf` whose alternatives cannot be told apart, and the like.
public struct SchemaMode: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The default: ``SchemaMode/check``.
    public static let auto = SchemaMode(rawValue: KINGLET_SCHEMA_MODE_AUTO.rawValue)
    /// The finished text is checked against the whole schema. One that does not satisfy it has
    /// ``FinishReason/schemaMismatch``.
    public static let check = SchemaMode(rawValue: KINGLET_SCHEMA_MODE_CHECK.rawValue)
    /// The schema is refused; the error has the JSON pointers of these keywords.
    public static let strict = SchemaMode(rawValue: KINGLET_SCHEMA_MODE_STRICT.rawValue)

    /// The values that this version knows.
    public static let allCases: [SchemaMode] = [.auto, .check, .strict]

    /// The short name of the value, for instance "strict".
    public var description: String { nameOf(self, kinglet_schema_mode_name(rawValue)) }
}

/// Why a text ended.
public struct FinishReason: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The text is not finished.
    public static let none = FinishReason(rawValue: KINGLET_FINISH_REASON_NONE.rawValue)
    /// The model chose an end token, or the grammar allowed nothing more.
    public static let eos = FinishReason(rawValue: KINGLET_FINISH_REASON_EOS.rawValue)
    /// A stop string was generated.
    public static let stopString = FinishReason(rawValue: KINGLET_FINISH_REASON_STOP_STRING.rawValue)
    /// `max_new_tokens` or the model's maximum length was reached.
    public static let length = FinishReason(rawValue: KINGLET_FINISH_REASON_LENGTH.rawValue)
    /// The text is complete, but does not satisfy a part of the JSON schema that cannot be enforced while it
    /// is generated.
    public static let schemaMismatch = FinishReason(rawValue: KINGLET_FINISH_REASON_SCHEMA_MISMATCH.rawValue)

    /// The values that this version knows.
    public static let allCases: [FinishReason] = [.none, .eos, .stopString, .length, .schemaMismatch]

    /// The short name of the value, for instance "schema_mismatch".
    public var description: String { nameOf(self, kinglet_finish_reason_name(rawValue)) }
}

/// How a model writes the calls of tools.
public struct ToolFormat: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// As the model's chat template says.
    public static let auto = ToolFormat(rawValue: KINGLET_TOOL_FORMAT_AUTO.rawValue)
    /// `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: Hermes, Qwen 2.5 and 3.
    public static let hermes = ToolFormat(rawValue: KINGLET_TOOL_FORMAT_HERMES.rawValue)
    /// `{"name": ..., "parameters": {...}}` at the beginning of the answer, with or without `<|python_tag|>`:
    /// Llama 3.
    public static let llama3 = ToolFormat(rawValue: KINGLET_TOOL_FORMAT_LLAMA3.rawValue)
    /// `[TOOL_CALLS][{"name": ..., "arguments": {...}}]`, or `[TOOL_CALLS]name[ARGS]{...}`: Mistral.
    public static let mistral = ToolFormat(rawValue: KINGLET_TOOL_FORMAT_MISTRAL.rawValue)
    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`: Qwen 3 Coder.
    public static let qwenXML = ToolFormat(rawValue: KINGLET_TOOL_FORMAT_QWEN_XML.rawValue)

    /// The values that this version knows.
    public static let allCases: [ToolFormat] = [.auto, .hermes, .llama3, .mistral, .qwenXML]

    /// The short name of the value, for instance "qwen_xml".
    public var description: String { nameOf(self, kinglet_tool_format_name(rawValue)) }
}

/// A stage of the work. Later versions may add values.
public struct Stage: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Reading, converting and packing the model.
    public static let load = Stage(rawValue: KINGLET_STAGE_LOAD.rawValue)
    /// Text to token ids.
    public static let tokenize = Stage(rawValue: KINGLET_STAGE_TOKENIZE.rawValue)
    /// Concatenating token sequences into one pass.
    public static let pack = Stage(rawValue: KINGLET_STAGE_PACK.rawValue)
    /// Looking up and adding embeddings, and their norm.
    public static let embed = Stage(rawValue: KINGLET_STAGE_EMBED.rawValue)
    /// Scaled dot-product attention; its projections count as linear.
    public static let attention = Stage(rawValue: KINGLET_STAGE_ATTENTION.rawValue)
    /// Matrix products with weights, and the norms between them; for ONNX models the whole run of the graph.
    public static let linear = Stage(rawValue: KINGLET_STAGE_LINEAR.rawValue)
    /// Pooling and normalisation, and the activations of heads.
    public static let pool = Stage(rawValue: KINGLET_STAGE_POOL.rawValue)
    /// Whole calls, from the arguments to the result.
    public static let call = Stage(rawValue: KINGLET_STAGE_CALL.rawValue)
    /// Generation steps that process at least one prompt; tokens of other texts advanced in the same step are
    /// counted here too.
    public static let prefill = Stage(rawValue: KINGLET_STAGE_PREFILL.rawValue)
    /// Generation steps that add tokens to each text: one, or several with prompt-lookup decoding.
    public static let decode = Stage(rawValue: KINGLET_STAGE_DECODE.rawValue)
    /// Choosing tokens.
    public static let sample = Stage(rawValue: KINGLET_STAGE_SAMPLE.rawValue)
    /// Token ids to text.
    public static let detokenize = Stage(rawValue: KINGLET_STAGE_DETOKENIZE.rawValue)
    /// From the beginning of a call to the first token of each text.
    public static let firstToken = Stage(rawValue: KINGLET_STAGE_FIRST_TOKEN.rawValue)
    /// Inputs that were answered from the answer cache; `tokens` counts the tokens of the answers.
    public static let answerHit = Stage(rawValue: KINGLET_STAGE_ANSWER_HIT.rawValue)
    /// Inputs that the answer cache did not have.
    public static let answerMiss = Stage(rawValue: KINGLET_STAGE_ANSWER_MISS.rawValue)
    /// Prompt lookup: `items` counts the texts for which tokens were proposed, `tokens` the proposed tokens.
    public static let draft = Stage(rawValue: KINGLET_STAGE_DRAFT.rawValue)
    /// Proposed tokens that were accepted; each saved one decoding step.
    public static let accept = Stage(rawValue: KINGLET_STAGE_ACCEPT.rawValue)
    /// Transfers between host and GPU; `items` counts bytes. GPU work is asynchronous: other stages show the
    /// time to submit work, this one includes the time spent waiting for it.
    public static let transfer = Stage(rawValue: KINGLET_STAGE_TRANSFER.rawValue)
    /// From the moment when a call has a pass or a step to run until it is begun; `calls` counts these.
    public static let queueWait = Stage(rawValue: KINGLET_STAGE_QUEUE_WAIT.rawValue)
    /// Passes and steps that the scheduler ran: `items` counts their sequences and `tokens` their tokens, of
    /// all calls together.
    public static let sharedPass = Stage(rawValue: KINGLET_STAGE_SHARED_PASS.rawValue)
    /// Calls that were refused because the queue was full.
    public static let busy = Stage(rawValue: KINGLET_STAGE_BUSY.rawValue)
    /// Calls that ended because their deadline had passed; the time from their beginning.
    public static let deadlineMissed = Stage(rawValue: KINGLET_STAGE_DEADLINE_MISSED.rawValue)
    /// As ``Stage/firstToken``, for calls of the priority interactive.
    public static let firstTokenInteractive = Stage(rawValue: KINGLET_STAGE_FIRST_TOKEN_INTERACTIVE.rawValue)
    /// As ``Stage/firstToken``, for calls of the priority normal.
    public static let firstTokenNormal = Stage(rawValue: KINGLET_STAGE_FIRST_TOKEN_NORMAL.rawValue)
    /// As ``Stage/firstToken``, for calls of the priority bulk.
    public static let firstTokenBulk = Stage(rawValue: KINGLET_STAGE_FIRST_TOKEN_BULK.rawValue)
    /// From one token of a text to the next, for calls of the priority interactive; `calls` counts steps, so
    /// the mean time per output token is `nanoseconds` by `calls`.
    public static let outputTokenInteractive = Stage(rawValue: KINGLET_STAGE_OUTPUT_TOKEN_INTERACTIVE.rawValue)
    /// The same for calls of the priority normal.
    public static let outputTokenNormal = Stage(rawValue: KINGLET_STAGE_OUTPUT_TOKEN_NORMAL.rawValue)
    /// The same for calls of the priority bulk.
    public static let outputTokenBulk = Stage(rawValue: KINGLET_STAGE_OUTPUT_TOKEN_BULK.rawValue)

    /// The values that this version knows.
    public static let allCases: [Stage] = [.load, .tokenize, .pack, .embed, .attention, .linear, .pool,
        .call, .prefill, .decode, .sample, .detokenize, .firstToken, .answerHit, .answerMiss, .draft,
        .accept, .transfer, .queueWait, .sharedPass, .busy, .deadlineMissed, .firstTokenInteractive,
        .firstTokenNormal, .firstTokenBulk, .outputTokenInteractive, .outputTokenNormal, .outputTokenBulk]

    /// The short name of the value, for instance "output_token_bulk".
    public var description: String { nameOf(self, kinglet_stage_name(rawValue)) }
}

/// A text format of exported counters.
public struct CountersFormat: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// One JSON object with the members `stages`, by name, and `latency`; times in nanoseconds.
    public static let json = CountersFormat(rawValue: KINGLET_COUNTERS_FORMAT_JSON.rawValue)
    /// A header line, then one line per stage.
    public static let csv = CountersFormat(rawValue: KINGLET_COUNTERS_FORMAT_CSV.rawValue)
    /// The text exposition format of Prometheus.
    public static let prometheus = CountersFormat(rawValue: KINGLET_COUNTERS_FORMAT_PROMETHEUS.rawValue)

    /// The values that this version knows.
    public static let allCases: [CountersFormat] = [.json, .csv, .prometheus]

    /// The short name of the value, for instance "prometheus".
    public var description: String { nameOf(self, kinglet_counters_format_name(rawValue)) }
}

/// What a batch size is chosen for.
public struct BatchGoal: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The number in C. Later versions may have others.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The best throughput.
    public static let throughput = BatchGoal(rawValue: KINGLET_BATCH_GOAL_THROUGHPUT.rawValue)
    /// The best throughput among batches that take at most `latency_ms`.
    public static let latency = BatchGoal(rawValue: KINGLET_BATCH_GOAL_LATENCY.rawValue)
    /// The best throughput among batches with which the model takes at most `memory_bytes`, its weights
    /// included.
    public static let memory = BatchGoal(rawValue: KINGLET_BATCH_GOAL_MEMORY.rawValue)

    /// The values that this version knows.
    public static let allCases: [BatchGoal] = [.throughput, .latency, .memory]

    /// The short name of the value, for instance "memory".
    public var description: String { nameOf(self, kinglet_batch_goal_name(rawValue)) }
}

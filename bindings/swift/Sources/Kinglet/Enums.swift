// Generated from src/ffi by `make header`; do not edit.

import CKinglet

/// The outcome of a call. Later versions may add values.
public enum Status: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// The call succeeded.
    case `ok` = 0
    /// An argument is NULL, out of range, not UTF-8, or contradicts another.
    case `invalidArgument` = 1
    /// A file or directory does not exist.
    case `notFound` = 2
    /// A file exists but could not be read or written.
    case `io` = 3
    /// The contents of a file break the rules of its format.
    case `invalidFile` = 4
    /// The request is well formed, but this build, machine or model cannot serve it.
    case `unsupported` = 5
    /// The call would exceed the memory limit, or the system has no memory left.
    case `outOfMemory` = 6
    /// The caller cancelled the call, by its cancellation handle or from a callback.
    case `cancelled` = 7
    /// A defect in Kinglet, reported instead of crashing the program.
    case `panic` = 8
    /// A defect in Kinglet, found by one of its own checks.
    case `internal` = 9

    /// The short name, as in C and JSON.
    public var description: String { String(cString: kinglet_status_name(rawValue)) }
}

/// A switch that may be left undecided.
enum Tristate: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// The model's files decide; where they are silent, the default that the field names.
    case `auto` = 0
    /// No.
    case `no` = 1
    /// Yes.
    case `yes` = 2

    /// The short name, as in C and JSON.
    var description: String { String(cString: kinglet_tristate_name(rawValue)) }
}

/// Where a model runs.
public enum Device: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// Kinglet's own engine on the CPU.
    case `cpu` = 0
    /// The candle library on the CPU: in f32 the reference that the engine is tested against. Slow; candle
    /// chooses its number of threads.
    case `candleCpu` = 1
    /// NVIDIA GPUs, through a second library, libkinglet_cuda.so, which is opened on first use from the
    /// directory of this library, or from the path in the environment variable KINGLET_PROVIDER. Where the
    /// library, a driver or a GPU is missing, loading a model fails as unsupported, with the reason.
    case `cuda` = 2
    /// Apple GPUs, in builds with the feature `metal`; unsupported in other builds.
    case `metal` = 3

    /// The short name, as in C and JSON.
    public var description: String { String(cString: kinglet_device_name(rawValue)) }
}

/// The number format of weights and matrix products.
public enum Precision: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// The format of the model's files: f32 stays f32; f16, bf16 and the quantised types of GGUF become f16;
    /// a .kinglet file keeps its own. On CUDA and Metal bf16 stays bf16; on the device candle-cpu all become
    /// f32.
    case `auto` = 0
    /// Weights, activations and KV cache in f32.
    case `f32` = 1
    /// Weights in f16; activations and accumulation in f32. On GPUs matrix products read and write f16. On
    /// the CPU the KV cache is f16 in this and the next two precisions.
    case `f16` = 2
    /// Weights and the activations that they are multiplied with in 8-bit integers, accumulated exactly. On
    /// GPUs weights are quantised in blocks of 32 that share a scale.
    case `int8` = 3
    /// Weights and the activations that they are multiplied with in bf16, accumulated in f32. Use it on CPUs
    /// with AMX or fast AVX512-BF16 (AMD Zen 5: twice the speed of f32). On other CPUs f16 is at least as
    /// fast and more accurate.
    case `bf16` = 4

    /// The short name, as in C and JSON.
    public var description: String { String(cString: kinglet_precision_name(rawValue)) }
}

/// How severe a log record is; a smaller number is more severe.
public enum LogLevel: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// In options: the default level, info.
    case `default` = 0
    /// Something failed.
    case `error` = 1
    /// Something may surprise: a setting of the model that is not supported, fewer threads than were asked
    /// for.
    case `warning` = 2
    /// Something happened, about once per load.
    case `info` = 3
    /// Details.
    case `debug` = 4

    /// The short name, as in C and JSON.
    public var description: String { String(cString: kinglet_log_level_name(rawValue)) }
}

/// How the token vectors of a text become one vector.
public enum Pooling: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// As the model's sentence-transformers files say; without such files the mean.
    case `auto` = 0
    /// The mean over all tokens, special tokens included.
    case `mean` = 1
    /// The vector of the first token.
    case `cls` = 2
    /// The vector of the last token.
    case `last` = 3
    /// No pooling: one vector per token.
    case `none` = 4

    /// The short name, as in C and JSON.
    public var description: String { String(cString: kinglet_pooling_name(rawValue)) }
}

/// How the outputs of a classification head become scores.
public enum ScoreFunction: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// As the model's files say: softmax or sigmoid by `problem_type`; for pairs the function of the
    /// cross-encoder's files, or else sigmoid.
    case `auto` = 0
    /// The outputs unchanged.
    case `none` = 1
    /// Independent labels: each score is between 0 and 1.
    case `sigmoid` = 2
    /// Exclusive labels: the scores sum to 1.
    case `softmax` = 3

    /// The short name, as in C and JSON.
    public var description: String { String(cString: kinglet_score_function_name(rawValue)) }
}

/// How labelled tokens become entities.
public enum Aggregation: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// The default: simple.
    case `auto` = 0
    /// One entity per token, named by the full label, for instance `B-PER`.
    case `none` = 1
    /// One entity per run of adjacent tokens of the same kind, named without `B-` and `I-`; its score is
    /// their mean.
    case `simple` = 2

    /// The short name, as in C and JSON.
    public var description: String { String(cString: kinglet_aggregation_name(rawValue)) }
}

/// When beam search stops.
public enum EarlyStopping: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// As the model's files say; where they are silent, as the value `no`.
    case `auto` = 0
    /// When the best running beam, scored at its present length, cannot beat the worst finished one.
    case `no` = 1
    /// As soon as there are as many finished beams as `num_beams`.
    case `yes` = 2
    /// When no running beam can beat the worst finished one at any length.
    case `never` = 3

    /// The short name, as in C and JSON.
    public var description: String { String(cString: kinglet_early_stopping_name(rawValue)) }
}

/// What constrains a generated text.
enum GrammarKind: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// Nothing.
    case `none` = 0
    /// A JSON schema: the text is JSON that satisfies it.
    case `jsonSchema` = 1
    /// A regular expression that matches the whole text.
    case `regex` = 2
    /// A grammar in llguidance's variant of Lark.
    case `lark` = 3

    /// The short name, as in C and JSON.
    var description: String { String(cString: kinglet_grammar_kind_name(rawValue)) }
}

/// Why a text ended.
public enum FinishReason: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// The text is not finished.
    case `none` = 0
    /// The model chose an end token, or the grammar allowed nothing more.
    case `eos` = 1
    /// A stop string was generated.
    case `stopString` = 2
    /// `max_new_tokens` or the model's maximum length was reached.
    case `length` = 3

    /// The short name, as in C and JSON.
    public var description: String { String(cString: kinglet_finish_reason_name(rawValue)) }
}

/// A stage of the work. Later versions may add values.
public enum Stage: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// Reading, converting and packing the model.
    case `load` = 0
    /// Text to token ids.
    case `tokenize` = 1
    /// Concatenating token sequences into one pass.
    case `pack` = 2
    /// Looking up and adding embeddings, and their norm.
    case `embed` = 3
    /// Scaled dot-product attention; its projections count as linear.
    case `attention` = 4
    /// Matrix products with weights, and the norms between them; for ONNX models the whole run of the graph.
    case `linear` = 5
    /// Pooling and normalisation, and the activations of heads.
    case `pool` = 6
    /// Whole calls, from the arguments to the result.
    case `call` = 7
    /// Generation steps that process at least one prompt; tokens of other texts advanced in the same step are
    /// counted here too.
    case `prefill` = 8
    /// Generation steps that add tokens to each text: one, or several with prompt-lookup decoding.
    case `decode` = 9
    /// Choosing tokens.
    case `sample` = 10
    /// Token ids to text.
    case `detokenize` = 11
    /// From the beginning of a call to the first token of each text.
    case `firstToken` = 12
    /// Inputs that were answered from the answer cache; `tokens` counts the tokens of the answers.
    case `answerHit` = 13
    /// Inputs that the answer cache did not have.
    case `answerMiss` = 14
    /// Prompt lookup: `items` counts the texts for which tokens were proposed, `tokens` the proposed tokens.
    case `draft` = 15
    /// Proposed tokens that were accepted; each saved one decoding step.
    case `accept` = 16
    /// Transfers between host and GPU; `items` counts bytes. GPU work is asynchronous: other stages show the
    /// time to submit work, this one includes the time spent waiting for it.
    case `transfer` = 17

    /// The short name, as in C and JSON.
    public var description: String { String(cString: kinglet_stage_name(rawValue)) }
}

/// A text format of exported counters.
public enum CountersFormat: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// One JSON object with the members `stages`, by name, and `latency`; times in nanoseconds.
    case `json` = 0
    /// A header line, then one line per stage.
    case `csv` = 1
    /// The text exposition format of Prometheus.
    case `prometheus` = 2

    /// The short name, as in C and JSON.
    public var description: String { String(cString: kinglet_counters_format_name(rawValue)) }
}

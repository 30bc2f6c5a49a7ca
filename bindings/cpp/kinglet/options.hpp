// Arguments of calls: texts, option structs, and cancellation.

#ifndef KINGLET_OPTIONS_HPP
#define KINGLET_OPTIONS_HPP

#include "result.hpp"
#include "span.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kinglet {
inline namespace KINGLET_FORM {

/// A list of texts as an argument: a braced list, a vector or array of strings or string_views, a Span. It borrows the texts, so it must
/// not outlive them.
class Texts {
public:
    Texts(std::initializer_list<std::string_view> texts) { assign(texts); }

    template <class Range, class = std::enable_if_t<!std::is_same_v<std::decay_t<Range>, Texts>>,
              class Element = decltype(*std::begin(std::declval<const Range &>())),
              // Elements that are made by the iterator would be destroyed before the call, unless they are views themselves.
              class = std::enable_if_t<std::is_convertible_v<Element, std::string_view> &&
                                       (std::is_lvalue_reference_v<Element> || !std::is_class_v<Element> ||
                                        std::is_same_v<std::decay_t<Element>, std::string_view>)>>
    Texts(const Range &range) {
        assign(range);
    }

    std::size_t size() const noexcept { return texts_.size(); }

    /// The list for the C library.
    const kinglet_str *data() const noexcept { return texts_.data(); }

private:
    template <class Range>
    void assign(const Range &range) {
        texts_.reserve(static_cast<std::size_t>(std::distance(std::begin(range), std::end(range))));
        for (const auto &text : range) texts_.push_back(detail::to_c(text));
    }

    std::vector<kinglet_str> texts_;
};

/// Stops calls from another thread, with Status::Cancelled. Once set it stays set; one object may serve many calls. cancel() may be
/// called from any thread between construction and destruction. The object must live until the calls that use it have returned.
class Cancellation : public detail::Owner<kinglet_cancellation, kinglet_cancellation_free> {
public:
    Cancellation() noexcept : Owner(kinglet_cancellation_new()) {}

    /// Sets it. On a moved-from object it does nothing.
    void cancel() const noexcept { kinglet_cancellation_cancel(get()); }
};

/// How a model shares its passes among concurrent calls. No option changes a result; zero is the default of every field.
struct SchedulerOptions {
    /// The most tokens of a pass, except for a longer text. 0: what suits the device.
    std::uint32_t max_tokens = 0;
    /// The most sequences of a generation step. 0: 256.
    std::uint32_t max_sequences = 0;
    /// How long a text that finds an idle model waits for others to share its pass, in microseconds, at most 1,000,000.
    std::uint32_t max_wait_us = 0;
    /// The most calls that may wait for their first pass; one more fails with Status::Busy. 0: no limit.
    std::uint32_t queue_length = 0;
    /// The most bytes of input of these calls. 0: no limit.
    std::uint64_t queue_bytes = 0;
    /// The most requests that run at once. 0: 64.
    std::uint32_t requests = 0;
};

/// Options of Model::load. With C++20: `Model::load(path, {.precision = Precision::Int8, .threads = 2})`.
struct ModelOptions {
    /// Where the model runs.
    Device device = Device::Cpu;
    /// Which of the devices of that kind; devices() lists them.
    std::uint32_t device_index = 0;
    /// The number format of the weights; Auto keeps that of the files.
    Precision precision = Precision::Auto;
    /// Threads that one call may use, the calling thread included. 0: all CPUs available to the process.
    std::size_t threads = 0;
    /// The most bytes that the model may take; a larger one is refused before anything is allocated. 0: no limit.
    std::uint64_t memory_limit = 0;
    /// Bytes of an LRU cache of finished generations. 0: no cache.
    std::uint64_t answer_cache_bytes = 0;
    /// No: the files are read into memory and checked once instead of mapped, so that nothing that happens to them later reaches the
    /// process. Auto: they are mapped.
    Tristate map_files = Tristate::Auto;
    /// The longest text, in bytes, that a call on the model tokenizes; a longer one is refused. 0: 256 MB.
    std::uint64_t max_text_bytes = 0;
    /// The path (UTF-8) of ONNX Runtime's shared library, 1.17 or newer, for ONNX models. Empty: the path in ORT_DYLIB_PATH, else the
    /// system's library.
    std::string onnxruntime = {};
    /// Cancels the load from another thread.
    const Cancellation *cancellation = nullptr;
    /// Called by the loading thread with the fraction of the work that is done, 0 to 1. Returning false cancels the load; an exception
    /// cancels it too and is rethrown by value(). It must not call this library.
    std::function<bool(double fraction)> progress = nullptr;
    /// Called with log messages by threads that make calls on the model, possibly several at once, until its last owner is gone. Its
    /// exceptions are dropped. It must not call this library.
    std::function<void(LogLevel level, std::string_view message)> log = nullptr;
    /// The least severe level that is passed to `log`; Default is Info.
    LogLevel log_level = LogLevel::Default;
    /// How concurrent calls share the model.
    SchedulerOptions scheduler = {};
};

/// Options of quantize().
struct QuantizeOptions {
    /// As ModelOptions::progress.
    std::function<bool(double fraction)> progress = nullptr;
    const Cancellation *cancellation = nullptr;
    /// Texts like those that the model will get, for int8 and int4: for each layer the change of its inputs is chosen with which rounding
    /// loses least. Empty: no calibration.
    std::vector<std::string> calibration_texts{};
};

/// Options of Model::tokenize.
struct TokenizeOptions {
    /// Adds the tokenizer's special tokens, for instance `[CLS]` or `</s>`. Auto: yes.
    Tristate add_special_tokens = Tristate::Auto;
    /// Computes the position of each token in its text.
    bool offsets = false;
    /// The most tokens of a text or pair, special tokens included. 0: the model's limit. SIZE_MAX: no limit.
    std::size_t max_length = 0;
    const Cancellation *cancellation = nullptr;
};

/// Options of Model::detokenize.
struct DetokenizeOptions {
    /// Leaves special tokens out of the text. Auto: yes.
    Tristate skip_special_tokens = Tristate::Auto;
};

/// Options of Model::embed.
struct EmbedOptions {
    /// How token vectors become one vector per text; Auto is the model's own setting. The model's other modules are applied all the same.
    Pooling pooling = Pooling::Auto;
    /// Scales vectors to length 1, after truncate_dim; Auto is the model's own setting.
    Tristate normalize = Tristate::Auto;
    /// The most tokens of a text, special tokens and the prompt included. 0: the model's limit.
    std::size_t max_length = 0;
    /// The name of a prompt in the model's config_sentence_transformers.json, which is put before each text. Empty: its
    /// default_prompt_name, if it has one.
    std::string prompt_name = {};
    /// A prompt that is put before each text, whatever prompt_name says; empty for no prompt.
    std::optional<std::string> prompt = std::nullopt;
    /// Keeps only the first values of each vector. 0: as the model's files say, else all.
    std::size_t truncate_dim = 0;
    const Cancellation *cancellation = nullptr;
    /// How urgent the call is.
    Priority priority = Priority::Normal;
    /// Milliseconds after which the call fails with Status::DeadlineExceeded if it is not done. 0: none.
    std::uint32_t deadline_ms = 0;
};

/// Texts in the layout of an Arrow array: `Offset` is std::int32_t for Utf8, std::int64_t for LargeUtf8. It borrows the array's buffers.
template <class Offset>
struct ArrowTexts {
    static_assert(std::is_same_v<Offset, std::int32_t> || std::is_same_v<Offset, std::int64_t>, "Arrow's offsets");
    /// The number of texts: the length of the array.
    std::size_t count = 0;
    /// first + count + 1 offsets.
    const Offset *offsets = nullptr;
    /// The characters.
    Span<const char> data = {};
    /// The number of the first text in the buffers: the offset of the array, 0 unless it is a slice.
    std::size_t first = 0;
    /// The validity bitmap; a null among the texts is refused. nullptr: there are none.
    const std::uint8_t *validity = nullptr;
};

/// Where Model::embed_arrow writes. Nothing is written if the call fails.
struct EmbeddingBuffer {
    /// Values per vector: Model::embedding_dimension(), or truncate_dim of the options if that is less. Another number than that of the
    /// call is refused.
    std::size_t dimension = 0;
    /// At least (count - 1) * stride + dimension values.
    Span<float> values = {};
    /// The distance between the first values of two vectors. 0: `dimension`.
    std::size_t stride = 0;
    /// `count` values each, or nullptr: the tokens of each text, and 1 for each text that was truncated.
    std::size_t *token_counts = nullptr;
    std::uint8_t *truncated = nullptr;
};

/// Options of Model::classify, classify_pairs, score and classify_tokens.
struct ClassifyOptions {
    /// How outputs become scores; Auto is the model's own setting.
    ScoreFunction function = ScoreFunction::Auto;
    /// Only for classify_tokens; the other calls refuse any value but Auto.
    Aggregation aggregation = Aggregation::Auto;
    /// The most tokens of a text or pair, special tokens and the prompt included. 0: the model's limit.
    std::size_t max_length = 0;
    /// The name of a prompt in the model's config_sentence_transformers.json, which is put before each text, or before the first of
    /// each pair. Empty: its default_prompt_name, if it has one. Not for classify_tokens.
    std::string prompt_name = {};
    /// A prompt that is put there, whatever prompt_name says; empty for no prompt. Not for classify_tokens.
    std::optional<std::string> prompt = std::nullopt;
    const Cancellation *cancellation = nullptr;
    /// How urgent the call is.
    Priority priority = Priority::Normal;
    /// Milliseconds after which the call fails with Status::DeadlineExceeded if it is not done. 0: none.
    std::uint32_t deadline_ms = 0;
};

/// Options of Model::compress. One of ratio and max_tokens is required.
struct CompressOptions {
    /// Tokens of the document for each token that is kept: a number above 1. 0: as max_tokens says.
    double ratio = 0;
    /// The most tokens that are kept, by the model's own tokenizer and without special tokens. 0: as ratio says.
    std::size_t max_tokens = 0;
    /// How words or sentences are scored; Auto goes by the model.
    CompressMethod method = CompressMethod::Auto;
    /// What is kept or dropped as a whole. Auto: words for a token classifier, else sentences.
    CompressUnit unit = CompressUnit::Auto;
    /// What sentences are to be relevant to. Empty: the mean of the document. Only for CompressMethod::SentenceEmbeddings, as relevance.
    std::string query = {};
    /// How much relevance counts, from above 0 to 1; novelty has the rest. 0: 0.7.
    float relevance = 0;
    /// The label of tokens to keep. Empty: the one that is named so, else the second of two. Only for CompressMethod::TokenClassifier.
    std::string keep_label = {};
    /// Tokens that the model reads at once, special tokens included. 0: as many as it takes, at most 2048.
    std::size_t window = 0;
    /// Tokens that two windows share. 0: an eighth of a window. Not for CompressMethod::SentenceEmbeddings.
    std::size_t overlap = 0;
    /// Keeps what has a digit.
    bool force_digits = false;
    /// Keeps words that begin with a capital letter and are not the first of a sentence.
    bool force_capitalized = false;
    /// Words, or sequences of words, that are kept wherever they are.
    std::vector<std::string> force_tokens = {};
    const Cancellation *cancellation = nullptr;
    /// How urgent the call is.
    Priority priority = Priority::Normal;
    /// Milliseconds after which the call fails with Status::DeadlineExceeded if it is not done. 0: none.
    std::uint32_t deadline_ms = 0;
};

/// Options of Model::rerank.
struct RerankOptions {
    /// The most documents in the ranking. 0: all.
    std::size_t top_n = 0;
    /// How pairs are scored, as by Model::score.
    ClassifyOptions scoring = {};
};

/// Options of Model::sparse_embed.
struct SparseOptions {
    /// Keeps only so many weights of each text, the largest ones. 0: as the model's files say, else all.
    std::size_t max_active_dims = 0;
    /// The most tokens of a text, special tokens and the prompt included. 0: the model's limit.
    std::size_t max_length = 0;
    /// The name of a prompt in the model's config_sentence_transformers.json, which is put before each text. Empty: its
    /// default_prompt_name, if it has one.
    std::string prompt_name = {};
    /// A prompt that is put there, whatever prompt_name says; empty for no prompt.
    std::optional<std::string> prompt = std::nullopt;
    const Cancellation *cancellation = nullptr;
    /// How urgent the call is.
    Priority priority = Priority::Normal;
    /// Milliseconds after which the call fails with Status::DeadlineExceeded if it is not done. 0: none.
    std::uint32_t deadline_ms = 0;
};

/// Options of Model::fill_mask.
struct FillMaskOptions {
    /// The tokens of each mask, the likeliest ones. 0: 5.
    std::size_t top_k = 0;
    /// Only these tokens are looked at; empty for the whole vocabulary. If a target is not one token, its first token is used, and a warning is
    /// logged.
    std::vector<std::string> targets = {};
    /// The most tokens of a text, special tokens included. 0: the model's limit.
    std::size_t max_length = 0;
    const Cancellation *cancellation = nullptr;
    /// How urgent the call is.
    Priority priority = Priority::Normal;
    /// Milliseconds after which the call fails with Status::DeadlineExceeded if it is not done. 0: none.
    std::uint32_t deadline_ms = 0;
};

/// Options of Model::classify_zero_shot.
struct ZeroShotOptions {
    /// The hypothesis about a label, which takes the place of {}. Empty: "This example is {}."
    std::string hypothesis_template = {};
    /// Whether a text may have several labels: each score is then between 0 and 1 on its own. Otherwise a text's scores sum to 1, unless there
    /// is only one label.
    bool multi_label = false;
    /// The most tokens of a text with a hypothesis, special tokens included. The text is cut, never the hypothesis. 0: the model's limit.
    std::size_t max_length = 0;
    const Cancellation *cancellation = nullptr;
    /// How urgent the call is.
    Priority priority = Priority::Normal;
    /// Milliseconds after which the call fails with Status::DeadlineExceeded if it is not done. 0: none.
    std::uint32_t deadline_ms = 0;
};

/// Options of Model::hidden_states.
struct HiddenStatesOptions {
    const Cancellation *cancellation = nullptr;
};

/// Options of Model::logits.
struct LogitsOptions {
    /// Runs one token per step, as generation does; the numbers are the same.
    bool stepwise = false;
    const Cancellation *cancellation = nullptr;
};

/// What the batches of a program are made of.
struct Workload {
    /// Tokens per input: their mean, special tokens included; at least 1.
    double input_tokens = 0;
    /// The standard deviation of the tokens per input.
    double input_spread = 0;
    /// Tokens to generate per input. 0: the inputs are embedded or classified.
    std::size_t output_tokens = 0;
    /// Beams per input.
    std::size_t beams = 1;
};

/// Options of Model::suggest_batch_size.
struct SuggestBatchSizeOptions {
    /// What the size is chosen for.
    BatchGoal goal = BatchGoal::Throughput;
    /// With BatchGoal::Latency the most milliseconds that a batch may take; otherwise 0.
    double latency_ms = 0;
    /// With BatchGoal::Memory the most bytes that the model may take, its weights included; otherwise 0.
    std::uint64_t memory_bytes = 0;
    /// Measures nothing: costs are assumed from the size of the weights, or read from `calibration_file`.
    bool skip_calibration = false;
    /// The path (UTF-8) of a file that keeps the times that were measured. It is read if it is of the same model, device, precision,
    /// kernels and threads; else it is written. Empty: none.
    std::string calibration_file = {};
    /// The most milliseconds that a calibration takes, apart from the run that is in progress then. 0: 4000.
    std::uint32_t calibration_ms = 0;
    const Cancellation *cancellation = nullptr;
};

/// Options of Model::prefix.
struct PrefixOptions {
    /// Must be as for the prompts that share the prefix. Auto: yes.
    Tristate add_special_tokens = Tristate::Auto;
    const Cancellation *cancellation = nullptr;
};

namespace detail {

inline const kinglet_cancellation *to_c(const Cancellation *cancellation) noexcept {
    return cancellation ? cancellation->get() : nullptr;
}

template <class C, class Options>
C cancellable(const Options &options) noexcept {
    C c{};
    c.struct_size = sizeof c;
    c.cancellation = to_c(options.cancellation);
    return c;
}

inline kinglet_tokenize_options to_c(const TokenizeOptions &options) noexcept {
    auto c = cancellable<kinglet_tokenize_options>(options);
    c.add_special_tokens = static_cast<kinglet_tristate>(options.add_special_tokens);
    c.offsets = options.offsets;
    c.max_length = options.max_length;
    return c;
}

// The name and the text of a prompt, which point into the options.
template <class C, class Options>
void prompts(C &c, const Options &options) noexcept {
    if (!options.prompt_name.empty()) c.prompt_name = to_c(std::string_view(options.prompt_name));
    if (options.prompt) c.prompt = to_c(std::string_view(*options.prompt));
}

inline kinglet_scheduler_options to_c(const SchedulerOptions &options) noexcept {
    kinglet_scheduler_options c{};
    c.struct_size = sizeof c;
    c.max_tokens = options.max_tokens;
    c.max_sequences = options.max_sequences;
    c.max_wait_us = options.max_wait_us;
    c.queue_length = options.queue_length;
    c.queue_bytes = options.queue_bytes;
    c.requests = options.requests;
    return c;
}

inline kinglet_embed_options to_c(const EmbedOptions &options) noexcept {
    auto c = cancellable<kinglet_embed_options>(options);
    c.pooling = static_cast<kinglet_pooling>(options.pooling);
    c.normalize = static_cast<kinglet_tristate>(options.normalize);
    c.max_length = options.max_length;
    prompts(c, options);
    c.truncate_dim = options.truncate_dim;
    c.priority = static_cast<kinglet_priority>(options.priority);
    c.deadline_ms = options.deadline_ms;
    return c;
}

inline kinglet_classify_options to_c(const ClassifyOptions &options) noexcept {
    auto c = cancellable<kinglet_classify_options>(options);
    c.function = static_cast<kinglet_score_function>(options.function);
    c.aggregation = static_cast<kinglet_aggregation>(options.aggregation);
    c.priority = static_cast<kinglet_priority>(options.priority);
    c.deadline_ms = options.deadline_ms;
    c.max_length = options.max_length;
    prompts(c, options);
    return c;
}

inline kinglet_sparse_options to_c(const SparseOptions &options) noexcept {
    auto c = cancellable<kinglet_sparse_options>(options);
    c.max_active_dims = options.max_active_dims;
    c.max_length = options.max_length;
    prompts(c, options);
    c.priority = static_cast<kinglet_priority>(options.priority);
    c.deadline_ms = options.deadline_ms;
    return c;
}

// `targets` are the options' own.
inline kinglet_fill_mask_options to_c(const FillMaskOptions &options, const Texts &targets) noexcept {
    auto c = cancellable<kinglet_fill_mask_options>(options);
    c.top_k = options.top_k;
    c.targets = targets.data();
    c.target_count = targets.size();
    c.max_length = options.max_length;
    c.priority = static_cast<kinglet_priority>(options.priority);
    c.deadline_ms = options.deadline_ms;
    return c;
}

inline kinglet_zero_shot_options to_c(const ZeroShotOptions &options) noexcept {
    auto c = cancellable<kinglet_zero_shot_options>(options);
    c.hypothesis_template = to_c(std::string_view(options.hypothesis_template));
    c.multi_label = options.multi_label;
    c.max_length = options.max_length;
    c.priority = static_cast<kinglet_priority>(options.priority);
    c.deadline_ms = options.deadline_ms;
    return c;
}

// `forced` are the options' force_tokens.
inline kinglet_compress_options to_c(const CompressOptions &options, const Texts &forced) noexcept {
    auto c = cancellable<kinglet_compress_options>(options);
    c.ratio = options.ratio;
    c.max_tokens = options.max_tokens;
    c.method = static_cast<kinglet_compress_method>(options.method);
    c.unit = static_cast<kinglet_compress_unit>(options.unit);
    c.query = to_c(std::string_view(options.query));
    c.keep_label = to_c(std::string_view(options.keep_label));
    c.window = options.window;
    c.overlap = options.overlap;
    c.relevance = options.relevance;
    c.force_digits = options.force_digits;
    c.force_capitalized = options.force_capitalized;
    c.force_tokens = forced.data();
    c.force_token_count = forced.size();
    c.priority = static_cast<kinglet_priority>(options.priority);
    c.deadline_ms = options.deadline_ms;
    return c;
}

inline kinglet_suggest_batch_size_options to_c(const SuggestBatchSizeOptions &options) noexcept {
    auto c = cancellable<kinglet_suggest_batch_size_options>(options);
    c.goal = static_cast<kinglet_batch_goal>(options.goal);
    c.latency_ms = options.latency_ms;
    c.memory_bytes = options.memory_bytes;
    c.skip_calibration = options.skip_calibration;
    c.calibration_file = to_c(std::string_view(options.calibration_file));
    c.calibration_ms = options.calibration_ms;
    return c;
}

// Calls a progress function from C, which nothing may be thrown through.
struct ProgressCall {
    const std::function<bool(double)> &report;
    std::exception_ptr thrown{};

    static std::uint32_t call(void *user_data, const kinglet_progress *progress) noexcept {
        auto &self = *static_cast<ProgressCall *>(user_data);
#if KINGLET_EXCEPTIONS
        try {
            return self.report(progress->fraction) ? 1 : 0;
        } catch (...) {
            self.thrown = std::current_exception();
            return 0;
        }
#else
        return self.report(progress->fraction) ? 1 : 0;
#endif
    }
};

} // namespace detail
} // namespace KINGLET_FORM
} // namespace kinglet

#endif

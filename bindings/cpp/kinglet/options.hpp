// What goes into calls: texts, option structs with their defaults, and the switch that cancels.

#ifndef KINGLET_OPTIONS_HPP
#define KINGLET_OPTIONS_HPP

#include "result.hpp"
#include "span.hpp"

#include <kinglet.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kinglet {
inline namespace KINGLET_FORM {

// Where a model runs.
enum class Device : std::uint32_t {
    Cpu = KINGLET_DEVICE_CPU,
    CandleCpu = KINGLET_DEVICE_CANDLE_CPU,
    Cuda = KINGLET_DEVICE_CUDA,
    Metal = KINGLET_DEVICE_METAL,
};

// The number type that weights are held and multiplied in.
enum class Precision : std::uint32_t {
    Auto = KINGLET_PRECISION_AUTO,
    F32 = KINGLET_PRECISION_F32,
    F16 = KINGLET_PRECISION_F16,
    Int8 = KINGLET_PRECISION_INT8,
    Bf16 = KINGLET_PRECISION_BF16,
};

// How grave a log line is.
enum class LogLevel : std::uint32_t {
    Error = KINGLET_LOG_ERROR,
    Warning = KINGLET_LOG_WARNING,
    Info = KINGLET_LOG_INFO,
    Debug = KINGLET_LOG_DEBUG,
};

// How the vectors of a text's tokens become one.
enum class Pooling : std::uint32_t {
    Auto = KINGLET_POOLING_AUTO,
    Mean = KINGLET_POOLING_MEAN,
    Cls = KINGLET_POOLING_CLS,
    Last = KINGLET_POOLING_LAST,
    None = KINGLET_POOLING_NONE,
};

// Whether vectors are scaled to length 1.
enum class Normalize : std::uint32_t {
    Auto = KINGLET_NORMALIZE_AUTO,
    No = KINGLET_NORMALIZE_NO,
    Yes = KINGLET_NORMALIZE_YES,
};

// How a head's outputs become scores.
enum class Function : std::uint32_t {
    Auto = KINGLET_FUNCTION_AUTO,
    None = KINGLET_FUNCTION_NONE,
    Sigmoid = KINGLET_FUNCTION_SIGMOID,
    Softmax = KINGLET_FUNCTION_SOFTMAX,
};

// How labelled tokens become entities.
enum class Aggregation : std::uint32_t {
    None = KINGLET_AGGREGATION_NONE,
    Simple = KINGLET_AGGREGATION_SIMPLE,
};

// A form for exported counters.
enum class Format : std::uint32_t {
    Json = KINGLET_FORMAT_JSON,
    Csv = KINGLET_FORMAT_CSV,
    Prometheus = KINGLET_FORMAT_PROMETHEUS,
};

// A list of texts as an argument: from a braced list, a vector or array of strings or string_views, a Span. It lends the texts, so it
// must not outlive them; pass it on and do not keep it.
class Texts {
public:
    Texts(std::initializer_list<std::string_view> texts) { assign(texts); }

    template <class Range, class = std::enable_if_t<!std::is_same_v<std::decay_t<Range>, Texts>>,
              class Element = decltype(*std::begin(std::declval<const Range &>())),
              // Elements made on the fly would be gone before the call, unless they are views themselves.
              class = std::enable_if_t<std::is_convertible_v<Element, std::string_view> &&
                                       (std::is_lvalue_reference_v<Element> || !std::is_class_v<Element> ||
                                        std::is_same_v<std::decay_t<Element>, std::string_view>)>>
    Texts(const Range &range) {
        assign(range);
    }

    std::size_t size() const noexcept { return texts_.size(); }

    // The list as the C library takes it.
    const kinglet_str *data() const noexcept { return texts_.data(); }

private:
    template <class Range>
    void assign(const Range &range) {
        texts_.reserve(static_cast<std::size_t>(std::distance(std::begin(range), std::end(range))));
        for (const auto &text : range) texts_.push_back(detail::to_c(text));
    }

    std::vector<kinglet_str> texts_;
};

// A switch that stops the calls that were given it, with Status::Cancelled. Once set it stays set; one switch may serve many calls.
// cancel() may be called from any thread at any time between construction and destruction, also while those calls run. The switch
// must live until the calls that were given it have begun; keeping it until they have returned is the simple rule.
class Cancellation {
public:
#if KINGLET_EXCEPTIONS
    Cancellation() : Cancellation(try_create().value()) {}
#endif

    static Result<Cancellation> try_create() noexcept {
        kinglet_cancellation *handle = nullptr;
        const Result<void> made = detail::run([&](kinglet_error **error) { return kinglet_cancellation_new(&handle, error); });
        if (!made) return made.error();
        return Cancellation(handle);
    }

    // Sets the switch. On a moved-from switch it does nothing.
    void cancel() const noexcept { (void)kinglet_cancellation_cancel(handle_.get(), nullptr); }

    // The C handle, still owned by this object.
    const kinglet_cancellation *get() const noexcept { return handle_.get(); }

private:
    explicit Cancellation(kinglet_cancellation *handle) noexcept : handle_(handle) {}

    struct Free {
        void operator()(kinglet_cancellation *handle) const noexcept { kinglet_cancellation_free(handle); }
    };
    std::unique_ptr<kinglet_cancellation, Free> handle_;
};

// How a model is to be loaded. Options are plain values: not to be changed by one thread while a call of another reads them.
struct ModelOptions {
    Device device = Device::Cpu;
    Precision precision = Precision::Auto;
    // Threads that one call may use, the calling one counted. 0: as many as the process may use.
    std::uint32_t threads = 0;
    // Bytes that the model may take; a larger one is refused before anything is allocated for it. 0: no limit.
    std::uint64_t memory_limit = 0;
    // The least grave lines that reach `log`.
    LogLevel log_level = LogLevel::Info;
    // Called now and then by the loading thread with the done share, 0 to 1; false cancels. What it throws cancels too: load() throws
    // it on, try_load() reports Status::Cancelled.
    std::function<bool(float share)> progress = nullptr;
    // Called with each log line, from any thread that makes calls on the model, possibly from several at once, until the model's last
    // owner is gone. What it throws is dropped.
    std::function<void(LogLevel level, std::string_view line)> log = nullptr;
    // Stops the load from another thread.
    const Cancellation *cancellation = nullptr;
    // Bytes that finished generations may be remembered in, the least recently used forgotten first: a question that comes again with
    // the same options is answered from there. 0: none are.
    std::uint64_t answer_cache_bytes = 0;
    // Which of the devices of that kind; devices() tells which there are.
    std::uint32_t device_index = 0;
    // The path (UTF-8) of ONNX Runtime's shared library, 1.17 or newer, which ONNX graphs need. A process opens one: a second is not
    // opened, and a warning logged. Empty: what ORT_DYLIB_PATH names, else the system's.
    std::string onnxruntime = {};
};

// What is wanted of Model::tokenize.
struct TokenizeOptions {
    // Add [CLS], </s> and the like.
    bool add_special_tokens = true;
    // Compute where each token lies in its text.
    bool offsets = false;
    // The most tokens of a text or pair, special ones counted. 0: what the model takes. SIZE_MAX: no limit.
    std::size_t max_length = 0;
    const Cancellation *cancellation = nullptr;
};

// What is wanted of Model::embed.
struct EmbedOptions {
    Pooling pooling = Pooling::Auto;
    Normalize normalize = Normalize::Auto;
    // The most tokens of a text, special ones counted. 0: what the model takes.
    std::size_t max_length = 0;
    const Cancellation *cancellation = nullptr;
};

// What is wanted of Model::classify, score and classify_tokens.
struct ClassifyOptions {
    Function function = Function::Auto;
    // For classify_tokens.
    Aggregation aggregation = Aggregation::Simple;
    // The most tokens of a text or pair, special ones counted. 0: what the model takes.
    std::size_t max_length = 0;
    const Cancellation *cancellation = nullptr;
};

namespace detail {

inline const kinglet_cancellation *to_c(const Cancellation *cancellation) noexcept {
    return cancellation ? cancellation->get() : nullptr;
}

inline kinglet_tokenize_options to_c(const TokenizeOptions &options) noexcept {
    kinglet_tokenize_options c{};
    (void)kinglet_tokenize_options_init(&c, sizeof c, nullptr);
    c.add_special_tokens = options.add_special_tokens;
    c.offsets = options.offsets;
    c.max_length = options.max_length;
    c.cancellation = to_c(options.cancellation);
    return c;
}

inline kinglet_embed_options to_c(const EmbedOptions &options) noexcept {
    kinglet_embed_options c{};
    (void)kinglet_embed_options_init(&c, sizeof c, nullptr);
    c.pooling = static_cast<kinglet_pooling>(options.pooling);
    c.normalize = static_cast<kinglet_normalize>(options.normalize);
    c.max_length = options.max_length;
    c.cancellation = to_c(options.cancellation);
    return c;
}

inline kinglet_classify_options to_c(const ClassifyOptions &options) noexcept {
    kinglet_classify_options c{};
    (void)kinglet_classify_options_init(&c, sizeof c, nullptr);
    c.function = static_cast<kinglet_function>(options.function);
    c.aggregation = static_cast<kinglet_aggregation>(options.aggregation);
    c.max_length = options.max_length;
    c.cancellation = to_c(options.cancellation);
    return c;
}

} // namespace detail
} // namespace KINGLET_FORM
} // namespace kinglet

#endif

// A loaded model and everything that it can do.

#ifndef KINGLET_MODEL_HPP
#define KINGLET_MODEL_HPP

#include "generation.hpp"
#include "options.hpp"
#include "result.hpp"
#include "results.hpp"
#include "span.hpp"

#include <kinglet.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if KINGLET_EXCEPTIONS
#include <exception>
#endif

namespace kinglet {
inline namespace KINGLET_FORM {
namespace detail {

// C calls these two; nothing may be thrown through it.

struct Progress {
    const std::function<bool(float)> &report;
#if KINGLET_EXCEPTIONS
    std::exception_ptr thrown{};
#endif

    static std::uint32_t call(void *user_data, float share) noexcept {
        auto &self = *static_cast<Progress *>(user_data);
#if KINGLET_EXCEPTIONS
        try {
            return self.report(share) ? 1 : 0;
        } catch (...) {
            self.thrown = std::current_exception();
            return 0;
        }
#else
        return self.report(share) ? 1 : 0;
#endif
    }
};

struct Log {
    std::function<void(LogLevel, std::string_view)> write;

    static void call(void *user_data, kinglet_log_level level, kinglet_str line) noexcept {
        const auto &self = *static_cast<const Log *>(user_data);
#if KINGLET_EXCEPTIONS
        try {
            self.write(static_cast<LogLevel>(level), to_cpp(line));
        } catch (...) {
            // A log that fails must not fail the work that it tells of.
        }
#else
        self.write(static_cast<LogLevel>(level), to_cpp(line));
#endif
    }
};

inline Result<std::string> to_string(const Result<Text> &text) noexcept {
    if (!text) return text.error();
    return std::string(text->view());
}

inline Result<void> same_size(const Texts &first, const Texts &second) noexcept {
    if (first.size() == second.size()) return {};
    return Error(Status::InvalidArgument, "there are " + std::to_string(first.size()) + " first texts but " +
                                              std::to_string(second.size()) + " second ones; give one for each");
}

} // namespace detail

// A loaded model. Every const member may be called from any number of threads at once; the calls share the model's own threads. A
// batch in one call is served better than the same texts in many calls. Results may outlive the model.
class Model {
public:
    // Loads a model: a directory as Hugging Face publishes it, a GGUF file, a .kinglet file, which stays mapped and must not change
    // while the model lives, or an ONNX export (ModelOptions::onnxruntime). `path` is UTF-8.
    static Result<Model> try_load(std::string_view path, const ModelOptions &options = {}) noexcept {
        detail::Progress progress{options.progress};
        return load_with(path, options, progress);
    }

    // One more owner of the same model, for instance for another thread to keep. The last one frees it.
    Result<Model> try_share() const noexcept {
        kinglet_model *retained = nullptr;
        const Result<void> done =
            detail::run([&](kinglet_error **error) { return kinglet_model_retain(get(), &retained, error); });
        if (!done) return done.error();
        return from(retained, log_);
    }

    Result<Encoding> try_tokenize(const Texts &texts, const TokenizeOptions &options = {}) const noexcept {
        const auto c = detail::to_c(options);
        return detail::make<Encoding, kinglet_encoding>([&](kinglet_encoding **encoding, kinglet_error **error) {
            return kinglet_model_tokenize(get(), texts.data(), nullptr, texts.size(), &c, encoding, error);
        });
    }

    // Tokenises each text together with the pair of the same index.
    Result<Encoding> try_tokenize_pairs(const Texts &texts, const Texts &pairs,
                                        const TokenizeOptions &options = {}) const noexcept {
        if (auto same = detail::same_size(texts, pairs); !same) return same.error();
        const auto c = detail::to_c(options);
        return detail::make<Encoding, kinglet_encoding>([&](kinglet_encoding **encoding, kinglet_error **error) {
            return kinglet_model_tokenize(get(), texts.data(), pairs.data(), texts.size(), &c, encoding, error);
        });
    }

    // Turns token ids back into text.
    Result<std::string> try_decode(Span<const std::uint32_t> ids, bool skip_special_tokens = true) const noexcept {
        return detail::to_string(
            detail::make<detail::Text, kinglet_text>([&](kinglet_text **text, kinglet_error **error) {
                return kinglet_model_decode(get(), ids.data(), ids.size(), skip_special_tokens, text, error);
            }));
    }

    // Embeds texts. On Device::Cpu a text's values are the same bits whatever the other texts and however many the threads.
    Result<Embeddings> try_embed(const Texts &texts, const EmbedOptions &options = {}) const noexcept {
        const auto c = detail::to_c(options);
        return detail::make<Embeddings, kinglet_embeddings>([&](kinglet_embeddings **embeddings, kinglet_error **error) {
            return kinglet_model_embed(get(), texts.data(), texts.size(), &c, embeddings, error);
        });
    }

    // Classifies texts. Status::Unsupported if the model has no head for it; so with the next three.
    Result<Classifications> try_classify(const Texts &texts, const ClassifyOptions &options = {}) const noexcept {
        const auto c = detail::to_c(options);
        return classifications([&](kinglet_classifications **made, kinglet_error **error) {
            return kinglet_model_classify(get(), texts.data(), nullptr, texts.size(), &c, made, error);
        });
    }

    // Classifies each text together with the pair of the same index.
    Result<Classifications> try_classify_pairs(const Texts &texts, const Texts &pairs,
                                               const ClassifyOptions &options = {}) const noexcept {
        if (auto same = detail::same_size(texts, pairs); !same) return same.error();
        const auto c = detail::to_c(options);
        return classifications([&](kinglet_classifications **made, kinglet_error **error) {
            return kinglet_model_classify(get(), texts.data(), pairs.data(), texts.size(), &c, made, error);
        });
    }

    // Scores each query with the document of the same index by a cross-encoder: one score a pair.
    Result<Classifications> try_score(const Texts &queries, const Texts &documents,
                                      const ClassifyOptions &options = {}) const noexcept {
        if (auto same = detail::same_size(queries, documents); !same) return same.error();
        const auto c = detail::to_c(options);
        return classifications([&](kinglet_classifications **made, kinglet_error **error) {
            return kinglet_model_score(get(), queries.data(), documents.data(), queries.size(), &c, made, error);
        });
    }

    // Labels the tokens of texts.
    Result<TokenClassifications> try_classify_tokens(const Texts &texts,
                                                     const ClassifyOptions &options = {}) const noexcept {
        const auto c = detail::to_c(options);
        return detail::make<TokenClassifications, kinglet_token_classifications>(
            [&](kinglet_token_classifications **made, kinglet_error **error) {
                return kinglet_model_classify_tokens(get(), texts.data(), texts.size(), &c, made, error);
            });
    }

    // Runs token ids as they are: the ids of all sequences end to end, and how many each sequence has. `type_ids` may be empty.
    Result<HiddenStates> try_hidden_states(Span<const std::uint32_t> ids, Span<const std::size_t> lengths,
                                           Span<const std::uint32_t> type_ids = {},
                                           const Cancellation *cancellation = nullptr) const noexcept {
        if (!type_ids.empty() && type_ids.size() != ids.size()) {
            return Error(Status::InvalidArgument, "there are " + std::to_string(ids.size()) + " ids but " +
                                                      std::to_string(type_ids.size()) + " type ids; give one for each, or none");
        }
        return detail::make<HiddenStates, kinglet_hidden_states>(
            [&](kinglet_hidden_states **states, kinglet_error **error) {
                return kinglet_model_hidden_states(get(), ids.data(), type_ids.empty() ? nullptr : type_ids.data(), ids.size(),
                                                   lengths.data(), lengths.size(), detail::to_c(cancellation), states, error);
            });
    }

    Result<HiddenStates> try_hidden_states(const Encoding &encoding,
                                           const Cancellation *cancellation = nullptr) const noexcept {
        return try_hidden_states(encoding.ids(), encoding.lengths(), encoding.type_ids(), cancellation);
    }

    // Generates a text for each prompt or, where the model has an encoder, for each source text. What is left unset in the options is
    // the model's generation_config.json's choice, and where that is silent Hugging Face's default. Status::Unsupported if the model
    // generates nothing; so with the next members.
    Result<Generations> try_generate(const Texts &texts, const GenerateOptions &options = {}) const noexcept {
        return generate_with(texts, detail::GenerateCall(options));
    }

    // The same for one text: a string, a string_view, a literal. Braced lists are Texts.
    template <class Text, class = detail::IfText<Text>>
    Result<Generations> try_generate(const Text &text, const GenerateOptions &options = {}) const noexcept {
        return try_generate(Texts{std::string_view(text)}, options);
    }

    // From token ids as they are: the ids of all inputs end to end, and how many each input has.
    Result<Generations> try_generate_ids(Span<const std::uint32_t> ids, Span<const std::size_t> lengths,
                                         const GenerateOptions &options = {}) const noexcept {
        return generate_ids_with(ids, lengths, detail::GenerateCall(options));
    }

    // Computes the logits of a sequence's tokens before any processing: of `decoder_ids` given the source text `ids`, or for a model
    // without an encoder of `ids`, with no decoder_ids. `stepwise` runs the tokens one at a time, as generation does; the numbers are
    // the same.
    Result<Logits> try_logits(Span<const std::uint32_t> ids, Span<const std::uint32_t> decoder_ids = {}, bool stepwise = false,
                              const Cancellation *cancellation = nullptr) const noexcept {
        return detail::make<Logits, kinglet_logits>([&](kinglet_logits **logits, kinglet_error **error) {
            return kinglet_model_logits(get(), ids.data(), ids.size(), decoder_ids.empty() ? nullptr : decoder_ids.data(),
                                        decoder_ids.size(), stepwise, detail::to_c(cancellation), logits, error);
        });
    }

    // Computes the beginning of prompts once, for GenerateOptions::prefix. `add_special_tokens`: as it will be for the prompts.
    Result<Prefix> try_prefix(std::string_view text, bool add_special_tokens = true) const noexcept {
        auto made = detail::make<Prefix, kinglet_prefix>([&](kinglet_prefix **prefix, kinglet_error **error) {
            return kinglet_prefix_new(get(), detail::to_c(text), add_special_tokens, prefix, error);
        });
        if (made) made->log_ = log_;
        return made;
    }

    // Begins a chat. Status::Unsupported if the model has no chat template.
    Result<Session> try_session() const noexcept {
        auto made = detail::make<Session, kinglet_session>([&](kinglet_session **session, kinglet_error **error) {
            return kinglet_session_new(get(), session, error);
        });
        if (made) made->log_ = log_;
        return made;
    }

    // The model's counters; those of calls that run meanwhile may show in some figures and not in others.
    Result<Counters> try_counters() const noexcept {
        kinglet_counters c{};
        c.struct_size = sizeof c;
        const Result<void> done =
            detail::run([&](kinglet_error **error) { return kinglet_counters_read(get(), &c, error); });
        if (!done) return done.error();
        return Counters(c);
    }

    Result<void> try_reset_counters() const noexcept {
        return detail::run([&](kinglet_error **error) { return kinglet_counters_reset(get(), error); });
    }

    Result<std::string> try_export_counters(Format format) const noexcept {
        return detail::to_string(
            detail::make<detail::Text, kinglet_text>([&](kinglet_text **text, kinglet_error **error) {
                return kinglet_counters_export(get(), static_cast<kinglet_format>(format), text, error);
            }));
    }

    // The model described as a JSON object.
    Result<std::string> try_info() const noexcept {
        return detail::to_string(
            detail::make<detail::Text, kinglet_text>([&](kinglet_text **text, kinglet_error **error) {
                return kinglet_model_info(get(), text, error);
            }));
    }

#if KINGLET_EXCEPTIONS
    // The same calls, throwing Error.

    static Model load(std::string_view path, const ModelOptions &options = {}) {
        detail::Progress progress{options.progress};
        auto loaded = load_with(path, options, progress);
        if (progress.thrown) std::rethrow_exception(progress.thrown);
        return std::move(loaded).value();
    }
    Model share() const { return try_share().value(); }
    Encoding tokenize(const Texts &texts, const TokenizeOptions &options = {}) const {
        return try_tokenize(texts, options).value();
    }
    Encoding tokenize_pairs(const Texts &texts, const Texts &pairs, const TokenizeOptions &options = {}) const {
        return try_tokenize_pairs(texts, pairs, options).value();
    }
    std::string decode(Span<const std::uint32_t> ids, bool skip_special_tokens = true) const {
        return try_decode(ids, skip_special_tokens).value();
    }
    Embeddings embed(const Texts &texts, const EmbedOptions &options = {}) const {
        return try_embed(texts, options).value();
    }
    Classifications classify(const Texts &texts, const ClassifyOptions &options = {}) const {
        return try_classify(texts, options).value();
    }
    Classifications classify_pairs(const Texts &texts, const Texts &pairs, const ClassifyOptions &options = {}) const {
        return try_classify_pairs(texts, pairs, options).value();
    }
    Classifications score(const Texts &queries, const Texts &documents, const ClassifyOptions &options = {}) const {
        return try_score(queries, documents, options).value();
    }
    TokenClassifications classify_tokens(const Texts &texts, const ClassifyOptions &options = {}) const {
        return try_classify_tokens(texts, options).value();
    }
    HiddenStates hidden_states(Span<const std::uint32_t> ids, Span<const std::size_t> lengths,
                               Span<const std::uint32_t> type_ids = {}, const Cancellation *cancellation = nullptr) const {
        return try_hidden_states(ids, lengths, type_ids, cancellation).value();
    }
    HiddenStates hidden_states(const Encoding &encoding, const Cancellation *cancellation = nullptr) const {
        return try_hidden_states(encoding, cancellation).value();
    }
    Generations generate(const Texts &texts, const GenerateOptions &options = {}) const {
        detail::GenerateCall call(options);
        return call.value(generate_with(texts, call));
    }
    template <class Text, class = detail::IfText<Text>>
    Generations generate(const Text &text, const GenerateOptions &options = {}) const {
        return generate(Texts{std::string_view(text)}, options);
    }
    Generations generate_ids(Span<const std::uint32_t> ids, Span<const std::size_t> lengths,
                             const GenerateOptions &options = {}) const {
        detail::GenerateCall call(options);
        return call.value(generate_ids_with(ids, lengths, call));
    }
    Logits logits(Span<const std::uint32_t> ids, Span<const std::uint32_t> decoder_ids = {}, bool stepwise = false,
                  const Cancellation *cancellation = nullptr) const {
        return try_logits(ids, decoder_ids, stepwise, cancellation).value();
    }
    Prefix prefix(std::string_view text, bool add_special_tokens = true) const {
        return try_prefix(text, add_special_tokens).value();
    }
    Session session() const { return try_session().value(); }
    Counters counters() const { return try_counters().value(); }
    void reset_counters() const { try_reset_counters().value(); }
    std::string export_counters(Format format) const { return try_export_counters(format).value(); }
    std::string info() const { return try_info().value(); }
#endif

    // What was loaded. Views are valid until the last owner of the model is gone.

    std::string_view path() const noexcept { return detail::to_cpp(view_.path); }
    // The `model_type` of config.json.
    std::string_view family() const noexcept { return detail::to_cpp(view_.family); }
    Device device() const noexcept { return static_cast<Device>(view_.device); }
    std::uint32_t device_index() const noexcept { return view_.device_index; }
    // The precision that runs, never Precision::Auto.
    Precision precision() const noexcept { return static_cast<Precision>(view_.precision); }
    std::size_t threads() const noexcept { return view_.threads; }
    // Values in a hidden state, and in an embedding.
    std::size_t hidden_size() const noexcept { return view_.hidden_size; }
    // The most tokens of a text, special ones counted.
    std::size_t max_length() const noexcept { return view_.max_length; }
    std::size_t vocabulary_size() const noexcept { return view_.vocabulary_size; }
    std::uint64_t weight_bytes() const noexcept { return view_.weight_bytes; }
    bool can_generate() const noexcept { return view_.can_generate != 0; }
    // Whether a source text is read with an encoder, apart from what is generated.
    bool has_encoder() const noexcept { return view_.has_encoder != 0; }
    // Bytes that the caches of keys and values take now, of all calls, sessions and prefixes.
    std::uint64_t cache_bytes() const noexcept {
        kinglet_model_view now{};
        now.struct_size = sizeof now;
        (void)kinglet_model_read(get(), &now, nullptr);
        return now.cache_bytes;
    }
    // The classification head's labels; empty if there is no such head.
    std::size_t label_count() const noexcept { return view_.label_count; }
    std::string_view label(std::size_t i) const noexcept { return detail::to_cpp(view_.labels[i]); }
    std::vector<std::string_view> labels() const {
        std::vector<std::string_view> all;
        all.reserve(label_count());
        for (std::size_t i = 0; i < label_count(); ++i) all.push_back(label(i));
        return all;
    }

    Model(Model &&other) noexcept
        : log_(std::move(other.log_)), handle_(std::move(other.handle_)), view_(std::exchange(other.view_, kinglet_model_view{})) {}
    Model &operator=(Model &&other) noexcept {
        Model taken(std::move(other));
        std::swap(log_, taken.log_);
        std::swap(handle_, taken.handle_);
        std::swap(view_, taken.view_);
        return *this;
    }

    // The C handle, still owned by this object.
    const kinglet_model *get() const noexcept { return handle_.get(); }

private:
    struct Free {
        void operator()(kinglet_model *model) const noexcept { kinglet_model_free(model); }
    };

    Model(kinglet_model *handle, std::shared_ptr<detail::Log> log) noexcept : log_(std::move(log)), handle_(handle) {}

    static Result<Model> from(kinglet_model *handle, std::shared_ptr<detail::Log> log) noexcept {
        Model model(handle, std::move(log));
        model.view_.struct_size = sizeof model.view_;
        const Result<void> read =
            detail::run([&](kinglet_error **error) { return kinglet_model_read(handle, &model.view_, error); });
        if (!read) return read.error();
        return model;
    }

    static Result<Model> load_with(std::string_view path, const ModelOptions &options, detail::Progress &progress) noexcept {
        if (const std::uint32_t found = kinglet_abi_version(); found != KINGLET_ABI_VERSION) {
            return Error(Status::Unsupported, "this program was compiled for Kinglet's C ABI " + std::to_string(KINGLET_ABI_VERSION) +
                                                  ", but the Kinglet library that was loaded, version " + std::string(version()) +
                                                  ", has ABI " + std::to_string(found) +
                                                  "; compile the program with that library's headers, or load the library it was made for");
        }
        kinglet_model_options c{};
        (void)kinglet_model_options_init(&c, sizeof c, nullptr);
        c.device = static_cast<kinglet_device>(options.device);
        c.precision = static_cast<kinglet_precision>(options.precision);
        c.threads = options.threads;
        c.memory_limit = options.memory_limit;
        c.log_level = static_cast<kinglet_log_level>(options.log_level);
        c.answer_cache_bytes = options.answer_cache_bytes;
        c.device_index = options.device_index;
        c.onnxruntime = detail::to_c(std::string_view(options.onnxruntime));
        c.cancellation = detail::to_c(options.cancellation);
        if (options.progress) {
            c.progress = &detail::Progress::call;
            c.progress_user_data = &progress;
        }
        std::shared_ptr<detail::Log> log;
        if (options.log) {
            log = std::make_shared<detail::Log>(detail::Log{options.log});
            c.log = &detail::Log::call;
            c.log_user_data = log.get();
        }
        kinglet_model *handle = nullptr;
        const Result<void> loaded = detail::run(
            [&](kinglet_error **error) { return kinglet_model_load(detail::to_c(path), &c, &handle, error); });
        if (!loaded) return loaded.error();
        return from(handle, std::move(log));
    }

    Result<Generations> generate_with(const Texts &texts, const detail::GenerateCall &call) const noexcept {
        return detail::make<Generations, kinglet_generations>([&](kinglet_generations **made, kinglet_error **error) {
            return kinglet_model_generate(get(), texts.data(), texts.size(), call.get(), made, error);
        });
    }

    Result<Generations> generate_ids_with(Span<const std::uint32_t> ids, Span<const std::size_t> lengths,
                                          const detail::GenerateCall &call) const noexcept {
        return detail::make<Generations, kinglet_generations>([&](kinglet_generations **made, kinglet_error **error) {
            return kinglet_model_generate_ids(get(), ids.data(), ids.size(), lengths.data(), lengths.size(), call.get(), made, error);
        });
    }

    template <class Call>
    static Result<Classifications> classifications(Call call) noexcept {
        return detail::make<Classifications, kinglet_classifications>(call);
    }

    // The log outlives the handle, whose freeing may still write to it: members go in the reverse of this order.
    std::shared_ptr<detail::Log> log_;
    std::unique_ptr<kinglet_model, Free> handle_;
    kinglet_model_view view_{};
};

namespace detail {

inline Result<void> quantize(std::string_view source, std::string_view destination, Precision precision, Progress &progress) noexcept {
    return run([&](kinglet_error **error) {
        return kinglet_quantize(to_c(source), to_c(destination), static_cast<kinglet_precision>(precision),
                                progress.report ? &Progress::call : nullptr, &progress, error);
    });
}

} // namespace detail

// Reads a model (a Hugging Face directory or a GGUF file) and writes it to `destination` as one .kinglet file with its weights in
// `precision`, which Model::load then maps instead of converting. The file appears when it is complete. `progress`: as
// ModelOptions::progress. Any thread.
inline Result<void> try_quantize(std::string_view source, std::string_view destination, Precision precision,
                                 const std::function<bool(float share)> &progress = nullptr) noexcept {
    detail::Progress reported{progress};
    return detail::quantize(source, destination, precision, reported);
}

#if KINGLET_EXCEPTIONS
inline void quantize(std::string_view source, std::string_view destination, Precision precision,
                     const std::function<bool(float share)> &progress = nullptr) {
    detail::Progress reported{progress};
    const auto done = detail::quantize(source, destination, precision, reported);
    if (reported.thrown) std::rethrow_exception(reported.thrown);
    done.value();
}
#endif

} // namespace KINGLET_FORM
} // namespace kinglet

#endif

// A loaded model and everything that it can do.

#ifndef KINGLET_MODEL_HPP
#define KINGLET_MODEL_HPP

#include "generation.hpp"
#include "masked.hpp"
#include "options.hpp"
#include "request.hpp"
#include "result.hpp"
#include "results.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kinglet {
inline namespace KINGLET_FORM {
namespace detail {

// Calls a log function from C, which nothing may be thrown through. The library releases it with the model.
struct LogCall {
    std::function<void(LogLevel, std::string_view)> write;

    static void call(void *user_data, const kinglet_log_record *record) noexcept {
        const auto &self = *static_cast<const LogCall *>(user_data);
#if KINGLET_EXCEPTIONS
        try {
            self.write(static_cast<LogLevel>(record->level), to_cpp(record->message));
        } catch (...) {
            // A log that fails must not fail the work that it reports.
        }
#else
        self.write(static_cast<LogLevel>(record->level), to_cpp(record->message));
#endif
    }
    static void release(void *user_data) noexcept { delete static_cast<LogCall *>(user_data); }
};

inline Result<void> same_size(const char *name, std::size_t size, const char *of, std::size_t expected) noexcept {
    if (size == expected) return {};
    return Error(Status::InvalidArgument,
                 std::string(name) + ": there are " + std::to_string(size) + " for " + std::to_string(expected) + " " + of);
}

} // namespace detail

/// A loaded model. Const members may be called from any number of threads at the same time; the calls share the model's threads. One call
/// with a batch is faster than many calls with one text each. A copy is one more owner of the same model; results may outlive it.
class Model : public detail::Owner<kinglet_model, kinglet_model_free> {
public:
    /// Loads a model: a Hugging Face directory, a GGUF file, a .kinglet file, which stays mapped and must not change while the model is in
    /// use, an ONNX export (ModelOptions::onnxruntime), or the name of a model in the local cache of the Hugging Face hub
    /// (sentence-transformers/all-MiniLM-L6-v2; nothing is downloaded). `path` is UTF-8.
    static Result<Model> load(std::string_view path, const ModelOptions &options = {}) noexcept {
        if (const std::uint32_t found = kinglet_abi_version(); found != KINGLET_ABI_VERSION) {
            return Error(Status::Unsupported,
                         "this program was compiled for Kinglet's C ABI " + std::to_string(KINGLET_ABI_VERSION) + ", but the loaded library, version " +
                             std::string(version()) + ", has ABI " + std::to_string(found) +
                             "; compile the program with that library's headers, or load the library that it was compiled for");
        }
        detail::ProgressCall progress{options.progress};
        auto c = detail::cancellable<kinglet_model_options>(options);
        c.device = static_cast<kinglet_device>(options.device);
        c.device_index = options.device_index;
        c.precision = static_cast<kinglet_precision>(options.precision);
        c.log_level = static_cast<kinglet_log_level>(options.log_level);
        c.threads = options.threads;
        c.memory_limit = options.memory_limit;
        c.map_files = static_cast<kinglet_tristate>(options.map_files);
        c.max_text_bytes = options.max_text_bytes;
        c.answer_cache_bytes = options.answer_cache_bytes;
        const auto scheduler = detail::to_c(options.scheduler);
        c.scheduler = &scheduler;
        c.onnxruntime = detail::to_c(std::string_view(options.onnxruntime));
        if (options.progress) {
            c.progress = &detail::ProgressCall::call;
            c.progress_user_data = &progress;
        }
        if (options.log) {
            c.log = &detail::LogCall::call;
            c.log_user_data = new detail::LogCall{options.log};
            c.log_release = &detail::LogCall::release;
        }
        return detail::make<Model, kinglet_model>(
            [&](kinglet_model **model, kinglet_error **error) {
                return kinglet_model_load(detail::to_c(path), &c, model, error);
            },
            &progress.thrown);
    }

    Model(const Model &other) noexcept : Owner(kinglet_model_retain(other.get())), view_(other.view_) {}
    Model(Model &&other) noexcept : Owner(std::move(other)), view_(std::exchange(other.view_, kinglet_model_view{})) {}
    Model &operator=(Model other) noexcept {
        Owner::operator=(std::move(other));
        view_ = other.view_;
        return *this;
    }

    /// Tokenises texts.
    Result<Encoding> tokenize(const Texts &texts, const TokenizeOptions &options = {}) const noexcept {
        const auto c = detail::to_c(options);
        return detail::make<Encoding, kinglet_encoding>([&](kinglet_encoding **encoding, kinglet_error **error) {
            return kinglet_model_tokenize(get(), texts.data(), nullptr, texts.size(), &c, encoding, error);
        });
    }

    /// Tokenises texts[i] together with pairs[i].
    Result<Encoding> tokenize_pairs(const Texts &texts, const Texts &pairs, const TokenizeOptions &options = {}) const noexcept {
        if (auto same = detail::same_size("pairs", pairs.size(), "texts", texts.size()); !same) return same.error();
        const auto c = detail::to_c(options);
        return detail::make<Encoding, kinglet_encoding>([&](kinglet_encoding **encoding, kinglet_error **error) {
            return kinglet_model_tokenize(get(), texts.data(), pairs.data(), texts.size(), &c, encoding, error);
        });
    }

    /// Converts token ids to text.
    Result<std::string> detokenize(Span<const std::uint32_t> ids, const DetokenizeOptions &options = {}) const noexcept {
        kinglet_detokenize_options c{};
        c.struct_size = sizeof c;
        c.skip_special_tokens = static_cast<kinglet_tristate>(options.skip_special_tokens);
        return detail::make_string([&](kinglet_text **text, kinglet_error **error) {
            return kinglet_model_detokenize(get(), ids.data(), ids.size(), &c, text, error);
        });
    }

    /// Embeds texts. On Device::Cpu the bits of a vector depend on neither the other texts nor the number of threads.
    Result<Embeddings> embed(const Texts &texts, const EmbedOptions &options = {}) const noexcept {
        const auto c = detail::to_c(options);
        return detail::make<Embeddings, kinglet_embeddings>([&](kinglet_embeddings **embeddings, kinglet_error **error) {
            return kinglet_model_embed(get(), texts.data(), texts.size(), &c, embeddings, error);
        });
    }

    /// Embeds the texts of an Arrow array into the caller's memory. Pooling::None is refused.
    template <class Offset>
    Result<void> embed_arrow(const ArrowTexts<Offset> &texts, const EmbeddingBuffer &buffer,
                             const EmbedOptions &options = {}) const noexcept {
        const auto c = detail::to_c(options);
        kinglet_arrow_texts given{};
        given.struct_size = sizeof given;
        given.count = texts.count;
        given.first = texts.first;
        given.offsets = texts.offsets;
        given.offset_bits = 8 * sizeof(Offset);
        given.data = texts.data.data();
        given.data_size = texts.data.size();
        given.validity = texts.validity;
        kinglet_embedding_buffer into{};
        into.struct_size = sizeof into;
        into.dimension = buffer.dimension;
        into.values = buffer.values.data();
        into.capacity = buffer.values.size();
        into.stride = buffer.stride;
        into.token_counts = buffer.token_counts;
        into.truncated = buffer.truncated;
        return detail::run([&](kinglet_error **error) { return kinglet_model_embed_arrow(get(), &given, &c, &into, error); });
    }

    /// Classifies texts. Status::Unsupported if the model has no head for it, as for the next three.
    Result<Classifications> classify(const Texts &texts, const ClassifyOptions &options = {}) const noexcept {
        const auto c = detail::to_c(options);
        return detail::make<Classifications, kinglet_classifications>(
            [&](kinglet_classifications **made, kinglet_error **error) {
                return kinglet_model_classify(get(), texts.data(), nullptr, texts.size(), &c, made, error);
            });
    }

    /// Classifies texts[i] together with pairs[i].
    Result<Classifications> classify_pairs(const Texts &texts, const Texts &pairs,
                                           const ClassifyOptions &options = {}) const noexcept {
        if (auto same = detail::same_size("pairs", pairs.size(), "texts", texts.size()); !same) return same.error();
        const auto c = detail::to_c(options);
        return detail::make<Classifications, kinglet_classifications>(
            [&](kinglet_classifications **made, kinglet_error **error) {
                return kinglet_model_classify(get(), texts.data(), pairs.data(), texts.size(), &c, made, error);
            });
    }

    /// Scores queries[i] with documents[i] by a cross-encoder: one score per pair.
    Result<Classifications> score(const Texts &queries, const Texts &documents, const ClassifyOptions &options = {}) const noexcept {
        if (auto same = detail::same_size("documents", documents.size(), "queries", queries.size()); !same) return same.error();
        const auto c = detail::to_c(options);
        return detail::make<Classifications, kinglet_classifications>(
            [&](kinglet_classifications **made, kinglet_error **error) {
                return kinglet_model_score(get(), queries.data(), documents.data(), queries.size(), &c, made, error);
            });
    }

    /// Scores documents for a query as score() does, and sorts them: the best first.
    Result<Ranking> rerank(std::string_view query, const Texts &documents, const RerankOptions &options = {}) const noexcept {
        const auto scoring = detail::to_c(options.scoring);
        kinglet_rerank_options c{};
        c.struct_size = sizeof c;
        c.top_n = options.top_n;
        c.scoring = &scoring;
        return detail::make<Ranking, kinglet_ranking>([&](kinglet_ranking **made, kinglet_error **error) {
            return kinglet_model_rerank(get(), detail::to_c(query), documents.data(), documents.size(), &c, made, error);
        });
    }

    /// Labels the tokens of texts.
    Result<TokenClassifications> classify_tokens(const Texts &texts, const ClassifyOptions &options = {}) const noexcept {
        const auto c = detail::to_c(options);
        return detail::make<TokenClassifications, kinglet_token_classifications>(
            [&](kinglet_token_classifications **made, kinglet_error **error) {
                return kinglet_model_classify_tokens(get(), texts.data(), texts.size(), &c, made, error);
            });
    }

    /// Classifies texts by labels of the call, with a model of natural language inference. Status::Unsupported if no label of the model
    /// begins with "entail".
    Result<ZeroShotResults> classify_zero_shot(const Texts &texts, const Texts &labels,
                                               const ZeroShotOptions &options = {}) const noexcept {
        const auto c = detail::to_c(options);
        return detail::make<ZeroShotResults, kinglet_zero_shot_results>(
            [&](kinglet_zero_shot_results **made, kinglet_error **error) {
                return kinglet_model_classify_zero_shot(get(), texts.data(), texts.size(), labels.data(), labels.size(), &c, made,
                                                        error);
            });
    }

    /// Finds the likeliest tokens for each mask token of the texts, with a masked language model. Status::InvalidArgument for a text without a
    /// mask token.
    Result<MaskFills> fill_mask(const Texts &texts, const FillMaskOptions &options = {}) const noexcept {
        const Texts targets(options.targets);
        const auto c = detail::to_c(options, targets);
        return detail::make<MaskFills, kinglet_mask_fills>([&](kinglet_mask_fills **made, kinglet_error **error) {
            return kinglet_model_fill_mask(get(), texts.data(), texts.size(), &c, made, error);
        });
    }

    /// Embeds texts as weights of tokens of the vocabulary, with a masked language model (SPLADE).
    Result<SparseEmbeddings> sparse_embed(const Texts &texts, const SparseOptions &options = {}) const noexcept {
        const auto c = detail::to_c(options);
        return detail::make<SparseEmbeddings, kinglet_sparse_embeddings>(
            [&](kinglet_sparse_embeddings **made, kinglet_error **error) {
                return kinglet_model_sparse_embed(get(), texts.data(), texts.size(), &c, made, error);
            });
    }

    /// Shortens a document of any length: the words or sentences that matter least are dropped, the others keep their order. One that fits
    /// is returned as it is.
    Result<Compression> compress(std::string_view text, const CompressOptions &options) const noexcept {
        const Texts forced(options.force_tokens);
        const auto c = detail::to_c(options, forced);
        return detail::make<Compression, kinglet_compression>([&](kinglet_compression **made, kinglet_error **error) {
            return kinglet_model_compress(get(), detail::to_c(text), &c, made, error);
        });
    }

    /// Runs token ids without adding tokens or cutting: the ids of all sequences one after the other, and the tokens of each sequence.
    /// `type_ids` may be empty.
    Result<HiddenStates> hidden_states(Span<const std::uint32_t> ids, Span<const std::size_t> lengths,
                                       Span<const std::uint32_t> type_ids = {},
                                       const HiddenStatesOptions &options = {}) const noexcept {
        if (!type_ids.empty()) {
            if (auto same = detail::same_size("type_ids", type_ids.size(), "ids", ids.size()); !same) return same.error();
        }
        const auto c = detail::cancellable<kinglet_hidden_states_options>(options);
        return detail::make<HiddenStates, kinglet_hidden_states>(
            [&](kinglet_hidden_states **states, kinglet_error **error) {
                return kinglet_model_hidden_states(get(), ids.data(), type_ids.empty() ? nullptr : type_ids.data(), ids.size(),
                                                   lengths.data(), lengths.size(), &c, states, error);
            });
    }
    Result<HiddenStates> hidden_states(const Encoding &encoding, const HiddenStatesOptions &options = {}) const noexcept {
        return hidden_states(encoding.ids(), encoding.lengths(), encoding.type_ids(), options);
    }

    /// Generates one text per prompt or, for a model with an encoder, per source text. Status::Unsupported if the model does not generate;
    /// as for the next members.
    Result<Generations> generate(const Texts &texts, const GenerateOptions &options = {}) const noexcept {
        return GenerateCall(options).make<Generations>([&](auto *c, kinglet_generations **made, kinglet_error **error) {
            return kinglet_model_generate(get(), texts.data(), texts.size(), c, made, error);
        });
    }
    /// The same for one text: a string, a string_view, a literal.
    template <class Text, class = detail::IfText<Text>>
    Result<Generations> generate(const Text &text, const GenerateOptions &options = {}) const noexcept {
        return generate(Texts{std::string_view(text)}, options);
    }

    /// The same with token ids as input: the ids of all inputs one after the other, and the tokens of each input.
    Result<Generations> generate_ids(Span<const std::uint32_t> ids, Span<const std::size_t> lengths,
                                     const GenerateOptions &options = {}) const noexcept {
        return GenerateCall(options).make<Generations>([&](auto *c, kinglet_generations **made, kinglet_error **error) {
            return kinglet_model_generate_ids(get(), ids.data(), ids.size(), lengths.data(), lengths.size(), c, made, error);
        });
    }

    // The same in the background. `done`, if it is given, is called on a thread of the model's when the request is done. Texts and options are
    // copied; a cancellation in the options also cancels the request, and deadline_ms counts from here. Status::Busy if as many requests wait
    // as the queue may have; errors of the call itself come with its result.

    /// embed() in the background.
    Result<Request<Embeddings>> submit_embed(const Texts &texts, const EmbedOptions &options = {}, OnDone done = nullptr) const noexcept {
        const auto c = detail::to_c(options);
        return Request<Embeddings>::submit(waited_for(std::move(done)), [&](auto callback, void *data, auto request, auto error) {
            return kinglet_model_submit_embed(get(), texts.data(), texts.size(), &c, callback, data, request, error);
        });
    }

    /// classify() in the background.
    Result<Request<Classifications>> submit_classify(const Texts &texts, const ClassifyOptions &options = {},
                                                     OnDone done = nullptr) const noexcept {
        const auto c = detail::to_c(options);
        return Request<Classifications>::submit(waited_for(std::move(done)), [&](auto callback, void *data, auto request, auto error) {
            return kinglet_model_submit_classify(get(), texts.data(), nullptr, texts.size(), &c, callback, data, request, error);
        });
    }

    /// classify_pairs() in the background.
    Result<Request<Classifications>> submit_classify_pairs(const Texts &texts, const Texts &pairs, const ClassifyOptions &options = {},
                                                           OnDone done = nullptr) const noexcept {
        if (auto same = detail::same_size("pairs", pairs.size(), "texts", texts.size()); !same) return same.error();
        const auto c = detail::to_c(options);
        return Request<Classifications>::submit(waited_for(std::move(done)), [&](auto callback, void *data, auto request, auto error) {
            return kinglet_model_submit_classify(get(), texts.data(), pairs.data(), texts.size(), &c, callback, data, request, error);
        });
    }

    /// score() in the background.
    Result<Request<Classifications>> submit_score(const Texts &queries, const Texts &documents, const ClassifyOptions &options = {},
                                                  OnDone done = nullptr) const noexcept {
        if (auto same = detail::same_size("documents", documents.size(), "queries", queries.size()); !same) return same.error();
        const auto c = detail::to_c(options);
        return Request<Classifications>::submit(waited_for(std::move(done)), [&](auto callback, void *data, auto request, auto error) {
            return kinglet_model_submit_score(get(), queries.data(), documents.data(), queries.size(), &c, callback, data, request, error);
        });
    }

    /// classify_tokens() in the background.
    Result<Request<TokenClassifications>> submit_classify_tokens(const Texts &texts, const ClassifyOptions &options = {},
                                                                 OnDone done = nullptr) const noexcept {
        const auto c = detail::to_c(options);
        return Request<TokenClassifications>::submit(waited_for(std::move(done)), [&](auto callback, void *data, auto request, auto error) {
            return kinglet_model_submit_classify_tokens(get(), texts.data(), texts.size(), &c, callback, data, request, error);
        });
    }

    /// generate() in the background. GenerateOptions::on_piece is called on a thread of the model's.
    Result<Request<Generations>> submit_generate(const Texts &texts, const GenerateOptions &options = {},
                                                 OnDone done = nullptr) const noexcept {
        auto state = waited_for(std::move(done));
        state->on_piece = options.on_piece;
        const GenerateCall made(options, *state);
        return Request<Generations>::submit(std::move(state), [&](auto callback, void *data, auto request, auto error) {
            return kinglet_model_submit_generate(get(), texts.data(), texts.size(), made.c(), callback, data, request, error);
        });
    }

    /// Computes the logits of a sequence: of `decoder_ids` given the source text `ids`, or of `ids` for a model without an encoder.
    Result<Logits> logits(Span<const std::uint32_t> ids, Span<const std::uint32_t> decoder_ids = {},
                          const LogitsOptions &options = {}) const noexcept {
        auto c = detail::cancellable<kinglet_logits_options>(options);
        c.stepwise = options.stepwise;
        return detail::make<Logits, kinglet_logits>([&](kinglet_logits **logits, kinglet_error **error) {
            return kinglet_model_logits(get(), ids.data(), ids.size(), decoder_ids.empty() ? nullptr : decoder_ids.data(),
                                        decoder_ids.size(), &c, logits, error);
        });
    }

    /// Computes and caches a prompt prefix, for GenerateOptions::prefix.
    Result<Prefix> prefix(std::string_view text, const PrefixOptions &options = {}) const noexcept {
        auto c = detail::cancellable<kinglet_prefix_options>(options);
        c.add_special_tokens = static_cast<kinglet_tristate>(options.add_special_tokens);
        return detail::make<Prefix, kinglet_prefix>([&](kinglet_prefix **prefix, kinglet_error **error) {
            return kinglet_prefix_new(get(), detail::to_c(text), &c, prefix, error);
        });
    }

    /// Begins a chat. Status::Unsupported if can_chat() is false.
    Result<Session> session() const noexcept {
        return detail::make<Session, kinglet_session>([&](kinglet_session **session, kinglet_error **error) {
            return kinglet_session_new(get(), nullptr, session, error);
        });
    }
    /// Begins a chat with tools, documents or variables of the template.
    Result<Session> session(const ChatOptions &options) const noexcept {
        const kinglet_chat_options chat = detail::to_c(options);
        kinglet_session_options c{};
        c.struct_size = sizeof c;
        c.chat = &chat;
        return detail::make<Session, kinglet_session>([&](kinglet_session **session, kinglet_error **error) {
            return kinglet_session_new(get(), &c, session, error);
        });
    }

    /// The prompt that the model's chat template makes of a chat. `messages` is a JSON array of messages, as transformers'
    /// apply_chat_template takes them. Special tokens are in it: generate with add_special_tokens off.
    Result<std::string> apply_chat_template(std::string_view messages, const ChatOptions &options = {}) const noexcept {
        const kinglet_chat_options c = detail::to_c(options);
        return detail::make_string([&](kinglet_text **text, kinglet_error **error) {
            return kinglet_model_apply_chat_template(get(), detail::to_c(messages), &c, text, error);
        });
    }

    /// Reads the text of an answer: a JSON object with `role`, `content` and, where there is any, `reasoning_content` and `tool_calls`. What
    /// is no whole call of one of the options' tools stays in the content. `prefix` is the prompt, or its end, or empty: some templates
    /// begin the thought themselves.
    Result<std::string> parse_response(std::string_view response, const ChatOptions &options = {},
                                       std::string_view prefix = {}) const noexcept {
        const kinglet_chat_options c = detail::to_c(options);
        return detail::make_string([&](kinglet_text **text, kinglet_error **error) {
            return kinglet_model_parse_response(get(), detail::to_c(response), detail::to_c(prefix), &c, text, error);
        });
    }

    /// Suggests how many texts to give to one call, for this model, machine and workload. The first question runs the model, for some seconds
    /// at most; let nothing else run meanwhile, or keep the times in SuggestBatchSizeOptions::calibration_file.
    Result<BatchSuggestion> suggest_batch_size(const Workload &workload, const SuggestBatchSizeOptions &options = {}) const noexcept {
        kinglet_workload w{};
        w.struct_size = sizeof w;
        w.input_tokens = workload.input_tokens;
        w.input_spread = workload.input_spread;
        w.output_tokens = workload.output_tokens;
        w.beams = workload.beams;
        const auto c = detail::to_c(options);
        auto made = detail::make<detail::Suggestion, kinglet_batch_suggestion>(
            [&](kinglet_batch_suggestion **suggestion, kinglet_error **error) {
                return kinglet_model_suggest_batch_size(get(), &w, &c, suggestion, error);
            });
        if (!made) return made.error();
        const auto &v = made->view();
        return BatchSuggestion{v.batch_size, v.batch_ms,          v.texts_per_second,   v.tokens_per_second,
                               v.bytes,      v.within_bound != 0, std::string(detail::to_cpp(v.explanation))};
    }

    /// Reads the counters. Calls that run at the same time may be in some figures and not in others.
    Result<Counters> counters() const noexcept {
        Counters counters;
        kinglet_latency l{};
        l.struct_size = sizeof l;
        auto done = detail::run([&](kinglet_error **error) { return kinglet_model_latency(get(), &l, error); });
        const auto ns = [](std::uint64_t value) { return std::chrono::nanoseconds(value); };
        counters.latency_ = {l.count, ns(l.min), ns(l.max), ns(l.mean), ns(l.standard_deviation), ns(l.p50), ns(l.p90), ns(l.p95), ns(l.p99)};
        for (std::size_t i = 0; done && i < Counters::stage_count; ++i) {
            kinglet_stage_totals t{};
            t.struct_size = sizeof t;
            done = detail::run([&](kinglet_error **error) {
                return kinglet_model_stage(get(), static_cast<kinglet_stage>(i), &t, error);
            });
            counters.stages_[i] = {static_cast<Stage>(i), {t.calls, t.items, t.tokens, ns(t.nanoseconds)}};
        }
        if (!done) return done.error();
        return counters;
    }
    void reset_counters() const noexcept { kinglet_model_reset_counters(get()); }
    Result<std::string> export_counters(CountersFormat format) const noexcept {
        return detail::make_string([&](kinglet_text **text, kinglet_error **error) {
            return kinglet_model_export_counters(get(), static_cast<kinglet_counters_format>(format), text, error);
        });
    }

    /// The model as a JSON object: family, Spec, sizes, precision, kernels, pooling, labels.
    Result<std::string> describe() const noexcept {
        return detail::make_string([&](kinglet_text **text, kinglet_error **error) {
            return kinglet_model_describe(get(), text, error);
        });
    }

    // Properties. Views are valid until the last owner of the model is gone.

    std::string_view path() const noexcept { return detail::to_cpp(view_.path); }
    /// The `model_type` of config.json.
    std::string_view family() const noexcept { return detail::to_cpp(view_.family); }
    Device device() const noexcept { return static_cast<Device>(view_.device); }
    std::uint32_t device_index() const noexcept { return view_.device_index; }
    /// The precision in use, never Precision::Auto.
    Precision precision() const noexcept { return static_cast<Precision>(view_.precision); }
    std::size_t threads() const noexcept { return view_.threads; }
    /// Values per hidden state.
    std::size_t dimension() const noexcept { return view_.dimension; }
    /// Values per embedding, by the model's own modules and truncate_dim.
    std::size_t embedding_dimension() const noexcept { return view_.embedding_dimension; }
    /// The most tokens of a text, special tokens included.
    std::size_t max_length() const noexcept { return view_.max_length; }
    std::size_t vocabulary_size() const noexcept { return view_.vocabulary_size; }
    std::uint64_t weight_bytes() const noexcept { return view_.weight_bytes; }
    bool can_generate() const noexcept { return view_.can_generate != 0; }
    /// Whether session() works: the model is a decoder with a chat template.
    bool can_chat() const noexcept { return view_.can_chat != 0; }
    /// Whether an encoder reads the source text.
    bool has_encoder() const noexcept { return view_.has_encoder != 0; }
    /// Bytes of the KV caches now, of all calls, sessions and prefixes.
    std::uint64_t cache_bytes() const noexcept { return now().cache_bytes; }
    /// Bytes that the model takes on a GPU now; 0 on the CPU.
    std::uint64_t device_bytes() const noexcept { return now().device_bytes; }
    /// The labels of the classification head; empty without such a head.
    std::size_t label_count() const noexcept { return view_.label_count; }
    std::string_view label(std::size_t i) const noexcept { return detail::to_cpp(view_.labels[i]); }
    std::vector<std::string_view> labels() const {
        std::vector<std::string_view> all;
        all.reserve(label_count());
        for (std::size_t i = 0; i < label_count(); ++i) all.push_back(label(i));
        return all;
    }

    // Takes a handle over.
    template <class Mine>
    static Result<Mine> adopt(kinglet_model *handle) noexcept {
        Model model(handle);
        model.view_.struct_size = sizeof model.view_;
        const Result<void> read =
            detail::run([&](kinglet_error **error) { return kinglet_model_read(handle, &model.view_, error); });
        if (!read) return read.error();
        return model;
    }

private:
    explicit Model(kinglet_model *handle) noexcept : Owner(handle) {}

    static std::shared_ptr<detail::RequestState> waited_for(OnDone done) {
        auto state = std::make_shared<detail::RequestState>();
        state->on_done = std::move(done);
        return state;
    }

    kinglet_model_view now() const noexcept {
        kinglet_model_view view{};
        view.struct_size = sizeof view;
        (void)kinglet_model_read(get(), &view, nullptr);
        return view;
    }

    kinglet_model_view view_{};
};

/// Reads a model (a Hugging Face directory or a GGUF file) and writes it to `destination` as one .kinglet file with weights in
/// `precision`, which Model::load then maps instead of converting. The file appears when it is complete. Any thread.
inline Result<void> quantize(std::string_view source, std::string_view destination, Precision precision,
                             const QuantizeOptions &options = {}) noexcept {
    detail::ProgressCall progress{options.progress};
    auto c = detail::cancellable<kinglet_quantize_options>(options);
    if (options.progress) {
        c.progress = &detail::ProgressCall::call;
        c.progress_user_data = &progress;
    }
    std::vector<kinglet_str> texts;
    texts.reserve(options.calibration_texts.size());
    for (const std::string &text : options.calibration_texts) texts.push_back(detail::to_c(std::string_view(text)));
    c.calibration_texts = texts.data();
    c.calibration_text_count = texts.size();
    return detail::run(
        [&](kinglet_error **error) {
            return kinglet_model_quantize(detail::to_c(source), detail::to_c(destination), static_cast<kinglet_precision>(precision), &c, error);
        },
        &progress.thrown);
}

} // namespace KINGLET_FORM
} // namespace kinglet

#endif

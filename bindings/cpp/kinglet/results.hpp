// Results of calls. Each owns its arrays and lends them as spans, without copies; it may outlive the model.

#ifndef KINGLET_RESULTS_HPP
#define KINGLET_RESULTS_HPP

#include "result.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kinglet {
inline namespace KINGLET_FORM {
namespace detail {

using EncodingHolder = Holder<kinglet_encoding, kinglet_encoding_view, kinglet_encoding_read, kinglet_encoding_free>;
using EmbeddingsHolder =
    Holder<kinglet_embeddings, kinglet_embeddings_view, kinglet_embeddings_read, kinglet_embeddings_free>;
using ClassificationsHolder = Holder<kinglet_classifications, kinglet_classifications_view, kinglet_classifications_read,
                                     kinglet_classifications_free>;
using RankingHolder = Holder<kinglet_ranking, kinglet_ranking_view, kinglet_ranking_read, kinglet_ranking_free>;
using TokenClassificationsHolder = Holder<kinglet_token_classifications, kinglet_token_classifications_view,
                                          kinglet_token_classifications_read, kinglet_token_classifications_free>;
using CompressionHolder =
    Holder<kinglet_compression, kinglet_compression_view, kinglet_compression_read, kinglet_compression_free>;
using HiddenStatesHolder = Holder<kinglet_hidden_states, kinglet_hidden_states_view, kinglet_hidden_states_read,
                                  kinglet_hidden_states_free>;
using SuggestionHolder = Holder<kinglet_batch_suggestion, kinglet_batch_suggestion_view, kinglet_batch_suggestion_read,
                                kinglet_batch_suggestion_free>;

// A suggestion until it is copied.
class Suggestion : public SuggestionHolder {
public:
    using Holder::view;

private:
    using Holder::Holder;
    friend Holder;
};

} // namespace detail

/// A batch as a matrix, for engines that need padding; Kinglet does not.
struct Padded {
    std::size_t rows = 0;
    /// Tokens per row.
    std::size_t length = 0;
    /// `rows * length` values, row by row; the mask is 1 for tokens and 0 for padding.
    std::vector<std::uint32_t> ids;
    std::vector<std::uint32_t> attention_mask;
};

/// Bytes of a text, from `start` to `end` (exclusive).
struct ByteRange {
    std::size_t start = 0;
    std::size_t end = 0;
};

/// The positions of tokens in their texts.
class Offsets : public detail::Indexed<Offsets> {
public:
    Offsets() noexcept = default;
    explicit Offsets(Span<const kinglet_span> spans) noexcept : spans_(spans) {}

    std::size_t size() const noexcept { return spans_.size(); }
    bool empty() const noexcept { return spans_.empty(); }
    ByteRange operator[](std::size_t i) const noexcept { return {spans_[i].start, spans_[i].end}; }

private:
    Span<const kinglet_span> spans_;
};

/// Encoding::sequences() of a token that came from no text.
inline constexpr std::uint8_t no_sequence = KINGLET_NO_SEQUENCE;

/// A tokenised batch; encoding[i] are the ids of sequence i. Const members: any thread.
class Encoding : public detail::EncodingHolder, public detail::Indexed<Encoding> {
public:
    /// Sequences in the batch.
    std::size_t size() const noexcept { return view().count; }
    /// Tokens in the batch.
    std::size_t token_count() const noexcept { return view().token_count; }
    /// The most tokens in one sequence.
    std::size_t longest() const noexcept { return view().longest; }
    /// The tokenizer's padding token; 0 if it names none.
    std::uint32_t pad_id() const noexcept { return view().pad_id; }

    Span<const std::uint32_t> operator[](std::size_t i) const noexcept { return ids(i); }

    /// One value per token of the whole batch.
    Span<const std::uint32_t> ids() const noexcept { return {view().ids, token_count()}; }
    /// 0, or 1 for the second text of a pair.
    Span<const std::uint32_t> type_ids() const noexcept { return {view().type_ids, token_count()}; }
    /// 1 for special tokens that the tokenizer added.
    Span<const std::uint8_t> special_tokens_mask() const noexcept { return {view().special_tokens_mask, token_count()}; }
    /// The text of a pair, 0 or 1, or no_sequence.
    Span<const std::uint8_t> sequences() const noexcept { return {view().sequences, token_count()}; }
    /// Empty if offsets were not asked for.
    Offsets offsets() const noexcept { return Offsets({view().offsets, view().offsets ? token_count() : 0}); }

    /// The same of sequence i.
    Span<const std::uint32_t> ids(std::size_t i) const noexcept { return part(view().ids, view().starts, i); }
    Span<const std::uint32_t> type_ids(std::size_t i) const noexcept { return part(view().type_ids, view().starts, i); }
    Span<const std::uint8_t> special_tokens_mask(std::size_t i) const noexcept {
        return part(view().special_tokens_mask, view().starts, i);
    }
    Span<const std::uint8_t> sequences(std::size_t i) const noexcept { return part(view().sequences, view().starts, i); }
    Offsets offsets(std::size_t i) const noexcept {
        return view().offsets ? Offsets(part(view().offsets, view().starts, i)) : Offsets();
    }

    /// The tokens of each sequence.
    Span<const std::size_t> lengths() const noexcept { return {view().lengths, size()}; }
    /// Whether sequence i was cut.
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

    /// The batch padded to `length` tokens (0: its longest sequence) with `pad_id` (default: the tokenizer's).
    Result<Padded> pad(std::size_t length = 0, std::optional<std::uint32_t> pad_id = std::nullopt) const noexcept {
        Padded padded;
        padded.rows = size();
        padded.length = length ? length : longest();
        if (padded.length != 0 && padded.rows > padded.ids.max_size() / padded.length) {
            return Error(Status::OutOfMemory, "length: rows of " + std::to_string(length) + " tokens do not fit into memory");
        }
        padded.ids.resize(padded.rows * padded.length);
        padded.attention_mask.resize(padded.ids.size());
        const Result<void> done = detail::run([&](kinglet_error **error) {
            return kinglet_encoding_pad(get(), padded.length, pad_id.value_or(this->pad_id()), padded.ids.data(),
                                        padded.attention_mask.data(), padded.ids.size(), error);
        });
        if (!done) return done.error();
        return padded;
    }

private:
    using Holder::Holder;
    friend Holder;
};

/// The embeddings of a batch of texts; embeddings[i] is the vector of text i. Const members: any thread.
class Embeddings : public detail::EmbeddingsHolder, public detail::Indexed<Embeddings> {
public:
    /// Texts in the batch.
    std::size_t size() const noexcept { return view().count; }
    /// Values per vector.
    std::size_t dimension() const noexcept { return view().dimension; }
    /// Vectors: one per text, or one per token with Pooling::None.
    std::size_t row_count() const noexcept { return view().row_count; }

    /// The vector of text i; with Pooling::None the vectors of its tokens one after the other.
    Span<const float> operator[](std::size_t i) const noexcept { return part(view().values, view().starts, i, dimension()); }
    /// All vectors: `row_count() * dimension()` values.
    Span<const float> values() const noexcept { return {view().values, row_count() * dimension()}; }
    /// Tokens of text i, special tokens included.
    std::size_t token_count(std::size_t i) const noexcept { return view().token_counts[i]; }
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;
};

/// The scores of a batch of texts or pairs; classifications[i] has one score per label. Const members: any thread.
class Classifications : public detail::ClassificationsHolder, public detail::Indexed<Classifications> {
public:
    /// Texts or pairs in the batch.
    std::size_t size() const noexcept { return view().count; }
    std::size_t label_count() const noexcept { return view().label_count; }

    Span<const float> operator[](std::size_t i) const noexcept {
        return {view().scores + i * label_count(), label_count()};
    }
    /// All scores: `size() * label_count()` values.
    Span<const float> scores() const noexcept { return {view().scores, size() * label_count()}; }
    /// The label with the highest score.
    std::uint32_t best(std::size_t i) const noexcept { return view().best[i]; }
    std::size_t token_count(std::size_t i) const noexcept { return view().token_counts[i]; }
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;
};

/// A document of a ranking.
struct RankedDocument {
    /// Its number in the call.
    std::size_t index = 0;
    float score = 0;
};

/// Documents in the order of how well they answer a query: ranking[0] is the best. Const members: any thread.
class Ranking : public detail::RankingHolder, public detail::Indexed<Ranking> {
public:
    /// Documents in the ranking.
    std::size_t size() const noexcept { return view().count; }
    RankedDocument operator[](std::size_t i) const noexcept { return {view().indices[i], view().scores[i]}; }
    Span<const std::size_t> indices() const noexcept { return {view().indices, size()}; }
    Span<const float> scores() const noexcept { return {view().scores, size()}; }

    /// Documents of the call.
    std::size_t document_count() const noexcept { return view().document_count; }
    /// Tokens of the query with document i of the call.
    std::size_t token_count(std::size_t i) const noexcept { return view().token_counts[i]; }
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;
};

/// A labelled part of a text.
struct Entity {
    /// The number of the text in the batch.
    std::size_t text = 0;
    /// Its bytes in that text: `start` to `end` (exclusive).
    std::size_t start = 0;
    std::size_t end = 0;
    /// The label, or with Aggregation::Simple the label without `B-` or `I-`. Valid as long as the TokenClassifications.
    std::string_view name;
    /// The number of the label of its first token.
    std::uint32_t label = 0;
    /// The score of the label, or with Aggregation::Simple the mean over its tokens.
    float score = 0;
};

/// The labelled tokens of a batch of texts; classifications[i] are the scores of the tokens of text i. Const members: any thread.
class TokenClassifications : public detail::TokenClassificationsHolder, public detail::Indexed<TokenClassifications> {
public:
    /// Texts in the batch.
    std::size_t size() const noexcept { return view().count; }

    std::size_t entity_count() const noexcept { return view().entity_count; }
    /// Entity i, in the order of the texts; an empty one beyond the end.
    Entity entity(std::size_t i) const noexcept {
        kinglet_entity c{};
        c.struct_size = sizeof c;
        (void)kinglet_token_classifications_entity(get(), i, &c, nullptr);
        return {c.text, c.start, c.end, detail::to_cpp(c.name), c.label, c.score};
    }
    std::vector<Entity> entities() const {
        std::vector<Entity> all;
        all.reserve(entity_count());
        for (std::size_t i = 0; i < entity_count(); ++i) all.push_back(entity(i));
        return all;
    }

    std::size_t token_count() const noexcept { return view().token_count; }
    std::size_t label_count() const noexcept { return view().label_count; }
    /// `label_count()` scores per token, special tokens included.
    Span<const float> operator[](std::size_t i) const noexcept {
        return part(view().scores, view().starts, i, label_count());
    }
    Span<const float> scores() const noexcept { return {view().scores, token_count() * label_count()}; }
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;
};

/// A shortened document. Const members: any thread.
class Compression : public detail::CompressionHolder {
public:
    /// The text, valid as long as this object.
    std::string_view text() const noexcept { return detail::to_cpp(view().text); }
    /// The bytes of the document that the text is made of, in order.
    Offsets kept() const noexcept { return Offsets({view().kept, view().kept_count}); }
    /// Tokens of the document and of the text, without special tokens.
    std::size_t tokens_before() const noexcept { return view().tokens_before; }
    std::size_t tokens_after() const noexcept { return view().tokens_after; }
    /// What the model read: windows, or sentences where each is embedded alone. 0 for a document that fits as it is.
    std::size_t windows() const noexcept { return view().windows; }
    /// The method; never Auto.
    CompressMethod method() const noexcept { return static_cast<CompressMethod>(view().method); }

private:
    using Holder::Holder;
    friend Holder;
};

/// The last hidden states of a batch of sequences; states[i] has `dimension()` values per token. Const members: any thread.
class HiddenStates : public detail::HiddenStatesHolder, public detail::Indexed<HiddenStates> {
public:
    /// Sequences in the batch.
    std::size_t size() const noexcept { return view().count; }
    std::size_t token_count() const noexcept { return view().token_count; }
    /// Values per token.
    std::size_t dimension() const noexcept { return view().dimension; }

    Span<const float> operator[](std::size_t i) const noexcept { return part(view().values, view().starts, i, dimension()); }
    Span<const float> values() const noexcept { return {view().values, token_count() * dimension()}; }

private:
    using Holder::Holder;
    friend Holder;
};

/// A batch size, and what to expect of it. A plain value.
struct BatchSuggestion {
    /// Texts per call.
    std::size_t batch_size = 0;
    /// The expected milliseconds of one batch.
    double batch_ms = 0;
    /// The expected throughput.
    double texts_per_second = 0;
    /// Of input tokens, or of generated ones if the workload generates.
    double tokens_per_second = 0;
    /// Bytes of weights, KV caches, activations and results.
    std::uint64_t bytes = 0;
    /// Whether the goal's bound is kept. If no size keeps it, `batch_size` is 1.
    bool within_bound = false;
    /// How the size was found, in words.
    std::string explanation = {};
};

/// Totals of one stage of the work. Calls that run at the same time add their times.
struct StageTotals {
    std::uint64_t calls = 0;
    std::uint64_t items = 0;
    std::uint64_t tokens = 0;
    std::chrono::nanoseconds time{0};
};

/// The distribution of the durations of whole calls that succeeded.
struct Latency {
    std::uint64_t count = 0;
    std::chrono::nanoseconds min{0}, max{0}, mean{0}, standard_deviation{0}, p50{0}, p90{0}, p95{0}, p99{0};
};

/// Where a model's time went since it was loaded or its counters were reset. A plain value.
class Counters {
public:
    static constexpr std::size_t stage_count = static_cast<std::size_t>(Stage::Transfer) + 1;

    const Latency &latency() const noexcept { return latency_; }
    const StageTotals &operator[](Stage stage) const noexcept { return stages_[static_cast<std::size_t>(stage)].second; }
    /// All stages, in the order of the enumeration.
    const std::array<std::pair<Stage, StageTotals>, stage_count> &stages() const noexcept { return stages_; }

private:
    friend class Model;

    std::array<std::pair<Stage, StageTotals>, stage_count> stages_{};
    Latency latency_{};
};

} // namespace KINGLET_FORM
} // namespace kinglet

#endif

// Results of masked language models (masks, sparse embeddings) and of zero-shot classification. Each owns its arrays and lends them.

#ifndef KINGLET_MASKED_HPP
#define KINGLET_MASKED_HPP

#include "result.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace kinglet {
inline namespace KINGLET_FORM {
namespace detail {

using SparseEmbeddingsHolder = Holder<kinglet_sparse_embeddings, kinglet_sparse_embeddings_view,
                                      kinglet_sparse_embeddings_read, kinglet_sparse_embeddings_free>;
using MaskFillsHolder =
    Holder<kinglet_mask_fills, kinglet_mask_fills_view, kinglet_mask_fills_read, kinglet_mask_fills_free>;
using ZeroShotHolder = Holder<kinglet_zero_shot_results, kinglet_zero_shot_results_view, kinglet_zero_shot_results_read,
                              kinglet_zero_shot_results_free>;

} // namespace detail

/// The weights of a text: token ids, ascending, and their weights, all greater than 0. Valid as long as the SparseEmbeddings.
struct SparseVector {
    Span<const std::uint32_t> indices;
    Span<const float> weights;

    /// How well two texts match: the sum of the products over their common tokens.
    float dot(const SparseVector &other) const noexcept {
        float sum = 0;
        for (std::size_t a = 0, b = 0; a < indices.size() && b < other.indices.size();) {
            const std::uint32_t left = indices[a], right = other.indices[b];
            if (left == right) sum += weights[a] * other.weights[b];
            a += left <= right;
            b += right <= left;
        }
        return sum;
    }
};

/// The sparse embeddings of a batch of texts; embeddings[i] are the weights of text i. Const members: any thread.
class SparseEmbeddings : public detail::SparseEmbeddingsHolder, public detail::Indexed<SparseEmbeddings> {
public:
    /// Texts in the batch.
    std::size_t size() const noexcept { return view().count; }
    /// The size of the vocabulary; all indices are below it.
    std::size_t dimension() const noexcept { return view().dimension; }
    SparseVector operator[](std::size_t i) const noexcept {
        return {part(view().indices, view().starts, i), part(view().weights, view().starts, i)};
    }
    /// `size() + 1` values: the weights of text i are those from starts()[i] to starts()[i + 1] (exclusive).
    Span<const std::size_t> starts() const noexcept { return {view().starts, size() + (view().starts != nullptr)}; }
    /// The token ids and weights of all texts, one text after the other.
    Span<const std::uint32_t> indices() const noexcept { return {view().indices, total()}; }
    Span<const float> weights() const noexcept { return {view().weights, total()}; }
    /// Tokens of text i, special tokens included.
    std::size_t token_count(std::size_t i) const noexcept { return view().token_counts[i]; }
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;

    std::size_t total() const noexcept { return view().starts ? view().starts[size()] : 0; }
};

/// A token for a mask.
struct MaskFill {
    std::uint32_t token = 0;
    /// Its probability among all tokens of the vocabulary.
    float score = 0;
    /// The token as text, and the text with it in the place of the mask. Valid as long as the MaskFills.
    std::string_view token_text;
    std::string_view sequence;
};

/// The likeliest tokens for the masks of a batch of texts. Const members: any thread.
class MaskFills : public detail::MaskFillsHolder {
public:
    /// Texts in the batch.
    std::size_t size() const noexcept { return view().count; }
    /// Masks in all texts.
    std::size_t mask_count() const noexcept { return view().mask_count; }
    /// Tokens for each mask.
    std::size_t top_k() const noexcept { return view().top_k; }
    /// `size() + 1` values: the masks of text i are those from starts()[i] to starts()[i + 1] (exclusive).
    Span<const std::size_t> starts() const noexcept { return {view().starts, size() + (view().starts != nullptr)}; }
    /// Of a mask, counted through all texts, the token number `rank`, of which 0 is the likeliest; an empty one beyond the end.
    MaskFill fill(std::size_t mask, std::size_t rank) const noexcept {
        kinglet_mask_fill c{};
        c.struct_size = sizeof c;
        (void)kinglet_mask_fills_fill(get(), mask, rank, &c, nullptr);
        return {c.token, c.score, {c.token_text.data, c.token_text.size}, {c.sequence.data, c.sequence.size}};
    }
    /// The tokens for a mask, the likeliest first.
    std::vector<MaskFill> fills(std::size_t mask) const {
        std::vector<MaskFill> all;
        all.reserve(top_k());
        for (std::size_t rank = 0; rank < top_k(); ++rank) all.push_back(fill(mask, rank));
        return all;
    }
    /// Tokens of text i, special tokens included.
    std::size_t token_count(std::size_t i) const noexcept { return view().token_counts[i]; }
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;
};

/// The labels of one text, the likeliest first: their numbers in the call, and their scores. Valid as long as the ZeroShotResults.
struct RankedLabels {
    Span<const std::uint32_t> labels;
    Span<const float> scores;
};

/// The labels of a batch of texts; results[i] are those of text i. Const members: any thread.
class ZeroShotResults : public detail::ZeroShotHolder, public detail::Indexed<ZeroShotResults> {
public:
    /// Texts in the batch.
    std::size_t size() const noexcept { return view().count; }
    /// Labels of the call.
    std::size_t label_count() const noexcept { return view().label_count; }
    RankedLabels operator[](std::size_t i) const noexcept {
        return {{view().labels + i * label_count(), label_count()}, {view().scores + i * label_count(), label_count()}};
    }
    /// Tokens of text i with all hypotheses, special tokens included.
    std::size_t token_count(std::size_t i) const noexcept { return view().token_counts[i]; }
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;
};

} // namespace KINGLET_FORM
} // namespace kinglet

#endif

// Embeddings in fewer bits, and exact search among embeddings. No model is needed.

#ifndef KINGLET_SEARCH_HPP
#define KINGLET_SEARCH_HPP

#include "options.hpp"
#include "result.hpp"
#include "results.hpp"
#include "span.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kinglet {
inline namespace KINGLET_FORM {
namespace detail {

// Elements of an embedding.
constexpr std::size_t embedding_width(EmbeddingType kind, std::size_t dimension) noexcept {
    return kind == EmbeddingType::Binary || kind == EmbeddingType::Ubinary ? (dimension + 7) / 8 : dimension;
}

constexpr std::size_t element_size(EmbeddingType kind) noexcept {
    return kind == EmbeddingType::Float32 ? sizeof(float) : kind == EmbeddingType::Float16 ? sizeof(std::uint16_t) : 1;
}

} // namespace detail

/// Embeddings of `dimension` values in the program's memory, which must live as long as this. `stride` is the distance between the first
/// elements of two embeddings; 0: they are one after the other.
class EmbeddingRows {
public:
    EmbeddingRows(Span<const float> values, std::size_t dimension, std::size_t stride = 0) noexcept
        : EmbeddingRows(EmbeddingType::Float32, values.data(), values.size(), dimension, stride) {}
    /// One embedding per text, as Model::embed() makes them.
    EmbeddingRows(const Embeddings &embeddings) noexcept : EmbeddingRows(embeddings.values(), embeddings.dimension()) {}

    /// The bits of half-precision numbers.
    static EmbeddingRows float16(Span<const std::uint16_t> values, std::size_t dimension, std::size_t stride = 0) noexcept {
        return {EmbeddingType::Float16, values.data(), values.size(), dimension, stride};
    }
    static EmbeddingRows int8(Span<const std::int8_t> values, std::size_t dimension, std::size_t stride = 0) noexcept {
        return {EmbeddingType::Int8, values.data(), values.size(), dimension, stride};
    }
    static EmbeddingRows uint8(Span<const std::uint8_t> values, std::size_t dimension, std::size_t stride = 0) noexcept {
        return {EmbeddingType::Uint8, values.data(), values.size(), dimension, stride};
    }
    static EmbeddingRows binary(Span<const std::int8_t> values, std::size_t dimension, std::size_t stride = 0) noexcept {
        return {EmbeddingType::Binary, values.data(), values.size(), dimension, stride};
    }
    static EmbeddingRows ubinary(Span<const std::uint8_t> values, std::size_t dimension, std::size_t stride = 0) noexcept {
        return {EmbeddingType::Ubinary, values.data(), values.size(), dimension, stride};
    }

    EmbeddingType kind() const noexcept { return static_cast<EmbeddingType>(c_.kind); }
    /// The number of embeddings.
    std::size_t size() const noexcept { return c_.count; }
    std::size_t dimension() const noexcept { return c_.dimension; }
    const kinglet_embedding_rows *get() const noexcept { return &c_; }

private:
    friend class EmbeddingCodes;

    EmbeddingRows(EmbeddingType kind, const void *data, std::size_t elements, std::size_t dimension, std::size_t stride) noexcept {
        const std::size_t width = detail::embedding_width(kind, dimension);
        const std::size_t step = stride ? stride : width;
        c_.struct_size = sizeof c_;
        c_.kind = static_cast<kinglet_embedding_type>(kind);
        c_.data = data;
        c_.dimension = dimension;
        c_.stride = stride;
        // Embeddings as far as they are whole; a dimension of 0 is refused by the call.
        c_.count = width == 0 || elements < width ? 0 : (elements - width) / step + 1;
    }

    kinglet_embedding_rows c_{};
};

/// Embeddings of another type, which this owns.
class EmbeddingCodes {
public:
    /// None.
    EmbeddingCodes() = default;
    /// Room for `count` embeddings.
    EmbeddingCodes(EmbeddingType kind, std::size_t count, std::size_t dimension)
        : kind_(kind), dimension_(dimension),
          bytes_(count * detail::embedding_width(kind, dimension) * detail::element_size(kind)) {}

    EmbeddingType kind() const noexcept { return kind_; }
    std::size_t dimension() const noexcept { return dimension_; }
    /// The elements as they lie in memory; std::int8_t or std::uint8_t but for the types of floats.
    Span<const std::uint8_t> bytes() const noexcept { return bytes_; }
    Span<std::uint8_t> bytes() noexcept { return bytes_; }
    /// For search(); valid as long as this.
    EmbeddingRows rows() const noexcept {
        return {kind_, bytes_.data(), bytes_.size() / detail::element_size(kind_), dimension_, 0};
    }

private:
    EmbeddingType kind_ = EmbeddingType::Float32;
    std::size_t dimension_ = 1;
    std::vector<std::uint8_t> bytes_;
};

/// The range of each dimension of embeddings of float32: the least value of each, then the greatest of each.
inline Result<std::vector<float>> embedding_ranges(const EmbeddingRows &embeddings) noexcept {
    std::vector<float> ranges(2 * embeddings.dimension());
    const Result<void> done = detail::run([&](kinglet_error **error) {
        return kinglet_embeddings_ranges(embeddings.get(), ranges.data(), ranges.size(), error);
    });
    if (!done) return done.error();
    return ranges;
}

/// Embeddings of float32 in another type, as sentence-transformers' quantize_embeddings makes them. `ranges` are for int8 and uint8, as
/// embedding_ranges() gives them; empty: those of these embeddings. Codes that are compared must have the same ranges.
inline Result<EmbeddingCodes> quantize_embeddings(const EmbeddingRows &embeddings, EmbeddingType to,
                                                  Span<const float> ranges = {}) noexcept {
    if (!ranges.empty() && ranges.size() != 2 * embeddings.dimension()) {
        return Error(Status::InvalidArgument, "ranges: are " + std::to_string(ranges.size()) + " values for " +
                                                  std::to_string(embeddings.dimension()) + " dimensions");
    }
    EmbeddingCodes codes(to, embeddings.size(), embeddings.dimension());
    kinglet_quantize_embeddings_options c{};
    c.struct_size = sizeof c;
    c.ranges = ranges.empty() ? nullptr : ranges.data();
    kinglet_embedding_codes into{};
    into.struct_size = sizeof into;
    into.kind = static_cast<kinglet_embedding_type>(to);
    into.data = codes.bytes().data();
    into.capacity = codes.bytes().size() / detail::element_size(to);
    const Result<void> done = detail::run(
        [&](kinglet_error **error) { return kinglet_embeddings_quantize(embeddings.get(), &c, &into, error); });
    if (!done) return done.error();
    return codes;
}

/// Options of search().
struct SearchOptions {
    /// Hits per query; all, if the corpus has fewer embeddings. 0: 10.
    std::size_t top_k = 0;
    /// What makes embeddings similar; Auto is Cosine for floats, Dot for int8 and uint8, Hamming for binary types.
    Similarity similarity = Similarity::Auto;
    /// Threads of the call, the caller's included. 0: as many as the process may run at once.
    std::uint32_t threads = 0;
    /// For queries of float32 over a corpus of int8 or uint8: the ranges that the corpus was made with.
    Span<const float> ranges = {};
    /// For queries of float32 over codes: top_k times so many candidates are found by their codes, and rescored with the query's own
    /// values. 0: 2.
    std::size_t rescore_multiplier = 0;
    const Cancellation *cancellation = nullptr;
};

/// What search() finds. A plain value.
struct SearchHits {
    /// Hits of each query.
    std::size_t per_query = 0;
    /// Embeddings of the corpus: `per_query` for each query, the most similar first, the lower number of equal ones first.
    std::vector<std::int64_t> indices = {};
    /// Their scores; with Similarity::Hamming minus the number of bits that differ.
    std::vector<float> scores = {};
};

/// Finds for each query the embeddings of the corpus that are most similar to it, exactly, by comparing it with all of them. Both have the
/// same type, or queries are float32 and the corpus of any type. Any thread.
inline Result<SearchHits> search(const EmbeddingRows &queries, const EmbeddingRows &corpus, const SearchOptions &options = {}) noexcept {
    if (!options.ranges.empty() && options.ranges.size() != 2 * corpus.dimension()) {
        return Error(Status::InvalidArgument, "ranges: are " + std::to_string(options.ranges.size()) + " values for " +
                                                  std::to_string(corpus.dimension()) + " dimensions");
    }
    auto c = detail::cancellable<kinglet_search_options>(options);
    c.top_k = options.top_k;
    c.similarity = static_cast<kinglet_similarity>(options.similarity);
    c.threads = options.threads;
    c.ranges = options.ranges.empty() ? nullptr : options.ranges.data();
    c.rescore_multiplier = options.rescore_multiplier;
    SearchHits hits;
    hits.per_query = std::min(options.top_k ? options.top_k : 10, corpus.size());
    hits.indices.resize(queries.size() * hits.per_query);
    hits.scores.resize(hits.indices.size());
    kinglet_search_buffer buffer{};
    buffer.struct_size = sizeof buffer;
    buffer.indices = hits.indices.data();
    buffer.scores = hits.scores.data();
    buffer.capacity = hits.scores.size();
    const Result<void> done = detail::run([&](kinglet_error **error) {
        return kinglet_embeddings_search(queries.get(), corpus.get(), &c, &buffer, error);
    });
    if (!done) return done.error();
    return hits;
}

} // namespace KINGLET_FORM
} // namespace kinglet

#endif

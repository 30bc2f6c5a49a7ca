// The model: texts to vectors, and files to passages of as many tokens as it reads.

#ifndef SEARCH_EMBEDDER_HPP
#define SEARCH_EMBEDDER_HPP

#include "index.hpp"
#include "passages.hpp"

#include <kinglet.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace search {

/// Whether to go on; it is asked after each step with the number of things that are done.
using GoOn = std::function<bool(std::size_t done)>;

class Embedder {
public:
    /// Loads a model. Throws kinglet::Error.
    Embedder(const std::string &path, kinglet::Precision precision, std::size_t threads);

    const kinglet::Model &model() const { return model_; }

    /// The vector of a text, of length 1.
    std::vector<float> embed(std::string_view text) const;

    /// The vectors of texts, one after the other.
    std::vector<float> embed(const std::vector<std::string_view> &texts) const;

    /// Cuts files into passages, and puts both into the index. False if it was told to stop. `tokens` 0 means 128, or as many as the
    /// model reads if that is less. Throws kinglet::Error, and std::runtime_error if the model reads fewer tokens than `tokens`.
    bool split(Index &index, std::vector<File> files, SplitOptions options, const GoOn &go_on) const;

    /// Embeds the passages of the index. False if it was told to stop. `cut` receives the number of passages that were longer than the
    /// model reads.
    bool embed(Index &index, std::size_t &cut, const GoOn &go_on) const;

    /// The part of a passage whose meaning is nearest to the query's: one of its sentences.
    Range best_sentence(std::string_view passage, const std::vector<float> &query) const;

private:
    kinglet::Model model_;
};

} // namespace search

#endif

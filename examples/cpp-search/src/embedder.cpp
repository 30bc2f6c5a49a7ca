#include "embedder.hpp"

#include "nearest.hpp"

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <utility>

namespace search {
namespace {

// Texts per call: enough to keep all threads busy, few enough for a bar that moves and a program that stops soon.
constexpr std::size_t batch_size = 64;

kinglet::Model load(const std::string &path, kinglet::Precision precision, std::size_t threads) {
    kinglet::ModelOptions options;
    options.precision = precision;
    options.threads = threads;
    return kinglet::Model::load(path, options).value();
}

kinglet::EmbedOptions normalized() {
    kinglet::EmbedOptions options;
    options.normalize = kinglet::Tristate::Yes;
    return options;
}

} // namespace

Embedder::Embedder(const std::string &path, kinglet::Precision precision, std::size_t threads) : model_(load(path, precision, threads)) {}

std::vector<float> Embedder::embed(std::string_view text) const { return embed(std::vector<std::string_view>{text}); }

std::vector<float> Embedder::embed(const std::vector<std::string_view> &texts) const {
    const auto embeddings = model_.embed(texts, normalized()).value();
    const auto values = embeddings.values();
    return {values.begin(), values.end()};
}

bool Embedder::split(Index &index, std::vector<File> files, SplitOptions options, const GoOn &go_on) const {
    // The special tokens, [CLS] and [SEP] for instance, count as well.
    const std::size_t special = model_.tokenize({""}).value().token_count(), most = model_.max_length() - std::min(special, model_.max_length() - 1);
    if (options.tokens > most) {
        throw std::runtime_error("--tokens: " + index.model + " reads at most " + std::to_string(most) + " tokens of a text, besides special ones");
    }
    if (options.tokens == 0) options.tokens = std::min<std::size_t>(128, most);
    options.overlap = std::min(options.overlap, options.tokens / 2);
    kinglet::TokenizeOptions tokenize;
    tokenize.add_special_tokens = kinglet::Tristate::No;
    tokenize.max_length = SIZE_MAX;
    tokenize.offsets = true;
    for (auto &file : files) {
        const auto number = static_cast<std::uint32_t>(index.files.size());
        index.files.push_back(std::move(file.path));
        const auto encoding = model_.tokenize({file.text}, tokenize).value();
        std::vector<std::size_t> starts;
        starts.reserve(encoding.token_count());
        for (const auto range : encoding.offsets(0)) starts.push_back(range.start);
        std::size_t line = 1, counted = 0;
        for (const Range range : search::split(file.text, starts, options)) {
            // Passages overlap, so the next one may begin before this one's end, but never before its start.
            line += line_of(std::string_view(file.text).substr(counted), range.start - counted) - 1;
            counted = range.start;
            index.passages.push_back({number, static_cast<std::uint32_t>(line), range.start, range.end, file.text.substr(range.start, range.end - range.start)});
        }
        if (!go_on(index.files.size())) return false;
    }
    return true;
}

bool Embedder::embed(Index &index, std::size_t &cut, const GoOn &go_on) const {
    index.dimension = static_cast<std::uint32_t>(model_.dimension());
    index.probe = embed(probe_text);
    index.vectors.clear();
    index.vectors.reserve(index.passages.size() * index.dimension);
    cut = 0;
    std::vector<std::string_view> texts;
    for (std::size_t first = 0; first < index.passages.size(); first += batch_size) {
        texts.clear();
        const std::size_t end = std::min(first + batch_size, index.passages.size());
        for (std::size_t i = first; i < end; ++i) texts.push_back(index.passages[i].text);
        const auto embeddings = model_.embed(texts, normalized()).value();
        for (std::size_t i = 0; i < embeddings.size(); ++i) cut += embeddings.truncated(i) ? 1 : 0;
        const auto values = embeddings.values();
        index.vectors.insert(index.vectors.end(), values.begin(), values.end());
        if (!go_on(end)) return false;
    }
    return true;
}

Range Embedder::best_sentence(std::string_view passage, const std::vector<float> &query) const {
    const std::vector<Range> all = sentences(passage);
    if (all.size() < 2) return {0, passage.size()};
    std::vector<std::string_view> texts;
    for (const Range sentence : all) texts.push_back(passage.substr(sentence.start, sentence.end - sentence.start));
    const std::vector<float> vectors = embed(texts);
    std::size_t best = 0;
    float highest = -2;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const float score = dot(query.data(), vectors.data() + i * query.size(), query.size());
        if (score > highest) {
            highest = score;
            best = i;
        }
    }
    return all[best];
}

} // namespace search

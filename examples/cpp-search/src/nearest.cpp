#include "nearest.hpp"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#ifdef SEARCH_HNSWLIB
#include <hnswlib/hnswlib.h>
#endif

namespace search {

float dot(const float *a, const float *b, std::size_t size) {
    // Sums of their own, which the compiler may compute side by side: it may not reorder a single one.
    constexpr std::size_t lanes = 16;
    float sums[lanes] = {};
    std::size_t i = 0;
    for (; i + lanes <= size; i += lanes) {
        for (std::size_t lane = 0; lane < lanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
    }
    float sum = 0;
    for (; i < size; ++i) sum += a[i] * b[i];
    for (const float part : sums) sum += part;
    return sum;
}

std::vector<Hit> nearest(const Index &index, const std::vector<float> &query, std::size_t count) {
    std::vector<Hit> hits(index.passages.size());
    for (std::size_t i = 0; i < hits.size(); ++i) hits[i] = {i, dot(query.data(), index.vector(i), index.dimension)};
    count = std::min(count, hits.size());
    std::partial_sort(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(count), hits.end(), [](const Hit &a, const Hit &b) {
        // Of equal scores the first passage, so that the order is always the same.
        return a.score != b.score ? a.score > b.score : a.passage < b.passage;
    });
    hits.resize(count);
    return hits;
}

std::vector<Hit> without_overlaps(const Index &index, const std::vector<Hit> &hits, std::size_t count) {
    std::vector<Hit> kept;
    for (const Hit &hit : hits) {
        if (kept.size() == count) break;
        const Passage &mine = index.passages[hit.passage];
        const bool overlaps = std::any_of(kept.begin(), kept.end(), [&](const Hit &better) {
            const Passage &other = index.passages[better.passage];
            return other.file == mine.file && other.start < mine.end && mine.start < other.end;
        });
        if (!overlaps) kept.push_back(hit);
    }
    return kept;
}

#ifdef SEARCH_HNSWLIB

const bool Graph::available = true;

struct Graph::Parts {
    explicit Parts(std::size_t dimension) : space(dimension) {}

    hnswlib::InnerProductSpace space;
    std::unique_ptr<hnswlib::HierarchicalNSW<float>> graph;
};

std::unique_ptr<Graph> Graph::empty(const Index &index) {
    auto parts = std::make_unique<Parts>(index.dimension);
    // 16 neighbours and 200 candidates are hnswlib's defaults. Its levels are drawn at random, from a seed of its own.
    parts->graph = std::make_unique<hnswlib::HierarchicalNSW<float>>(&parts->space, index.passages.size(), 16, 200);
    return std::unique_ptr<Graph>(new Graph(std::move(parts)));
}

void Graph::add(const Index &index, std::size_t passage) { parts_->graph->addPoint(index.vector(passage), passage); }

void Graph::save(Index &index, const std::string &path) const {
    const std::string unfinished = path + ".part";
    parts_->graph->saveIndex(unfinished);
    index.graph_checksum = checksum_of_file(unfinished, index.graph_size);
    if (std::rename(unfinished.c_str(), path.c_str()) != 0) throw std::runtime_error(path + ": cannot be written");
}

std::unique_ptr<Graph> Graph::load(const Index &index, const std::string &path) {
    std::uint64_t size = 0;
    // hnswlib believes what it reads.
    if (checksum_of_file(path, size) != index.graph_checksum || size != index.graph_size) {
        throw std::runtime_error(path + ": is not the graph that was saved with the index; index the folder again, or use --exact");
    }
    auto parts = std::make_unique<Parts>(index.dimension);
    parts->graph = std::make_unique<hnswlib::HierarchicalNSW<float>>(&parts->space, path, false, index.passages.size());
    if (parts->graph->cur_element_count != index.passages.size()) throw std::runtime_error(path + ": has another number of passages than the index");
    return std::unique_ptr<Graph>(new Graph(std::move(parts)));
}

std::vector<Hit> Graph::nearest(const std::vector<float> &query, std::size_t count) const {
    parts_->graph->setEf(std::max<std::size_t>(4 * count, 100));
    auto queue = parts_->graph->searchKnn(query.data(), count);
    std::vector<Hit> hits;
    for (; !queue.empty(); queue.pop()) hits.push_back({queue.top().second, 1 - queue.top().first});
    std::reverse(hits.begin(), hits.end());
    return hits;
}

#else

const bool Graph::available = false;

struct Graph::Parts {};

namespace {
[[noreturn]] void missing() { throw std::runtime_error("this program was built without hnswlib"); }
} // namespace

std::unique_ptr<Graph> Graph::empty(const Index &) { missing(); }
void Graph::add(const Index &, std::size_t) { missing(); }
void Graph::save(Index &, const std::string &) const { missing(); }
std::unique_ptr<Graph> Graph::load(const Index &, const std::string &) { missing(); }
std::vector<Hit> Graph::nearest(const std::vector<float> &, std::size_t) const { missing(); }

#endif

Graph::Graph(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Graph::~Graph() = default;

} // namespace search

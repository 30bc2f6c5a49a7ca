// The passages whose vectors are nearest to a query's: exactly, or through a graph.

#ifndef SEARCH_NEAREST_HPP
#define SEARCH_NEAREST_HPP

#include "index.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace search {

struct Hit {
    std::size_t passage = 0;
    /// The cosine.
    float score = 0;
};

/// The dot product, which is the cosine of vectors of length 1.
float dot(const float *a, const float *b, std::size_t size);

/// The `count` passages with the highest cosine, the best first. Compares with every passage, so the time is that of
/// reading all vectors once.
std::vector<Hit> nearest(const Index &index, const std::vector<float> &query, std::size_t count);

/// A hierarchical navigable small world graph by hnswlib: for large folders, it finds nearly the same passages and compares with few. Where the
/// program was built without hnswlib, `available` is false and the other functions throw std::runtime_error.
class Graph {
public:
    static const bool available;

    /// Builds a graph of the index. `progress` is called with the number of passages that are in it; if it returns false, the result is null.
    template <class Progress>
    static std::unique_ptr<Graph> build(const Index &index, Progress progress) {
        auto graph = empty(index);
        for (std::size_t i = 0; i < index.passages.size(); ++i) {
            graph->add(index, i);
            if (!progress(i + 1)) return nullptr;
        }
        return graph;
    }

    /// Writes the graph to a file, and its size and checksum to the index.
    void save(Index &index, const std::string &path) const;

    /// Reads the graph that belongs to an index. Throws std::runtime_error if the file is not the one that was saved with the index.
    static std::unique_ptr<Graph> load(const Index &index, const std::string &path);

    std::vector<Hit> nearest(const std::vector<float> &query, std::size_t count) const;

    ~Graph();

private:
    struct Parts;
    explicit Graph(std::unique_ptr<Parts> parts);
    static std::unique_ptr<Graph> empty(const Index &index);
    void add(const Index &index, std::size_t passage);

    std::unique_ptr<Parts> parts_;
};

/// Drops hits that overlap a better one of the same file, and all beyond `count`.
std::vector<Hit> without_overlaps(const Index &index, const std::vector<Hit> &hits, std::size_t count);

} // namespace search

#endif

// The index: passages with their vectors, and the file that keeps them.

#ifndef SEARCH_INDEX_HPP
#define SEARCH_INDEX_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace search {

struct Passage {
    /// The number of its file.
    std::uint32_t file = 0;
    /// Its first line in the file, from 1.
    std::uint32_t line = 0;
    /// Its bytes in the file, from start to end (exclusive).
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::string text;
};

/// What was indexed. `vectors` has `dimension` values of each passage, in their order; every vector has length 1.
struct Index {
    /// The folder, and the model that made the vectors.
    std::string folder;
    std::string model;
    /// The number format of the model's weights: a kinglet::Precision.
    std::uint32_t precision = 0;
    std::uint32_t dimension = 0;
    /// The vector of probe_text: another model gives another one.
    std::vector<float> probe;
    std::vector<std::string> files;
    std::vector<Passage> passages;
    std::vector<float> vectors;
    /// Size and checksum of the graph in the file NAME.hnsw; 0 without a graph.
    std::uint64_t graph_size = 0;
    std::uint64_t graph_checksum = 0;

    const float *vector(std::size_t passage) const { return vectors.data() + passage * dimension; }
};

inline constexpr const char *probe_text = "The index was made with this model.";

/// Writes an index. The file appears when it is complete, in the place of an older one. Throws std::runtime_error, which names the file.
void save(const Index &index, const std::string &path);

/// Reads an index. Another format, another version, a file that was cut or changed: throws std::runtime_error, which names the file and says
/// what is wrong.
Index load(const std::string &path);

/// FNV-1a over bytes: it finds damage, and does not protect against intent.
std::uint64_t checksum(const char *data, std::size_t size, std::uint64_t start = 0xcbf29ce484222325);

/// The checksum of a file, and its size. Throws std::runtime_error.
std::uint64_t checksum_of_file(const std::string &path, std::uint64_t &size);

} // namespace search

#endif

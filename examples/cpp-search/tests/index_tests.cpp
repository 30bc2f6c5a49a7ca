// The index file, its graph, and which passages are nearest.

#include "index.hpp"
#include "nearest.hpp"
#include "tests.hpp"

#include <cmath>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace {

search::Index sample(std::size_t passages, std::uint32_t dimension) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    const auto vector = [&](std::vector<float> &into) {
        float squares = 0;
        const std::size_t start = into.size();
        for (std::uint32_t i = 0; i < dimension; ++i) {
            into.push_back(normal(random));
            squares += into.back() * into.back();
        }
        for (std::size_t i = start; i < into.size(); ++i) into[i] /= std::sqrt(squares);
    };
    search::Index index;
    index.folder = "folder";
    index.model = "model";
    index.precision = 3;
    index.dimension = dimension;
    vector(index.probe);
    index.files = {"a.txt", "b\u00fc.txt"};
    for (std::size_t i = 0; i < passages; ++i) {
        index.passages.push_back({static_cast<std::uint32_t>(i % 2), static_cast<std::uint32_t>(i + 1), 10 * i, 10 * i + 12, "passage " + std::to_string(i)});
        vector(index.vectors);
    }
    return index;
}

std::vector<float> vector_of(const search::Index &index, std::size_t passage) {
    return {index.vector(passage), index.vector(passage) + index.dimension};
}

} // namespace

TEST(index, round_trip) {
    const Scratch scratch;
    for (const std::size_t passages : {std::size_t{0}, std::size_t{1}, std::size_t{20}}) {
        search::Index index = sample(passages, 12);
        index.graph_size = 5;
        index.graph_checksum = 0xfedcba9876543210;
        search::save(index, scratch.path("index"));
        const search::Index again = search::load(scratch.path("index"));
        EXPECT(again.folder == index.folder && again.model == index.model && again.precision == 3 && again.dimension == 12);
        EXPECT(again.probe == index.probe && again.files == index.files && again.vectors == index.vectors);
        EXPECT(again.graph_size == 5 && again.graph_checksum == index.graph_checksum);
        EXPECT_EQUAL(again.passages.size(), passages);
        for (std::size_t i = 0; i < passages; ++i) {
            const auto &a = again.passages[i], &b = index.passages[i];
            EXPECT(a.file == b.file && a.line == b.line && a.start == b.start && a.end == b.end && a.text == b.text);
        }
    }
}

// A file that was cut or changed anywhere is refused, with its name.
TEST(index, damage) {
    const Scratch scratch;
    const std::string path = scratch.path("index");
    search::save(sample(3, 4), path);
    const std::string whole = read(path);
    const auto refused = [&](const std::string &content) {
        std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
        const std::string why = thrown_by([&] { search::load(path); });
        EXPECT(contains(why, path + ": "));
        return why;
    };
    for (std::size_t size = 0; size < whole.size(); ++size) refused(whole.substr(0, size));
    for (std::size_t i = 0; i < whole.size(); ++i) {
        std::string changed = whole;
        changed[i] = static_cast<char>(changed[i] ^ 1);
        refused(changed);
    }
    EXPECT(contains(refused(whole + "x"), "bytes"));
    EXPECT(contains(refused(""), "is no index"));
    std::string later = whole;
    later[8] = 2;
    EXPECT(contains(refused(later), "has version 2 of the format, and this program reads version 1"));
    EXPECT(contains(thrown_by([&] { search::load(scratch.path("none")); }), "none: cannot be read"));
    EXPECT(contains(thrown_by([&] { search::save(sample(1, 4), scratch.path("no/folder")); }), "no/folder: cannot be written"));
}

// Content that is wrong under a right checksum, as somebody might write it, is refused, too.
TEST(index, hostile) {
    const Scratch scratch;
    const std::string path = scratch.path("index");
    const std::size_t header = 28;
    search::save(sample(3, 4), path);
    const std::string whole = read(path);
    std::size_t accepted = 0;
    std::mt19937 random(3);
    for (std::size_t i = header; i < whole.size(); ++i) {
        for (const char value : {'\x00', '\xff', static_cast<char>(random())}) {
            std::string changed = whole;
            changed[i] = value;
            const std::uint64_t sum = search::checksum(changed.data() + header, changed.size() - header);
            for (std::size_t byte = 0; byte < 8; ++byte) changed[20 + byte] = static_cast<char>(sum >> (8 * byte));
            std::ofstream(path, std::ios::binary | std::ios::trunc) << changed;
            try {
                const search::Index index = search::load(path);
                ++accepted;
                EXPECT(index.vectors.size() == index.passages.size() * index.dimension);
                for (const auto &passage : index.passages) EXPECT(passage.file < index.files.size());
                search::nearest(index, std::vector<float>(index.dimension), 2);
            } catch (const std::runtime_error &error) {
                EXPECT(contains(error.what(), path));
            }
        }
    }
    // Text and vectors may be anything.
    EXPECT(accepted > 100);
}

TEST(index, dot) {
    for (const std::size_t size : {0, 1, 15, 16, 17, 100}) {
        std::vector<float> a, b;
        double expected = 0;
        for (std::size_t i = 0; i < size; ++i) {
            a.push_back(static_cast<float>(i) - 7);
            b.push_back(2 - static_cast<float>(i % 5));
            expected += static_cast<double>(a[i] * b[i]);
        }
        EXPECT_EQUAL(static_cast<double>(search::dot(a.data(), b.data(), size)), expected);
    }
}

TEST(index, nearest) {
    const search::Index index = sample(50, 24);
    for (std::size_t i = 0; i < 50; ++i) {
        const auto hits = search::nearest(index, vector_of(index, i), 5);
        EXPECT_EQUAL(hits.size(), 5u);
        EXPECT_EQUAL(hits[0].passage, i);
        EXPECT(std::abs(hits[0].score - 1) < 1e-5f);
        for (std::size_t j = 1; j < hits.size(); ++j) EXPECT(hits[j].score <= hits[j - 1].score);
    }
    EXPECT_EQUAL(search::nearest(index, vector_of(index, 0), 500).size(), 50u);
    EXPECT(search::nearest(sample(0, 24), vector_of(index, 0), 5).empty());
    // Equal scores come in the order of the passages.
    search::Index same = sample(4, 24);
    for (std::size_t i = 24; i < same.vectors.size(); ++i) same.vectors[i] = same.vectors[i - 24];
    const auto hits = search::nearest(same, vector_of(same, 0), 4);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQUAL(hits[i].passage, i);
}

TEST(index, overlaps) {
    search::Index index = sample(4, 4);
    // Passages 0 and 2 are in one file, and so are 1 and 3.
    index.passages[0].start = 0, index.passages[0].end = 10;
    index.passages[2].start = 9, index.passages[2].end = 20;
    index.passages[1].start = 0, index.passages[1].end = 10;
    index.passages[3].start = 10, index.passages[3].end = 20;
    const std::vector<search::Hit> hits{{0, 0.9f}, {2, 0.8f}, {1, 0.7f}, {3, 0.6f}};
    std::string kept;
    for (const auto &hit : search::without_overlaps(index, hits, 9)) kept += std::to_string(hit.passage);
    EXPECT_EQUAL(kept, std::string("013"));
    EXPECT_EQUAL(search::without_overlaps(index, hits, 2).size(), 2u);
}

TEST(index, graph) {
    search::Index index = sample(2000, 24);
    const auto all = [](std::size_t) { return true; };
    if (!search::Graph::available) {
        EXPECT(contains(thrown_by([&] { search::Graph::build(index, all); }), "without hnswlib"));
        std::cout << "skipped: graph: built without hnswlib\n";
        return;
    }
    const Scratch scratch;
    const std::string path = scratch.path("graph");
    const auto built = search::Graph::build(index, all);
    built->save(index, path);
    EXPECT(index.graph_size > 2000 * 24 * 4);
    const auto loaded = search::Graph::load(index, path);
    // It finds nearly what comparing with every passage finds.
    std::size_t found = 0;
    for (std::size_t i = 0; i < 100; ++i) {
        std::set<std::size_t> exact;
        for (const auto &hit : search::nearest(index, vector_of(index, 17 * i), 10)) exact.insert(hit.passage);
        const auto hits = loaded->nearest(vector_of(index, 17 * i), 10);
        EXPECT_EQUAL(hits.size(), 10u);
        EXPECT_EQUAL(hits[0].passage, 17 * i);
        EXPECT(std::abs(hits[3].score - search::dot(index.vector(17 * i), index.vector(hits[3].passage), 24)) < 1e-5f);
        for (const auto &hit : hits) found += exact.count(hit.passage);
    }
    EXPECT(found > 900);
    // Another file is refused.
    std::string content = read(path);
    content[content.size() / 2] = static_cast<char>(content[content.size() / 2] ^ 1);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
    EXPECT(contains(thrown_by([&] { search::Graph::load(index, path); }), path + ": is not the graph"));
    EXPECT(search::Graph::build(index, [](std::size_t done) { return done < 5; }) == nullptr);
}

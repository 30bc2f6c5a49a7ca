// With a model: a fixture with random weights, and MiniLM where it is.

#include "embedder.hpp"
#include "nearest.hpp"
#include "tests.hpp"

#include <cmath>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace {

const search::GoOn always = [](std::size_t) { return true; };

std::string repeated(const std::string &text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
}

search::SplitOptions as_the_model_reads() {
    search::SplitOptions options;
    options.tokens = 0;
    options.overlap = 4;
    return options;
}

} // namespace

TEST(model, passages_fit) {
    const search::Embedder embedder(fixture("bert"), kinglet::Precision::F32, 1);
    search::Index index;
    index.model = "bert";
    const std::vector<search::File> files{
        {"a.txt", repeated("The small bird sings near the river. ", 30)}, {"empty.txt", ""}, {"b.txt", "One line.\n\nAnd " + repeated("very ", 200) + "long."}};
    EXPECT(embedder.split(index, files, as_the_model_reads(), always));
    EXPECT_EQUAL(index.files.size(), 3u);
    EXPECT(index.passages.size() > 10);
    std::set<std::uint32_t> seen;
    for (const auto &passage : index.passages) {
        seen.insert(passage.file);
        EXPECT_EQUAL(files[passage.file].text.substr(passage.start, passage.end - passage.start), passage.text);
        EXPECT_EQUAL(passage.line, search::line_of(files[passage.file].text, passage.start));
    }
    EXPECT(seen == (std::set<std::uint32_t>{0, 2}));
    std::size_t cut = 99, last = 0;
    EXPECT(embedder.embed(index, cut, [&](std::size_t done) {
        last = done;
        return true;
    }));
    EXPECT_EQUAL(cut, 0u);
    EXPECT_EQUAL(last, index.passages.size());
    EXPECT_EQUAL(index.vectors.size(), index.passages.size() * index.dimension);
    for (std::size_t i = 0; i < index.passages.size(); ++i) {
        EXPECT(std::abs(search::dot(index.vector(i), index.vector(i), index.dimension) - 1) < 1e-4f);
        EXPECT(embedder.embed(index.passages[i].text) == std::vector<float>(index.vector(i), index.vector(i) + index.dimension));
    }

    // Being told to stop, and asking for too much.
    search::Index stopped;
    EXPECT(!embedder.split(stopped, files, as_the_model_reads(), [](std::size_t) { return false; }));
    EXPECT_EQUAL(stopped.files.size(), 1u);
    EXPECT(!embedder.embed(index, cut, [](std::size_t) { return false; }));
    search::SplitOptions many;
    many.tokens = 500;
    EXPECT(contains(thrown_by([&] { embedder.split(index, files, many, always); }), "--tokens: bert reads at most 22 tokens"));
}

TEST(model, errors) {
    const std::string why = thrown_by([] { search::Embedder("/none/of/it", kinglet::Precision::F32, 1); });
    EXPECT(contains(why, "/none/of/it"));
}

TEST(model, meaning) {
    if (minilm().empty()) {
        std::cout << "skipped: meaning: there is no MiniLM; scripts/fetch-model minilm fetches it\n";
        return;
    }
    const search::Embedder embedder(minilm(), kinglet::Precision::Int8, 2);
    // A question and its answer have no word in common, and no other sentence is nearly as close to it.
    const std::vector<search::File> files{
        {"bank.txt", "Shares fell sharply on Tuesday. Investors worry about higher interest rates."},
        {"phone.txt", "Dim the screen and close apps in the background. Few people notice a difference."},
        {"bread.txt", "Let the dough rest in a warm place for an hour. Bake it until the crust is brown."},
        {"bird.txt", "The kinglet weighs as much as two coins. It breeds in spruce woods."}};
    search::Index index;
    index.model = "minilm";
    std::size_t cut = 0;
    EXPECT(embedder.split(index, files, as_the_model_reads(), always) && embedder.embed(index, cut, always));
    EXPECT_EQUAL(index.passages.size(), 4u);
    for (const auto &[query, file, sentence] : std::vector<std::tuple<std::string, std::string, std::string>>{
             {"How do I make my mobile last longer on one charge?", "phone.txt", "Dim the screen"},
             {"stock market losses", "bank.txt", "Shares fell"},
             {"How much time do I give the yeast?", "bread.txt", "Let the dough"},
             {"How heavy is a tiny songbird?", "bird.txt", "The kinglet weighs"}}) {
        const auto vector = embedder.embed(query);
        const auto hits = search::nearest(index, vector, 1);
        const auto &passage = index.passages[hits[0].passage];
        EXPECT_EQUAL(index.files[passage.file], file);
        const auto best = embedder.best_sentence(passage.text, vector);
        EXPECT_EQUAL(passage.text.substr(best.start, sentence.size()), sentence);
    }
}

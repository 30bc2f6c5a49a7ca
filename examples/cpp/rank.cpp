// Ranks sentences by how similar their meaning is to a question, and shows where the time went.
//
//   rank MODEL_DIRECTORY [QUESTION SENTENCE...]

#include <kinglet.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

// Sentences that mean the same have few words in common here, and those with common words mean something else.
const std::string_view default_question = "How can I make my phone last longer on one charge?";
const std::vector<std::string_view> default_sentences{
    "The charge for parking is two euros an hour.",
    "Turn down the screen and close apps that you do not need to save battery.",
    "Her phone number is on the back of the card.",
    "A power bank in your bag helps on long days.",
    "The kinglet is one of the smallest songbirds of the woods.",
    "Batteries age faster when they get hot.",
    "Slice the onions and fry them until they are golden.",
    "How long does the film last?",
};

// Embeddings of sentence-transformers models have length 1: their cosine is their dot product.
float cosine(kinglet::Span<const float> a, kinglet::Span<const float> b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0f);
}

void rank(const kinglet::Model &model, std::string_view question, const std::vector<std::string_view> &sentences) {
    std::vector<std::string_view> texts{question};
    texts.insert(texts.end(), sentences.begin(), sentences.end());
    kinglet::EmbedOptions options;
    options.normalize = kinglet::Tristate::Yes;
    const auto embeddings = model.embed(texts, options).value();

    std::vector<std::size_t> order(sentences.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto score = [&](std::size_t i) { return cosine(embeddings[0], embeddings[i + 1]); };
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score(a) > score(b); });

    std::printf("  \"%.*s\"\n\n", static_cast<int>(question.size()), question.data());
    for (const std::size_t i : order) {
        const auto bar = static_cast<int>(20 * std::clamp(score(i), 0.0f, 1.0f) + 0.5f);
        std::printf("  %6.3f  %-20s  %.*s\n", static_cast<double>(score(i)), std::string(static_cast<std::size_t>(bar), '#').c_str(),
                    static_cast<int>(sentences[i].size()), sentences[i].data());
    }
}

void show(const kinglet::Counters &counters) {
    std::printf("\n  %-11s %7s %7s %7s %10s\n", "stage", "calls", "texts", "tokens", "ms");
    for (const auto &[stage, totals] : counters.stages()) {
        std::printf("  %-11s %7llu %7llu %7llu %10.3f\n", kinglet::name(stage),
                    static_cast<unsigned long long>(totals.calls), static_cast<unsigned long long>(totals.items),
                    static_cast<unsigned long long>(totals.tokens), Milliseconds(totals.time).count());
    }
}

} // namespace

int main(int argc, char **argv) try {
    if (argc < 2 || argc == 3) {
        std::fprintf(stderr, "usage: rank MODEL_DIRECTORY [QUESTION SENTENCE...]\n");
        return 2;
    }
    kinglet::ModelOptions options;
    options.precision = kinglet::Precision::Int8;
    const auto model = kinglet::Model::load(argv[1], options).value();
    const auto family = model.family();
    std::printf("%s\n%.*s, %zu values per embedding, %s, %.1f MiB of weights, %zu threads\n\n", argv[1], static_cast<int>(family.size()),
                family.data(), model.dimension(), kinglet::name(model.precision()),
                static_cast<double>(model.weight_bytes()) / (1 << 20), model.threads());

    if (argc > 3) {
        rank(model, argv[2], std::vector<std::string_view>(argv + 3, argv + argc));
    } else {
        rank(model, default_question, default_sentences);
    }
    show(model.counters().value());
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}

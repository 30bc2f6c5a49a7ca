// Generates text from prompts, by default LLVM IR from sentences, and shows how fast.
//
//   generate MODEL [TEXT...]
//
// MODEL is a .kinglet file, a GGUF file or a Hugging Face directory.

#include <kinglet.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <string_view>
#include <vector>

namespace {

using Seconds = std::chrono::duration<double>;

const std::vector<std::string_view> default_texts{
    "function @gain: that takes two int values %a and %b and returns their sum",
    "I need a function named @area that takes two double values %a and %b and returns their product",
    "function @speed: that tells whether %a is at least %b (8-bit integer)",
};

int width(std::string_view text) { return static_cast<int>(text.size()); }

// Prints the text while it is generated. Returns why it ended.
kinglet::FinishReason write(const kinglet::Model &model, std::string_view text) {
    std::printf("  \"%.*s\"\n\n", width(text), text.data());
    bool line_begins = true;
    kinglet::GenerateOptions options;
    options.num_beams = 1; // Beams cannot be streamed, and a model's files may ask for some.
    options.on_piece = [&](const kinglet::Piece &piece) {
        for (const char c : piece.text) {
            if (line_begins && c != '\n') std::fputs("    ", stdout);
            std::fputc(c, stdout);
            line_begins = c == '\n';
        }
        std::fflush(stdout);
    };
    const auto made = model.generate(text, options).value();
    if (!line_begins) std::fputc('\n', stdout);
    return made[0].finish_reason;
}

double per_second(std::uint64_t tokens, std::chrono::nanoseconds time) {
    return time.count() == 0 ? 0 : static_cast<double>(tokens) / Seconds(time).count();
}

void show(const kinglet::Counters &counters) {
    using kinglet::Stage;
    const auto &decode = counters[Stage::Decode], &first = counters[Stage::FirstToken];
    const auto &made = counters[Stage::Detokenize], &read = counters[Stage::Tokenize];
    const auto count = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
    std::printf("  %-22s %8llu\n", "texts", count(made.items));
    std::printf("  %-22s %8llu\n", "tokens read", count(read.tokens));
    std::printf("  %-22s %8llu\n", "tokens written", count(made.tokens));
    std::printf("  %-22s %8.1f\n", "tokens per second", per_second(decode.tokens, decode.time));
    std::printf("  %-22s %8.1f ms\n", "time to first token",
                first.items == 0 ? 0 : 1e3 * Seconds(first.time).count() / static_cast<double>(first.items));
    std::printf("  %-22s %8.2f s\n", "in all", Seconds(counters[kinglet::Stage::Call].time).count());
}

} // namespace

int main(int argc, char **argv) try {
    if (argc < 2) {
        std::fprintf(stderr, "usage: generate MODEL [TEXT...]\n");
        return 2;
    }
    const auto model = kinglet::Model::load(argv[1]).value();
    if (!model.can_generate()) {
        std::fprintf(stderr, "%s: this model does not generate; use one that does, for instance a T5\n", argv[1]);
        return 1;
    }
    const auto family = model.family();
    std::printf("%s\n%.*s, %.1f MiB of weights, %zu threads\n\n", argv[1], width(family), family.data(),
                static_cast<double>(model.weight_bytes()) / (1 << 20), model.threads());
    const std::vector<std::string_view> texts =
        argc > 2 ? std::vector<std::string_view>(argv + 2, argv + argc) : default_texts;
    for (const auto text : texts) {
        const auto finish = write(model, text);
        std::printf(finish == kinglet::FinishReason::Length ? "    [the limit of tokens was reached]\n\n" : "\n");
    }
    show(model.counters().value());
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}

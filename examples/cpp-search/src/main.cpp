// search: indexes a folder of text files by meaning, and answers queries from the terminal. README.md has examples.

#include "arguments.hpp"
#include "embedder.hpp"
#include "index.hpp"
#include "nearest.hpp"
#include "passages.hpp"
#include "terminal.hpp"

#include <kinglet.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using search::Arguments;

volatile std::sig_atomic_t interrupted = 0;

constexpr int status_interrupted = 130;

// Milliseconds since the last call.
class Stopwatch {
public:
    double lap() {
        const auto now = std::chrono::steady_clock::now();
        return std::chrono::duration<double, std::milli>(now - std::exchange(last_, now)).count();
    }

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

std::string graph_path(const std::string &index) { return index + ".hnsw"; }

int stopped() {
    std::fprintf(stderr, "search: stopped; no index was written\n");
    return status_interrupted;
}

int index_folder(const Arguments &arguments) {
    Stopwatch watch;
    search::FolderOptions folder_options;
    if (!arguments.extensions.empty()) folder_options.extensions = arguments.extensions;
    search::Folder folder = search::read_folder(arguments.place, folder_options);
    for (const auto &why : folder.skipped) std::fprintf(stderr, "search: skipped %s\n", search::highlighted(why, {}, "", false).c_str());
    if (folder.files.empty()) {
        std::string endings;
        for (const auto &extension : folder_options.extensions) endings += " " + extension;
        throw std::runtime_error(arguments.place + ": has no text files (" + endings.substr(1) + ")");
    }
    const double read = watch.lap();

    const search::Embedder embedder(arguments.model, arguments.precision.value_or(kinglet::Precision::Int8), arguments.threads);
    const double loaded = watch.lap();
    search::Index index;
    index.folder = arguments.place;
    index.model = std::filesystem::absolute(arguments.model).lexically_normal().string();
    index.precision = static_cast<std::uint32_t>(embedder.model().precision());

    // A run of the bar; what is done goes on unless Ctrl-C was pressed.
    const auto with_bar = [](const char *what, const char *kind, std::size_t total, auto work) {
        search::Progress bar(what, kind, total);
        return work([&bar](std::size_t done) {
            bar.show(done);
            return interrupted == 0;
        });
    };
    const std::size_t files = folder.files.size();
    search::SplitOptions split_options;
    split_options.tokens = arguments.tokens;
    split_options.overlap = arguments.overlap;
    if (!with_bar("splitting", "files", files, [&](const auto &go_on) { return embedder.split(index, std::move(folder.files), split_options, go_on); })) {
        return stopped();
    }
    const double split = watch.lap();
    std::size_t cut = 0;
    if (!with_bar("embedding", "passages", index.passages.size(), [&](const auto &go_on) { return embedder.embed(index, cut, go_on); })) {
        return stopped();
    }
    const double embedded = watch.lap();
    bool graph = search::Graph::available && index.passages.size() >= arguments.graph_from;
    if (graph) {
        const auto built = with_bar("connecting", "passages", index.passages.size(), [&](const auto &go_on) { return search::Graph::build(index, go_on); });
        if (!built) return stopped();
        built->save(index, graph_path(arguments.index));
    }
    const double connected = watch.lap();
    search::save(index, arguments.index);
    const double saved = watch.lap();

    std::printf("%s: %zu files, %zu passages of %u values\n", arguments.index.c_str(), files, index.passages.size(), index.dimension);
    if (cut > 0) std::printf("%zu passages were longer than the model reads; their ends are not in the vectors\n", cut);
    std::printf("reading %.1f ms, loading the model %.1f ms, splitting %.1f ms, embedding %.1f ms (%.0f passages/s)", read, loaded, split, embedded,
                1e3 * static_cast<double>(index.passages.size()) / embedded);
    if (graph) std::printf(", connecting %.1f ms", connected);
    std::printf(", saving %.1f ms\n", saved);
    return 0;
}

class Searcher {
public:
    Searcher(const Arguments &arguments, const search::Index &index)
        : arguments_(arguments), index_(index),
          embedder_(arguments.model.empty() ? index.model : arguments.model, arguments.precision.value_or(static_cast<kinglet::Precision>(index.precision)),
                    arguments.threads),
          colour_(arguments.colour.value_or(search::output_is_terminal())) {
        // Vectors of different models cannot be compared, and would give nonsense instead of an error.
        const std::vector<float> probe = embedder_.embed(search::probe_text);
        if (probe.size() != index.probe.size() || search::dot(probe.data(), index.probe.data(), probe.size()) < 0.98f) {
            throw std::runtime_error(arguments.index + ": was made with another model than " + std::string(embedder_.model().path()));
        }
        if (index.graph_size > 0 && search::Graph::available && !arguments.exact) graph_ = search::Graph::load(index, graph_path(arguments.index));
    }

    void answer(const std::string &query) const {
        Stopwatch watch;
        const std::vector<float> vector = embedder_.embed(query);
        const double embedded = watch.lap();
        // Neighbours overlap, so more are found than printed.
        const std::size_t wanted = 4 * arguments_.top;
        const auto found = graph_ ? graph_->nearest(vector, wanted) : search::nearest(index_, vector, wanted);
        const auto hits = search::without_overlaps(index_, found, arguments_.top);
        const double searched = watch.lap();
        std::vector<search::Range> best;
        if (colour_) {
            for (const auto &hit : hits) best.push_back(embedder_.best_sentence(index_.passages[hit.passage].text, vector));
        }
        const double highlighted = watch.lap();
        for (std::size_t i = 0; i < hits.size(); ++i) {
            const search::Passage &passage = index_.passages[hits[i].passage];
            std::printf("%zu. %.3f  %s:%u\n   %s\n", i + 1, static_cast<double>(hits[i].score), search::highlighted(index_.files[passage.file], {}, "", false).c_str(),
                        passage.line, search::highlighted(passage.text, colour_ ? best[i] : search::Range{}, query, colour_).c_str());
        }
        std::printf("%.1f ms embedding, %.1f ms searching %zu passages%s", embedded, searched, index_.passages.size(), graph_ ? " by graph" : "");
        if (colour_) std::printf(", %.1f ms highlighting", highlighted);
        std::printf("\n");
        std::fflush(stdout);
    }

private:
    const Arguments &arguments_;
    const search::Index &index_;
    search::Embedder embedder_;
    bool colour_;
    std::unique_ptr<search::Graph> graph_;
};

int query_index(const Arguments &arguments) {
    const search::Index index = search::load(arguments.index);
    const Searcher searcher(arguments, index);
    if (!arguments.query.empty()) {
        searcher.answer(arguments.query);
        return 0;
    }
    const bool asks = search::output_is_terminal() && search::errors_are_terminal();
    for (std::string line;;) {
        if (asks) std::fprintf(stderr, "> ");
        if (!std::getline(std::cin, line)) break;
        if (line.find_first_not_of(" \t\r") != std::string::npos) searcher.answer(line);
    }
    if (asks) std::fprintf(stderr, "\n");
    return 0;
}

} // namespace

int main(int argc, char **argv) try {
    const Arguments arguments = search::parse(std::vector<std::string>(argv + 1, argv + argc));
    if (arguments.command == Arguments::Command::Help) {
        std::fputs(search::usage, stdout);
        return 0;
    }
    int status = 0;
    if (arguments.command == Arguments::Command::Index) {
        // A query ends with Ctrl-C as any program does; an index that is being made leaves nothing unfinished.
        std::signal(SIGINT, [](int) { interrupted = 1; });
        status = index_folder(arguments);
    } else {
        status = query_index(arguments);
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw std::runtime_error("standard output: cannot be written");
    return status;
} catch (const search::UsageError &error) {
    std::fprintf(stderr, "search: %s\n`search --help` lists the options\n", error.what());
    return 2;
} catch (const std::exception &error) {
    std::fprintf(stderr, "search: %s\n", error.what());
    return 1;
}

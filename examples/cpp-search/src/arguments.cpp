#include "arguments.hpp"

#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace search {

const char *const usage = R"(Searches a folder of text files by meaning.

usage: search index --model MODEL [OPTIONS] FOLDER
       search query [OPTIONS] FOLDER-OR-INDEX [QUERY...]

`index` cuts the files into passages, embeds them and saves the index. `query` prints the passages whose meaning is nearest to the
query's; without a QUERY it reads queries from standard input, one per line.

Options of both:
  --index FILE        the index; default: .kinglet-search in the folder
  --model MODEL       an embedding model: a Hugging Face directory; `query` takes the index's
  --precision NAME    auto, f32, f16, bf16, int8 or int4; default: int8, `query` takes the index's
  --threads N         threads to use; default: all CPUs

Options of index:
  --tokens N          the most tokens in a passage; default: 128
  --overlap N         the most tokens that neighbouring passages share; default: 32
  --extension .EXT    read files with this ending; may be repeated; default: .txt .md .rst .adoc .org
  --graph-from N      build a graph (hnswlib) for N passages and more; default: 20000

Options of query:
  --top N             how many passages to print; default: 5
  --exact             compare with every passage, even if there is a graph
  --color, --no-color highlight the best sentence and the words of the query; default: on a terminal
)";

namespace {

std::size_t number(const std::string &option, const std::string &text, std::size_t least) {
    errno = 0;
    char *end = nullptr;
    const unsigned long value = std::strtoul(text.c_str(), &end, 10);
    if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos || errno != 0 || value < least || value > 1000000000) {
        throw UsageError(option + ": \"" + text + "\" is not a number from " + std::to_string(least) + " on");
    }
    return value;
}

kinglet::Precision precision(const std::string &text) {
    for (const auto known : {kinglet::Precision::Auto, kinglet::Precision::F32, kinglet::Precision::F16, kinglet::Precision::Bf16, kinglet::Precision::Int8, kinglet::Precision::Int4}) {
        if (text == kinglet::name(known)) return known;
    }
    throw UsageError("--precision: \"" + text + "\" is not auto, f32, f16, bf16, int8 or int4");
}

} // namespace

Arguments parse(const std::vector<std::string> &words) {
    Arguments arguments;
    if (words.empty()) throw UsageError("say `index` or `query`");
    if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") return arguments;
    if (words[0] == "index") {
        arguments.command = Arguments::Command::Index;
    } else if (words[0] == "query") {
        arguments.command = Arguments::Command::Query;
    } else {
        throw UsageError("\"" + words[0] + "\" is neither `index` nor `query`");
    }
    const bool indexes = arguments.command == Arguments::Command::Index;
    std::vector<std::string> rest;
    for (std::size_t i = 1; i < words.size(); ++i) {
        const std::string &word = words[i];
        const auto value = [&]() -> const std::string & {
            if (i + 1 == words.size()) throw UsageError(word + ": its value is missing");
            return words[++i];
        };
        if (word == "--") {
            rest.insert(rest.end(), words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
            break;
        }
        if (word == "--help" || word == "-h") {
            return {};
        } else if (word == "--index") {
            arguments.index = value();
        } else if (word == "--model") {
            arguments.model = value();
        } else if (word == "--precision") {
            arguments.precision = precision(value());
        } else if (word == "--threads") {
            arguments.threads = number(word, value(), 1);
        } else if (indexes && word == "--tokens") {
            arguments.tokens = number(word, value(), 1);
        } else if (indexes && word == "--overlap") {
            arguments.overlap = number(word, value(), 0);
        } else if (indexes && word == "--graph-from") {
            arguments.graph_from = number(word, value(), 1);
        } else if (indexes && word == "--extension") {
            arguments.extensions.push_back(value());
            if (arguments.extensions.back().size() < 2 || arguments.extensions.back()[0] != '.') throw UsageError("--extension: \"" + arguments.extensions.back() + "\" does not begin with a dot");
        } else if (!indexes && word == "--top") {
            arguments.top = number(word, value(), 1);
        } else if (!indexes && word == "--exact") {
            arguments.exact = true;
        } else if (!indexes && word == "--color") {
            arguments.colour = true;
        } else if (!indexes && word == "--no-color") {
            arguments.colour = false;
        } else if (word.size() > 1 && word[0] == '-') {
            throw UsageError(word + ": `" + words[0] + "` has no such option");
        } else {
            rest.push_back(word);
        }
    }
    if (rest.empty()) throw UsageError(indexes ? "name a folder" : "name a folder or an index");
    arguments.place = rest[0];
    if (indexes && rest.size() > 1) throw UsageError("\"" + rest[1] + "\": `index` takes one folder");
    if (indexes && arguments.model.empty()) throw UsageError("name an embedding model with --model");
    for (std::size_t i = 1; i < rest.size(); ++i) arguments.query += (i > 1 ? " " : "") + rest[i];
    if (arguments.index.empty()) arguments.index = index_path(arguments.place);
    return arguments;
}

std::string index_path(const std::string &place) {
    std::error_code error;
    return std::filesystem::is_directory(place, error) ? (std::filesystem::path(place) / ".kinglet-search").string() : place;
}

} // namespace search

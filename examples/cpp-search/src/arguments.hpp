// The command line.

#ifndef SEARCH_ARGUMENTS_HPP
#define SEARCH_ARGUMENTS_HPP

#include <kinglet.hpp>

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace search {

struct Arguments {
    enum class Command { Help, Index, Query };

    Command command = Command::Help;
    /// The folder, or for `query` also an index file.
    std::string place;
    std::string index;
    std::string model;
    /// The words of a query; none: queries come from standard input.
    std::string query;
    std::optional<kinglet::Precision> precision;
    std::size_t threads = 0;
    std::size_t tokens = 0;
    std::size_t overlap = 32;
    std::size_t top = 5;
    std::size_t graph_from = 20000;
    std::vector<std::string> extensions;
    bool exact = false;
    /// Unset: if the output is a terminal.
    std::optional<bool> colour;
};

/// A mistake in the command line, with what is wrong.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

extern const char *const usage;

/// Reads the command line, without the program's name. Throws UsageError.
Arguments parse(const std::vector<std::string> &words);

/// The index file of a folder, or the path itself if it is no folder.
std::string index_path(const std::string &place);

} // namespace search

#endif

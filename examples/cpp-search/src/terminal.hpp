// What goes to a terminal: progress, and passages with their best sentence highlighted.

#ifndef SEARCH_TERMINAL_HPP
#define SEARCH_TERMINAL_HPP

#include "passages.hpp"

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace search {

/// Whether standard output and standard error are terminals.
bool output_is_terminal();
bool errors_are_terminal();

/// A bar on standard error. It shows nothing if that is no terminal.
class Progress {
public:
    /// `what` is being done to `total` things of a kind, for instance "embedding" and "passages".
    Progress(std::string what, std::string kind, std::size_t total);
    Progress(const Progress &) = delete;
    Progress &operator=(const Progress &) = delete;
    /// Removes the bar.
    ~Progress();

    /// Draws it anew, a few times per second at most.
    void show(std::size_t done);

private:
    using Clock = std::chrono::steady_clock;

    std::string what_, kind_;
    std::size_t total_;
    bool visible_;
    Clock::time_point begun_ = Clock::now(), drawn_{};
};

/// The bar's line, for a terminal of `width` columns.
std::string progress_line(const std::string &what, const std::string &kind, std::size_t done, std::size_t total, double seconds, std::size_t width);

/// A passage for a person: on one line, harmless for the terminal; with colour the range `best` is bold, and words of the query are underlined.
std::string highlighted(std::string_view passage, Range best, std::string_view query, bool colour);

} // namespace search

#endif

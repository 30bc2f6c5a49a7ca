#include "terminal.hpp"

#include "text.hpp"

#include <algorithm>
#include <cstdio>
#include <set>
#include <utility>

#include <sys/ioctl.h>
#include <unistd.h>

namespace search {
namespace {

constexpr std::string_view bold = "\x1b[1m", underlined = "\x1b[4m", plain = "\x1b[0m", clear_line = "\r\x1b[K";

std::size_t terminal_width() {
    winsize size{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string minutes(double seconds) {
    const auto whole = static_cast<unsigned long>(seconds + 0.5);
    char text[32];
    std::snprintf(text, sizeof text, "%lu:%02lu", whole / 60, whole % 60);
    return text;
}

} // namespace

bool output_is_terminal() { return isatty(STDOUT_FILENO) != 0; }
bool errors_are_terminal() { return isatty(STDERR_FILENO) != 0; }

Progress::Progress(std::string what, std::string kind, std::size_t total)
    : what_(std::move(what)), kind_(std::move(kind)), total_(total), visible_(errors_are_terminal()) {}

Progress::~Progress() {
    if (visible_ && drawn_ != Clock::time_point{}) std::fprintf(stderr, "%.*s", static_cast<int>(clear_line.size()), clear_line.data());
}

void Progress::show(std::size_t done) {
    const auto now = Clock::now();
    if (!visible_ || (now - drawn_ < std::chrono::milliseconds(100) && done < total_)) return;
    drawn_ = now;
    const double seconds = std::chrono::duration<double>(now - begun_).count();
    std::fprintf(stderr, "%.*s%s", static_cast<int>(clear_line.size()), clear_line.data(),
                 progress_line(what_, kind_, done, total_, seconds, terminal_width()).c_str());
    std::fflush(stderr);
}

std::string progress_line(const std::string &what, const std::string &kind, std::size_t done, std::size_t total, double seconds, std::size_t width) {
    const double fraction = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
    const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
    char numbers[128];
    std::snprintf(numbers, sizeof numbers, "%3.0f %%  %zu of %zu %s  %.0f/s", 100 * fraction, done, total, kind.c_str(), rate);
    std::string text = numbers;
    if (done > 0 && done < total) text += "  " + minutes(static_cast<double>(total - done) / rate) + " left";
    // The bar gets what the words leave; the last column stays empty, because some terminals wrap there.
    const std::size_t words = what.size() + text.size() + 4;
    if (width < words + 11) return (what + " " + text).substr(0, width > 0 ? width - 1 : 0);
    const std::size_t bar = std::min<std::size_t>(width - 1 - words, 40);
    const auto full = static_cast<std::size_t>(fraction * static_cast<double>(bar) + 0.5);
    return what + " [" + std::string(full, '#') + std::string(bar - full, '.') + "] " + text;
}

std::string highlighted(std::string_view passage, Range best, std::string_view query, bool colour) {
    if (!colour) return printable(passage);
    std::set<std::string> wanted;
    // Short words are in every text.
    for (const auto &word : words(query)) {
        if (word.text.size() > 3) wanted.insert(word.text);
    }
    // Where the style changes. A style is put around printable text only, so that nothing of the passage can get into it.
    std::string line;
    const auto add = [&](std::size_t start, std::size_t end, bool under) {
        const std::string text = printable(passage.substr(start, end - start));
        const bool strong = start >= best.start && start < best.end;
        const bool blank_before = start < end && is_space(passage[start]), blank_after = start < end && is_space(passage[end - 1]);
        if (blank_before && !line.empty() && line.back() != ' ') line.push_back(' ');
        if (text.empty()) return;
        if (strong) line.append(bold);
        if (under) line.append(underlined);
        line += text;
        if (strong || under) line.append(plain);
        if (blank_after) line.push_back(' ');
    };
    // Between words, also at the best sentence's ends.
    const auto add_between = [&](std::size_t start, std::size_t end) {
        for (const std::size_t edge : {best.start, best.end}) {
            if (start < edge && edge < end) {
                add(start, edge, false);
                start = edge;
            }
        }
        if (start < end) add(start, end, false);
    };
    std::size_t at = 0;
    for (const auto &word : words(passage)) {
        if (wanted.count(word.text) == 0) continue;
        add_between(at, word.start);
        add(word.start, word.end, true);
        at = word.end;
    }
    add_between(at, passage.size());
    while (!line.empty() && line.back() == ' ') line.pop_back();
    return line;
}

} // namespace search

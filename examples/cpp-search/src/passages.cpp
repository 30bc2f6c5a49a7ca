#include "passages.hpp"

#include "text.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>

namespace search {
namespace {

// The sentence enders of other scripts, in UTF-8: the ideographic full stop and the full-width ! and ?.
constexpr std::string_view wide_enders[] = {"\u3002", "\uff01", "\uff1f"};

constexpr std::string_view closers = "\"')]}*_`";

// Bytes after `at` that end a sentence there: the ender and what closes with it; 0 if it does not end.
std::size_t sentence_end(std::string_view text, std::size_t at) {
    for (const auto ender : wide_enders) {
        if (text.substr(at, ender.size()) == ender) return ender.size();
    }
    if (text[at] != '.' && text[at] != '!' && text[at] != '?') return 0;
    std::size_t end = at + 1;
    while (end < text.size() && closers.find(text[end]) != std::string_view::npos) ++end;
    if (end < text.size() && !is_space(text[end])) return 0;
    // An abbreviation goes on with a small letter.
    std::size_t next = end;
    while (next < text.size() && is_space(text[next])) ++next;
    if (text[at] == '.' && next < text.size() && text[next] >= 'a' && text[next] <= 'z') return 0;
    return end - at;
}

// Bytes of the white space at `at` if it holds a blank line; else 0.
std::size_t blank_line(std::string_view text, std::size_t at) {
    std::size_t end = at;
    int lines = 0;
    for (; end < text.size() && is_space(text[end]); ++end) lines += text[end] == '\n';
    return lines > 1 ? end - at : 0;
}

void add_trimmed(std::vector<Range> &all, std::string_view text, Range range) {
    while (range.start < range.end && is_space(text[range.start])) ++range.start;
    while (range.start < range.end && is_space(text[range.end - 1])) --range.end;
    if (range.start < range.end) all.push_back(range);
}

// The tokens of a text, counted by range.
class Counter {
public:
    explicit Counter(const std::vector<std::size_t> &tokens) : tokens_(tokens) {}

    // The number of the first token that begins at a byte or after it.
    std::size_t first(std::size_t byte) const {
        return static_cast<std::size_t>(std::lower_bound(tokens_.begin(), tokens_.end(), byte) - tokens_.begin());
    }
    std::size_t count(Range range) const { return first(range.end) - first(range.start); }
    std::size_t start(std::size_t token) const { return tokens_[token]; }

private:
    const std::vector<std::size_t> &tokens_;
};

// Cuts a sentence that is too long into pieces that are not.
void cut(std::vector<Range> &pieces, std::string_view text, Range sentence, const Counter &counter, std::size_t most) {
    while (counter.count(sentence) > most) {
        const std::size_t limit = counter.start(counter.first(sentence.start) + most);
        std::size_t end = limit;
        while (end > sentence.start && !is_space(text[end - 1])) --end;
        // Bytes of one character may be tokens of their own.
        if (end == sentence.start) end = character_start(text, limit);
        if (end == sentence.start) end = next_character(text, limit);
        add_trimmed(pieces, text, {sentence.start, end});
        sentence.start = end;
        while (sentence.start < sentence.end && is_space(text[sentence.start])) ++sentence.start;
    }
    add_trimmed(pieces, text, sentence);
}

bool wanted(const std::filesystem::path &path, const FolderOptions &options) {
    return std::find(options.extensions.begin(), options.extensions.end(), path.extension().string()) != options.extensions.end();
}

bool hidden(const std::filesystem::path &path) { return path.filename().string().front() == '.'; }

} // namespace

std::vector<Range> sentences(std::string_view text) {
    std::vector<Range> all;
    std::size_t start = 0;
    for (std::size_t at = 0; at < text.size();) {
        if (const std::size_t bytes = sentence_end(text, at)) {
            at += bytes;
            add_trimmed(all, text, {start, at});
            start = at;
        } else if (const std::size_t blank = blank_line(text, at)) {
            add_trimmed(all, text, {start, at});
            at += blank;
            start = at;
        } else {
            ++at;
        }
    }
    add_trimmed(all, text, {start, text.size()});
    return all;
}

std::vector<Range> split(std::string_view text, const std::vector<std::size_t> &tokens, const SplitOptions &options) {
    const Counter counter(tokens);
    const std::size_t most = std::max<std::size_t>(options.tokens, 1);
    std::vector<Range> pieces;
    for (const Range sentence : sentences(text)) cut(pieces, text, sentence, counter, most);

    std::vector<Range> passages;
    for (std::size_t first = 0; first < pieces.size();) {
        std::size_t end = first + 1;
        while (end < pieces.size() && counter.count({pieces[first].start, pieces[end].end}) <= most) ++end;
        passages.push_back({pieces[first].start, pieces[end - 1].end});
        if (end == pieces.size()) break;
        // The next passage begins with the last sentences of this one.
        std::size_t next = end;
        while (next > first + 1 && counter.count({pieces[next - 1].start, pieces[end - 1].end}) <= options.overlap) --next;
        // It must reach further than this one, or it would only repeat it.
        while (next < end && counter.count({pieces[next].start, pieces[end].end}) > most) ++next;
        first = next;
    }
    return passages;
}

std::uint32_t line_of(std::string_view text, std::size_t byte) {
    return 1 + static_cast<std::uint32_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(byte), '\n'));
}

Folder read_folder(const std::string &path, const FolderOptions &options) {
    namespace fs = std::filesystem;
    std::error_code error;
    if (!fs::is_directory(path, error)) throw std::runtime_error(path + ": is not a folder");
    std::vector<fs::path> found;
    Folder folder;
    auto entry = fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied, error);
    if (error) throw std::runtime_error(path + ": " + error.message());
    for (; entry != fs::recursive_directory_iterator(); entry.increment(error)) {
        // Links may lead out of the folder, or in circles.
        const bool link = entry->is_symlink(error);
        if (hidden(entry->path()) || link) {
            entry.disable_recursion_pending();
        } else if (entry->is_regular_file(error) && wanted(entry->path(), options)) {
            found.push_back(entry->path());
        }
    }
    if (error) folder.skipped.push_back(path + ": " + error.message());
    std::sort(found.begin(), found.end());
    for (const auto &file : found) {
        const std::string name = file.lexically_relative(path).generic_string();
        if (fs::file_size(file, error) > options.largest || error) {
            folder.skipped.push_back(name + ": " + (error ? error.message() : "is larger than " + std::to_string(options.largest >> 20) + " MiB"));
            continue;
        }
        std::ifstream input(file, std::ios::binary);
        std::string text((std::istreambuf_iterator<char>(input)), std::istreambuf_iterator<char>());
        if (!input) {
            folder.skipped.push_back(name + ": cannot be read");
        } else if (text.find('\0') != std::string::npos || !is_utf8(text)) {
            folder.skipped.push_back(name + ": is no UTF-8 text");
        } else {
            folder.files.push_back({name, std::move(text)});
        }
    }
    return folder;
}

} // namespace search

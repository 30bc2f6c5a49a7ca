// Files to passages: which parts of a text are embedded and shown.

#ifndef SEARCH_PASSAGES_HPP
#define SEARCH_PASSAGES_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace search {

/// Bytes of a text, from start to end (exclusive).
struct Range {
    std::size_t start = 0;
    std::size_t end = 0;
};

/// The sentences of a UTF-8 text, without the white space around them. A blank line ends a sentence, too.
std::vector<Range> sentences(std::string_view text);

struct SplitOptions {
    /// The most tokens in a passage.
    std::size_t tokens = 128;
    /// The most tokens that two neighbouring passages share, in whole sentences.
    std::size_t overlap = 32;
};

/// Cuts a text into passages of whole sentences. `tokens` are where its tokens begin, in ascending order. A sentence with more tokens than
/// a passage may have is cut between words, or between tokens where a word is that long.
std::vector<Range> split(std::string_view text, const std::vector<std::size_t> &tokens, const SplitOptions &options);

/// The number of the line, from 1, that a byte is in.
std::uint32_t line_of(std::string_view text, std::size_t byte);

struct File {
    /// Relative to the folder.
    std::string path;
    std::string text;
};

struct Folder {
    std::vector<File> files;
    /// What was not read, and why: one line each.
    std::vector<std::string> skipped;
};

struct FolderOptions {
    /// Endings of the names of the files that are read, with the dot.
    std::vector<std::string> extensions{".txt", ".md", ".rst", ".adoc", ".org"};
    /// Larger files are skipped.
    std::uintmax_t largest = std::uintmax_t{16} << 20;
};

/// Reads the text files of a folder and of the folders in it, in the order of their names. Hidden ones and symbolic links are left out; files
/// that are no UTF-8 text, or cannot be read, are in `skipped`. Throws std::runtime_error if the folder itself cannot be read.
Folder read_folder(const std::string &path, const FolderOptions &options);

} // namespace search

#endif

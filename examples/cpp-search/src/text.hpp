// UTF-8 and words.

#ifndef SEARCH_TEXT_HPP
#define SEARCH_TEXT_HPP

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace search {

constexpr bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Whether all of a text is well-formed UTF-8.
bool is_utf8(std::string_view text);

/// Where the character begins that a byte is in.
std::size_t character_start(std::string_view text, std::size_t byte);

/// Where the character after the one that a byte is in begins.
std::size_t next_character(std::string_view text, std::size_t byte);

/// A word of a text, in small letters (ASCII only), and its place.
struct Word {
    std::string text;
    std::size_t start = 0;
    std::size_t end = 0;
};

/// The words: runs of letters, digits and characters beyond ASCII.
std::vector<Word> words(std::string_view text);

/// A text on one line that is harmless on a terminal: white space is one blank, and control characters, with which a file could move the
/// cursor or change settings, are left out.
std::string printable(std::string_view text);

} // namespace search

#endif

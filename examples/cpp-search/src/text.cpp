#include "text.hpp"

namespace search {
namespace {

constexpr unsigned byte_at(std::string_view text, std::size_t i) { return static_cast<unsigned char>(text[i]); }

constexpr bool continues(std::string_view text, std::size_t i) { return i < text.size() && (byte_at(text, i) & 0xc0) == 0x80; }

// Bytes of the character that begins at i; 0 if it is not well formed.
std::size_t character_size(std::string_view text, std::size_t i) {
    const unsigned c = byte_at(text, i);
    if (c < 0x80) return 1;
    if (c < 0xc2 || !continues(text, i + 1)) return 0;
    const unsigned second = byte_at(text, i + 1);
    if (c < 0xe0) return 2;
    if (!continues(text, i + 2)) return 0;
    // Overlong forms and surrogates are no UTF-8.
    if (c < 0xf0) return (c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ? 0 : 3;
    if (!continues(text, i + 3) || c > 0xf4) return 0;
    return (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f) ? 0 : 4;
}

constexpr bool in_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80;
}

} // namespace

bool is_utf8(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t size = character_size(text, i);
        if (size == 0) return false;
        i += size;
    }
    return true;
}

std::size_t character_start(std::string_view text, std::size_t byte) {
    while (byte > 0 && continues(text, byte)) --byte;
    return byte;
}

std::size_t next_character(std::string_view text, std::size_t byte) {
    if (byte < text.size()) ++byte;
    while (continues(text, byte)) ++byte;
    return byte;
}

std::vector<Word> words(std::string_view text) {
    std::vector<Word> all;
    for (std::size_t i = 0; i < text.size();) {
        if (!in_word(text[i])) {
            ++i;
            continue;
        }
        Word word;
        for (word.start = i; i < text.size() && in_word(text[i]); ++i) {
            word.text.push_back(text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] - 'A' + 'a') : text[i]);
        }
        word.end = i;
        all.push_back(word);
    }
    return all;
}

std::string printable(std::string_view text) {
    std::string line;
    for (std::size_t i = 0; i < text.size();) {
        const unsigned c = byte_at(text, i);
        if (is_space(text[i])) {
            if (!line.empty() && line.back() != ' ') line.push_back(' ');
            ++i;
        } else if (c < 0x20 || c == 0x7f) {
            ++i;
        } else if (c == 0xc2 && continues(text, i + 1) && byte_at(text, i + 1) < 0xa0) {
            i += 2; // U+0080 to U+009F are control characters, too.
        } else {
            line.push_back(text[i]);
            ++i;
        }
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    return line;
}

} // namespace search

// Text: UTF-8, words, sentences, passages, and what goes to a terminal.

#include "passages.hpp"
#include "terminal.hpp"
#include "tests.hpp"
#include "text.hpp"

#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

using search::Range;

namespace {

std::string joined(std::string_view text, const std::vector<Range> &ranges) {
    std::string all;
    for (const Range range : ranges) all += "<" + std::string(text.substr(range.start, range.end - range.start)) + ">";
    return all;
}

// Each word is a token.
std::vector<std::size_t> tokens_of(std::string_view text) {
    std::vector<std::size_t> starts;
    for (const auto &word : search::words(text)) starts.push_back(word.start);
    return starts;
}

std::string split(std::string_view text, std::size_t tokens, std::size_t overlap) {
    search::SplitOptions options;
    options.tokens = tokens;
    options.overlap = overlap;
    return joined(text, search::split(text, tokens_of(text), options));
}

} // namespace

TEST(text, utf8) {
    for (const char *good : {"", "a", "\u00fc", "\u20ac", "\U0001f426", "\ud7ff\ue000", "\U0010ffff"}) EXPECT(search::is_utf8(good));
    for (const char *bad : {"\x80", "\xc3", "\xc3(", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "a\xff"}) {
        EXPECT(!search::is_utf8(bad));
    }
    EXPECT_EQUAL(search::character_start("a\u20acb", 3), 1u);
    EXPECT_EQUAL(search::next_character("a\u20acb", 1), 4u);
    EXPECT_EQUAL(search::next_character("ab", 2), 2u);
}

TEST(text, words) {
    std::string all;
    const std::string text = "The 2nd V\u00f6gel, isn't";
    for (const auto &word : search::words(text)) {
        all += word.text + "|";
        EXPECT_EQUAL(word.end - word.start, word.text.size());
    }
    EXPECT_EQUAL(all, std::string("the|2nd|v\u00f6gel|isn|t|"));
}

TEST(text, sentences) {
    const auto cut = [](std::string_view text) { return joined(text, search::sentences(text)); };
    EXPECT_EQUAL(cut(""), std::string(""));
    EXPECT_EQUAL(cut(" \n\n "), std::string(""));
    EXPECT_EQUAL(cut("One. Two! Three? Four"), std::string("<One.><Two!><Three?><Four>"));
    EXPECT_EQUAL(cut("Version 1.5 is out. \"Good.\" She left."), std::string("<Version 1.5 is out.><\"Good.\"><She left.>"));
    EXPECT_EQUAL(cut("Birds, e.g. the wren, sing."), std::string("<Birds, e.g. the wren, sing.>"));
    EXPECT_EQUAL(cut("A title\n\nA line\nand another.\n \nEnd"), std::string("<A title><A line\nand another.><End>"));
    EXPECT_EQUAL(cut("\u9ce5\u3002\u6b4c\u3002"), std::string("<\u9ce5\u3002><\u6b4c\u3002>"));
}

TEST(text, split) {
    EXPECT_EQUAL(split("", 5, 2), std::string(""));
    EXPECT_EQUAL(split("a b. C d. E f.", 4, 0), std::string("<a b. C d.><E f.>"));
    EXPECT_EQUAL(split("a b. C d. E f.", 4, 2), std::string("<a b. C d.><C d. E f.>"));
    // An overlap that would leave no room for the next sentence is given up.
    EXPECT_EQUAL(split("a b. C d. E f g h.", 4, 2), std::string("<a b. C d.><E f g h.>"));
    // A sentence that is too long is cut between words, a word that is too long between characters.
    EXPECT_EQUAL(split("a b c d e f g", 3, 0), std::string("<a b c><d e f><g>"));
    search::SplitOptions two;
    two.tokens = 2;
    two.overlap = 0;
    const std::string bytes = "\u00fc\u00fc\u00fc";
    EXPECT_EQUAL(joined(bytes, search::split(bytes, {0, 1, 2, 3, 4, 5}, two)), std::string("<\u00fc><\u00fc><\u00fc>"));
    two.tokens = 1;
    EXPECT_EQUAL(joined(bytes, search::split(bytes, {0, 1, 2, 3, 4, 5}, two)), std::string("<\u00fc><\u00fc><\u00fc>"));
}

// For many texts: passages ascend, are within the limit, are UTF-8, and together have every word.
TEST(text, split_keeps_all) {
    std::mt19937 random(1);
    const std::string parts[] = {"a", "bird", "\u00fcber", " ", " ", "\n", "\n\n", ". ", "! ", ".", ",", "\u9ce5\u3002", "-", "X"};
    for (int round = 0; round < 2000; ++round) {
        std::string text;
        for (unsigned i = random() % 60; i > 0; --i) text += parts[random() % (sizeof parts / sizeof *parts)];
        const auto tokens = tokens_of(text);
        search::SplitOptions options;
        options.tokens = 1 + random() % 8;
        options.overlap = random() % 5;
        std::vector<bool> covered(text.size());
        std::size_t last_start = 0, last_end = 0;
        for (const Range range : search::split(text, tokens, options)) {
            const auto count = static_cast<std::size_t>(std::count_if(tokens.begin(), tokens.end(), [&](std::size_t t) { return t >= range.start && t < range.end; }));
            EXPECT(count <= options.tokens);
            EXPECT(range.start < range.end && range.end <= text.size());
            EXPECT((range.start > last_start || last_end == 0) && range.end > last_end);
            EXPECT(search::is_utf8(std::string_view(text).substr(range.start, range.end - range.start)));
            std::fill(covered.begin() + static_cast<std::ptrdiff_t>(range.start), covered.begin() + static_cast<std::ptrdiff_t>(range.end), true);
            last_start = range.start;
            last_end = range.end;
        }
        for (std::size_t i = 0; i < text.size(); ++i) EXPECT(covered[i] || search::is_space(text[i]));
    }
}

TEST(text, lines) {
    EXPECT_EQUAL(search::line_of("a\nb\nc", 0), 1u);
    EXPECT_EQUAL(search::line_of("a\nb\nc", 4), 3u);
}

TEST(text, folder) {
    const Scratch scratch;
    scratch.write("b.txt", "second");
    scratch.write("a/deep.md", "first");
    scratch.write("a/picture.png", "no");
    scratch.write(".hidden.txt", "no");
    scratch.write(".git/x.txt", "no");
    scratch.write("binary.txt", std::string("a\0b", 3));
    scratch.write("latin1.txt", "caf\xe9");
    scratch.write("large.txt", std::string(3 << 20, 'a'));
    std::filesystem::create_symlink(scratch.root(), scratch.path("a/circle"));
    std::filesystem::create_symlink(scratch.path("b.txt"), scratch.path("a/link.txt"));
    search::FolderOptions options;
    options.largest = 2 << 20;
    const auto folder = search::read_folder(scratch.root(), options);
    std::string found, skipped;
    for (const auto &file : folder.files) found += file.path + "=" + file.text + ";";
    for (const auto &why : folder.skipped) skipped += why + ";";
    EXPECT_EQUAL(found, std::string("a/deep.md=first;b.txt=second;"));
    EXPECT_EQUAL(skipped, std::string("binary.txt: is no UTF-8 text;large.txt: is larger than 2 MiB;latin1.txt: is no UTF-8 text;"));
    options.extensions = {".png"};
    EXPECT_EQUAL(search::read_folder(scratch.root(), options).files.size(), 1u);
    EXPECT(contains(thrown_by([&] { search::read_folder(scratch.path("none"), options); }), "none: is not a folder"));
    EXPECT(contains(thrown_by([&] { search::read_folder(scratch.path("b.txt"), options); }), "b.txt: is not a folder"));
}

TEST(text, printable) {
    EXPECT_EQUAL(search::printable("  a\t\nb  c "), std::string("a b c"));
    EXPECT_EQUAL(search::printable("\x1b[31mred\x07\x7f \u009b31m \u00fc"), std::string("[31mred 31m \u00fc"));
}

TEST(text, highlighted) {
    const std::string text = "A wren. Small birds\nsing here. End.";
    const Range best{8, 30};
    EXPECT_EQUAL(search::highlighted(text, best, "Birds", false), std::string("A wren. Small birds sing here. End."));
    EXPECT_EQUAL(search::highlighted(text, best, "Birds", true),
                 std::string("A wren. \x1b[1mSmall\x1b[0m \x1b[1m\x1b[4mbirds\x1b[0m \x1b[1msing here.\x1b[0m End."));
    // Words of three letters and less are not underlined, and nothing of a passage controls the terminal.
    EXPECT_EQUAL(search::highlighted("the end\x1b[2J", {}, "the", true), std::string("the end[2J"));
    // Without its styles it is the same text.
    for (const char *query : {"", "wren small here end", "sing"}) {
        std::string shown = search::highlighted(text, best, query, true), plain;
        for (std::size_t i = 0; i < shown.size(); ++i) {
            if (shown[i] == '\x1b') {
                i = shown.find('m', i);
            } else {
                plain += shown[i];
            }
        }
        EXPECT_EQUAL(plain, search::printable(text));
    }
}

TEST(text, progress) {
    const std::string line = search::progress_line("embedding", "passages", 50, 200, 5, 80);
    EXPECT_EQUAL(line, std::string("embedding [######..................] ") + " 25 %  50 of 200 passages  10/s  0:15 left");
    EXPECT(contains(search::progress_line("embedding", "passages", 200, 200, 5, 80), "100 %"));
    EXPECT(!contains(search::progress_line("embedding", "passages", 200, 200, 5, 80), "left"));
    for (std::size_t width = 0; width < 200; ++width) {
        EXPECT(search::progress_line("embedding", "passages", 123456, 9999999, 1, width).size() <= (width > 0 ? width - 1 : 0));
    }
}

#include "index.hpp"

#include "text.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <vector>

namespace search {
namespace {

// A file is: the magic, the version, the size of the content and its checksum, then the content. Numbers are little-endian, strings and
// lists begin with their count.
constexpr std::string_view magic = "KLSEARCH";
constexpr std::uint32_t version = 1;
constexpr std::size_t header_size = 8 + 4 + 8 + 8;

static_assert(sizeof(float) == 4, "vectors are stored as IEEE 754 floats");

class Writer {
public:
    template <class Number>
    void number(Number value) {
        static_assert(std::is_unsigned<Number>::value, "stored numbers are unsigned");
        for (std::size_t i = 0; i < sizeof(Number); ++i) bytes_.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
    }
    void string(std::string_view text) {
        number(static_cast<std::uint64_t>(text.size()));
        bytes_.append(text);
    }
    void floats(const std::vector<float> &values) {
        number(static_cast<std::uint64_t>(values.size()));
        for (const float value : values) {
            std::uint32_t bits = 0;
            std::memcpy(&bits, &value, sizeof bits);
            number(bits);
        }
    }
    const std::string &bytes() const { return bytes_; }

private:
    std::string bytes_;
};

// Reads what Writer wrote, and never beyond the end: counts come from the file.
class Reader {
public:
    Reader(std::string_view bytes, const std::string &path) : bytes_(bytes), path_(path) {}

    [[noreturn]] void fail(const std::string &why) const { throw std::runtime_error(path_ + ": " + why + "; index the folder again"); }

    template <class Number>
    Number number() {
        const std::string_view bytes = take(sizeof(Number));
        Number value = 0;
        for (std::size_t i = 0; i < sizeof(Number); ++i) value |= static_cast<Number>(static_cast<Number>(static_cast<unsigned char>(bytes[i])) << (8 * i));
        return value;
    }
    // A count of things that take at least `least` bytes each.
    std::size_t count(std::size_t least) {
        const auto value = number<std::uint64_t>();
        if (value > bytes_.size() / least) fail("is damaged: a count goes beyond the end");
        return static_cast<std::size_t>(value);
    }
    std::string string() {
        const std::string text(take(count(1)));
        if (!is_utf8(text)) fail("is damaged: a string is no UTF-8");
        return text;
    }
    std::vector<float> floats() {
        std::vector<float> values(count(sizeof(float)));
        for (float &value : values) {
            const auto bits = number<std::uint32_t>();
            std::memcpy(&value, &bits, sizeof bits);
            // Such values have no order, which sorting needs.
            if (!std::isfinite(value)) fail("is damaged: a vector has a value that is no number");
        }
        return values;
    }
    std::string_view take(std::size_t size) {
        if (size > bytes_.size()) fail("is damaged: it ends too early");
        const std::string_view taken = bytes_.substr(0, size);
        bytes_.remove_prefix(size);
        return taken;
    }
    bool at_end() const { return bytes_.empty(); }

private:
    std::string_view bytes_;
    const std::string &path_;
};

std::string read_file(const std::string &path) {
    std::ifstream input(path, std::ios::binary | std::ios::ate);
    const auto size = input ? static_cast<std::streamoff>(input.tellg()) : std::streamoff{-1};
    if (size < 0) throw std::runtime_error(path + ": cannot be read; `search index` makes an index");
    std::string bytes(static_cast<std::size_t>(size), '\0');
    input.seekg(0);
    if (!input.read(&bytes[0], size)) throw std::runtime_error(path + ": cannot be read");
    return bytes;
}

} // namespace

std::uint64_t checksum(const char *data, std::size_t size, std::uint64_t start) {
    std::uint64_t hash = start;
    for (std::size_t i = 0; i < size; ++i) hash = (hash ^ static_cast<unsigned char>(data[i])) * 0x100000001b3;
    return hash;
}

std::uint64_t checksum_of_file(const std::string &path, std::uint64_t &size) {
    std::ifstream input(path, std::ios::binary);
    std::vector<char> block(1 << 20);
    std::uint64_t hash = checksum(nullptr, 0);
    size = 0;
    do {
        input.read(block.data(), static_cast<std::streamsize>(block.size()));
        hash = checksum(block.data(), static_cast<std::size_t>(input.gcount()), hash);
        size += static_cast<std::uint64_t>(input.gcount());
    } while (input);
    if (!input.eof()) throw std::runtime_error(path + ": cannot be read");
    return hash;
}

void save(const Index &index, const std::string &path) {
    Writer content;
    content.string(index.folder);
    content.string(index.model);
    content.number(index.precision);
    content.number(index.dimension);
    content.floats(index.probe);
    content.number(static_cast<std::uint64_t>(index.files.size()));
    for (const auto &file : index.files) content.string(file);
    content.number(static_cast<std::uint64_t>(index.passages.size()));
    for (const auto &passage : index.passages) {
        content.number(passage.file);
        content.number(passage.line);
        content.number(passage.start);
        content.number(passage.end);
        content.string(passage.text);
    }
    content.floats(index.vectors);
    content.number(index.graph_size);
    content.number(index.graph_checksum);

    Writer header;
    header.number(version);
    header.number(static_cast<std::uint64_t>(content.bytes().size()));
    header.number(checksum(content.bytes().data(), content.bytes().size()));
    const std::string unfinished = path + ".part";
    std::ofstream output(unfinished, std::ios::binary | std::ios::trunc);
    output << magic << header.bytes() << content.bytes();
    output.close();
    if (!output || std::rename(unfinished.c_str(), path.c_str()) != 0) {
        std::remove(unfinished.c_str());
        throw std::runtime_error(path + ": cannot be written");
    }
}

Index load(const std::string &path) {
    const std::string bytes = read_file(path);
    Reader reader(bytes, path);
    if (bytes.size() < header_size || reader.take(magic.size()) != magic) {
        throw std::runtime_error(path + ": is no index; `search index` makes one");
    }
    if (const auto found = reader.number<std::uint32_t>(); found != version) {
        reader.fail("has version " + std::to_string(found) + " of the format, and this program reads version " + std::to_string(version));
    }
    const auto size = reader.number<std::uint64_t>(), sum = reader.number<std::uint64_t>();
    if (size != bytes.size() - header_size) reader.fail("is damaged: it has " + std::to_string(bytes.size()) + " bytes, and " + std::to_string(size + header_size) + " are expected");
    if (checksum(bytes.data() + header_size, bytes.size() - header_size) != sum) reader.fail("is damaged: its checksum is wrong");

    Index index;
    index.folder = reader.string();
    index.model = reader.string();
    index.precision = reader.number<std::uint32_t>();
    index.dimension = reader.number<std::uint32_t>();
    index.probe = reader.floats();
    index.files.resize(reader.count(8));
    for (auto &file : index.files) file = reader.string();
    index.passages.resize(reader.count(4 + 4 + 8 + 8 + 8));
    for (auto &passage : index.passages) {
        passage.file = reader.number<std::uint32_t>();
        passage.line = reader.number<std::uint32_t>();
        passage.start = reader.number<std::uint64_t>();
        passage.end = reader.number<std::uint64_t>();
        passage.text = reader.string();
        if (passage.file >= index.files.size() || passage.start > passage.end) reader.fail("is damaged: a passage is in no file");
    }
    index.vectors = reader.floats();
    index.graph_size = reader.number<std::uint64_t>();
    index.graph_checksum = reader.number<std::uint64_t>();
    const bool whole = index.dimension > 0 && index.probe.size() == index.dimension &&
                       index.vectors.size() / index.dimension == index.passages.size() && index.vectors.size() % index.dimension == 0;
    if (!whole || !reader.at_end()) reader.fail("is damaged: its parts do not fit each other");
    return index;
}

} // namespace search

#include "tests.hpp"

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <unistd.h>

namespace {
int failures = 0;
}

std::vector<Case> &cases() {
    static std::vector<Case> all;
    return all;
}

void failed(const char *file, int line, const std::string &what) {
    ++failures;
    std::cout << file << ":" << line << ": " << what << "\n";
}

Scratch::Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "kinglet-search-XXXXXX").string();
    if (mkdtemp(&name[0]) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
}

Scratch::~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string Scratch::write(const std::string &name, const std::string &content) const {
    const std::filesystem::path place = path(name);
    std::filesystem::create_directories(place.parent_path());
    std::ofstream(place, std::ios::binary) << content;
    return place.string();
}

std::string read(const std::string &path) {
    std::ifstream input(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(input), std::istreambuf_iterator<char>()};
}

std::string fixture(const std::string &name) {
    const char *place = std::getenv("KINGLET_FIXTURES");
    return std::string(place ? place : "../../../tests/fixtures") + "/" + name;
}

std::string minilm() {
    const char *place = std::getenv("KINGLET_MINILM");
    return place && std::filesystem::exists(std::string(place) + "/config.json") ? place : "";
}

int main(int argc, char **argv) {
    const std::string group = argc > 1 ? argv[1] : "";
    int run = 0;
    for (const Case &test : cases()) {
        if (!group.empty() && group != test.group) continue;
        const int before = failures;
        try {
            test.run();
        } catch (const std::exception &error) {
            failed(test.group, 0, std::string("exception: ") + error.what());
        }
        ++run;
        std::cout << (failures == before ? "ok " : "FAILED ") << test.group << " " << test.name << "\n";
    }
    if (run == 0) std::cout << "no tests\n";
    return failures > 0 || run == 0 ? 1 : 0;
}

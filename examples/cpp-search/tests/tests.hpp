// The smallest test framework: cases register themselves, and an expectation that fails is printed with its place.

#ifndef SEARCH_TESTS_HPP
#define SEARCH_TESTS_HPP

#include <iostream>
#include <sstream>
#include <string>
#include <vector>

struct Case {
    const char *group;
    const char *name;
    void (*run)();
};

std::vector<Case> &cases();
void failed(const char *file, int line, const std::string &what);

struct Register {
    Register(const char *group, const char *name, void (*run)()) { cases().push_back({group, name, run}); }
};

#define TEST(group, name) \
    static void test_##group##_##name(); \
    static const Register register_##group##_##name(#group, #name, test_##group##_##name); \
    static void test_##group##_##name()

#define EXPECT(condition) \
    do { \
        if (!(condition)) failed(__FILE__, __LINE__, #condition); \
    } while (false)

#define EXPECT_EQUAL(got, expected) \
    do { \
        const auto got_value = (got); \
        const auto expected_value = (expected); \
        if (!(got_value == expected_value)) { \
            std::ostringstream what; \
            what << #got << " is " << got_value << ", and " << expected_value << " is expected"; \
            failed(__FILE__, __LINE__, what.str()); \
        } \
    } while (false)

/// The message of the exception that a call throws; empty if it throws none.
template <class Call>
std::string thrown_by(Call call) {
    try {
        call();
    } catch (const std::exception &error) {
        return error.what();
    }
    return "";
}

inline bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

/// A folder that is removed at the end of the test.
class Scratch {
public:
    Scratch();
    ~Scratch();
    std::string path(const std::string &name) const { return path_ + "/" + name; }
    std::string write(const std::string &name, const std::string &content) const;
    const std::string &root() const { return path_; }

private:
    std::string path_;
};

std::string read(const std::string &path);

/// A model's path from the environment, or empty.
std::string fixture(const std::string &name);
std::string minilm();

#endif

// How calls fail: Status, Error, and Result for those who do without exceptions.

#ifndef KINGLET_RESULT_HPP
#define KINGLET_RESULT_HPP

#include <kinglet.h>
#include "span.hpp"

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace kinglet {
inline namespace KINGLET_FORM {

// The outcome of a call. Later versions of the library may return numbers that have no name here.
enum class Status : std::uint32_t {
    Ok = KINGLET_STATUS_OK,
    InvalidArgument = KINGLET_STATUS_INVALID_ARGUMENT,
    NotFound = KINGLET_STATUS_NOT_FOUND,
    Io = KINGLET_STATUS_IO,
    InvalidFile = KINGLET_STATUS_INVALID_FILE,
    Unsupported = KINGLET_STATUS_UNSUPPORTED,
    OutOfMemory = KINGLET_STATUS_OUT_OF_MEMORY,
    Cancelled = KINGLET_STATUS_CANCELLED,
    Panic = KINGLET_STATUS_PANIC,
    Internal = KINGLET_STATUS_INTERNAL,
};

// The status's name in the C header, for instance "KINGLET_STATUS_NOT_FOUND". Any thread.
inline std::string_view status_name(Status status) noexcept {
    return kinglet_status_name(static_cast<kinglet_status>(status));
}

// The version of the loaded library, for instance "0.1.0". Any thread.
inline std::string_view version() noexcept { return kinglet_version(); }

// Why a call failed: what() says it and what to do about it, status() classifies it. A value like any other: it may be copied and
// read from any thread.
class Error : public std::runtime_error {
public:
    Error(Status status, const std::string &message) : std::runtime_error(message), status_(status) {}

    Status status() const noexcept { return status_; }

private:
    Status status_;
};

// A value, or the Error that there is instead of it. Use it as a std::optional that knows why it is empty. A value like any other.
template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) noexcept : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) noexcept : state_(std::in_place_index<1>, std::move(error)) {}

    bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    // The value. Only if there is one.
    T &operator*() & noexcept { return *std::get_if<0>(&state_); }
    const T &operator*() const & noexcept { return *std::get_if<0>(&state_); }
    T &&operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
    T *operator->() noexcept { return std::get_if<0>(&state_); }
    const T *operator->() const noexcept { return std::get_if<0>(&state_); }

    // The error. Only if there is no value.
    Error &error() & noexcept { return *std::get_if<1>(&state_); }
    const Error &error() const & noexcept { return *std::get_if<1>(&state_); }

    Status status() const noexcept { return has_value() ? Status::Ok : error().status(); }

    template <class Other>
    T value_or(Other &&other) && {
        return has_value() ? std::move(**this) : static_cast<T>(std::forward<Other>(other));
    }

#if KINGLET_EXCEPTIONS
    // The value; throws the error if there is none.
    T &value() & {
        check();
        return **this;
    }
    const T &value() const & {
        check();
        return **this;
    }
    T &&value() && {
        check();
        return std::move(**this);
    }

private:
    void check() const {
        if (!has_value()) throw error();
    }
#endif

private:
    std::variant<T, Error> state_;
};

// Success, or an Error.
template <>
class [[nodiscard]] Result<void> {
public:
    Result() noexcept = default;
    Result(Error error) noexcept : error_(std::move(error)) {}

    bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }

    // The error. Only if there is one.
    const Error &error() const noexcept { return *error_; }

    Status status() const noexcept { return error_ ? error_->status() : Status::Ok; }

#if KINGLET_EXCEPTIONS
    // Throws the error if there is one.
    void value() const {
        if (error_) throw Error(*error_);
    }
#endif

private:
    std::optional<Error> error_;
};

namespace detail {

// Makes one C call, `call(kinglet_error **)`, and turns its error into ours.
template <class Call>
Result<void> run(Call call) noexcept {
    kinglet_error *error = nullptr;
    const kinglet_status status = call(&error);
    if (status == KINGLET_STATUS_OK) return {};
    Error mine(static_cast<Status>(status), kinglet_error_message(error));
    kinglet_error_free(error);
    return mine;
}

// Makes a C call that gives out a handle, and wraps it.
template <class Mine, class Handle, class Call>
Result<Mine> make(Call call) noexcept {
    Handle *handle = nullptr;
    const Result<void> made = run([&](kinglet_error **error) { return call(&handle, error); });
    if (!made) return made.error();
    return Mine::template adopt<Mine>(handle);
}

inline kinglet_str to_c(std::string_view text) noexcept {
    return {reinterpret_cast<const std::uint8_t *>(text.data()), text.size()};
}

inline std::string_view to_cpp(kinglet_str text) noexcept {
    return {reinterpret_cast<const char *>(text.data), text.size};
}

} // namespace detail
} // namespace KINGLET_FORM
} // namespace kinglet

#endif

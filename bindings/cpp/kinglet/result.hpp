// How calls fail: Error, and Result, which every operation returns.

#ifndef KINGLET_RESULT_HPP
#define KINGLET_RESULT_HPP

#include "config.hpp"
#include "enums.hpp"
#include "span.hpp"

#include <kinglet.h>

#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace kinglet {
inline namespace KINGLET_FORM {

/// The version of the loaded library, for instance "0.1.0". Any thread.
inline std::string_view version() noexcept { return kinglet_version(); }

/// Why a call failed: what() says what went wrong and what to do about it, status() classifies it. It may be copied and read from any
/// thread.
class Error : public std::runtime_error {
public:
    Error(Status status, const std::string &message, std::exception_ptr cause = nullptr)
        : std::runtime_error(message), status_(status), cause_(std::move(cause)) {}

    Status status() const noexcept { return status_; }
    /// The exception of a callback that made the call fail; null if there was none.
    const std::exception_ptr &cause() const noexcept { return cause_; }

private:
    Status status_;
    std::exception_ptr cause_;
};

namespace detail {

// Throws the cause of an error, else the error; without exceptions it ends the program with the message.
[[noreturn]] inline void raise(const Error &error) {
#if KINGLET_EXCEPTIONS
    if (error.cause()) std::rethrow_exception(error.cause());
    throw error;
#else
    std::fprintf(stderr, "kinglet: value() of a failed call: %s\n", error.what());
    std::abort();
#endif
}

} // namespace detail

/// A value or the Error that took its place.
///
///     auto model = kinglet::Model::load(path).value();     // throws the Error
///     auto loaded = kinglet::Model::load(path);            // or without exceptions:
///     if (!loaded) return report(loaded.error());
///
/// value() throws the Error, or the exception of a callback that made the call fail; compiled with -fno-exceptions it prints the
/// message and aborts.
template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) noexcept : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) noexcept : state_(std::in_place_index<1>, std::move(error)) {}

    bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    T &value() & {
        if (!has_value()) detail::raise(error());
        return **this;
    }
    const T &value() const & {
        if (!has_value()) detail::raise(error());
        return **this;
    }
    // By value, so that a range-for over it lives long enough.
    T value() && {
        if (!has_value()) detail::raise(error());
        return std::move(**this);
    }

    /// The value. There must be one.
    T &operator*() & noexcept { return *get(); }
    const T &operator*() const & noexcept { return *get(); }
    T &&operator*() && noexcept { return std::move(*get()); }
    T *operator->() noexcept { return get(); }
    const T *operator->() const noexcept { return get(); }

    /// The error. There must be no value.
    const Error &error() const noexcept {
        assert(!has_value());
        return *std::get_if<1>(&state_);
    }

    Status status() const noexcept { return has_value() ? Status::Ok : error().status(); }

    template <class Other>
    T value_or(Other &&other) && {
        return has_value() ? std::move(**this) : static_cast<T>(std::forward<Other>(other));
    }

private:
    T *get() noexcept {
        assert(has_value());
        return std::get_if<0>(&state_);
    }
    const T *get() const noexcept {
        assert(has_value());
        return std::get_if<0>(&state_);
    }

    std::variant<T, Error> state_;
};

/// Success or an Error.
template <>
class [[nodiscard]] Result<void> {
public:
    Result() noexcept = default;
    Result(Error error) noexcept : error_(std::move(error)) {}

    bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    void value() const {
        if (error_) detail::raise(*error_);
    }
    /// The error. There must be one.
    const Error &error() const noexcept {
        assert(error_);
        return *error_;
    }
    Status status() const noexcept { return error_ ? error_->status() : Status::Ok; }

private:
    std::optional<Error> error_;
};

namespace detail {

// Makes one C call, `call(kinglet_error **)`, and takes over its error; `thrown` is what a callback threw meanwhile.
template <class Call>
Result<void> run(Call call, const std::exception_ptr *thrown = nullptr) noexcept {
    kinglet_error *error = nullptr;
    const kinglet_status status = call(&error);
    if (status == KINGLET_STATUS_OK) return {};
    Error mine(static_cast<Status>(status), kinglet_error_message(error), thrown ? *thrown : nullptr);
    kinglet_error_free(error);
    return mine;
}

inline kinglet_str to_c(std::string_view text) noexcept { return {text.data(), text.size()}; }
inline std::string_view to_cpp(kinglet_str text) noexcept { return {text.data, text.size}; }

// Owns a C handle.
template <class Handle, void (*Free)(Handle *)>
class Owner {
public:
    /// The C handle, still owned by this object.
    Handle *get() const noexcept { return handle_.get(); }

    // Takes a handle over.
    template <class Mine>
    static Result<Mine> adopt(Handle *handle) noexcept {
        return Mine(handle);
    }

protected:
    explicit Owner(Handle *handle) noexcept : handle_(handle) {}

private:
    struct Deleter {
        void operator()(Handle *handle) const noexcept { Free(handle); }
    };
    std::unique_ptr<Handle, Deleter> handle_;
};

// Owns a C handle with the view of its contents, which is read once.
template <class Handle, class View, kinglet_status (*Read)(const Handle *, View *, kinglet_error **), void (*Free)(Handle *)>
class Holder : public Owner<Handle, Free> {
public:
    Holder(Holder &&other) noexcept : Owner<Handle, Free>(std::move(other)), view_(std::exchange(other.view_, View{})) {}
    Holder &operator=(Holder &&other) noexcept {
        Owner<Handle, Free>::operator=(std::move(other));
        view_ = std::exchange(other.view_, View{});
        return *this;
    }

    template <class Mine>
    static Result<Mine> adopt(Handle *handle) noexcept {
        Mine mine(handle);
        const Result<void> read = mine.read();
        if (!read) return read.error();
        return mine;
    }

protected:
    explicit Holder(Handle *handle) noexcept : Owner<Handle, Free>(handle) {}

    const View &view() const noexcept { return view_; }

    Result<void> read() noexcept {
        view_.struct_size = sizeof(View);
        return run([&](kinglet_error **error) { return Read(this->get(), &view_, error); });
    }

    // Item i's part of an array with `width` values per entry, where item i has the entries starts[i] to starts[i + 1].
    template <class T>
    static Span<const T> part(const T *values, const std::size_t *starts, std::size_t i, std::size_t width = 1) noexcept {
        return {values + starts[i] * width, (starts[i + 1] - starts[i]) * width};
    }

private:
    View view_{};
};

// Makes a C call that returns a handle, and wraps it.
template <class Mine, class Handle, class Call>
Result<Mine> make(Call call, const std::exception_ptr *thrown = nullptr) noexcept {
    Handle *handle = nullptr;
    const Result<void> made = run([&](kinglet_error **error) { return call(&handle, error); }, thrown);
    if (!made) return made.error();
    return Mine::template adopt<Mine>(handle);
}

// Makes a C call that returns a text, and copies it.
template <class Call>
Result<std::string> make_string(Call call) noexcept {
    kinglet_text *text = nullptr;
    const Result<void> made = run([&](kinglet_error **error) { return call(&text, error); });
    if (!made) return made.error();
    std::string copy(to_cpp(kinglet_text_str(text)));
    kinglet_text_free(text);
    return copy;
}

} // namespace detail
} // namespace KINGLET_FORM
} // namespace kinglet

#endif

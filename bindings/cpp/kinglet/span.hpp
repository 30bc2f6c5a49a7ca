// A view of an array: std::span where the standard library has it, else the little of it that is needed here.

#ifndef KINGLET_SPAN_HPP
#define KINGLET_SPAN_HPP

#include <cstddef>
#include <type_traits>

#if defined(__has_include)
#if __has_include(<version>)
#include <version>
#endif
#endif

#if defined(__cpp_lib_span)
#include <span>
#define KINGLET_HAS_STD_SPAN 1
#else
#include <cassert>
#include <iterator>
#include <utility>
#define KINGLET_HAS_STD_SPAN 0
#endif

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define KINGLET_EXCEPTIONS 1
#else
#define KINGLET_EXCEPTIONS 0
#endif

// Translation units that see other definitions of these types must not share them by accident: each form has a namespace of its own,
// so a program that hands them across such a border fails to link instead of misbehaving.
#if KINGLET_HAS_STD_SPAN && KINGLET_EXCEPTIONS
#define KINGLET_FORM cpp20
#elif KINGLET_HAS_STD_SPAN
#define KINGLET_FORM cpp20_no_exceptions
#elif KINGLET_EXCEPTIONS
#define KINGLET_FORM cpp17
#else
#define KINGLET_FORM cpp17_no_exceptions
#endif

namespace kinglet {
inline namespace KINGLET_FORM {

#if KINGLET_HAS_STD_SPAN

// A view of somebody else's array.
template <class T>
using Span = std::span<T>;

#else

// A view of somebody else's array. Reading the same array from several threads is safe.
template <class T>
class Span {
public:
    using element_type = T;
    using value_type = std::remove_cv_t<T>;
    using size_type = std::size_t;
    using iterator = T *;

    constexpr Span() noexcept = default;
    constexpr Span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}

    // Anything that lies in one piece: a vector, an array, a Span of non-const values.
    template <class Array,
              class = std::enable_if_t<!std::is_same_v<std::remove_cv_t<std::remove_reference_t<Array>>, Span> &&
                                       (std::is_lvalue_reference_v<Array> || std::is_const_v<T>)>,
              class Element = std::remove_pointer_t<decltype(std::data(std::declval<Array &>()))>,
              class = std::enable_if_t<std::is_convertible_v<Element (*)[], T (*)[]>>>
    constexpr Span(Array &&array) noexcept : data_(std::data(array)), size_(std::size(array)) {}

    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &front() const noexcept { return (*this)[0]; }
    constexpr T &back() const noexcept { return (*this)[size_ - 1]; }

    constexpr T &operator[](std::size_t index) const noexcept {
        assert(index < size_);
        return data_[index];
    }

    constexpr Span subspan(std::size_t offset, std::size_t count) const noexcept {
        assert(offset <= size_ && count <= size_ - offset);
        return Span(data_ + offset, count);
    }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

#endif

} // namespace KINGLET_FORM
} // namespace kinglet

#endif

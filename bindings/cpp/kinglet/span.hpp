// A view of an array, the same in every C++ standard.

#ifndef KINGLET_SPAN_HPP
#define KINGLET_SPAN_HPP

#include "config.hpp"

#include <cassert>
#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

namespace kinglet {
inline namespace KINGLET_FORM {

/// A view of an array that it does not own. It converts from and to std::span. Reading is safe from any thread.
template <class T>
class Span {
public:
    using element_type = T;
    using value_type = std::remove_cv_t<T>;
    using size_type = std::size_t;
    using iterator = T *;

    constexpr Span() noexcept = default;
    constexpr Span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}

    /// Any contiguous range: a vector, an array, a std::span, a Span of non-const values.
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

namespace detail {

// begin() and end() for a class with size() and operator[].
template <class Range>
class Indexed {
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using difference_type = std::ptrdiff_t;
        using pointer = void;

        iterator() noexcept = default;
        iterator(const Range *range, std::size_t index) noexcept : range_(range), index_(index) {}

        auto operator*() const noexcept { return (*range_)[index_]; }
        iterator &operator++() noexcept {
            ++index_;
            return *this;
        }
        iterator operator++(int) noexcept {
            iterator before = *this;
            ++index_;
            return before;
        }
        friend bool operator==(const iterator &a, const iterator &b) noexcept { return a.index_ == b.index_; }
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return a.index_ != b.index_; }

    private:
        const Range *range_ = nullptr;
        std::size_t index_ = 0;
    };

    iterator begin() const noexcept { return {static_cast<const Range *>(this), 0}; }
    iterator end() const noexcept {
        const auto *range = static_cast<const Range *>(this);
        return {range, range->size()};
    }
};

} // namespace detail
} // namespace KINGLET_FORM
} // namespace kinglet

#endif

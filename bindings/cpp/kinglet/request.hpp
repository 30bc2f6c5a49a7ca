// Calls in the background: Request, which Model::submit_embed and its like return.

#ifndef KINGLET_REQUEST_HPP
#define KINGLET_REQUEST_HPP

#include "generation.hpp"
#include "options.hpp"
#include "result.hpp"
#include "results.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <utility>

namespace kinglet {
inline namespace KINGLET_FORM {

/// Called when a request is done, on a thread of the model's. It must not wait for other requests. Exceptions that leave it are dropped.
using OnDone = std::function<void()>;

namespace detail {

// What a request's callbacks need. The request holds it, and so does the library until it has called `done`.
struct RequestState {
    OnDone on_done;
    OnPiece on_piece;
    std::exception_ptr thrown{};

    // Called by C exactly once for each request, with its own shared pointer.
    static void done(void *user_data) noexcept {
        const std::unique_ptr<std::shared_ptr<RequestState>> own(static_cast<std::shared_ptr<RequestState> *>(user_data));
        if (!(*own)->on_done) return;
#if KINGLET_EXCEPTIONS
        try {
            (*own)->on_done();
        } catch (...) {
            // The request is done; there is nobody to tell.
        }
#else
        (*own)->on_done();
#endif
    }
};

// How the result of a kind is taken.
template <class T>
struct Taken;
template <>
struct Taken<Embeddings> {
    using Handle = kinglet_embeddings;
    static constexpr auto take = &kinglet_request_take_embeddings;
};
template <>
struct Taken<Classifications> {
    using Handle = kinglet_classifications;
    static constexpr auto take = &kinglet_request_take_classifications;
};
template <>
struct Taken<TokenClassifications> {
    using Handle = kinglet_token_classifications;
    static constexpr auto take = &kinglet_request_take_token_classifications;
};
template <>
struct Taken<Generations> {
    using Handle = kinglet_generations;
    static constexpr auto take = &kinglet_request_take_generations;
};

} // namespace detail

/// A call that runs in the background, as std::future is one, made by Model::submit_embed and its like. It holds a reference to its model.
/// Destroyed before it is done, it cancels the call and does not wait: a callback of the call may then still be running, or run once more.
/// One thread at a time may use it, except for cancel().
///
///     auto request = model.submit_embed({"a small bird"}).value();
///     // … other work …
///     kinglet::Embeddings embeddings = request.take().value();
template <class T>
class Request : public detail::Owner<kinglet_request, kinglet_request_free> {
public:
    /// Whether take() returns at once.
    bool ready() const noexcept { return kinglet_request_wait(get(), 0) != 0; }

    /// Waits until it is done.
    void wait() const noexcept { (void)kinglet_request_wait(get(), UINT64_MAX); }

    /// Waits until it is done, at most for `timeout`, rounded up to milliseconds. Returns whether it is.
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> timeout) const noexcept {
        using std::chrono::milliseconds;
        auto rounded = std::chrono::duration_cast<milliseconds>(timeout);
        if (rounded < timeout) ++rounded;
        return kinglet_request_wait(get(), rounded.count() > 0 ? static_cast<std::uint64_t>(rounded.count()) : 0) != 0;
    }

    /// Cancels the call, which is then done soon, with Status::Cancelled or with its result. May be called from any thread.
    void cancel() const noexcept { kinglet_request_cancel(get()); }

    /// Waits, and takes the result or the call's error. Status::InvalidArgument if it was taken before.
    Result<T> take() noexcept {
        wait();
        return detail::make<T, typename detail::Taken<T>::Handle>(
            [&](typename detail::Taken<T>::Handle **made, kinglet_error **error) {
                return detail::Taken<T>::take(get(), made, error);
            },
            state_ ? &state_->thrown : nullptr);
    }

private:
    friend class Model;
    Request(kinglet_request *handle, std::shared_ptr<detail::RequestState> state) noexcept : Owner(handle), state_(std::move(state)) {}

    // Makes `call(callback, user_data, kinglet_request **, kinglet_error **)`.
    template <class Call>
    static Result<Request> submit(std::shared_ptr<detail::RequestState> state, Call call) noexcept {
        auto own = std::make_unique<std::shared_ptr<detail::RequestState>>(state);
        kinglet_request *handle = nullptr;
        const Result<void> made = detail::run([&](kinglet_error **error) {
            return call(&detail::RequestState::done, static_cast<void *>(own.get()), &handle, error);
        });
        if (!made) return made.error();
        // The library has it until it has called `done`.
        (void)own.release();
        return Request(handle, std::move(state));
    }

    std::shared_ptr<detail::RequestState> state_;
};

} // namespace KINGLET_FORM
} // namespace kinglet

#endif

// What comes out of calls. Each type owns its arrays and lends them as spans, without copies; it may outlive the model that made it.

#ifndef KINGLET_RESULTS_HPP
#define KINGLET_RESULTS_HPP

#include "result.hpp"
#include "span.hpp"

#include <kinglet.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kinglet {
inline namespace KINGLET_FORM {
namespace detail {

// A C handle with the view of what it holds, which is read once.
template <class Handle, class View, kinglet_status (*Read)(const Handle *, View *, kinglet_error **), void (*Free)(Handle *)>
class Holder {
public:
    Holder(Holder &&other) noexcept : handle_(std::move(other.handle_)), view_(std::exchange(other.view_, View{})) {}
    Holder &operator=(Holder &&other) noexcept {
        Holder taken(std::move(other));
        std::swap(handle_, taken.handle_);
        std::swap(view_, taken.view_);
        return *this;
    }

    // The C handle, still owned by this object, and its view.
    const Handle *get() const noexcept { return handle_.get(); }
    const View &view() const noexcept { return view_; }

    // Takes a handle over.
    template <class Mine>
    static Result<Mine> adopt(Handle *handle) noexcept {
        Mine mine(handle);
        const Result<void> read = run([&](kinglet_error **error) { return mine.read(error); });
        if (!read) return read.error();
        return mine;
    }

protected:
    explicit Holder(Handle *handle) noexcept : handle_(handle) {}

    // Item i's part of an array with `width` values an entry, where item i has the entries starts[i] to starts[i + 1].
    template <class T>
    static Span<const T> part(const T *values, const std::size_t *starts, std::size_t i, std::size_t width = 1) noexcept {
        return {values + starts[i] * width, (starts[i + 1] - starts[i]) * width};
    }

private:
    kinglet_status read(kinglet_error **error) noexcept {
        view_.struct_size = sizeof(View);
        return Read(handle_.get(), &view_, error);
    }

    struct Deleter {
        void operator()(Handle *handle) const noexcept { Free(handle); }
    };
    std::unique_ptr<Handle, Deleter> handle_;
    View view_{};
};

using EncodingHolder = Holder<kinglet_encoding, kinglet_encoding_view, kinglet_encoding_read, kinglet_encoding_free>;
using EmbeddingsHolder =
    Holder<kinglet_embeddings, kinglet_embeddings_view, kinglet_embeddings_read, kinglet_embeddings_free>;
using ClassificationsHolder = Holder<kinglet_classifications, kinglet_classifications_view, kinglet_classifications_read,
                                     kinglet_classifications_free>;
using TokenClassificationsHolder = Holder<kinglet_token_classifications, kinglet_token_classifications_view,
                                          kinglet_token_classifications_read, kinglet_token_classifications_free>;
using HiddenStatesHolder = Holder<kinglet_hidden_states, kinglet_hidden_states_view, kinglet_hidden_states_read,
                                  kinglet_hidden_states_free>;
using TextHolder = Holder<kinglet_text, kinglet_text_view, kinglet_text_read, kinglet_text_free>;

// A text that the library made.
class Text : public TextHolder {
public:
    std::string_view view() const noexcept { return to_cpp(TextHolder::view().text); }

private:
    using Holder::Holder;
    friend Holder;
};

} // namespace detail

// A batch as a matrix for those who need padding; Kinglet does not.
struct Padded {
    std::size_t rows = 0;
    // Tokens in a row.
    std::size_t length = 0;
    // `rows * length` values, row by row; in the mask 1 stands for tokens, 0 for padding.
    std::vector<std::uint32_t> ids;
    std::vector<std::uint32_t> attention_mask;
};

// A tokenised batch: the tokens of all texts end to end. Const members: any thread.
class Encoding : public detail::EncodingHolder {
public:
    // Sequences in the batch, and tokens in all of them.
    std::size_t size() const noexcept { return view().count; }
    std::size_t token_count() const noexcept { return view().token_count; }
    // The most tokens in one sequence.
    std::size_t longest() const noexcept { return view().longest; }
    std::uint32_t pad_id() const noexcept { return view().pad_id; }

    // A value a token, of the whole batch.
    Span<const std::uint32_t> ids() const noexcept { return {view().ids, token_count()}; }
    Span<const std::uint32_t> type_ids() const noexcept { return {view().type_ids, token_count()}; }
    // 1 for tokens that the tokenizer added.
    Span<const std::uint8_t> special_tokens_mask() const noexcept { return {view().special_tokens_mask, token_count()}; }
    // Which text of a pair, 0 or 1, or KINGLET_NO_SEQUENCE.
    Span<const std::uint8_t> sequences() const noexcept { return {view().sequences, token_count()}; }
    // Where each token lies in its text, in bytes; empty if that was not asked for.
    Span<const kinglet_span> offsets() const noexcept { return {view().offsets, view().offsets ? token_count() : 0}; }

    // The same of sequence i.
    Span<const std::uint32_t> ids(std::size_t i) const noexcept { return part(view().ids, view().starts, i); }
    Span<const std::uint32_t> type_ids(std::size_t i) const noexcept { return part(view().type_ids, view().starts, i); }
    Span<const std::uint8_t> special_tokens_mask(std::size_t i) const noexcept {
        return part(view().special_tokens_mask, view().starts, i);
    }
    Span<const std::uint8_t> sequences(std::size_t i) const noexcept { return part(view().sequences, view().starts, i); }
    Span<const kinglet_span> offsets(std::size_t i) const noexcept {
        return view().offsets ? part(view().offsets, view().starts, i) : Span<const kinglet_span>();
    }

    Span<const std::size_t> lengths() const noexcept { return {view().lengths, size()}; }
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

    // The batch padded to `length` tokens (0: to its longest sequence) with `pad_id` (none: the tokenizer's).
    Result<Padded> try_pad(std::size_t length = 0, std::optional<std::uint32_t> pad_id = std::nullopt) const noexcept {
        Padded padded;
        padded.rows = size();
        padded.length = length ? length : longest();
        if (padded.length != 0 && padded.rows > padded.ids.max_size() / padded.length) {
            return Error(Status::OutOfMemory, "no memory holds rows of " + std::to_string(length) + " tokens; ask for shorter ones");
        }
        padded.ids.resize(padded.rows * padded.length);
        padded.attention_mask.resize(padded.ids.size());
        const Result<void> done = detail::run([&](kinglet_error **error) {
            return kinglet_encoding_pad(get(), padded.length, pad_id.value_or(this->pad_id()), padded.ids.data(),
                                        padded.attention_mask.data(), padded.ids.size(), error);
        });
        if (!done) return done.error();
        return padded;
    }
#if KINGLET_EXCEPTIONS
    Padded pad(std::size_t length = 0, std::optional<std::uint32_t> pad_id = std::nullopt) const {
        return try_pad(length, pad_id).value();
    }
#endif

private:
    using Holder::Holder;
    friend Holder;
};

// The embeddings of a batch of texts. Const members: any thread.
class Embeddings : public detail::EmbeddingsHolder {
public:
    // Texts in the batch.
    std::size_t size() const noexcept { return view().count; }
    // Values in a row.
    std::size_t dimension() const noexcept { return view().dimension; }
    // Rows in all: one a text, or with Pooling::None one a token.
    std::size_t row_count() const noexcept { return view().row_count; }

    // Text i's vector; with Pooling::None its tokens' vectors end to end.
    Span<const float> operator[](std::size_t i) const noexcept { return part(view().values, view().starts, i, dimension()); }
    // All rows.
    Span<const float> values() const noexcept { return {view().values, row_count() * dimension()}; }
    std::size_t token_count(std::size_t i) const noexcept { return view().token_counts[i]; }
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;
};

// The scores of a batch of texts or pairs. Const members: any thread.
class Classifications : public detail::ClassificationsHolder {
public:
    // Texts or pairs in the batch.
    std::size_t size() const noexcept { return view().count; }
    std::size_t label_count() const noexcept { return view().label_count; }

    // The scores of text i, a value a label.
    Span<const float> operator[](std::size_t i) const noexcept {
        return {view().scores + i * label_count(), label_count()};
    }
    Span<const float> scores() const noexcept { return {view().scores, size() * label_count()}; }
    // The label with the highest score.
    std::uint32_t best(std::size_t i) const noexcept { return view().best[i]; }
    std::size_t token_count(std::size_t i) const noexcept { return view().token_counts[i]; }
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;
};

// A labelled piece of a text.
struct Entity {
    // Which text of the batch, and which bytes of it: `start` to `end` (excluded).
    std::size_t text = 0;
    std::size_t start = 0;
    std::size_t end = 0;
    // The label, or with Aggregation::Simple its kind. Valid as long as the TokenClassifications.
    std::string_view name;
    // The label of its first token.
    std::uint32_t label = 0;
    float score = 0;
};

// The labelled tokens of a batch of texts. Const members: any thread.
class TokenClassifications : public detail::TokenClassificationsHolder {
public:
    // Texts in the batch.
    std::size_t size() const noexcept { return view().count; }

    // Entities in the order of the texts.
    std::size_t entity_count() const noexcept { return view().entity_count; }
    Entity entity(std::size_t i) const noexcept {
        const kinglet_entity &c = view().entities[i];
        return {c.text, c.start, c.end, detail::to_cpp(c.name), c.label, c.score};
    }
    std::vector<Entity> entities() const {
        std::vector<Entity> all;
        all.reserve(entity_count());
        for (std::size_t i = 0; i < entity_count(); ++i) all.push_back(entity(i));
        return all;
    }

    std::size_t token_count() const noexcept { return view().token_count; }
    std::size_t label_count() const noexcept { return view().label_count; }
    // A row of `label_count` scores a token, special tokens included: of text i, and of all.
    Span<const float> operator[](std::size_t i) const noexcept {
        return part(view().scores, view().starts, i, label_count());
    }
    Span<const float> scores() const noexcept { return {view().scores, token_count() * label_count()}; }
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;
};

// The last hidden states of a batch of token sequences. Const members: any thread.
class HiddenStates : public detail::HiddenStatesHolder {
public:
    // Sequences in the batch.
    std::size_t size() const noexcept { return view().count; }
    std::size_t token_count() const noexcept { return view().token_count; }
    // Values in a row.
    std::size_t width() const noexcept { return view().width; }

    // A row of `width` values a token: of sequence i, and of all.
    Span<const float> operator[](std::size_t i) const noexcept { return part(view().values, view().starts, i, width()); }
    Span<const float> values() const noexcept { return {view().values, token_count() * width()}; }

private:
    using Holder::Holder;
    friend Holder;
};

// Totals of one stage of the work. Calls that run at once add their times.
struct Stage {
    std::uint64_t calls = 0;
    std::uint64_t items = 0;
    std::uint64_t tokens = 0;
    std::chrono::nanoseconds time{0};
};

// What a model's work took since it was loaded or its counters were reset. A value like any other.
class Counters {
public:
    explicit Counters(const kinglet_counters &counters) noexcept : c_(counters) {}

    // Whole calls that succeeded: count, and nanoseconds for min, max, mean, p50, p90, p95, p99, standard_deviation.
    const kinglet_latency &latency() const noexcept { return c_.latency; }

    Stage load() const noexcept { return stage(c_.load); }
    Stage tokenize() const noexcept { return stage(c_.tokenize); }
    Stage pack() const noexcept { return stage(c_.pack); }
    Stage embed() const noexcept { return stage(c_.embed); }
    Stage attention() const noexcept { return stage(c_.attention); }
    Stage linear() const noexcept { return stage(c_.linear); }
    Stage pool() const noexcept { return stage(c_.pool); }
    Stage call() const noexcept { return stage(c_.call); }
    // Steps of generation that read prompts, and those that only add a token to each text.
    Stage prefill() const noexcept { return stage(c_.prefill); }
    Stage decode() const noexcept { return stage(c_.decode); }
    // Choosing tokens, and turning them into text.
    Stage sample() const noexcept { return stage(c_.sample); }
    Stage detokenize() const noexcept { return stage(c_.detokenize); }
    // From a call's beginning to the first token of each text.
    Stage first_token() const noexcept { return stage(c_.first_token); }
    // What the answer cache knew, and what it was asked and did not know.
    Stage answer_hit() const noexcept { return stage(c_.answer_hit); }
    Stage answer_miss() const noexcept { return stage(c_.answer_miss); }
    // With prompt_lookup_num_tokens: what was drafted, and what of it stood, so that it needed no step of its own.
    Stage draft() const noexcept { return stage(c_.draft); }
    Stage accept() const noexcept { return stage(c_.accept); }
    // Values carried to and from a GPU; items are their bytes. The other stages show how long a GPU's work took to hand over.
    Stage transfer() const noexcept { return stage(c_.transfer); }
    // Bytes that the model holds on a GPU now; 0 for one that runs on the CPU.
    std::uint64_t device_memory() const noexcept { return c_.device_memory; }

    // All of them with their names, those of generation and of GPUs last.
    std::array<std::pair<std::string_view, Stage>, 18> stages() const noexcept {
        return {{{"load", load()},
                 {"tokenize", tokenize()},
                 {"pack", pack()},
                 {"embed", embed()},
                 {"attention", attention()},
                 {"linear", linear()},
                 {"pool", pool()},
                 {"call", call()},
                 {"prefill", prefill()},
                 {"decode", decode()},
                 {"sample", sample()},
                 {"detokenize", detokenize()},
                 {"first_token", first_token()},
                 {"answer_hit", answer_hit()},
                 {"answer_miss", answer_miss()},
                 {"draft", draft()},
                 {"accept", accept()},
                 {"transfer", transfer()}}};
    }

private:
    static Stage stage(const kinglet_stage &c) noexcept {
        return {c.calls, c.items, c.tokens, std::chrono::nanoseconds(c.nanoseconds)};
    }

    kinglet_counters c_;
};

} // namespace KINGLET_FORM
} // namespace kinglet

#endif

// Generating text: what may be asked of it, what comes out, prefixes that prompts share, and chats.

#ifndef KINGLET_GENERATION_HPP
#define KINGLET_GENERATION_HPP

#include "options.hpp"
#include "result.hpp"
#include "results.hpp"
#include "span.hpp"

#include <kinglet.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if KINGLET_EXCEPTIONS
#include <exception>
#endif

namespace kinglet {
inline namespace KINGLET_FORM {

// When beam search stops looking.
enum class EarlyStopping : std::uint32_t {
    No = KINGLET_EARLY_STOPPING_NO,
    Yes = KINGLET_EARLY_STOPPING_YES,
    Never = KINGLET_EARLY_STOPPING_NEVER,
};

// Why a text ended.
enum class FinishReason : std::uint32_t {
    // It has not, yet.
    None = KINGLET_FINISH_NONE,
    // The model chose an end token, or the grammar allowed nothing more.
    Eos = KINGLET_FINISH_EOS,
    StopString = KINGLET_FINISH_STOP_STRING,
    // The limit of new tokens, or of the model's positions, was reached.
    Length = KINGLET_FINISH_LENGTH,
};

class Model;

namespace detail {

// A C handle that has no view.
template <class Handle, void (*Free)(Handle *)>
class Owner {
public:
    // The C handle, still owned by this object.
    const Handle *get() const noexcept { return handle_.get(); }

    // Takes a handle over.
    template <class Mine>
    static Result<Mine> adopt(Handle *handle) noexcept {
        return Mine(handle);
    }

    Owner(Owner &&) noexcept = default;
    Owner &operator=(Owner &&other) noexcept {
        Owner taken(std::move(other));
        std::swap(log_, taken.log_);
        std::swap(handle_, taken.handle_);
        return *this;
    }

protected:
    explicit Owner(Handle *handle) noexcept : handle_(handle) {}

private:
    friend kinglet::Model;

    struct Deleter {
        void operator()(Handle *handle) const noexcept { Free(handle); }
    };
    // The model's log, which calls on the handle may write to after the Model is gone. It outlives the handle: members go in the
    // reverse of this order.
    std::shared_ptr<const void> log_;
    std::unique_ptr<Handle, Deleter> handle_;
};

using PrefixOwner = Owner<kinglet_prefix, kinglet_prefix_free>;
using SessionOwner = Owner<kinglet_session, kinglet_session_free>;
using GenerationsHolder =
    Holder<kinglet_generations, kinglet_generations_view, kinglet_generations_read, kinglet_generations_free>;
using LogitsHolder = Holder<kinglet_logits, kinglet_logits_view, kinglet_logits_read, kinglet_logits_free>;

} // namespace detail

// The beginning of prompts, computed once: a system prompt, a document that many questions are asked of. Const members: any thread.
class Prefix : public detail::PrefixOwner {
private:
    using Owner::Owner;
    friend Owner;
};

// What a text must be.
class Grammar {
public:
    // Anything.
    Grammar() noexcept = default;
    // JSON that satisfies the schema.
    static Grammar json_schema(std::string schema) noexcept { return {KINGLET_GRAMMAR_JSON_SCHEMA, std::move(schema)}; }
    // A text that the expression matches as a whole.
    static Grammar regex(std::string expression) noexcept { return {KINGLET_GRAMMAR_REGEX, std::move(expression)}; }
    // A text of a grammar in llguidance's form of Lark.
    static Grammar lark(std::string grammar) noexcept { return {KINGLET_GRAMMAR_LARK, std::move(grammar)}; }

    kinglet_grammar kind() const noexcept { return kind_; }
    const std::string &source() const noexcept { return source_; }

private:
    Grammar(kinglet_grammar kind, std::string source) noexcept : kind_(kind), source_(std::move(source)) {}

    kinglet_grammar kind_ = KINGLET_GRAMMAR_NONE;
    std::string source_;
};

// A piece of a text as it grows. Valid during the call that gets it.
struct Piece {
    // The number of the text in the call, and of the sequence where several are drawn for a text.
    std::size_t index = 0;
    std::size_t sequence = 0;
    // What came to the text since its last piece: whole characters, possibly none.
    std::string_view text;
    // The token of this step.
    std::uint32_t token = 0;
    // FinishReason::None but for the text's last piece.
    FinishReason finish = FinishReason::None;
};

// What gets pieces: anything that can be called with a `const Piece &` and returns nothing, or a bool of which false cancels.
class OnPiece {
public:
    OnPiece() noexcept = default;
    OnPiece(std::nullptr_t) noexcept {}

    template <class Callable, class = std::enable_if_t<!std::is_same_v<std::decay_t<Callable>, OnPiece>>,
              class Answer = std::invoke_result_t<std::decay_t<Callable> &, const Piece &>,
              class = std::enable_if_t<std::is_void_v<Answer> || std::is_convertible_v<Answer, bool>>>
    OnPiece(Callable &&callable) {
        if constexpr (std::is_void_v<Answer>) {
            call_ = [mine = std::decay_t<Callable>(std::forward<Callable>(callable))](const Piece &piece) mutable {
                mine(piece);
                return true;
            };
        } else {
            call_ = std::forward<Callable>(callable);
        }
    }

    explicit operator bool() const noexcept { return static_cast<bool>(call_); }
    bool operator()(const Piece &piece) const { return call_(piece); }

private:
    std::function<bool(const Piece &)> call_;
};

// What is wanted of a generation, by Hugging Face's names. What is left unset (or empty) is decided by the model's
// generation_config.json, and where that is silent by Hugging Face's default. Options that contradict each other are an error that
// names them.
struct GenerateOptions {
    // The most tokens to generate; 256 if the model's files say nothing either.
    std::optional<std::size_t> max_new_tokens{};
    // No end token before this many.
    std::optional<std::size_t> min_new_tokens{};
    // Draw tokens at random instead of taking the likeliest. The next six are for that.
    std::optional<bool> do_sample{};
    std::optional<float> temperature{};
    std::optional<std::size_t> top_k{};
    std::optional<float> top_p{};
    std::optional<float> min_p{};
    std::optional<float> typical_p{};
    // The same seed draws the same tokens for a prompt.
    std::optional<std::uint64_t> seed{};
    std::optional<float> repetition_penalty{};
    // Taken from the logits of generated tokens: once, and each time that they occurred.
    std::optional<float> presence_penalty{};
    std::optional<float> frequency_penalty{};
    std::optional<std::size_t> no_repeat_ngram_size{};
    // Beam search. The two after num_return_sequences are for that.
    std::optional<std::size_t> num_beams{};
    std::optional<std::size_t> num_return_sequences{};
    std::optional<float> length_penalty{};
    std::optional<EarlyStopping> early_stopping{};
    // A text ends before one of these, which is not part of it.
    std::vector<std::string> stop_strings{};
    // Token sequences that are never generated.
    std::vector<std::vector<std::uint32_t>> bad_words_ids{};
    std::vector<std::uint32_t> suppress_tokens{};
    // Not generated as the first token.
    std::vector<std::uint32_t> begin_suppress_tokens{};
    std::vector<std::uint32_t> eos_token_id{};
    // The last token where the limit is reached.
    std::vector<std::uint32_t> forced_eos_token_id{};
    // The first token that an encoder-decoder model generates.
    std::optional<std::uint32_t> forced_bos_token_id{};
    std::optional<std::uint32_t> decoder_start_token_id{};
    // Never choose an end token.
    bool ignore_eos = false;
    // Return the log-probability of each token.
    bool logprobs = false;
    // Add the tokenizer's special tokens to the input; leave special tokens out of the text. Unset: both.
    std::optional<bool> add_special_tokens{};
    std::optional<bool> skip_special_tokens{};
    Grammar grammar{};
    // Guess up to this many tokens at once from where the last ones stood before, in the prompt, in the text or in what the encoder
    // read, and keep those that would have been chosen anyway (prompt lookup decoding): what comes is the same, sooner where texts
    // repeat or copy. Not with do_sample or beams. 0, as if unset, guesses nothing.
    std::optional<std::size_t> prompt_lookup_num_tokens{};
    // With that: how many of the last tokens must have stood together before, at most; 2.
    std::optional<std::size_t> max_matching_ngram_size{};
    // A beginning of the prompts that was computed before. It must live until the call has returned.
    const Prefix *prefix = nullptr;
    // Stops the call from another thread, within one step.
    const Cancellation *cancellation = nullptr;
    // Gets the texts piece by piece on the thread that made the call; needs num_beams 1. What it throws cancels: generate() throws it
    // on, try_generate() reports Status::Cancelled. It must not use the Session that it listens to.
    OnPiece on_piece{};
};

namespace detail {

template <class Text>
using IfText = std::enable_if_t<std::is_convertible_v<const Text &, std::string_view>>;

inline kinglet_ids to_c(const std::vector<std::uint32_t> &ids) noexcept { return {ids.data(), ids.size()}; }

// The options of one call as C reads them, with what they point at. They point at `options` too, and at this object.
class GenerateCall {
public:
    explicit GenerateCall(const GenerateOptions &options) noexcept : on_piece_(options.on_piece) {
        (void)kinglet_generate_options_init(&c_, sizeof c_, nullptr);
        set(c_.max_new_tokens, options.max_new_tokens);
        set(c_.min_new_tokens, options.min_new_tokens);
        set(c_.do_sample, options.do_sample);
        set(c_.early_stopping, options.early_stopping);
        set(c_.temperature, options.temperature);
        set(c_.top_p, options.top_p);
        set(c_.min_p, options.min_p);
        set(c_.typical_p, options.typical_p);
        set(c_.repetition_penalty, options.repetition_penalty);
        set(c_.presence_penalty, options.presence_penalty);
        set(c_.frequency_penalty, options.frequency_penalty);
        set(c_.length_penalty, options.length_penalty);
        set(c_.top_k, options.top_k);
        set(c_.no_repeat_ngram_size, options.no_repeat_ngram_size);
        set(c_.num_beams, options.num_beams);
        set(c_.num_return_sequences, options.num_return_sequences);
        set(c_.seed, options.seed);
        c_.has_seed = options.seed.has_value();
        c_.ignore_eos = options.ignore_eos;
        c_.logprobs = options.logprobs;
        set(c_.add_special_tokens, options.add_special_tokens);
        set(c_.skip_special_tokens, options.skip_special_tokens);
        c_.grammar_kind = options.grammar.kind();
        c_.grammar = to_c(std::string_view(options.grammar.source()));
        stop_strings_.reserve(options.stop_strings.size());
        for (const std::string &text : options.stop_strings) stop_strings_.push_back(to_c(std::string_view(text)));
        c_.stop_strings = stop_strings_.data();
        c_.stop_string_count = stop_strings_.size();
        bad_words_.reserve(options.bad_words_ids.size());
        for (const auto &word : options.bad_words_ids) bad_words_.push_back(to_c(word));
        c_.bad_words_ids = bad_words_.data();
        c_.bad_word_count = bad_words_.size();
        c_.suppress_tokens = to_c(options.suppress_tokens);
        c_.begin_suppress_tokens = to_c(options.begin_suppress_tokens);
        c_.eos_token_id = to_c(options.eos_token_id);
        c_.forced_eos_token_id = to_c(options.forced_eos_token_id);
        set(c_.forced_bos_token_id, options.forced_bos_token_id);
        set(c_.decoder_start_token_id, options.decoder_start_token_id);
        set(c_.prompt_lookup_num_tokens, options.prompt_lookup_num_tokens);
        set(c_.max_matching_ngram_size, options.max_matching_ngram_size);
        c_.prefix = options.prefix ? options.prefix->get() : nullptr;
        c_.cancellation = to_c(options.cancellation);
        if (on_piece_) {
            c_.on_piece = &GenerateCall::call;
            c_.on_piece_user_data = this;
        }
    }
    GenerateCall(const GenerateCall &) = delete;
    GenerateCall &operator=(const GenerateCall &) = delete;

    const kinglet_generate_options *get() const noexcept { return &c_; }

#if KINGLET_EXCEPTIONS
    // The result of the call; throws what the listener threw, else the call's error.
    template <class T>
    T value(Result<T> result) const {
        if (thrown_) std::rethrow_exception(thrown_);
        return std::move(result).value();
    }
#endif

private:
    template <class C, class Mine>
    static void set(C &c, const std::optional<Mine> &mine) noexcept {
        if (mine) c = static_cast<C>(*mine);
    }
    static void set(kinglet_choice &c, const std::optional<bool> &mine) noexcept {
        if (mine) c = *mine ? KINGLET_CHOICE_YES : KINGLET_CHOICE_NO;
    }

    // C calls this; nothing may be thrown through it.
    static std::uint32_t call(void *user_data, const kinglet_piece *piece) noexcept {
        auto &self = *static_cast<GenerateCall *>(user_data);
        const Piece mine{piece->index, piece->sequence, to_cpp(piece->text), piece->token, static_cast<FinishReason>(piece->finish)};
#if KINGLET_EXCEPTIONS
        try {
            return self.on_piece_(mine) ? 1 : 0;
        } catch (...) {
            self.thrown_ = std::current_exception();
            return 0;
        }
#else
        return self.on_piece_(mine) ? 1 : 0;
#endif
    }

    kinglet_generate_options c_{};
    const OnPiece &on_piece_;
    std::vector<kinglet_str> stop_strings_;
    std::vector<kinglet_ids> bad_words_;
#if KINGLET_EXCEPTIONS
    std::exception_ptr thrown_{};
#endif
};

} // namespace detail

// A generated text. Valid as long as the Generations.
struct Output {
    std::string_view text;
    // The end token too.
    Span<const std::uint32_t> tokens;
    // A log-probability a token; empty if they were not asked for.
    Span<const float> logprobs;
    // With beams the log-probability over the length to the power of length_penalty; else the sum of the tokens' log-probabilities.
    float score = 0;
    FinishReason finish = FinishReason::None;
};

// What was generated for a batch. Const members: any thread.
class Generations : public detail::GenerationsHolder {
public:
    // Texts in the batch.
    std::size_t size() const noexcept { return view().count; }

    // The best output of text i.
    Output operator[](std::size_t i) const noexcept { return output(i); }
    // Output `number` of text i, the best first; an empty one if there is none.
    Output output(std::size_t i, std::size_t number = 0) const noexcept {
        const kinglet_output c = fetch(i, number);
        return {detail::to_cpp(c.text), {c.tokens, c.token_count}, {c.logprobs, c.logprobs ? c.token_count : 0}, c.score,
                static_cast<FinishReason>(c.finish)};
    }
    // Outputs of text i: num_return_sequences, or fewer where fewer were finished.
    std::size_t output_count(std::size_t i) const noexcept { return fetch(i, 0).output_count; }
    std::vector<Output> outputs(std::size_t i) const {
        std::vector<Output> all;
        const std::size_t count = output_count(i);
        all.reserve(count);
        for (std::size_t number = 0; number < count; ++number) all.push_back(output(i, number));
        return all;
    }

    // Each input's tokens, special ones counted.
    std::size_t input_token_count(std::size_t i) const noexcept { return view().input_token_counts[i]; }
    // Whether an input was cut to what the encoder takes.
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;

    kinglet_output fetch(std::size_t i, std::size_t number) const noexcept {
        kinglet_output c{};
        c.struct_size = sizeof c;
        // On failure it stays empty.
        (void)kinglet_generations_output(get(), i, number, &c, nullptr);
        return c;
    }
};

// The logits of a sequence, before any processing. Const members: any thread.
class Logits : public detail::LogitsHolder {
public:
    // Tokens: rows.
    std::size_t size() const noexcept { return view().token_count; }
    // Values in a row.
    std::size_t vocabulary_size() const noexcept { return view().vocabulary_size; }

    // The row of token i, and all rows.
    Span<const float> operator[](std::size_t i) const noexcept {
        return {view().values + i * vocabulary_size(), vocabulary_size()};
    }
    Span<const float> values() const noexcept { return {view().values, size() * vocabulary_size()}; }

private:
    using Holder::Holder;
    friend Holder;
};

// A message of a chat.
struct Message {
    std::string role;
    std::string content;
};

// A chat with a model, whose earlier turns stay computed; it keeps the model alive. Calls on one session wait for each other,
// but messages() must not run beside those that change the chat.
class Session : public detail::SessionOwner {
public:
    // Adds a message without asking for a reply: a system prompt, an example. `role` is `system`, `user`, `assistant`, or what else the
    // model's template knows.
    Result<void> try_add(std::string_view role, std::string_view content) noexcept {
        return detail::run([&](kinglet_error **error) {
            return kinglet_session_add(get(), detail::to_c(role), detail::to_c(content), error);
        });
    }

    // Adds a user's message and generates the reply, which is added too, and is the Generations' only text. On failure, a cancelled one
    // too, the chat is as it was.
    Result<Generations> try_send(std::string_view content, const GenerateOptions &options = {}) noexcept {
        return send_with(content, detail::GenerateCall(options));
    }

    // Generates the next message from what has been said; otherwise as try_send.
    Result<Generations> try_reply(const GenerateOptions &options = {}) noexcept { return reply_with(detail::GenerateCall(options)); }

    // Forgets the messages from number `messages` on; 0 forgets all. What the rest needs stays computed.
    Result<void> try_rewind(std::size_t messages) noexcept {
        return detail::run([&](kinglet_error **error) { return kinglet_session_rewind(get(), messages, error); });
    }

#if KINGLET_EXCEPTIONS
    // The same calls, throwing Error.

    void add(std::string_view role, std::string_view content) { try_add(role, content).value(); }
    Generations send(std::string_view content, const GenerateOptions &options = {}) {
        detail::GenerateCall call(options);
        return call.value(send_with(content, call));
    }
    Generations reply(const GenerateOptions &options = {}) {
        detail::GenerateCall call(options);
        return call.value(reply_with(call));
    }
    void rewind(std::size_t messages) { try_rewind(messages).value(); }
#endif

    // Messages so far, the replies too.
    std::size_t message_count() const noexcept { return read().message_count; }
    std::vector<Message> messages() const {
        std::vector<Message> all;
        kinglet_message_view c{};
        c.struct_size = sizeof c;
        while (kinglet_session_message(get(), all.size(), &c, nullptr) == KINGLET_STATUS_OK) {
            all.push_back({std::string(detail::to_cpp(c.role)), std::string(detail::to_cpp(c.content))});
        }
        return all;
    }
    // Tokens whose keys and values are held for the next turn.
    std::size_t held_tokens() const noexcept { return read().held_tokens; }

private:
    using Owner::Owner;
    friend Owner;

    Result<Generations> reply_with(const detail::GenerateCall &call) noexcept {
        return detail::make<Generations, kinglet_generations>([&](kinglet_generations **made, kinglet_error **error) {
            return kinglet_session_reply(get(), call.get(), made, error);
        });
    }

    Result<Generations> send_with(std::string_view content, const detail::GenerateCall &call) noexcept {
        return detail::make<Generations, kinglet_generations>([&](kinglet_generations **made, kinglet_error **error) {
            return kinglet_session_send(get(), detail::to_c(content), call.get(), made, error);
        });
    }

    kinglet_session_view read() const noexcept {
        kinglet_session_view c{};
        c.struct_size = sizeof c;
        // On failure, which only a moved-from session knows, it stays empty.
        (void)kinglet_session_read(get(), &c, nullptr);
        return c;
    }
};

} // namespace KINGLET_FORM
} // namespace kinglet

#endif

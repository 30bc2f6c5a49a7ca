// Generating text: options, results, prefixes that prompts share, and chats.

#ifndef KINGLET_GENERATION_HPP
#define KINGLET_GENERATION_HPP

#include "options.hpp"
#include "result.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kinglet {
inline namespace KINGLET_FORM {
namespace detail {

using GenerationsHolder =
    Holder<kinglet_generations, kinglet_generations_view, kinglet_generations_read, kinglet_generations_free>;
using LogitsHolder = Holder<kinglet_logits, kinglet_logits_view, kinglet_logits_read, kinglet_logits_free>;

} // namespace detail

/// A prompt prefix whose KV cache was computed once: a system prompt, a document that many questions are about. It keeps the model alive.
/// Const members: any thread.
class Prefix : public detail::Owner<kinglet_prefix, kinglet_prefix_free> {
private:
    using Owner::Owner;
    friend Owner;
};

/// Constrains generated text.
class Grammar {
public:
    /// Anything.
    Grammar() noexcept = default;
    /// JSON that satisfies the schema.
    static Grammar json_schema(std::string schema) noexcept { return {KINGLET_GRAMMAR_KIND_JSON_SCHEMA, std::move(schema)}; }
    /// Text that the expression matches as a whole.
    static Grammar regex(std::string expression) noexcept { return {KINGLET_GRAMMAR_KIND_REGEX, std::move(expression)}; }
    /// Text of a grammar in llguidance's variant of Lark.
    static Grammar lark(std::string grammar) noexcept { return {KINGLET_GRAMMAR_KIND_LARK, std::move(grammar)}; }

private:
    friend class GenerateCall;
    Grammar(kinglet_grammar_kind kind, std::string source) noexcept : kind_(kind), source_(std::move(source)) {}

    kinglet_grammar_kind kind_ = KINGLET_GRAMMAR_KIND_NONE;
    std::string source_;
};

/// A part of a text that is being generated. Valid during the callback.
struct Piece {
    /// The number of the text in the call, and of the output if several are sampled per text.
    std::size_t index = 0;
    std::size_t sequence = 0;
    /// The text since the last piece: whole characters, possibly none.
    std::string_view text;
    /// The token of this step.
    std::uint32_t token = 0;
    /// FinishReason::None, except in the text's last piece.
    FinishReason finish_reason = FinishReason::None;
};

/// Receives pieces: anything that can be called with a `const Piece &` and returns nothing, or a bool of which false cancels.
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

/// Options of generation, with Hugging Face's names. An unset option has the value of the model's generation_config.json, else Hugging
/// Face's default. Options that contradict each other are an error that names them.
/// With C++20: `model.generate(prompt, {.max_new_tokens = 40, .do_sample = true, .temperature = 0.8f})`.
struct GenerateOptions {
    /// The most tokens to generate. Default 256.
    std::optional<std::size_t> max_new_tokens{};
    /// The most tokens of an input text, special tokens included; longer texts are cut. It may be more than the limit of the model's
    /// files, up to the model's positions. Default: that limit for source texts, no limit for prompts. Not for token ids and chats.
    std::optional<std::size_t> max_input_length{};
    /// No end token is chosen before this many tokens. Default 0.
    std::optional<std::size_t> min_new_tokens{};
    /// Samples tokens instead of choosing the most likely one. The next six options need it.
    std::optional<bool> do_sample{};
    /// Divides the logits before sampling. Default 1.
    std::optional<float> temperature{};
    /// Samples among this many most likely tokens; 0: among all. Default 50.
    std::optional<std::size_t> top_k{};
    /// Nucleus sampling: the most likely tokens with this total probability. Default 1.
    std::optional<float> top_p{};
    /// Tokens with at least this fraction of the highest probability. Default 0.
    std::optional<float> min_p{};
    /// Locally typical sampling: the tokens closest to the entropy with this total probability. Default 1.
    std::optional<float> typical_p{};
    /// The same seed gives the same text for a prompt. Default: a new seed per call.
    std::optional<std::uint64_t> seed{};
    /// Above 1: makes tokens of the prompt and the output less likely. Default 1.
    std::optional<float> repetition_penalty{};
    /// Subtracted once from the logit of each generated token. Default 0.
    std::optional<float> presence_penalty{};
    /// Subtracted from the logit of each token as often as it was generated. Default 0.
    std::optional<float> frequency_penalty{};
    /// No sequence of this many tokens occurs twice; 0: no restriction. Default 0.
    std::optional<std::size_t> no_repeat_ngram_size{};
    /// Above 1: makes tokens of the source text, or of the prompt if the model has no encoder, more likely. Default 1.
    std::optional<float> encoder_repetition_penalty{};
    /// No sequence of this many tokens of the source text, or of the prompt if the model has no encoder, is generated; 0: no
    /// restriction. Default 0.
    std::optional<std::size_t> encoder_no_repeat_ngram_size{};
    /// A number of generated tokens, and the factor by which end tokens gain with each token beyond it.
    std::optional<std::pair<std::size_t, float>> exponential_decay_length_penalty{};
    /// Beams of beam search; 1 is greedy search or sampling. Default 1.
    std::optional<std::size_t> num_beams{};
    /// Outputs per text: the best beams, or samples. Default 1.
    std::optional<std::size_t> num_return_sequences{};
    /// With beams: the exponent of the length by which a beam's log-probability is divided. Default 1.
    std::optional<float> length_penalty{};
    /// With beams: when the search stops.
    std::optional<EarlyStopping> early_stopping{};
    /// Prompt-lookup speculative decoding: the longest draft, copied from where the last tokens appear earlier in the prompt, the output or
    /// the source text. The output is identical, and faster where texts repeat. Not with do_sample or beams. Default 0, off.
    std::optional<std::size_t> prompt_lookup_num_tokens{};
    /// With prompt_lookup_num_tokens: the most last tokens that are searched for. Default 2.
    std::optional<std::size_t> max_matching_ngram_size{};
    /// A text ends before the first of these.
    std::vector<std::string> stop_strings{};
    /// Token sequences that are never generated.
    std::vector<std::vector<std::uint32_t>> bad_words_ids{};
    /// Token sequences, and what is added to the logit of the last token of each where the tokens before it are there.
    std::vector<std::pair<std::vector<std::uint32_t>, float>> sequence_bias{};
    /// Tokens that are never generated, and tokens that are not generated first.
    std::vector<std::uint32_t> suppress_tokens{};
    std::vector<std::uint32_t> begin_suppress_tokens{};
    /// The end tokens.
    std::vector<std::uint32_t> eos_token_ids{};
    /// The last token if max_new_tokens is reached: one of these.
    std::vector<std::uint32_t> forced_eos_token_ids{};
    /// The first token that an encoder-decoder model generates, and the token that its decoder starts from.
    std::optional<std::uint32_t> forced_bos_token_id{};
    std::optional<std::uint32_t> decoder_start_token_id{};
    /// Tokens that the decoder of an encoder-decoder model continues, after its start token: one list for all inputs, or one per input.
    /// They are not part of the output.
    std::vector<std::vector<std::uint32_t>> decoder_input_ids{};
    /// As decoder_input_ids, as texts. Not both.
    std::vector<std::string> decoder_input_texts{};
    /// Never chooses an end token.
    bool ignore_eos = false;
    /// Returns the log-probability of each token.
    bool logprobs = false;
    /// Adds the tokenizer's special tokens to the input. Default yes.
    std::optional<bool> add_special_tokens{};
    /// Leaves special tokens out of the text. Default yes.
    std::optional<bool> skip_special_tokens{};
    Grammar grammar{};
    /// With a JSON schema: what becomes of keywords that cannot be enforced while the text is generated. Default: SchemaMode::Check.
    std::optional<SchemaMode> schema_mode{};
    /// The most work that compiling the grammar may take, in steps of its compiler, of which a core does about a million in a second or two;
    /// a grammar that needs more is refused, on every machine alike. 0: 1,000,000.
    std::uint64_t grammar_work_limit = 0;
    /// The most memory that the compiled grammar may take, in bytes (estimated). 0: 256 MB.
    std::uint64_t grammar_memory_limit = 0;
    /// Of a session with tools: which of them the model is to call. "auto": the model decides; "none": none, and the prompt does not name
    /// them; "required": one or more; the name of a tool: this one, once. Empty: auto.
    std::string tool_choice{};
    /// A prefix of the same model. It must live until the call has returned.
    const Prefix *prefix = nullptr;
    /// Cancels the call from another thread, within one step.
    const Cancellation *cancellation = nullptr;
    /// How urgent the call is.
    Priority priority = Priority::Normal;
    /// Milliseconds after which the call fails with Status::DeadlineExceeded if it is not done. 0: none.
    std::uint32_t deadline_ms = 0;
    /// Receives the texts while they are generated, on the calling thread; needs num_beams 1. Its exceptions cancel the call and are
    /// rethrown by value(). It must not use the Session that it listens to.
    OnPiece on_piece{};
};

namespace detail {

template <class Text>
using IfText = std::enable_if_t<std::is_convertible_v<const Text &, std::string_view>>;

} // namespace detail

// The options of one call for C, with what they point to. They point to `options` too, and to this object.
class GenerateCall {
public:
    explicit GenerateCall(const GenerateOptions &options) noexcept : GenerateCall(options, options.on_piece) {}
    // For a request, whose pieces come when this object is gone: they go to `state`, which has members on_piece and thrown.
    template <class State, class = decltype(std::declval<State &>().thrown)>
    GenerateCall(const GenerateOptions &options, State &state) noexcept : GenerateCall(options, state.on_piece) {
        if (!state.on_piece) return;
        c_.on_piece = &GenerateCall::template call<State>;
        c_.on_piece_user_data = &state;
    }
    GenerateCall(const GenerateCall &) = delete;
    GenerateCall &operator=(const GenerateCall &) = delete;

    // Makes `call(const kinglet_generate_options *, kinglet_generations **, kinglet_error **)`.
    template <class Generations, class Call>
    Result<Generations> make(Call call) const noexcept {
        return detail::make<Generations, kinglet_generations>(
            [&](kinglet_generations **made, kinglet_error **error) { return call(&c_, made, error); }, &pieces_.thrown);
    }

    const kinglet_generate_options *c() const noexcept { return &c_; }

private:
    // Where the pieces of a call go that the caller waits for.
    struct Pieces {
        const OnPiece &on_piece;
        std::exception_ptr thrown{};
    };

    GenerateCall(const GenerateOptions &options, const OnPiece &on_piece) noexcept : pieces_{on_piece} {
        kinglet_generate_options_init(&c_, sizeof c_);
        set(c_.max_new_tokens, options.max_new_tokens);
        set(c_.max_input_length, options.max_input_length);
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
        // In C's newer fields 0 is unset: no text has sequences of the other size, and the other number is refused as 0 is.
        const auto not_zero = [](float number) { return number == 0.0f ? -1.0f : number; };
        if (const auto size = options.encoder_no_repeat_ngram_size) c_.encoder_no_repeat_ngram_size = *size ? *size : UINT32_MAX;
        if (options.encoder_repetition_penalty) c_.encoder_repetition_penalty = not_zero(*options.encoder_repetition_penalty);
        if (options.exponential_decay_length_penalty) {
            c_.exponential_decay_start = options.exponential_decay_length_penalty->first;
            c_.exponential_decay_factor = not_zero(options.exponential_decay_length_penalty->second);
        }
        set(c_.num_beams, options.num_beams);
        set(c_.num_return_sequences, options.num_return_sequences);
        set(c_.seed, options.seed);
        c_.has_seed = options.seed.has_value();
        c_.ignore_eos = options.ignore_eos;
        c_.logprobs = options.logprobs;
        set(c_.add_special_tokens, options.add_special_tokens);
        set(c_.skip_special_tokens, options.skip_special_tokens);
        c_.grammar_kind = options.grammar.kind_;
        c_.grammar = detail::to_c(std::string_view(options.grammar.source_));
        set(c_.schema_mode, options.schema_mode);
        c_.grammar_work_limit = options.grammar_work_limit;
        c_.grammar_memory_limit = options.grammar_memory_limit;
        c_.tool_choice = detail::to_c(std::string_view(options.tool_choice));
        strs(stop_strings_, options.stop_strings);
        c_.stop_strings = stop_strings_.data();
        c_.stop_string_count = stop_strings_.size();
        lists(bad_words_, options.bad_words_ids);
        c_.bad_words_ids = bad_words_.data();
        c_.bad_word_count = bad_words_.size();
        biased_.reserve(options.sequence_bias.size());
        biases_.reserve(options.sequence_bias.size());
        for (const auto &[word, bias] : options.sequence_bias) {
            biased_.push_back(ids(word));
            biases_.push_back(bias);
        }
        c_.sequence_bias_ids = biased_.data();
        c_.sequence_bias = biases_.data();
        c_.sequence_bias_count = biased_.size();
        lists(decoder_inputs_, options.decoder_input_ids);
        c_.decoder_input_ids = decoder_inputs_.data();
        c_.decoder_input_count = decoder_inputs_.size();
        strs(decoder_texts_, options.decoder_input_texts);
        c_.decoder_input_texts = decoder_texts_.data();
        c_.decoder_input_text_count = decoder_texts_.size();
        c_.suppress_tokens = ids(options.suppress_tokens);
        c_.begin_suppress_tokens = ids(options.begin_suppress_tokens);
        c_.eos_token_ids = ids(options.eos_token_ids);
        c_.forced_eos_token_ids = ids(options.forced_eos_token_ids);
        set(c_.forced_bos_token_id, options.forced_bos_token_id);
        set(c_.decoder_start_token_id, options.decoder_start_token_id);
        set(c_.prompt_lookup_num_tokens, options.prompt_lookup_num_tokens);
        set(c_.max_matching_ngram_size, options.max_matching_ngram_size);
        c_.prefix = options.prefix ? options.prefix->get() : nullptr;
        c_.cancellation = detail::to_c(options.cancellation);
        c_.priority = static_cast<kinglet_priority>(options.priority);
        c_.deadline_ms = options.deadline_ms;
        if (on_piece) {
            c_.on_piece = &GenerateCall::template call<Pieces>;
            c_.on_piece_user_data = &pieces_;
        }
    }

    template <class C, class Mine>
    static void set(C &c, const std::optional<Mine> &mine) noexcept {
        if (mine) c = static_cast<C>(*mine);
    }
    static void set(kinglet_tristate &c, const std::optional<bool> &mine) noexcept {
        if (mine) c = *mine ? KINGLET_TRISTATE_YES : KINGLET_TRISTATE_NO;
    }
    static kinglet_ids ids(const std::vector<std::uint32_t> &ids) noexcept { return {ids.data(), ids.size()}; }
    static void lists(std::vector<kinglet_ids> &c, const std::vector<std::vector<std::uint32_t>> &mine) {
        c.reserve(mine.size());
        for (const auto &list : mine) c.push_back(ids(list));
    }
    static void strs(std::vector<kinglet_str> &c, const std::vector<std::string> &mine) {
        c.reserve(mine.size());
        for (const std::string &text : mine) c.push_back(detail::to_c(std::string_view(text)));
    }

    // Called by C; nothing may be thrown through it.
    template <class State>
    static std::uint32_t call(void *user_data, const kinglet_generation_piece *piece) noexcept {
        auto &state = *static_cast<State *>(user_data);
        const Piece mine{piece->index, piece->sequence, detail::to_cpp(piece->text), piece->token,
                         static_cast<FinishReason>(piece->finish_reason)};
#if KINGLET_EXCEPTIONS
        try {
            return state.on_piece(mine) ? 1 : 0;
        } catch (...) {
            state.thrown = std::current_exception();
            return 0;
        }
#else
        return state.on_piece(mine) ? 1 : 0;
#endif
    }

    kinglet_generate_options c_{};
    Pieces pieces_;
    std::vector<kinglet_str> stop_strings_;
    std::vector<kinglet_ids> bad_words_;
    std::vector<kinglet_ids> biased_;
    std::vector<float> biases_;
    std::vector<kinglet_ids> decoder_inputs_;
    std::vector<kinglet_str> decoder_texts_;
};

/// A generated text. Valid as long as the Generations.
struct Output {
    std::string_view text;
    /// The generated tokens, the end token included.
    Span<const std::uint32_t> tokens;
    /// One log-probability per token; empty if they were not asked for.
    Span<const float> logprobs;
    /// With beams the log-probability divided by length^length_penalty, else the sum of logprobs.
    float score = 0;
    FinishReason finish_reason = FinishReason::None;
    /// Of a session's reply: the message as JSON, with the reasoning and the calls of tools apart from the content. Otherwise empty.
    std::string_view message;
};

/// The result of a generation; generations[i] is the best output of text i. Const members: any thread.
class Generations : public detail::GenerationsHolder, public detail::Indexed<Generations> {
public:
    /// Texts in the batch.
    std::size_t size() const noexcept { return view().count; }

    Output operator[](std::size_t i) const noexcept { return output(i); }
    /// Output `sequence` of text i, the best first; an empty one beyond the end.
    Output output(std::size_t i, std::size_t sequence = 0) const noexcept {
        const kinglet_generation_output c = fetch(i, sequence);
        return {detail::to_cpp(c.text), {c.tokens, c.token_count}, {c.logprobs, c.logprobs ? c.token_count : 0}, c.score,
                static_cast<FinishReason>(c.finish_reason), detail::to_cpp(c.message)};
    }
    /// Outputs of text i: num_return_sequences, or fewer if fewer beams were finished.
    std::size_t output_count(std::size_t i) const noexcept { return fetch(i, 0).output_count; }
    std::vector<Output> outputs(std::size_t i) const {
        std::vector<Output> all;
        const std::size_t count = output_count(i);
        all.reserve(count);
        for (std::size_t sequence = 0; sequence < count; ++sequence) all.push_back(output(i, sequence));
        return all;
    }

    /// Tokens of input i, special tokens included.
    std::size_t input_token_count(std::size_t i) const noexcept { return view().input_token_counts[i]; }
    /// Whether input i was cut to what the encoder takes.
    bool truncated(std::size_t i) const noexcept { return view().truncated[i] != 0; }

private:
    using Holder::Holder;
    friend Holder;

    kinglet_generation_output fetch(std::size_t i, std::size_t sequence) const noexcept {
        kinglet_generation_output c{};
        c.struct_size = sizeof c;
        // On failure it stays empty.
        (void)kinglet_generations_output(get(), i, sequence, &c, nullptr);
        return c;
    }
};

/// The logits of a sequence before any processing; logits[i] are those of the token that follows token i. Const members: any thread.
class Logits : public detail::LogitsHolder, public detail::Indexed<Logits> {
public:
    /// Tokens: rows.
    std::size_t size() const noexcept { return view().token_count; }
    /// Values per row.
    std::size_t vocabulary_size() const noexcept { return view().vocabulary_size; }

    Span<const float> operator[](std::size_t i) const noexcept {
        return {view().values + i * vocabulary_size(), vocabulary_size()};
    }
    Span<const float> values() const noexcept { return {view().values, size() * vocabulary_size()}; }

private:
    using Holder::Holder;
    friend Holder;
};

/// A message of a chat.
struct Message {
    std::string role;
    std::string content;
    /// The whole message as a JSON object, if it has more than a role and a text: `tool_calls`, `tool_call_id`, `reasoning_content`, a
    /// `content` of parts, or what else the template reads. Empty: none. A role and a content beside it must be empty, or the same as in it.
    std::string json{};
};

/// What a chat has beside its messages, by the names of transformers' apply_chat_template.
struct ChatOptions {
    /// A JSON array of the functions that the model may call: {"type": "function", "function": {"name", "description", "parameters"}}, or
    /// what "function" is there alone. `parameters` is a JSON schema of type object.
    std::string tools{};
    /// A JSON array of documents, objects with the members that the template reads.
    std::string documents{};
    /// A JSON object of further variables of the template, for instance {"enable_thinking": false}.
    std::string template_variables{};
    /// How the model writes the calls of tools. Default: as its chat template says.
    ToolFormat tool_format = ToolFormat::Auto;
    /// Ends the prompt with what begins an answer. A session does so always.
    bool add_generation_prompt = false;
    /// Ends the prompt in the last message, so that the model continues it. Not for a session.
    bool continue_final_message = false;
    /// Cancels the call from another thread; not the replies of a session.
    const Cancellation *cancellation = nullptr;
};

namespace detail {

inline kinglet_chat_options to_c(const ChatOptions &options) noexcept {
    kinglet_chat_options c{};
    c.struct_size = sizeof c;
    c.tools = to_c(std::string_view(options.tools));
    c.documents = to_c(std::string_view(options.documents));
    c.template_variables = to_c(std::string_view(options.template_variables));
    c.tool_format = static_cast<kinglet_tool_format>(options.tool_format);
    c.add_generation_prompt = options.add_generation_prompt;
    c.continue_final_message = options.continue_final_message;
    c.cancellation = to_c(options.cancellation);
    return c;
}

} // namespace detail

/// A chat with a model. The KV cache of earlier turns is kept; it keeps the model alive. Calls on one session wait for each other.
class Session : public detail::Owner<kinglet_session, kinglet_session_free> {
public:
    /// Adds a message without asking for a reply: a system prompt, an example. `role` is `system`, `user`, `assistant`, or another role
    /// that the model's chat template knows.
    Result<void> add(std::string_view role, std::string_view content) noexcept {
        kinglet_message message{};
        message.struct_size = sizeof message;
        message.role = detail::to_c(role);
        message.content = detail::to_c(content);
        return detail::run([&](kinglet_error **error) { return kinglet_session_add(get(), &message, error); });
    }
    /// Adds a message of any form: a tool's result, a reply with its calls.
    Result<void> add(const Message &mine) noexcept {
        kinglet_message message{};
        message.struct_size = sizeof message;
        message.role = detail::to_c(std::string_view(mine.role));
        message.content = detail::to_c(std::string_view(mine.content));
        message.json = detail::to_c(std::string_view(mine.json));
        return detail::run([&](kinglet_error **error) { return kinglet_session_add(get(), &message, error); });
    }

    /// The prompt that the next reply continues: the messages so far as the chat template writes them.
    Result<std::string> prompt() const noexcept {
        return detail::make_string([&](kinglet_text **text, kinglet_error **error) {
            return kinglet_session_prompt(get(), text, error);
        });
    }

    /// Adds a user's message and generates the reply, which is added too and is the Generations' only text. If it fails or is cancelled,
    /// the chat is as it was.
    Result<Generations> send(std::string_view content, const GenerateOptions &options = {}) noexcept {
        return GenerateCall(options).make<Generations>([&](auto *c, kinglet_generations **made, kinglet_error **error) {
            return kinglet_session_send(get(), detail::to_c(content), c, made, error);
        });
    }

    /// Generates the next message from the messages so far; otherwise as send().
    Result<Generations> reply(const GenerateOptions &options = {}) noexcept {
        return GenerateCall(options).make<Generations>([&](auto *c, kinglet_generations **made, kinglet_error **error) {
            return kinglet_session_reply(get(), c, made, error);
        });
    }

    /// Keeps the first `count` messages and forgets the others.
    Result<void> rewind(std::size_t count) noexcept {
        return detail::run([&](kinglet_error **error) { return kinglet_session_rewind(get(), count, error); });
    }

    /// The messages so far, replies included.
    std::vector<Message> messages() const {
        kinglet_messages *c = nullptr;
        std::vector<Message> all;
        // On failure, which only a moved-from session knows, it stays empty.
        if (kinglet_session_messages(get(), &c, nullptr) != KINGLET_STATUS_OK) return all;
        kinglet_message message{};
        message.struct_size = sizeof message;
        for (std::size_t i = 0; kinglet_messages_get(c, i, &message, nullptr) == KINGLET_STATUS_OK; ++i) {
            all.push_back({std::string(detail::to_cpp(message.role)), std::string(detail::to_cpp(message.content)),
                           std::string(detail::to_cpp(message.json))});
        }
        kinglet_messages_free(c);
        return all;
    }
    std::size_t message_count() const noexcept { return read().message_count; }
    /// Tokens in the KV cache for the next turn.
    std::size_t held_tokens() const noexcept { return read().held_tokens; }

private:
    using Owner::Owner;
    friend Owner;

    kinglet_session_view read() const noexcept {
        kinglet_session_view c{};
        c.struct_size = sizeof c;
        (void)kinglet_session_read(get(), &c, nullptr);
        return c;
    }
};

} // namespace KINGLET_FORM
} // namespace kinglet

#endif

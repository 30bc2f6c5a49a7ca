// Generation by the C++ binding, with exceptions. The reference numbers are those of tests/fixtures/generation's reference.json.

#include <kinglet.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.h"

int generate_main(const std::string &fixtures);

namespace {

using Ids = std::vector<std::uint32_t>;

const Ids river{299, 295, 73, 284};
const Ids greedy{180, 150, 180, 90, 130, 52, 52, 167, 15, 235, 180, 248, 245, 63, 109, 109, 109, 259, 12, 180, 52, 53, 210, 90};
const Ids beam_0{180, 150, 180, 109, 130, 52, 280, 291, 15, 12, 150, 12, 90, 180, 109, 280, 90, 115, 150, 180, 177, 71, 261, 291};
const Ids beam_1{180, 150, 180, 109, 130, 52, 280, 291, 15, 12, 150, 12, 90, 180, 109, 280, 90, 142};
const std::string small = "The small bird sings near the river, and it isn't hard to see the fox; it took him a day.";
const Ids small_greedy{12, 185, 12, 180, 12, 132, 180, 221, 293, 1, 221, 155, 210, 142};

template <class T>
constexpr bool only_moves = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                            !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
static_assert(only_moves<kinglet::Generations> && only_moves<kinglet::Logits>);
static_assert(only_moves<kinglet::Prefix> && only_moves<kinglet::Session>);
static_assert(std::is_copy_constructible_v<kinglet::GenerateOptions> && std::is_copy_constructible_v<kinglet::Grammar>);
static_assert(!std::is_constructible_v<kinglet::OnPiece, int> && std::is_constructible_v<kinglet::OnPiece, std::nullptr_t>);

// An Error with this status, whose message contains `word`.
template <class Call>
void fails(kinglet::Status status, const char *word, Call call) {
    try {
        call();
        CHECK(!"an exception");
    } catch (const kinglet::Error &error) {
        CHECK(error.status() == status);
        CHECK(std::strstr(error.what(), word) != nullptr);
    }
}

template <class T>
bool same(kinglet::Span<const T> found, const std::vector<T> &expected) {
    return std::vector<T>(found.begin(), found.end()) == expected;
}

kinglet::GenerateOptions defaults() {
    kinglet::GenerateOptions options;
    options.max_new_tokens = 24;
    options.num_beams = 1;
    return options;
}

void greedily(const kinglet::Model &model) {
    auto options = defaults();
    options.logprobs = true;
    model.reset_counters();
    const auto made = model.generate({"The river", small}, options).value();
    CHECK(made.size() == 2 && made.input_token_count(0) == 4 && made.input_token_count(1) == 55 && !made.truncated(1));
    CHECK(same(made[0].tokens, greedy) && same(made[1].tokens, small_greedy));
    CHECK(made[0].finish_reason == kinglet::FinishReason::Length && made[1].finish_reason == kinglet::FinishReason::Eos);
    CHECK(made.output_count(0) == 1 && made.outputs(1).size() == 1 && made[0].text == model.detokenize(greedy).value());
    CHECK(made[0].logprobs.size() == 24);
    double sum = 0;
    for (const float logprob : made[0].logprobs) sum += static_cast<double>(logprob);
    NEAR(made[0].score, sum);
    CHECK(made.output(0, 1).tokens.empty() && made.output(2).finish_reason == kinglet::FinishReason::None && made.output_count(7) == 0);

    const auto counters = model.counters().value();
    CHECK(counters[kinglet::Stage::Prefill].tokens >= 59 && counters[kinglet::Stage::Detokenize].tokens > 0 && counters[kinglet::Stage::Sample].time.count() > 0);
    CHECK(counters[kinglet::Stage::FirstToken].items == 2 && counters[kinglet::Stage::Detokenize].items == 2 && counters.stages().size() == 18);
    CHECK(counters.stages()[12].first == kinglet::Stage::FirstToken && counters.stages()[12].second.items == 2);
    CHECK(counters[kinglet::Stage::AnswerHit].calls == 0 && counters[kinglet::Stage::AnswerMiss].calls == 0);

    // One text in each of its forms, and ids.
    options.logprobs = false;
    CHECK(same(model.generate("The river", options).value()[0].tokens, greedy));
    CHECK(same(model.generate(std::string("The river"), options).value()[0].tokens, greedy));
    CHECK(same(model.generate(std::string_view("The river"), options).value()[0].tokens, greedy));
    CHECK(model.generate({"The river"}, options).value().size() == 1 && model.generate({"The", "river"}, options).value().size() == 2);
    CHECK(model.generate(std::vector<std::string>{"a"}, options).value()[0].logprobs.empty());
    const std::vector<std::size_t> lengths{4};
    CHECK(same(model.generate_ids(river, lengths, options).value()[0].tokens, greedy));
    fails(kinglet::Status::InvalidArgument, "lengths", [&] { (void)model.generate_ids(river, std::vector<std::size_t>{3}, options).value(); });
    CHECK(model.generate("The river", options)->size() == 1);
    CHECK(model.generate("\xff").status() == kinglet::Status::InvalidArgument);

    auto taken = model.generate("The river", options).value();
    const auto moved = std::move(taken);
    CHECK(same(moved[0].tokens, greedy) && taken.size() == 0 && taken[0].tokens.empty());
}

void beams(const kinglet::Model &model) {
    auto options = defaults();
    options.num_beams = 5;
    options.num_return_sequences = 2;
    options.early_stopping = kinglet::EarlyStopping::No;
    const auto made = model.generate("The river", options).value();
    const auto outputs = made.outputs(0);
    CHECK(outputs.size() == 2 && same(outputs[0].tokens, beam_0) && same(outputs[1].tokens, beam_1));
    NEAR(outputs[0].score, -1.250871);
    NEAR(outputs[1].score, -1.253752);
}

// Drafts change how soon a text is there, and nothing of it.
void drafting(const kinglet::Model &model) {
    auto options = defaults();
    options.prompt_lookup_num_tokens = 5;
    options.max_matching_ngram_size = 1;
    model.reset_counters();
    const auto made = model.generate({"The river", small}, options).value();
    CHECK(same(made[0].tokens, greedy) && same(made[1].tokens, small_greedy));
    const auto counters = model.counters().value();
    CHECK(counters[kinglet::Stage::Draft].tokens > 0 && counters[kinglet::Stage::Accept].tokens <= counters[kinglet::Stage::Draft].tokens);
    CHECK(counters.stages()[15].first == kinglet::Stage::Draft && counters.stages()[16].first == kinglet::Stage::Accept);
}

void streaming(const kinglet::Model &model) {
    std::string texts[2];
    Ids tokens[2];
    kinglet::FinishReason finish[2]{};
    auto options = defaults();
    // A listener that returns nothing continues.
    options.on_piece = [&](const kinglet::Piece &piece) {
        CHECK(finish[piece.index] == kinglet::FinishReason::None && piece.sequence == 0);
        texts[piece.index] += piece.text;
        tokens[piece.index].push_back(piece.token);
        finish[piece.index] = piece.finish_reason;
    };
    const auto made = model.generate({"The river", small}, options).value();
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(texts[i] == made[i].text);
        CHECK(same(made[i].tokens, tokens[i]) && finish[i] == made[i].finish_reason);
    }
    options.num_beams = 2;
    fails(kinglet::Status::InvalidArgument, "num_beams", [&] { (void)model.generate("The river", options).value(); });
    options.num_beams = 1;

    // One that cancels, and one that throws.
    int pieces = 0;
    options.on_piece = [&](const kinglet::Piece &) { return ++pieces < 3; };
    fails(kinglet::Status::Cancelled, "", [&] { (void)model.generate("The river", options).value(); });
    CHECK(pieces == 3);
    options.on_piece = [&](const kinglet::Piece &) { throw std::string("mine"); };
    try {
        (void)model.generate("The river", options).value();
        CHECK(!"an exception");
    } catch (const std::string &thrown) {
        CHECK(thrown == "mine");
    }
    CHECK(model.generate("The river", options).status() == kinglet::Status::Cancelled);
    const std::vector<std::size_t> lengths{4};
    options.on_piece = [&](const kinglet::Piece &piece) -> bool {
        if (piece.finish_reason != kinglet::FinishReason::None) throw std::runtime_error("at the end");
        return true;
    };
    try {
        (void)model.generate_ids(river, lengths, options).value();
        CHECK(!"an exception");
    } catch (const std::runtime_error &thrown) {
        CHECK(std::string(thrown.what()) == "at the end");
    }
    const std::function<bool(const kinglet::Piece &)> none;
    options.on_piece = none;
    CHECK(!options.on_piece);
    options.on_piece = nullptr;
    CHECK(same(model.generate("The river", options).value()[0].tokens, greedy));
}

void cancelling(const kinglet::Model &model) {
    const kinglet::Cancellation cancellation;
    kinglet::GenerateOptions options;
    options.ignore_eos = true;
    options.cancellation = &cancellation;
    model.reset_counters();
    std::thread other([&] {
        while (model.counters().value()[kinglet::Stage::Detokenize].calls < 20) std::this_thread::yield();
        cancellation.cancel();
    });
    fails(kinglet::Status::Cancelled, "", [&] {
        for (int i = 0; i < 100000; ++i) (void)model.generate({"a", "The river"}, options).value();
    });
    other.join();
}

// A generation in the background: its pieces, what a callback throws, and the same text.
void requests(const kinglet::Model &model) {
    auto options = defaults();
    const auto alone = model.generate("The river", options).value();
    std::string pieces;
    std::atomic<bool> done{false};
    options.on_piece = [&](const kinglet::Piece &piece) { pieces += piece.text; };
    auto request = model.submit_generate({"The river"}, options, [&] { done = true; }).value();
    options.on_piece = nullptr;
    const auto generations = request.take().value();
    CHECK(generations[0].text == alone[0].text && pieces == alone[0].text);
    while (!done) std::this_thread::yield();
    options.on_piece = [](const kinglet::Piece &) { throw std::runtime_error("of the callback"); };
    try {
        (void)model.submit_generate({"The river"}, options).value().take().value();
        CHECK(!"an exception");
    } catch (const std::runtime_error &thrown) {
        CHECK(std::string(thrown.what()) == "of the callback");
    }
}

void choosing(const kinglet::Model &model) {
    const auto refused = [&](const char *name, auto change) {
        auto options = defaults();
        change(options);
        fails(kinglet::Status::InvalidArgument, name, [&] { (void)model.generate("The river", options).value(); });
    };
    using Options = kinglet::GenerateOptions;
    refused("temperature", [](Options &o) { o.temperature = 0.5f; });
    refused("top_k", [](Options &o) { o.top_k = 5; });
    refused("top_p", [](Options &o) { o.top_p = 0.5f; });
    refused("min_p", [](Options &o) { o.min_p = 0.5f; });
    refused("typical_p", [](Options &o) { o.typical_p = 0.5f; });
    refused("seed", [](Options &o) { o.seed = 0; });
    refused("num_beams", [](Options &o) { o.do_sample = true, o.num_beams = 2; });
    refused("num_return_sequences", [](Options &o) { o.num_return_sequences = 2; });
    refused("length_penalty", [](Options &o) { o.length_penalty = 2.0f; });
    refused("early_stopping", [](Options &o) { o.early_stopping = kinglet::EarlyStopping::Never; });
    refused("min_new_tokens", [](Options &o) { o.min_new_tokens = 25; });
    refused("repetition_penalty", [](Options &o) { o.repetition_penalty = -1.0f; });
    refused("presence_penalty", [](Options &o) { o.presence_penalty = INFINITY; });
    refused("frequency_penalty", [](Options &o) { o.frequency_penalty = INFINITY; });
    refused("max_matching_ngram_size", [](Options &o) { o.max_matching_ngram_size = 2; });
    refused("prompt_lookup_num_tokens", [](Options &o) { o.prompt_lookup_num_tokens = 4, o.do_sample = true; });
    refused("num_beams above 1", [](Options &o) { o.prompt_lookup_num_tokens = 4, o.num_beams = 2; });
    refused("Unicode classes", [](Options &o) { o.grammar_work_limit = 100, o.grammar = kinglet::Grammar::regex("\\w\\w"); });
    refused("Unicode classes", [](Options &o) { o.grammar_memory_limit = 100, o.grammar = kinglet::Grammar::regex("\\w"); });
    refused("ignore_eos", [](Options &o) { o.ignore_eos = true, o.grammar = kinglet::Grammar::regex("a"); });
    refused("stop_strings", [](Options &o) { o.stop_strings = {""}; });
    refused("bad_words_ids", [](Options &o) { o.bad_words_ids = {{1}, {2, 300}}; });
    refused("encoder_repetition_penalty", [](Options &o) { o.encoder_repetition_penalty = 0.0f; });
    refused("exponential_decay_length_penalty", [](Options &o) { o.exponential_decay_length_penalty = {1, 0.0f}; });
    refused("sequence_bias", [](Options &o) { o.sequence_bias = {{{1}, 1.0f}, {{2, 300}, 1.0f}}; });
    refused("decoder_input_ids", [](Options &o) { o.decoder_input_ids = {{1}}; });
    refused("decoder_input_texts", [](Options &o) { o.decoder_input_texts = {"a"}; });
    refused("suppress_tokens", [](Options &o) { o.suppress_tokens = {300}; });
    refused("begin_suppress_tokens", [](Options &o) { o.begin_suppress_tokens = {300}; });
    refused("eos_token_id", [](Options &o) { o.eos_token_ids = {300}; });
    refused("forced_eos_token_id", [](Options &o) { o.forced_eos_token_ids = {300}; });
    refused("forced_bos_token_id", [](Options &o) { o.forced_bos_token_id = 300; });
    refused("decoder_start_token_id", [](Options &o) { o.decoder_start_token_id = 300; });

    auto sampled = defaults();
    sampled.do_sample = true;
    sampled.temperature = 2.0f;
    sampled.seed = 7;
    sampled.num_return_sequences = 3;
    const auto first = model.generate("The river", sampled).value(), second = model.generate("The river", sampled).value();
    CHECK(first.output_count(0) == 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(first.output(0, i).text == second.output(0, i).text);

    auto options = defaults();
    options.bad_words_ids = {{150}};
    options.min_new_tokens = 24;
    const auto other = model.generate("The river", options).value();
    CHECK(other[0].tokens[0] == 180 && other[0].tokens[1] != 150 && other[0].tokens.size() == 24);

    options = defaults();
    options.sequence_bias = {{{180, 150}, -1000.0f}, {{7}, 0.5f}};
    const auto biased = model.generate("The river", options).value();
    CHECK(biased[0].tokens[0] == 180 && biased[0].tokens[1] != 150);
    options = defaults();
    options.eos_token_ids = {7};
    options.exponential_decay_length_penalty = {2, 100.0f};
    options.encoder_no_repeat_ngram_size = 2;
    options.encoder_repetition_penalty = 1.5f;
    CHECK(model.generate("The river", options).value()[0].finish_reason == kinglet::FinishReason::Eos);

    options = defaults();
    options.grammar = kinglet::Grammar::regex("[ab]{3}");
    const auto made = model.generate("The river", options).value();
    CHECK(made[0].text.size() == 3 && made[0].text.find_first_not_of("ab") == std::string_view::npos);
    options.stop_strings = {"q", std::string(made[0].text.substr(1, 1))};
    CHECK(model.generate("The river", options).value()[0].finish_reason == kinglet::FinishReason::StopString);
    options = defaults();
    options.grammar = kinglet::Grammar::json_schema(R"({"type": "boolean"})");
    const std::string json(model.generate("The river", options).value()[0].text);
    CHECK(json == "true" || json == "false");
    options.grammar = kinglet::Grammar::lark("start: \"kinglet\"");
    CHECK(model.generate("The river", options).value()[0].text == "kinglet");
}

void sources(const std::string &fixtures) {
    const auto model = kinglet::Model::load(fixtures + "/generation/t5-gated").value();
    CHECK(model.can_generate() && model.has_encoder() && model.cache_bytes() == 0);
    CHECK(same(model.generate("She wrote a short letter to him.", defaults()).value()[0].tokens, Ids{37, 134, 255, 73, 247, 246}));
    kinglet::GenerateOptions cut;
    cut.max_new_tokens = 2;
    cut.max_input_length = 4;
    const auto generations = model.generate({"She wrote a short letter to him."}, cut).value();
    CHECK(generations.truncated(0) && generations.input_token_count(0) == 4);
    auto continued = defaults();
    continued.decoder_input_ids = {{37, 134}};
    const auto rest = model.generate("She wrote a short letter to him.", continued).value();
    CHECK(rest[0].tokens.size() >= 4 && same(rest[0].tokens.subspan(0, 4), Ids{255, 73, 247, 246}));
    continued.decoder_input_ids.clear();
    continued.decoder_input_texts = {"a letter", "a fox"};
    fails(kinglet::Status::InvalidArgument, "decoder_input_texts: has 2 entries for 1", [&] {
        (void)model.generate("She wrote a short letter to him.", continued).value();
    });
    const Ids source{128, 138, 1}, decoder{0, 236};
    const auto logits = model.logits(source, decoder).value();
    CHECK(logits.size() == 2);
    NEAR(logits[0][0], -4.891779);
    fails(kinglet::Status::InvalidArgument, "decoder_ids", [&] { (void)model.logits(source).value(); });
    fails(kinglet::Status::Unsupported, "decoder", [&] { (void)model.prefix("a").value(); });
    fails(kinglet::Status::Unsupported, "decoder", [&] { (void)model.session().value(); });
    const auto bert = kinglet::Model::load(fixtures + "/bert").value();
    CHECK(!bert.can_generate());
    fails(kinglet::Status::Unsupported, "bert", [&] { (void)bert.generate("a").value(); });
}

void logits_and_prefixes(const kinglet::Model &model) {
    const auto logits = model.logits(river).value();
    CHECK(logits.size() == 4 && logits.vocabulary_size() == 300 && logits.values().size() == 1200 && logits[3].size() == 300);
    NEAR(logits[0][0], 0.8122646);
    const auto stepwise = model.logits(river, {}, {true}).value();
    CHECK(std::memcmp(stepwise.values().data(), logits.values().data(), 1200 * sizeof(float)) == 0);
    fails(kinglet::Status::InvalidArgument, "decoder_ids", [&] { (void)model.logits(river, river).value(); });

    auto prefix = model.prefix("The small bird sings near the river").value();
    CHECK(model.cache_bytes() > 0);
    auto options = defaults();
    options.prefix = &prefix;
    model.reset_counters();
    CHECK(same(model.generate(small, options).value()[0].tokens, small_greedy));
    CHECK(model.counters().value()[kinglet::Stage::Prefill].tokens < 50);
    prefix = model.prefix("a").value();
    CHECK(same(model.generate(small, options).value()[0].tokens, small_greedy));
}

// A directory that is gone afterwards.
struct Scratch {
    std::filesystem::path path;

    Scratch() {
        static int number = 0;
        const auto name = "kinglet-" + std::to_string(reinterpret_cast<std::uintptr_t>(this)) + "-" + std::to_string(number++);
        path = std::filesystem::temp_directory_path() / name;
        std::filesystem::create_directory(path);
    }
    ~Scratch() { std::filesystem::remove_all(path); }
};

void sessions(const std::string &fixtures) {
    const Scratch scratch;
    // No fixture has a chat template, so one gets one.
    std::filesystem::copy(fixtures + "/generation/gpt2", scratch.path);
    std::ofstream(scratch.path / "chat_template.jinja")
        << "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    std::string lines;
    auto session = [&] {
        kinglet::ModelOptions loading;
        loading.log_level = kinglet::LogLevel::Debug;
        loading.log = [&lines](kinglet::LogLevel, std::string_view line) { lines += line; };
        return kinglet::Model::load(scratch.path.string(), loading).value().session().value();
    }();
    CHECK(!lines.empty());

    // The session keeps the model, and its log.
    auto options = defaults();
    options.max_new_tokens = 6;
    options.ignore_eos = true;
    session.add("system", "be short").value();
    const auto first = session.send("hi", options).value();
    CHECK(first.size() == 1 && first[0].tokens.size() == 6);
    const auto messages = session.messages();
    CHECK(messages.size() == 3 && session.message_count() == 3);
    CHECK(messages[0].role == "system" && messages[1].content == "hi" && messages[2].role == "assistant");
    CHECK(messages[2].content == first[0].text);
    const auto held = session.held_tokens();
    CHECK(held > 6);

    // The same turn again says the same.
    session.rewind(2).value();
    CHECK(session.message_count() == 2 && session.reply(options).value()[0].text == first[0].text);

    // A failed turn leaves the chat as it was.
    options.on_piece = [](const kinglet::Piece &) { return false; };
    fails(kinglet::Status::Cancelled, "", [&] { (void)session.send("go on", options).value(); });
    CHECK(session.message_count() == 3);
    options.on_piece = [](const kinglet::Piece &) { throw 7; };
    try {
        (void)session.send("go on", options).value();
        CHECK(!"an exception");
    } catch (int thrown) {
        CHECK(thrown == 7);
    }
    CHECK(session.message_count() == 3 && session.send("go on", options).status() == kinglet::Status::Cancelled);
    std::string heard;
    options.on_piece = [&](const kinglet::Piece &piece) { heard += piece.text; };
    const auto second = session.send("go on", options).value();
    CHECK(second[0].text == heard && session.held_tokens() > held);
    auto moved = std::move(session);
    CHECK(moved.message_count() == 5 && session.message_count() == 0 && session.messages().empty());
    fails(kinglet::Status::InvalidArgument, "NULL", [&] { session.add("user", "a").value(); });
    moved.rewind(0).value();
    CHECK(moved.messages().empty());
    // Tools. The fixture's own file has letters among its end tokens.
    std::ofstream(scratch.path / "generation_config.json") << R"({"eos_token_id": 0})";
    const auto talker = kinglet::Model::load(scratch.path.string()).value();
    kinglet::ChatOptions chat;
    chat.tools = R"([{"name": "go"}])";
    chat.tool_format = kinglet::ToolFormat::Hermes;
    auto caller = talker.session(chat).value();
    auto calling = defaults();
    calling.tool_choice = "go";
    calling.max_new_tokens = 100;
    const auto called = caller.send("hi", calling).value();
    CHECK(called[0].message.find("\"tool_calls\"") != std::string_view::npos);
    kinglet::Message result;
    result.json = R"({"role":"tool","content":"3","tool_call_id":"call00000"})";
    caller.add(result).value();
    CHECK(caller.messages()[2].json == result.json && caller.messages()[2].role == "tool");
    CHECK(caller.prompt().value().find("3") != std::string::npos);
    CHECK(talker.apply_chat_template(R"([{"role": "user", "content": "a"}])").value() != "");
    const auto read = talker.parse_response("<think>Hm.</think>Yes.", chat, "prompt").value();
    CHECK(read == R"({"role":"assistant","content":"Yes.","reasoning_content":"Hm."})");
    fails(kinglet::Status::InvalidArgument, "messages: ", [&] { (void)talker.apply_chat_template("5").value(); });
    moved = kinglet::Model::load(scratch.path.string()).value().session().value();
    fails(kinglet::Status::Unsupported, "chat template",
          [&] { (void)kinglet::Model::load(fixtures + "/generation/gpt2").value().session().value(); });
}

void files_and_answers(const std::string &fixtures) {
    const Scratch scratch;
    const auto source = fixtures + "/generation/gpt2", destination = (scratch.path / "gpt2.kinglet").string();
    std::vector<double> shares;
    kinglet::quantize(source, destination, kinglet::Precision::F32, {[&](double fraction) {
        shares.push_back(fraction);
        return true;
    }}).value();
    CHECK(!shares.empty() && shares.back() == 1.0);
    kinglet::ModelOptions loading;
    loading.answer_cache_bytes = 1 << 20;
    {
        const auto model = kinglet::Model::load(destination, loading).value();
        CHECK(same(model.generate("The river", defaults()).value()[0].tokens, greedy));
        CHECK(same(model.generate({"The river", small}, defaults()).value()[1].tokens, small_greedy));
        const auto counters = model.counters().value();
        CHECK(counters[kinglet::Stage::AnswerHit].calls == 1 && counters[kinglet::Stage::AnswerMiss].calls == 2);
    }
    kinglet::quantize(source, destination, kinglet::Precision::Int8).value();
    CHECK(kinglet::Model::load(destination).value().precision() == kinglet::Precision::Int8);
    try {
        kinglet::quantize(source, destination, kinglet::Precision::Int8, {[](double) -> bool { throw 7; }}).value();
        CHECK(!"an exception");
    } catch (int thrown) {
        CHECK(thrown == 7);
    }
    kinglet::QuantizeOptions calibrated;
    calibrated.calibration_texts = {"The river", small};
    kinglet::quantize(source, destination, kinglet::Precision::Int8, calibrated).value();
    CHECK(kinglet::Model::load(destination).value().describe().value().find("\"texts\":2") != std::string::npos);
    CHECK(kinglet::quantize(source, destination, kinglet::Precision::F32, {[](double) { return false; }}).status() ==
          kinglet::Status::Cancelled);
    fails(kinglet::Status::NotFound, "nowhere",
          [&] { kinglet::quantize(fixtures + "/nowhere", destination, kinglet::Precision::F32).value(); });
}

// As onnx() in consumer_session.c; a decoder here.
void onnx(const std::string &fixtures) {
    kinglet::ModelOptions options;
    CHECK(options.onnxruntime.empty());
    options.onnxruntime = "/nowhere/libonnxruntime.so";
    fails(kinglet::Status::NotFound, "onnxruntime: /nowhere/libonnxruntime.so",
          [&] { (void)kinglet::Model::load(fixtures + "/onnx/gpt2", options).value(); });
    const char *library = std::getenv("KINGLET_ONNXRUNTIME");
    if (!library || !*library) return;
    options.onnxruntime = library;
    const auto model = kinglet::Model::load(fixtures + "/onnx/gpt2", options).value();
    CHECK(same(model.generate("The river", defaults()).value()[0].tokens, greedy));
    CHECK(model.describe().value().find("\"backend\":\"onnx\"") != std::string::npos);
    std::printf("an ONNX graph was run by %s\n", library);
}

} // namespace

int generate_main(const std::string &fixtures) {
    {
        const auto model = kinglet::Model::load(fixtures + "/generation/gpt2").value();
        greedily(model);
        drafting(model);
        beams(model);
        streaming(model);
        cancelling(model);
        requests(model);
        choosing(model);
        logits_and_prefixes(model);
    }
    sources(fixtures);
    sessions(fixtures);
    files_and_answers(fixtures);
    onnx(fixtures);
    return finish(__cplusplus >= 202002L ? "consumer_generate.cpp, C++20" : "consumer_generate.cpp, C++17");
}

/* Generation as a C99 program uses it: against what transformers computes (tests/fixtures/generation), and its failures. */

#include <pthread.h>

#include "consumer_generate.h"

int generate_main(const char *directory);

/* The same case with 5 beams. */
static const uint32_t beam_0[] = {180, 150, 180, 109, 130, 52,  280, 291, 15,  12, 150, 12,
                                  90,  180, 109, 280, 90,  115, 150, 180, 177, 71, 261, 291};
static const uint32_t beam_1[] = {180, 150, 180, 109, 130, 52, 280, 291, 15, 12, 150, 12, 90, 180, 109, 280, 90, 142};
/* t5-gated, "She wrote a short letter to him.", and bart, "The river". */
static const uint32_t t5_greedy[] = {37, 134, 255, 73, 247, 246};
static const uint32_t bart_greedy[] = {0, 139, 79, 137, 293, 293, 241, 57, 293, 293, 245, 4, 123};

static void greedily(const kinglet_model *model) {
    const kinglet_str texts[] = {str("The river"), str(small)};
    static const size_t lengths[] = {4};
    kinglet_generate_options options = defaults();
    kinglet_generations *made = NULL;
    kinglet_generations_view view;
    kinglet_text *text = NULL;
    kinglet_text_view text_view;
    kinglet_output one;
    double sum = 0;

    CHECK(options.struct_size == sizeof options && options.min_new_tokens == KINGLET_UNSET && isnan(options.temperature));
    options.logprobs = 1;
    OK(kinglet_counters_reset(model, &error));
    OK(kinglet_model_generate(model, texts, 2, &options, &made, &error));
    view.struct_size = sizeof view;
    OK(kinglet_generations_read(made, &view, &error));
    REQUIRE(view.count == 2 && view.input_token_counts[0] == 4 && view.input_token_counts[1] == 55 && !view.truncated[1]);
    one = output(made, 0, 0);
    SAME(one, greedy);
    CHECK(one.output_count == 1 && one.finish == KINGLET_FINISH_LENGTH && one.logprobs != NULL);
    for (size_t i = 0; i < one.token_count; ++i) {
        CHECK(one.logprobs[i] <= 0);
        sum += one.logprobs[i];
    }
    NEAR(one.score, sum);
    text_view.struct_size = sizeof text_view;
    OK(kinglet_model_decode(model, one.tokens, one.token_count, 1, &text, &error));
    OK(kinglet_text_read(text, &text_view, &error));
    CHECK(text_view.text.size == one.text.size && memcmp(text_view.text.data, one.text.data, one.text.size) == 0);
    kinglet_text_free(text);
    one = output(made, 1, 0);
    SAME(one, small_greedy);
    CHECK(one.finish == KINGLET_FINISH_EOS);
    kinglet_generations_free(made);

    kinglet_counters counters = counted(model);
    CHECK(counters.prefill.tokens >= 4 + 55 && counters.decode.tokens > 0 && counters.sample.nanoseconds > 0);
    CHECK(counters.first_token.items == 2 && counters.first_token.nanoseconds > 0 && counters.detokenize.items == 2);
    CHECK(counters.call.items == 2 && counters.call.tokens == COUNT(greedy) + COUNT(small_greedy));
    CHECK(counters.answer_hit.calls == 0 && counters.answer_miss.calls == 0);

    /* From ids, with the end tokens ignored, without log-probabilities. */
    options = defaults();
    options.ignore_eos = 1;
    OK(kinglet_model_generate_ids(model, river, 4, lengths, 1, &options, &made, &error));
    one = output(made, 0, 0);
    CHECK(one.token_count == 24 && one.logprobs == NULL);
    kinglet_generations_free(made);

    /* Not beyond what there is. */
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    one.struct_size = sizeof one;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "index: 1", kinglet_generations_output(made, 1, 0, &one, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "number: 1", kinglet_generations_output(made, 0, 1, &one, &error));
    one.struct_size = 8;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "struct_size", kinglet_generations_output(made, 0, 0, &one, &error));
    kinglet_generations_free(made);
}

/* Drafts change how soon a text is there, and nothing of it; who was compiled before there were any gets none. */
static void drafting(const kinglet_model *model) {
    const kinglet_str texts[] = {str("The river"), str(small)};
    kinglet_generate_options options = defaults();
    kinglet_generations *made = NULL;
    kinglet_counters counters;
    uint32_t only[299];
    kinglet_output one;

    CHECK(options.prompt_lookup_num_tokens == KINGLET_UNSET && options.max_matching_ngram_size == KINGLET_UNSET);
    options.prompt_lookup_num_tokens = 5;
    options.max_matching_ngram_size = 1;
    OK(kinglet_counters_reset(model, &error));
    OK(kinglet_model_generate(model, texts, 2, &options, &made, &error));
    one = output(made, 0, 0);
    SAME(one, greedy);
    one = output(made, 1, 0);
    SAME(one, small_greedy);
    kinglet_generations_free(made);
    counters = counted(model);
    CHECK(counters.draft.tokens > 0 && counters.accept.tokens <= counters.draft.tokens);

    /* All but token 299 are forbidden: 24 times the same, in fewer steps. */
    for (uint32_t i = 0; i < COUNT(only); ++i) only[i] = i;
    options.suppress_tokens.data = only;
    options.suppress_tokens.count = COUNT(only);
    options.max_matching_ngram_size = 2;
    OK(kinglet_counters_reset(model, &error));
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    one = output(made, 0, 0);
    CHECK(one.token_count == 24 && one.tokens[0] == 299 && one.tokens[23] == 299);
    kinglet_generations_free(made);
    counters = counted(model);
    CHECK(counters.decode.calls < 12 && counters.accept.tokens > 12);

    options.struct_size = offsetof(kinglet_generate_options, prompt_lookup_num_tokens);
    OK(kinglet_counters_reset(model, &error));
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    kinglet_generations_free(made);
    counters = counted(model);
    CHECK(counters.decode.calls == 23 && counters.draft.calls == 0);
}

static void beams(const kinglet_model *model) {
    const kinglet_str texts[] = {str("The river")};
    kinglet_generate_options options = defaults();
    kinglet_generations *made = NULL;
    kinglet_output one;

    options.num_beams = 5;
    options.num_return_sequences = 2;
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    one = output(made, 0, 0);
    CHECK(one.output_count == 2);
    SAME(one, beam_0);
    NEAR(one.score, -1.250871);
    one = output(made, 0, 1);
    SAME(one, beam_1);
    NEAR(one.score, -1.253752);
    CHECK(one.finish == KINGLET_FINISH_EOS);
    kinglet_generations_free(made);
}

static void streaming(const kinglet_model *model) {
    const kinglet_str texts[] = {str("The river"), str(small)};
    static listener heard;
    kinglet_generate_options options = defaults();
    kinglet_generations *made = NULL;

    memset(&heard, 0, sizeof heard);
    options.on_piece = on_piece;
    options.on_piece_user_data = &heard;
    OK(kinglet_model_generate(model, texts, 2, &options, &made, &error));
    CHECK(heard.pieces == COUNT(greedy) + COUNT(small_greedy));
    for (size_t i = 0; i < 2; ++i) {
        kinglet_output one = output(made, i, 0);
        CHECK(heard.size[i] == one.text.size && memcmp(heard.text[i], one.text.data, one.text.size) == 0);
        CHECK(heard.token_count[i] == one.token_count);
        CHECK(memcmp(heard.tokens[i], one.tokens, one.token_count * sizeof *one.tokens) == 0);
        CHECK(heard.finish[i] == one.finish);
    }
    kinglet_generations_free(made);

    /* Cancelled by who listens. */
    made = NULL;
    memset(&heard, 0, sizeof heard);
    heard.stop_at = 3;
    FAILS(KINGLET_STATUS_CANCELLED, "cancel", kinglet_model_generate(model, texts, 2, &options, &made, &error));
    CHECK(made == NULL && heard.pieces == 3);
    options.num_beams = 4;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "num_beams", kinglet_model_generate(model, texts, 2, &options, &made, &error));
}

typedef struct {
    const kinglet_model *model;
    const kinglet_cancellation *cancellation;
    kinglet_status last;
} worker;

static void *generate_until_cancelled(void *argument) {
    worker *self = argument;
    const kinglet_str texts[] = {str("The river"), str("a"), str(small)};
    kinglet_generate_options options;
    kinglet_generate_options_init(&options, sizeof options, NULL);
    options.ignore_eos = 1;
    options.cancellation = self->cancellation;
    for (int calls = 0; self->last == KINGLET_STATUS_OK && calls < 100000; ++calls) {
        kinglet_generations *made = NULL;
        self->last = kinglet_model_generate(self->model, texts, 3, &options, &made, NULL);
        kinglet_generations_free(made);
    }
    return NULL;
}

static void cancelling(const kinglet_model *model) {
    kinglet_cancellation *cancellation = NULL;
    pthread_t threads[2];
    worker workers[2];

    OK(kinglet_cancellation_new(&cancellation, &error));
    OK(kinglet_counters_reset(model, &error));
    for (int i = 0; i < 2; ++i) {
        workers[i] = (worker){model, cancellation, KINGLET_STATUS_OK};
        REQUIRE(pthread_create(&threads[i], NULL, generate_until_cancelled, &workers[i]) == 0);
    }
    /* Cancel once they are at work. */
    while (counted(model).decode.calls < 20) {
    }
    OK(kinglet_cancellation_cancel(cancellation, &error));
    for (int i = 0; i < 2; ++i) {
        pthread_join(threads[i], NULL);
        CHECK(workers[i].last == KINGLET_STATUS_CANCELLED);
    }
    kinglet_cancellation_free(cancellation);
}

#define CONTRADICTS(name, ...)                                                                          \
    do {                                                                                                \
        kinglet_generate_options options = defaults();                                                  \
        kinglet_generations *made = NULL;                                                               \
        __VA_ARGS__;                                                                                    \
        FAILS(KINGLET_STATUS_INVALID_ARGUMENT, name, kinglet_model_generate(model, texts, 1, &options, &made, &error)); \
        CHECK(made == NULL);                                                                            \
    } while (0)

static void options_that_contradict(const kinglet_model *model) {
    const kinglet_str texts[] = {str("The river")}, empty[] = {str("")};
    static const uint32_t beyond[] = {300};
    const kinglet_ids words[] = {{beyond, 1}}, no_words[] = {{NULL, 0}};

    CONTRADICTS("temperature", options.temperature = 0.5f);
    CONTRADICTS("top_p", options.top_p = 0.9f);
    CONTRADICTS("seed", options.has_seed = 1);
    CONTRADICTS("num_beams", options.do_sample = KINGLET_CHOICE_YES; options.num_beams = 2);
    CONTRADICTS("num_beams", options.num_beams = 1000);
    CONTRADICTS("length_penalty", options.length_penalty = 2.0f);
    CONTRADICTS("early_stopping", options.early_stopping = KINGLET_EARLY_STOPPING_YES);
    CONTRADICTS("num_return_sequences", options.num_return_sequences = 2);
    CONTRADICTS("min_new_tokens", options.min_new_tokens = 25);
    CONTRADICTS("max_new_tokens", options.max_new_tokens = 0);
    CONTRADICTS("max_new_tokens", options.max_new_tokens = KINGLET_UNSET - 1);
    CONTRADICTS("max_matching_ngram_size", options.max_matching_ngram_size = 2);
    CONTRADICTS("prompt_lookup_num_tokens", options.prompt_lookup_num_tokens = 4; options.do_sample = KINGLET_CHOICE_YES);
    CONTRADICTS("num_beams above 1", options.prompt_lookup_num_tokens = 4; options.num_beams = 2);
    CONTRADICTS("ignore_eos", options.ignore_eos = 1; options.grammar_kind = KINGLET_GRAMMAR_REGEX; options.grammar = str("a+"));
    CONTRADICTS("grammar", options.grammar_kind = KINGLET_GRAMMAR_REGEX; options.grammar = str("(a"));
    CONTRADICTS("options.grammar_kind: 9", options.grammar_kind = 9);
    CONTRADICTS("stop_strings", options.stop_strings = empty; options.stop_string_count = 1);
    CONTRADICTS("options.stop_strings: is NULL", options.stop_string_count = 1);
    CONTRADICTS("bad_words_ids: 300", options.bad_words_ids = words; options.bad_word_count = 1);
    CONTRADICTS("bad_words_ids", options.bad_words_ids = no_words; options.bad_word_count = 1);
    CONTRADICTS("suppress_tokens: 300", options.suppress_tokens = words[0]);
    CONTRADICTS("options.suppress_tokens: is NULL", options.suppress_tokens.count = 1);
    CONTRADICTS("forced_bos_token_id", options.forced_bos_token_id = (uint64_t)1 << 40);
    CONTRADICTS("options.do_sample: 3", options.do_sample = 3);
    CONTRADICTS("options.has_seed: 2", options.has_seed = 2);
    CONTRADICTS("options.struct_size", options.struct_size = 8);
}

/* Options that change what comes. */
static void choosing(const kinglet_model *model) {
    const kinglet_str texts[] = {str("The river")};
    const kinglet_ids words[] = {{greedy + 1, 1}};
    kinglet_generations *made = NULL, *again = NULL;
    kinglet_generate_options options = defaults();
    kinglet_output one, two;

    options.do_sample = KINGLET_CHOICE_YES;
    options.temperature = 2.0f;
    options.seed = 7;
    options.has_seed = 1;
    options.num_return_sequences = 3;
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    OK(kinglet_model_generate(model, texts, 1, &options, &again, &error));
    for (size_t i = 0; i < 3; ++i) {
        one = output(made, 0, i);
        two = output(again, 0, i);
        CHECK(one.output_count == 3 && one.token_count == two.token_count);
        CHECK(memcmp(one.tokens, two.tokens, one.token_count * sizeof *one.tokens) == 0);
    }
    kinglet_generations_free(again);
    kinglet_generations_free(made);

    options = defaults();
    options.bad_words_ids = words;
    options.bad_word_count = 1;
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    one = output(made, 0, 0);
    CHECK(one.tokens[0] == greedy[0] && one.tokens[1] != greedy[1]);
    kinglet_generations_free(made);

    options = defaults();
    options.suppress_tokens.data = greedy;
    options.suppress_tokens.count = 1;
    options.eos_token_id.data = greedy + 1;
    options.eos_token_id.count = 1;
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    one = output(made, 0, 0);
    for (size_t i = 0; i < one.token_count; ++i) CHECK(one.tokens[i] != greedy[0]);
    kinglet_generations_free(made);

    options = defaults();
    options.grammar_kind = KINGLET_GRAMMAR_REGEX;
    options.grammar = str("[ab]{3}");
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    one = output(made, 0, 0);
    CHECK(one.text.size == 3 && one.finish == KINGLET_FINISH_EOS);
    for (size_t i = 0; i < one.text.size; ++i) CHECK(one.text.data[i] == 'a' || one.text.data[i] == 'b');
    /* A text ends before its stop string. */
    const kinglet_str stops[] = {str("q"), {one.text.data + 1, 1}};
    options.stop_strings = stops;
    options.stop_string_count = 2;
    OK(kinglet_model_generate(model, texts, 1, &options, &again, &error));
    two = output(again, 0, 0);
    CHECK(two.finish == KINGLET_FINISH_STOP_STRING && two.text.size < 3);
    kinglet_generations_free(again);
    kinglet_generations_free(made);
}

static void sources(void) {
    const kinglet_str letter[] = {str("She wrote a short letter to him.")}, texts[] = {str("The river")};
    kinglet_model *model = load("generation/t5-gated");
    kinglet_generations *made = NULL;
    kinglet_prefix *prefix = NULL;
    kinglet_session *session = NULL;
    kinglet_model_view view;
    kinglet_logits *logits = NULL;
    kinglet_generate_options options = defaults();
    kinglet_output one;

    view.struct_size = sizeof view;
    OK(kinglet_model_read(model, &view, &error));
    CHECK(view.can_generate == 1 && view.has_encoder == 1 && same(view.family, "t5"));
    OK(kinglet_model_generate(model, letter, 1, &options, &made, &error));
    one = output(made, 0, 0);
    SAME(one, t5_greedy);
    kinglet_generations_free(made);
    FAILS(KINGLET_STATUS_UNSUPPORTED, "decoder", kinglet_prefix_new(model, letter[0], 1, &prefix, &error));
    FAILS(KINGLET_STATUS_UNSUPPORTED, "decoder", kinglet_session_new(model, &session, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "decoder_ids", kinglet_model_logits(model, river, 4, NULL, 0, 0, NULL, &logits, &error));
    kinglet_model_free(model);

    model = load("generation/bart");
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    /* Results outlive their model. */
    kinglet_model_free(model);
    one = output(made, 0, 0);
    SAME(one, bart_greedy);
    kinglet_generations_free(made);

    model = load("bert");
    OK(kinglet_model_read(model, &view, &error));
    CHECK(view.can_generate == 0);
    FAILS(KINGLET_STATUS_UNSUPPORTED, "bert", kinglet_model_generate(model, texts, 1, NULL, &made, &error));
    kinglet_model_free(model);
}

int generate_main(const char *directory) {
    fixtures = directory;
    kinglet_model *model = load("generation/gpt2");
    greedily(model);
    drafting(model);
    beams(model);
    streaming(model);
    cancelling(model);
    options_that_contradict(model);
    choosing(model);
    kinglet_model_free(model);
    sources();
    return finish("consumer_generate.c");
}

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

static void greedily(kinglet_model *model) {
    const kinglet_str texts[] = {KINGLET_STR("The river"), kinglet_str_from(small)};
    static const size_t lengths[] = {4};
    kinglet_generate_options options = defaults();
    kinglet_generations *made = NULL;
    kinglet_generations_view view;
    kinglet_text *text = NULL;
    kinglet_generation_output one;
    double sum = 0;

    CHECK(options.struct_size == sizeof options && options.min_new_tokens == KINGLET_UNSET && isnan(options.temperature));
    options.logprobs = 1;
    kinglet_model_reset_counters(model);
    OK(kinglet_model_generate(model, texts, 2, &options, &made, &error));
    view.struct_size = sizeof view;
    OK(kinglet_generations_read(made, &view, &error));
    REQUIRE(view.count == 2 && view.input_token_counts[0] == 4 && view.input_token_counts[1] == 55 && !view.truncated[1]);
    one = output(made, 0, 0);
    SAME(one, greedy);
    CHECK(one.output_count == 1 && one.finish_reason == KINGLET_FINISH_REASON_LENGTH && one.logprobs != NULL);
    for (size_t i = 0; i < one.token_count; ++i) {
        CHECK(one.logprobs[i] <= 0);
        sum += one.logprobs[i];
    }
    NEAR(one.score, sum);
    OK(kinglet_model_detokenize(model, one.tokens, one.token_count, NULL, &text, &error));
    CHECK(equal(kinglet_text_str(text), one.text) && equal(kinglet_generations_text(made, 0), one.text));
    kinglet_text_free(text);
    one = output(made, 1, 0);
    SAME(one, small_greedy);
    CHECK(one.finish_reason == KINGLET_FINISH_REASON_EOS);
    kinglet_generations_free(made);

    CHECK(counted(model, KINGLET_STAGE_PREFILL).tokens >= 4 + 55 && counted(model, KINGLET_STAGE_DECODE).tokens > 0 && counted(model, KINGLET_STAGE_SAMPLE).nanoseconds > 0);
    CHECK(counted(model, KINGLET_STAGE_FIRST_TOKEN).items == 2 && counted(model, KINGLET_STAGE_FIRST_TOKEN).nanoseconds > 0 && counted(model, KINGLET_STAGE_DETOKENIZE).items == 2);
    CHECK(counted(model, KINGLET_STAGE_CALL).items == 2 && counted(model, KINGLET_STAGE_CALL).tokens == COUNT(greedy) + COUNT(small_greedy));
    CHECK(counted(model, KINGLET_STAGE_ANSWER_HIT).calls == 0 && counted(model, KINGLET_STAGE_ANSWER_MISS).calls == 0);

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
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "sequence: 1", kinglet_generations_output(made, 0, 1, &one, &error));
    one.struct_size = 8;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "struct_size", kinglet_generations_output(made, 0, 0, &one, &error));
    kinglet_generations_free(made);
}

/* Prompt lookup changes how fast a text comes, not the text. */
static void drafting(kinglet_model *model) {
    const kinglet_str texts[] = {KINGLET_STR("The river"), kinglet_str_from(small)};
    kinglet_generate_options options = defaults();
    kinglet_generations *made = NULL;
    uint32_t only[299];
    kinglet_generation_output one;

    CHECK(options.prompt_lookup_num_tokens == KINGLET_UNSET && options.max_matching_ngram_size == KINGLET_UNSET);
    options.prompt_lookup_num_tokens = 5;
    options.max_matching_ngram_size = 1;
    kinglet_model_reset_counters(model);
    OK(kinglet_model_generate(model, texts, 2, &options, &made, &error));
    one = output(made, 0, 0);
    SAME(one, greedy);
    one = output(made, 1, 0);
    SAME(one, small_greedy);
    kinglet_generations_free(made);
    CHECK(counted(model, KINGLET_STAGE_DRAFT).tokens > 0 && counted(model, KINGLET_STAGE_ACCEPT).tokens <= counted(model, KINGLET_STAGE_DRAFT).tokens);

    /* All but token 299 are forbidden: 24 times the same, in fewer steps. */
    for (uint32_t i = 0; i < COUNT(only); ++i) only[i] = i;
    options.suppress_tokens.data = only;
    options.suppress_tokens.count = COUNT(only);
    options.max_matching_ngram_size = 2;
    kinglet_model_reset_counters(model);
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    one = output(made, 0, 0);
    CHECK(one.token_count == 24 && one.tokens[0] == 299 && one.tokens[23] == 299);
    kinglet_generations_free(made);
    CHECK(counted(model, KINGLET_STAGE_DECODE).calls < 12 && counted(model, KINGLET_STAGE_ACCEPT).tokens > 12);

    options.prompt_lookup_num_tokens = KINGLET_UNSET;
    options.max_matching_ngram_size = KINGLET_UNSET;
    kinglet_model_reset_counters(model);
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    kinglet_generations_free(made);
    CHECK(counted(model, KINGLET_STAGE_DECODE).calls == 23 && counted(model, KINGLET_STAGE_DRAFT).calls == 0);
}

static void beams(const kinglet_model *model) {
    const kinglet_str texts[] = {KINGLET_STR("The river")};
    kinglet_generate_options options = defaults();
    kinglet_generations *made = NULL;
    kinglet_generation_output one;

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
    CHECK(one.finish_reason == KINGLET_FINISH_REASON_EOS);
    kinglet_generations_free(made);
}

static void streaming(const kinglet_model *model) {
    const kinglet_str texts[] = {KINGLET_STR("The river"), kinglet_str_from(small)};
    static listener heard;
    kinglet_generate_options options = defaults();
    kinglet_generations *made = NULL;

    memset(&heard, 0, sizeof heard);
    options.on_piece = on_piece;
    options.on_piece_user_data = &heard;
    OK(kinglet_model_generate(model, texts, 2, &options, &made, &error));
    CHECK(heard.pieces == COUNT(greedy) + COUNT(small_greedy));
    for (size_t i = 0; i < 2; ++i) {
        kinglet_generation_output one = output(made, i, 0);
        CHECK(heard.size[i] == one.text.size && memcmp(heard.text[i], one.text.data, one.text.size) == 0);
        CHECK(heard.token_count[i] == one.token_count);
        CHECK(memcmp(heard.tokens[i], one.tokens, one.token_count * sizeof *one.tokens) == 0);
        CHECK(heard.finish[i] == one.finish_reason);
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
    const kinglet_str texts[] = {KINGLET_STR("The river"), KINGLET_STR("a"), kinglet_str_from(small)};
    kinglet_generate_options options;
    kinglet_generate_options_init(&options, sizeof options);
    options.ignore_eos = 1;
    options.cancellation = self->cancellation;
    for (int calls = 0; self->last == KINGLET_STATUS_OK && calls < 100000; ++calls) {
        kinglet_generations *made = NULL;
        self->last = kinglet_model_generate(self->model, texts, 3, &options, &made, NULL);
        kinglet_generations_free(made);
    }
    return NULL;
}

static void cancelling(kinglet_model *model) {
    kinglet_cancellation *cancellation = kinglet_cancellation_new();
    pthread_t threads[2];
    worker workers[2];

    kinglet_model_reset_counters(model);
    for (int i = 0; i < 2; ++i) {
        workers[i] = (worker){model, cancellation, KINGLET_STATUS_OK};
        REQUIRE(pthread_create(&threads[i], NULL, generate_until_cancelled, &workers[i]) == 0);
    }
    /* Cancel once they are at work. */
    while (counted(model, KINGLET_STAGE_DECODE).calls < 20) {
    }
    kinglet_cancellation_cancel(cancellation);
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
    const kinglet_str texts[] = {KINGLET_STR("The river")}, empty[] = {KINGLET_STR("")};
    static const uint32_t beyond[] = {300};
    const kinglet_ids words[] = {{beyond, 1}}, no_words[] = {{NULL, 0}};
    const float biases[] = {1.0f};

    CONTRADICTS("temperature", options.temperature = 0.5f);
    CONTRADICTS("top_p", options.top_p = 0.9f);
    CONTRADICTS("seed", options.has_seed = 1);
    CONTRADICTS("num_beams", options.do_sample = KINGLET_TRISTATE_YES; options.num_beams = 2);
    CONTRADICTS("num_beams", options.num_beams = 1000);
    CONTRADICTS("length_penalty", options.length_penalty = 2.0f);
    CONTRADICTS("early_stopping", options.early_stopping = KINGLET_EARLY_STOPPING_YES);
    CONTRADICTS("num_return_sequences", options.num_return_sequences = 2);
    CONTRADICTS("min_new_tokens", options.min_new_tokens = 25);
    CONTRADICTS("max_new_tokens", options.max_new_tokens = 0);
    CONTRADICTS("max_new_tokens", options.max_new_tokens = KINGLET_UNSET - 1);
    CONTRADICTS("max_matching_ngram_size", options.max_matching_ngram_size = 2);
    CONTRADICTS("prompt_lookup_num_tokens", options.prompt_lookup_num_tokens = 4; options.do_sample = KINGLET_TRISTATE_YES);
    CONTRADICTS("num_beams above 1", options.prompt_lookup_num_tokens = 4; options.num_beams = 2);
    CONTRADICTS("ignore_eos", options.ignore_eos = 1; options.grammar_kind = KINGLET_GRAMMAR_KIND_REGEX; options.grammar = KINGLET_STR("a+"));
    CONTRADICTS("grammar", options.grammar_kind = KINGLET_GRAMMAR_KIND_REGEX; options.grammar = KINGLET_STR("(a"));
    CONTRADICTS("options.grammar_kind: 9", options.grammar_kind = 9);
    CONTRADICTS("stop_strings", options.stop_strings = empty; options.stop_string_count = 1);
    CONTRADICTS("options.stop_strings: is NULL", options.stop_string_count = 1);
    CONTRADICTS("bad_words_ids: 300", options.bad_words_ids = words; options.bad_word_count = 1);
    CONTRADICTS("bad_words_ids", options.bad_words_ids = no_words; options.bad_word_count = 1);
    CONTRADICTS("sequence_bias: 300", options.sequence_bias_ids = words; options.sequence_bias = biases; options.sequence_bias_count = 1);
    CONTRADICTS("options.sequence_bias: is NULL", options.sequence_bias_ids = words; options.sequence_bias_count = 1);
    CONTRADICTS("options.sequence_bias_ids: is NULL", options.sequence_bias = biases; options.sequence_bias_count = 1);
    CONTRADICTS("exponential_decay_length_penalty", options.exponential_decay_factor = -1.1f);
    CONTRADICTS("exponential_decay_start", options.exponential_decay_start = 3);
    CONTRADICTS("encoder_repetition_penalty", options.encoder_repetition_penalty = -1.0f);
    CONTRADICTS("decoder_input_ids", options.decoder_input_ids = words; options.decoder_input_count = 1);
    CONTRADICTS("options.decoder_input_texts: is NULL", options.decoder_input_text_count = 1);
    CONTRADICTS("suppress_tokens: 300", options.suppress_tokens = words[0]);
    CONTRADICTS("options.suppress_tokens: is NULL", options.suppress_tokens.count = 1);
    CONTRADICTS("forced_bos_token_id", options.forced_bos_token_id = (uint64_t)1 << 40);
    CONTRADICTS("options.do_sample: 3", options.do_sample = 3);
    CONTRADICTS("options.has_seed: 2", options.has_seed = 2);
    CONTRADICTS("options.struct_size", options.struct_size = 8);
}

/* Options that change what comes. */
static void choosing(const kinglet_model *model) {
    const kinglet_str texts[] = {KINGLET_STR("The river")};
    const kinglet_ids words[] = {{greedy + 1, 1}};
    kinglet_generations *made = NULL, *again = NULL;
    kinglet_generate_options options = defaults();
    kinglet_generation_output one, two;

    options.do_sample = KINGLET_TRISTATE_YES;
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

    const float bias = -1000.0f;
    options = defaults();
    options.sequence_bias_ids = words;
    options.sequence_bias = &bias;
    options.sequence_bias_count = 1;
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    one = output(made, 0, 0);
    CHECK(one.tokens[0] == greedy[0] && one.tokens[1] != greedy[1]);
    kinglet_generations_free(made);

    options = defaults();
    options.eos_token_ids.data = greedy + 1;
    options.eos_token_ids.count = 1;
    options.suppress_tokens.data = NULL;
    options.exponential_decay_start = 2;
    options.exponential_decay_factor = 100.0f;
    options.min_new_tokens = 4;
    options.encoder_repetition_penalty = 1.5f;
    options.encoder_no_repeat_ngram_size = 2;
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    one = output(made, 0, 0);
    CHECK(one.finish_reason == KINGLET_FINISH_REASON_EOS && one.token_count < 8);
    kinglet_generations_free(made);

    options = defaults();
    options.suppress_tokens.data = greedy;
    options.suppress_tokens.count = 1;
    options.eos_token_ids.data = greedy + 1;
    options.eos_token_ids.count = 1;
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    one = output(made, 0, 0);
    for (size_t i = 0; i < one.token_count; ++i) CHECK(one.tokens[i] != greedy[0]);
    kinglet_generations_free(made);

    options = defaults();
    options.grammar_kind = KINGLET_GRAMMAR_KIND_REGEX;
    options.grammar = KINGLET_STR("[ab]{3}");
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    one = output(made, 0, 0);
    CHECK(one.text.size == 3 && one.finish_reason == KINGLET_FINISH_REASON_EOS);
    for (size_t i = 0; i < one.text.size; ++i) CHECK(one.text.data[i] == 'a' || one.text.data[i] == 'b');
    /* A text ends before its stop string. */
    const kinglet_str stops[] = {KINGLET_STR("q"), {one.text.data + 1, 1}};
    options.stop_strings = stops;
    options.stop_string_count = 2;
    OK(kinglet_model_generate(model, texts, 1, &options, &again, &error));
    two = output(again, 0, 0);
    CHECK(two.finish_reason == KINGLET_FINISH_REASON_STOP_STRING && two.text.size < 3);
    kinglet_generations_free(again);
    kinglet_generations_free(made);
}

static void sources(void) {
    const kinglet_str letter[] = {KINGLET_STR("She wrote a short letter to him.")}, texts[] = {KINGLET_STR("The river")};
    kinglet_model *model = load("generation/t5-gated");
    kinglet_generations *made = NULL;
    kinglet_prefix *prefix = NULL;
    kinglet_session *session = NULL;
    kinglet_model_view view;
    kinglet_logits *logits = NULL;
    kinglet_generate_options options = defaults();
    kinglet_generation_output one;

    view.struct_size = sizeof view;
    OK(kinglet_model_read(model, &view, &error));
    CHECK(view.can_generate == 1 && view.has_encoder == 1 && same(view.family, "t5"));
    OK(kinglet_model_generate(model, letter, 1, &options, &made, &error));
    one = output(made, 0, 0);
    SAME(one, t5_greedy);
    kinglet_generations_free(made);
    /* The decoder continues what it is given. */
    const kinglet_ids given[] = {{t5_greedy, 2}};
    options.decoder_input_ids = given;
    options.decoder_input_count = 1;
    OK(kinglet_model_generate(model, letter, 1, &options, &made, &error));
    one = output(made, 0, 0);
    CHECK(one.token_count >= 4 && memcmp(one.tokens, t5_greedy + 2, 4 * sizeof *one.tokens) == 0);
    kinglet_generations_free(made);
    options.decoder_input_texts = letter;
    options.decoder_input_text_count = 1;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "decoder_input_texts", kinglet_model_generate(model, letter, 1, &options, &made, &error));
    options.decoder_input_count = 0;
    OK(kinglet_model_generate(model, letter, 1, &options, &made, &error));
    CHECK(output(made, 0, 0).token_count > 0);
    kinglet_generations_free(made);
    options = defaults();
    FAILS(KINGLET_STATUS_UNSUPPORTED, "decoder", kinglet_prefix_new(model, letter[0], NULL, &prefix, &error));
    FAILS(KINGLET_STATUS_UNSUPPORTED, "decoder", kinglet_session_new(model, NULL, &session, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "decoder_ids", kinglet_model_logits(model, river, 4, NULL, 0, NULL, &logits, &error));
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

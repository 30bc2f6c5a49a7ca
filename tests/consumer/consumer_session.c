/* What generation keeps, as a C99 program uses it: prefixes, chats, .kinglet files, answers. And logits, the structs of older
 * programs, and NULL where something belongs. */

#define _POSIX_C_SOURCE 200809L

#include <stddef.h>
#include <unistd.h>

#include "consumer_generate.h"

int session_main(const char *directory);

static char scratch[64];

static void logits(const kinglet_model *model) {
    kinglet_logits *made = NULL, *stepwise = NULL;
    kinglet_logits_view view, other;

    view.struct_size = other.struct_size = sizeof view;
    OK(kinglet_model_logits(model, river, 4, NULL, 0, 0, NULL, &made, &error));
    OK(kinglet_model_logits(model, river, 4, NULL, 0, 1, NULL, &stepwise, &error));
    OK(kinglet_logits_read(made, &view, &error));
    OK(kinglet_logits_read(stepwise, &other, &error));
    REQUIRE(view.token_count == 4 && view.vocabulary_size == 300 && other.token_count == 4);
    NEAR(view.values[0], 0.8122646);
    NEAR(view.values[1], 1.745509);
    size_t best = 0;
    for (size_t i = 0; i < 300; ++i) {
        if (view.values[900 + i] > view.values[900 + best]) best = i;
    }
    CHECK(best == greedy[0]);
    CHECK(memcmp(view.values, other.values, 1200 * sizeof(float)) == 0);
    kinglet_logits_free(stepwise);
    kinglet_logits_free(made);
    made = NULL;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "decoder_ids", kinglet_model_logits(model, river, 4, river, 4, 0, NULL, &made, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "stepwise: 2", kinglet_model_logits(model, river, 4, NULL, 0, 2, NULL, &made, &error));
    CHECK(made == NULL);
}

static void prefixes(const kinglet_model *model) {
    const kinglet_str texts[] = {str(small)};
    kinglet_prefix *prefix = NULL;
    kinglet_generations *made = NULL;
    kinglet_generate_options options = defaults();
    kinglet_output one;

    OK(kinglet_prefix_new(model, str("The small bird sings near the river"), 1, &prefix, &error));
    OK(kinglet_counters_reset(model, &error));
    options.prefix = prefix;
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    /* Another model has no use for it. */
    kinglet_model *other = load("generation/llama");
    kinglet_generations *none = NULL;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "prefix", kinglet_model_generate(other, texts, 1, &options, &none, &error));
    CHECK(none == NULL);
    kinglet_model_free(other);
    kinglet_prefix_free(prefix);
    one = output(made, 0, 0);
    SAME(one, small_greedy);
    kinglet_counters counters = counted(model);
    CHECK(counters.prefill.tokens > 0 && counters.prefill.tokens < 50);
    kinglet_generations_free(made);
}

static void copy(const char *from, const char *to) {
    char buffer[4096];
    size_t size;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    REQUIRE(in != NULL && out != NULL);
    while ((size = fread(buffer, 1, sizeof buffer, in)) > 0) REQUIRE(fwrite(buffer, 1, size, out) == size);
    fclose(in);
    REQUIRE(fclose(out) == 0);
}

static const char *const files[] = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                                    "tokenizer_config.json"};

static const char *in_scratch(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    return path;
}

/* No fixture has a chat template, so one gets one. */
static kinglet_model *load_chat(void) {
    char from[4096];
    kinglet_model *model = NULL;
    for (size_t i = 0; i < COUNT(files); ++i) {
        snprintf(from, sizeof from, "%s/generation/gpt2/%s", fixtures, files[i]);
        copy(from, in_scratch(files[i]));
    }
    FILE *template = fopen(in_scratch("chat_template.jinja"), "w");
    REQUIRE(template != NULL);
    fputs("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
          template);
    REQUIRE(fclose(template) == 0);
    OK(kinglet_model_load(str(scratch), NULL, &model, &error));
    for (size_t i = 0; i < COUNT(files); ++i) remove(in_scratch(files[i]));
    remove(in_scratch("chat_template.jinja"));
    return model;
}

static kinglet_session_view held(const kinglet_session *session) {
    kinglet_session_view view;
    view.struct_size = sizeof view;
    OK(kinglet_session_read(session, &view, &error));
    return view;
}

/* A callback that uses its own session is told so, and does not wait for itself. */
static uint32_t meddle(void *session, const kinglet_piece *piece) {
    (void)piece;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "its own callback", kinglet_session_rewind(session, 0, &error));
    return 1;
}

static void sessions(void) {
    kinglet_model *model = load_chat();
    kinglet_session *session = NULL, *other = NULL;
    kinglet_generations *made = NULL, *again = NULL;
    kinglet_generate_options options = defaults();
    kinglet_message_view message;
    kinglet_output one, two;
    static listener heard;

    OK(kinglet_session_new(model, &session, &error));
    kinglet_model_free(model); /* The session keeps it. */
    CHECK(held(session).message_count == 0 && held(session).held_tokens == 0);
    OK(kinglet_session_add(session, str("system"), str("be short"), &error));
    OK(kinglet_session_add(session, str("user"), str("hi"), &error));
    options.max_new_tokens = 6;
    options.ignore_eos = 1;
    OK(kinglet_session_reply(session, &options, &made, &error));
    one = output(made, 0, 0);
    kinglet_session_view first = held(session);
    CHECK(first.message_count == 3 && first.held_tokens > 6 && one.token_count == 6);
    message.struct_size = sizeof message;
    OK(kinglet_session_message(session, 1, &message, &error));
    CHECK(same(message.role, "user") && same(message.content, "hi"));
    OK(kinglet_session_message(session, 2, &message, &error));
    CHECK(same(message.role, "assistant") && message.content.size == one.text.size);
    CHECK(memcmp(message.content.data, one.text.data, one.text.size) == 0);
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "index: 3", kinglet_session_message(session, 3, &message, &error));

    /* The same turn again says the same. */
    OK(kinglet_session_rewind(session, 2, &error));
    CHECK(held(session).message_count == 2 && held(session).held_tokens == first.held_tokens);
    OK(kinglet_session_reply(session, &options, &again, &error));
    two = output(again, 0, 0);
    CHECK(two.token_count == 6 && memcmp(one.tokens, two.tokens, 6 * sizeof *one.tokens) == 0);
    kinglet_generations_free(again);

    /* A failed turn leaves the chat as it was. */
    OK(kinglet_session_add(session, str("user"), str("go on"), &error));
    memset(&heard, 0, sizeof heard);
    heard.stop_at = 2;
    options.on_piece = on_piece;
    options.on_piece_user_data = &heard;
    again = NULL;
    FAILS(KINGLET_STATUS_CANCELLED, "cancel", kinglet_session_reply(session, &options, &again, &error));
    CHECK(again == NULL && held(session).message_count == 4);
    heard.stop_at = 0;
    memset(&heard, 0, sizeof heard);
    OK(kinglet_session_reply(session, &options, &again, &error));
    two = output(again, 0, 0);
    CHECK(heard.size[0] == two.text.size && memcmp(heard.text[0], two.text.data, two.text.size) == 0);
    CHECK(held(session).message_count == 5 && held(session).held_tokens > first.held_tokens);
    options.on_piece = meddle;
    options.on_piece_user_data = session;
    kinglet_generations_free(again);
    again = NULL;
    OK(kinglet_session_send(session, str("and"), &options, &again, &error));
    CHECK(held(session).message_count == 7);
    OK(kinglet_session_rewind(session, 0, &error));
    CHECK(held(session).message_count == 0);
    kinglet_session_free(session);
    kinglet_generations_free(again);
    kinglet_generations_free(made);

    model = load("generation/gpt2");
    FAILS(KINGLET_STATUS_UNSUPPORTED, "chat template", kinglet_session_new(model, &other, &error));
    kinglet_model_free(model);
}

static uint32_t stop(void *user_data, float share) {
    CHECK(share >= 0 && share <= 1);
    ++*(int *)user_data;
    return 0;
}

static uint32_t go_on(void *user_data, float share) {
    CHECK(share >= 0 && share <= 1);
    ++*(int *)user_data;
    return 1;
}

static void quantizing(void) {
    const char *path = in_scratch("gpt2.kinglet");
    const kinglet_str texts[] = {str("The river")};
    kinglet_model *model = NULL;
    kinglet_model_view view;
    kinglet_generations *made = NULL;
    kinglet_generate_options options = defaults();
    int reports = 0;

    FAILS(KINGLET_STATUS_CANCELLED, "cancel",
          kinglet_quantize(str(fixture("generation/gpt2")), str(path), KINGLET_PRECISION_F32, stop, &reports, &error));
    CHECK(reports == 1 && access(path, F_OK) != 0);
    OK(kinglet_quantize(str(fixture("generation/gpt2")), str(path), KINGLET_PRECISION_F32, go_on, &reports, &error));
    CHECK(reports > 1);
    OK(kinglet_model_load(str(path), NULL, &model, &error));
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    kinglet_output one = output(made, 0, 0);
    SAME(one, greedy);
    kinglet_generations_free(made);
    kinglet_model_free(model);

    OK(kinglet_quantize(str(fixture("generation-gguf/gpt2.gguf")), str(path), KINGLET_PRECISION_INT8, NULL, NULL, &error));
    OK(kinglet_model_load(str(path), NULL, &model, &error));
    view.struct_size = sizeof view;
    OK(kinglet_model_read(model, &view, &error));
    CHECK(view.precision == KINGLET_PRECISION_INT8 && same(view.path, path));
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    kinglet_generations_free(made);
    kinglet_model_free(model);
    remove(path);

    FAILS(KINGLET_STATUS_NOT_FOUND, "nowhere",
          kinglet_quantize(str(fixture("nowhere")), str(path), KINGLET_PRECISION_F32, NULL, NULL, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "destination: is empty",
          kinglet_quantize(str(fixture("generation/gpt2")), str(""), KINGLET_PRECISION_F32, NULL, NULL, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "precision: 9",
          kinglet_quantize(str(fixture("generation/gpt2")), str(path), 9, NULL, NULL, &error));
}

static void answers(void) {
    const kinglet_str texts[] = {str("The river"), str(small)};
    kinglet_model *model = NULL;
    kinglet_model_options options;
    kinglet_generate_options generate = defaults();
    kinglet_generations *made = NULL;

    OK(kinglet_model_options_init(&options, sizeof options, &error));
    CHECK(options.answer_cache_bytes == 0);
    options.answer_cache_bytes = 1 << 20;
    OK(kinglet_model_load(str(fixture("generation/gpt2")), &options, &model, &error));
    OK(kinglet_model_generate(model, texts, 1, &generate, &made, &error));
    kinglet_generations_free(made);
    OK(kinglet_model_generate(model, texts, 2, &generate, &made, &error));
    kinglet_output one = output(made, 0, 0), two = output(made, 1, 0);
    SAME(one, greedy);
    SAME(two, small_greedy);
    kinglet_generations_free(made);
    kinglet_counters counters = counted(model);
    CHECK(counters.answer_hit.calls == 1 && counters.answer_miss.calls == 2 && counters.answer_hit.tokens == COUNT(greedy));
    OK(kinglet_model_generate(model, texts, 2, &generate, &made, &error));
    one = output(made, 0, 0);
    SAME(one, greedy);
    CHECK(counted(model).answer_hit.calls == 3);
    kinglet_generations_free(made);
    kinglet_model_free(model);
}

/* ONNX graphs, which need ONNX Runtime: KINGLET_ONNXRUNTIME says where it is, and scripts/test-consumers says so if it is not. */
static void onnx(void) {
    const char *library = getenv("KINGLET_ONNXRUNTIME");
    const kinglet_str text = str("The small bird");
    kinglet_model *model = NULL;
    kinglet_model_options options;
    kinglet_embeddings *made = NULL, *expected = NULL;
    kinglet_embeddings_view view, expected_view;
    size_t i;

    OK(kinglet_model_options_init(&options, sizeof options, &error));
    CHECK(options.onnxruntime.size == 0);
    options.onnxruntime = str("/nowhere/libonnxruntime.so");
    FAILS(KINGLET_STATUS_NOT_FOUND, "onnxruntime: /nowhere/libonnxruntime.so",
          kinglet_model_load(str(fixture("onnx/bert")), &options, &model, &error));
    if (library == NULL || *library == 0) return;
    options.onnxruntime = str(library);
    OK(kinglet_model_load(str(fixture("onnx/bert")), &options, &model, &error));
    OK(kinglet_model_embed(model, &text, 1, NULL, &made, &error));
    kinglet_model_free(model);
    model = load("bert");
    OK(kinglet_model_embed(model, &text, 1, NULL, &expected, &error));
    kinglet_model_free(model);
    view.struct_size = sizeof view;
    expected_view.struct_size = sizeof expected_view;
    OK(kinglet_embeddings_read(made, &view, &error));
    OK(kinglet_embeddings_read(expected, &expected_view, &error));
    REQUIRE(view.dimension == expected_view.dimension);
    for (i = 0; i < view.dimension; ++i) NEAR(view.values[i], expected_view.values[i]);
    kinglet_embeddings_free(made);
    kinglet_embeddings_free(expected);
    printf("an ONNX graph was run by %s\n", library);
}

/* What a program passes that was compiled before generation came: the structs end earlier. */
static void old_structs(void) {
    const size_t options_size = offsetof(kinglet_model_options, answer_cache_bytes);
    const size_t view_size = offsetof(kinglet_model_view, can_generate);
    const size_t counters_size = offsetof(kinglet_counters, prefill);
    kinglet_model *model = NULL;
    union {
        unsigned char bytes[sizeof(kinglet_model_options)];
        kinglet_model_options options;
    } o;
    union {
        unsigned char bytes[sizeof(kinglet_model_view)];
        kinglet_model_view view;
    } v;
    union {
        unsigned char bytes[sizeof(kinglet_counters)];
        kinglet_counters counters;
    } c;

    memset(&o, 0xaa, sizeof o);
    memset(&v, 0xaa, sizeof v);
    memset(&c, 0xaa, sizeof c);
    OK(kinglet_model_options_init(&o.options, options_size, &error));
    CHECK(o.options.struct_size == options_size && o.bytes[options_size] == 0xaa);
    OK(kinglet_model_load(str(fixture("bert")), &o.options, &model, &error));
    v.view.struct_size = view_size;
    OK(kinglet_model_read(model, &v.view, &error));
    CHECK(v.view.hidden_size == 32 && v.view.label_count == 0 && v.bytes[view_size] == 0xaa && v.view.struct_size == view_size);
    c.counters.struct_size = counters_size;
    OK(kinglet_counters_read(model, &c.counters, &error));
    CHECK(c.counters.load.calls == 1 && c.counters.struct_size == counters_size);
    for (size_t i = counters_size; i < sizeof c; ++i) CHECK(c.bytes[i] == 0xaa);
    o.options.struct_size = options_size - 1;
    v.view.struct_size = view_size - 1;
    c.counters.struct_size = counters_size - 1;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "struct_size", kinglet_model_load(str(fixture("bert")), &o.options, &model, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "struct_size", kinglet_model_read(model, &v.view, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "struct_size", kinglet_counters_read(model, &c.counters, &error));
    kinglet_model_free(model);
}

#define NULLS(says, call) FAILS(KINGLET_STATUS_INVALID_ARGUMENT, says ": is NULL", call)

static void nothing_where_something_belongs(const kinglet_model *model) {
    const kinglet_str texts[] = {str("The river")};
    static const size_t lengths[] = {4};
    const kinglet_str bad = {NULL, 3};
    kinglet_generations *made = NULL;
    kinglet_generations_view view = {0};
    kinglet_output one = {0};
    kinglet_logits *logits = NULL;
    kinglet_logits_view logits_view = {0};
    kinglet_prefix *prefix = NULL;
    kinglet_session *session = NULL;
    kinglet_session_view session_view = {0};
    kinglet_message_view message = {0};
    kinglet_generate_options options;

    NULLS("options", kinglet_generate_options_init(NULL, sizeof options, &error));
    NULLS("model", kinglet_model_generate(NULL, texts, 1, NULL, &made, &error));
    NULLS("texts", kinglet_model_generate(model, NULL, 1, NULL, &made, &error));
    NULLS("generations", kinglet_model_generate(model, texts, 1, NULL, NULL, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "empty", kinglet_model_generate(model, texts, 0, NULL, &made, &error));
    NULLS("model", kinglet_model_generate_ids(NULL, river, 4, lengths, 1, NULL, &made, &error));
    NULLS("ids", kinglet_model_generate_ids(model, NULL, 4, lengths, 1, NULL, &made, &error));
    NULLS("lengths", kinglet_model_generate_ids(model, river, 4, NULL, 1, NULL, &made, &error));
    NULLS("generations", kinglet_model_generate_ids(model, river, 4, lengths, 1, NULL, NULL, &error));
    NULLS("generations", kinglet_generations_read(NULL, &view, &error));
    NULLS("generations", kinglet_generations_output(NULL, 0, 0, &one, &error));
    NULLS("model", kinglet_model_logits(NULL, river, 4, NULL, 0, 0, NULL, &logits, &error));
    NULLS("ids", kinglet_model_logits(model, NULL, 4, NULL, 0, 0, NULL, &logits, &error));
    NULLS("logits", kinglet_model_logits(model, river, 4, NULL, 0, 0, NULL, NULL, &error));
    NULLS("logits", kinglet_logits_read(NULL, &logits_view, &error));
    NULLS("model", kinglet_prefix_new(NULL, texts[0], 1, &prefix, &error));
    NULLS("text", kinglet_prefix_new(model, bad, 1, &prefix, &error));
    NULLS("prefix", kinglet_prefix_new(model, texts[0], 1, NULL, &error));
    NULLS("model", kinglet_session_new(NULL, &session, &error));
    NULLS("session", kinglet_session_new(model, NULL, &error));
    NULLS("session", kinglet_session_add(NULL, texts[0], texts[0], &error));
    NULLS("session", kinglet_session_reply(NULL, NULL, &made, &error));
    NULLS("session", kinglet_session_rewind(NULL, 0, &error));
    NULLS("session", kinglet_session_read(NULL, &session_view, &error));
    NULLS("session", kinglet_session_message(NULL, 0, &message, &error));
    NULLS("source", kinglet_quantize(bad, texts[0], KINGLET_PRECISION_F32, NULL, NULL, &error));
    NULLS("destination", kinglet_quantize(texts[0], bad, KINGLET_PRECISION_F32, NULL, NULL, &error));
    CHECK(made == NULL && logits == NULL && prefix == NULL && session == NULL);
    kinglet_generations_free(NULL);
    kinglet_logits_free(NULL);
    kinglet_prefix_free(NULL);
    kinglet_session_free(NULL);

    OK(kinglet_model_generate(model, texts, 1, NULL, &made, &error));
    NULLS("view", kinglet_generations_read(made, NULL, &error));
    NULLS("output", kinglet_generations_output(made, 0, 0, NULL, &error));
    kinglet_generations_free(made);
}

int session_main(const char *directory) {
    const char *place = getenv("TMPDIR");
    fixtures = directory;
    snprintf(scratch, sizeof scratch, "%s/kinglet-XXXXXX", place && strlen(place) < 40 ? place : "/tmp");
    REQUIRE(mkdtemp(scratch) != NULL);
    kinglet_model *model = load("generation/gpt2");
    logits(model);
    prefixes(model);
    nothing_where_something_belongs(model);
    kinglet_model_free(model);
    sessions();
    quantizing();
    answers();
    onnx();
    old_structs();
    CHECK(rmdir(scratch) == 0);
    return finish("consumer_session.c");
}

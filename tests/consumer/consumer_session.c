/* What generation keeps, as a C99 program uses it: prefixes, chats, .kinglet files, answers. And logits, structs of other
 * versions, and NULL where something is required. */

#define _POSIX_C_SOURCE 200809L

#include <stddef.h>
#include <unistd.h>

#include "consumer_generate.h"

int session_main(const char *directory);

static char scratch[64];

static void logits(const kinglet_model *model) {
    kinglet_logits *made = NULL, *stepwise = NULL;
    kinglet_logits_view view, other;
    kinglet_logits_options options = {.struct_size = sizeof options, .stepwise = 1};

    view.struct_size = other.struct_size = sizeof view;
    OK(kinglet_model_logits(model, river, 4, NULL, 0, NULL, &made, &error));
    OK(kinglet_model_logits(model, river, 4, NULL, 0, &options, &stepwise, &error));
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
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "decoder_ids", kinglet_model_logits(model, river, 4, river, 4, NULL, &made, &error));
    options.stepwise = 2;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "stepwise: 2", kinglet_model_logits(model, river, 4, NULL, 0, &options, &made, &error));
    CHECK(made == NULL);
}

static void prefixes(kinglet_model *model) {
    const kinglet_str texts[] = {kinglet_str_from(small)};
    kinglet_prefix *prefix = NULL;
    kinglet_generations *made = NULL;
    kinglet_generate_options options = defaults();
    kinglet_generation_output one;

    OK(kinglet_prefix_new(model, KINGLET_STR("The small bird sings near the river"), NULL, &prefix, &error));
    kinglet_model_reset_counters(model);
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
    CHECK(counted(model, KINGLET_STAGE_PREFILL).tokens > 0 && counted(model, KINGLET_STAGE_PREFILL).tokens < 50);
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
    OK(kinglet_model_load(kinglet_str_from(scratch), NULL, &model, &error));
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

static void say(kinglet_session *session, kinglet_str role, kinglet_str content) {
    kinglet_message message = {.struct_size = sizeof message, .role = role, .content = content};
    OK(kinglet_session_add(session, &message, &error));
}

/* A callback that uses its own session is told so, and does not wait for itself. */
static uint32_t meddle(void *session, const kinglet_generation_piece *piece) {
    (void)piece;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "its own callback", kinglet_session_rewind(session, 0, &error));
    return 1;
}

static void sessions(void) {
    kinglet_model *model = load_chat();
    kinglet_session *session = NULL, *other = NULL;
    kinglet_generations *made = NULL, *again = NULL;
    kinglet_generate_options options = defaults();
    kinglet_messages *messages = NULL;
    kinglet_message message = {.struct_size = sizeof message};
    kinglet_generation_output one, two;
    static listener heard;

    OK(kinglet_session_new(model, NULL, &session, &error));
    kinglet_model_free(model); /* The session keeps it. */
    CHECK(held(session).message_count == 0 && held(session).held_tokens == 0);
    say(session, KINGLET_STR("system"), KINGLET_STR("be short"));
    say(session, KINGLET_STR("user"), KINGLET_STR("hi"));
    options.max_new_tokens = 6;
    options.ignore_eos = 1;
    OK(kinglet_session_reply(session, &options, &made, &error));
    one = output(made, 0, 0);
    kinglet_session_view first = held(session);
    CHECK(first.message_count == 3 && first.held_tokens > 6 && one.token_count == 6);
    OK(kinglet_session_messages(session, &messages, &error));
    CHECK(kinglet_messages_count(messages) == 3);
    OK(kinglet_messages_get(messages, 1, &message, &error));
    CHECK(same(message.role, "user") && same(message.content, "hi"));
    OK(kinglet_messages_get(messages, 2, &message, &error));
    CHECK(same(message.role, "assistant") && equal(message.content, one.text));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "index: 3", kinglet_messages_get(messages, 3, &message, &error));

    /* The same turn again says the same. */
    OK(kinglet_session_rewind(session, 2, &error));
    CHECK(held(session).message_count == 2 && held(session).held_tokens == first.held_tokens);
    OK(kinglet_session_reply(session, &options, &again, &error));
    two = output(again, 0, 0);
    CHECK(two.token_count == 6 && memcmp(one.tokens, two.tokens, 6 * sizeof *one.tokens) == 0);
    kinglet_generations_free(again);

    /* A failed turn leaves the chat as it was. */
    say(session, KINGLET_STR("user"), KINGLET_STR("go on"));
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
    OK(kinglet_session_send(session, KINGLET_STR("and"), &options, &again, &error));
    CHECK(held(session).message_count == 7);
    OK(kinglet_session_rewind(session, 0, &error));
    CHECK(held(session).message_count == 0);
    /* The copy of the messages does not change with the session. */
    CHECK(same(message.role, "assistant"));
    kinglet_messages_free(messages);
    kinglet_session_free(session);
    kinglet_generations_free(again);
    kinglet_generations_free(made);

    model = load("generation/gpt2");
    FAILS(KINGLET_STATUS_UNSUPPORTED, "chat template", kinglet_session_new(model, NULL, &other, &error));
    kinglet_model_free(model);
}

static uint32_t stop(void *user_data, const kinglet_progress *progress) {
    CHECK(progress->struct_size >= sizeof *progress && progress->fraction >= 0 && progress->fraction <= 1);
    ++*(int *)user_data;
    return 0;
}

static uint32_t go_on(void *user_data, const kinglet_progress *progress) {
    CHECK(progress->fraction >= 0 && progress->fraction <= 1);
    ++*(int *)user_data;
    return 1;
}

static void quantizing(void) {
    const char *path = in_scratch("gpt2.kinglet");
    const kinglet_str texts[] = {KINGLET_STR("The river")};
    kinglet_model *model = NULL;
    kinglet_model_view view;
    kinglet_generations *made = NULL;
    kinglet_generate_options options = defaults();
    int reports = 0;
    kinglet_quantize_options stopping = {.struct_size = sizeof stopping, .progress = stop, .progress_user_data = &reports};
    kinglet_quantize_options reporting = {.struct_size = sizeof reporting, .progress = go_on, .progress_user_data = &reports};

    FAILS(KINGLET_STATUS_CANCELLED, "cancel",
          kinglet_model_quantize(kinglet_str_from(fixture("generation/gpt2")), kinglet_str_from(path), KINGLET_PRECISION_F32, &stopping, &error));
    CHECK(reports == 1 && access(path, F_OK) != 0);
    OK(kinglet_model_quantize(kinglet_str_from(fixture("generation/gpt2")), kinglet_str_from(path), KINGLET_PRECISION_F32, &reporting, &error));
    CHECK(reports > 1);
    OK(kinglet_model_load(kinglet_str_from(path), NULL, &model, &error));
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    kinglet_generation_output one = output(made, 0, 0);
    SAME(one, greedy);
    kinglet_generations_free(made);
    kinglet_model_free(model);

    OK(kinglet_model_quantize(kinglet_str_from(fixture("generation-gguf/gpt2.gguf")), kinglet_str_from(path), KINGLET_PRECISION_INT8, NULL, &error));
    OK(kinglet_model_load(kinglet_str_from(path), NULL, &model, &error));
    view.struct_size = sizeof view;
    OK(kinglet_model_read(model, &view, &error));
    CHECK(view.precision == KINGLET_PRECISION_INT8 && same(view.path, path));
    OK(kinglet_model_generate(model, texts, 1, &options, &made, &error));
    kinglet_generations_free(made);
    kinglet_model_free(model);
    remove(path);

    FAILS(KINGLET_STATUS_NOT_FOUND, "nowhere",
          kinglet_model_quantize(kinglet_str_from(fixture("nowhere")), kinglet_str_from(path), KINGLET_PRECISION_F32, NULL, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "destination: is empty",
          kinglet_model_quantize(kinglet_str_from(fixture("generation/gpt2")), KINGLET_STR(""), KINGLET_PRECISION_F32, NULL, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "precision: 9",
          kinglet_model_quantize(kinglet_str_from(fixture("generation/gpt2")), kinglet_str_from(path), 9, NULL, &error));
}

static void answers(void) {
    const kinglet_str texts[] = {KINGLET_STR("The river"), kinglet_str_from(small)};
    kinglet_model *model = NULL;
    kinglet_model_options options = {.struct_size = sizeof options};
    kinglet_generate_options generate = defaults();
    kinglet_generations *made = NULL;

    options.answer_cache_bytes = 1 << 20;
    OK(kinglet_model_load(kinglet_str_from(fixture("generation/gpt2")), &options, &model, &error));
    OK(kinglet_model_generate(model, texts, 1, &generate, &made, &error));
    kinglet_generations_free(made);
    OK(kinglet_model_generate(model, texts, 2, &generate, &made, &error));
    kinglet_generation_output one = output(made, 0, 0), two = output(made, 1, 0);
    SAME(one, greedy);
    SAME(two, small_greedy);
    kinglet_generations_free(made);
    CHECK(counted(model, KINGLET_STAGE_ANSWER_HIT).calls == 1 && counted(model, KINGLET_STAGE_ANSWER_MISS).calls == 2 && counted(model, KINGLET_STAGE_ANSWER_HIT).tokens == COUNT(greedy));
    OK(kinglet_model_generate(model, texts, 2, &generate, &made, &error));
    one = output(made, 0, 0);
    SAME(one, greedy);
    CHECK(counted(model, KINGLET_STAGE_ANSWER_HIT).calls == 3);
    kinglet_generations_free(made);
    kinglet_model_free(model);
}

/* ONNX graphs, which need ONNX Runtime: KINGLET_ONNXRUNTIME says where it is, and scripts/test-consumers says so if it is not. */
static void onnx(void) {
    const char *library = getenv("KINGLET_ONNXRUNTIME");
    const kinglet_str text = KINGLET_STR("The small bird");
    kinglet_model *model = NULL;
    kinglet_model_options options = {.struct_size = sizeof options};
    kinglet_embeddings *made = NULL, *expected = NULL;
    kinglet_embeddings_view view, expected_view;
    size_t i;

    options.onnxruntime = KINGLET_STR("/nowhere/libonnxruntime.so");
    FAILS(KINGLET_STATUS_NOT_FOUND, "onnxruntime: /nowhere/libonnxruntime.so",
          kinglet_model_load(kinglet_str_from(fixture("onnx/bert")), &options, &model, &error));
    if (library == NULL || *library == 0) return;
    options.onnxruntime = kinglet_str_from(library);
    OK(kinglet_model_load(kinglet_str_from(fixture("onnx/bert")), &options, &model, &error));
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

/* What a program passes that was compiled against another version of the header. */
static void other_versions(void) {
    kinglet_model *model = NULL;
    struct {
        kinglet_model_options options;
        uint64_t later;
    } o = {.options = {.struct_size = sizeof o}};
    struct {
        kinglet_model_view view;
        uint64_t later[2];
    } v;

    OK(kinglet_model_load(kinglet_str_from(fixture("bert")), &o.options, &model, &error));
    memset(&v, 0xaa, sizeof v);
    v.view.struct_size = sizeof v - sizeof(uint64_t);
    OK(kinglet_model_read(model, &v.view, &error));
    CHECK(v.view.dimension == 32 && v.view.label_count == 0);
    CHECK(v.later[0] == 0 && v.later[1] == 0xaaaaaaaaaaaaaaaa);
    kinglet_model_free(model);

    model = NULL;
    o.later = 1;
    FAILS(KINGLET_STATUS_UNSUPPORTED, "does not know", kinglet_model_load(kinglet_str_from(fixture("bert")), &o.options, &model, &error));
    /* The fields from map_files on came later than the first version of the struct. */
    o.options.struct_size = offsetof(kinglet_model_options, map_files) - 1;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "struct_size", kinglet_model_load(kinglet_str_from(fixture("bert")), &o.options, &model, &error));
    CHECK(model == NULL);
}

#define NULLS(says, call) FAILS(KINGLET_STATUS_INVALID_ARGUMENT, says ": is NULL", call)

static void null_arguments(const kinglet_model *model) {
    const kinglet_str texts[] = {KINGLET_STR("The river")};
    static const size_t lengths[] = {4};
    const kinglet_str bad = {NULL, 3};
    kinglet_generations *made = NULL;
    kinglet_generations_view view = {0};
    kinglet_generation_output one = {0};
    kinglet_logits *logits = NULL;
    kinglet_logits_view logits_view = {0};
    kinglet_prefix *prefix = NULL;
    kinglet_session *session = NULL;
    kinglet_session_view session_view = {0};
    kinglet_messages *messages = NULL;
    kinglet_message message = {.struct_size = sizeof message, .role = texts[0]};

    kinglet_generate_options_init(NULL, sizeof(kinglet_generate_options));
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
    NULLS("model", kinglet_model_logits(NULL, river, 4, NULL, 0, NULL, &logits, &error));
    NULLS("ids", kinglet_model_logits(model, NULL, 4, NULL, 0, NULL, &logits, &error));
    NULLS("logits", kinglet_model_logits(model, river, 4, NULL, 0, NULL, NULL, &error));
    NULLS("logits", kinglet_logits_read(NULL, &logits_view, &error));
    NULLS("model", kinglet_prefix_new(NULL, texts[0], NULL, &prefix, &error));
    NULLS("text", kinglet_prefix_new(model, bad, NULL, &prefix, &error));
    NULLS("prefix", kinglet_prefix_new(model, texts[0], NULL, NULL, &error));
    NULLS("model", kinglet_session_new(NULL, NULL, &session, &error));
    NULLS("session", kinglet_session_new(model, NULL, NULL, &error));
    NULLS("session", kinglet_session_add(NULL, &message, &error));
    NULLS("session", kinglet_session_reply(NULL, NULL, &made, &error));
    NULLS("session", kinglet_session_rewind(NULL, 0, &error));
    NULLS("session", kinglet_session_read(NULL, &session_view, &error));
    NULLS("session", kinglet_session_messages(NULL, &messages, &error));
    NULLS("messages", kinglet_messages_get(NULL, 0, &message, &error));
    NULLS("source", kinglet_model_quantize(bad, texts[0], KINGLET_PRECISION_F32, NULL, &error));
    NULLS("destination", kinglet_model_quantize(texts[0], bad, KINGLET_PRECISION_F32, NULL, &error));
    CHECK(made == NULL && logits == NULL && prefix == NULL && session == NULL && messages == NULL);
    kinglet_generations_free(NULL);
    kinglet_logits_free(NULL);
    kinglet_prefix_free(NULL);
    kinglet_session_free(NULL);
    kinglet_messages_free(NULL);

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
    null_arguments(model);
    kinglet_model_free(model);
    sessions();
    quantizing();
    answers();
    onnx();
    other_versions();
    CHECK(rmdir(scratch) == 0);
    return finish("consumer_session.c");
}

/* The C ABI as a C99 program uses it: every function, its results against what transformers computes (tests/fixtures), its
 * failures. Generation is in consumer_generate.c and consumer_session.c.
 * Usage: consumer FIXTURES. Expected numbers are those of the fixtures' reference.json. */

#include <pthread.h>

#include "consumer.h"

int generate_main(const char *directory);
int session_main(const char *directory);

static int contains(kinglet_str text, const char *part) {
    size_t length = strlen(part);
    for (size_t i = 0; i + length <= text.size; ++i) {
        if (memcmp(text.data + i, part, length) == 0) return 1;
    }
    return 0;
}

static void versions(void) {
    CHECK(kinglet_abi_version() == KINGLET_ABI_VERSION);
    kinglet_abi_v0();
    CHECK(strlen(kinglet_version()) >= 5);
    CHECK(strcmp(kinglet_version(), KINGLET_VERSION_STRING) == 0);
    CHECK(KINGLET_VERSION_NUMBER == KINGLET_VERSION_MAJOR * 1000000 + KINGLET_VERSION_MINOR * 1000 + KINGLET_VERSION_PATCH);
    CHECK(strcmp(kinglet_status_name(KINGLET_STATUS_NOT_FOUND), "not_found") == 0);
    CHECK(strcmp(kinglet_status_name(12345), "unknown") == 0);
    CHECK(strcmp(kinglet_device_name(KINGLET_DEVICE_CANDLE_CPU), "candle-cpu") == 0);
    CHECK(strcmp(kinglet_finish_reason_name(KINGLET_FINISH_REASON_EOS), "eos") == 0);
    CHECK(kinglet_str_from(NULL).size == 0 && same(KINGLET_STR("a\0b"), "a") == 0 && KINGLET_STR("a\0b").size == 3);
    CHECK(kinglet_error_status(NULL) == KINGLET_STATUS_OK);
    CHECK(strcmp(kinglet_error_message(NULL), "") == 0);
}

/* Freeing nothing is allowed everywhere. */
static void free_nothing(void) {
    kinglet_error_free(NULL);
    kinglet_text_free(NULL);
    kinglet_devices_free(NULL);
    kinglet_messages_free(NULL);
    kinglet_model_free(NULL);
    kinglet_encoding_free(NULL);
    kinglet_embeddings_free(NULL);
    kinglet_classifications_free(NULL);
    kinglet_token_classifications_free(NULL);
    kinglet_hidden_states_free(NULL);
    kinglet_compression_free(NULL);
    kinglet_cancellation_free(NULL);
}

typedef struct {
    int calls;
    double last;
    int stop_at;
} progress_log;

static uint32_t on_progress(void *user_data, const kinglet_progress *progress) {
    progress_log *log = user_data;
    CHECK(progress->struct_size >= sizeof *progress);
    CHECK(progress->fraction >= log->last && progress->fraction <= 1);
    log->last = progress->fraction;
    return ++log->calls != log->stop_at;
}

typedef struct {
    int records;
    size_t bytes;
    int releases;
} record_log;

static void on_record(void *user_data, const kinglet_log_record *record) {
    record_log *log = user_data;
    CHECK(record->struct_size >= sizeof *record && log->releases == 0);
    CHECK(record->level >= KINGLET_LOG_LEVEL_ERROR && record->level <= KINGLET_LOG_LEVEL_DEBUG);
    ++log->records;
    log->bytes += record->message.size;
}

static void on_release(void *user_data) { ++((record_log *)user_data)->releases; }

static void loading(void) {
    kinglet_model *model = NULL;
    const kinglet_model_options defaults = {.struct_size = sizeof defaults};
    kinglet_model_options options = defaults;
    kinglet_model_view view;
    progress_log progress = {0, 0, 0};
    record_log records = {0, 0, 0};

    options.threads = 2;
    options.precision = KINGLET_PRECISION_F32;
    options.log_level = KINGLET_LOG_LEVEL_DEBUG;
    options.progress = on_progress;
    options.progress_user_data = &progress;
    options.log = on_record;
    options.log_user_data = &records;
    options.log_release = on_release;
    OK(kinglet_model_load(kinglet_str_from(fixture("bert")), &options, &model, &error));
    CHECK(progress.calls > 0 && progress.last == 1);
    CHECK(records.records > 0 && records.bytes > 0);

    CHECK(kinglet_model_retain(model) == model);
    kinglet_model_free(model);
    CHECK(records.releases == 0);

    view.struct_size = sizeof view;
    OK(kinglet_model_read(model, &view, &error));
    CHECK(same(view.path, fixture("bert")) && same(view.family, "bert"));
    CHECK(view.device == KINGLET_DEVICE_CPU && view.precision == KINGLET_PRECISION_F32);
    CHECK(view.threads == 2 && view.dimension == 32 && view.vocabulary_size == 300);
    CHECK(view.max_length == 24); /* sentence_bert_config.json */
    CHECK(view.weight_bytes > 100000 && view.label_count == 0 && view.labels == NULL);
    CHECK(!view.can_generate && !view.can_chat && view.has_encoder);
    kinglet_model_free(model);
    CHECK(records.releases == 1);

    /* Cancelled by its progress, and by a switch. */
    model = NULL;
    progress.calls = 0;
    progress.last = 0;
    records.releases = 0;
    progress.stop_at = 1;
    FAILS(KINGLET_STATUS_CANCELLED, "cancel", kinglet_model_load(kinglet_str_from(fixture("bert")), &options, &model, &error));
    CHECK(model == NULL && records.releases == 1);

    kinglet_cancellation *cancellation = kinglet_cancellation_new();
    kinglet_cancellation_cancel(cancellation);
    options = defaults;
    options.cancellation = cancellation;
    FAILS(KINGLET_STATUS_CANCELLED, "cancel", kinglet_model_load(kinglet_str_from(fixture("bert")), &options, &model, &error));
    kinglet_cancellation_free(cancellation);

    /* Refused. */
    options = defaults;
    options.memory_limit = 1000;
    FAILS(KINGLET_STATUS_OUT_OF_MEMORY, "", kinglet_model_load(kinglet_str_from(fixture("bert")), &options, &model, &error));
    options = defaults;
    options.device = KINGLET_DEVICE_CUDA;
    FAILS(KINGLET_STATUS_UNSUPPORTED, "", kinglet_model_load(kinglet_str_from(fixture("bert")), &options, &model, &error));
    options.device = 77;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "77", kinglet_model_load(kinglet_str_from(fixture("bert")), &options, &model, &error));
    options.struct_size = 3;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "struct_size", kinglet_model_load(kinglet_str_from(fixture("bert")), &options, &model, &error));
    FAILS(KINGLET_STATUS_NOT_FOUND, "nowhere", kinglet_model_load(kinglet_str_from(fixture("nowhere")), NULL, &model, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "", kinglet_model_load(KINGLET_STR("\xff\xfe"), NULL, &model, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "NULL", kinglet_model_load(kinglet_str_from(fixture("bert")), NULL, NULL, &error));
    CHECK(kinglet_model_load(kinglet_str_from(fixture("nowhere")), NULL, &model, NULL) == KINGLET_STATUS_NOT_FOUND);
    CHECK(model == NULL);
}

static void tokenising(const kinglet_model *model) {
    static const uint32_t bird[] = {2, 53, 232, 3};
    const kinglet_str texts[] = {KINGLET_STR("bird"), KINGLET_STR("")};
    kinglet_encoding *encoding = NULL;
    kinglet_encoding_view view;
    kinglet_tokenize_options options = {.struct_size = sizeof options};
    uint32_t ids[16], mask[16];

    view.struct_size = sizeof view;
    OK(kinglet_model_tokenize(model, texts, NULL, 2, NULL, &encoding, &error));
    OK(kinglet_encoding_read(encoding, &view, &error));
    REQUIRE(view.count == 2 && view.token_count == 6 && view.longest == 4);
    CHECK(memcmp(view.ids, bird, sizeof bird) == 0 && view.ids[4] == 2 && view.ids[5] == 3);
    CHECK(view.starts[0] == 0 && view.starts[1] == 4 && view.starts[2] == 6);
    CHECK(view.lengths[0] == 4 && view.lengths[1] == 2);
    CHECK(view.type_ids[1] == 0 && view.special_tokens_mask[0] == 1 && view.special_tokens_mask[1] == 0);
    CHECK(view.sequences[0] == KINGLET_NO_SEQUENCE && view.sequences[1] == 0);
    CHECK(view.offsets == NULL && !view.truncated[0] && !view.truncated[1]);

    OK(kinglet_encoding_pad(encoding, 0, view.pad_id, ids, mask, 16, &error));
    CHECK(memcmp(ids, bird, sizeof bird) == 0 && ids[4] == 2 && ids[6] == view.pad_id);
    CHECK(mask[3] == 1 && mask[5] == 1 && mask[6] == 0 && mask[7] == 0);
    OK(kinglet_encoding_pad(encoding, 8, 9, ids, mask, 16, &error));
    CHECK(ids[7] == 9 && mask[7] == 0 && ids[8] == 2);
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "capacity", kinglet_encoding_pad(encoding, 9, 0, ids, mask, 16, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "", kinglet_encoding_pad(encoding, 2, 0, ids, mask, 16, &error));
    kinglet_encoding_free(encoding);

    /* Offsets in bytes, a pair, no special tokens, a cut. */
    options.offsets = 1;
    OK(kinglet_model_tokenize(model, texts, texts, 1, &options, &encoding, &error));
    OK(kinglet_encoding_read(encoding, &view, &error));
    REQUIRE(view.token_count == 7 && view.offsets != NULL);
    CHECK(view.offsets[2].start == 1 && view.offsets[2].end == 4);
    CHECK(view.type_ids[5] == 1 && view.sequences[5] == 1);
    kinglet_encoding_free(encoding);

    options.add_special_tokens = KINGLET_TRISTATE_NO;
    OK(kinglet_model_tokenize(model, texts, NULL, 1, &options, &encoding, &error));
    OK(kinglet_encoding_read(encoding, &view, &error));
    CHECK(view.token_count == 2 && view.ids[0] == 53);
    kinglet_encoding_free(encoding);

    options.add_special_tokens = KINGLET_TRISTATE_AUTO;
    options.max_length = 3;
    OK(kinglet_model_tokenize(model, texts, NULL, 1, &options, &encoding, &error));
    OK(kinglet_encoding_read(encoding, &view, &error));
    CHECK(view.token_count == 3 && view.truncated[0] == 1);
    view.struct_size = 1;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "struct_size", kinglet_encoding_read(encoding, &view, &error));
    kinglet_encoding_free(encoding);

    kinglet_text *text = NULL;
    const kinglet_detokenize_options all = {.struct_size = sizeof all, .skip_special_tokens = KINGLET_TRISTATE_NO};
    OK(kinglet_model_detokenize(model, bird, 4, NULL, &text, &error));
    CHECK(same(kinglet_text_str(text), "bird"));
    kinglet_text_free(text);
    OK(kinglet_model_detokenize(model, bird, 4, &all, &text, &error));
    CHECK(contains(kinglet_text_str(text), "[CLS]"));
    kinglet_text_free(text);

    encoding = NULL;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "", kinglet_model_tokenize(model, texts, NULL, 0, NULL, &encoding, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "NULL", kinglet_model_tokenize(NULL, texts, NULL, 1, NULL, &encoding, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "NULL", kinglet_model_tokenize(model, NULL, NULL, 1, NULL, &encoding, &error));
    CHECK(encoding == NULL);
}

static void embedding(const kinglet_model *model) {
    const kinglet_str texts[] = {KINGLET_STR("bird"), KINGLET_STR(""), KINGLET_STR("The small bird sings near the river, and the quick fox runs.")};
    const kinglet_str broken[] = {KINGLET_STR("fine"), KINGLET_STR("\xc3(")};
    kinglet_embeddings *embeddings = NULL;
    kinglet_embeddings *alone = NULL;
    kinglet_embeddings_view view, alone_view;
    kinglet_embed_options options = {.struct_size = sizeof options};

    view.struct_size = sizeof view;
    alone_view.struct_size = sizeof alone_view;
    OK(kinglet_model_embed(model, texts, 3, NULL, &embeddings, &error));
    OK(kinglet_embeddings_read(embeddings, &view, &error));
    REQUIRE(view.count == 3 && view.dimension == 32 && view.row_count == 3);
    CHECK(kinglet_embeddings_count(embeddings) == 3 && kinglet_embeddings_dimension(embeddings) == 32);
    CHECK(kinglet_embeddings_vector(embeddings, 2) == view.values + 64 && kinglet_embeddings_vector(embeddings, 3) == NULL);
    NEAR(view.values[0], -0.2079457);
    NEAR(view.values[32], -0.16182);
    NEAR(view.values[64], -0.1842907);
    for (size_t i = 0; i < 3; ++i) {
        double squares = 0;
        for (size_t j = 0; j < 32; ++j) squares += view.values[i * 32 + j] * view.values[i * 32 + j];
        NEAR(squares, 1);
    }
    CHECK(view.starts[3] == 3 && view.token_counts[0] == 4 && view.token_counts[2] == 23 && !view.truncated[2]);

    /* The same bits alone as in the batch. */
    OK(kinglet_model_embed(model, texts + 2, 1, NULL, &alone, &error));
    OK(kinglet_embeddings_read(alone, &alone_view, &error));
    CHECK(memcmp(alone_view.values, view.values + 64, 32 * sizeof(float)) == 0);
    kinglet_embeddings_free(alone);
    kinglet_embeddings_free(embeddings);

    options.pooling = KINGLET_POOLING_NONE;
    options.normalize = KINGLET_TRISTATE_NO;
    options.max_length = 5;
    OK(kinglet_model_embed(model, texts, 3, &options, &embeddings, &error));
    OK(kinglet_embeddings_read(embeddings, &view, &error));
    REQUIRE(view.count == 3 && view.row_count == 4 + 2 + 5);
    NEAR(view.values[0], -0.6894349);
    CHECK(view.starts[1] == 4 && view.starts[2] == 6 && view.starts[3] == 11 && view.truncated[2] == 1);
    kinglet_embeddings_free(embeddings);

    /* A prompt is text before the text; of its vector the first values are kept. */
    {
        const kinglet_str whole = KINGLET_STR("the small bird"), end = KINGLET_STR("small bird");
        kinglet_embed_options prompted = {.struct_size = sizeof prompted};
        OK(kinglet_model_embed(model, &whole, 1, NULL, &alone, &error));
        prompted.prompt = KINGLET_STR("the ");
        prompted.truncate_dim = 8;
        OK(kinglet_model_embed(model, &end, 1, &prompted, &embeddings, &error));
        REQUIRE(kinglet_embeddings_dimension(embeddings) == 8);
        CHECK(memcmp(kinglet_embeddings_vector(embeddings, 0), kinglet_embeddings_vector(alone, 0), 8 * sizeof(float)) == 0);
        kinglet_embeddings_free(embeddings);
        prompted.prompt = KINGLET_STR("");
        prompted.prompt_name = KINGLET_STR("passage");
        prompted.truncate_dim = 0;
        OK(kinglet_model_embed(model, &whole, 1, &prompted, &embeddings, &error));
        CHECK(memcmp(kinglet_embeddings_vector(embeddings, 0), kinglet_embeddings_vector(alone, 0), 32 * sizeof(float)) == 0);
        kinglet_embeddings_free(embeddings);
        kinglet_embeddings_free(alone);
        embeddings = NULL;
        prompted.prompt = (kinglet_str){NULL, 0};
        FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "prompt_name", kinglet_model_embed(model, &whole, 1, &prompted, &embeddings, &error));
    }

    embeddings = NULL;
    options.pooling = 50;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "50", kinglet_model_embed(model, texts, 3, &options, &embeddings, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "UTF-8", kinglet_model_embed(model, broken, 2, NULL, &embeddings, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "", kinglet_model_embed(model, texts, 0, NULL, &embeddings, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "NULL", kinglet_model_embed(model, texts, 3, NULL, NULL, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "NULL", kinglet_embeddings_read(NULL, &view, &error));
    CHECK(embeddings == NULL);
}

static void hidden_states(const kinglet_model *model) {
    static const uint32_t ids[] = {2, 53, 232, 3, 2, 3};
    static const uint32_t types[] = {0, 0, 0, 0, 0, 0};
    static const uint32_t unknown[] = {2, 300, 3};
    static const size_t lengths[] = {4, 2};
    static const size_t wrong[] = {4, 3};
    static const size_t three[] = {3};
    kinglet_hidden_states *states = NULL;
    kinglet_hidden_states_view view;

    view.struct_size = sizeof view;
    OK(kinglet_model_hidden_states(model, ids, types, 6, lengths, 2, NULL, &states, &error));
    OK(kinglet_hidden_states_read(states, &view, &error));
    REQUIRE(view.count == 2 && view.token_count == 6 && view.dimension == 32);
    NEAR(view.values[0], -0.6894349);
    NEAR(view.values[4 * 32], -0.8737418);
    CHECK(view.starts[1] == 4 && view.starts[2] == 6);
    kinglet_hidden_states_free(states);

    states = NULL;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "", kinglet_model_hidden_states(model, ids, NULL, 6, wrong, 2, NULL, &states, &error));
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "300", kinglet_model_hidden_states(model, unknown, NULL, 3, three, 1, NULL, &states, &error));
    CHECK(states == NULL);
}

static kinglet_stage_totals totals(const kinglet_model *model, kinglet_stage stage) {
    kinglet_stage_totals read = {.struct_size = sizeof read};
    OK(kinglet_model_stage(model, stage, &read, &error));
    return read;
}

static void counters(kinglet_model *model) {
    const kinglet_str texts[] = {KINGLET_STR("bird"), KINGLET_STR("fox")};
    kinglet_latency latency = {.struct_size = sizeof latency};
    kinglet_text *text = NULL;
    kinglet_embeddings *embeddings = NULL;

    kinglet_model_reset_counters(model);
    for (int i = 0; i < 3; ++i) {
        OK(kinglet_model_embed(model, texts, 2, NULL, &embeddings, &error));
        kinglet_embeddings_free(embeddings);
    }
    const kinglet_stage_totals call = totals(model, KINGLET_STAGE_CALL), tokenize = totals(model, KINGLET_STAGE_TOKENIZE);
    CHECK(call.calls == 3 && call.items == 6 && call.nanoseconds > 0);
    CHECK(tokenize.items == 6 && tokenize.tokens == call.tokens);
    CHECK(totals(model, KINGLET_STAGE_ATTENTION).calls > 0 && totals(model, KINGLET_STAGE_POOL).calls > 0);
    CHECK(totals(model, KINGLET_STAGE_LINEAR).nanoseconds > 0);
    OK(kinglet_model_latency(model, &latency, &error));
    CHECK(latency.count == 3 && latency.min <= latency.p50 && latency.p50 <= latency.p99);
    CHECK(latency.p99 <= latency.max + latency.max / 500 && latency.mean > 0);

    OK(kinglet_model_export_counters(model, KINGLET_COUNTERS_FORMAT_JSON, &text, &error));
    CHECK(kinglet_text_str(text).data[0] == '{' && contains(kinglet_text_str(text), "\"attention\""));
    kinglet_text_free(text);
    OK(kinglet_model_export_counters(model, KINGLET_COUNTERS_FORMAT_CSV, &text, &error));
    CHECK(contains(kinglet_text_str(text), "\n") && contains(kinglet_text_str(text), "attention,"));
    kinglet_text_free(text);
    OK(kinglet_model_export_counters(model, KINGLET_COUNTERS_FORMAT_PROMETHEUS, &text, &error));
    CHECK(contains(kinglet_text_str(text), "# TYPE kinglet_"));
    kinglet_text_free(text);
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "9", kinglet_model_export_counters(model, 9, &text, &error));

    OK(kinglet_model_describe(model, &text, &error));
    CHECK(kinglet_text_str(text).data[0] == '{' && contains(kinglet_text_str(text), "\"bert\""));
    kinglet_text_free(text);
}

static void classifying(void) {
    kinglet_model *model = load("bert-classifier");
    const kinglet_str texts[] = {KINGLET_STR("bird"), KINGLET_STR("")};
    const kinglet_str pair[] = {KINGLET_STR("Where does the water go?"), KINGLET_STR("The river runs dry in the summer.")};
    kinglet_classifications *made = NULL;
    kinglet_classifications_view view;
    kinglet_classify_options options = {.struct_size = sizeof options};
    kinglet_model_view model_view;

    model_view.struct_size = sizeof model_view;
    OK(kinglet_model_read(model, &model_view, &error));
    REQUIRE(model_view.label_count == 2);
    CHECK(same(model_view.labels[0], "NEGATIVE") && same(model_view.labels[1], "POSITIVE"));

    view.struct_size = sizeof view;
    OK(kinglet_model_classify(model, texts, NULL, 2, NULL, &made, &error));
    OK(kinglet_classifications_read(made, &view, &error));
    REQUIRE(view.count == 2 && view.label_count == 2);
    CHECK(kinglet_classifications_count(made) == 2 && kinglet_classifications_scores(made, 1) == view.scores + 2);
    NEAR(view.scores[0] + view.scores[1], 1);
    NEAR(view.scores[1], 1 / (1 + exp(-0.9621459 + 0.9441398)));
    CHECK(view.best[0] == 1 && view.best[1] == 1 && view.token_counts[0] == 4 && !view.truncated[0]);
    kinglet_classifications_free(made);

    options.function = KINGLET_SCORE_FUNCTION_NONE;
    OK(kinglet_model_classify(model, pair, pair + 1, 1, &options, &made, &error));
    OK(kinglet_classifications_read(made, &view, &error));
    NEAR(view.scores[0], -0.9240975);
    NEAR(view.scores[1], -0.676697);
    kinglet_classifications_free(made);
    FAILS(KINGLET_STATUS_UNSUPPORTED, "", kinglet_model_score(model, pair, pair + 1, 1, NULL, &made, &error));
    kinglet_model_free(model);

    model = load("roberta-cross-encoder");
    OK(kinglet_model_score(model, pair, pair + 1, 1, &options, &made, &error));
    OK(kinglet_classifications_read(made, &view, &error));
    REQUIRE(view.count == 1 && view.label_count == 1);
    NEAR(view.scores[0], 0.7342991);
    kinglet_classifications_free(made);
    OK(kinglet_model_score(model, pair, pair + 1, 1, NULL, &made, &error));
    /* Results outlive their model. */
    kinglet_model_free(model);
    OK(kinglet_classifications_read(made, &view, &error));
    NEAR(view.scores[0], 1 / (1 + exp(-0.7342991)));
    kinglet_classifications_free(made);
}

static void searching(void) {
    /* Rows of three values with room for one between them. */
    static const float corpus[7] = {1, -2, 0.5f, 9, -1, 4, 0.25f};
    kinglet_embedding_rows rows = {.struct_size = sizeof rows, .data = corpus, .count = 2, .dimension = 3, .stride = 4};
    kinglet_search_options options = {.struct_size = sizeof options, .similarity = KINGLET_SIMILARITY_DOT};
    int64_t indices[4];
    float scores[4], ranges[6];
    kinglet_search_buffer buffer = {.struct_size = sizeof buffer, .indices = indices, .scores = scores, .capacity = 4};
    int8_t codes[6];
    kinglet_embedding_codes into = {
        .struct_size = sizeof into, .kind = KINGLET_EMBEDDING_TYPE_INT8, .data = codes, .capacity = 6};
    kinglet_quantize_embeddings_options quantize = {.struct_size = sizeof quantize, .ranges = ranges};
    kinglet_embedding_rows coded = {
        .struct_size = sizeof coded, .kind = KINGLET_EMBEDDING_TYPE_INT8, .data = codes, .count = 2, .dimension = 3};

    OK(kinglet_embeddings_search(&rows, &rows, &options, &buffer, &error));
    CHECK(indices[0] == 0 && indices[1] == 1 && indices[2] == 1 && indices[3] == 0);
    NEAR(scores[0], 5.25);
    NEAR(scores[3], -8.875);
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "queries", kinglet_embeddings_search(NULL, &rows, NULL, &buffer, &error));

    OK(kinglet_embeddings_ranges(&rows, ranges, 6, &error));
    CHECK(ranges[0] == -1 && ranges[5] == 0.5f);
    OK(kinglet_embeddings_quantize(&rows, &quantize, &into, &error));
    CHECK(codes[1] == -128 && codes[4] == 127);
    /* Queries of floats go with codes. */
    options = (kinglet_search_options){.struct_size = sizeof options, .top_k = 1, .ranges = ranges};
    OK(kinglet_embeddings_search(&rows, &coded, &options, &buffer, &error));
    CHECK(indices[0] == 0 && indices[1] == 1);
}

static void ranking(void) {
    kinglet_model *model = load("roberta-cross-encoder");
    const kinglet_str documents[] = {KINGLET_STR("a stone falls"), KINGLET_STR("a small bird"), KINGLET_STR("the river")};
    kinglet_rerank_options options = {.struct_size = sizeof options, .top_n = 2};
    kinglet_ranking *made = NULL;
    kinglet_ranking_view view = {.struct_size = sizeof view};

    OK(kinglet_model_rerank(model, KINGLET_STR("what flies?"), documents, 3, &options, &made, &error));
    /* Results outlive their model. */
    kinglet_model_free(model);
    OK(kinglet_ranking_read(made, &view, &error));
    REQUIRE(view.count == 2 && view.document_count == 3);
    CHECK(view.scores[0] >= view.scores[1] && view.indices[0] != view.indices[1] && view.indices[0] < 3);
    CHECK(view.token_counts[0] > 4 && !view.truncated[0]);
    kinglet_ranking_free(made);
}

static void masked_models(void) {
    const kinglet_str texts[] = {KINGLET_STR("a [MASK] bird"), KINGLET_STR("[MASK] and [MASK]")};
    const kinglet_str labels[] = {KINGLET_STR("birds"), KINGLET_STR("trains")};
    kinglet_fill_mask_options mask_options = {.struct_size = sizeof mask_options, .top_k = 2};
    kinglet_mask_fills *fills = NULL;
    kinglet_mask_fills_view masks = {.struct_size = sizeof masks};
    kinglet_mask_fill fill = {.struct_size = sizeof fill};
    kinglet_sparse_options sparse_options = {.struct_size = sizeof sparse_options, .max_active_dims = 4};
    kinglet_sparse_embeddings *sparse = NULL;
    kinglet_sparse_embeddings_view weights = {.struct_size = sizeof weights};
    kinglet_zero_shot_options label_options = {.struct_size = sizeof label_options, .multi_label = 1};
    kinglet_zero_shot_results *results = NULL;
    kinglet_zero_shot_results_view ranked = {.struct_size = sizeof ranked};

    kinglet_model *model = load("tasks/bert");
    OK(kinglet_model_fill_mask(model, texts, 2, &mask_options, &fills, &error));
    OK(kinglet_model_sparse_embed(model, texts, 2, &sparse_options, &sparse, &error));
    /* Results outlive their model. */
    kinglet_model_free(model);
    OK(kinglet_mask_fills_read(fills, &masks, &error));
    REQUIRE(masks.count == 2 && masks.mask_count == 3 && masks.top_k == 2 && masks.starts[1] == 1);
    OK(kinglet_mask_fills_fill(fills, 2, 1, &fill, &error));
    CHECK(fill.score > 0 && fill.token_text.size > 0 && fill.sequence.size > 0);
    kinglet_mask_fills_free(fills);
    OK(kinglet_sparse_embeddings_read(sparse, &weights, &error));
    REQUIRE(weights.count == 2 && weights.dimension == 300 && weights.starts[2] == 8);
    CHECK(weights.indices[0] < weights.indices[1] && weights.weights[7] > 0 && weights.token_counts[0] > 4);
    kinglet_sparse_embeddings_free(sparse);

    model = load("tasks/nli");
    OK(kinglet_model_classify_zero_shot(model, texts, 2, labels, 2, &label_options, &results, &error));
    kinglet_model_free(model);
    OK(kinglet_zero_shot_results_read(results, &ranked, &error));
    REQUIRE(ranked.count == 2 && ranked.label_count == 2);
    CHECK(ranked.scores[0] >= ranked.scores[1] && ranked.labels[0] + ranked.labels[1] == 1 && !ranked.truncated[0]);
    kinglet_zero_shot_results_free(results);
}

static void labelling(void) {
    kinglet_model *model = load("bert-token-classifier");
    const kinglet_str texts[] = {KINGLET_STR("bird"), KINGLET_STR("  JOHN went\tfrom Berlin   to Paris.\n")};
    kinglet_token_classifications *made = NULL;
    kinglet_token_classifications_view view;
    kinglet_entity entity = {.struct_size = sizeof entity};
    kinglet_classify_options options = {.struct_size = sizeof options};

    options.function = KINGLET_SCORE_FUNCTION_NONE;
    options.aggregation = KINGLET_AGGREGATION_NONE;
    view.struct_size = sizeof view;
    OK(kinglet_model_classify_tokens(model, texts, 2, &options, &made, &error));
    OK(kinglet_token_classifications_read(made, &view, &error));
    REQUIRE(view.count == 2 && view.label_count == 5 && view.token_count == 4 + 18);
    NEAR(view.scores[0], 1.649655);
    NEAR(view.scores[4 * 5], 0.6375968);
    CHECK(view.starts[1] == 4 && view.starts[2] == 22 && !view.truncated[1]);
    for (size_t i = 0; i < view.entity_count; ++i) {
        OK(kinglet_token_classifications_entity(made, i, &entity, &error));
        CHECK(entity.text < 2 && entity.start < entity.end && entity.end <= texts[entity.text].size);
        CHECK(entity.label > 0 && entity.label < 5 && entity.name.size == 5);
    }
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "index",
          kinglet_token_classifications_entity(made, view.entity_count, &entity, &error));
    kinglet_token_classifications_free(made);

    OK(kinglet_model_classify_tokens(model, texts, 2, NULL, &made, &error));
    OK(kinglet_token_classifications_read(made, &view, &error));
    for (size_t i = 0; i < view.entity_count; ++i) {
        OK(kinglet_token_classifications_entity(made, i, &entity, &error));
        CHECK(same(entity.name, "PER") || same(entity.name, "LOC"));
        CHECK(entity.score > 0 && entity.score <= 1);
    }
    kinglet_token_classifications_free(made);
    kinglet_model_free(model);

    model = load("bert");
    FAILS(KINGLET_STATUS_UNSUPPORTED, "", kinglet_model_classify_tokens(model, texts, 2, NULL, &made, &error));
    kinglet_model_free(model);
}

static void compressing(void) {
    const kinglet_str rain[] = {KINGLET_STR("rain")};
    const kinglet_str text = KINGLET_STR("A small bird sings. The rain runs to the sea! It answers the stone.");
    const kinglet_model *model = load("bert");
    kinglet_compress_options options = {.struct_size = sizeof options, .ratio = 2, .force_tokens = rain, .force_token_count = 1};
    kinglet_compression *made = NULL;
    kinglet_compression_view view;

    view.struct_size = sizeof view;
    OK(kinglet_model_compress(model, text, &options, &made, &error));
    OK(kinglet_compression_read(made, &view, &error));
    REQUIRE(view.kept_count == 1 && view.method == KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS);
    CHECK(same(view.text, "The rain runs to the sea!"));
    CHECK(view.kept[0].start == 20 && view.kept[0].end == 45 && view.windows == 3);
    CHECK(view.tokens_after * 2 <= view.tokens_before);
    kinglet_compression_free(made);

    made = NULL;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "ratio", kinglet_model_compress(model, text, NULL, &made, &error));
    options.method = KINGLET_COMPRESS_METHOD_TOKEN_CLASSIFIER;
    FAILS(KINGLET_STATUS_UNSUPPORTED, "head", kinglet_model_compress(model, text, &options, &made, &error));
    CHECK(made == NULL);
    kinglet_model_free((kinglet_model *)model);
}

typedef struct {
    const kinglet_model *model;
    const kinglet_cancellation *cancellation;
    kinglet_status last;
    int calls;
} worker;

enum { WORKERS = 4, BATCH = 64 };

static void *embed_until_cancelled(void *argument) {
    worker *self = argument;
    kinglet_str texts[BATCH];
    const kinglet_embed_options options = {.struct_size = sizeof options, .cancellation = self->cancellation};
    for (int i = 0; i < BATCH; ++i) texts[i] = KINGLET_STR("The small bird sings near the river, and the quick fox runs.");
    do {
        kinglet_embeddings *embeddings = NULL;
        self->last = kinglet_model_embed(self->model, texts, BATCH, &options, &embeddings, NULL);
        kinglet_embeddings_free(embeddings);
        ++self->calls;
    } while (self->last == KINGLET_STATUS_OK && self->calls < 100000);
    return NULL;
}

static void cancelling(kinglet_model *model) {
    kinglet_cancellation *cancellation = kinglet_cancellation_new();
    pthread_t threads[WORKERS];
    worker workers[WORKERS];
    kinglet_latency latency = {.struct_size = sizeof latency};

    kinglet_model_reset_counters(model);
    for (int i = 0; i < WORKERS; ++i) {
        workers[i] = (worker){model, cancellation, KINGLET_STATUS_OK, 0};
        REQUIRE(pthread_create(&threads[i], NULL, embed_until_cancelled, &workers[i]) == 0);
    }
    /* Cancel once they are at work. */
    do OK(kinglet_model_latency(model, &latency, &error));
    while (latency.count < 5);
    kinglet_cancellation_cancel(cancellation);
    for (int i = 0; i < WORKERS; ++i) {
        pthread_join(threads[i], NULL);
        CHECK(workers[i].last == KINGLET_STATUS_CANCELLED);
    }
    kinglet_cancellation_free(cancellation);
    kinglet_cancellation_cancel(NULL);
}

static void devices(void) {
    kinglet_devices *found = NULL;
    kinglet_device_info info = {.struct_size = sizeof info};

    OK(kinglet_devices_list(NULL, &found, &error));
    CHECK(kinglet_devices_count(found) >= 1);
    OK(kinglet_devices_info(found, 0, &info, &error));
    CHECK(info.device == KINGLET_DEVICE_CPU && info.device_index == 0 && info.name.size > 0);
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "index", kinglet_devices_info(found, kinglet_devices_count(found), &info, &error));
    (void)kinglet_devices_missing(found);
    kinglet_devices_free(found);
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "NULL", kinglet_devices_list(NULL, NULL, &error));
}

static void batch_sizes(const kinglet_model *bert) {
    kinglet_model *gpt2 = load("generation/gpt2");
    const kinglet_workload reads = {.struct_size = sizeof reads, .input_tokens = 12, .input_spread = 3};
    const kinglet_workload writes = {.struct_size = sizeof writes, .input_tokens = 8, .output_tokens = 6};
    kinglet_workload wrong = reads;
    kinglet_suggest_batch_size_options options = {.struct_size = sizeof options, .skip_calibration = 1};
    kinglet_batch_suggestion *made = NULL;
    kinglet_batch_suggestion_view free_of_bounds = {.struct_size = sizeof free_of_bounds}, bounded = {.struct_size = sizeof bounded};

    for (int i = 0; i < 2; ++i) {
        const kinglet_model *model = i ? gpt2 : bert;
        const kinglet_workload *workload = i ? &writes : &reads;
        options.goal = KINGLET_BATCH_GOAL_THROUGHPUT;
        options.memory_bytes = 0;
        OK(kinglet_model_suggest_batch_size(model, workload, &options, &made, &error));
        OK(kinglet_batch_suggestion_read(made, &free_of_bounds, &error));
        CHECK(free_of_bounds.batch_size >= 1 && free_of_bounds.batch_ms > 0 && free_of_bounds.within_bound == 1);
        CHECK(free_of_bounds.texts_per_second > 0 && free_of_bounds.tokens_per_second > free_of_bounds.texts_per_second);
        CHECK(free_of_bounds.explanation.size > 20 && free_of_bounds.bytes > 0);
        kinglet_batch_suggestion_free(made);
        options.goal = KINGLET_BATCH_GOAL_MEMORY;
        options.memory_bytes = free_of_bounds.bytes - 1;
        OK(kinglet_model_suggest_batch_size(model, workload, &options, &made, &error));
        OK(kinglet_batch_suggestion_read(made, &bounded, &error));
        CHECK(bounded.within_bound ? bounded.bytes <= options.memory_bytes && bounded.batch_size < free_of_bounds.batch_size
                                   : bounded.batch_size == 1);
        kinglet_batch_suggestion_free(made);
    }
    kinglet_model_free(gpt2);
    /* By a measurement. */
    options = (kinglet_suggest_batch_size_options){.struct_size = sizeof options, .calibration_ms = 50};
    OK(kinglet_model_suggest_batch_size(bert, &reads, &options, &made, &error));
    OK(kinglet_batch_suggestion_read(made, &bounded, &error));
    CHECK(bounded.batch_size >= 1 && bounded.batch_ms > 0);
    kinglet_batch_suggestion_free(made);
    wrong.input_tokens = 0;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "input_tokens", kinglet_model_suggest_batch_size(bert, &wrong, NULL, &made, &error));
    options.latency_ms = 5;
    FAILS(KINGLET_STATUS_INVALID_ARGUMENT, "latency_ms", kinglet_model_suggest_batch_size(bert, &reads, &options, &made, &error));
    FAILS(KINGLET_STATUS_UNSUPPORTED, "text", kinglet_model_suggest_batch_size(bert, &writes, NULL, &made, &error));
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: consumer FIXTURES\n");
        return 2;
    }
    fixtures = argv[1];
    versions();
    free_nothing();
    loading();
    devices();
    kinglet_model *model = load("bert");
    tokenising(model);
    embedding(model);
    hidden_states(model);
    counters(model);
    batch_sizes(model);
    cancelling(model);
    kinglet_model_free(model);
    classifying();
    searching();
    ranking();
    masked_models();
    labelling();
    compressing();
    if (generate_main(fixtures) != 0 || session_main(fixtures) != 0) return 1;
    return finish("consumer.c");
}

/* What the consumers of generation share: the reference of one fixture, defaults, a listener. */

#ifndef CONSUMER_GENERATE_H
#define CONSUMER_GENERATE_H

#include "consumer.h"

/* tests/fixtures/generation/gpt2/reference.json: its second case ("The river") and its fourth, which ends before the limit of 24. */
static const uint32_t river[] = {299, 295, 73, 284};
static const uint32_t greedy[] = {180, 150, 180, 90,  130, 52,  52,  167, 15, 235, 180, 248,
                                  245, 63,  109, 109, 109, 259, 12,  180, 52, 53,  210, 90};
static const char *const small = "The small bird sings near the river, and it isn't hard to see the fox; it took him a day.";
static const uint32_t small_greedy[] = {12, 185, 12, 180, 12, 132, 180, 221, 293, 1, 221, 155, 210, 142};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SAME(output, expected) \
    CHECK((output).token_count == COUNT(expected) && memcmp((output).tokens, expected, sizeof expected) == 0)

static kinglet_generate_options defaults(void) {
    kinglet_generate_options options;
    kinglet_generate_options_init(&options, sizeof options);
    options.max_new_tokens = 24;
    options.num_beams = 1;
    return options;
}

static int equal(kinglet_str one, kinglet_str other) {
    return one.size == other.size && memcmp(one.data, other.data, one.size) == 0;
}

static kinglet_generation_output output(const kinglet_generations *made, size_t index, size_t sequence) {
    kinglet_generation_output read;
    read.struct_size = sizeof read;
    OK(kinglet_generations_output(made, index, sequence, &read, &error));
    return read;
}

static kinglet_stage_totals counted(const kinglet_model *model, kinglet_stage stage) {
    kinglet_stage_totals read = {.struct_size = sizeof read};
    OK(kinglet_model_stage(model, stage, &read, &error));
    return read;
}

/* What came, and when to stop. */
typedef struct {
    char text[2][4096];
    size_t size[2], pieces, stop_at;
    uint32_t tokens[2][64];
    size_t token_count[2];
    kinglet_finish_reason finish[2];
} listener;

static uint32_t on_piece(void *user_data, const kinglet_generation_piece *piece) {
    listener *self = user_data;
    size_t i = piece->index;
    CHECK(piece->struct_size >= sizeof *piece && i < 2 && piece->sequence == 0);
    CHECK(self->finish[i] == KINGLET_FINISH_REASON_NONE);
    memcpy(self->text[i] + self->size[i], piece->text.data, piece->text.size);
    self->size[i] += piece->text.size;
    self->tokens[i][self->token_count[i]++] = piece->token;
    self->finish[i] = piece->finish_reason;
    return ++self->pieces != self->stop_at;
}

#endif

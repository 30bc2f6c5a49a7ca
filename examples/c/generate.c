/* Generates a text and prints it as it is generated: C99.
 *
 *   cc -std=c99 generate.c $(pkg-config --cflags --libs kinglet) -o generate
 *   ./generate MODEL "function @add: that takes two int values %a and %b and returns their sum"
 *
 * MODEL is a .kinglet file, a GGUF file, or a directory in the layout of Hugging Face; embed.c shows how to link where the dynamic
 * linker does not look.
 */

#include <kinglet.h>

#include <stdio.h>

/* Prints what went wrong and what to do about it. */
static int fail(kinglet_error *error) {
    fprintf(stderr, "%s\n", kinglet_error_message(error));
    kinglet_error_free(error);
    return 1;
}

/* Receives the text piece by piece; returning 0 would stop it. */
static uint32_t print(void *user_data, const kinglet_generation_piece *piece) {
    (void)user_data;
    fwrite(piece->text.data, 1, piece->text.size, stdout);
    fflush(stdout);
    return 1;
}

static int generate(const kinglet_model *model, kinglet_str text) {
    kinglet_generate_options options;
    kinglet_generation_output output = {.struct_size = sizeof output};
    kinglet_generations *generations = NULL;
    kinglet_error *error = NULL;

    kinglet_generate_options_init(&options, sizeof options);
    options.max_new_tokens = 128;
    options.num_beams = 1;
    options.on_piece = print;
    if (kinglet_model_generate(model, &text, 1, &options, &generations, &error) != KINGLET_STATUS_OK) return fail(error);
    kinglet_status status = kinglet_generations_output(generations, 0, 0, &output, &error);
    if (status == KINGLET_STATUS_OK) {
        printf("\n[%zu tokens; ended by: %s]\n", output.token_count, kinglet_finish_reason_name(output.finish_reason));
    }
    kinglet_generations_free(generations);
    return status == KINGLET_STATUS_OK ? 0 : fail(error);
}

int main(int argc, char **argv) {
    const kinglet_str text = kinglet_str_from(argc > 2 ? argv[2] : "The kinglet is a small bird that");
    kinglet_model *model = NULL;
    kinglet_error *error = NULL;

    if (argc < 2) {
        fprintf(stderr, "usage: generate MODEL [TEXT]\n");
        return 2;
    }
    if (kinglet_model_load(kinglet_str_from(argv[1]), NULL, &model, &error) != KINGLET_STATUS_OK) return fail(error);
    const int status = generate(model, text);
    kinglet_model_free(model);
    return status;
}

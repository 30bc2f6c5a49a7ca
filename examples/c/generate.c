/* Generates a text and prints it as it comes: C99.
 *
 *   cc -std=c99 generate.c $(pkg-config --cflags --libs kinglet) -o generate
 *   ./generate MODEL "function @add: that takes two int values %a and %b and returns their sum"
 *
 * MODEL is a .kinglet file, a GGUF file, or a directory as Hugging Face publishes it; embed.c says how to link where the dynamic
 * linker does not look.
 */

#include <kinglet.h>

#include <stdio.h>
#include <string.h>

static kinglet_str str(const char *text) {
    kinglet_str made = {(const uint8_t *)text, strlen(text)};
    return made;
}

/* Each call that can fail gives a status, and an error that says what to do. */
static int failed(kinglet_status status, kinglet_error *error) {
    if (status == KINGLET_STATUS_OK) return 0;
    fprintf(stderr, "%s\n", kinglet_error_message(error));
    kinglet_error_free(error);
    return 1;
}

/* Gets the text piece by piece; returning 0 would stop it. */
static uint32_t print(void *user_data, const kinglet_piece *piece) {
    (void)user_data;
    fwrite(piece->text.data, 1, piece->text.size, stdout);
    fflush(stdout);
    return 1;
}

int main(int argc, char **argv) {
    const kinglet_str text = str(argc > 2 ? argv[2] : "The kinglet is a small bird that");
    kinglet_model *model = NULL;
    kinglet_generations *generations = NULL;
    kinglet_generate_options options;
    kinglet_output output;
    kinglet_error *error = NULL;
    int status = 1;

    if (argc < 2) {
        fprintf(stderr, "usage: generate MODEL [TEXT]\n");
        return 2;
    }
    if (failed(kinglet_model_load(str(argv[1]), NULL, &model, &error), error)) return 1;
    if (failed(kinglet_generate_options_init(&options, sizeof options, &error), error)) goto done;
    options.max_new_tokens = 128;
    options.num_beams = 1;
    options.on_piece = print;
    if (failed(kinglet_model_generate(model, &text, 1, &options, &generations, &error), error)) goto done;

    output.struct_size = sizeof output;
    if (failed(kinglet_generations_output(generations, 0, 0, &output, &error), error)) goto done;
    printf("\n[%zu tokens%s]\n", output.token_count, output.finish == KINGLET_FINISH_LENGTH ? ", the limit" : "");
    status = 0;

done:
    kinglet_generations_free(generations);
    kinglet_model_free(model);
    return status;
}

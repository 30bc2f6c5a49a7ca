/* Embeds two texts and prints how close in meaning they are: C99.
 *
 *   cc -std=c99 embed.c $(pkg-config --cflags --libs kinglet) -o embed
 *   ./embed MODEL_DIRECTORY "a kinglet sings" "a small bird is singing"
 *
 * If Kinglet is installed where the dynamic linker does not look, name the place:
 *
 *   cc -std=c99 embed.c $(pkg-config --cflags --libs kinglet) -Wl,-rpath,"$(pkg-config --variable=libdir kinglet)" -o embed
 *
 * With a model that is no sentence-transformers model the vectors are not normalised, so this asks for that.
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

int main(int argc, char **argv) {
    const char *first = argc > 2 ? argv[2] : "a kinglet sings";
    const char *second = argc > 3 ? argv[3] : "a small bird is singing";
    kinglet_model *model = NULL;
    kinglet_embeddings *embeddings = NULL;
    kinglet_embed_options options;
    kinglet_embeddings_view view;
    kinglet_error *error = NULL;
    int status = 1;

    if (argc < 2) {
        fprintf(stderr, "usage: embed MODEL_DIRECTORY [TEXT TEXT]\n");
        return 2;
    }
    if (failed(kinglet_model_load(str(argv[1]), NULL, &model, &error), error)) return 1;

    const kinglet_str texts[] = {str(first), str(second)};
    if (failed(kinglet_embed_options_init(&options, sizeof options, &error), error)) goto done;
    options.normalize = KINGLET_NORMALIZE_YES;
    if (failed(kinglet_model_embed(model, texts, 2, &options, &embeddings, &error), error)) goto done;

    view.struct_size = sizeof view;
    if (failed(kinglet_embeddings_read(embeddings, &view, &error), error)) goto done;
    float cosine = 0;
    for (size_t i = 0; i < view.dimension; ++i) cosine += view.values[i] * view.values[view.dimension + i];
    printf("%zu values a text; cosine %.3f\n", view.dimension, (double)cosine);
    status = 0;

done:
    kinglet_embeddings_free(embeddings);
    kinglet_model_free(model);
    return status;
}

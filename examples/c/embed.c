/* Embeds two texts and prints how similar their meanings are: C99.
 *
 *   cc -std=c99 embed.c $(pkg-config --cflags --libs kinglet) -o embed
 *   ./embed MODEL_DIRECTORY "a kinglet sings" "a small bird is singing"
 *
 * If Kinglet is installed where the dynamic linker does not look, name the directory:
 *
 *   cc -std=c99 embed.c $(pkg-config --cflags --libs kinglet) -Wl,-rpath,"$(pkg-config --variable=libdir kinglet)" -o embed
 *
 * Models without sentence-transformers files do not normalise their vectors, so this program asks for it.
 */

#include <kinglet.h>

#include <stdio.h>

/* Prints what went wrong and what to do about it. */
static int fail(kinglet_error *error) {
    fprintf(stderr, "%s\n", kinglet_error_message(error));
    kinglet_error_free(error);
    return 1;
}

static int embed(const kinglet_model *model, const kinglet_str texts[2]) {
    const kinglet_embed_options options = {.struct_size = sizeof options, .normalize = KINGLET_TRISTATE_YES};
    kinglet_embeddings *embeddings = NULL;
    kinglet_error *error = NULL;

    if (kinglet_model_embed(model, texts, 2, &options, &embeddings, &error) != KINGLET_STATUS_OK) return fail(error);
    const size_t dimension = kinglet_embeddings_dimension(embeddings);
    const float *first = kinglet_embeddings_vector(embeddings, 0);
    const float *second = kinglet_embeddings_vector(embeddings, 1);
    float cosine = 0;
    for (size_t i = 0; i < dimension; ++i) cosine += first[i] * second[i];
    printf("%zu values per text; cosine %.3f\n", dimension, (double)cosine);
    kinglet_embeddings_free(embeddings);
    return 0;
}

int main(int argc, char **argv) {
    const kinglet_str texts[2] = {
        kinglet_str_from(argc > 2 ? argv[2] : "a kinglet sings"),
        kinglet_str_from(argc > 3 ? argv[3] : "a small bird is singing"),
    };
    kinglet_model *model = NULL;
    kinglet_error *error = NULL;

    if (argc < 2) {
        fprintf(stderr, "usage: embed MODEL_DIRECTORY [TEXT TEXT]\n");
        return 2;
    }
    if (kinglet_model_load(kinglet_str_from(argv[1]), NULL, &model, &error) != KINGLET_STATUS_OK) return fail(error);
    const int status = embed(model, texts);
    kinglet_model_free(model);
    return status;
}

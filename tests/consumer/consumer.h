/* What the C consumers share: calls that must succeed or fail, texts, fixtures. */

#ifndef CONSUMER_H
#define CONSUMER_H

#include <kinglet.h>

#include <string.h>

#include "check.h"

#define OK(call)                                                                        \
    do {                                                                                \
        kinglet_error *error = NULL;                                                    \
        kinglet_status status = (call);                                                 \
        ++checks;                                                                       \
        if (status != KINGLET_STATUS_OK) {                                              \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call,           \
                    kinglet_status_name(status), kinglet_error_message(error));         \
            exit(1);                                                                    \
        }                                                                               \
        CHECK(error == NULL);                                                           \
    } while (0)

/* A failure with this status, an error that agrees and a message that holds `word`. */
#define FAILS(expected, word, call)                                                     \
    do {                                                                                \
        kinglet_error *error = NULL;                                                    \
        CHECK((call) == (expected));                                                    \
        REQUIRE(error != NULL);                                                         \
        CHECK(kinglet_error_status(error) == (expected));                               \
        CHECK(strstr(kinglet_error_message(error), (word)) != NULL);                    \
        kinglet_error_free(error);                                                      \
    } while (0)

/* Where the test data are: the programs' only argument. */
static const char *fixtures;

static int same(kinglet_str text, const char *expected) {
    return text.size == strlen(expected) && memcmp(text.data, expected, text.size) == 0;
}

static const char *fixture(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", fixtures, name);
    return path;
}

static kinglet_model *load(const char *name) {
    kinglet_model *model = NULL;
    OK(kinglet_model_load(kinglet_str_from(fixture(name)), NULL, &model, &error));
    return model;
}

#endif

/* What the consumers check with: CHECK says what was expected and where, and counts. */

#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int checks = 0;
static int failures = 0;

#define CHECK(expected)                                                                 \
    do {                                                                                \
        ++checks;                                                                       \
        if (!(expected)) {                                                              \
            ++failures;                                                                 \
            fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #expected);     \
        }                                                                               \
    } while (0)

/* Without this the rest makes no sense. */
#define REQUIRE(expected)                                                               \
    do {                                                                                \
        CHECK(expected);                                                                \
        if (failures) exit(1);                                                          \
    } while (0)

/* Within what the references' seven digits and another order of sums allow. */
#define NEAR(value, expected) CHECK(fabs((double)(value) - (double)(expected)) < 1e-4)

static int finish(const char *name) {
    printf("%s: %d checks, %d failed\n", name, checks, failures);
    return failures ? 1 : 0;
}

#endif

/* Links two Rust static libraries, Kinglet's and another, and uses both. */
#include <kinglet.h>
#include <stdint.h>
#include <stdio.h>

uint64_t other_sum(uint32_t count);
int other_catches(void);

int main(void) {
    kinglet_model *model = NULL;
    kinglet_error *error = NULL;
    if (kinglet_model_load(KINGLET_STR("/nonexistent"), NULL, &model, &error) == KINGLET_STATUS_OK) return 1;
    printf("%s\n", kinglet_error_message(error));
    kinglet_error_free(error);
    return other_sum(5) == 10 && other_catches() == 1 ? 0 : 2;
}

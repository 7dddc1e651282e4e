/* Any bytes as a sweep: no crash, and what was understood keeps its rules. */
#include "study/sweep.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sweep s;
    if (sweep_parse(&s, "folder/input", (const char *)data, size) == STATUS_OK) {
        if (s.variant_count < 1 || s.seed_count < 1 || (s.steps > 0) == (s.max_seconds > 0)) abort();
        for (int i = 0; i < s.variant_count; i++)
            if (!s.variants[i].name || strchr(s.variants[i].name, '/') || !s.variants[i].config) abort();
    }
    sweep_free(&s);
    return 0;
}

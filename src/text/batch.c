#include "text/batch.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

static int32_t *copy_column(const int32_t *column, int64_t count) {
    if (!column) return NULL;
    const size_t bytes = (size_t)count * sizeof *column;
    return memcpy(xmalloc(bytes), column, bytes);
}

batch batch_copy(const batch *b) {
    const int64_t count = b->batch * b->length;
    return (batch){.batch = b->batch,
                   .length = b->length,
                   .input_ids = copy_column(b->input_ids, count),
                   .target_ids = copy_column(b->target_ids, count),
                   .first = copy_column(b->first, count)};
}

void batch_free(batch *copy) {
    free((void *)copy->input_ids);
    free((void *)copy->target_ids);
    free((void *)copy->first);
    *copy = (batch){0};
}

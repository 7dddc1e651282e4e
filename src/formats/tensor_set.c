#include "formats/tensor_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
    return strcmp(((const stored_tensor *)a)->name, ((const stored_tensor *)b)->name);
}

status tensor_set_seal(tensor_set *s) {
    if (s->count) qsort(s->tensors, (size_t)s->count, sizeof *s->tensors, by_name);
    for (int i = 1; i < s->count; i++)
        if (strcmp(s->tensors[i - 1].name, s->tensors[i].name) == 0)
            return fail("%s: tensor %s: the name occurs twice (also in %s)", s->tensors[i].file, s->tensors[i].name,
                        s->tensors[i - 1].file);
    return STATUS_OK;
}

void tensor_set_close(tensor_set *s) {
    if (s->close) s->close(s->owner);
    free(s->tensors);
    *s = (tensor_set){0};
}

const stored_tensor *tensor_set_find(const tensor_set *s, const char *name) {
    const stored_tensor key = {.name = name};
    return s->count ? bsearch(&key, s->tensors, (size_t)s->count, sizeof key, by_name) : NULL;
}

int64_t stored_cols(const stored_tensor *t) {
    return t->ndim > 0 ? t->shape[t->ndim - 1] : 1;
}

int64_t stored_rows(const stored_tensor *t) {
    int64_t rows = 1;
    for (int i = 0; i + 1 < t->ndim; i++) rows *= t->shape[i];
    return rows;
}

void stored_read(const stored_tensor *t, int64_t first, int64_t rows, float *out) {
    const int64_t cols = stored_cols(t);
    storage_read(t->type, t->data + storage_bytes(t->type, first * cols), rows * cols, out);
}

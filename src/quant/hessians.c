#include "quant/hessians.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    char *name;
    int64_t cols, rows;
    float *sum; /* device [cols, cols] */
} entry;

struct hessians {
    const kernels *k;
    entry *entries;
    int count;
    status failed; /* the first failure of an observation */
};

status hessians_create(hessians **out, const kernels *k) {
    *out = xcalloc(1, sizeof **out);
    (*out)->k = k;
    return STATUS_OK;
}

void hessians_destroy(hessians *h) {
    if (!h) return;
    for (int i = 0; i < h->count; i++) {
        free(h->entries[i].name);
        h->k->release(h->entries[i].sum);
    }
    free(h->entries);
    free(h);
}

static entry *find(const hessians *h, const char *name) {
    for (int i = 0; i < h->count; i++)
        if (strcmp(h->entries[i].name, name) == 0) return &h->entries[i];
    return NULL;
}

static entry *find_or_add(hessians *h, const char *name, int64_t cols) {
    entry *e = find(h, name);
    if (e) return e;
    const size_t bytes = (size_t)(cols * cols) * sizeof(float);
    float *sum;
    status s = h->k->alloc((void **)&sum, bytes);
    if (s != STATUS_OK) {
        h->failed = fail_in(s, "the Hessian of %s", name);
        return NULL;
    }
    h->k->zero(sum, bytes);
    h->entries = xrealloc(h->entries, (size_t)(h->count + 1) * sizeof *h->entries);
    e = &h->entries[h->count++];
    *e = (entry){.name = xstrdup(name), .cols = cols, .sum = sum};
    return e;
}

static void observe(void *context, const param *weight, const void *x, int64_t N, int64_t cols) {
    hessians *h = context;
    if (h->failed != STATUS_OK) return;
    entry *e = find_or_add(h, weight->name, cols);
    if (!e || N == 0) return;
    h->k->gram(e->sum, x, N, cols);
    e->rows += N;
}

status hessians_add(hessians *h, model *m, const batch *b) {
    TRY(model_observe(m, b, observe, h));
    return h->failed;
}

float *hessians_read(const hessians *h, const char *name, int64_t cols, int64_t *rows) {
    const entry *e = find(h, name);
    if (rows) *rows = e ? e->rows : 0;
    if (!e || e->cols != cols) return NULL;
    float *host = xmalloc((size_t)(cols * cols) * sizeof *host);
    h->k->download(host, e->sum, (size_t)(cols * cols) * sizeof *host);
    const float inverse = e->rows ? 1.0f / (float)e->rows : 1;
    for (int64_t i = 0; i < cols * cols; i++) host[i] *= inverse;
    return host;
}

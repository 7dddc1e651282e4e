/* Embeddings: what the head reads, averaged over the tokens of a text. */
#include "base/memory.h"
#include "nn/roles.h"
#include "serve/served.h"
#include <math.h>
#include <stdlib.h>

typedef struct embedding {
    const int32_t *ids;
    int64_t count;
    const kernels *k;
    const param *head;
    float *device, *rows; /* [count, d] */
    int64_t seen;         /* rows of it */
} embedding;

/* The head's input is what the final norm gave. */
static void keep_rows(void *context, const param *weight, const void *x, int64_t N, int64_t cols) {
    embedding *g = context;
    if (weight != g->head || N != g->count) return;
    g->k->to_float(g->device, x, N * cols);
    g->k->download(g->rows, g->device, (size_t)(N * cols) * sizeof *g->rows);
    g->seen = N;
}

static status observe(pass *p, void *context) {
    embedding *g = context;
    const model *m = pass_model(p);
    const batch b = {.batch = 1, .length = g->count, .input_ids = g->ids};
    const size_t bytes = (size_t)(g->count * m->config.model_dim) * sizeof(float);
    g->k = m->k;
    g->head = model_param(m, m->config.head.tied ? ROLE_TOK_EMB : ROLE_HEAD, -1, -1);
    TRY(g->k->alloc((void **)&g->device, bytes));
    pass_watch_products(p, keep_rows, g);
    const status s = pass_observe(p, &b, -1);
    pass_watch_products(p, NULL, NULL);
    g->k->release(g->device);
    if (s == STATUS_OK && g->seen == 0) return fail("the model's last hidden states were not seen");
    return s;
}

static void average(const embedding *g, int64_t d, float *values) {
    double *sums = xcalloc((size_t)d, sizeof *sums), square = 0;
    for (int64_t n = 0; n < g->count; n++)
        for (int64_t i = 0; i < d; i++) sums[i] += (double)g->rows[n * d + i];
    for (int64_t i = 0; i < d; i++) square += sums[i] * sums[i];
    const double scale = square > 0 ? 1 / sqrt(square) : 0;
    for (int64_t i = 0; i < d; i++) values[i] = (float)(sums[i] * scale);
    free(sums);
}

status served_embedding(served *s, const int32_t *ids, size_t count, float *values, const still_wanted *wanted,
                        api_error *e) {
    const int64_t d = s->m->config.model_dim;
    embedding g = {.ids = ids, .count = (int64_t)count, .rows = xmalloc(count * (size_t)d * sizeof(float))};
    const status outcome = served_ask(s, observe, &g, wanted, e);
    if (outcome == STATUS_OK) average(&g, d, values);
    free(g.rows);
    return outcome;
}

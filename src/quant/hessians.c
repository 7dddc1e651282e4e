#include "quant/hessians.h"

#include "base/memory.h"
#include "base/progress.h"
#include "nn/plan.h"
#include "nn/roles.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What tells one product's input from another's. */
typedef struct input_key {
    int role, layer, expert; /* role: of the first weight that reads it */
} input_key;

typedef struct input {
    input_key key;
    int64_t cols, rows;
    float *sum; /* device [cols, cols] */
} input;

struct hessians {
    pass *p;
    const model *m;
    size_t memory;
    batch *batches;
    int batch_count;

    /* the layers that are held: first … last, where −1 is what is in no layer; first > last: none */
    int first, last;
    input *inputs;
    int input_count;
    status failed; /* the first failure of an observation */
    bool pool_experts;

    float *host; /* the Hessian that was asked for last */
    input_key shown;
};

hessians *hessians_create(pass *p, size_t memory) {
    hessians *h = xcalloc(1, sizeof *h);
    *h = (hessians){.p = p, .m = pass_model(p), .memory = memory, .first = 0, .last = -1};
    return h;
}

static void release_inputs(hessians *h) {
    for (int i = 0; i < h->input_count; i++) h->m->k->release(h->inputs[i].sum);
    free(h->inputs);
    free(h->host);
    h->inputs = NULL;
    h->host = NULL;
    h->input_count = 0;
    h->first = 0;
    h->last = -1;
}

void hessians_destroy(hessians *h) {
    if (!h) return;
    release_inputs(h);
    for (int i = 0; i < h->batch_count; i++) {
        free((void *)h->batches[i].input_ids);
        free((void *)h->batches[i].first);
    }
    free(h->batches);
    free(h);
}

void hessians_pool_experts(hessians *h, bool pool) {
    if (h->pool_experts != pool) release_inputs(h);
    h->pool_experts = pool;
}

static int32_t *copy_column(const int32_t *column, int64_t count) {
    if (!column) return NULL;
    int32_t *copy = xmalloc((size_t)count * sizeof *copy);
    memcpy(copy, column, (size_t)count * sizeof *copy);
    return copy;
}

void hessians_add(hessians *h, const batch *b) {
    const int64_t count = b->batch * b->length;
    h->batches = xrealloc(h->batches, (size_t)(h->batch_count + 1) * sizeof *h->batches);
    h->batches[h->batch_count++] = (batch){.batch = b->batch,
                                           .length = b->length,
                                           .input_ids = copy_column(b->input_ids, count),
                                           .first = copy_column(b->first, count)};
}

/* ---- inputs ---- */

static bool is_same(input_key a, input_key b) {
    return a.role == b.role && a.layer == b.layer && a.expert == b.expert;
}

/* Keys and values read what queries read. */
static input_key key_of(const param *weight) {
    const bool follows = weight->role == ROLE_C_K || weight->role == ROLE_C_V;
    return (input_key){follows ? ROLE_C_Q : weight->role, weight->layer, weight->expert};
}

static input *find(const hessians *h, input_key key) {
    for (int i = 0; i < h->input_count; i++)
        if (is_same(h->inputs[i].key, key)) return &h->inputs[i];
    return NULL;
}

static input *find_or_add(hessians *h, const param *weight, int64_t cols) {
    const input_key key = key_of(weight);
    input *found = find(h, key);
    if (found) return found;
    const size_t bytes = (size_t)(cols * cols) * sizeof(float);
    float *sum;
    const status s = h->m->k->alloc((void **)&sum, bytes);
    if (s != STATUS_OK) {
        h->failed = fail_in(s, "the Hessian of %s", weight->name);
        return NULL;
    }
    h->m->k->zero(sum, bytes);
    h->inputs = xrealloc(h->inputs, (size_t)(h->input_count + 1) * sizeof *h->inputs);
    h->inputs[h->input_count] = (input){.key = key, .cols = cols, .sum = sum};
    return &h->inputs[h->input_count++];
}

static void add_rows(hessians *h, const param *weight, const void *x, int64_t N, int64_t cols) {
    input *in = find_or_add(h, weight, cols);
    if (!in || N == 0) return;
    h->m->k->gram(in->sum, x, N, cols);
    in->rows += N;
}

/* ---- all tokens for every expert ---- */

static const param *expert_proj(const model *m, const param *fc) {
    for (int i = 0; i < m->param_count; i++) {
        const param *p = m->params[i];
        if (p->role == ROLE_EXPERT_PROJ && p->layer == fc->layer && p->expert == fc->expert) return p;
    }
    return NULL;
}

/* What this expert's proj would read of rows that went to any: f(fc x). */
static status add_hidden(hessians *h, const param *fc, const void *x, int64_t N) {
    const kernels *k = h->m->k;
    const param *proj = expert_proj(h->m, fc);
    const int64_t wide = fc->matrix.rows, hidden = proj ? proj->matrix.cols : 0;
    void *u = NULL, *act = NULL;
    if (!proj || N == 0) return STATUS_OK;
    status s = k->alloc(&u, (size_t)(N * wide) * dtype_bytes(k->act));
    if (s == STATUS_OK) s = k->alloc(&act, (size_t)(N * hidden) * dtype_bytes(k->act));
    if (s == STATUS_OK) {
        k->linear(u, k->act, x, &fc->matrix, N);
        k->activate(act, u, model_plan(&h->m->config, fc->layer).mlp.activation, NULL, N, hidden);
        add_rows(h, proj, act, N, hidden);
    }
    k->release(u);
    k->release(act);
    return s;
}

/* Rows that were routed to one expert of a layer, given to all of them. */
static void add_to_all(hessians *h, const param *fc, const void *x, int64_t N, int64_t cols) {
    for (int i = 0; i < h->m->param_count && h->failed == STATUS_OK; i++) {
        const param *p = h->m->params[i];
        if (p->role != ROLE_EXPERT_FC || p->layer != fc->layer) continue;
        add_rows(h, p, x, N, cols);
        if (h->failed == STATUS_OK) h->failed = add_hidden(h, p, x, N);
    }
}

static void observe(void *context, const param *weight, const void *x, int64_t N, int64_t cols) {
    hessians *h = context;
    if (h->failed != STATUS_OK || weight->layer < h->first || weight->layer > h->last) return;
    if (key_of(weight).role != weight->role) return;
    if (!h->pool_experts || !role_has_expert((param_role)weight->role))
        add_rows(h, weight, x, N, cols);
    else if (weight->role == ROLE_EXPERT_FC)
        add_to_all(h, weight, x, N, cols);
}

/* ---- collecting ---- */

/* At most this many bytes of Hessians belong to a layer. */
static size_t layer_bytes(const model *m, int layer) {
    size_t bytes = 0;
    for (int i = 0; i < m->param_count; i++) {
        const param *p = m->params[i];
        if (p->is_matrix && p->layer == layer && key_of(p).role == p->role)
            bytes += (size_t)(p->matrix.cols * p->matrix.cols) * sizeof(float);
    }
    return bytes;
}

/* As many layers from `layer` on as fit; −1, what is in no layer, comes before the first. */
static int last_that_fits(const hessians *h, int layer) {
    size_t bytes = layer_bytes(h->m, layer);
    int last = layer;
    while (last + 1 < h->m->config.num_layers && (bytes += layer_bytes(h->m, last + 1)) <= h->memory) last++;
    return last;
}

static status run_batches(hessians *h) {
    const int until = h->first < 0 ? -1 : h->last; /* the head comes behind all layers */
    char detail[128];
    progress shown = progress_start("calibrate");
    status s = STATUS_OK;
    for (int i = 0; i < h->batch_count && s == STATUS_OK; i++) {
        if (interrupt_requested()) s = STATUS_INTERRUPTED;
        if (s == STATUS_OK) s = pass_observe(h->p, &h->batches[i], until);
        if (s == STATUS_OK) s = h->failed;
        snprintf(detail, sizeof detail, "%d of %d batches, up to layer %d", i + 1, h->batch_count, h->last);
        progress_show(&shown, (double)(i + 1) / (double)h->batch_count, detail);
    }
    snprintf(detail, sizeof detail, "inputs of %d products", h->input_count);
    progress_end(&shown, s == STATUS_OK ? detail : "stopped");
    return s;
}

static status collect(hessians *h, int layer) {
    release_inputs(h);
    h->first = layer;
    h->last = last_that_fits(h, layer);
    h->failed = STATUS_OK;
    pass_watch_products(h->p, observe, h);
    const status s = run_batches(h);
    pass_watch_products(h->p, NULL, NULL);
    if (s != STATUS_OK) release_inputs(h);
    return s;
}

/* The mean over rows to host memory. */
static void show(hessians *h, const input *in) {
    const int64_t count = in->cols * in->cols;
    const float inverse = in->rows ? 1.0f / (float)in->rows : 1;
    free(h->host);
    h->host = xmalloc((size_t)count * sizeof *h->host);
    h->shown = in->key;
    h->m->k->download(h->host, in->sum, (size_t)count * sizeof *h->host);
    for (int64_t i = 0; i < count; i++) h->host[i] *= inverse;
}

status hessians_of(hessians *h, const param *weight, const float **hessian, int64_t *rows) {
    *hessian = NULL;
    if (rows) *rows = 0;
    if (weight->layer < h->first || weight->layer > h->last) TRY(collect(h, weight->layer));
    const input *in = find(h, key_of(weight));
    if (!in || in->cols != weight->matrix.cols) return STATUS_OK;
    if (!h->host || !is_same(h->shown, in->key)) show(h, in);
    *hessian = h->host;
    if (rows) *rows = in->rows;
    return STATUS_OK;
}

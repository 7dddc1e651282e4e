/* Generating: the same forward pass, a few tokens at a time, with what earlier tokens left behind. */
#include "base/memory.h"
#include "nn/forward.h"
#include "nn/plan.h"
#include <stdlib.h>
#include <string.h>

struct kv_cache {
    const model *m;
    int64_t batch, capacity, length;
    int count; /* passes of the forward path */
    pass_cache passes[MODEL_MAX_PATH];
    stem_cache stem;
};

static status create_pass(pass_cache *p, const model *m, int64_t batch, int64_t capacity) {
    const model_config *c = &m->config;
    size_t act = dtype_bytes(m->k->act);
    size_t bytes = (size_t)(batch * capacity * (c->model_dim / c->attention.heads) * c->attention.kv_heads) * act;
    p->attention.capacity = capacity;
    TRY(m->k->alloc(&p->attention.k, bytes));
    TRY(m->k->alloc(&p->attention.v, bytes));
    if (c->residual.smear_width > 0) TRY(m->k->alloc(&p->carry, (size_t)(batch * c->residual.smear_width) * act));
    return STATUS_OK;
}

static status create_stem(stem_cache *stem, const model *m, int64_t batch) {
    stem->previous = xcalloc((size_t)batch, sizeof *stem->previous);
    if (!m->config.stem.smear) return STATUS_OK;
    return m->k->alloc(&stem->carry, (size_t)(batch * m->config.model_dim) * dtype_bytes(m->k->act));
}

status kv_cache_create(kv_cache **out, const model *m, int64_t batch, int64_t capacity) {
    kv_cache *c = xcalloc(1, sizeof *c);
    c->m = m;
    c->batch = batch;
    c->capacity = capacity;
    c->count = model_path(&m->config).length;
    status s = create_stem(&c->stem, m, batch);
    for (int i = 0; i < c->count && s == STATUS_OK; i++) s = create_pass(&c->passes[i], m, batch, capacity);
    if (s == STATUS_OK)
        *out = c;
    else
        kv_cache_destroy(c);
    return s;
}

void kv_cache_destroy(kv_cache *c) {
    if (!c) return;
    for (int i = 0; i < c->count; i++) {
        c->m->k->release(c->passes[i].attention.k);
        c->m->k->release(c->passes[i].attention.v);
        c->m->k->release(c->passes[i].carry);
    }
    c->m->k->release(c->stem.carry);
    free(c->stem.previous);
    free(c);
}

int64_t kv_cache_length(const kv_cache *c) {
    return c->length;
}
void kv_cache_reset(kv_cache *c) {
    c->length = 0;
}

/* The rows of the last tokens, [B, d], out of x [B·count, d]. */
static var *last_rows(model *m, const var *x, int64_t batch, int64_t count) {
    int64_t d = tensor_cols(&x->value);
    var *y = tape_var(m->tape, 2, (int64_t[]){batch, d});
    size_t row = (size_t)d * dtype_bytes(m->k->act);
    for (int64_t b = 0; y && b < batch; b++)
        m->k->copy((char *)y->value.data + (size_t)b * row,
                   (const char *)x->value.data + (size_t)((b + 1) * count - 1) * row, row);
    return y;
}

static void push_token(int32_t previous[TOKENS_BACK], int32_t token) {
    memmove(previous + 1, previous, (TOKENS_BACK - 1) * sizeof *previous);
    previous[0] = token;
}

status model_decode(model *m, kv_cache *c, const int32_t *ids, int64_t count, float *logits) {
    if (c->length + count > c->capacity)
        return fail("the key/value cache holds %lld tokens: %lld more do not fit behind %lld", (long long)c->capacity,
                    (long long)count, (long long)c->length);
    for (int i = 0; i < c->count; i++) c->passes[i].attention.length = c->length;
    pass_input in = {.batch = c->batch,
                     .length = count,
                     .offset = c->length,
                     .ids = ids,
                     .stem = &c->stem,
                     .passes = c->passes,
                     .loss_weight = 1};
    tape_reset(m->tape, false);
    var *x = model_forward(m, &in);
    TRY(tape_status(m->tape));
    for (int64_t b = 0; b < c->batch; b++)
        for (int64_t t = 0; t < count; t++) push_token(c->stem.previous[b], ids[b * count + t]);
    c->length += count;
    return op_logits(m->tape, last_rows(m, x, c->batch, count), m->scratch->head, m->config.head.softcap, logits);
}

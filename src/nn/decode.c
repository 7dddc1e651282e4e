/* Generating: the same forward pass, a few tokens at a time, with what earlier tokens left behind. */
#include "base/memory.h"
#include "nn/pass_state.h"
#include <stdlib.h>
#include <string.h>

/* What is not rows of keys and values has a second half that kv_cache_mark fills: lengths and stem.previous are [2B], a carry
 * is [2B, width]. */
struct kv_cache {
    const model *m;
    int64_t batch, capacity;
    int64_t *lengths;
    int count; /* passes of the forward path */
    pass_cache *passes;
    stem_cache stem;
};

static status create_pass(pass_cache *p, const kv_cache *c, const block *b) {
    const kernels *k = c->m->k;
    size_t act = dtype_bytes(k->act);
    size_t bytes = (size_t)(c->batch * c->capacity * b->plan.attention.kv_width) * act;
    p->attention.capacity = c->capacity;
    p->attention.lengths = c->lengths;
    TRY(k->alloc(&p->attention.k, bytes));
    TRY(k->alloc(&p->attention.v, bytes));
    if (b->plan.smear_width > 0) TRY(k->alloc(&p->carry, (size_t)(2 * c->batch * b->plan.smear_width) * act));
    return STATUS_OK;
}

static status create_stem(kv_cache *c) {
    c->stem.previous = xcalloc((size_t)(2 * c->batch), sizeof *c->stem.previous);
    if (!c->m->config.stem.smear) return STATUS_OK;
    return c->m->k->alloc(&c->stem.carry, (size_t)(2 * c->batch * c->m->config.model_dim) * dtype_bytes(c->m->k->act));
}

status kv_cache_create(kv_cache **out, const model *m, int64_t batch, int64_t capacity) {
    const forward_path *path = &m->parts->path;
    kv_cache *c = xcalloc(1, sizeof *c);
    *c = (kv_cache){.m = m, .batch = batch, .capacity = capacity, .count = path->length};
    c->lengths = xcalloc((size_t)(2 * batch), sizeof *c->lengths);
    c->passes = xcalloc((size_t)path->length, sizeof *c->passes);
    status s = create_stem(c);
    for (int i = 0; i < c->count && s == STATUS_OK; i++)
        s = create_pass(&c->passes[i], c, &m->parts->blocks[path->layer[i]]);
    for (int64_t b = 0; b < batch && s == STATUS_OK; b++) kv_cache_reset(c, b);
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
    free(c->passes);
    free(c->lengths);
    free(c);
}

int64_t kv_cache_length(const kv_cache *c, int64_t sequence) {
    return c->lengths[sequence];
}

/* Row `sequence` of a carry [batch, width] becomes 0: nothing comes before the first token. */
static void clear_carry(const kv_cache *c, void *carry, int64_t width, int64_t sequence) {
    size_t bytes = (size_t)width * dtype_bytes(c->m->k->act);
    if (carry) c->m->k->zero((char *)carry + (size_t)sequence * bytes, bytes);
}

void kv_cache_reset(kv_cache *c, int64_t sequence) {
    const model_parts *s = c->m->parts;
    c->lengths[sequence] = 0;
    for (int i = 0; i < TOKENS_BACK; i++) c->stem.previous[sequence][i] = -1;
    clear_carry(c, c->stem.carry, c->m->config.model_dim, sequence);
    for (int i = 0; i < c->count; i++)
        clear_carry(c, c->passes[i].carry, s->blocks[s->path.layer[i]].plan.smear_width, sequence);
}

static void copy_half(const kv_cache *c, void *carry, int64_t width, bool back) {
    size_t half = (size_t)(c->batch * width) * dtype_bytes(c->m->k->act);
    char *now = carry, *marked = now + half;
    if (carry) c->m->k->copy(back ? now : marked, back ? marked : now, half);
}

/* Between what is now and what is marked. */
static void copy_halves(kv_cache *c, bool back) {
    const model_parts *s = c->m->parts;
    int64_t to = back ? 0 : c->batch, from = back ? c->batch : 0;
    memcpy(c->lengths + to, c->lengths + from, (size_t)c->batch * sizeof *c->lengths);
    memcpy(c->stem.previous + to, c->stem.previous + from, (size_t)c->batch * sizeof *c->stem.previous);
    copy_half(c, c->stem.carry, c->m->config.model_dim, back);
    for (int i = 0; i < c->count; i++)
        copy_half(c, c->passes[i].carry, s->blocks[s->path.layer[i]].plan.smear_width, back);
}

void kv_cache_mark(kv_cache *c) {
    copy_halves(c, false);
}

void kv_cache_rewind(kv_cache *c) {
    copy_halves(c, true);
}

/* ---- decoding ---- */

/* The rows of the last tokens, [B, d], out of x [B·count, d]. */
static var *last_rows(pass *p, const var *x, int64_t batch, int64_t count) {
    int64_t d = tensor_cols(&x->value);
    var *y = tape_var(p->tape, 2, (int64_t[]){batch, d});
    size_t row = (size_t)d * dtype_bytes(p->m->k->act);
    for (int64_t b = 0; y && b < batch; b++)
        p->m->k->copy((char *)y->value.data + (size_t)b * row,
                      (const char *)x->value.data + (size_t)((b + 1) * count - 1) * row, row);
    return y;
}

static void push_token(int32_t previous[TOKENS_BACK], int32_t token) {
    memmove(previous + 1, previous, (TOKENS_BACK - 1) * sizeof *previous);
    previous[0] = token;
}

static status check_room(const kv_cache *c, int64_t count) {
    for (int64_t b = 0; b < c->batch; b++)
        if (c->lengths[b] + count > c->capacity)
            return fail("the key/value cache holds %lld tokens: %lld more do not fit behind %lld",
                        (long long)c->capacity, (long long)count, (long long)c->lengths[b]);
    return STATUS_OK;
}

status pass_decode(pass *p, kv_cache *c, const int32_t *ids, int64_t count, float *logits) {
    TRY(check_room(c, count));
    const pass_input in = {.batch = c->batch,
                           .length = count,
                           .ids = ids,
                           .lengths = c->lengths,
                           .stem = &c->stem,
                           .passes = c->passes,
                           .loss_weight = 1,
                           .until_layer = -1};
    pass_begin(p, false, false);
    var *x = pass_forward(p, &in);
    TRY(tape_status(p->tape));
    for (int64_t b = 0; b < c->batch; b++) {
        for (int64_t t = 0; t < count; t++) push_token(c->stem.previous[b], ids[b * count + t]);
        c->lengths[b] += count;
    }
    return op_logits(p->tape, last_rows(p, x, c->batch, count), &p->m->parts->head, p->m->config.head.softcap, logits);
}

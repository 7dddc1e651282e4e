#include "grad/op.h"

typedef struct attention_op {
    var *q, *k, *v, *y;
    float *lse; /* [B, heads, T] */
    const int32_t *first;
    attention_shape shape;
} attention_op;

/* The kernel overwrites its results, so they go to fresh arrays that are then given to the inputs. */
static void attention_backward(tape *t, void *record) {
    attention_op *op = record;
    void *dq = tape_alloc(t, tensor_bytes(&op->q->value));
    void *dk = tape_alloc(t, tensor_bytes(&op->k->value));
    void *dv = tape_alloc(t, tensor_bytes(&op->v->value));
    void *y = tape_value(t, op->y), *q = tape_value(t, op->q), *k = tape_value(t, op->k), *v = tape_value(t, op->v);
    if (!dq || !dk || !dv || !y || !q || !k || !v) return;
    tape_kernels(t)->attention_backward(dq, dk, dv, op->y->grad, y, op->lse, q, k, v, op->first, &op->shape);
    tape_free(t, op->lse);
    tape_give_grad(t, op->q, dq);
    tape_give_grad(t, op->k, dk);
    tape_give_grad(t, op->v, dv);
}

/* The new tokens' rows go behind those of the cache, sequence by sequence and block by block. */
static void append(tape *t, const layout *l, void *cache, cache_type type, const void *added,
                   const attention_shape *s) {
    const kernels *k = tape_kernels(t);
    const size_t row = cache_row_bytes(type, k->act, s->kv_heads, s->head_dim);
    for (int64_t b = 0; b < l->batch; b++) {
        const cache_table table = l->past->tables[b];
        const int64_t start = layout_start(l, b), rows = layout_start(l, b + 1) - start, past = l->past->lengths[b];
        for (int64_t i = 0, run; i < rows; i += run) {
            run = cache_table_run(table, past + i, rows - i);
            k->cache_put((char *)cache + (size_t)cache_table_row(table, past + i) * row, type,
                         (const char *)added + act_bytes(t, (start + i) * s->kv_stride), run, s->kv_heads, s->head_dim);
        }
    }
}

/* The new tokens of a sequence are one span, or each is. */
static int64_t spans_of(const layout *l, int64_t b) {
    const bool apart = l->past->one_by_one && l->past->one_by_one[b];
    return apart ? layout_start(l, b + 1) - layout_start(l, b) : 1;
}

static void put_spans(attention_span *spans, int64_t count, const layout *l, int64_t b) {
    const int64_t start = layout_start(l, b), each = (layout_start(l, b + 1) - start) / count;
    for (int64_t i = 0; i < count; i++)
        spans[i] = (attention_span){
            .row = start + i, .queries = each, .table = l->past->tables[b], .keys = l->past->lengths[b] + i + each};
}

/* Attention to what is in the cache. */
static void attend_cache(tape *t, var *y, const var *q, const attention_cache *cache, const layout *l,
                         const attention_shape *shape) {
    int64_t count = 0, put = 0;
    for (int64_t b = 0; b < l->batch; b++) count += spans_of(l, b);
    attention_span *spans = tape_host_alloc(t, (size_t)count * sizeof *spans);
    for (int64_t b = 0; b < l->batch; put += spans_of(l, b++)) put_spans(spans + put, spans_of(l, b), l, b);
    tape_kernels(t)->attention_spans(y->value.data, q->value.data, cache->k, cache->v, cache->type, spans, count,
                                     shape);
}

var *op_attention(tape *t, var *q, var *k, var *v, const layout *l, int heads, int kv_heads,
                  const attention_cache *cache) {
    if (!q || !k || !v) return NULL;
    int64_t N = tensor_rows(&q->value), q_cols = tensor_cols(&q->value), kv_cols = tensor_cols(&k->value);
    attention_shape shape = {.batch = l->batch,
                             .queries = l->length,
                             .keys = l->length,
                             .heads = heads,
                             .kv_heads = kv_heads,
                             .head_dim = (int)(q_cols / heads),
                             .q_stride = q_cols,
                             .kv_stride = kv_cols,
                             .kv_batch_stride = l->length * kv_cols};
    var *y = new_matrix(t, N, q_cols);
    if (y && cache) {
        append(t, l, cache->k, cache->type, k->value.data, &shape);
        append(t, l, cache->v, cache->type, v->value.data, &shape);
        attend_cache(t, y, q, cache, l, &shape);
        return y;
    }
    float *lse = tape_recording(t) ? tape_alloc(t, (size_t)(N * heads) * sizeof(float)) : NULL;
    if (!y || (tape_recording(t) && !lse)) return NULL;
    tape_kernels(t)->attention(y->value.data, lse, q->value.data, k->value.data, v->value.data, l->first, &shape);
    attention_op *op = tape_record(t, sizeof *op, attention_backward, y);
    if (op) *op = (attention_op){.q = q, .k = k, .v = v, .y = y, .lse = lse, .first = l->first, .shape = shape};
    return y;
}

typedef struct xsa_op {
    var *y, *v, *z;
    int heads, kv_heads;
} xsa_op;

static void xsa_backward(tape *t, void *record) {
    xsa_op *op = record;
    void *y = tape_value(t, op->y), *v = tape_value(t, op->v);
    grad_out dy = tape_grad(t, op->y);
    grad_out dv = tape_grad(t, op->v);
    if (!y || !v || !dy.data || !dv.data) return;
    tape_kernels(t)->xsa_backward(dy, dv, op->z->grad, y, v, tensor_rows(&op->y->value), op->heads, op->kv_heads,
                                  (int)(tensor_cols(&op->y->value) / op->heads));
}

static void xsa_forward(tape *t, void *record) {
    xsa_op *op = record;
    void *y = tape_value(t, op->y), *v = tape_value(t, op->v);
    if (y && v)
        tape_kernels(t)->xsa(op->z->value.data, y, v, tensor_rows(&op->y->value), op->heads, op->kv_heads,
                             (int)(tensor_cols(&op->y->value) / op->heads));
}

var *op_xsa(tape *t, var *y, var *v, int heads, int kv_heads) {
    if (!y || !v) return NULL;
    var *z = new_matrix(t, tensor_rows(&y->value), tensor_cols(&y->value));
    if (!z) return NULL;
    xsa_op op = {.y = y, .v = v, .z = z, .heads = heads, .kv_heads = kv_heads};
    xsa_forward(t, &op);
    record_cheap(t, &op, sizeof op, xsa_backward, xsa_forward, z);
    return z;
}

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

/* The new tokens' rows go behind those of the cache, sequence by sequence. */
static void append(tape *t, const attention_cache *cache, void *rows, const void *added, const layout *l,
                   int64_t cols) {
    for (int64_t b = 0; b < l->batch; b++)
        tape_kernels(t)->copy(act_at(t, rows, (b * cache->capacity + cache->lengths[b]) * cols),
                              (const char *)added + act_bytes(t, b * l->length * cols), act_bytes(t, l->length * cols));
}

/* The sequences from b on whose caches are equally long. */
static int64_t equally_long(const attention_cache *cache, int64_t b, int64_t batch) {
    int64_t end = b + 1;
    while (end < batch && cache->lengths[end] == cache->lengths[b]) end++;
    return end - b;
}

/* Attention to what is in the cache, for as many sequences at a time as have the same number of tokens there. */
static void attend_cache(tape *t, var *y, const var *q, attention_cache *cache, const layout *l,
                         attention_shape shape) {
    shape.kv_batch_stride = cache->capacity * shape.kv_stride;
    for (int64_t b = 0; b < l->batch; b += shape.batch) {
        int64_t row = b * l->length, at = b * shape.kv_batch_stride;
        shape.batch = equally_long(cache, b, l->batch);
        shape.keys = cache->lengths[b] + l->length;
        tape_kernels(t)->attention(act_at(t, y->value.data, row * shape.q_stride), NULL,
                                   act_at(t, q->value.data, row * shape.q_stride), act_at(t, cache->k, at),
                                   act_at(t, cache->v, at), l->first ? l->first + row : NULL, &shape);
    }
}

var *op_attention(tape *t, var *q, var *k, var *v, const layout *l, int heads, int kv_heads, attention_cache *cache) {
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
        append(t, cache, cache->k, k->value.data, l, kv_cols);
        append(t, cache, cache->v, v->value.data, l, kv_cols);
        attend_cache(t, y, q, cache, l, shape);
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

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
    if (!dq || !dk || !dv) return;
    tape_kernels(t)->attention_backward(dq, dk, dv, op->y->grad, tape_value(t, op->y), op->lse, tape_value(t, op->q),
                                        tape_value(t, op->k), tape_value(t, op->v), op->first, &op->shape);
    tape_free(t, op->lse);
    tape_give_grad(t, op->q, dq);
    tape_give_grad(t, op->k, dk);
    tape_give_grad(t, op->v, dv);
}

/* Append the new tokens' rows behind those of the cache, sequence by sequence. */
static void append(tape *t, const attention_cache *cache, void *rows, const void *added, const layout *l,
                   int64_t cols) {
    for (int64_t b = 0; b < l->batch; b++)
        tape_kernels(t)->copy(act_at(t, rows, (b * cache->capacity + cache->length) * cols),
                              (const char *)added + act_bytes(t, b * l->length * cols), act_bytes(t, l->length * cols));
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
    const void *keys = k->value.data, *values = v->value.data;
    if (cache) {
        append(t, cache, cache->k, keys, l, kv_cols);
        append(t, cache, cache->v, values, l, kv_cols);
        keys = cache->k;
        values = cache->v;
        shape.keys = cache->length + l->length;
        shape.kv_batch_stride = cache->capacity * kv_cols;
    }
    var *y = new_matrix(t, N, q_cols);
    float *lse = tape_recording(t) ? tape_alloc(t, (size_t)(N * heads) * sizeof(float)) : NULL;
    if (!y || (tape_recording(t) && !lse)) return NULL;
    tape_kernels(t)->attention(y->value.data, lse, q->value.data, keys, values, l->first, &shape);
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
    grad_out dy = tape_grad(t, op->y);
    grad_out dv = tape_grad(t, op->v);
    if (!dy.data || !dv.data) return;
    tape_kernels(t)->xsa_backward(dy, dv, op->z->grad, tape_value(t, op->y), tape_value(t, op->v),
                                  tensor_rows(&op->y->value), op->heads, op->kv_heads,
                                  (int)(tensor_cols(&op->y->value) / op->heads));
}

static void xsa_forward(tape *t, void *record) {
    xsa_op *op = record;
    tape_kernels(t)->xsa(op->z->value.data, tape_value(t, op->y), tape_value(t, op->v), tensor_rows(&op->y->value),
                         op->heads, op->kv_heads, (int)(tensor_cols(&op->y->value) / op->heads));
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

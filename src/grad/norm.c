#include "grad/op.h"

typedef struct rms_norm_op {
    var *x, *y;
    float *rstd; /* [N] */
    float scale;
} rms_norm_op;

static void rms_norm_backward(tape *t, void *record) {
    rms_norm_op *op = record;
    grad_out dx = tape_grad(t, op->x);
    if (dx.data)
        tape_kernels(t)->rms_norm_backward(dx, op->y->grad, tape_value(t, op->x), op->rstd, op->scale,
                                           tensor_rows(&op->x->value), tensor_cols(&op->x->value));
    tape_free(t, op->rstd);
}

static void rms_norm_forward(tape *t, void *record) {
    rms_norm_op *op = record;
    tape_kernels(t)->rms_norm(op->y->value.data, op->rstd, tape_value(t, op->x), op->scale, tensor_rows(&op->x->value),
                              tensor_cols(&op->x->value));
}

var *op_rms_norm(tape *t, var *x, float scale) {
    if (!x) return NULL;
    int64_t N = tensor_rows(&x->value), d = tensor_cols(&x->value);
    var *y = new_matrix(t, N, d);
    float *rstd = tape_alloc(t, (size_t)N * sizeof(float));
    if (!y || !rstd) return NULL;
    rms_norm_op op = {.x = x, .y = y, .rstd = rstd, .scale = scale};
    rms_norm_forward(t, &op);
    if (!record_cheap(t, &op, sizeof op, rms_norm_backward, rms_norm_forward, y)) tape_free(t, rstd);
    return y;
}

typedef struct head_norm_rope_op {
    var *x, *y;
    param *gain;
    float *rstd; /* [N, heads] */
    int64_t length, offset;
    int heads, rope_dims;
    float base;
} head_norm_rope_op;

static void head_norm_rope_forward(tape *t, void *record) {
    head_norm_rope_op *op = record;
    int64_t N = tensor_rows(&op->x->value), cols = tensor_cols(&op->x->value);
    tape_kernels(t)->head_norm_rope(op->y->value.data, op->rstd, tape_value(t, op->x), param_values(op->gain), N,
                                    op->length, op->offset, op->heads, (int)(cols / op->heads), op->rope_dims,
                                    op->base);
}

static void head_norm_rope_backward(tape *t, void *record) {
    head_norm_rope_op *op = record;
    int64_t N = tensor_rows(&op->x->value);
    int head_dim = (int)(tensor_cols(&op->x->value) / op->heads);
    grad_out dx = tape_grad(t, op->x);
    if (dx.data)
        tape_kernels(t)->head_norm_rope_backward(dx, param_grad(op->gain), op->y->grad, tape_value(t, op->x), op->rstd,
                                                 param_values(op->gain), N, op->length, op->heads, head_dim,
                                                 op->rope_dims, op->base);
    tape_free(t, op->rstd);
}

var *op_head_norm_rope(tape *t, var *x, param *gain, const layout *l, int heads, int rope_dims, float base) {
    if (!x) return NULL;
    int64_t N = tensor_rows(&x->value), cols = tensor_cols(&x->value);
    var *y = new_matrix(t, N, cols);
    float *rstd = tape_alloc(t, (size_t)(N * heads) * sizeof(float));
    if (!y || !rstd) return NULL;
    head_norm_rope_op op = {.x = x,
                            .y = y,
                            .gain = gain,
                            .rstd = rstd,
                            .length = l->length,
                            .offset = l->offset,
                            .heads = heads,
                            .rope_dims = rope_dims,
                            .base = base};
    head_norm_rope_forward(t, &op);
    if (!record_cheap(t, &op, sizeof op, head_norm_rope_backward, head_norm_rope_forward, y)) tape_free(t, rstd);
    return y;
}

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
        tape_kernels(t)->rms_norm_backward(dx, op->y->grad, op->x->value.data, op->rstd, op->scale,
                                           tensor_rows(&op->x->value), tensor_cols(&op->x->value));
    tape_free(t, op->rstd);
}

var *op_rms_norm(tape *t, var *x, float scale) {
    if (!x) return NULL;
    int64_t N = tensor_rows(&x->value), d = tensor_cols(&x->value);
    var *y = new_matrix(t, N, d);
    float *rstd = tape_alloc(t, (size_t)N * sizeof(float));
    if (!y || !rstd) return NULL;
    tape_kernels(t)->rms_norm(y->value.data, rstd, x->value.data, scale, N, d);
    rms_norm_op *op = tape_record(t, sizeof *op, rms_norm_backward, y);
    if (op)
        *op = (rms_norm_op){.x = x, .y = y, .rstd = rstd, .scale = scale};
    else
        tape_free(t, rstd);
    return y;
}

typedef struct head_norm_rope_op {
    var *x, *y;
    param *gain;
    float *rstd; /* [N, heads] */
    int64_t length;
    int heads, rope_dims;
    float base;
} head_norm_rope_op;

static void head_norm_rope_backward(tape *t, void *record) {
    head_norm_rope_op *op = record;
    int64_t N = tensor_rows(&op->x->value);
    int head_dim = (int)(tensor_cols(&op->x->value) / op->heads);
    grad_out dx = tape_grad(t, op->x);
    if (dx.data)
        tape_kernels(t)->head_norm_rope_backward(dx, param_grad(op->gain), op->y->grad, op->x->value.data, op->rstd,
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
    tape_kernels(t)->head_norm_rope(y->value.data, rstd, x->value.data, param_values(gain), N, l->length, l->offset,
                                    heads, (int)(cols / heads), rope_dims, base);
    head_norm_rope_op *op = tape_record(t, sizeof *op, head_norm_rope_backward, y);
    if (op)
        *op = (head_norm_rope_op){.x = x,
                                  .y = y,
                                  .gain = gain,
                                  .rstd = rstd,
                                  .length = l->length,
                                  .heads = heads,
                                  .rope_dims = rope_dims,
                                  .base = base};
    else
        tape_free(t, rstd);
    return y;
}

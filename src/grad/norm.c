#include "grad/op.h"

typedef struct rms_norm_op {
    var *x, *y;
    param *weight;
    float *rstd; /* [N] */
    float scale, eps;
} rms_norm_op;

static void rms_norm_backward(tape *t, void *record) {
    rms_norm_op *op = record;
    void *x = tape_value(t, op->x);
    grad_out dx = tape_grad(t, op->x);
    if (x && dx.data)
        tape_kernels(t)->rms_norm_backward(dx, param_grad(op->weight), op->y->grad, x, op->rstd,
                                           param_values(op->weight), op->scale, tensor_rows(&op->x->value),
                                           tensor_cols(&op->x->value));
    tape_free(t, op->rstd);
}

static void rms_norm_forward(tape *t, void *record) {
    rms_norm_op *op = record;
    void *x = tape_value(t, op->x);
    if (x)
        tape_kernels(t)->rms_norm(op->y->value.data, op->rstd, x, param_values(op->weight), op->scale, op->eps,
                                  tensor_rows(&op->x->value), tensor_cols(&op->x->value));
}

var *op_rms_norm(tape *t, var *x, param *weight, float scale, float eps) {
    if (!x) return NULL;
    int64_t N = tensor_rows(&x->value), d = tensor_cols(&x->value);
    var *y = new_matrix(t, N, d);
    float *rstd = tape_alloc(t, (size_t)N * sizeof(float));
    if (!y || !rstd) return NULL;
    rms_norm_op op = {.x = x, .y = y, .weight = weight, .rstd = rstd, .scale = scale, .eps = eps};
    rms_norm_forward(t, &op);
    if (!record_cheap(t, &op, sizeof op, rms_norm_backward, rms_norm_forward, y)) tape_free(t, rstd);
    return y;
}

typedef struct head_rotate_op {
    var *x, *y;
    param *weight, *gain;
    float *rstd; /* [N, heads] */
    head_args args;
} head_rotate_op;

static void head_rotate_forward(tape *t, void *record) {
    head_rotate_op *op = record;
    void *x = tape_value(t, op->x);
    if (x) tape_kernels(t)->head_rotate(op->y->value.data, op->rstd, x, &op->args, tensor_rows(&op->x->value));
}

static void head_rotate_backward(tape *t, void *record) {
    head_rotate_op *op = record;
    void *x = tape_value(t, op->x);
    grad_out dx = tape_grad(t, op->x);
    if (x && dx.data)
        tape_kernels(t)->head_rotate_backward(dx, param_grad(op->weight), param_grad(op->gain), op->y->grad, x,
                                              op->rstd, &op->args, tensor_rows(&op->x->value));
    tape_free(t, op->rstd);
}

var *op_head_rotate(tape *t, var *x, param *weight, param *gain, const layout *l, const head_args *args) {
    if (!x) return NULL;
    int64_t N = tensor_rows(&x->value), cols = tensor_cols(&x->value);
    var *y = new_matrix(t, N, cols);
    float *rstd = args->norm ? tape_alloc(t, (size_t)(N * args->heads) * sizeof(float)) : NULL;
    if (!y || (args->norm && !rstd)) return NULL;
    head_rotate_op op = {.x = x, .y = y, .weight = weight, .gain = gain, .rstd = rstd, .args = *args};
    op.args.weight = param_values(weight);
    op.args.gain = param_values(gain);
    op.args.rotary = l->rotary;
    op.args.positions = l->positions;
    head_rotate_forward(t, &op);
    if (!record_cheap(t, &op, sizeof op, head_rotate_backward, head_rotate_forward, y)) tape_free(t, rstd);
    return y;
}

#include "grad/op.h"

typedef struct linear_op {
    var *x, *y;
    param *w;
} linear_op;

/* dx = dy W, dW += dyᵀ x */
static void linear_backward(tape *t, void *record) {
    linear_op *op = record;
    const kernels *k = tape_kernels(t);
    int64_t N = tensor_rows(&op->x->value);
    float *dw = param_grad(op->w);
    if (dw) k->linear_backward_weight(dw, op->y->grad, tape_value(t, op->x), &op->w->matrix, N);
    grad_out dx = tape_grad(t, op->x);
    if (dx.data) k->linear_backward_input(dx, op->y->grad, &op->w->matrix, N);
}

var *op_linear(tape *t, var *x, param *w) {
    if (!x) return NULL;
    const kernels *k = tape_kernels(t);
    int64_t N = tensor_rows(&x->value);
    var *y = new_matrix(t, N, w->matrix.rows);
    if (!y) return NULL;
    tape_notify(t, w, x->value.data, N, w->matrix.cols);
    k->linear(y->value.data, k->act, x->value.data, &w->matrix, N);
    linear_op *op = tape_record(t, sizeof *op, linear_backward, y);
    if (op) *op = (linear_op){.x = x, .y = y, .w = w};
    return y;
}

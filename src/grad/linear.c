#include "grad/linear.h"

#include "grad/op.h"

/* ---- on rows ---- */

/* z += U (V x) */
static void add_low_rank(tape *t, const linear *l, void *z, const void *x, int64_t N) {
    const kernels *k = tape_kernels(t);
    int64_t out = linear_out(l);
    void *inner = tape_alloc(t, act_bytes(t, N * l->down->matrix.rows));
    void *outer = tape_alloc(t, act_bytes(t, N * out));
    if (inner && outer) {
        k->linear(inner, k->act, x, &l->down->matrix, N);
        k->linear(outer, k->act, inner, &l->up->matrix, N);
        k->scale_add(z, z, outer, NULL, N, out);
    }
    tape_free(t, inner);
    tape_free(t, outer);
}

static float *scale_row(const linear *l, float *array, int pass) {
    return l->pass_scale && array ? array + pass * linear_out(l) : NULL;
}

/* s_p ⊙ z + b in place */
static void scale_and_shift(tape *t, const linear *l, int pass, void *z, int64_t N) {
    const kernels *k = tape_kernels(t);
    const int64_t out = linear_out(l);
    if (l->pass_scale) k->chunk_gate(z, z, scale_row(l, param_values(l->pass_scale), pass), NULL, N, out, 1);
    if (l->bias) k->bias_add(z, param_values(l->bias), N, out);
}

/* W x + U (V x) */
static void unscaled(tape *t, const linear *l, void *z, const void *x, int64_t N) {
    const kernels *k = tape_kernels(t);
    k->linear(z, k->act, x, &l->weight->matrix, N);
    if (l->down) add_low_rank(t, l, z, x, N);
}

void linear_forward(tape *t, const linear *l, int pass, void *y, const void *x, int64_t N) {
    tape_notify(t, l->weight, x, N, linear_in(l));
    unscaled(t, l, y, x, N);
    scale_and_shift(t, l, pass, y, N);
}

/* With t = V x, formed again: dU += dzᵀ t, dt = dz U, dV += dtᵀ x, dx += dt V */
static void low_rank_backward(tape *t, const linear *l, grad_out dx, const void *dz, const void *x, int64_t N) {
    const kernels *k = tape_kernels(t);
    int64_t rank = l->down->matrix.rows;
    void *inner = tape_alloc(t, act_bytes(t, N * rank)), *dinner = tape_alloc(t, act_bytes(t, N * rank));
    float *ddown = param_grad(l->down), *dup = param_grad(l->up);
    if (inner && dinner) {
        k->linear(inner, k->act, x, &l->down->matrix, N);
        if (dup) k->linear_backward_weight(dup, dz, inner, &l->up->matrix, N);
        k->linear_backward_input((grad_out){.data = dinner}, dz, &l->up->matrix, N);
        if (ddown) k->linear_backward_weight(ddown, dinner, x, &l->down->matrix, N);
        if (dx.data) k->linear_backward_input((grad_out){.data = dx.data, .add = true}, dinner, &l->down->matrix, N);
    }
    tape_free(t, inner);
    tape_free(t, dinner);
}

/* dz = s ⊙ dy, ds += Σ dy ⊙ z with z formed again; the caller frees dz. NULL: no memory. */
static void *scale_backward(tape *t, const linear *l, int pass, const void *dy, const void *x, int64_t N) {
    const kernels *k = tape_kernels(t);
    int64_t out = linear_out(l);
    void *z = tape_alloc(t, act_bytes(t, N * out)), *dz = tape_alloc(t, act_bytes(t, N * out));
    if (z && dz) {
        unscaled(t, l, z, x, N);
        k->chunk_gate_backward((grad_out){.data = dz}, scale_row(l, param_grad(l->pass_scale), pass), NULL, dy, z,
                               scale_row(l, param_values(l->pass_scale), pass), NULL, N, out, 1);
    }
    tape_free(t, z);
    return dz;
}

void linear_backward(tape *t, const linear *l, int pass, grad_out dx, const void *dy, const void *x, int64_t N) {
    const kernels *k = tape_kernels(t);
    float *dw = param_grad(l->weight), *dbias = param_grad(l->bias);
    if (dbias) k->bias_add_backward(dbias, dy, N, linear_out(l));
    void *scaled = l->pass_scale ? scale_backward(t, l, pass, dy, x, N) : NULL;
    if (tape_status(t) != STATUS_OK) return;
    const void *dz = scaled ? scaled : dy;
    tape_notify_gradient(t, &(product_gradient){.weight = l->weight, .dy = dz, .x = x, .N = N});
    if (dw) k->linear_backward_weight(dw, dz, x, &l->weight->matrix, N);
    if (dx.data) k->linear_backward_input(dx, dz, &l->weight->matrix, N);
    if (l->down) low_rank_backward(t, l, dx, dz, x, N);
    tape_free(t, scaled);
}

/* ---- the op ---- */

typedef struct linear_op {
    var *x, *y;
    linear l;
    int pass;
} linear_op;

static void backward(tape *t, void *record) {
    linear_op *op = record;
    void *x = tape_value(t, op->x);
    grad_out dx = tape_grad(t, op->x);
    if (x && dx.data) linear_backward(t, &op->l, op->pass, dx, op->y->grad, x, tensor_rows(&op->x->value));
}

var *op_linear(tape *t, var *x, const linear *l, int pass) {
    if (!x) return NULL;
    int64_t N = tensor_rows(&x->value);
    var *y = new_matrix(t, N, linear_out(l));
    if (!y) return NULL;
    linear_forward(t, l, pass, y->value.data, x->value.data, N);
    linear_op *op = tape_record(t, sizeof *op, backward, y);
    if (op) *op = (linear_op){.x = x, .y = y, .l = *l, .pass = pass};
    return y;
}

/* ---- several of one input ---- */

static bool all_packed(const linear *const *l, int count) {
    for (int i = 0; i < count; i++)
        if (!l[i]->weight->matrix.packed) return false;
    return true;
}

/* Codes are only run: there is nothing to record. */
static void run_several(tape *t, var *x, const linear *const *l, int count, int pass, var **y) {
    const weight *weights[LINEAR_SEVERAL_MOST];
    void *out[LINEAR_SEVERAL_MOST];
    const int64_t N = tensor_rows(&x->value);
    for (int i = 0; i < count; i++) {
        y[i] = new_matrix(t, N, linear_out(l[i]));
        if (!y[i]) return;
        weights[i] = &l[i]->weight->matrix;
        out[i] = y[i]->value.data;
        tape_notify(t, l[i]->weight, x->value.data, N, linear_in(l[i]));
    }
    tape_kernels(t)->linear_several(out, x->value.data, weights, count, N);
    for (int i = 0; i < count; i++) {
        if (l[i]->down) add_low_rank(t, l[i], out[i], x->value.data, N);
        scale_and_shift(t, l[i], pass, out[i], N);
    }
}

void op_linear_several(tape *t, var *x, const linear *const *l, int count, int pass, var **y) {
    for (int i = 0; i < count; i++) y[i] = NULL;
    if (!x) return;
    if (!tape_recording(t) && all_packed(l, count)) {
        run_several(t, x, l, count, pass, y);
        return;
    }
    for (int i = 0; i < count; i++) y[i] = op_linear(t, x, l[i], pass);
}

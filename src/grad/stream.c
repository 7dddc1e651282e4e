/* Ops of the residual stream: what happens between the blocks' products. */
#include "grad/op.h"

typedef struct scale_add_op {
    var *x, *z, *y;
    param *s;
    int64_t row;
} scale_add_op;

/* The op's row of s, or of its gradient; NULL stays NULL. */
static float *scale_row(const scale_add_op *op, float *array) {
    return array ? array + op->row * tensor_cols(&op->y->value) : NULL;
}

/* dz = s ⊙ dy, ds += Σ dy ⊙ z; dx = dy: the array itself moves on to x. */
static void scale_add_backward(tape *t, void *record) {
    scale_add_op *op = record;
    void *z = tape_value(t, op->z);
    grad_out dz = tape_grad(t, op->z);
    if (!z || !dz.data) return;
    tape_kernels(t)->scale_add_backward((grad_out){0}, dz, scale_row(op, param_grad(op->s)), op->y->grad, z,
                                        scale_row(op, param_values(op->s)), tensor_rows(&op->y->value),
                                        tensor_cols(&op->y->value));
    tape_give_grad(t, op->x, op->y->grad);
    op->y->grad = NULL;
}

static void scale_add_forward(tape *t, void *record) {
    scale_add_op *op = record;
    void *x = tape_value(t, op->x), *z = tape_value(t, op->z);
    if (x && z)
        tape_kernels(t)->scale_add(op->y->value.data, x, z, scale_row(op, param_values(op->s)),
                                   tensor_rows(&op->y->value), tensor_cols(&op->y->value));
}

var *op_scale_add(tape *t, var *x, var *z, param *s, int64_t row) {
    if (!x || !z) return NULL;
    int64_t N = tensor_rows(&x->value), d = tensor_cols(&x->value);
    var *y = new_matrix(t, N, d);
    if (!y) return NULL;
    scale_add_op op = {.x = x, .z = z, .y = y, .s = s, .row = row};
    scale_add_forward(t, &op);
    record_cheap(t, &op, sizeof op, scale_add_backward, scale_add_forward, y);
    return y;
}

var *op_add(tape *t, var *x, var *z) {
    return op_scale_add(t, x, z, NULL, 0);
}

typedef struct mix_op {
    var *x, *x0, *y;
    param *mix;
} mix_op;

static void mix_backward(tape *t, void *record) {
    mix_op *op = record;
    void *x = tape_value(t, op->x), *x0 = tape_value(t, op->x0);
    grad_out dx = tape_grad(t, op->x);
    grad_out dx0 = grad_beside(t, op->x0, op->x);
    if (!x || !x0 || !dx.data || !dx0.data) return;
    tape_kernels(t)->mix_backward(dx, dx0, param_grad(op->mix), op->y->grad, x, x0, param_values(op->mix),
                                  tensor_rows(&op->y->value), tensor_cols(&op->y->value));
    give_beside(t, op->x0, op->x, dx0);
}

static void mix_forward(tape *t, void *record) {
    mix_op *op = record;
    void *x = tape_value(t, op->x), *x0 = tape_value(t, op->x0);
    if (x && x0)
        tape_kernels(t)->mix(op->y->value.data, x, x0, param_values(op->mix), tensor_rows(&op->y->value),
                             tensor_cols(&op->y->value));
}

var *op_mix(tape *t, var *x, var *x0, param *mix) {
    if (!x || !x0) return NULL;
    int64_t N = tensor_rows(&x->value), d = tensor_cols(&x->value);
    var *y = new_matrix(t, N, d);
    if (!y) return NULL;
    mix_op op = {.x = x, .x0 = x0, .y = y, .mix = mix};
    mix_forward(t, &op);
    record_cheap(t, &op, sizeof op, mix_backward, mix_forward, y);
    return y;
}

typedef struct smear_op {
    var *x, *y;
    param *w;
    layout l;
} smear_op;

static void smear_forward(tape *t, void *record) {
    smear_op *op = record;
    void *x = tape_value(t, op->x);
    if (x)
        tape_kernels(t)->smear(op->y->value.data, x, param_values(op->w), NULL, op->l.first, op->l.batch, op->l.length,
                               tensor_cols(&op->x->value), param_count(op->w));
}

/* Sequence by sequence, each behind the last token that the cache has of it. */
static void smear_cached(tape *t, var *y, const var *x, const param *w, const layout *l, void *cache) {
    const kernels *k = tape_kernels(t);
    const int64_t d = tensor_cols(&x->value), width = param_count(w);
    for (int64_t b = 0; b < l->batch; b++) {
        const int64_t start = layout_start(l, b), rows = layout_start(l, b + 1) - start, past = l->past->lengths[b];
        const cache_table table = l->past->tables[b];
        const char *from = act_at(t, x->value.data, start * d);
        k->smear(act_at(t, y->value.data, start * d), from, param_values(w),
                 past > 0 ? act_at(t, cache, cache_table_row(table, past - 1) * width) : NULL, NULL, 1, rows, d, width);
        for (int64_t i = 0; i < rows; i++)
            k->copy(act_at(t, cache, cache_table_row(table, past + i) * width), from + act_bytes(t, i * d),
                    act_bytes(t, width));
    }
}

static void smear_backward(tape *t, void *record) {
    smear_op *op = record;
    void *x = tape_value(t, op->x);
    grad_out dx = tape_grad(t, op->x);
    if (x && dx.data)
        tape_kernels(t)->smear_backward(dx, param_grad(op->w), op->y->grad, x, param_values(op->w), op->l.first,
                                        op->l.batch, op->l.length, tensor_cols(&op->x->value), param_count(op->w));
}

var *op_smear(tape *t, var *x, param *w, const layout *l, void *cache) {
    if (!x) return NULL;
    var *y = new_matrix(t, tensor_rows(&x->value), tensor_cols(&x->value));
    if (!y) return NULL;
    if (cache) {
        smear_cached(t, y, x, w, l, cache);
        return y;
    }
    smear_op op = {.x = x, .y = y, .w = w, .l = *l};
    smear_forward(t, &op);
    record_cheap(t, &op, sizeof op, smear_backward, smear_forward, y);
    return y;
}

typedef struct skip_op {
    var *x, *skip, *y;
    param *w, *g;
    int64_t row;
} skip_op;

static float *row_of(float *array, const skip_op *op) {
    return array ? array + op->row * tensor_cols(&op->x->value) : NULL;
}

static void skip_backward(tape *t, void *record) {
    skip_op *op = record;
    const kernels *k = tape_kernels(t);
    int64_t N = tensor_rows(&op->y->value), d = tensor_cols(&op->y->value);
    float *w = row_of(param_values(op->w), op), *dw = row_of(param_grad(op->w), op);
    void *skip = tape_value(t, op->skip);
    if (op->g) {
        void *x = tape_value(t, op->x);
        grad_out dx = tape_grad(t, op->x);
        grad_out dskip = grad_beside(t, op->skip, op->x);
        if (!x || !skip || !dx.data || !dskip.data) return;
        k->gated_skip_backward(dx, dskip, dw, row_of(param_grad(op->g), op), op->y->grad, x, skip, w,
                               row_of(param_values(op->g), op), N, d);
        give_beside(t, op->skip, op->x, dskip);
        return;
    }
    grad_out dskip = tape_grad(t, op->skip);
    if (!skip || !dskip.data) return;
    k->scale_add_backward((grad_out){0}, dskip, dw, op->y->grad, skip, w, N, d);
    tape_give_grad(t, op->x, op->y->grad);
    op->y->grad = NULL;
}

var *op_skip(tape *t, var *x, var *skip, param *w, param *g, int64_t row) {
    if (!x || !skip) return NULL;
    const kernels *k = tape_kernels(t);
    int64_t N = tensor_rows(&x->value), d = tensor_cols(&x->value);
    var *y = new_matrix(t, N, d);
    if (!y) return NULL;
    skip_op op = {.x = x, .skip = skip, .y = y, .w = w, .g = g, .row = row};
    if (g)
        k->gated_skip(y->value.data, x->value.data, skip->value.data, row_of(param_values(w), &op),
                      row_of(param_values(g), &op), N, d);
    else
        k->scale_add(y->value.data, x->value.data, skip->value.data, row_of(param_values(w), &op), N, d);
    skip_op *record = tape_record(t, sizeof op, skip_backward, y);
    if (record) *record = op;
    return y;
}

#include "grad/mlp.h"

enum { CHUNK_ROWS = 2048 };

static int64_t chunk_rows(int64_t done, int64_t rows) {
    return rows - done < CHUNK_ROWS ? rows - done : CHUNK_ROWS;
}

void mlp_forward(tape *t, const mlp *m, void *y, void *u, void *x, int64_t rows) {
    const kernels *k = tape_kernels(t);
    int64_t d = m->fc->matrix.cols, out = m->proj->matrix.rows, wide = m->fc->matrix.rows, hidden = mlp_hidden(m);
    int64_t most = chunk_rows(0, rows);
    void *h = tape_alloc(t, act_bytes(t, most * hidden));
    void *own_u = u ? NULL : tape_alloc(t, act_bytes(t, most * wide));
    if (!h || (!u && !own_u)) return;
    tape_notify(t, m->fc, x, rows, d);
    for (int64_t at = 0; at < rows; at += CHUNK_ROWS) {
        int64_t n = chunk_rows(at, rows);
        void *chunk_u = u ? act_at(t, u, at * wide) : own_u;
        k->linear(chunk_u, k->act, act_at(t, x, at * d), &m->fc->matrix, n);
        k->activate(h, chunk_u, m->f, n, hidden);
        tape_notify(t, m->proj, h, n, hidden);
        k->linear(act_at(t, y, at * out), k->act, h, &m->proj->matrix, n);
    }
    tape_free(t, h);
    tape_free(t, own_u);
}

void mlp_backward(tape *t, const mlp *m, grad_out dx, void *dy, void *x, void *u, int64_t rows) {
    const kernels *k = tape_kernels(t);
    int64_t d = m->fc->matrix.cols, out = m->proj->matrix.rows, wide = m->fc->matrix.rows, hidden = mlp_hidden(m);
    int64_t most = chunk_rows(0, rows);
    void *h = tape_alloc(t, act_bytes(t, most * hidden));
    void *dh = tape_alloc(t, act_bytes(t, most * hidden));
    void *du = tape_alloc(t, act_bytes(t, most * wide));
    float *dfc = param_grad(m->fc), *dproj = param_grad(m->proj);
    for (int64_t at = 0; h && dh && du && at < rows; at += CHUNK_ROWS) {
        int64_t n = chunk_rows(at, rows);
        void *chunk_dy = act_at(t, dy, at * out), *chunk_x = act_at(t, x, at * d), *chunk_u = act_at(t, u, at * wide);
        k->linear_backward_input((grad_out){.data = dh}, chunk_dy, &m->proj->matrix, n);
        if (dproj) {
            k->activate(h, chunk_u, m->f, n, hidden);
            k->linear_backward_weight(dproj, chunk_dy, h, &m->proj->matrix, n);
        }
        k->activate_backward(du, dh, chunk_u, m->f, n, hidden);
        if (dfc) k->linear_backward_weight(dfc, du, chunk_x, &m->fc->matrix, n);
        if (dx.data)
            k->linear_backward_input((grad_out){.data = act_at(t, dx.data, at * d), .add = dx.add}, du, &m->fc->matrix,
                                     n);
    }
    tape_free(t, h);
    tape_free(t, dh);
    tape_free(t, du);
}

typedef struct mlp_op {
    var *x, *y;
    void *u;
    mlp m;
} mlp_op;

static void backward(tape *t, void *record) {
    mlp_op *op = record;
    grad_out dx = tape_grad(t, op->x);
    if (dx.data) mlp_backward(t, &op->m, dx, op->y->grad, tape_value(t, op->x), op->u, tensor_rows(&op->x->value));
    tape_free(t, op->u);
}

var *op_mlp(tape *t, var *x, param *fc, param *proj, activation f) {
    if (!x) return NULL;
    int64_t N = tensor_rows(&x->value);
    var *y = new_matrix(t, N, proj->matrix.rows);
    void *u = tape_recording(t) ? tape_alloc(t, act_bytes(t, N * fc->matrix.rows)) : NULL;
    if (!y || (tape_recording(t) && !u)) return NULL;
    mlp m = {.fc = fc, .proj = proj, .f = f};
    mlp_forward(t, &m, y->value.data, u, x->value.data, N);
    mlp_op *op = tape_record(t, sizeof *op, backward, y);
    if (op) *op = (mlp_op){.x = x, .y = y, .u = u, .m = m};
    return y;
}

#include "grad/mlp.h"

enum { CHUNK_ROWS = 2048 };

static int64_t chunk_rows(int64_t done, int64_t rows) {
    return rows - done < CHUNK_ROWS ? rows - done : CHUNK_ROWS;
}

void mlp_forward(tape *t, const mlp *m, int pass, void *y, void *u, void *x, int64_t rows) {
    const kernels *k = tape_kernels(t);
    int64_t d = linear_in(&m->fc), out = linear_out(&m->proj), wide = linear_out(&m->fc), hidden = linear_in(&m->proj);
    int64_t most = chunk_rows(0, rows);
    void *h = tape_alloc(t, act_bytes(t, most * hidden));
    void *own_u = u ? NULL : tape_alloc(t, act_bytes(t, most * wide));
    for (int64_t at = 0; h && (u || own_u) && at < rows; at += CHUNK_ROWS) {
        int64_t n = chunk_rows(at, rows);
        void *chunk_u = u ? act_at(t, u, at * wide) : own_u;
        linear_forward(t, &m->fc, pass, chunk_u, act_at(t, x, at * d), n);
        k->activate(h, chunk_u, m->f, NULL, n, hidden);
        linear_forward(t, &m->proj, pass, act_at(t, y, at * out), h, n);
    }
    tape_free(t, h);
    tape_free(t, own_u);
}

void mlp_backward(tape *t, const mlp *m, int pass, grad_out dx, void *dy, void *x, void *u, int64_t rows) {
    const kernels *k = tape_kernels(t);
    int64_t d = linear_in(&m->fc), out = linear_out(&m->proj), wide = linear_out(&m->fc), hidden = linear_in(&m->proj);
    int64_t most = chunk_rows(0, rows);
    void *h = tape_alloc(t, act_bytes(t, most * hidden));
    void *dh = tape_alloc(t, act_bytes(t, most * hidden));
    void *du = tape_alloc(t, act_bytes(t, most * wide));
    for (int64_t at = 0; h && dh && du && at < rows; at += CHUNK_ROWS) {
        int64_t n = chunk_rows(at, rows);
        void *chunk_u = act_at(t, u, at * wide);
        grad_out chunk_dx = {.data = dx.data ? act_at(t, dx.data, at * d) : NULL, .add = dx.add};
        k->activate(h, chunk_u, m->f, NULL, n, hidden);
        linear_backward(t, &m->proj, pass, (grad_out){.data = dh}, act_at(t, dy, at * out), h, n);
        k->activate_backward(du, dh, chunk_u, m->f, NULL, n, hidden);
        linear_backward(t, &m->fc, pass, chunk_dx, du, act_at(t, x, at * d), n);
    }
    tape_free(t, h);
    tape_free(t, dh);
    tape_free(t, du);
}

typedef struct mlp_op {
    var *x, *y;
    void *u;
    mlp m;
    int pass;
} mlp_op;

static void backward(tape *t, void *record) {
    mlp_op *op = record;
    void *x = tape_value(t, op->x);
    grad_out dx = tape_grad(t, op->x);
    if (x && dx.data) mlp_backward(t, &op->m, op->pass, dx, op->y->grad, x, op->u, tensor_rows(&op->x->value));
    tape_free(t, op->u);
}

var *op_mlp(tape *t, var *x, const mlp *m, int pass) {
    if (!x) return NULL;
    int64_t N = tensor_rows(&x->value);
    var *y = new_matrix(t, N, linear_out(&m->proj));
    void *u = tape_recording(t) ? tape_alloc(t, act_bytes(t, N * linear_out(&m->fc))) : NULL;
    if (!y || (tape_recording(t) && !u)) return NULL;
    mlp_forward(t, m, pass, y->value.data, u, x->value.data, N);
    mlp_op *op = tape_record(t, sizeof *op, backward, y);
    if (op) *op = (mlp_op){.x = x, .y = y, .u = u, .m = *m, .pass = pass};
    return y;
}

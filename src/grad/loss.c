/* The head and the loss in one, in blocks of rows: [N, V] logits never exist. The gradient of a mean is known as soon as
 * its logits are, so the recording pass forms dx and dW of a block while its logits are in the cache. A head is its weight
 * alone: no family has more there. */
#include "grad/op.h"

enum { BLOCK_ROWS = 512 };

typedef struct cross_entropy_op {
    var *x;
    void *dx;
} cross_entropy_op;

static void cross_entropy_backward(tape *t, void *record) {
    cross_entropy_op *op = record;
    tape_give_grad(t, op->x, op->dx);
}

typedef struct block_buffers {
    float *logits; /* [BLOCK_ROWS, V] */
    float *nll;    /* [N] */
    void *dlogits; /* act [BLOCK_ROWS, V], when recording */
    void *dx;      /* act [N, d], when recording */
} block_buffers;

static bool take_buffers(tape *t, block_buffers *b, int64_t N, int64_t V, int64_t d) {
    int64_t rows = N < BLOCK_ROWS ? N : BLOCK_ROWS;
    *b = (block_buffers){.logits = tape_alloc(t, (size_t)(rows * V) * sizeof(float)),
                         .nll = tape_alloc(t, (size_t)N * sizeof(float))};
    if (!b->logits || !b->nll) return false;
    if (!tape_recording(t)) return true;
    b->dlogits = tape_alloc(t, act_bytes(t, rows * V));
    b->dx = tape_alloc(t, act_bytes(t, N * d));
    return b->dlogits && b->dx;
}

status op_cross_entropy(tape *t, var *x, const linear *head, const int32_t *targets, float cap, float loss_weight,
                        double *sum, float *nll) {
    if (!x) return tape_status(t);
    const kernels *k = tape_kernels(t);
    const weight *w = &head->weight->matrix;
    int64_t N = tensor_rows(&x->value), V = w->rows, d = w->cols;
    block_buffers b;
    if (!take_buffers(t, &b, N, V, d)) return tape_status(t);
    float *dw = tape_recording(t) ? param_grad(head->weight) : NULL;
    tape_notify(t, head->weight, x->value.data, N, d);
    for (int64_t at = 0; at < N; at += BLOCK_ROWS) {
        int64_t n = N - at < BLOCK_ROWS ? N - at : BLOCK_ROWS;
        void *rows = act_at(t, x->value.data, at * d);
        k->linear(b.logits, DTYPE_F32, rows, w, n);
        k->softcap_cross_entropy(b.nll + at, b.dlogits, b.logits, targets + at, cap, loss_weight / (float)N, n, V);
        if (!tape_recording(t)) continue;
        k->linear_backward_input((grad_out){.data = act_at(t, b.dx, at * d)}, b.dlogits, w, n);
        if (dw) k->linear_backward_weight(dw, b.dlogits, rows, w, n);
    }
    k->add_sum(sum, b.nll, N, 1 / (double)N);
    if (nll) k->download(nll, b.nll, (size_t)N * sizeof(float));
    tape_free(t, b.logits);
    tape_free(t, b.dlogits);
    tape_free(t, b.nll);
    cross_entropy_op *op = tape_record(t, sizeof *op, cross_entropy_backward, NULL);
    if (op) *op = (cross_entropy_op){.x = x, .dx = b.dx};
    return STATUS_OK;
}

status op_logits(tape *t, var *x, const linear *head, float cap, float *logits) {
    if (!x) return tape_status(t);
    const kernels *k = tape_kernels(t);
    int64_t N = tensor_rows(&x->value), V = linear_out(head), d = linear_in(head);
    int64_t most = N < BLOCK_ROWS ? N : BLOCK_ROWS;
    float *block = tape_alloc(t, (size_t)(most * V) * sizeof(float));
    if (!block) return tape_status(t);
    tape_notify(t, head->weight, x->value.data, N, d);
    for (int64_t at = 0; at < N; at += BLOCK_ROWS) {
        int64_t n = N - at < BLOCK_ROWS ? N - at : BLOCK_ROWS;
        k->linear(block, DTYPE_F32, act_at(t, x->value.data, at * d), &head->weight->matrix, n);
        k->softcap(block, cap, n * V);
        k->download(logits + at * V, block, (size_t)(n * V) * sizeof(float));
    }
    tape_free(t, block);
    return STATUS_OK;
}

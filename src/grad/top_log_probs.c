/* What a teacher says, from its last hidden states: like op_logits, but of a block of rows only the largest leave the device. */
#include "grad/op.h"

enum { BLOCK_ROWS = 512 }; /* as in loss.c */

typedef struct block_buffers {
    float *logits; /* [BLOCK_ROWS, V] */
    int32_t *ids;  /* [N, k] */
    float *log_probs, *rest;
} block_buffers;

static bool take_buffers(tape *t, block_buffers *b, int64_t N, int64_t V, int64_t k) {
    const int64_t rows = N < BLOCK_ROWS ? N : BLOCK_ROWS;
    b->logits = tape_alloc(t, (size_t)(rows * V) * sizeof(float));
    b->ids = tape_alloc(t, (size_t)(N * k) * sizeof(int32_t));
    b->log_probs = tape_alloc(t, (size_t)(N * k) * sizeof(float));
    b->rest = tape_alloc(t, (size_t)N * sizeof(float));
    return b->logits && b->ids && b->log_probs && b->rest;
}

status op_top_log_probs(tape *t, var *x, const linear *head, float cap, int k, int32_t *ids, float *log_probs,
                        float *rest) {
    if (!x) return tape_status(t);
    const kernels *kernel = tape_kernels(t);
    const int64_t N = tensor_rows(&x->value), V = linear_out(head), d = linear_in(head);
    if (k < 1 || k > TOP_LOG_PROBS_MOST || k >= V)
        return fail("expected the top 1 to %lld of a vocabulary of %lld, found %d",
                    (long long)(V <= TOP_LOG_PROBS_MOST ? V - 1 : TOP_LOG_PROBS_MOST), (long long)V, k);
    block_buffers b;
    if (!take_buffers(t, &b, N, V, k)) return tape_status(t);
    tape_notify(t, head->weight, x->value.data, N, d);
    for (int64_t at = 0; at < N; at += BLOCK_ROWS) {
        const int64_t n = N - at < BLOCK_ROWS ? N - at : BLOCK_ROWS;
        kernel->linear(b.logits, DTYPE_F32, act_at(t, x->value.data, at * d), &head->weight->matrix, n);
        kernel->top_log_probs(b.ids + at * k, b.log_probs + at * k, b.rest + at, b.logits, cap, n, V, k);
    }
    kernel->download(ids, b.ids, (size_t)(N * k) * sizeof(int32_t));
    kernel->download(log_probs, b.log_probs, (size_t)(N * k) * sizeof(float));
    kernel->download(rest, b.rest, (size_t)N * sizeof(float));
    tape_free(t, b.logits);
    tape_free(t, b.ids);
    tape_free(t, b.log_probs);
    tape_free(t, b.rest);
    return STATUS_OK;
}

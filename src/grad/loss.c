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
    float *kl;     /* [N], with a teacher */
    void *dlogits; /* act [BLOCK_ROWS, V], when recording */
    void *dx;      /* act [N, d], when recording */
} block_buffers;

static bool take_buffers(tape *t, block_buffers *b, int64_t N, int64_t V, int64_t d, bool has_teacher) {
    int64_t rows = N < BLOCK_ROWS ? N : BLOCK_ROWS;
    *b = (block_buffers){.logits = tape_alloc(t, (size_t)(rows * V) * sizeof(float)),
                         .nll = tape_alloc(t, (size_t)N * sizeof(float))};
    if (has_teacher) b->kl = tape_alloc(t, (size_t)N * sizeof(float));
    if (!b->logits || !b->nll || (has_teacher && !b->kl)) return false;
    if (!tape_recording(t)) return true;
    b->dlogits = tape_alloc(t, act_bytes(t, rows * V));
    b->dx = tape_alloc(t, act_bytes(t, N * d));
    return b->dlogits && b->dx;
}

/* What the rows from `at` on are held against. */
typedef struct loss_targets {
    const int32_t *targets;
    const teacher_args *teacher; /* NULL: none */
    float cap, scale;
} loss_targets;

static void block_loss(const kernels *k, const block_buffers *b, const loss_targets *l, int64_t at, int64_t n,
                       int64_t V) {
    const int32_t *targets = l->targets + at;
    if (!l->teacher) {
        k->softcap_cross_entropy(b->nll + at, b->dlogits, b->logits, targets, l->cap, l->scale, n, V);
        return;
    }
    teacher_args teacher = *l->teacher;
    teacher.ids += at * teacher.k;
    teacher.log_probs += at * teacher.k;
    teacher.rest += at;
    k->softcap_distill(b->nll + at, b->kl + at, b->dlogits, b->logits, targets, &teacher, l->cap, l->scale, n, V);
}

static void give_buffers(tape *t, const block_buffers *b) {
    tape_free(t, b->logits);
    tape_free(t, b->dlogits);
    tape_free(t, b->nll);
    tape_free(t, b->kl);
}

/* sums[0] += mean nll and, with a teacher, sums[1] += mean kl. */
static status add_losses(tape *t, var *x, const linear *head, const loss_targets *l, double *sums, float *nll) {
    if (!x) return tape_status(t);
    const kernels *k = tape_kernels(t);
    const weight *w = &head->weight->matrix;
    int64_t N = tensor_rows(&x->value), V = w->rows, d = w->cols;
    block_buffers b;
    if (!take_buffers(t, &b, N, V, d, l->teacher)) return tape_status(t);
    float *dw = tape_recording(t) ? param_grad(head->weight) : NULL;
    tape_notify(t, head->weight, x->value.data, N, d);
    for (int64_t at = 0; at < N; at += BLOCK_ROWS) {
        int64_t n = N - at < BLOCK_ROWS ? N - at : BLOCK_ROWS;
        void *rows = act_at(t, x->value.data, at * d);
        k->linear(b.logits, DTYPE_F32, rows, w, n);
        block_loss(k, &b, l, at, n, V);
        if (!tape_recording(t)) continue;
        tape_notify_gradient(t, &(product_gradient){.weight = head->weight, .dy = b.dlogits, .x = rows, .N = n});
        k->linear_backward_input((grad_out){.data = act_at(t, b.dx, at * d)}, b.dlogits, w, n);
        if (dw) k->linear_backward_weight(dw, b.dlogits, rows, w, n);
    }
    k->add_sum(&sums[0], b.nll, N, 1 / (double)N);
    if (l->teacher) k->add_sum(&sums[1], b.kl, N, 1 / (double)N);
    if (nll) k->download(nll, b.nll, (size_t)N * sizeof(float));
    give_buffers(t, &b);
    cross_entropy_op *op = tape_record(t, sizeof *op, cross_entropy_backward, NULL);
    if (op) *op = (cross_entropy_op){.x = x, .dx = b.dx};
    return STATUS_OK;
}

/* Of a mean over the rows of x. */
static float row_scale(const var *x, float loss_weight) {
    return x ? loss_weight / (float)tensor_rows(&x->value) : 0;
}

status op_cross_entropy(tape *t, var *x, const linear *head, const int32_t *targets, float cap, float loss_weight,
                        double *sum, float *nll) {
    const loss_targets l = {.targets = targets, .cap = cap, .scale = row_scale(x, loss_weight)};
    return add_losses(t, x, head, &l, sum, nll);
}

status op_distill(tape *t, var *x, const linear *head, const int32_t *targets, const teacher_args *teacher, float cap,
                  float loss_weight, double *sums) {
    const loss_targets l = {.targets = targets, .teacher = teacher, .cap = cap, .scale = row_scale(x, loss_weight)};
    return add_losses(t, x, head, &l, sums, NULL);
}

/* ---- hidden states ---- */

typedef struct match_op {
    var *x;
    const void *target;
    float *factor; /* device */
    float loss_weight;
} match_op;

static void match_backward(tape *t, void *record) {
    match_op *op = record;
    void *x = tape_value(t, op->x);
    grad_out dx = tape_grad(t, op->x);
    if (!x || !dx.data) return;
    tape_kernels(t)->match_backward(dx, x, op->target, op->factor, op->loss_weight, tensor_count(&op->x->value));
}

status op_match(tape *t, var *x, const void *target, float loss_weight, double *sum) {
    float *factor = x ? tape_alloc(t, sizeof *factor) : NULL;
    if (!factor) return tape_status(t);
    tape_kernels(t)->match(sum, factor, x->value.data, target, tensor_count(&x->value));
    match_op *op = tape_record(t, sizeof *op, match_backward, NULL);
    if (op) *op = (match_op){.x = x, .target = target, .factor = factor, .loss_weight = loss_weight};
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

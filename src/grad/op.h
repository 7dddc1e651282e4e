/* What the ops' files share. */
#ifndef MOEC_GRAD_OP_H
#define MOEC_GRAD_OP_H

#include "grad/ops.h"
#include <string.h>

static inline size_t act_bytes(const tape *t, int64_t count) {
    return (size_t)count * dtype_bytes(tape_kernels(t)->act);
}
/* Element `index` of an act array. */
static inline void *act_at(const tape *t, void *array, int64_t index) {
    return (char *)array + act_bytes(t, index);
}

static inline float *param_values(const param *p) {
    return p ? p->value.data : NULL;
}
/* A parameter's gradient array; NULL for an absent or frozen one. */
static inline float *param_grad(const param *p) {
    return p ? p->grad : NULL;
}
static inline var *new_matrix(tape *t, int64_t rows, int64_t cols) {
    return tape_var(t, 2, (int64_t[]){rows, cols});
}

/* Records a copy of *op, whose output y the cheap `forward` can form again (tape_release_since). False: nothing is recorded. */
static inline bool record_cheap(tape *t, const void *op, size_t bytes, tape_backward_fn backward,
                                tape_rebuild_fn forward, var *y) {
    void *saved = tape_record(t, bytes, backward, y);
    if (!saved) return false;
    memcpy(saved, op, bytes);
    y->rebuild = forward;
    y->op = saved;
    return true;
}

/* The same var may come in twice (a block's x is x0 in the first block, a skip is x at the turn of the U-Net). A kernel
 * that writes both gradients in one pass must not see one array twice: the second gets an array of its own, which
 * give_beside adds afterwards. */
static inline grad_out grad_beside(tape *t, var *v, const var *other) {
    if (v != other) return tape_grad(t, v);
    return (grad_out){.data = tape_alloc(t, tensor_bytes(&v->value))};
}
static inline void give_beside(tape *t, var *v, const var *other, grad_out own) {
    if (v == other) tape_give_grad(t, v, own.data);
}

#endif

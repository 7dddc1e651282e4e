/* A parameter: a named array of float32 master values with its gradient, and, if it is a matrix that products read,
 * the forms in which they read it. */
#ifndef MOEC_GRAD_PARAM_H
#define MOEC_GRAD_PARAM_H

#include "kernel/kernel.h"

typedef struct param {
    char *name;        /* for files and messages: "blocks.3.attn.c_q.weight" */
    int role;          /* what the model above has it for (nn/roles.h) */
    int layer, expert; /* −1 where there is none */
    tensor value;      /* float32 */
    float *grad;       /* float32, same shape; NULL for a frozen parameter */
    weight matrix;     /* what products read; rows == 0 for vectors */
    bool is_matrix;
    bool has_grad; /* something was added to grad since the last zeroing */
    bool derived;  /* frozen, and made again from the config: no file stores it, nothing accompanies it */
} param;

status param_create(param **out, const kernels *k, const char *name, int ndim, const int64_t *shape, bool is_matrix);
void param_destroy(param *p, const kernels *k);
int64_t param_count(const param *p);
/* From now on without a gradient. */
void param_freeze(param *p, const kernels *k);

/* After the values changed: rebuild `matrix`. quantize_levels > 0 lets products see the values on a grid of
 * 2·levels + 1 steps while the gradient goes to the master values (straight-through QAT). */
status param_refresh(param *p, const kernels *k, int quantize_levels);
void param_zero_grad(param *p, const kernels *k);

#endif

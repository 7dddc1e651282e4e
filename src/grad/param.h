/* A parameter: an array of float32 values with its gradient, and, if it is a matrix that products read, the form in which they
 * read it. Values and gradients are views into arenas (arena.h); a model that is opened only to run has neither for its
 * matrices, whose products' form is then all that there is. */
#ifndef MOEC_GRAD_PARAM_H
#define MOEC_GRAD_PARAM_H

#include "kernel/kernel.h"

typedef struct param {
    char *name;        /* for files and messages: "blocks.3.attn.c_q.weight" */
    int role;          /* what the model above has it for (nn/roles.h) */
    int layer, expert; /* −1 where there is none */
    tensor value;      /* float32; data is NULL for a matrix that is only run */
    float *grad;       /* float32, same shape; NULL for a frozen parameter, and where nothing is trained */
    float
        *more_grads; /* [n][param_count]: the same of other ranks' micro-batches (nn/spread.h); NULL: none come here */
    int64_t offset;  /* of value and grad in their arenas, in floats; −1: it has no values */
    weight matrix;   /* what products read; rows == 0 for vectors. Without values it has memory from when it is set */
    weight_room *room; /* for what it then is; NULL: none */
    bool is_matrix;
    bool frozen;  /* has no gradient even where the model is trained */
    bool derived; /* frozen, and made again from the config: no file stores it, nothing accompanies it */
    bool away;    /* another rank has it (nn/spread.h): no values, no gradient, no matrix; setting it does nothing */
} param;

/* Without memory for values. */
param *param_create(const char *name, int ndim, const int64_t *shape);
void param_destroy(param *p, const kernels *k);
int64_t param_count(const param *p);
/* In a model for training: here or on another rank. */
static inline bool param_is_trained(const param *p) {
    return p->grad || (p->away && !p->frozen);
}
/* The gradient of micro-batch `place` of a group of ranks, or of the only one there is (0); NULL: none is wanted. */
static inline float *param_grad_of(const param *p, int place) {
    return place == 0 || !p->grad ? p->grad : p->more_grads + (place - 1) * param_count(p);
}

/* After the values changed: rebuild `matrix`. quantize_levels > 0 lets products see the values on a grid of
 * 2·levels + 1 steps while the gradient goes to the master values (straight-through QAT). */
status param_refresh(param *p, const kernels *k, int quantize_levels);
/* Set the values from host memory, and what products read: all of them, or rows first … (a vector is one row). */
status param_set(param *p, const kernels *k, const float *values);
status param_set_rows(param *p, const kernels *k, int64_t first, int64_t rows, const float *values);
/* Let a matrix that has no values of its own be read from these codes (host memory, copied). */
status param_set_quantized(param *p, const kernels *k, const quantized *q);
/* The same, in integers: products round their inputs too (weight_packed). */
status param_set_packed(param *p, const kernels *k, const quantized *q, int input_bits);
/* The same of arrays that p's room owns already (weight_adopt). */
status param_adopt(param *p, const kernels *k, const stored_weight *s);
/* The values to host memory; of a matrix that is only run, what products see. */
status param_get(const param *p, const kernels *k, float *values);
status param_get_rows(const param *p, const kernels *k, int64_t first, int64_t rows, float *values);

#endif

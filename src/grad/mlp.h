/* The two-layer perceptron on rows of device memory: what op_mlp and each expert of op_moe run. Rows are processed in
 * chunks whose hidden activations stay in the cache; of them only u is kept for backward, h = f(u) is formed again. */
#ifndef MOEC_GRAD_MLP_H
#define MOEC_GRAD_MLP_H

#include "grad/op.h"

/* y[rows, d] = proj(f(fc(x))); u [rows, fc's outputs] is filled when it is not NULL. */
void mlp_forward(tape *t, const mlp *m, int pass, void *y, void *u, void *x, int64_t rows);
/* From dy: parameter gradients, and dx when wanted. */
void mlp_backward(tape *t, const mlp *m, int pass, grad_out dx, void *dy, void *x, void *u, int64_t rows);

#endif

/* A product with a weight, and what may come with it: y = s_p ⊙ (W x + U (V x)) + b. Biases of other people's models, low-rank
 * corrections and scales for each pass of a loop are one mechanism, and what ops take instead of a bare matrix. */
#ifndef MOEC_GRAD_LINEAR_H
#define MOEC_GRAD_LINEAR_H

#include "grad/tape.h"

typedef struct linear {
    param *weight;     /* W [out, in] */
    param *bias;       /* b [out], or NULL */
    param *down, *up;  /* V [r, in], U [out, r], or both NULL */
    param *pass_scale; /* s [passes, out], row p for pass p; or NULL */
} linear;

/* Of the value, whose shape stays: a matrix may come and go while another thread asks (nn/hot_experts.h). */
static inline int64_t linear_out(const linear *l) {
    return tensor_rows(&l->weight->value);
}
static inline int64_t linear_in(const linear *l) {
    return tensor_cols(&l->weight->value);
}

/* On rows of device memory: y [N, out] from x [N, in], in pass `pass` of the layer. */
void linear_forward(tape *t, const linear *l, int pass, void *y, const void *x, int64_t N);
/* From dy: the parameters' gradients, and dx where it is wanted. */
void linear_backward(tape *t, const linear *l, int pass, grad_out dx, const void *dy, const void *x, int64_t N);

#endif

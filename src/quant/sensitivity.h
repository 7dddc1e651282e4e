/* What an error of a weight costs the loss.
 *
 * A product y = W x whose weight is off by ΔW is off by ΔW x. To second order, and with the loss's curvature at y taken as the Fisher
 * information (Gauss–Newton), without its entries off the diagonal and between tokens (as in optimal brain damage, LeCun et al. 1990),
 *     ΔL ≈ ½ Σ_r G_r · ΔW_r H ΔW_rᵀ  nats a token,   G_r = (1/tokens) Σ_n (∂L/∂y_nr)²,   H = mean of x xᵀ over those n
 * where L is the sum of all tokens' losses and n counts every row that the product saw: all passes of a looped layer, an expert's own
 * tokens, whose gates are in the gradient. `moec study --sensitivity` holds it against the loss itself.
 *
 * A table that ids look up has no H: row v is read f_v times a token, with a mean squared gradient g of its channels, so that
 *     ΔL ≈ ½ Σ_v f_v g · |ΔW_v|²
 * and an embedding that is the head as well has both. */
#ifndef MOEC_QUANT_SENSITIVITY_H
#define MOEC_QUANT_SENSITIVITY_H

#include "comm/comm.h"
#include "nn/pass.h"
#include "quant/hessians.h"
#include "quant/quantizer.h"

typedef struct sensitivities sensitivities;
/* p runs forward and backward; its model needs no gradients of its own. */
sensitivities *sensitivities_create(pass *p);
void sensitivities_destroy(sensitivities *s); /* NULL is fine */
/* One more batch with targets. bytes: of text that its targets stand for. */
status sensitivities_add(sensitivities *s, const batch *b, int64_t bytes);
/* The same for all ranks with a batch each, NULL: none, which counts as if they were added in the order of the ranks: each batch's sums are
 * formed from zero, and then added up from left to right, by one process too. */
status sensitivities_add_round(sensitivities *s, comm *ranks, const batch *own, int64_t bytes);
int64_t sensitivities_tokens(const sensitivities *s);
/* Bits per byte that a nat a token is, on the text that was seen; 0 without any. */
double sensitivities_bpb_of_nat(const sensitivities *s);

/* How the errors of one matrix count, as matrix_problem has it: Σ_r row_weight[r] · ΔW_r H ΔW_rᵀ is ΔL in nats a token. */
typedef struct matrix_curvature {
    const float *hessian; /* NULL: the identity. Valid until the next Hessian is asked for */
    double *row_weight;   /* [rows], owned */
    float *mixed;         /* what hessian points to where it is of two uses, owned */
} matrix_curvature;
/* Either may be NULL: without s rows count the same, without h there are no Hessians. */
status matrix_curvature_of(matrix_curvature *out, const sensitivities *s, hessians *h, const param *weight);
void matrix_curvature_free(matrix_curvature *c);

#endif

/* What GPTQ needs of a Hessian: H = F D Fᵀ, F upper triangular with ones on its diagonal, D a diagonal. With δ = w − q,
 *     δ H δᵀ = Σ_k D_k (w_k + Σ_{i<k} δ_i F_ik − q_k)²,
 * so a column is rounded behind what the errors of the earlier ones add to it, and D_k is what an error in it costs once all later
 * columns have made up for it as well as they can. That is GPTQ without an inverse: its U, H⁻¹ = UᵀU, has U_kk = D_k^−½ and gives the same q
 * (LDLQ; Chee et al. 2023, arXiv:2307.13304, theorem 6). */
#ifndef MOEC_QUANT_LDL_FACTOR_H
#define MOEC_QUANT_LDL_FACTOR_H

#include "base/status.h"
#include "quant/wide.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct ldl_factor {
    int64_t cols;
    int64_t *order;    /* [cols] column i of F is column order[i] of the matrix */
    float *importance; /* [cols] the damped diagonal of H, in the matrix's own order */
    float *factor;     /* F [cols, cols], above its diagonal; zeros elsewhere */
    float *root;       /* [cols] √D */
    double damp;       /* that was taken */
} ldl_factor;

/* hessian [cols, cols], symmetric, of any positive scale. damp is added to the diagonal, relative to its mean over the columns that were
 * seen, and tenfold as often as the factorisation needs it (5 times at most, then an error), with a note on stderr. Sums are float32's: of a
 * Hessian that is nearly singular D is off by 1 % at a damp of 0.01, by a tenth at 0.0001. A column that was never seen counts as
 * an average one, alone; a Hessian of zeros as the identity. by_importance: act-order, columns by falling diagonal; else as they
 * are. */
status ldl_factor_create(ldl_factor *f, const float *hessian, int64_t cols, double damp, bool by_importance);
void ldl_factor_free(ldl_factor *f);

/* x −= e F of the columns before `first`, for the columns first … last − 1: what their errors add to these. x [rows, FACTOR_BLOCK], e [rows, cols]
 * holds −δ. */
void ldl_factor_make_up(const ldl_factor *f, float *x, const float *e, int64_t rows, int64_t first, int64_t last);

#endif

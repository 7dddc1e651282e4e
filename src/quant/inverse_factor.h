/* What GPTQ needs of a Hessian: U upper triangular with H⁻¹ = UᵀU. 1/U_jj² is what an error in column j costs once all later
 * columns have made up for it as well as they can. */
#ifndef MOEC_QUANT_INVERSE_FACTOR_H
#define MOEC_QUANT_INVERSE_FACTOR_H

#include "base/status.h"
#include "quant/wide.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct inverse_factor {
    int64_t cols;
    int64_t *order;    /* [cols] column i of U is column order[i] of the matrix */
    float *importance; /* [cols] the damped diagonal of H, in the matrix's own order */
    float *factor;     /* U [cols, cols] */
} inverse_factor;

/* hessian [cols, cols] (any positive scale). damp is added to the diagonal, relative to its mean over the columns that were seen, and
 * tenfold as often as the factorisation needs it (5 times at most, then an error). A column that was never seen counts as
 * an average one, alone; a Hessian of zeros as the identity. by_importance: act-order, columns by falling diagonal; else as they
 * are. */
status inverse_factor_create(inverse_factor *f, const float *hessian, int64_t cols, double damp, bool by_importance);
void inverse_factor_free(inverse_factor *f);

/* w[r] −= e[r] · U[first … last) for the columns from last on: w [rows, cols], e [rows, FACTOR_BLOCK] the errors divided by U_jj. */
void inverse_factor_make_up(const inverse_factor *f, float *w, const float *e, int64_t rows, int64_t first,
                            int64_t last);

#endif

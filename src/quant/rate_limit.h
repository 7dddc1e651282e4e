/* The Gaussian rate-distortion limit of a matrix: no code of whatever length has fewer bits at this error, if the weights are Gaussian.
 *
 * Take row r's weights as independent N(0, σ_r²), and errors as matrix_problem has them. In H's eigenvectors row r consists of independent
 * components of variance v_ri = g_r σ_r² λ_i, g_r its weight, and reverse water-filling (Cover and Thomas, theorem 10.3.3) gives
 *     D(θ) = Σ_ri min(θ, v_ri),   R(θ) = Σ_ri max(0, ½ log₂(v_ri / θ)) bits.
 * Trained rows are not quite Gaussian, so a quantiser whose coder sees that may be below it. */
#ifndef MOEC_QUANT_RATE_LIMIT_H
#define MOEC_QUANT_RATE_LIMIT_H

#include "quant/quantizer.h"

typedef struct rate_limit {
    double *eigenvalue;   /* [cols] of H, by falling size, ≥ 0 */
    double *row_variance; /* [rows] g_r σ_r² */
    int64_t rows, cols;
} rate_limit;
status rate_limit_open(rate_limit *l, const matrix_problem *p);
void rate_limit_close(rate_limit *l);
/* Bits a weight that an error of D (matrix_error) needs at least; 0 where D is that of W itself or more. */
double rate_limit_bits(const rate_limit *l, double error);

#endif

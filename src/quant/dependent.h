/* The quantiser for entropy-coded matrices: steps by column, a trellis, and rounding that knows what codes cost.
 *
 * Steps. An error of ε in column j costs D_j ε² once later columns have made up for it (ldl_factor.h), so a step
 *     δ_j = δ · D_j^−½ / (their geometric mean)
 * makes all columns' errors cost the same: the water-filling of rate-distortion theory, within 0.255 bits a weight of its limit for
 * inputs of any covariance, where GPTQ's one step a row may be arbitrarily far off (Lifar, Savkin, Ordentlich and Polyanskiy 2026,
 * arXiv:2603.04956). Rows share one δ: they have the same inputs; a row whose outputs matter more has a finer one. What rows
 * and columns differ in spread is the entropy coder's business (store/weight_codec.h).
 *
 * Trellis. The points of a row are those of a path (tensor/trellis.h), found by Viterbi's algorithm: each of the states
 * keeps the best way to it together with its own feedback of errors, block by block; at a block's end the best one is taken. Of the
 * 0.255 bits, 8 states win back about 0.13 and 64 another 0.03, for eight times the work.
 *
 * Rate. A path costs Σ (error / δ_j)² + λ · bits, where bits is what a coder that knows the spread of row and column would
 * spend. λ = rate_weight · 2 ln 2 · D: with D(R) ∝ 2^−2R that is the slope at which bits and error are exchanged. A finer step with
 * a larger λ is the better bargain, up to a weight of about 1; scales of rows that are fitted
 * afterwards by least squares gain nothing. */
#ifndef MOEC_QUANT_DEPENDENT_H
#define MOEC_QUANT_DEPENDENT_H

#include "base/status.h"
#include "tensor/quantized.h"
#include <stdint.h>

typedef struct dependent_options {
    int states;            /* of the trellis: 4 to 64; 1: none, one scalar quantiser of step 2δ */
    double step;           /* 2δ, > 0 */
    double rate_weight;    /* 0: the error alone decides; 1: as the slope says */
    double damp;           /* of the Hessian, relative to its mean diagonal */
    const float *row_step; /* [rows] > 0: factors of the rows' steps, as an artifact stores scales; NULL: 1 */
    const uint8_t *pruned; /* [rows, cols] 1: this weight becomes exactly 0; NULL: none */
    const struct ldl_factor
        *factor; /* of this Hessian and damp, columns as they are (ldl_factor.h), for who quantises a
                                            matrix many times; NULL: made here */
} dependent_options;

extern const dependent_options dependent_options_default;

/* hessian [cols, cols], any positive scale; NULL: the identity. out->q holds the points |r| ≤ 127, out->scale the rows' factors,
 * out->input_scale the columns' steps.
 * Weights that are not finite are refused with row and column. */
status quantize_dependent(quantized *out, const float *w, const float *hessian, int64_t rows, int64_t cols,
                          const dependent_options *options);

#endif

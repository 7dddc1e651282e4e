/* Quantisers of one matrix on grids q · scale + offset with |q| ≤ levels, levels = 2^(bits−1) − 1: one a row, without an offset, or one for
 * each group of a row's columns. Host memory. */
#ifndef MOEC_QUANT_QUANTIZE_H
#define MOEC_QUANT_QUANTIZE_H

#include "base/status.h"
#include "tensor/quantized.h"
#include <stdbool.h>
#include <stdint.h>

/* How a row's grid is chosen. */
typedef struct grid_options {
    int bits; /* 2 … 8 */
    /* The least step in units of the row's σ (its root mean square); 0: only the error decides. The entropy coder pays
     * about log2(σ / step) + 2.05 bits a weight of a Gaussian row, so a coarser step buys bytes with error. */
    double least_step;
    double least_scale; /* of every row's scale, as it is; 0: none */
    bool plain_clip;    /* of quantize_gptq: the scale of least plain rounding error, as quantize_round has it */
    /* [rows, cols], 1: this weight becomes exactly 0, whatever it is; NULL: none (prune.h). GPTQ lets the weights that are
     * left make up for it, as for any other rounding. */
    const uint8_t *pruned;
    /* [rows, cols / group] the scale of each row or group, whatever bits and σ would make it; 0: zeros. NULL: it is looked for, a row's. */
    const float *row_scale;
    /* The same of what is added to a group; NULL: 0. Only with row_scale; no weight is pruned then. */
    const float *row_offset;
    int64_t group; /* columns that share a scale, with row_scale; 0: all */
} grid_options;

/* A scale as the artifact stores it, bfloat16 (float32's range, so no row is too small or too large for it), and with the last
 * 2 of its 7 mantissa bits zero, i.e. 32 values an octave, which take fewer bytes. The search looks at scales 7 % apart, so nothing is lost. */
float scale_round(float scale);

/* Nearest rounding; each row's scale is the best of a search, by plain squared error. Weights that are not finite are
 * refused with row and column; callers add the tensor's name. */
status quantize_round(quantized *out, const float *w, int64_t rows, int64_t cols, const grid_options *grid);
/* GPTQ (Frantar et al. 2022): act-order, blocks of 128 columns; hessian [cols, cols] = XᵀX (any positive scale).
 * damp: added to the diagonal, relative to its mean. Each row's scale is chosen by the Hessian-weighted error that GPTQ
 * minimises. Columns that the calibration never saw are rounded; so is everything when the whole Hessian is 0. */
status quantize_gptq(quantized *out, const float *w, const float *hessian, int64_t rows, int64_t cols,
                     const grid_options *grid, double damp);
/* tr((W − Q) H (W − Q)ᵀ); quantised may be NULL (0: the weight of W itself), hessian, symmetric, may be NULL (the
 * identity). */
double hessian_error(const float *w, const float *quantised, const float *hessian, int64_t rows, int64_t cols);

/* Of a row w and what stands for it, over the inputs that H is the second moment of: E[y²] and E[y ŷ] of its outputs. */
typedef struct row_output {
    double own, quantised;
} row_output;
/* out [rows]; hessian as above. */
void row_outputs(row_output *out, const float *w, const float *quantised, const float *hessian, int64_t rows,
                 int64_t cols);

/* The finest scale that the grid's least_step allows a row, as it is stored: rows that have it are as coarse as the step says, others
 * as coarse as the bits do. 0 without a least_step. */
float grid_least_scale(const float *w, int64_t cols, const grid_options *grid);

/* ---- shared by quantize.c and gptq.c ---- */
enum { SCALE_CANDIDATES = 20 };
/* Scales worth trying for row `row`, w [cols], best first by Σ_j importance[j] (w_j − q_j scale)² (importance NULL: 1); returns their
 * number, 0 for a row of zeros. */
int scale_candidates(float out[SCALE_CANDIDATES], const float *w, const float *importance, int64_t row, int64_t cols,
                     const grid_options *grid);
/* OK, or which element of w is not finite. */
status check_finite(const float *w, int64_t rows, int64_t cols);
/* Allocates q and scale; checks bits. */
status quantized_create(quantized *out, int64_t rows, int64_t cols, int bits);
/* The same for the grid's groups, with its given scales and offsets in place, if any. */
status quantized_create_for(quantized *out, int64_t rows, int64_t cols, const grid_options *grid);

/* w / scale to the nearest integer in [−levels, levels]; adding 1.5 · 2²³ makes a float32 round itself, which, unlike
 * rintf, every instruction set does on whole vectors. */
static inline float grid_nearest(float w, float inverse_scale, float levels) {
    float x = w * inverse_scale;
    x = x > levels ? levels : x;
    x = x < -levels ? -levels : x;
    return (x + 12582912.0f) - 12582912.0f;
}

#endif

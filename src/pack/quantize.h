/* Quantisers of one matrix: per-row symmetric grids q · scale with |q| ≤ levels, levels = 2^(bits−1) − 1. Host memory. */
#ifndef MOEC_PACK_QUANTIZE_H
#define MOEC_PACK_QUANTIZE_H

#include "base/status.h"
#include <stdint.h>

typedef struct quantized {
    int64_t rows, cols;
    int levels;   /* 31 for int6 */
    int8_t *q;    /* [rows, cols] */
    float *scale; /* [rows], already rounded to float16 */
} quantized;
void quantized_free(quantized *q);
void quantized_expand(const quantized *q, float *out); /* out[rows, cols] = q · scale */

/* Nearest rounding; each row's scale is the best of a search, by plain squared error. */
status quantize_round(quantized *out, const float *w, int64_t rows, int64_t cols, int bits);
/* GPTQ (Frantar et al. 2022): act-order, blocks of 128, lazy updates; hessian [cols, cols] = XᵀX (any positive scale).
 * Each row's scale is chosen by the Hessian-weighted error that GPTQ minimises. */
status quantize_gptq(quantized *out, const float *w, const float *hessian, int64_t rows, int64_t cols, int bits,
                     double damp);
/* tr((W − Q) H (W − Q)ᵀ) */
double hessian_error(const float *w, const float *quantised, const float *hessian, int64_t rows, int64_t cols);

#endif

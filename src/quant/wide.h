/* The loops that quantising spends its time in, compiled once for each width of vectors (quant/wide/, cmake/quant.cmake) as kernels are: written over
 * vectors of one size they are several times as slow where registers have another. Last bits may differ between the two, as those of products do. */
#ifndef MOEC_QUANT_WIDE_H
#define MOEC_QUANT_WIDE_H

#include <stdint.h>

enum {
    FACTOR_BLOCK = 128, /* columns between two lazy updates of the rest (inverse_factor.h) */
    PANEL = 16          /* rows that are rounded side by side */
};

/* A block of columns of a panel, column by column; in act-order. */
typedef struct panel_block {
    float w[FACTOR_BLOCK][PANEL], q[FACTOR_BLOCK][PANEL], e[FACTOR_BLOCK][PANEL];
    float scale[FACTOR_BLOCK][PANEL], offset[FACTOR_BLOCK][PANEL],
        keep[FACTOR_BLOCK][PANEL]; /* keep: 0 of pruned weights, 1 */
    float error[PANEL];            /* Σ e² */
} panel_block;

typedef struct wide_loops {
    /* c −= a b: c [rows, cols] and b [depth, cols] with n columns from row to row, a [rows, depth] with a_stride. */
    void (*subtract_product)(double *c, const double *a, const double *b, int64_t n, int64_t a_stride, int64_t rows,
                             int64_t cols, int64_t depth);
    /* w[r] −= e[r] · u for the columns from `from` to n − 1: w [rows, n], e [rows, FACTOR_BLOCK] of which `width` count, u [width, n]. */
    void (*make_up)(float *w, const float *e, const float *u, int64_t n, int64_t rows, int64_t from, int64_t width);
    /* The block's columns 0 … width − 1: q, e, error, and w brought up to date. u: the factor from the block's first column on, in its first column's
     * row, with n columns. */
    void (*round_block)(panel_block *b, const float *u, int64_t n, int64_t width, float levels);
    /* Σ_j importance[j] (w_j − q_j scale)² with q the nearest codes; importance NULL: 1. In a fixed order. */
    double (*rounding_error)(const float *w, const float *importance, int64_t cols, float scale, float levels);
} wide_loops;

extern const wide_loops wide_loops_avx2, wide_loops_avx512;
/* Those of the instruction set that kernels take (MOEC_ISA). */
const wide_loops *wide_loops_taken(void);

#endif

/* The loops that quantising spends its time in, compiled once for each width of vectors (quant/wide/, cmake/quant.cmake) as kernels are: written over
 * vectors of one size they are several times as slow where registers have another. Last bits may differ between the two, as those of products do. */
#ifndef MOEC_QUANT_WIDE_H
#define MOEC_QUANT_WIDE_H

#include <stdint.h>

enum {
    FACTOR_BLOCK = 128, /* columns that hear of all earlier ones in one product (ldl_factor.h) */
    PANEL = 32          /* rows that are rounded side by side */
};

/* The grids of a panel's rows: [groups, PANEL], and of each column of a block its group. */
typedef struct panel_grids {
    const float *scale, *inverse, *offset; /* inverse: 1 / scale; 0 where the scale is 0 */
    const int32_t *group;
} panel_grids;

/* A block of columns of a panel, column by column; in act-order. */
typedef struct panel_block {
    float origin[FACTOR_BLOCK][PANEL]; /* the weights as they were */
    float w[FACTOR_BLOCK][PANEL];      /* with what the errors of earlier columns add to them */
    float e[FACTOR_BLOCK][PANEL];      /* what became of them less what they were, as ldl_factor_make_up takes it */
    float keep[FACTOR_BLOCK][PANEL];   /* 0 of pruned weights, 1 */
    float error[PANEL];                /* Σ D (w − q)² */
} panel_block;

typedef struct wide_loops {
    /* c −= a b: c [rows, cols], a [rows, depth], b [depth, cols], each followed by the columns from one of its rows to the next. */
    void (*subtract_product)(float *c, int64_t c_stride, const float *a, int64_t a_stride, const float *b,
                             int64_t b_stride, int64_t rows, int64_t cols, int64_t depth);
    /* The block's columns 0 … width − 1: e, error, and w brought up to date. f [width, width]: the factor from the block's first column on, in
     * its first column's row, with n columns; root [width]. */
    void (*round_block)(panel_block *b, const panel_grids *grids, const float *f, const float *root, int64_t n,
                        int64_t width, float levels);
    /* The first `width` numbers of PANEL rows, column by column, and back. */
    void (*side_by_side)(float (*to)[PANEL], const float *const *rows, int64_t width);
    void (*row_by_row)(float *const *rows, const float (*from)[PANEL], int64_t width);
    /* Σ_j importance[j] (w_j − q_j scale)² with q the nearest codes; importance NULL: 1. In a fixed order. */
    double (*rounding_error)(const float *w, const float *importance, int64_t cols, float scale, float levels);
} wide_loops;

extern const wide_loops wide_loops_avx2, wide_loops_avx512;
/* Those of the instruction set that kernels take (MOEC_ISA). */
const wide_loops *wide_loops_taken(void);

#endif

/* Small matrix products out of the first-level cache, for attention: C[rows, columns] (+)= A[rows, depth] · B[depth, columns].
 *
 * C is float32 in rows. A is act in rows, whose elements are broadcast. B is act in panels of PANEL columns, whose
 * elements are read a vector at a time: panel[depth / STEP][PANEL][STEP]. STEP elements of the depth lie side by side
 * because the bf16 instruction multiplies pairs, c += a₀b₀ + a₁b₁; in either type the STEP elements make one word of 32 bits.
 * TILE_ROWS × PANEL sums fill the registers without spilling, with PANEL / LANES + 1 left for B and A. */
#ifndef MOEC_KERNEL_CPU_ISA_BLOCK_PRODUCT_H
#define MOEC_KERNEL_CPU_ISA_BLOCK_PRODUCT_H

#include "kernel/cpu/isa/lanes.h"

#ifdef __AVX512F__
enum { PANEL = 4 * LANES };
#else
enum { PANEL = 2 * LANES };
#endif
enum { TILE_ROWS = 6, STEP = 4 / sizeof(act) };

static inline int64_t round_up(int64_t count, int64_t multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

/* One tile: rows ≤ TILE_ROWS, columns = vectors · LANES ≤ PANEL, depth a multiple of STEP. b may point to any column of a
 * panel that is a multiple of LANES (column · STEP elements on) and to any depth of it (depth · PANEL elements on). */
void KERNEL(tile_product)(float *c, int64_t c_stride, const act *a, int64_t a_stride, const act *b, int64_t depth,
                          int rows, int vectors, bool add);

/* The same with A in a panel too, as pack_rows makes it: row r, step s lies at a[s · PANEL · STEP + r · STEP]. All vectors of
 * the panel b; C is overwritten. */
void KERNEL(outer_tile)(float *c, int64_t c_stride, const act *a, const act *b, int64_t depth, int rows);

/* One panel of Xᵀ: column j is row j of x[count, depth]; columns from count on become 0. */
void KERNEL(pack_transposed)(act *panel, const act *x, int64_t stride, int64_t count, int64_t depth);

/* X itself: depth i is row i of x[count, columns], in ⌈columns / PANEL⌉ panels that lie panel_stride elements apart.
 * Depths from count to padded_count (a multiple of STEP) and columns up to a multiple of LANES become 0; what lies beyond
 * those in the last panel is not touched. */
void KERNEL(pack_rows)(act *panels, int64_t panel_stride, const act *x, int64_t stride, int64_t count,
                       int64_t padded_count, int64_t columns);

#endif

/* Vectors as wide as the instruction set's registers, wherever they lie in memory. */
#ifndef MOEC_QUANT_WIDE_VECTORS_H
#define MOEC_QUANT_WIDE_VECTORS_H

#include "kernel/cpu/variant.h"
#include "quant/wide.h"

#ifdef __AVX512F__
enum { VECTOR_BYTES = 64 };
#else
enum { VECTOR_BYTES = 32 };
#endif
typedef float floats __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
enum { FLOATS = VECTOR_BYTES / sizeof(float) };

/* A part of a loop, which has to be compiled with it. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

void KERNEL(subtract_product)(float *c, int64_t c_stride, const float *a, int64_t a_stride, const float *b,
                              int64_t b_stride, int64_t rows, int64_t cols, int64_t depth);
void KERNEL(round_block)(panel_block *b, const panel_grids *grids, const float *f, const float *root, int64_t n,
                         int64_t width, float levels);
void KERNEL(side_by_side)(float (*to)[PANEL], const float *const *rows, int64_t width);
void KERNEL(row_by_row)(float *const *rows, const float (*from)[PANEL], int64_t width);
double KERNEL(rounding_error)(const float *w, const float *importance, int64_t cols, float scale, float levels);

#endif

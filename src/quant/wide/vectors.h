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
typedef double doubles __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
enum { FLOATS = VECTOR_BYTES / sizeof(float), DOUBLES = VECTOR_BYTES / sizeof(double) };

/* A part of a loop, which has to be compiled with it. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

void KERNEL(subtract_product)(double *c, const double *a, const double *b, int64_t n, int64_t a_stride, int64_t rows,
                              int64_t cols, int64_t depth);
void KERNEL(make_up)(float *w, const float *e, const float *u, int64_t n, int64_t rows, int64_t from, int64_t width);
void KERNEL(round_block)(panel_block *b, const float *u, int64_t n, int64_t width, float levels);
double KERNEL(rounding_error)(const float *w, const float *importance, int64_t cols, float scale, float levels);

#endif

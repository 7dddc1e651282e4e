/* Products of matrices cut into blocks of BLOCK × BLOCK, each of which is finished (scaled, mirrored, converted) as soon as
 * it is computed, out of the first-level cache. For Muon: where a product is known to be symmetric, only the upper triangle
 * is computed, which oneDNN cannot do.
 *
 * Every function here is called by all threads of a parallel region and ends with a barrier. A block is computed by one
 * thread in a fixed order: the bits do not depend on the number of threads. */
#ifndef MOEC_KERNEL_CPU_ISA_BLOCK_MATRIX_H
#define MOEC_KERNEL_CPU_ISA_BLOCK_MATRIX_H

#include "kernel/cpu/isa/block_product.h"

enum { BLOCK = 64 };

/* rows and cols are multiples of BLOCK. stride ≥ cols elements; 64 bytes more than a power of two keep the rows of a tile
 * out of each other's place in the cache. */
typedef struct block_matrix {
    act *data;
    int64_t rows, cols, stride;
} block_matrix;

static inline act *block_at(block_matrix m, int64_t row, int64_t col) {
    return m.data + row * m.stride + col;
}

/* What becomes of factor·block, where block, [BLOCK, BLOCK] in rows, is the part of C that begins at C[row, col]. */
typedef struct block_sink {
    void (*take)(const void *context, float factor, const float *block, int64_t row, int64_t col);
    const void *context;
    float factor;
} block_sink;

/* What each thread needs of SCRATCH_OWN for products of at most this depth. */
size_t KERNEL(product_scratch)(int64_t depth);
/* C = A B */
void KERNEL(product)(block_matrix a, block_matrix b, block_sink sink);
/* C = A Bᵀ, which the caller knows to be symmetric (A = B, or two polynomials of one symmetric matrix): the sink gets the
 * blocks with col ≥ row alone, and those with col = row whole. */
void KERNEL(symmetric_product)(block_matrix a, block_matrix b, block_sink sink);

/* out = factor·block, or its transpose */
void KERNEL(put_block)(act *out, int64_t stride, const float *block, float factor);
void KERNEL(put_block_transposed)(act *out, int64_t stride, const float *block, float factor);
void KERNEL(transpose_block)(float *out, const float *block);

#endif

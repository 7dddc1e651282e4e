/* c −= a b, of matrices that are small enough for the caches: what a blocked factorisation and GPTQ's blocks are made of. A tile of c, some
 * rows and two vectors of columns, stays in registers while what it sums over passes by. */
#include "quant/wide/vectors.h"

enum {
    TILE_ROWS = 6,
    TILE = 2 * FLOATS, /* columns */
    DEEP = 128         /* rows of b at a time */
};

ALWAYS_INLINE void subtract_tile(float *c, int64_t c_stride, const float *a, int64_t a_stride, const float *b,
                                 int64_t depth, const int rows) {
    floats sum[TILE_ROWS][2];
    for (int r = 0; r < rows; r++)
        for (int half = 0; half < 2; half++) sum[r][half] = *(const floats *)(c + r * c_stride + FLOATS * half);
    for (int64_t m = 0; m < depth; m++) {
        const floats low = *(const floats *)(b + m * TILE), high = *(const floats *)(b + m * TILE + FLOATS);
        for (int r = 0; r < rows; r++) {
            const float x = a[r * a_stride + m];
            sum[r][0] -= x * low;
            sum[r][1] -= x * high;
        }
    }
    for (int r = 0; r < rows; r++)
        for (int half = 0; half < 2; half++) *(floats *)(c + r * c_stride + FLOATS * half) = sum[r][half];
}

/* All rows of a tile's columns; b [depth, TILE]. */
ALWAYS_INLINE void subtract_columns(float *c, int64_t c_stride, const float *a, int64_t a_stride, const float *b,
                                    int64_t rows, int64_t depth) {
    for (; rows >= TILE_ROWS; rows -= TILE_ROWS, c += TILE_ROWS * c_stride, a += TILE_ROWS * a_stride)
        subtract_tile(c, c_stride, a, a_stride, b, depth, TILE_ROWS);
    switch (rows) { /* a number of rows that is known leaves them in registers */
    case 1:
        subtract_tile(c, c_stride, a, a_stride, b, depth, 1);
        break;
    case 2:
        subtract_tile(c, c_stride, a, a_stride, b, depth, 2);
        break;
    case 3:
        subtract_tile(c, c_stride, a, a_stride, b, depth, 3);
        break;
    case 4:
        subtract_tile(c, c_stride, a, a_stride, b, depth, 4);
        break;
    case 5:
        subtract_tile(c, c_stride, a, a_stride, b, depth, 5);
        break;
    }
}

/* The columns from `from` on of a row, which no tile covers. */
ALWAYS_INLINE void subtract_rest(float *c, const float *a, const float *b, int64_t b_stride, int64_t from, int64_t cols,
                                 int64_t depth) {
    for (int64_t m = 0; m < depth; m++)
        for (int64_t k = from; k < cols; k++) c[k] -= a[m] * b[m * b_stride + k];
}

void KERNEL(subtract_product)(float *c, int64_t c_stride, const float *a, int64_t a_stride, const float *b,
                              int64_t b_stride, int64_t rows, int64_t cols, int64_t depth) {
    const int64_t tiled = cols / TILE * TILE;
    float packed[DEEP * TILE]; /* by itself, since rows of a power of two would push each other out of the cache */
    for (int64_t first = 0; first < depth; first += DEEP, a += DEEP, b += DEEP * b_stride) {
        const int64_t deep = depth - first < DEEP ? depth - first : DEEP;
        for (int64_t k = 0; k < tiled; k += TILE) {
            for (int64_t m = 0; m < deep; m++) memcpy(packed + m * TILE, b + m * b_stride + k, sizeof(float[TILE]));
            subtract_columns(c + k, c_stride, a, a_stride, packed, rows, deep);
        }
        for (int64_t r = 0; r < rows && tiled < cols; r++)
            subtract_rest(c + r * c_stride, a + r * a_stride, b, b_stride, tiled, cols, deep);
    }
}

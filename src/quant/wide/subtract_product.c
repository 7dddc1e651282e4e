/* c −= a b in double, of matrices that are small enough for the caches: what blocked factorisations are made of. */
#include "quant/wide/vectors.h"

enum {
    DEEP = 128,        /* columns of a that a tile sums over at a time */
    TILE_ROWS = 4,     /* of c, which stay in registers meanwhile */
    TILE = 2 * DOUBLES /* columns */
};

/* TILE_ROWS rows, TILE columns; b [depth, TILE] lies by itself, since rows of a power of two would push each other out of the cache. */
ALWAYS_INLINE void subtract_tile(double *c, const double *a, const double *b, int64_t n, int64_t a_stride,
                                 int64_t depth) {
    doubles sum[TILE_ROWS][2];
    for (int r = 0; r < TILE_ROWS; r++)
        for (int half = 0; half < 2; half++) sum[r][half] = *(const doubles *)(c + r * n + DOUBLES * half);
    for (int64_t m = 0; m < depth; m++) {
        const doubles low = *(const doubles *)(b + m * TILE), high = *(const doubles *)(b + m * TILE + DOUBLES);
        for (int r = 0; r < TILE_ROWS; r++) {
            const double x = a[r * a_stride + m];
            sum[r][0] -= x * low;
            sum[r][1] -= x * high;
        }
    }
    for (int r = 0; r < TILE_ROWS; r++)
        for (int half = 0; half < 2; half++) *(doubles *)(c + r * n + DOUBLES * half) = sum[r][half];
}

/* The columns from `from` on of a row, of what no tile covers. */
ALWAYS_INLINE void subtract_rest(double *c, const double *a, const double *b, int64_t n, int64_t a_stride, int64_t row,
                                 int64_t from, int64_t cols, int64_t depth) {
    for (int64_t m = 0; m < depth; m++) {
        const double x = a[row * a_stride + m];
        for (int64_t k = from; k < cols; k++) c[row * n + k] -= x * b[m * n + k];
    }
}

void KERNEL(subtract_product)(double *c, const double *a, const double *b, int64_t n, int64_t a_stride, int64_t rows,
                              int64_t cols, int64_t depth) {
    const int64_t tiled_rows = rows / TILE_ROWS * TILE_ROWS, tiled = cols / TILE * TILE;
    double packed[DEEP * TILE];
    for (int64_t first = 0; first < depth; first += DEEP) {
        const int64_t deep = depth - first < DEEP ? depth - first : DEEP;
        for (int64_t k = 0; k < tiled; k += TILE) {
            for (int64_t m = 0; m < deep; m++) memcpy(packed + m * TILE, b + (first + m) * n + k, TILE * sizeof *b);
            for (int64_t r = 0; r < tiled_rows; r += TILE_ROWS)
                subtract_tile(c + r * n + k, a + r * a_stride + first, packed, n, a_stride, deep);
        }
        for (int64_t r = 0; r < rows; r++)
            subtract_rest(c, a + first, b + first * n, n, a_stride, r, r < tiled_rows ? tiled : 0, cols, deep);
    }
}

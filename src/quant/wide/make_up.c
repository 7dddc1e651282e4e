/* What the errors of a block's columns do to all later ones (inverse_factor.h). */
#include "quant/wide/vectors.h"

enum { TILE_ROWS = 4, TILE = 2 * FLOATS }; /* of w, which stays in registers while the columns of e pass by */

/* TILE_ROWS rows, TILE columns; u [width, TILE] of these lies by itself, since rows of a power of two would push each other out of
 * the cache. */
ALWAYS_INLINE void make_up_tile(float *w, const float *e, const float *u, int64_t n, int64_t width) {
    floats sum[TILE_ROWS][2];
    for (int r = 0; r < TILE_ROWS; r++)
        for (int half = 0; half < 2; half++) sum[r][half] = *(const floats *)(w + r * n + FLOATS * half);
    for (int64_t j = 0; j < width; j++) {
        const floats low = *(const floats *)(u + j * TILE), high = *(const floats *)(u + j * TILE + FLOATS);
        for (int r = 0; r < TILE_ROWS; r++) {
            const float error = e[r * FACTOR_BLOCK + j];
            sum[r][0] -= error * low;
            sum[r][1] -= error * high;
        }
    }
    for (int r = 0; r < TILE_ROWS; r++)
        for (int half = 0; half < 2; half++) *(floats *)(w + r * n + FLOATS * half) = sum[r][half];
}

/* Whatever is left of a row. */
ALWAYS_INLINE void make_up_row(float *w, const float *e, const float *u, int64_t n, int64_t from, int64_t width) {
    for (int64_t j = 0; j < width; j++) {
        const float error = e[j];
        for (int64_t k = from; k < n; k++) w[k] -= error * u[j * n + k];
    }
}

void KERNEL(make_up)(float *w, const float *e, const float *u, int64_t n, int64_t rows, int64_t from, int64_t width) {
    const int64_t tiled = rows / TILE_ROWS * TILE_ROWS;
    float packed[FACTOR_BLOCK * TILE];
    int64_t k = from;
    for (; k + TILE <= n; k += TILE) {
        for (int64_t j = 0; j < width; j++) memcpy(packed + j * TILE, u + j * n + k, TILE * sizeof *u);
        for (int64_t r = 0; r < tiled; r += TILE_ROWS)
            make_up_tile(w + r * n + k, e + r * FACTOR_BLOCK, packed, n, width);
    }
    for (int64_t r = 0; r < rows; r++) make_up_row(w + r * n, e + r * FACTOR_BLOCK, u, n, r < tiled ? k : from, width);
}

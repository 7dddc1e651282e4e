/* Rows in memory to and from columns of PANEL rows, which rounding works on, in squares of 8. */
#include "quant/wide/vectors.h"

typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));
enum { SIDE = 8 };

/* Pairs of rows change places of single numbers, then of pairs of them, then of fours. */
ALWAYS_INLINE void transpose_square(eight x[SIDE]) {
    eight y[SIDE];
    for (int i = 0; i < SIDE; i += 2) {
        y[i] = __builtin_shufflevector(x[i], x[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        y[i + 1] = __builtin_shufflevector(x[i], x[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < SIDE; i++) {
        if (i & 2) continue;
        x[i] = __builtin_shufflevector(y[i], y[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        x[i + 2] = __builtin_shufflevector(y[i], y[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < SIDE / 2; i++) {
        y[i] = __builtin_shufflevector(x[i], x[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        y[i + 4] = __builtin_shufflevector(x[i], x[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
    for (int i = 0; i < SIDE; i++) x[i] = y[i];
}

void KERNEL(side_by_side)(float (*to)[PANEL], const float *const *rows, int64_t width) {
    const int64_t squares = width / SIDE * SIDE;
    for (int r = 0; r < PANEL; r += SIDE)
        for (int64_t j = 0; j < squares; j += SIDE) {
            eight x[SIDE];
            for (int i = 0; i < SIDE; i++) x[i] = *(const eight *)(rows[r + i] + j);
            transpose_square(x);
            for (int i = 0; i < SIDE; i++) *(eight *)(to[j + i] + r) = x[i];
        }
    for (int r = 0; r < PANEL; r++)
        for (int64_t j = squares; j < width; j++) to[j][r] = rows[r][j];
}

void KERNEL(row_by_row)(float *const *rows, const float (*from)[PANEL], int64_t width) {
    const int64_t squares = width / SIDE * SIDE;
    for (int r = 0; r < PANEL; r += SIDE)
        for (int64_t j = 0; j < squares; j += SIDE) {
            eight x[SIDE];
            for (int i = 0; i < SIDE; i++) x[i] = *(const eight *)(from[j + i] + r);
            transpose_square(x);
            for (int i = 0; i < SIDE; i++) *(eight *)(rows[r + i] + j) = x[i];
        }
    for (int r = 0; r < PANEL; r++)
        for (int64_t j = squares; j < width; j++) rows[r][j] = from[j][r];
}

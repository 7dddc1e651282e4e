/* Rows in memory to and from columns of PANEL rows, which rounding works on, in squares of 8. */
#include "quant/wide/vectors.h"
#include <immintrin.h>

enum { SIDE = 8 };

ALWAYS_INLINE __m256 pair_low(__m256 a, __m256 b) {
    return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}

ALWAYS_INLINE __m256 pair_high(__m256 a, __m256 b) {
    return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}

/* Rows meet by twos, then by fours, in each half of a register; then the halves change places. */
ALWAYS_INLINE void transpose_square(__m256 x[SIDE]) {
    __m256 two[SIDE], four[SIDE];
    for (int i = 0; i < SIDE; i += 2) {
        two[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        two[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < SIDE; i += 4) {
        four[i] = pair_low(two[i], two[i + 2]);
        four[i + 1] = pair_high(two[i], two[i + 2]);
        four[i + 2] = pair_low(two[i + 1], two[i + 3]);
        four[i + 3] = pair_high(two[i + 1], two[i + 3]);
    }
    for (int i = 0; i < SIDE / 2; i++) {
        x[i] = _mm256_permute2f128_ps(four[i], four[i + 4], 0x20);
        x[i + 4] = _mm256_permute2f128_ps(four[i], four[i + 4], 0x31);
    }
}

void KERNEL(side_by_side)(float (*to)[PANEL], const float *const *rows, int64_t width) {
    const int64_t squares = width / SIDE * SIDE;
    for (int r = 0; r < PANEL; r += SIDE)
        for (int64_t j = 0; j < squares; j += SIDE) {
            __m256 x[SIDE];
            for (int i = 0; i < SIDE; i++) x[i] = _mm256_loadu_ps(rows[r + i] + j);
            transpose_square(x);
            for (int i = 0; i < SIDE; i++) _mm256_storeu_ps(to[j + i] + r, x[i]);
        }
    for (int r = 0; r < PANEL; r++)
        for (int64_t j = squares; j < width; j++) to[j][r] = rows[r][j];
}

void KERNEL(row_by_row)(float *const *rows, const float (*from)[PANEL], int64_t width) {
    const int64_t squares = width / SIDE * SIDE;
    for (int r = 0; r < PANEL; r += SIDE)
        for (int64_t j = 0; j < squares; j += SIDE) {
            __m256 x[SIDE];
            for (int i = 0; i < SIDE; i++) x[i] = _mm256_loadu_ps(from[j + i] + r);
            transpose_square(x);
            for (int i = 0; i < SIDE; i++) _mm256_storeu_ps(rows[r + i] + j, x[i]);
        }
    for (int r = 0; r < PANEL; r++)
        for (int64_t j = squares; j < width; j++) rows[r][j] = from[j][r];
}

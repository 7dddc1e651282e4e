/* Transposing blocks of LANES × LANES words of 32 bits in registers. */
#ifndef MOEC_KERNEL_CPU_ISA_TRANSPOSE_H
#define MOEC_KERNEL_CPU_ISA_TRANSPOSE_H

#include "kernel/cpu/isa/lanes.h"

/* x[i][j] ↔ x[j][i]. Words 4i + j of the rows 4i + 0 … 3 change places within each 128 bits, then the 128-bit quarters (or
 * halves) change places like the elements of a small matrix. */
static inline void transpose_lanes(lanes x[LANES]) {
    lanes t[LANES];
#ifdef __AVX512F__
    for (int i = 0; i < LANES; i += 4) {
        __m512d low = _mm512_castps_pd(_mm512_unpacklo_ps(x[i], x[i + 1]));
        __m512d high = _mm512_castps_pd(_mm512_unpackhi_ps(x[i], x[i + 1]));
        __m512d low2 = _mm512_castps_pd(_mm512_unpacklo_ps(x[i + 2], x[i + 3]));
        __m512d high2 = _mm512_castps_pd(_mm512_unpackhi_ps(x[i + 2], x[i + 3]));
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, low2));
        t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, low2));
        t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, high2));
        t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, high2));
    }
    for (int i = 0; i < 4; i++) { /* quarter q of row 4g + i goes to quarter g of row 4q + i */
        lanes even = _mm512_shuffle_f32x4(t[i], t[4 + i], 0x88), odd = _mm512_shuffle_f32x4(t[i], t[4 + i], 0xdd);
        lanes even2 = _mm512_shuffle_f32x4(t[8 + i], t[12 + i], 0x88);
        lanes odd2 = _mm512_shuffle_f32x4(t[8 + i], t[12 + i], 0xdd);
        x[i] = _mm512_shuffle_f32x4(even, even2, 0x88);
        x[4 + i] = _mm512_shuffle_f32x4(odd, odd2, 0x88);
        x[8 + i] = _mm512_shuffle_f32x4(even, even2, 0xdd);
        x[12 + i] = _mm512_shuffle_f32x4(odd, odd2, 0xdd);
    }
#else
    for (int i = 0; i < LANES; i += 4) {
        __m256d low = _mm256_castps_pd(_mm256_unpacklo_ps(x[i], x[i + 1]));
        __m256d high = _mm256_castps_pd(_mm256_unpackhi_ps(x[i], x[i + 1]));
        __m256d low2 = _mm256_castps_pd(_mm256_unpacklo_ps(x[i + 2], x[i + 3]));
        __m256d high2 = _mm256_castps_pd(_mm256_unpackhi_ps(x[i + 2], x[i + 3]));
        t[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, low2));
        t[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, low2));
        t[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high, high2));
        t[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high, high2));
    }
    for (int i = 0; i < 4; i++) {
        x[i] = _mm256_permute2f128_ps(t[i], t[4 + i], 0x20);
        x[4 + i] = _mm256_permute2f128_ps(t[i], t[4 + i], 0x31);
    }
#endif
}

#endif

/* weight_spread.h for SPREAD_REFRESH columns at once: their classes are known before any of their integers is, since they depend on the
 * rows before and on what the row has shown up to the first of them. The same integers, in lanes; SSE2, which every x86-64 has. */
#ifndef MOEC_QUANT_WEIGHT_COLUMNS_H
#define MOEC_QUANT_WEIGHT_COLUMNS_H

#include "quant/weight_spread.h"
#include <emmintrin.h>

enum {
    SPREAD_INDICES = 16 * 32
}; /* of an expected size from 1 up: its octave, up to 15, and the five bits behind its first one */

/* Of each index its class. */
static inline void weight_columns_start(uint8_t class_of[SPREAD_INDICES]) {
    for (int i = 0; i < SPREAD_INDICES; i++)
        class_of[i] = (uint8_t)spread_class_of((uint64_t)(32 + i % 32) << (i / 32) >> 5);
}

/* x · y of 32 bits, shifted so far that they fit into 32 again. */
static inline __m128i columns_product(__m128i x, __m128i y, const int shift) {
    const __m128i even = _mm_srli_epi64(_mm_mul_epu32(x, y), shift);
    const __m128i odd = _mm_srli_epi64(_mm_mul_epu32(_mm_srli_epi64(x, 32), y), shift);
    return _mm_or_si128(even, _mm_slli_epi64(odd, 32));
}

/* Before the columns from first, a multiple of SPREAD_REFRESH: the indices of as many. */
static inline void weight_columns_indices(weight_spread *s, int64_t first, uint16_t index[SPREAD_REFRESH]) {
    weight_spread_refresh(s);
    const __m128i *column = (const __m128i *)(s->column + first), factor = _mm_set1_epi32((int)s->factor);
    __m128i at[2];
    for (int i = 0; i < 2; i++) {
        const __m128i x = columns_product(_mm_loadu_si128(column + i), factor, 24);
        /* A float's bits are its octave and those behind the first one; below 2²⁴ it is exact. */
        const __m128i bits = _mm_srli_epi32(_mm_castps_si128(_mm_cvtepi32_ps(x)), 18);
        at[i] = _mm_sub_epi32(bits, _mm_set1_epi32(127 * 32)); /* negative for 0 */
    }
    const __m128i least = _mm_max_epi16(_mm_packs_epi32(at[0], at[1]), _mm_setzero_si128());
    _mm_storeu_si128((__m128i *)index, _mm_min_epi16(least, _mm_set1_epi16(SPREAD_INDICES - 1)));
}

/* away · rate >> 16, |away| < 2³¹ and rate < 2¹⁵: of its upper and its lower half. */
static inline __m128i columns_share(__m128i away, __m128i rate) {
    return _mm_add_epi32(_mm_madd_epi16(_mm_srai_epi32(away, 16), rate), _mm_mulhi_epu16(away, rate));
}

/* Their sizes are known. */
static inline void weight_columns_seen(weight_spread *s, int64_t first, const uint32_t size[SPREAD_REFRESH]) {
    enum { LEAST = 1 << 8, MOST = 128 << 16 };
    uint32_t any = 0;
    uint64_t total = 0;
    for (int i = 0; i < SPREAD_REFRESH; i++) any |= size[i], total += size[i];
    if (__builtin_expect((uint64_t)any * s->inverse >> 8 > MOST, 0)) { /* a target may have to be cut */
        for (int i = 0; i < SPREAD_REFRESH; i++) weight_spread_seen(s, first + i, size[i]);
        return;
    }
    const __m128i inverse = _mm_set1_epi32((int)s->inverse), rate = _mm_set1_epi32((int)s->rate),
                  least = _mm_set1_epi32(LEAST);
    __m128i *column = (__m128i *)(s->column + first), expected = _mm_setzero_si128();
    for (int i = 0; i < 2; i++) {
        const __m128i x = _mm_loadu_si128((const __m128i *)size + i), mean = _mm_loadu_si128(column + i);
        const __m128i away = _mm_sub_epi32(columns_product(x, inverse, 8), mean);
        const __m128i moved = _mm_add_epi32(mean, columns_share(away, rate)), low = _mm_cmpgt_epi32(least, moved);
        _mm_storeu_si128(column + i, _mm_or_si128(_mm_and_si128(low, least), _mm_andnot_si128(low, moved)));
        expected = _mm_add_epi32(expected, _mm_srli_epi32(mean, 8));
    }
    expected = _mm_add_epi32(expected, _mm_shuffle_epi32(expected, 0x4e));
    expected = _mm_add_epi32(expected, _mm_shuffle_epi32(expected, 0xb1));
    s->seen += total;
    s->expected += (uint32_t)_mm_cvtsi128_si32(expected);
}

#endif

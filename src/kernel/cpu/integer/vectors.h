/* Vectors of the integer products: lanes of int32 sums and of floats, and the dot product of STEP_CODES unsigned codes with as many
 * signed inputs. Without VNNI it is made of 16-bit sums of pairs, which must not saturate: 4-bit codes are small enough, and of an
 * 8-bit code c its magnitude meets ± the input (|c| ≤ 128, |x| ≤ 127: 2 · 128 · 127 < 2¹⁵). */
#ifndef MOEC_KERNEL_CPU_INTEGER_VECTORS_H
#define MOEC_KERNEL_CPU_INTEGER_VECTORS_H

#include "kernel/cpu/packed.h"
#include "kernel/cpu/variant.h"
#include <immintrin.h>

#ifdef __AVX512VNNI__
typedef __m512i ints;
typedef __m512 floats;
enum { INT_LANES = 16, MOST_TOKENS = 6 }; /* rows of x whose sums fit the registers */

static inline ints ints_load(const void *p) {
    return _mm512_load_si512(p);
}
static inline ints ints_all(int32_t x) {
    return _mm512_set1_epi32(x);
}
/* 256 high + low */
static inline ints ints_of_high(ints high, ints low) {
    return _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
}
static inline ints low_halves(ints bytes) {
    return _mm512_and_si512(bytes, _mm512_set1_epi8(15));
}
static inline ints high_halves(ints bytes) {
    return _mm512_and_si512(_mm512_srli_epi16(bytes, 4), _mm512_set1_epi8(15));
}
static inline ints dot_codes(ints sum, ints codes, ints x, const int bits) {
    (void)bits;
    return _mm512_dpbusd_epi32(sum, codes, x);
}
static inline ints ints_add(ints a, ints b) {
    return _mm512_add_epi32(a, b);
}
static inline ints ints_max(ints a, ints b) {
    return _mm512_max_epi32(a, b);
}
static inline ints ints_min(ints a, ints b) {
    return _mm512_min_epi32(a, b);
}
static inline int32_t ints_sum(ints x) {
    return _mm512_reduce_add_epi32(x);
}
static inline int32_t ints_largest(ints x) {
    return _mm512_reduce_max_epi32(x);
}
/* To nearest even. */
static inline ints ints_of(floats x) {
    return _mm512_cvtps_epi32(x);
}
static inline ints ints_magnitude(floats x) {
    return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
}
/* One byte a lane. */
static inline void ints_put_bytes(int8_t *p, ints x) {
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(x));
}
static inline floats floats_get(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline floats floats_subtract(floats a, floats b) {
    return _mm512_sub_ps(a, b);
}
static inline floats floats_all(float x) {
    return _mm512_set1_ps(x);
}
static inline floats floats_of(ints x) {
    return _mm512_cvtepi32_ps(x);
}
static inline floats floats_load(const float *p) {
    return _mm512_load_ps(p);
}
static inline floats floats_of_half(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)p));
}
static inline floats floats_multiply(floats a, floats b) {
    return _mm512_mul_ps(a, b);
}
static inline floats floats_multiply_add(floats a, floats b, floats c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline void floats_store(float *p, floats x) {
    _mm512_store_ps(p, x);
}
#else
typedef __m256i ints;
typedef __m256 floats;
enum { INT_LANES = 8, MOST_TOKENS = 3 };

static inline ints ints_load(const void *p) {
    return _mm256_load_si256(p);
}
static inline ints ints_all(int32_t x) {
    return _mm256_set1_epi32(x);
}
static inline ints ints_of_high(ints high, ints low) {
    return _mm256_add_epi32(_mm256_slli_epi32(high, 8), low);
}
static inline ints low_halves(ints bytes) {
    return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}
static inline ints high_halves(ints bytes) {
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
}
#ifdef __AVXVNNI__
static inline ints dot_codes(ints sum, ints codes, ints x, const int bits) {
    (void)bits;
    return _mm256_dpbusd_avx_epi32(sum, codes, x);
}
#else
static inline ints dot_codes(ints sum, ints codes, ints x, const int bits) {
    if (bits == 8) {
        ints code = _mm256_xor_si256(codes, _mm256_set1_epi8(-128)); /* − 128 */
        codes = _mm256_abs_epi8(code);
        x = _mm256_sign_epi8(x, code);
    }
    ints pairs = _mm256_maddubs_epi16(codes, x);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#endif
static inline ints ints_add(ints a, ints b) {
    return _mm256_add_epi32(a, b);
}
static inline ints ints_max(ints a, ints b) {
    return _mm256_max_epi32(a, b);
}
static inline ints ints_min(ints a, ints b) {
    return _mm256_min_epi32(a, b);
}
static inline int32_t ints_sum(ints x) {
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    half = _mm_add_epi32(half, _mm_unpackhi_epi64(half, half));
    return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 1)));
}
static inline int32_t ints_largest(ints x) {
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    half = _mm_max_epi32(half, _mm_unpackhi_epi64(half, half));
    return _mm_cvtsi128_si32(_mm_max_epi32(half, _mm_shuffle_epi32(half, 1)));
}
static inline ints ints_of(floats x) {
    return _mm256_cvtps_epi32(x);
}
static inline ints ints_magnitude(floats x) {
    return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}
static inline void ints_put_bytes(int8_t *p, ints x) {
    const __m128i pairs = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packs_epi16(pairs, pairs));
}
static inline floats floats_get(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline floats floats_subtract(floats a, floats b) {
    return _mm256_sub_ps(a, b);
}
static inline floats floats_all(float x) {
    return _mm256_set1_ps(x);
}
static inline floats floats_of(ints x) {
    return _mm256_cvtepi32_ps(x);
}
static inline floats floats_load(const float *p) {
    return _mm256_load_ps(p);
}
static inline floats floats_of_half(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)p));
}
static inline floats floats_multiply(floats a, floats b) {
    return _mm256_mul_ps(a, b);
}
static inline floats floats_multiply_add(floats a, floats b, floats c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline void floats_store(float *p, floats x) {
    _mm256_store_ps(p, x);
}
#endif

/* Whether dot_codes takes off the zero of 8-bit codes itself. */
#if defined __AVX512VNNI__ || defined __AVXVNNI__
enum { DOT_IS_SIGNED = 0 };
#else
enum { DOT_IS_SIGNED = 1 };
#endif

#endif

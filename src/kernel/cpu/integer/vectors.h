/* Vectors of the integer products: lanes of int32 sums and of floats, and dot products of unsigned codes with signed inputs in the order that
 * input.h says. A step's codes are multiplied part by part, each with as many inputs as 32 bits hold: with VNNI four of 8 bits (vpdpbusd), so a step of
 * 8-bit codes has one part and one of 4-bit codes two; else two of 16 bits (vpmaddwd), so it has two and four. */
#ifndef MOEC_KERNEL_CPU_INTEGER_VECTORS_H
#define MOEC_KERNEL_CPU_INTEGER_VECTORS_H

#include "kernel/cpu/integer/input.h"
#include <immintrin.h>

/* MOST_TOKENS: rows of x whose sums of two vectors fit the registers. FOUR_TOKENS: so many meet four vectors of codes at a time, a whole
 * tile in the order of memory, where a vector has 8 lanes. */
#ifdef __AVX512VNNI__
typedef __m512i ints;
typedef __m512 floats;
#define MOST_TOKENS 6
enum { INT_LANES = 16, FOUR_TOKENS = 0 };

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
static inline ints code_part(ints codes, const int part, const int bits) {
    if (bits == 8) return codes;
    return _mm512_and_si512(part ? _mm512_srli_epi16(codes, 4) : codes, _mm512_set1_epi8(15));
}
static inline ints dot_part(ints sum, ints codes, ints x) {
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
/* A number a lane. */
static inline void inputs_put(input_code *p, ints x) {
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
static inline void floats_put(float *p, floats x) {
    _mm512_storeu_ps(p, x);
}
#else
typedef __m256i ints;
typedef __m256 floats;
#ifdef __AVXVNNI__
#define MOST_TOKENS 3
enum { INT_LANES = 8, FOUR_TOKENS = 0 };
#else
#define MOST_TOKENS 6
enum { INT_LANES = 8, FOUR_TOKENS = 2 };
#endif

static inline ints ints_load(const void *p) {
    return _mm256_load_si256(p);
}
static inline ints ints_all(int32_t x) {
    return _mm256_set1_epi32(x);
}
static inline ints ints_of_high(ints high, ints low) {
    return _mm256_add_epi32(_mm256_slli_epi32(high, 8), low);
}
#ifdef __AVXVNNI__
static inline ints code_part(ints codes, const int part, const int bits) {
    if (bits == 8) return codes;
    return _mm256_and_si256(part ? _mm256_srli_epi16(codes, 4) : codes, _mm256_set1_epi8(15));
}
static inline ints dot_part(ints sum, ints codes, ints x) {
    return _mm256_dpbusd_avx_epi32(sum, codes, x);
}
#else
/* Columns 0 and 2 of each lane's four, then 1 and 3; of 4 bits so of the low halves, then of the high ones. */
static inline ints code_part(ints codes, const int part, const int bits) {
    const ints moved = _mm256_srli_epi16(codes, bits == 8 ? 8 * part : 8 * (part & 1) + 4 * (part >> 1));
    const bool is_bare = part == (bits == 8 ? 1 : 3); /* nothing lies above it */
    return is_bare ? moved : _mm256_and_si256(moved, _mm256_set1_epi16(bits == 8 ? 255 : 15));
}
static inline ints dot_part(ints sum, ints codes, ints x) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(codes, x));
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
static inline void inputs_put(input_code *p, ints x) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
#ifdef __AVXVNNI__
    _mm_storel_epi64((__m128i *)p, _mm_packs_epi16(words, words));
#else
    enum { ORDER = _MM_SHUFFLE(3, 1, 2, 0) }; /* of four */
    _mm_storeu_si128((__m128i *)p, _mm_shufflehi_epi16(_mm_shufflelo_epi16(words, ORDER), ORDER));
#endif
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
static inline void floats_put(float *p, floats x) {
    _mm256_storeu_ps(p, x);
}
#endif

#endif

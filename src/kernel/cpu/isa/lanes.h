/* A vector of floats, as wide as the instruction set has it, and how it travels to and from memory.
 *
 * The row kernels are written once over `lanes`: + − · / are the compiler's own operators on vectors, float32 is the
 * arithmetic, act (float32 or bf16) is what memory holds. `left` is how many elements remain from the pointer on: those
 * beyond are never touched and read as 0, so a loop
 *     for (int64_t c = 0; c < d; c += LANES) act_put(y + c, act_get(x + c, d - c), d - c);
 * is right for any d. */
#ifndef MOEC_KERNEL_CPU_ISA_LANES_H
#define MOEC_KERNEL_CPU_ISA_LANES_H

#include "kernel/cpu/variant.h"
#include <immintrin.h>

#ifdef __AVX512F__
typedef __m512 lanes;
enum { LANES = 16 };

static inline __mmask16 lanes_mask(int64_t left) {
    return (__mmask16)(left <= 0 ? 0 : (1u << left) - 1);
}
static inline lanes lanes_all(float x) {
    return _mm512_set1_ps(x);
}
static inline lanes lanes_get(const float *p, int64_t left) {
    return left >= LANES ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(lanes_mask(left), p);
}
static inline void lanes_put(float *p, lanes x, int64_t left) {
    if (left >= LANES)
        _mm512_storeu_ps(p, x);
    else
        _mm512_mask_storeu_ps(p, lanes_mask(left), x);
}
/* x in the first `left` lanes, 0 beyond: for sums over a row's tail */
static inline lanes lanes_keep(lanes x, int64_t left) {
    return left >= LANES ? x : _mm512_maskz_mov_ps(lanes_mask(left), x);
}
static inline lanes lanes_multiply_add(lanes a, lanes b, lanes c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* Where one of the two is a NaN these give b: put the constant first and a NaN stays one. */
static inline lanes lanes_min(lanes a, lanes b) {
    return _mm512_min_ps(a, b);
}
static inline lanes lanes_max(lanes a, lanes b) {
    return _mm512_max_ps(a, b);
}
static inline float lanes_sum(lanes x) {
    return _mm512_reduce_add_ps(x);
}
static inline float lanes_largest(lanes x) {
    return _mm512_reduce_max_ps(x);
}
#else
typedef __m256 lanes;
enum { LANES = 8 };

static inline __m256i lanes_mask(int64_t left) {
    __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(left <= 0 ? 0 : (int)left), index);
}
static inline lanes lanes_all(float x) {
    return _mm256_set1_ps(x);
}
static inline lanes lanes_get(const float *p, int64_t left) {
    return left >= LANES ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, lanes_mask(left));
}
static inline void lanes_put(float *p, lanes x, int64_t left) {
    if (left >= LANES)
        _mm256_storeu_ps(p, x);
    else
        _mm256_maskstore_ps(p, lanes_mask(left), x);
}
/* x in the first `left` lanes, 0 beyond: for sums over a row's tail */
static inline lanes lanes_keep(lanes x, int64_t left) {
    return left >= LANES ? x : _mm256_and_ps(x, _mm256_castsi256_ps(lanes_mask(left)));
}
static inline lanes lanes_multiply_add(lanes a, lanes b, lanes c) {
    return _mm256_fmadd_ps(a, b, c);
}
/* Where one of the two is a NaN these give b: put the constant first and a NaN stays one. */
static inline lanes lanes_min(lanes a, lanes b) {
    return _mm256_min_ps(a, b);
}
static inline lanes lanes_max(lanes a, lanes b) {
    return _mm256_max_ps(a, b);
}
static inline float lanes_sum(lanes x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
static inline float lanes_largest(lanes x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
#endif

#ifdef ACT_BF16
static inline lanes act_get(const act *p, int64_t left) {
    __m256i half =
        left >= LANES ? _mm256_loadu_si256((const __m256i *)p) : _mm256_maskz_loadu_epi16(lanes_mask(left), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
/* The instruction rounds to nearest even like act_store, and takes numbers below 2⁻¹²⁶ for 0. */
static inline void act_put(act *p, lanes x, int64_t left) {
    __m256i half = (__m256i)_mm512_cvtneps_pbh(x);
    if (left >= LANES)
        _mm256_storeu_si256((__m256i *)p, half);
    else
        _mm256_mask_storeu_epi16(p, lanes_mask(left), half);
}
#else
static inline lanes act_get(const act *p, int64_t left) {
    return lanes_get(p, left);
}
static inline void act_put(act *p, lanes x, int64_t left) {
    lanes_put(p, x, left);
}
#endif

/* Give `x` to the elements from `at` on of a gradient, as it asks for it. */
static inline void grad_put(grad_out gradient, int64_t at, lanes x, int64_t left) {
    if (!gradient.data) return;
    act *p = (act *)gradient.data + at;
    if (gradient.add) x += act_get(p, left);
    act_put(p, x, left);
}

/* Σ a ⊙ b; four sums side by side, because one would wait for its own last addition. */
static inline float act_dot(const act *a, const act *b, int64_t count) {
    lanes sum[4] = {lanes_all(0), lanes_all(0), lanes_all(0), lanes_all(0)};
    int64_t c = 0;
    for (; c + 4 * LANES <= count; c += 4 * LANES)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            sum[i] = lanes_multiply_add(act_get(a + c + i * LANES, LANES), act_get(b + c + i * LANES, LANES), sum[i]);
        }
    for (; c < count; c += LANES)
        sum[0] = lanes_multiply_add(act_get(a + c, count - c), act_get(b + c, count - c), sum[0]);
    return lanes_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

#endif

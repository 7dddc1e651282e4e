/* exp, tanh and the logistic function on lanes. Relative errors are under 3·10⁻⁷ (tests/kernel/test_stream.c and test_loss.c measure them).
 * The polynomials are least-squares fits, reweighted until the largest relative error stops falling. Multiplications and
 * additions are written as lanes_multiply_add because the compiler may not reorder those: it would merge the two parts
 * of ln 2. */
#ifndef MOEC_KERNEL_CPU_ISA_LANES_MATH_H
#define MOEC_KERNEL_CPU_ISA_LANES_MATH_H

#include "kernel/cpu/isa/lanes.h"

/* 2^n for integral n in [−126, 127] */
static inline lanes lanes_power_of_two(lanes n) {
#ifdef __AVX512F__
    return _mm512_scalef_ps(lanes_all(1), n);
#else
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
#endif
}

static inline lanes lanes_round(lanes x) {
#ifdef __AVX512F__
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
}

/* eˣ = 2ⁿ eʳ with n = round(x / ln 2), |r| ≤ ln 2 / 2, eʳ = 1 + r + r² p(r). Below −87.33 it stays at the smallest normal
 * number and above 88.3 at the largest e^x that is finite: nothing becomes infinite, and a NaN stays one. */
static inline lanes lanes_exp(lanes x) {
    x = lanes_min(lanes_all(88.3f), lanes_max(lanes_all(-87.33f), x));
    lanes n = lanes_round(x * lanes_all(1.44269504f));
    lanes r = lanes_multiply_add(n, lanes_all(-0.693359375f), x); /* ln 2 in two parts; the first has few bits: exact */
    r = lanes_multiply_add(n, lanes_all(2.12194440e-4f), r);
    lanes p = lanes_all(0.00138144649f);
    p = lanes_multiply_add(p, r, lanes_all(0.00836878084f));
    p = lanes_multiply_add(p, r, lanes_all(0.0416683927f));
    p = lanes_multiply_add(p, r, lanes_all(0.166665196f));
    p = lanes_multiply_add(p, r, lanes_all(0.5f));
    p = lanes_multiply_add(p, r, lanes_all(1));
    return lanes_multiply_add(p, r, lanes_all(1)) * lanes_power_of_two(n);
}

/* tanh x = x p(x²) / q(x²) for |x| ≤ 8.8, where float32's tanh has reached 1. */
static inline lanes lanes_tanh(lanes x) {
    x = lanes_min(lanes_all(8.8f), lanes_max(lanes_all(-8.8f), x));
    lanes s = x * x;
    lanes p = lanes_all(1.37150578e-08f);
    p = lanes_multiply_add(p, s, lanes_all(2.08656848e-05f));
    p = lanes_multiply_add(p, s, lanes_all(0.00351107201f));
    p = lanes_multiply_add(p, s, lanes_all(0.13394036f));
    p = lanes_multiply_add(p, s, lanes_all(1));
    lanes q = lanes_all(7.92295091e-07f);
    q = lanes_multiply_add(q, s, lanes_all(0.000331102699f));
    q = lanes_multiply_add(q, s, lanes_all(0.0259358011f));
    q = lanes_multiply_add(q, s, lanes_all(0.467273549f));
    q = lanes_multiply_add(q, s, lanes_all(1));
    return lanes_min(lanes_all(1), lanes_max(lanes_all(-1), x * p / q));
}

/* σ(x) = 1 / (1 + e⁻ˣ) */
static inline lanes lanes_sigmoid(lanes x) {
    return lanes_all(1) / (lanes_all(1) + lanes_exp(-x));
}

#endif

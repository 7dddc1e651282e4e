/* What the files of attention share. */
#ifndef MOEC_KERNEL_CPU_ISA_ATTENTION_H
#define MOEC_KERNEL_CPU_ISA_ATTENTION_H

#include "kernel/cpu/isa/lanes_math.h"
#include "kernel/cpu/isa/rows.h"

/* So many queries a sequence and fewer (generation) look at the cache as it lies; packing it would cost more. */
enum { FEW_QUERIES = 4 };

#define LOG2_E 1.44269504f
#define LN_2 0.693147181f

/* 2ˣ for x ≤ 127, relative error under 2·10⁻⁷; exactly 0 for x < −150, so that what a mask has put to −∞ counts nothing.
 * 2ˣ = 2ⁿ 2ʳ with n = round(x): minimax polynomial of degree 5 on |r| ≤ ½. A NaN stays one. */
static inline lanes lanes_exp2(lanes x) {
#ifdef __AVX512F__
    x = lanes_max(lanes_all(-160), x);
#else
    x = lanes_max(lanes_all(-127), x); /* 2⁻¹²⁷ is made of exponent bits that are all 0 */
#endif
    lanes n = lanes_round(x), r = x - n;
    lanes p = lanes_all(0.00132764725f);
    p = lanes_multiply_add(p, r, lanes_all(0.00967554096f));
    p = lanes_multiply_add(p, r, lanes_all(0.0555071309f));
    p = lanes_multiply_add(p, r, lanes_all(0.240221202f));
    p = lanes_multiply_add(p, r, lanes_all(0.693146944f));
    p = lanes_multiply_add(p, r, lanes_all(1.00000012f));
#ifdef __AVX512F__
    return _mm512_scalef_ps(p, n);
#else
    return p * lanes_power_of_two(n);
#endif
}

/* A row of head_dim elements in whole vectors. */
static inline int64_t round_up_lanes(int64_t count) {
    return (count + LANES - 1) / LANES * LANES;
}

static inline int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

void KERNEL(attention)(void *y, float *lse, const void *q, const void *k, const void *v, const int32_t *first,
                       const attention_shape *shape);
void KERNEL(attention_few)(void *y, float *lse, const void *q, const void *k, const void *v, const int32_t *first,
                           const attention_shape *shape);
/* One span of more than FEW_QUERIES queries. */
void KERNEL(attention_table)(void *y, const void *q, const void *k, const void *v, cache_type type,
                             const attention_span *span, const attention_shape *shape);
void KERNEL(attention_spans)(void *y, const void *q, const void *k, const void *v, cache_type type,
                             const attention_span *spans, int64_t count, const attention_shape *shape);
void KERNEL(attention_backward)(void *dq, void *dk, void *dv, const void *dy, const void *y, const float *lse,
                                const void *q, const void *k, const void *v, const int32_t *first,
                                const attention_shape *shape);
void KERNEL(xsa)(void *z, const void *y, const void *v, int64_t N, int heads, int kv_heads, int head_dim);
void KERNEL(xsa_backward)(grad_out dy, grad_out dv, const void *dz, const void *y, const void *v, int64_t N, int heads,
                          int kv_heads, int head_dim);
void KERNEL(head_rotate)(void *y, float *rstd, const void *x, const head_args *args, int64_t N);
void KERNEL(head_rotate_backward)(grad_out dx, float *dweight, float *dgain, const void *dy, const void *x,
                                  const float *rstd, const head_args *args, int64_t N);

#endif

/* The kernels of each instruction set and activation type that this machine can run, and arrays of either type. */
#ifndef MOEC_TESTS_KERNEL_VARIANTS_H
#define MOEC_TESTS_KERNEL_VARIANTS_H

#include "base/memory.h"
#include "kernel/cpu/variant.h"
#include <math.h>
#include <stdlib.h>

typedef struct variant {
    const char *name;
    void (*fill_attention)(kernels *table);
    dtype act;
} variant;

static const variant variants[] = {
    {"avx2 f32", fill_attention_avx2_f32, DTYPE_F32},
    {"avx512 f32", fill_attention_avx512_f32, DTYPE_F32},
    {"avx512bf16 bf16", fill_attention_avx512bf16_bf16, DTYPE_BF16},
};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

static inline bool variant_runs_here(int i) {
    if (i == 0) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (i == 1) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    return __builtin_cpu_supports("avx512bf16");
}

static inline float bf16_round(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
    memcpy(&x, &bits, 4);
    return x;
}

static inline float act_at(dtype type, const void *x, int64_t i) {
    if (type == DTYPE_F32) return ((const float *)x)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)x)[i] << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline void act_set(dtype type, void *x, int64_t i, float value) {
    if (type == DTYPE_F32) {
        ((float *)x)[i] = value;
        return;
    }
    float rounded = bf16_round(value);
    uint32_t bits;
    memcpy(&bits, &rounded, 4);
    ((uint16_t *)x)[i] = (uint16_t)(bits >> 16);
}

/* Uniform in [−1, 1), the same sequence in every run. */
static inline float random_value(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*seed >> 11) / (1ull << 52) - 1);
}

/* An array of act with random values, which are exactly representable in it; `copy` (or NULL) gets them as doubles. */
static inline void *act_random(dtype type, int64_t count, float size, uint64_t *seed, double *copy) {
    void *x = xmalloc((size_t)count * 4);
    for (int64_t i = 0; i < count; i++) {
        act_set(type, x, i, random_value(seed) * size);
        if (copy) copy[i] = act_at(type, x, i);
    }
    return x;
}

static inline void *act_constant(dtype type, int64_t count, float value) {
    void *x = xmalloc((size_t)count * 4);
    for (int64_t i = 0; i < count; i++) act_set(type, x, i, value);
    return x;
}

static inline double *doubles(int64_t count) {
    return xcalloc((size_t)count, sizeof(double));
}

#endif

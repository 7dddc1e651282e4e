/* What the tests of float32 parameters share: the tables of this CPU, and arrays of normal numbers. */
#ifndef MOEC_TESTS_KERNEL_PARAMS_H
#define MOEC_TESTS_KERNEL_PARAMS_H

#include "operation.h"

#include "base/random.h"

static kernels tables[MAX_TABLES];
static int table_count;

static inline void find_tables(void) {
    table_count = test_tables(tables, fill_params_avx2_f32, fill_params_avx512_f32, fill_params_avx512bf16_bf16);
}

/* The same numbers for the same seed. */
static inline float *normal_floats(int64_t count, uint64_t seed, float std) {
    rng r = rng_seed(seed);
    float *x = zeros(count, sizeof *x);
    rng_normal(&r, x, (size_t)count, std);
    return x;
}

/* The mean of bf16 numbers. */
static inline double bf16_mean(const uint16_t *x, int64_t count) {
    double total = 0;
    for (int64_t i = 0; i < count; i++) {
        const uint32_t bits = (uint32_t)x[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        total += value;
    }
    return total / (double)count;
}

#endif

/* How the row kernels are tested, without a device between: the functions of each instruction set that this CPU has are
 * taken directly, device memory is host memory.
 *
 * An `operation` is a naive forward pass in double precision. A kernel's forward pass must give the same values; its
 * backward pass must give the finite differences of Σ dy ⊙ out in the naive one. */
#ifndef MOEC_TESTS_KERNEL_OPERATION_H
#define MOEC_TESTS_KERNEL_OPERATION_H

#include "test.h"

#include "kernel/cpu/variant.h"
#include <math.h>

enum { MAX_INPUTS = 4, MAX_TABLES = 3 };

typedef struct operation {
    void (*forward)(struct operation *op); /* out from in */
    int inputs;
    double *in[MAX_INPUTS]; /* values that act can hold */
    int64_t count[MAX_INPUTS];
    double *out;
    int64_t outs;
    /* what the passes need to know; unused ones are 0 */
    int64_t N, d, B, T, width, E, R;
    int k;
    activation f;
    double scale, cap, eps;
    bool renormalize;
    const int32_t *first, *ids, *slot, *source, *chosen, *counts;
    const double *carry;
} operation;

/* What happens to the gradients of activations. Gradients of parameters are always added to what is there. */
typedef enum gradient_mode { OVERWRITE, ADD, UNWANTED } gradient_mode;

static uint64_t test_seed = 1;

static inline double random_value(void) {
    test_seed = test_seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(test_seed >> 33) / (double)(1u << 30) - 1; /* [−1, 1) */
}

static inline int64_t random_below(int64_t n) {
    return (int64_t)((random_value() + 1) / 2 * (double)n);
}

static inline void *zeros(int64_t count, size_t bytes) {
    void *p = calloc(count > 0 ? (size_t)count : 1, bytes);
    assert_non_null(p);
    return p;
}

/* ---- activations ------------------------------------------------------------------------------------------------- */

static inline double act_read(const kernels *k, const void *data, int64_t i) {
    if (k->act == DTYPE_F32) return ((const float *)data)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)data)[i] << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* Cuts bf16 off rather than rounding it: for values that are meant to be what bf16 can hold. */
static inline void act_write(const kernels *k, void *data, int64_t i, double value) {
    float x = (float)value;
    if (k->act == DTYPE_F32)
        ((float *)data)[i] = x;
    else
        memcpy((uint16_t *)data + i, (char *)&x + 2, 2);
}

static inline size_t act_bytes(const kernels *k) {
    return k->act == DTYPE_F32 ? 4 : 2;
}

static inline void *act_array(const kernels *k, const double *values, int64_t count) {
    void *data = zeros(count, act_bytes(k));
    for (int64_t i = 0; i < count; i++) act_write(k, data, i, values ? values[i] : NAN);
    return data;
}

static inline float *float_array(const double *values, int64_t count) {
    float *data = zeros(count, sizeof(float));
    for (int64_t i = 0; i < count; i++) data[i] = values ? (float)values[i] : NAN;
    return data;
}

/* Random values up to `scale` that an act can hold. */
static inline double *random_array(const kernels *k, int64_t count, double scale) {
    double *values = zeros(count, sizeof(double));
    for (int64_t i = 0; i < count; i++) {
        float cell;
        act_write(k, &cell, 0, scale * random_value());
        values[i] = act_read(k, &cell, 0);
    }
    return values;
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

static inline void operation_input(const kernels *k, operation *op, int64_t count, double scale) {
    op->in[op->inputs] = random_array(k, count, scale);
    op->count[op->inputs++] = count;
}

static inline void operation_run(operation *op, int64_t outs) {
    op->outs = outs;
    op->out = zeros(outs, sizeof(double));
    op->forward(op);
}

static inline void operation_free(operation *op) {
    for (int i = 0; i < op->inputs; i++) free(op->in[i]);
    free(op->out);
}

static inline double operation_objective(operation *op, const double *dy) {
    double sum = 0;
    op->forward(op);
    for (int64_t i = 0; i < op->outs; i++) sum += dy[i] * op->out[i];
    return sum;
}

static inline double operation_slope(operation *op, int input, int64_t i, const double *dy) {
    double *x = &op->in[input][i], was = *x, step = 1e-5 * fmax(1, fabs(was));
    *x = was + step;
    double above = operation_objective(op, dy);
    *x = was - step;
    double below = operation_objective(op, dy);
    *x = was;
    return (above - below) / (2 * step);
}

/* ---- comparisons ------------------------------------------------------------------------------------------------- */

/* float32 sums of some hundred terms; or an act's rounding, for bf16 by half of 2⁻⁷. */
static inline void assert_near(const kernels *k, bool is_act, const char *name, int64_t i, double got, double want,
                               double largest) {
    double relative = is_act && k->act == DTYPE_BF16 ? 0.0042 : 2e-5;
    if (fabs(got - want) <= relative * fabs(want) + 4e-6 * largest) return;
    fail_msg("%s: %s[%ld] is %.9g, should be %.9g", k->name, name, (long)i, got, want);
}

static inline double largest_of(const double *x, int64_t count) {
    double largest = 0;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(x[i]));
    return largest;
}

static inline void assert_acts(const kernels *k, const char *name, const void *got, const double *want, int64_t count) {
    double largest = largest_of(want, count);
    for (int64_t i = 0; i < count; i++) assert_near(k, true, name, i, act_read(k, got, i), want[i], largest);
}

static inline void assert_floats(const kernels *k, const char *name, const float *got, const double *want,
                                 int64_t count) {
    double largest = largest_of(want, count);
    for (int64_t i = 0; i < count; i++) assert_near(k, false, name, i, got[i], want[i], largest);
}

/* A gradient on its way through a kernel: what was there before, and where the kernel puts its own. */
typedef struct gradient {
    double *before; /* 0 where it is to be overwritten */
    void *data;     /* act or float32 */
    bool is_act;
} gradient;

static inline gradient gradient_of_act(const kernels *k, const operation *op, int input, gradient_mode mode) {
    if (mode == UNWANTED) return (gradient){.is_act = true};
    gradient g = {.is_act = true, .before = random_array(k, op->count[input], mode == ADD)};
    g.data = act_array(k, mode == ADD ? g.before : NULL, op->count[input]);
    return g;
}

static inline gradient gradient_of_param(const kernels *k, const operation *op, int input) {
    gradient g = {.before = random_array(k, op->count[input], 1)};
    g.data = float_array(g.before, op->count[input]);
    return g;
}

static inline grad_out gradient_out(gradient g, gradient_mode mode) {
    return (grad_out){g.data, mode == ADD};
}

/* Compare with finite differences at all elements; where there are many, at the first, the last and some others. Frees
 * g. */
static inline void gradient_check(const kernels *k, operation *op, const char *name, int input, gradient g,
                                  const double *dy) {
    enum { SOME = 20 };
    int64_t count = op->count[input], checks = count < SOME ? count : SOME;
    double want[SOME], largest = 0;
    int64_t where[SOME];
    for (int64_t c = 0; g.data && c < checks; c++) {
        where[c] = count < SOME || c == 0 ? c : c == 1 ? count - 1 : random_below(count);
        want[c] = operation_slope(op, input, where[c], dy) + g.before[where[c]];
        largest = fmax(largest, fabs(want[c]));
    }
    for (int64_t c = 0; g.data && c < checks; c++) {
        double got = g.is_act ? act_read(k, g.data, where[c]) : ((float *)g.data)[where[c]];
        assert_near(k, g.is_act, name, where[c], got, want[c], largest);
    }
    free(g.before);
    free(g.data);
}

/* ---- the tables of this CPU -------------------------------------------------------------------------------------- */

typedef void (*fill)(kernels *table);

/* One table for each instruction set that this CPU has; returns how many. */
static inline int test_tables(kernels tables[MAX_TABLES], fill avx2, fill avx512, fill bf16) {
    int count = 0;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        tables[count] = (kernels){.name = "avx2 f32", .act = DTYPE_F32};
        avx2(&tables[count++]);
    }
    bool avx512_here = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (avx512_here) {
        tables[count] = (kernels){.name = "avx512 f32", .act = DTYPE_F32};
        avx512(&tables[count++]);
    }
    if (avx512_here && __builtin_cpu_supports("avx512bf16")) {
        tables[count] = (kernels){.name = "avx512bf16 bf16", .act = DTYPE_BF16};
        bf16(&tables[count++]);
    }
    return count;
}

#endif

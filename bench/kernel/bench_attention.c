/* GFLOP/s of attention, forward and backward, and the bandwidth of what stands around it (head_rotate, xsa).
 * Only the causal half counts: 2 products forward, 5 backward, of heads · T(T + 1)/2 · head_dim multiply-adds a sequence.
 * Usage: bench_attention [f32|bf16] [repeats (7)] */
#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "kernel/kernel.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench_case {
    const char *what;
    attention_shape shape;
} bench_case;

#define SHAPE(b, t, n, h, kv, d)                                                                                       \
    {                                                                                                                  \
        .batch = b, .queries = t, .keys = n, .heads = h, .kv_heads = kv, .head_dim = d, .q_stride = h * d,             \
        .kv_stride = kv * d, .kv_batch_stride = (int64_t)n * kv * d                                                    \
    }

static const bench_case cases[] = {
    {"training, T 1024", SHAPE(4, 1024, 1024, 8, 4, 64)},
    {"training, T 2048", SHAPE(4, 2048, 2048, 8, 4, 64)},
    {"training, T 256", SHAPE(16, 256, 256, 8, 4, 64)},
    {"head_dim 32", SHAPE(4, 1024, 1024, 8, 4, 32)},
    {"head_dim 80", SHAPE(4, 1024, 1024, 8, 4, 80)},
    {"head_dim 128", SHAPE(4, 1024, 1024, 4, 2, 128)},
    {"generation, 1 of 2048", SHAPE(1, 1, 2048, 8, 4, 64)},
    {"a prompt of 64 behind 1984", SHAPE(1, 64, 2048, 8, 4, 64)},
};

/* One case's arrays. */
typedef struct arrays {
    const kernels *kernels;
    const attention_shape *shape;
    void *q, *k, *v, *y, *dy, *dq, *dk, *dv;
    float *lse, *rstd, *dgain;
    head_args heads; /* of q: norm, gain and the rotation of ROTATED channels */
} arrays;

enum { ROTATED = 16 };

static void *random_act(const kernels *k, int64_t count) {
    rng r = rng_seed(1);
    float *values = xmalloc((size_t)count * 4);
    for (int64_t i = 0; i < count; i++) values[i] = (float)rng_uniform(&r) * 4 - 2;
    void *data;
    if (k->alloc(&data, (size_t)count * dtype_bytes(k->act)) != STATUS_OK) exit(1);
    k->to_act(data, values, count);
    free(values);
    return data;
}

static void run_forward(arrays *a) {
    a->kernels->attention(a->y, a->lse, a->q, a->k, a->v, NULL, a->shape);
}
static void run_backward(arrays *a) {
    a->kernels->attention_backward(a->dq, a->dk, a->dv, a->dy, a->y, a->lse, a->q, a->k, a->v, NULL, a->shape);
}
static void run_rotate(arrays *a) {
    const attention_shape *s = a->shape;
    a->kernels->head_rotate(a->dq, a->rstd, a->q, &a->heads, s->batch * s->queries);
}
static void run_rotate_backward(arrays *a) {
    const attention_shape *s = a->shape;
    a->kernels->head_rotate_backward((grad_out){a->dq, false}, NULL, a->dgain, a->dy, a->q, a->rstd, &a->heads,
                                     s->batch * s->queries);
}
static void run_xsa(arrays *a) {
    const attention_shape *s = a->shape;
    a->kernels->xsa(a->dq, a->y, a->v, s->batch * s->queries, s->heads, s->kv_heads, s->head_dim);
}
static void run_xsa_backward(arrays *a) {
    const attention_shape *s = a->shape;
    a->kernels->xsa_backward((grad_out){a->dq, false}, (grad_out){a->dv, false}, a->dy, a->y, a->v,
                             s->batch * s->queries, s->heads, s->kv_heads, s->head_dim);
}

static double best_seconds(void (*f)(arrays *), arrays *a, int repeats) {
    double best = 1e9;
    for (int i = 0; i < repeats; i++) {
        double start = clock_seconds();
        f(a);
        double seconds = clock_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    return best;
}

static void print_bandwidth(const char *what, double seconds, double bytes) {
    printf("  %-24s %8.3f ms %7.1f GB/s\n", what, seconds * 1e3, bytes / seconds * 1e-9);
}

/* Cosines and sines of no particular angles: the time does not depend on them. */
static head_args make_heads(const attention_shape *s, const float *gain, rotary_table *table, float *values,
                            int32_t *positions) {
    for (int64_t i = 0; i < s->queries * ROTATED; i++) values[i] = (float)(i % 7) / 7;
    for (int64_t n = 0; n < s->batch * s->queries; n++) positions[n] = (int32_t)(n % s->queries);
    *table = (rotary_table){.values = values, .positions = s->queries, .dims = ROTATED};
    return (head_args){.heads = s->heads,
                       .head_dim = s->head_dim,
                       .norm = true,
                       .eps = 1e-6f,
                       .gain = gain,
                       .rotary = table,
                       .positions = positions};
}

/* What stands around attention, in bytes of activations read and written. */
static void bench_rows(arrays *a, int repeats) {
    const attention_shape *s = a->shape;
    double rows = (double)(s->batch * s->queries) * (double)dtype_bytes(a->kernels->act);
    double q = rows * (double)s->q_stride, v = rows * (double)s->kv_stride;
    float *gain = xcalloc((size_t)s->heads, sizeof *gain);
    float *values = xmalloc((size_t)(s->queries * ROTATED) * sizeof *values);
    int32_t *positions = xmalloc((size_t)(s->batch * s->queries) * sizeof *positions);
    rotary_table table;
    a->heads = make_heads(s, gain, &table, values, positions);
    print_bandwidth("head_rotate", best_seconds(run_rotate, a, repeats), 2 * q);
    print_bandwidth("head_rotate_backward", best_seconds(run_rotate_backward, a, repeats), 3 * q);
    print_bandwidth("xsa", best_seconds(run_xsa, a, repeats), 2 * q + v);
    print_bandwidth("xsa_backward", best_seconds(run_xsa_backward, a, repeats), 3 * q + 2 * v);
    free(gain), free(values), free(positions);
}

static void bench(const kernels *k, const bench_case *c, int repeats) {
    const attention_shape *s = &c->shape;
    int64_t q = s->batch * s->queries * s->q_stride, kv = s->batch * s->kv_batch_stride;
    int64_t statistics = s->batch * s->queries * s->heads + s->heads;
    arrays a = {.kernels = k, .shape = s};
    void **q_like[] = {&a.q, &a.y, &a.dy, &a.dq}, **kv_like[] = {&a.k, &a.v, &a.dk, &a.dv};
    float **float_like[] = {&a.lse, &a.rstd, &a.dgain};
    for (int i = 0; i < 4; i++) *q_like[i] = random_act(k, q);
    for (int i = 0; i < 4; i++) *kv_like[i] = random_act(k, kv);
    for (int i = 0; i < 3; i++) *float_like[i] = xcalloc((size_t)statistics, sizeof(float));
    double seen = (double)s->queries * ((double)(s->keys - s->queries) + (double)(s->queries + 1) / 2);
    double product = 2 * seen * (double)s->batch * s->heads * s->head_dim;
    double forward = best_seconds(run_forward, &a, repeats);
    printf("%-28s forward %8.3f ms %5.0f GFLOP/s", c->what, forward * 1e3, 2 * product / forward * 1e-9);
    if (s->queries == s->keys) {
        double backward = best_seconds(run_backward, &a, repeats);
        printf("   backward %8.3f ms %5.0f GFLOP/s", backward * 1e3, 5 * product / backward * 1e-9);
    }
    printf("\n");
    if (c == &cases[0]) bench_rows(&a, repeats);
    for (int i = 0; i < 4; i++) k->release(*q_like[i]);
    for (int i = 0; i < 4; i++) k->release(*kv_like[i]);
    for (int i = 0; i < 3; i++) free(*float_like[i]);
}

int main(int count, char **arguments) {
    dtype act = kernels_best_act();
    if (count > 1) act = strcmp(arguments[1], "f32") ? DTYPE_BF16 : DTYPE_F32;
    int repeats = count > 2 ? atoi(arguments[2]) : 7;
    const kernels *k = kernels_for(act);
    if (!k || repeats < 1) {
        fprintf(stderr, "usage: bench_attention [f32|bf16] [repeats]; bf16 needs AVX512-BF16\n");
        return 2;
    }
    printf("%s, %d threads\n", k->name, kernels_threads());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) bench(k, &cases[i], repeats);
    return 0;
}

/* GFLOP/s of the products at the shapes of the 30.5 M-parameter model (9 layers, d 512, h 2048, V 8192), and the time of
 * one Muon step over its matrices. Usage: bench_products [tokens (4096)] [f32|bf16] */
#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "kernel/kernel.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 8, LAYERS = 9 };

static void *random_act(const kernels *k, int64_t count) {
    rng r = rng_seed(1);
    float *values = xmalloc((size_t)count * 4);
    for (int64_t i = 0; i < count; i++) values[i] = (float)rng_uniform(&r) - 0.5f;
    void *data;
    if (k->alloc(&data, (size_t)count * dtype_bytes(k->act)) != STATUS_OK) exit(1);
    k->to_act(data, values, count);
    free(values);
    return data;
}

static float *random_floats(const kernels *k, int64_t count) {
    return random_act(kernels_for(DTYPE_F32) ? kernels_for(DTYPE_F32) : k, count);
}

/* One layer's product at one number of rows: everything that a call needs. */
typedef struct sample {
    const kernels *k;
    weight w;
    int64_t N;
    void *x, *y, *dx;
    float *dw, *values;
    dtype y_type;
} sample;

static void run_forward(sample *s) {
    s->k->linear(s->y, s->y_type, s->x, &s->w, s->N);
}
static void run_backward_input(sample *s) {
    s->k->linear_backward_input((grad_out){s->dx, false}, s->y, &s->w, s->N);
}
static void run_backward_input_add(sample *s) {
    s->k->linear_backward_input((grad_out){s->dx, true}, s->y, &s->w, s->N);
}
static void run_backward_weight(sample *s) {
    s->k->linear_backward_weight(s->dw, s->y, s->x, &s->w, s->N);
}
/* What an optimiser step adds: the conversion, and packing for both directions (seen with few rows). */
static void run_update(sample *s) {
    s->k->weight_update(&s->w, s->values, 0, s->w.rows);
    s->k->linear(s->y, s->y_type, s->x, &s->w, 1);
    s->k->linear_backward_input((grad_out){s->dx, false}, s->y, &s->w, 1);
}

static double best_seconds(void (*f)(sample *), sample *s) {
    double best = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        double start = clock_seconds();
        f(s);
        double seconds = clock_seconds() - start;
        if (seconds < best) best = seconds;
    }
    return best;
}

static void bench_shape(const kernels *k, int64_t rows, int64_t cols, int64_t N, dtype y_type) {
    sample s = {.k = k, .N = N, .y_type = y_type, .values = random_floats(k, rows * cols)};
    if (k->weight_create(&s.w, rows, cols, NULL) != STATUS_OK) exit(1);
    k->weight_update(&s.w, s.values, 0, s.w.rows);
    s.x = random_act(k, N * cols), s.y = random_act(k, N * rows * 2), s.dx = random_act(k, N * cols);
    s.dw = random_floats(k, rows * cols);
    double flop = 2e-9 * (double)(rows * cols * N);
    printf("%5lld × %-5lld N %-5lld  fwd %4.0f  dx %4.0f  dx+= %4.0f  dW %4.0f GFLOP/s   update %.2f ms\n",
           (long long)rows, (long long)cols, (long long)N, flop / best_seconds(run_forward, &s),
           flop / best_seconds(run_backward_input, &s), flop / best_seconds(run_backward_input_add, &s),
           flop / best_seconds(run_backward_weight, &s), 1e3 * best_seconds(run_update, &s));
    fflush(stdout);
    k->release(s.x), k->release(s.y), k->release(s.dx), k->release(s.dw), k->release(s.values);
    k->weight_destroy(&s.w);
}

static void bench_muon(const kernels *k) {
    static const int64_t shapes[][2] = {{512, 512}, {256, 512}, {256, 512}, {512, 512}, {2048, 512}, {512, 2048}};
    muon_args args = {.lr = 0.02f,
                      .momentum = 0.95f,
                      .weight_decay = 0.095f,
                      .newton_schulz_steps = 5,
                      .nesterov = true,
                      .row_normalize = true};
    enum { SHAPES = sizeof shapes / sizeof *shapes };
    float *w[LAYERS][SHAPES], *buffer[LAYERS][SHAPES], *grad[LAYERS][SHAPES];
    for (int l = 0; l < LAYERS; l++)
        for (int s = 0; s < SHAPES; s++) {
            int64_t count = shapes[s][0] * shapes[s][1];
            w[l][s] = random_floats(k, count), buffer[l][s] = random_floats(k, count),
            grad[l][s] = random_floats(k, count);
        }
    double best = 1e9, of_shape[SHAPES];
    for (int s = 0; s < SHAPES; s++) of_shape[s] = 1e9;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = clock_seconds();
        for (int l = 0; l < LAYERS; l++)
            for (int s = 0; s < SHAPES; s++) {
                double before = clock_seconds();
                k->muon(w[l][s], buffer[l][s], grad[l][s], NULL, shapes[s][0], shapes[s][1], &args);
                of_shape[s] = fmin(of_shape[s], clock_seconds() - before);
            }
        double seconds = clock_seconds() - start;
        if (seconds < best) best = seconds;
    }
    printf("muon, %d layers: %.3f s a step (", LAYERS, best);
    for (int s = 0; s < SHAPES; s++)
        printf("%s%lld × %lld %.1f ms", s ? ", " : "", (long long)shapes[s][0], (long long)shapes[s][1],
               1e3 * of_shape[s]);
    printf(")\n");
    for (int l = 0; l < LAYERS; l++)
        for (int s = 0; s < SHAPES; s++) k->release(w[l][s]), k->release(buffer[l][s]), k->release(grad[l][s]);
}

static void bench_adam(const kernels *k) {
    int64_t count = 8192 * 512;
    float *w = random_floats(k, count), *m = random_floats(k, count), *v = random_floats(k, count);
    float *g = random_floats(k, count);
    k->zero(v, (size_t)count * 4);
    adam_args args = {.lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .step = 1};
    double best = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        double start = clock_seconds();
        k->adam(w, m, v, g, NULL, count, &args);
        double seconds = clock_seconds() - start;
        if (seconds < best) best = seconds;
    }
    printf("adam, 8192 × 512: %.2f ms\n", 1e3 * best);
    k->release(w), k->release(m), k->release(v), k->release(g);
}

int main(int argc, char **argv) {
    int64_t N = argc > 1 ? atoll(argv[1]) : 4096;
    dtype act = argc > 2 ? (strcmp(argv[2], "f32") == 0 ? DTYPE_F32 : DTYPE_BF16) : kernels_best_act();
    const kernels *k = kernels_check() == STATUS_OK ? kernels_for(act) : NULL;
    if (!k || N < 1) {
        fprintf(stderr, "bench_products: %s\n", k ? "tokens: expected a positive number" : error_message());
        return 1;
    }
    printf("%s, %d threads\n", k->name, kernels_threads());
    static const int64_t shapes[][2] = {{512, 512}, {256, 512}, {2048, 512}, {512, 2048}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) bench_shape(k, shapes[s][0], shapes[s][1], N, act);
    bench_shape(k, 8192, 512, N < 512 ? N : 512, DTYPE_F32); /* logits, in pieces */
    bench_shape(k, 8192, 512, N, DTYPE_F32);
    for (int64_t rows = 1; rows <= 32; rows *= 8) bench_shape(k, 2048, 512, rows, act); /* generation */
    bench_muon(k);
    bench_adam(k);
    return 0;
}

/* Products of packed weights (integers) beside those of floats and of codes with exact inputs, at the shapes of
 * SmolLM2-135M: GOP/s, and of one row of x GB/s of the weight's bytes. So many copies of a weight are multiplied one after another as a model has
 * layers, so that they come from where a model's come from. The least of several times counts.
 * Usage: bench_packed [f32|bf16: of the activations (f32)] [MB of copies (128)] */
#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "kernel/cpu/packed.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 7, MOST_COPIES = 256 };

typedef enum form { FLOATS, CODES, PACKED_8, PACKED_4, PACKED_16, FORMS } form;
static const char *const form_names[FORMS] = {"floats", "codes", "packed 8", "packed 4", "8, 16 in"};

static void must(status s) {
    if (s == STATUS_OK) return;
    fprintf(stderr, "bench_packed: %s\n", error_message());
    exit(1);
}

static void make_dense(const kernels *k, weight *w, int64_t rows, int64_t cols, const float *values) {
    must(k->weight_create(w, rows, cols, NULL));
    k->weight_update(w, values, 0, rows);
}

static void make(const kernels *k, weight *w, form f, int64_t rows, int64_t cols, const float *values) {
    if (f == FLOATS) {
        make_dense(k, w, rows, cols, values);
        return;
    }
    quantized q = quantized_alloc(rows, cols, 32, f == PACKED_4);
    quantized_round_rows(&q, f == PACKED_4 ? 4 : 8, 0, rows, values);
    must(f == CODES ? k->weight_quantized(w, &q, NULL) : k->weight_packed(w, &q, f == PACKED_16 ? 16 : 8, NULL));
    quantized_free(&q);
}

static double weight_bytes(const kernels *k, const weight *w) {
    if (w->packed) return (double)w->packed_bytes;
    if (w->quantized) return (double)(w->rows * (w->cols + 4 * quantized_groups(w->quantized)));
    return (double)(w->rows * w->cols) * (double)dtype_bytes(k->act);
}

static double best_seconds(const kernels *k, const weight *w, int copies, void *y, const void *x, int64_t N) {
    double best = 1e9;
    for (int i = 0; i <= REPEATS; i++) {
        const double start = clock_seconds();
        for (int c = 0; c < copies; c++) k->linear(y, k->act, x, &w[c], N);
        const double seconds = (clock_seconds() - start) / copies;
        if (i > 0 && seconds < best) best = seconds; /* the first time floats are packed */
    }
    return best;
}

static void bench_shape(const kernels *k, int64_t rows, int64_t cols, double megabytes) {
    static const int64_t counts[] = {1, 4, 16, 64, 512};
    float *values = xmalloc((size_t)(rows * cols) * sizeof *values);
    rng r = rng_seed(1);
    void *x, *y;
    must(k->alloc(&x, (size_t)(512 * cols) * 4));
    must(k->alloc(&y, (size_t)(512 * rows) * 4));
    rng_normal(&r, values, (size_t)(rows * cols), 0.05);
    for (int64_t i = 0; i < 512; i++)
        k->to_act((char *)x + (size_t)(i * cols) * dtype_bytes(k->act), values + i % rows * cols, cols);
    for (form f = FLOATS; f < FORMS; f++) {
        weight w[MOST_COPIES];
        make(k, &w[0], f, rows, cols, values);
        int copies = (int)(megabytes * 1e6 / weight_bytes(k, &w[0])) + 1;
        copies = copies > MOST_COPIES ? MOST_COPIES : copies;
        for (int c = 1; c < copies; c++) make(k, &w[c], f, rows, cols, values);
        printf("%6lld x %-5lld %-9s", (long long)rows, (long long)cols, form_names[f]);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            const int64_t N = counts[i];
            const double seconds = best_seconds(k, w, N > 16 && copies > 4 ? 4 : copies, y, x, N);
            printf("  %3lld: %6.0f GOP/s", (long long)N, 2e-9 * (double)(rows * cols * N) / seconds);
            if (N == 1) printf(" %5.1f GB/s", 1e-9 * weight_bytes(k, &w[0]) / seconds);
        }
        printf("\n");
        fflush(stdout);
        for (int c = 0; c < copies; c++) k->weight_destroy(&w[c]);
    }
    k->release(x), k->release(y), free(values);
}

int main(int argc, char **argv) {
    const dtype act = argc > 1 && strcmp(argv[1], "bf16") == 0 ? DTYPE_BF16 : DTYPE_F32;
    const double megabytes = argc > 2 ? atof(argv[2]) : 128;
    must(kernels_check());
    const kernels *k = kernels_for(act);
    if (!k) return 1;
    printf("%s, %s, %d threads\n", k->name, packed_taken->name, kernels_threads());
    static const int64_t shapes[][2] = {{576, 576}, {192, 576}, {3072, 576}, {576, 1536}, {49152, 576}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) bench_shape(k, shapes[s][0], shapes[s][1], megabytes);
    return 0;
}

/* Tokens/s of a model that is run as floats and from codes: decoding 1, 4, 16 and 64 texts side by side, a token of each at a
 * time, and reading a prompt of 512 tokens in pieces of 256, as moec generate does. Every way in turn, several rounds; the
 * fastest step of all counts, and beside it stand the bytes of weights that it read a second, and what one can read of memory
 * that is as large.
 *   cc -O2 -std=gnu17 -D_GNU_SOURCE -Isrc -fopenmp bench/run/bench_run.c -Wl,--start-group build/floors/*.a -Wl,--end-group ...
 *   bench_run MODEL [rounds (3)] */
#include "base/memory.h"
#include "base/progress.h"
#include "nn/pass.h"
#include "store/open.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 60, PROMPT = 512, PIECE = 256, MOST = 64, WAYS = 5, CASES = 5 };

static const struct {
    const char *name;
    model_use use;
    dtype act;
} ways[WAYS] = {{"floats, bf16", MODEL_RUN, DTYPE_BF16},
                {"floats, f32", MODEL_RUN, DTYPE_F32},
                {"stored codes, inputs 16", MODEL_RUN_STORED, DTYPE_F32},
                {"stored codes, inputs 8", (model_use)(MODEL_RUN_STORED | MODEL_RUN_INPUTS_8), DTYPE_F32},
                {"run-bits 8, inputs 16", MODEL_RUN_8, DTYPE_F32}};

static void must(status s) {
    if (s == STATUS_OK) return;
    fprintf(stderr, "bench_run: %s\n", error_message());
    exit(1);
}

static double weight_bytes(const model *m) {
    double bytes = 0;
    for (int i = 0; i < m->param_count; i++) {
        const weight *w = &m->params[i]->matrix;
        if (m->params[i]->is_matrix)
            bytes += w->packed ? (double)w->packed_bytes : (double)(w->rows * w->cols) * (double)dtype_bytes(m->k->act);
    }
    return bytes;
}

/* The fastest of `steps` steps of `count` tokens for each of `batch` texts, in s; prompts begin anew each time. */
static double fastest(model *m, int64_t batch, int64_t count, int steps) {
    pass *p;
    kv_cache *cache;
    int32_t ids[PROMPT];
    float *logits = xmalloc((size_t)(batch * m->config.vocab_size) * sizeof *logits);
    double best = 1e9;
    for (int i = 0; i < PROMPT; i++) ids[i] = (int32_t)((i * 37 + 100) % m->config.vocab_size);
    must(pass_create(&p, m));
    must(kv_cache_create(&cache, m, batch, count > 1 ? count : steps));
    for (int s = 0; s < steps; s++) {
        for (int64_t b = 0; b < batch && count > 1; b++) kv_cache_cut(cache, b, 0);
        const double start = clock_seconds();
        for (int64_t at = 0; at < count; at += PIECE)
            must(pass_decode(p, cache, ids + at, count - at < PIECE ? count - at : PIECE, logits));
        const double seconds = clock_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    kv_cache_destroy(cache);
    pass_destroy(p);
    free(logits);
    return best;
}

/* GB/s of summing an array of that many bytes, by all threads. */
static double read_rate(double bytes) {
    const int64_t count = (int64_t)bytes / 4;
    float *x;
    double best = 1e9, sum = 0;
    must(kernels_for(DTYPE_F32)->alloc((void **)&x, (size_t)count * sizeof *x));
    for (int64_t i = 0; i < count; i++) x[i] = 1;
    for (int r = 0; r < 15; r++) {
        float total = 0;
        const double start = clock_seconds();
#pragma omp parallel for simd reduction(+ : total) schedule(static)
        for (int64_t i = 0; i < count; i++) total += x[i];
        const double seconds = clock_seconds() - start;
        best = seconds < best ? seconds : best;
        sum += (double)total;
    }
    kernels_for(DTYPE_F32)->release(x);
    return sum > 0 ? bytes / best * 1e-9 : 0;
}

static void measure(const char *path, int way, double seconds[CASES], double *bytes) {
    static const int64_t batches[CASES - 1] = {1, 4, 16, MOST};
    const kernels *k = kernels_for(ways[way].act);
    model *m;
    tokenizer *tok;
    if (!k) return;
    must(open_model(path, k, "chosen", ways[way].use, &m, &tok, NULL));
    *bytes = weight_bytes(m);
    for (int c = 0; c < CASES; c++) {
        const double s =
            c < CASES - 1 ? fastest(m, batches[c], 1, batches[c] > 4 ? STEPS / 4 : STEPS) : fastest(m, 1, PROMPT, 4);
        seconds[c] = seconds[c] == 0 || s < seconds[c] ? s : seconds[c];
    }
    model_destroy(m);
    tokenizer_close(tok);
}

int main(int argc, char **argv) {
    const int rounds = argc > 2 ? atoi(argv[2]) : 3;
    double seconds[WAYS][CASES] = {{0}}, bytes[WAYS] = {0};
    if (argc < 2) return 2;
    must(kernels_check());
    for (int r = 0; r < rounds; r++)
        for (int w = 0; w < WAYS; w++) measure(argv[1], w, seconds[w], &bytes[w]);
    printf("%s, %d threads, the fastest step of %d rounds; tokens/s\n", kernels_isa(), kernels_threads(), rounds);
    printf("| way | MB of weights | 1 text | 4 | 16 | 64 | prompt of 512 | GB/s of weights at 1 | GB/s that can be "
           "read |\n");
    printf("|---|---|---|---|---|---|---|---|---|\n");
    for (int w = 0; w < WAYS; w++) {
        if (bytes[w] == 0) continue;
        const double *s = seconds[w];
        printf("| %s | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.1f | %.1f |\n", ways[w].name, bytes[w] * 1e-6,
               1 / s[0], 4 / s[1], 16 / s[2], MOST / s[3], PROMPT / s[4], bytes[w] / s[0] * 1e-9, read_rate(bytes[w]));
    }
    return 0;
}

/* Attention to keys and values in blocks: what the block's size costs beside rows that lie one behind another, of a model as wide as
 * SmolLM2-135M (9 heads, 3 of keys, 64 numbers each). One token of 1 or 16 texts, and a piece of 256 tokens of a prompt, behind `keys`
 * tokens. All sizes see the same rows, through tables that scatter the blocks or have them in order, in turns; of each the median and the fastest of all rounds.
 *   cc -O2 -std=gnu17 -D_GNU_SOURCE -Isrc -fopenmp bench/run/bench_blocks.c -Wl,--start-group build/floors/*.a -Wl,--end-group ...
 *   bench_blocks [keys (1024)] [rounds (40)] */
#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "kernel/kernel.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS = 9, KV_HEADS = 3, DIM = 64, LAYERS = 12, TEXTS = 16, PIECE = 256, SIZES = 7, CASES = 3 };
static const int64_t sizes[SIZES] = {0 /* all keys */, -64 /* in order */, 16, 32, 64, 128, 256};
static const struct {
    const char *name;
    int64_t texts, queries;
} cases[CASES] = {{"1 text", 1, 1}, {"16 texts", TEXTS, 1}, {"a piece of 256", 1, PIECE}};
static const char *const types[] = {"f32", "bf16", "int8"};

static void must(status s) {
    if (s == STATUS_OK) return;
    fprintf(stderr, "bench_blocks: %s\n", error_message());
    exit(1);
}

static int64_t block_of(int size, int64_t keys) {
    return sizes[size] > 0 ? sizes[size] : sizes[size] < 0 ? -sizes[size] : keys;
}

typedef struct caches {
    void *k[LAYERS], *v[LAYERS];
} caches;

static void fill(const kernels *k, caches *c, cache_type type, int64_t rows) {
    enum { SOME = 64 };
    static float x[SOME * KV_HEADS * DIM];
    rng r = rng_seed(3);
    const size_t row = cache_row_bytes(type, k->act, KV_HEADS, DIM);
    for (int l = 0; l < LAYERS; l++) {
        must(k->alloc_sparse(&c->k[l], (size_t)rows * row));
        must(k->alloc_sparse(&c->v[l], (size_t)rows * row));
        for (int64_t at = 0; at < rows; at += SOME) {
            rng_normal(&r, x, sizeof x / sizeof *x, 1);
            k->cache_put((char *)c->k[l] + (size_t)at * row, type, x, SOME, KV_HEADS, DIM);
            k->cache_put((char *)c->v[l] + (size_t)at * row, type, x, SOME, KV_HEADS, DIM);
        }
    }
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    const int64_t keys = argc > 1 ? atoll(argv[1]) / 256 * 256 : 1024, rounds = argc > 2 ? atoll(argv[2]) : 40;
    const int64_t rows = TEXTS * keys;
    must(kernels_check());
    const kernels *k = kernels_for(DTYPE_F32);
    float *q = xcalloc(PIECE * HEADS * DIM, sizeof *q), *y = xcalloc(PIECE * HEADS * DIM, sizeof *y);
    int32_t *blocks[SIZES];
    rng r = rng_seed(1);
    rng_normal(&r, q, PIECE * HEADS * DIM, 1);
    for (int s = 0; s < SIZES; s++) { /* which of them is whose: at random, or in order */
        const int64_t block = block_of(s, keys), count = rows / block;
        blocks[s] = xmalloc((size_t)count * sizeof **blocks);
        for (int64_t i = 0; i < count; i++) blocks[s][i] = (int32_t)i;
        for (int64_t i = count - 1; i > 0 && sizes[s] > 0; i--) {
            const int64_t j = (int64_t)rng_below(&r, (uint64_t)i + 1);
            const int32_t one = blocks[s][i];
            blocks[s][i] = blocks[s][j];
            blocks[s][j] = one;
        }
    }
    printf("%s, %d threads, %lld keys; microseconds a layer, median (fastest)\n%-22s", k->name, kernels_threads(),
           (long long)keys, "");
    for (int s = 0; s < SIZES; s++)
        printf(sizes[s] ? "   blocks of %-4lld%s" : "   one behind another", (long long)block_of(s, keys),
               sizes[s] < 0 ? " in order" : "         ");
    printf("\n");
    for (int type = CACHE_ACT; type <= CACHE_INT8; type++) {
        caches c;
        fill(k, &c, (cache_type)type, rows);
        for (int n = 0; n < CASES; n++) {
            double *times[SIZES];
            for (int s = 0; s < SIZES; s++) times[s] = xcalloc((size_t)rounds, sizeof **times);
            for (int64_t i = 0; i < rounds; i++)
                for (int s = 0; s < SIZES; s++) {
                    const int64_t block = block_of(s, keys);
                    attention_span spans[TEXTS];
                    const attention_shape shape = {
                        .heads = HEADS, .kv_heads = KV_HEADS, .head_dim = DIM, .q_stride = HEADS * DIM};
                    for (int64_t b = 0; b < cases[n].texts; b++)
                        spans[b] = (attention_span){b, cases[n].queries, {blocks[s] + b * (keys / block), block}, keys};
                    const double started = clock_seconds();
                    for (int l = 0; l < LAYERS; l++)
                        k->attention_spans(y, q, c.k[l], c.v[l], (cache_type)type, spans, cases[n].texts, &shape);
                    times[s][i] = (clock_seconds() - started) / LAYERS * 1e6;
                }
            printf("%-5s %-16s", types[type], cases[n].name);
            for (int s = 0; s < SIZES; s++) {
                qsort(times[s], (size_t)rounds, sizeof **times, ascending);
                printf("%11.1f (%8.1f)", times[s][rounds / 2], times[s][0]);
                free(times[s]);
            }
            printf("\n");
        }
        for (int l = 0; l < LAYERS; l++) k->release(c.k[l]), k->release(c.v[l]);
    }
    return 0;
}

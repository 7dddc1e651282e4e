/* Speed of the row kernels: GB/s of the memory that each has to read and write, and µs a call, best of several.
 *
 * N = 4096 rows of d = 512 (u of activations: 2048 wide), a loss of 256 rows over 8192 tokens: the sizes of a training
 * step. Every instruction set that this CPU has, beside memcpy as what memory can give.
 *   bench_stream [N [d]] */
#include "kernel/cpu/variant.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WIDE = 2048, LOSS_ROWS = 256, VOCABULARY = 8192, LISTED = 20, EXPERTS = 8, CHOICES = 2, SMEARED = 12 };

typedef struct arrays {
    int64_t N, d;
    void *act[5];                                   /* [max(N · WIDE, rows · d, LOSS_ROWS · VOCABULARY)] each */
    float *f32[4];                                  /* [max(N, LOSS_ROWS · VOCABULARY, ...)] each */
    int32_t *ids, *chosen, *slot, *source, *listed; /* listed: [LOSS_ROWS, LISTED] */
    int32_t counts[EXPERTS], start[EXPERTS + 1];
} arrays;

typedef void (*bench)(const kernels *k, arrays *a);

static grad_out into(void *data) {
    return (grad_out){data, false};
}

static void bench_memcpy(const kernels *k, arrays *a) {
    memcpy(a->act[0], a->act[1], a->N * a->d * (k->act == DTYPE_BF16 ? 2 : 4));
}
static void bench_embed(const kernels *k, arrays *a) {
    weight table = {.rows = a->N, .cols = a->d, .plain = a->act[1]};
    k->embed(a->act[0], &table, a->ids, a->N);
}
static void bench_embed_backward(const kernels *k, arrays *a) {
    k->embed_backward(a->f32[3], a->act[1], a->ids, a->N, a->d, a->N);
}
static void bench_rms_norm(const kernels *k, arrays *a) {
    k->rms_norm(a->act[0], a->f32[0], a->act[1], NULL, 1, 1e-6f, a->N, a->d);
}
static void bench_rms_norm_backward(const kernels *k, arrays *a) {
    k->rms_norm_backward(into(a->act[0]), NULL, a->act[1], a->act[2], a->f32[1], NULL, 1, a->N, a->d);
}
static void bench_weighted_norm(const kernels *k, arrays *a) {
    k->rms_norm(a->act[0], a->f32[0], a->act[1], a->f32[1], 1, 1e-6f, a->N, a->d);
}
static void bench_weighted_norm_backward(const kernels *k, arrays *a) {
    k->rms_norm_backward(into(a->act[0]), a->f32[0], a->act[1], a->act[2], a->f32[1], a->f32[2], 1, a->N, a->d);
}
static void bench_bias(const kernels *k, arrays *a) {
    k->bias_add(a->act[0], a->f32[1], a->N, a->d);
}
static void bench_bias_backward(const kernels *k, arrays *a) {
    k->bias_add_backward(a->f32[0], a->act[1], a->N, a->d);
}
static void bench_sigmoid_gate(const kernels *k, arrays *a) {
    k->sigmoid_gate(a->act[0], a->f32[0], a->act[1], a->act[2], a->f32[1], a->N, a->d);
}
static void bench_sigmoid_gate_backward(const kernels *k, arrays *a) {
    k->sigmoid_gate_backward(into(a->act[0]), into(a->act[1]), a->f32[0], a->act[2], a->f32[2], a->act[3], a->act[4],
                             a->f32[1], a->N, a->d);
}
static void bench_mix(const kernels *k, arrays *a) {
    k->mix(a->act[0], a->act[1], a->act[2], a->f32[1], a->N, a->d);
}
static void bench_mix_backward(const kernels *k, arrays *a) {
    k->mix_backward(into(a->act[0]), into(a->act[1]), a->f32[0], a->act[2], a->act[3], a->act[4], a->f32[1], a->N,
                    a->d);
}
static void bench_smear(const kernels *k, arrays *a) {
    k->smear(a->act[0], a->act[1], a->f32[1], NULL, NULL, a->N / 512, 512, a->d, SMEARED);
}
static void bench_smear_backward(const kernels *k, arrays *a) {
    k->smear_backward(into(a->act[0]), a->f32[0], a->act[1], a->act[2], a->f32[1], NULL, a->N / 512, 512, a->d,
                      SMEARED);
}
static void bench_scale_add(const kernels *k, arrays *a) {
    k->scale_add(a->act[0], a->act[1], a->act[2], a->f32[1], a->N, a->d);
}
static void bench_scale_add_backward(const kernels *k, arrays *a) {
    k->scale_add_backward(into(NULL), into(a->act[0]), a->f32[0], a->act[1], a->act[2], a->f32[1], a->N, a->d);
}
static void bench_gated_skip(const kernels *k, arrays *a) {
    k->gated_skip(a->act[0], a->act[1], a->act[2], a->f32[1], a->f32[2], a->N, a->d);
}
static void bench_gated_skip_backward(const kernels *k, arrays *a) {
    k->gated_skip_backward(into(a->act[0]), into(a->act[1]), a->f32[0], a->f32[3], a->act[2], a->act[3], a->act[4],
                           a->f32[1], a->f32[2], a->N, a->d);
}
static void bench_leaky(const kernels *k, arrays *a) {
    k->activate(a->act[0], a->act[1], ACTIVATION_LEAKY_RELU2, NULL, a->N, WIDE);
}
static void bench_leaky_backward(const kernels *k, arrays *a) {
    k->activate_backward(a->act[0], a->act[1], a->act[2], ACTIVATION_LEAKY_RELU2, NULL, a->N, WIDE);
}
static void bench_swiglu(const kernels *k, arrays *a) {
    k->activate(a->act[0], a->act[1], ACTIVATION_SWIGLU, NULL, a->N, WIDE / 2);
}
static void bench_swiglu_backward(const kernels *k, arrays *a) {
    k->activate_backward(a->act[0], a->act[1], a->act[2], ACTIVATION_SWIGLU, NULL, a->N, WIDE / 2);
}
static void bench_router(const kernels *k, arrays *a) {
    k->router(NULL, a->f32[0], a->act[1], a->f32[1], a->N, a->d, EXPERTS);
}
static void bench_router_backward(const kernels *k, arrays *a) {
    k->router_backward(into(a->act[0]), a->f32[3], a->f32[2], a->act[1], a->f32[1], a->N, a->d, EXPERTS);
}
static void bench_top_k(const kernels *k, arrays *a) {
    k->top_k(a->chosen, a->f32[1], NULL, a->N, EXPERTS, CHOICES);
}
static void bench_group(const kernels *k, arrays *a) {
    k->group(a->slot, a->source, a->counts, a->start, a->chosen, a->N, CHOICES, EXPERTS, 16);
}
static void bench_gather(const kernels *k, arrays *a) {
    k->gather(a->act[0], a->act[1], a->source, CHOICES, &a->start[EXPERTS], a->d);
}
static void bench_gather_backward(const kernels *k, arrays *a) {
    k->gather_backward(into(a->act[0]), a->act[1], a->slot, CHOICES, a->N, a->d);
}
static void bench_combine(const kernels *k, arrays *a) {
    k->combine(a->act[0], a->act[1], a->f32[1], a->slot, CHOICES, a->N, a->d);
}
static void bench_combine_backward(const kernels *k, arrays *a) {
    k->combine_backward(a->act[0], a->f32[0], a->act[1], a->act[2], a->f32[1], a->slot, a->source, CHOICES, a->N,
                        &a->start[EXPERTS], a->d);
}
static void bench_gate(const kernels *k, arrays *a) {
    k->gate(a->f32[0], a->f32[1], a->chosen, true, a->N, EXPERTS, CHOICES);
}
static void bench_gate_backward(const kernels *k, arrays *a) {
    k->gate_backward(a->f32[0], a->f32[1], a->counts, 0.01f, a->f32[2], a->chosen, true, a->N, EXPERTS, CHOICES);
}
static void bench_statistics(const kernels *k, arrays *a) {
    double sums[ROUTING_SUMS(EXPERTS)] = {0};
    k->routing_statistics(sums, a->f32[1], a->f32[2], a->counts, a->counts, a->N, EXPERTS, CHOICES);
}
static void bench_loss(const kernels *k, arrays *a) {
    k->softcap_cross_entropy(a->f32[0], a->act[0], a->f32[1], a->ids, 30, 1, LOSS_ROWS, VOCABULARY);
}
static void bench_loss_forward(const kernels *k, arrays *a) {
    k->softcap_cross_entropy(a->f32[0], NULL, a->f32[1], a->ids, 30, 1, LOSS_ROWS, VOCABULARY);
}
static void bench_distill(const kernels *k, arrays *a) {
    const teacher_args teacher = {.k = LISTED,
                                  .ids = a->listed,
                                  .log_probs = a->f32[2],
                                  .rest = a->f32[2],
                                  .ce_weight = 1,
                                  .teacher_weight = 1,
                                  .temperature = 2};
    k->softcap_distill(a->f32[0], a->f32[3], a->act[0], a->f32[1], a->ids, &teacher, 30, 1, LOSS_ROWS, VOCABULARY);
}
static void bench_match(const kernels *k, arrays *a) {
    double sum = 0;
    k->match(&sum, a->f32[0], a->act[1], a->act[2], a->N * a->d);
}
static void bench_match_backward(const kernels *k, arrays *a) {
    k->match_backward(into(a->act[0]), a->act[1], a->act[2], a->f32[0], 1, a->N * a->d);
}
static void bench_softcap(const kernels *k, arrays *a) {
    k->softcap(a->f32[2], 30, LOSS_ROWS * VOCABULARY);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void measure(const char *name, bench run, double bytes, const kernels *k, arrays *a) {
    double best = 1e9;
    run(k, a);
    for (double until = now() + 0.06; now() < until;) {
        double begin = now();
        run(k, a);
        double seconds = now() - begin;
        best = seconds < best ? seconds : best;
    }
    printf("  %-20s %8.1f us %8.1f GB/s\n", name, best * 1e6, bytes / best * 1e-9);
}

static void *block(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) abort(); /* a bench, not moec */
    return p;
}

static void fill(arrays *a, dtype act) {
    int64_t rows = CHOICES * a->N + 16 * EXPERTS, wide = a->N * WIDE, other = rows * a->d;
    int64_t count = wide > other ? wide : other, loss = LOSS_ROWS * VOCABULARY;
    if (count < loss) count = loss;
    for (int i = 0; i < 5; i++) {
        a->act[i] = block(count * 4);
        for (int64_t c = 0; c < count; c++) {
            float x = (float)((c * 7919 + i) % 1000) / 500 - 1;
            if (act == DTYPE_F32)
                ((float *)a->act[i])[c] = x;
            else
                memcpy((uint16_t *)a->act[i] + c, (char *)&x + 2, 2);
        }
    }
    int64_t floats = LOSS_ROWS * VOCABULARY;
    if (a->N * a->d > floats) floats = a->N * a->d;
    for (int i = 0; i < 4; i++) {
        a->f32[i] = block(floats * 4);
        for (int64_t c = 0; c < floats; c++) a->f32[i][c] = (float)((c * 7919 + i) % 1000) / 500 - 1;
    }
    a->ids = block(a->N * 4 + LOSS_ROWS * 4);
    a->chosen = block(a->N * CHOICES * 4);
    a->slot = block(a->N * CHOICES * 4);
    a->source = block(rows * 4);
    a->listed = block(LOSS_ROWS * LISTED * 4);
    for (int64_t i = 0; i < LOSS_ROWS * LISTED; i++) a->listed[i] = (int32_t)(i * 397 % VOCABULARY);
    for (int64_t n = 0; n < a->N; n++) a->ids[n] = (int32_t)(n * 7919 % (a->N < VOCABULARY ? a->N : VOCABULARY));
}

static void drop(arrays *a) {
    for (int i = 0; i < 5; i++) free(a->act[i]);
    for (int i = 0; i < 4; i++) free(a->f32[i]);
    free(a->ids), free(a->chosen), free(a->slot), free(a->source), free(a->listed);
}

static void measure_all(const kernels *k, int64_t N, int64_t d) {
    arrays a = {.N = N, .d = d};
    fill(&a, k->act);
    double s = k->act == DTYPE_BF16 ? 2 : 4, row = N * d * s, wide = N * WIDE * s, rows = CHOICES * row;
    double router = N * EXPERTS * 4, loss = (double)LOSS_ROWS * VOCABULARY;
    printf("%s, N = %ld, d = %ld\n", k->name, (long)N, (long)d);
    measure("memcpy, 1 thread", bench_memcpy, 2 * row, k, &a);
    measure("embed", bench_embed, 2 * row, k, &a);
    measure("embed_backward", bench_embed_backward, row + 8.0 * N * d, k, &a);
    measure("rms_norm", bench_rms_norm, 2 * row, k, &a);
    measure("rms_norm_backward", bench_rms_norm_backward, 3 * row, k, &a);
    measure("rms_norm, weight", bench_weighted_norm, 2 * row, k, &a);
    measure("  its backward", bench_weighted_norm_backward, 5 * row, k, &a);
    measure("bias_add", bench_bias, 2 * row, k, &a);
    measure("bias_add_backward", bench_bias_backward, row, k, &a);
    measure("mix", bench_mix, 3 * row, k, &a);
    measure("mix_backward", bench_mix_backward, 5 * row, k, &a);
    measure("smear", bench_smear, 2 * row, k, &a);
    measure("smear_backward", bench_smear_backward, 2 * row, k, &a);
    measure("scale_add", bench_scale_add, 3 * row, k, &a);
    measure("scale_add_backward", bench_scale_add_backward, 3 * row, k, &a);
    measure("gated_skip", bench_gated_skip, 3 * row, k, &a);
    measure("gated_skip_backward", bench_gated_skip_backward, 5 * row, k, &a);
    measure("leaky_relu2", bench_leaky, 2 * wide, k, &a);
    measure("leaky_relu2 backward", bench_leaky_backward, 3 * wide, k, &a);
    measure("swiglu", bench_swiglu, 1.5 * wide, k, &a);
    measure("swiglu backward", bench_swiglu_backward, 2.5 * wide, k, &a);
    measure("router, E = 8", bench_router, row + router, k, &a);
    measure("router_backward", bench_router_backward, 3 * row + 2 * router, k, &a);
    measure("top_k, k = 2", bench_top_k, router + N * CHOICES * 4, k, &a);
    measure("group", bench_group, N * CHOICES * 12.0, k, &a);
    measure("gate", bench_gate, N * CHOICES * 12.0, k, &a);
    measure("gate_backward", bench_gate_backward, 2 * router + N * CHOICES * 8, k, &a);
    measure("routing_statistics", bench_statistics, 2 * router, k, &a);
    measure("gather", bench_gather, 2 * rows, k, &a);
    measure("gather_backward", bench_gather_backward, row + rows, k, &a);
    measure("combine", bench_combine, row + rows, k, &a);
    measure("combine_backward", bench_combine_backward, row + 2 * rows, k, &a);
    measure("sigmoid_gate", bench_sigmoid_gate, 3 * row, k, &a);
    measure("sigmoid_gate_backward", bench_sigmoid_gate_backward, 6 * row, k, &a);
    measure("cross_entropy", bench_loss_forward, 4 * loss, k, &a);
    measure("cross_entropy + grad", bench_loss, (4 + s) * loss, k, &a);
    measure("distill + grad, k 20", bench_distill, (4 + s) * loss, k, &a);
    measure("match", bench_match, 2 * row, k, &a);
    measure("match_backward", bench_match_backward, 3 * row, k, &a);
    measure("softcap", bench_softcap, 8 * loss, k, &a);
    drop(&a);
}

int main(int argc, char **argv) {
    int64_t N = argc > 1 ? atol(argv[1]) : 4096, d = argc > 2 ? atol(argv[2]) : 512;
    if (N < 512 || N % 512 || d < SMEARED) return fprintf(stderr, "N: a multiple of 512; d: at least 12\n"), 2;
    kernels avx2 = {.name = "avx2 f32", .act = DTYPE_F32}, avx512 = {.name = "avx512 f32", .act = DTYPE_F32};
    kernels bf16 = {.name = "avx512bf16 bf16", .act = DTYPE_BF16};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        fill_stream_avx2_f32(&avx2), fill_routing_avx2_f32(&avx2), fill_gate_avx2_f32(&avx2);
        fill_loss_avx2_f32(&avx2), fill_distill_avx2_f32(&avx2);
        measure_all(&avx2, N, d);
    }
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
        fill_stream_avx512_f32(&avx512), fill_routing_avx512_f32(&avx512), fill_gate_avx512_f32(&avx512);
        fill_loss_avx512_f32(&avx512), fill_distill_avx512_f32(&avx512);
        measure_all(&avx512, N, d);
    }
    if (__builtin_cpu_supports("avx512bf16")) {
        fill_stream_avx512bf16_bf16(&bf16), fill_routing_avx512bf16_bf16(&bf16), fill_gate_avx512bf16_bf16(&bf16);
        fill_loss_avx512bf16_bf16(&bf16), fill_distill_avx512bf16_bf16(&bf16);
        measure_all(&bf16, N, d);
    }
    return 0;
}

/* Which instruction set this process computes with, and the tables for it. */
#include "kernel/cpu/onednn.h"
#include "kernel/cpu/packed.h"
#include "kernel/cpu/variant.h"
#include <cpuid.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* In rising order. f32 and bf16 tell which variant of kernel/cpu/isa serves that activation type. */
typedef enum level { LEVEL_AVX2, LEVEL_AVX512, LEVEL_AVX512BF16, LEVEL_AMX, LEVELS } level;
static const char *const level_names[LEVELS] = {"avx2", "avx512", "avx512bf16", "amx"};
static const dnnl_cpu_isa_t level_limits[LEVELS] = {dnnl_cpu_isa_avx2, dnnl_cpu_isa_avx512_core,
                                                    dnnl_cpu_isa_avx512_core_bf16, dnnl_cpu_isa_avx512_core_amx};

/* ---- what the CPU has ---- */

/* F16C is bit 29 of ECX in CPUID leaf 1; compilers have no name for it. */
static bool has_avx2(void) {
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid(1, &a, &b, &c, &d) &&
           (c & 1u << 29);
}

static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512cd");
}

/* CPUID leaf 7, subleaf 1: EAX bit 5 */
static bool has_bf16(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5);
}

/* CPUID leaf 7: EDX bits 22 (AMX-BF16) and 24 (tiles); and the system saves tiles: XCR0 bits 17 and 18 */
static bool has_amx(void) {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 22) || !(d & 1u << 24)) return false;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low >> 17 & 3) == 3;
}

/* CPUID leaf 7: ECX bit 11; the vectors are AVX-512's. */
static bool has_avx512vnni(void) {
    unsigned a, b, c, d;
    return has_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & 1u << 11);
}

/* CPUID leaf 7, subleaf 1: EAX bit 4 */
static bool has_avxvnni(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

/* Intel's cores multiply bf16 by VDPBF16PS at half the rate of float32's FMA for as many instructions, so that without tiles float32
 * is about twice as fast (a Xeon of 2024: 319 against 168 GFLOP/s of oneDNN's products on two cores); AMD's have twice
 * the rate of float32. */
static bool is_intel(void) {
    unsigned a, b, c, d;
    return __get_cpuid(0, &a, &b, &c, &d) && b == signature_INTEL_ebx && c == signature_INTEL_ecx &&
           d == signature_INTEL_edx;
}

static int best_level(void) {
    __builtin_cpu_init();
    if (!has_avx2()) return -1;
    if (!has_avx512()) return LEVEL_AVX2;
    if (!has_bf16()) return LEVEL_AVX512;
    return has_amx() ? LEVEL_AMX : LEVEL_AVX512BF16;
}

/* ---- what this process takes ---- */

static struct {
    int best, taken; /* levels; −1: none */
    kernels f32, bf16;
    char weight_layout[64];
} chosen;
static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;

#define FILL(table, variant)                                                                                           \
    do {                                                                                                               \
        fill_memory_##variant(table);                                                                                  \
        fill_stream_##variant(table);                                                                                  \
        fill_attention_##variant(table);                                                                               \
        fill_routing_##variant(table);                                                                                 \
        fill_gate_##variant(table);                                                                                    \
        fill_loss_##variant(table);                                                                                    \
        fill_top_log_probs_##variant(table);                                                                           \
        fill_distill_##variant(table);                                                                                 \
        fill_params_##variant(table);                                                                                  \
    } while (0)

/* What reads or makes forms of a weight: oneDNN's products, and before some of them the variant's own. oneDNN multiplies by
 * AMX tiles where the CPU has them, which the variants cannot. */
#define FILL_PRODUCTS(table, variant, tiles)                                                                           \
    do {                                                                                                               \
        fill_products(table);                                                                                          \
        fill_quantized_##variant(table);                                                                               \
        if (!(tiles)) fill_weight_gradient_##variant(table);                                                           \
    } while (0)

static void fill_tables(level taken) {
    static const char *const f32_names[LEVELS] = {"cpu avx2 f32", "cpu avx512 f32", "cpu avx512 f32", "cpu avx512 f32"};
    chosen.f32 = (kernels){.name = f32_names[taken], .act = DTYPE_F32};
    if (taken >= LEVEL_AVX512) {
        FILL(&chosen.f32, avx512_f32);
        FILL_PRODUCTS(&chosen.f32, avx512_f32, false);
    } else {
        FILL(&chosen.f32, avx2_f32);
        FILL_PRODUCTS(&chosen.f32, avx2_f32, false);
    }
    if (taken < LEVEL_AVX512BF16) return;
    chosen.bf16 = (kernels){.name = taken == LEVEL_AMX ? "cpu amx bf16" : "cpu avx512bf16 bf16", .act = DTYPE_BF16};
    FILL(&chosen.bf16, avx512bf16_bf16);
    FILL_PRODUCTS(&chosen.bf16, avx512bf16_bf16, taken == LEVEL_AMX);
}

/* The level that MOEC_ISA names; `best` where it is unset, −1 where it names none. */
static int wanted_level(int best) {
    const char *name = getenv("MOEC_ISA");
    if (!name || !*name) return best;
    for (int i = 0; i < LEVELS; i++)
        if (strcmp(name, level_names[i]) == 0) return i;
    return -1;
}

/* Integer instructions come in an order of their own. Where a lower level was asked for it gets what every CPU of it has. */
static const packed_products *integer_products(level taken, level best) {
    if (taken >= LEVEL_AVX512 && has_avx512vnni()) return &packed_products_int8_avx512vnni;
    return taken == best && has_avxvnni() ? &packed_products_int8_avxvnni : &packed_products_int8_avx2;
}

static void choose(void) {
    chosen.best = best_level();
    int wanted = wanted_level(chosen.best);
    chosen.taken = wanted <= chosen.best ? wanted : -1;
    if (chosen.taken < 0) return;
    if (chosen.taken < chosen.best) onednn_limit_isa(level_limits[chosen.taken]);
    fill_tables((level)chosen.taken);
    packed_taken = integer_products((level)chosen.taken, (level)chosen.best);
    /* Today all instruction sets read one order of bytes; who has a better one for one of them need not remember that files know it. */
    snprintf(chosen.weight_layout, sizeof chosen.weight_layout, "%s %s %d", level_names[chosen.taken],
             packed_taken->name, PACKED_VERSION);
}

const kernels *kernels_for(dtype act) {
    pthread_once(&chosen_once, choose);
    if (act == DTYPE_F32 && chosen.f32.name) return &chosen.f32;
    if (act == DTYPE_BF16 && chosen.bf16.name) return &chosen.bf16;
    return NULL;
}

dtype kernels_best_act(void) {
    const bool fast = kernels_for(DTYPE_BF16) && (chosen.taken == LEVEL_AMX || !is_intel());
    return fast ? DTYPE_BF16 : DTYPE_F32;
}

const char *kernels_isa(void) {
    pthread_once(&chosen_once, choose);
    return chosen.taken < 0 ? "none" : level_names[chosen.taken];
}

const char *kernels_weight_layout(void) {
    pthread_once(&chosen_once, choose);
    return chosen.weight_layout;
}

status kernels_check(void) {
    pthread_once(&chosen_once, choose);
    if (chosen.best < 0) return fail("this CPU lacks AVX2, FMA or F16C, which moec needs");
    if (chosen.taken >= 0) return STATUS_OK;
    const char *name = getenv("MOEC_ISA");
    if (wanted_level(chosen.best) < 0)
        return fail_usage("MOEC_ISA: expected amx, avx512bf16, avx512 or avx2, found '%s'", name);
    return fail_usage("MOEC_ISA: this CPU reaches %s, '%s' is above it", level_names[chosen.best], name);
}

status device_open(const char *device, const char *type, const kernels **k) {
    *k = NULL;
    TRY(kernels_check());
    if (strcmp(device, "cpu") != 0) return fail_usage("device: expected cpu, found %s", device);
    dtype act = kernels_best_act();
    if (strcmp(type, "f32") == 0)
        act = DTYPE_F32;
    else if (strcmp(type, "bf16") == 0)
        act = DTYPE_BF16;
    else if (strcmp(type, "smallest") == 0)
        act = kernels_for(DTYPE_BF16) ? DTYPE_BF16 : DTYPE_F32;
    else if (strcmp(type, "auto") != 0)
        return fail_usage("dtype: expected auto, smallest, f32 or bf16, found %s", type);
    *k = kernels_for(act);
    return *k ? STATUS_OK : fail_usage("dtype: this machine (%s) has no fast %s; use f32 or auto", kernels_isa(), type);
}

int kernels_threads(void) {
    return omp_get_max_threads();
}

void kernels_set_threads(int threads) {
    omp_set_num_threads(threads);
}

void tensor_write(const kernels *k, tensor *t, const void *host) {
    k->upload(t->data, host, tensor_bytes(t));
}

void tensor_read(const kernels *k, const tensor *t, void *host) {
    k->download(host, t->data, tensor_bytes(t));
}

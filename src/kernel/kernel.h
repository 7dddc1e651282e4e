/* Devices: what one computes is a table of functions (kernel_list.h declares each of them once).
 *
 * A table belongs to one device and one activation type ("act": float32 or bf16), so no kernel branches on types.
 * kernel/cpu fills it for the CPU; a CUDA table would be a second filling and nothing above this folder would change. */
#ifndef MOEC_KERNEL_KERNEL_H
#define MOEC_KERNEL_KERNEL_H

#include "base/status.h"
#include "tensor/quantized.h"
#include "tensor/tensor.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct grad_out {
    void *data; /* act, or NULL: not wanted */
    bool add;   /* add to what is there instead of overwriting it */
} grad_out;

/* Codes and scales in the order in which the device multiplies with them. */
typedef struct packed_weight packed_weight;
/* Memory that the weights of one model share (weight_room.h). */
typedef struct weight_room weight_room;

/* A matrix as the products want it: rows = outputs, cols = inputs, as in y = x Wᵀ. Its values can change (`plain`), or it is
 * quantised and only read: with exact inputs (`quantized`), or with inputs that are rounded too (`packed`). */
typedef struct weight {
    int64_t rows, cols;
    void *plain;           /* act [rows, cols], a copy of the values of the last weight_update; NULL where quantised */
    quantized *quantized;  /* codes and scales on the device, or NULL */
    packed_weight *packed; /* the same for integer products, or NULL */
    int64_t packed_bytes;  /* of what `packed` holds */
    void *forward;         /* the device's own form for x Wᵀ, or NULL where the others serve */
    weight_room *room;     /* that all of it lies in; NULL: it has memory of its own */
} weight;

/* A weight of a model that is only run, as a file can keep it: numbers, and arrays that lie in device memory. What is in the arrays, and in
 * which order, is the device's affair, and may be another with every instruction set and version of moec (kernels_weight_layout). */
typedef enum stored_kind { STORED_NOTHING, STORED_PLAIN, STORED_PACKED } stored_kind;
/* MOST_SIDE: rows or columns, so that no size that follows overflows: 8 bytes of scales and offsets for each of 2^56 groups. */
enum { STORED_ARRAYS = 3, STORED_ALIGNMENT = 64, STORED_MOST_SIDE = 1 << 28 };
typedef struct stored_weight {
    stored_kind kind;
    int64_t rows, cols;
    dtype type;    /* plain: of the values */
    int64_t group; /* packed, here and below (kernel/cpu/packed.h) */
    int bits, zero;
    bool half, has_offset, fine;
    const void *array[STORED_ARRAYS]; /* aligned to STORED_ALIGNMENT */
    int64_t bytes[STORED_ARRAYS];     /* 0: it has none */
} stored_weight;

typedef enum activation {
    ACTIVATION_RELU2,       /* h = max(u, 0)² */
    ACTIVATION_LEAKY_RELU2, /* h = (u > 0 ? u : u/2)², #2102 */
    ACTIVATION_SWIGLU       /* h = silu(a) · b; u = [a | b], twice as wide as h */
} activation;

/* C[m, n] (+)= op(A)[m, k] · op(B)[k, n] */
typedef struct matmul_args {
    int64_t m, n, k;
    const void *a, *b;
    void *c;
    dtype a_type, b_type, c_type; /* F32·F32 → F32 or BF16·BF16 → BF16 | F32 */
    bool transpose_a;             /* A is stored [k, m] */
    bool transpose_b;             /* B is stored [n, k] */
    bool add;                     /* add to C */
} matmul_args;

/* Rotations by position: row p holds dims/2 cosines and then as many sines, of which pair i of channels takes
 * (x₁, x₂) → (x₁c + x₂s, x₂c − x₁s). */
typedef struct rotary_table {
    const float *values; /* [positions, dims] */
    int64_t positions;
    int dims;        /* rotated channels of a head, the first ones */
    bool neighbours; /* pair i is (2i, 2i + 1), else (i, i + dims/2) */
} rotary_table;

/* What happens to each head of queries or keys before attention. */
typedef struct head_args {
    int heads, head_dim;
    bool norm;           /* RMS norm of each head */
    float eps;           /* of the norm */
    const float *weight; /* [head_dim] behind the norm, or NULL: 1 */
    const float *gain;   /* [heads], or NULL: 1 */
    const rotary_table *rotary;
    const int32_t *positions; /* [N], below rotary->positions */
} head_args;

/* Sizes of one attention: queries are the last `queries` of `keys` positions (equal in training). */
typedef struct attention_shape {
    int64_t batch, queries, keys;
    int heads, kv_heads, head_dim; /* heads is a multiple of kv_heads; head h reads kv head h / (heads / kv_heads) */
    int64_t q_stride, kv_stride;   /* act elements from a position's row to the next, in q and y, and in k and v */
    int64_t kv_batch_stride; /* act elements from a sequence's k to the next one's (a cache is longer than keys) */
} attention_shape;

/* Which rows of a cache are a sequence's: those of its tokens i · rows … (i + 1) · rows − 1 are block blocks[i], the cache's rows from
 * blocks[i] · rows on. Where a sequence's rows lie one behind another it is a table of one block. */
typedef struct cache_table {
    const int32_t *blocks; /* HOST */
    int64_t rows;          /* of a block */
} cache_table;
static inline int64_t cache_table_row(cache_table t, int64_t token) {
    return t.blocks[token / t.rows] * t.rows + token % t.rows;
}
/* How many of `count` tokens' rows, from this one's on, lie one behind another: neighbouring blocks are one piece. */
static inline int64_t cache_table_run(cache_table t, int64_t token, int64_t count) {
    int64_t run = t.rows - token % t.rows;
    for (int64_t i = token / t.rows; run < count && t.blocks[i + 1] == t.blocks[i] + 1; i++) run += t.rows;
    return run < count ? run : count;
}

/* Where a sequence's queries and keys lie among those of others, when each has its own length (generating). */
typedef struct attention_span {
    int64_t row, queries; /* its first row of q and y, and how many it has */
    cache_table table;    /* its rows of k and v, */
    int64_t keys;         /* and how many; the last query sees all of them */
} attention_span;

/* How keys and values of earlier tokens are kept while text is generated. */
typedef enum cache_type {
    CACHE_ACT,  /* as the activations that they are */
    CACHE_BF16, /* rounded to nearest even */
    CACHE_INT8  /* x ≈ scale · q, |q| ≤ 127, with scale = max |x| / 127 (float32) for each head of each token */
} cache_type;
static inline size_t cache_number_bytes(cache_type type, dtype act) {
    return type == CACHE_ACT ? dtype_bytes(act) : type == CACHE_BF16 ? 2 : 1;
}
/* A token's keys, or its values: [heads, head_dim] numbers, and of int8 behind them, at a multiple of 4, scales [heads]. */
static inline size_t cache_row_bytes(cache_type type, dtype act, int heads, int head_dim) {
    const size_t numbers = (size_t)(heads * head_dim) * cache_number_bytes(type, act);
    return type == CACHE_INT8 ? (numbers + 3) / 4 * 4 + (size_t)heads * sizeof(float) : numbers;
}

/* How an optimiser's running means lie in memory. */
typedef struct moment_args {
    dtype type;    /* DTYPE_F32, or DTYPE_BF16, rounded up or down at random */
    uint32_t seed; /* of that, another one for each parameter and step */
} moment_args;

typedef struct adam_args {
    float lr, beta1, beta2, eps;
    float weight_decay; /* decoupled: AdamW; 0: Adam */
    int64_t step;       /* 1 for the first */
    moment_args moments;
} adam_args;

typedef struct muon_args {
    float lr, momentum, weight_decay;
    int newton_schulz_steps;
    bool nesterov, row_normalize;
    moment_args moments;
} muon_args;

enum { TOP_LOG_PROBS_MOST = 256 }; /* the largest k of top_log_probs */
enum { LINEAR_SEVERAL_MOST = 8 };

/* A teacher's column (text/batch.h) on the device, and what it counts. */
typedef struct teacher_args {
    int k;
    const int32_t *ids;     /* [N, k] below V, none twice in a row; behind the first that is < 0 there are no more */
    const float *log_probs; /* [N, k] */
    const float *rest;      /* [N] */
    float ce_weight, teacher_weight;
    float temperature; /* τ */
    bool reverse;      /* KL(student ‖ teacher) instead of KL(teacher ‖ student) */
} teacher_args;

/* Doubles that routing_statistics adds to: shares of pairs [E], of first choices [E], mean probabilities [E], entropy, z, f·p̄ */
#define ROUTING_SUMS(experts) (3 * (experts) + 3)
enum { LABEL_SUMS = 3 };

typedef struct kernels {
    const char *name; /* "cpu avx512bf16 bf16", for --version and the benches */
    dtype act;
#define KERNEL(name, parameters, arguments, flops) void(*name) parameters;
#define KERNEL_STATUS(name, parameters, arguments, flops) status(*name) parameters;
#include "kernel/kernel_list.h"
#undef KERNEL
#undef KERNEL_STATUS
} kernels;

/* Open a device: "cpu"; type "auto" (bf16 where it is fast there, else f32), "smallest" (bf16 wherever it is there, fast or not),
 * "f32" or "bf16". The one place where that is decided. */
status device_open(const char *device, const char *type, const kernels **k);

/* The table for an activation type; NULL where this machine has no instructions for it (bf16 without AVX512-BF16). */
const kernels *kernels_for(dtype act);
/* DTYPE_BF16 where products of many rows are faster in it here, else DTYPE_F32. */
dtype kernels_best_act(void);
/* The instruction set taken: "amx", "avx512bf16", "avx512" or "avx2". MOEC_ISA=name forces a lower one. */
const char *kernels_isa(void);
/* "OK" or why this CPU cannot run moec (no AVX2), or MOEC_ISA names something unknown or above this CPU. */
status kernels_check(void);
/* What the arrays of a stored_weight depend on: instructions, version; one line. Arrays that were made under another one are not to be
 * adopted. */
const char *kernels_weight_layout(void);
int kernels_threads(void);             /* what OpenMP uses; OMP_NUM_THREADS sets it */
void kernels_set_threads(int threads); /* from now on, of the calling thread */

/* Copies between a tensor and host memory; the only way data crosses above this folder. */
void tensor_write(const kernels *k, tensor *t, const void *host);
void tensor_read(const kernels *k, const tensor *t, void *host);

#endif

/* What a device computes: one table of functions.
 *
 * A table belongs to one device and one activation type ("act": float32 or bf16), so no kernel branches on types.
 * kernel/cpu fills it for the CPU; a CUDA table would be a second filling and nothing above this folder would change.
 *
 * Conventions
 * - Pointers are device memory unless they are called host. `void *` is a row-major array of act, `float *` of float32.
 * - N = B·T rows (tokens), d channels, V vocabulary, E experts, R rows of grouped tokens.
 * - Statistics, routers, losses and every gradient of a parameter are float32; sums are formed in a fixed order, so the
 *   same call with the same number of threads gives the same bits.
 * - A gradient of an activation goes to a `grad_out`: overwritten or added to, or not wanted (data == NULL).
 *   A gradient of a parameter is always added to its array.
 * - `first` (int32 [N]) tells for position t of its row the first position that it may look at: 0 where a sequence is
 *   one document, the document's start where boundaries count. NULL means 0 everywhere. t is a document's start
 *   exactly when first[t] == t.
 * - Kernels cannot fail but for memory: the few that allocate report through the status of device_alloc. */
#ifndef MOEC_KERNEL_KERNEL_H
#define MOEC_KERNEL_KERNEL_H

#include "base/status.h"
#include "tensor/tensor.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct grad_out {
    void *data; /* act, or NULL: not wanted */
    bool add;   /* add to what is there instead of overwriting it */
} grad_out;

/* A matrix as the products want it: rows = outputs, cols = inputs, as in y = x Wᵀ. */
typedef struct weight {
    int64_t rows, cols;
    void *plain;   /* act [rows, cols], a copy of the values of the last weight_update */
    void *forward; /* the device's own form for x Wᵀ, or NULL where plain serves */
} weight;

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

/* Sizes of one attention: queries are the last `queries` of `keys` positions (equal in training). */
typedef struct attention_shape {
    int64_t batch, queries, keys;
    int heads, kv_heads, head_dim; /* heads is a multiple of kv_heads; head h reads kv head h / (heads / kv_heads) */
    int64_t q_stride, kv_stride;   /* act elements from a position's row to the next, in q and y, and in k and v */
    int64_t kv_batch_stride; /* act elements from a sequence's k to the next one's (a cache is longer than keys) */
} attention_shape;

typedef struct adam_args {
    float lr, beta1, beta2, eps;
    float weight_decay; /* decoupled: AdamW; 0: Adam */
    int64_t step;       /* 1 for the first */
} adam_args;

typedef struct muon_args {
    float lr, momentum, weight_decay;
    int newton_schulz_steps;
    bool nesterov, row_normalize;
} muon_args;

typedef struct kernels {
    const char *name; /* "cpu avx512bf16 bf16", for --version and the benches */
    dtype act;

    /* ---- memory ---------------------------------------------------------------------------------------------- */
    status (*alloc)(void **pointer, size_t bytes); /* 64-byte aligned, not zeroed */
    void (*release)(void *pointer);
    void (*upload)(void *device, const void *host, size_t bytes);
    void (*download)(void *host, const void *device, size_t bytes);
    void (*copy)(void *to, const void *from, size_t bytes);
    void (*zero)(void *pointer, size_t bytes);
    void (*to_act)(void *out, const float *in, int64_t count);
    void (*to_float)(float *out, const void *in, int64_t count);

    /* ---- matrix products --------------------------------------------------------------------------------------- */
    void (*matmul)(const matmul_args *args);
    status (*weight_create)(weight *w, int64_t rows, int64_t cols);
    void (*weight_destroy)(weight *w);
    /* Let the products read these values (float32 [rows, cols], copied) from now on: after the optimiser changed them. */
    void (*weight_update)(weight *w, const float *values);
    /* y[N, rows] = x[N, cols] · Wᵀ, as act, or as float32 where y_type says so. */
    void (*linear)(void *y, dtype y_type, const void *x, const weight *w, int64_t N);
    /* dx[N, cols] (+)= dy[N, rows] · W */
    void (*linear_backward_input)(grad_out dx, const void *dy, const weight *w, int64_t N);
    /* dW[rows, cols] += dyᵀ · x */
    void (*linear_backward_weight)(float *dw, const void *dy, const void *x, const weight *w, int64_t N);

    /* ---- embedding ----------------------------------------------------------------------------------------------- */
    /* y[n] = table[ids[n]] (table: act [V, d]) */
    void (*embed)(void *y, const void *table, const int32_t *ids, int64_t N, int64_t d);
    void (*embed_backward)(float *dtable, const void *dy, const int32_t *ids, int64_t N, int64_t d, int64_t V);

    /* ---- normalisation ------------------------------------------------------------------------------------------- */
    /* y = scale · x / √(mean(x²) + ε), ε = float32's epsilon as torch has it; rstd[N] is kept for backward. */
    void (*rms_norm)(void *y, float *rstd, const void *x, float scale, int64_t N, int64_t d);
    void (*rms_norm_backward)(grad_out dx, const void *dy, const void *x, const float *rstd, float scale, int64_t N,
                              int64_t d);
    /* Per head: y = rotate(rms_norm(x), position) · gain[head]; x and y are [N, heads·head_dim] (y == x is allowed).
     * Rotary embedding, half-split, over the first rope_dims of each head: with c, s = cos, sin(position · base^(-2i/rope_dims)),
     * (x₁, x₂) → (x₁c + x₂s, x₂c − x₁s). position of row n is offset + n mod T. gain may be NULL (1). rstd: [N, heads]. */
    void (*head_norm_rope)(void *y, float *rstd, const void *x, const float *gain, int64_t N, int64_t T, int64_t offset,
                           int heads, int head_dim, int rope_dims, float base);
    void (*head_norm_rope_backward)(grad_out dx, float *dgain, const void *dy, const void *x, const float *rstd,
                                    const float *gain, int64_t N, int64_t T, int heads, int head_dim, int rope_dims,
                                    float base);

    /* ---- attention ------------------------------------------------------------------------------------------------- */
    /* Causal softmax(q kᵀ / √head_dim) v, in blocks, without a T × T array; lse[batch, heads, queries] keeps
     * log Σ exp for backward (NULL: not wanted). Where queries < keys, `first` is still [batch, queries] (or NULL), and
     * counts positions among the keys. */
    void (*attention)(void *y, float *lse, const void *q, const void *k, const void *v, const int32_t *first,
                      const attention_shape *shape);
    /* Needs queries == keys. dq, dk, dv are overwritten. */
    void (*attention_backward)(void *dq, void *dk, void *dv, const void *dy, const void *y, const float *lse,
                               const void *q, const void *k, const void *v, const int32_t *first,
                               const attention_shape *shape);
    /* XSA (#2102): z = y − (y·v̂) v̂ per head, v̂ = v / max(|v|, 1e-12) of the same position and the head's kv head. */
    void (*xsa)(void *z, const void *y, const void *v, int64_t N, int heads, int kv_heads, int head_dim);
    void (*xsa_backward)(grad_out dy, grad_out dv, const void *dz, const void *y, const void *v, int64_t N, int heads,
                         int kv_heads, int head_dim);

    /* ---- the residual stream ----------------------------------------------------------------------------------------- */
    /* y = mix[0] ⊙ x + mix[1] ⊙ x0; mix: [2, d] */
    void (*mix)(void *y, const void *x, const void *x0, const float *mix, int64_t N, int64_t d);
    void (*mix_backward)(grad_out dx, grad_out dx0, float *dmix, const void *dy, const void *x, const void *x0,
                         const float *mix, int64_t N, int64_t d);
    /* SmearGate: on the first `width` of d channels y_t = x_t + σ(w) ⊙ (x_{t−1} − x_t); the others are copied. x_{t−1} is 0 at
     * a document's start and, at t = 0, row b of carry [B, width] (NULL: 0). y == x is not allowed. */
    void (*smear)(void *y, const void *x, const float *w, const void *carry, const int32_t *first, int64_t B, int64_t T,
                  int64_t d, int64_t width);
    void (*smear_backward)(grad_out dx, float *dw, const void *dy, const void *x, const float *w, const int32_t *first,
                           int64_t B, int64_t T, int64_t d, int64_t width);
    /* y = x + s ⊙ z; s: [d], or NULL for 1. Backward: dx (+)= dy; dz (+)= s ⊙ dy; ds += Σ dy ⊙ z */
    void (*scale_add)(void *y, const void *x, const void *z, const float *s, int64_t N, int64_t d);
    void (*scale_add_backward)(grad_out dx, grad_out dz, float *ds, const void *dy, const void *z, const float *s,
                               int64_t N, int64_t d);
    /* Gated skip (#2102): y = σ(g) ⊙ x + (1 − σ(g)) ⊙ w ⊙ skip; w, g: [d] */
    void (*gated_skip)(void *y, const void *x, const void *skip, const float *w, const float *g, int64_t N, int64_t d);
    void (*gated_skip_backward)(grad_out dx, grad_out dskip, float *dw, float *dg, const void *dy, const void *x,
                                const void *skip, const float *w, const float *g, int64_t N, int64_t d);
    /* y = x + s z; s: one float32. Backward: dz (+)= s dy; *ds += Σ dy z (dx is dy itself) */
    void (*scalar_add)(void *y, const void *x, const void *z, const float *s, int64_t N, int64_t d);
    void (*scalar_add_backward)(grad_out dz, float *ds, const void *dy, const void *z, const float *s, int64_t N,
                                int64_t d);
    /* Gain and gated chunks (#1692): y[n, c] = gain[c] · gates[n, e] · u[n, c], where chunk e of the h channels has h/E of them
     * (the first h mod E chunks one more); gain: [h] or NULL for 1, gates: float32 [N, E] or NULL for 1 (then E is 1).
     * Backward: du (+)= …; dgain (NULL: not wanted) is added to, dgates[N, E] (NULL: not wanted) overwritten. */
    void (*chunk_gate)(void *y, const void *u, const float *gain, const float *gates, int64_t N, int64_t h, int64_t E);
    void (*chunk_gate_backward)(grad_out du, float *dgain, float *dgates, const void *dy, const void *u,
                                const float *gain, const float *gates, int64_t N, int64_t h, int64_t E);
    /* h[N, width] = f(u); u is [N, width], or [N, 2·width] for SwiGLU. */
    void (*activate)(void *h, const void *u, activation f, int64_t N, int64_t width);
    void (*activate_backward)(void *du, const void *dh, const void *u, activation f, int64_t N, int64_t width);

    /* ---- routing ------------------------------------------------------------------------------------------------------- */
    /* probs[N, E] = softmax(x Wᵀ), all in float32; w: float32 [E, d]. logits may be NULL. */
    void (*router)(float *logits, float *probs, const void *x, const float *w, int64_t N, int64_t d, int64_t E);
    /* From dlogits[N, E]: dx (+)= dlogits W, dW += dlogitsᵀ x */
    void (*router_backward)(grad_out dx, float *dw, const float *dlogits, const void *x, const float *w, int64_t N,
                            int64_t d, int64_t E);
    /* chosen[N, k]: the k experts of largest score + bias[E] (NULL: none), largest first; ties go to the lower index. */
    void (*top_k)(int32_t *chosen, const float *scores, const float *bias, int64_t N, int64_t E, int k);
    /* gates[n, j] = probs[n, chosen[n, j]], divided by their sum over j where renormalize says so. */
    void (*gate)(float *gates, const float *probs, const int32_t *chosen, bool renormalize, int64_t N, int64_t E,
                 int k);
    /* dlogits[N, E] from dgates[N, k], plus dprobs[E] (HOST), a gradient of the probabilities that is the same for every
     * token (the balance loss): through the gates and the softmax. */
    void (*gate_backward)(float *dlogits, const float *dgates, const float *dprobs, const float *probs,
                          const int32_t *chosen, bool renormalize, int64_t N, int64_t E, int k);
    /* logits += std · noise, probs = softmax(logits). The noise is normal and a function of seed and place alone. */
    void (*router_noise)(float *logits, float *probs, float std, uint64_t seed, int64_t N, int64_t E);
    /* Router z-loss (Zoph et al. 2022): mean over tokens of (log Σ exp logits)², and dlogits += weight · d(mean) / d logits */
    double (*router_z)(const float *logits, int64_t N, int64_t E);
    void (*router_z_backward)(float *dlogits, const float *logits, const float *probs, float weight, int64_t N,
                              int64_t E);
    /* dlogits = probs ⊙ (dprobs − Σ_e probs dprobs), [N, E] */
    void (*softmax_backward)(float *dlogits, const float *dprobs, const float *probs, int64_t N, int64_t E);
    /* chosen[n, e] = e: every token goes to every expert. */
    void (*choose_all)(int32_t *chosen, int64_t N, int64_t E);
    /* gates[n, e] = 1 for e = first[n], else 0 */
    void (*gate_one_hot)(float *gates, const int32_t *first, int64_t N, int64_t E);
    /* HOST counts[E]: how many tokens chose expert e first; chosen: [N, k] */
    void (*count_first)(int64_t *counts, const int32_t *chosen, int64_t N, int64_t E, int k);
    /* HOST results: mean_probs[E] = mean over tokens of probs; *entropy = mean over tokens of −Σ p log p */
    void (*routing_statistics)(double *mean_probs, double *entropy, const float *probs, int64_t N, int64_t E);
    /* Group the N·k (token, choice) pairs by expert. The rows of expert e are start[e] … start[e] + counts[e]; a group's
     * start is a multiple of `align`, rows between groups belong to nobody. slot[N·k] is a pair's row, source[R] a row's
     * pair or −1. counts and start are HOST arrays of E and E+1; start[E] = R ≤ N·k + E·(align − 1). */
    void (*group)(int32_t *slot, int32_t *source, int64_t *counts, int64_t *start, const int32_t *chosen, int64_t N,
                  int k, int64_t E, int64_t align);
    /* rows[r] = x[source[r] / k], 0 where source[r] < 0.   Backward: dx[n] (+)= Σ_j drows[slot[n, j]] */
    void (*gather)(void *rows, const void *x, const int32_t *source, int k, int64_t R, int64_t d);
    void (*gather_backward)(grad_out dx, const void *drows, const int32_t *slot, int k, int64_t N, int64_t d);
    /* y[n] = Σ_j gates[n, j] · rows[slot[n, j]]
     * Backward: drows[slot[n, j]] = gates[n, j] · dy[n] (rows of nobody become 0), dgates[n, j] = dy[n] · rows[slot[n, j]] */
    void (*combine)(void *y, const void *rows, const float *gates, const int32_t *slot, int k, int64_t N, int64_t d);
    void (*combine_backward)(void *drows, float *dgates, const void *dy, const void *rows, const float *gates,
                             const int32_t *slot, const int32_t *source, int k, int64_t N, int64_t R, int64_t d);

    /* ---- the loss ------------------------------------------------------------------------------------------------------ */
    /* z = cap · tanh(logits / cap) (cap 0: z = logits); nll[n] = log Σ exp z − z[target]. With dlogits (act [N, V]) it also
     * writes scale · d nll / d logits. logits: float32 [N, V]. A target < 0 is ignored: nll 0, gradient 0. */
    void (*softcap_cross_entropy)(float *nll, void *dlogits, const float *logits, const int32_t *targets, float cap,
                                  float scale, int64_t N, int64_t V);
    /* logits ← cap · tanh(logits / cap) */
    void (*softcap)(float *logits, float cap, int64_t count);

    /* ---- float32 arrays of parameters ------------------------------------------------------------------------------------ */
    double (*sum)(const float *x, int64_t count);
    double (*sum_squares)(const float *x, int64_t count);
    void (*scale)(float *x, float factor, int64_t count);
    void (*lerp)(float *y, const float *x, float t, int64_t count); /* y += t (x − y): EMA with decay 1 − t */
    void (*adam)(float *w, float *m, float *v, const float *grad, int64_t count, const adam_args *args);
    /* Muon (Jordan 2024; #2102): buffer ← momentum·buffer + grad; g = grad + momentum·buffer (Nesterov);
     * rows of g to unit length; Newton–Schulz with 3.4445, −4.7750, 2.0315; w ← (1 − lr·wd) w − lr·√max(1, rows/cols)·g */
    status (*muon)(float *w, float *buffer, const float *grad, int64_t rows, int64_t cols, const muon_args *args);
    /* out = w on the symmetric grid of 2·levels + 1 values, one scale a row: max|row| · clip / levels. QAT's forward. */
    void (*fake_quantize)(float *out, const float *w, int64_t rows, int64_t cols, int levels, float clip);
    /* H[cols, cols] += xᵀ x (x: act [N, cols]); GPTQ's Hessian, in float32 */
    void (*gram)(float *hessian, const void *x, int64_t N, int64_t cols);
} kernels;

/* The table for an activation type; NULL where this machine has no fast path for it (bf16 without AVX512-BF16). */
const kernels *kernels_for(dtype act);
/* DTYPE_BF16 where it is fast here, else DTYPE_F32. */
dtype kernels_best_act(void);
/* The instruction set taken: "amx", "avx512bf16", "avx512" or "avx2". MOEC_ISA=name forces a lower one. */
const char *kernels_isa(void);
/* "OK" or why this CPU cannot run moec (no AVX2), or MOEC_ISA names something unknown or above this CPU. */
status kernels_check(void);
int kernels_threads(void); /* what OpenMP uses; OMP_NUM_THREADS sets it */

/* Copies between a tensor and host memory; the only way data crosses above this folder. */
void tensor_write(const kernels *k, tensor *t, const void *host);
void tensor_read(const kernels *k, const tensor *t, void *host);

#endif

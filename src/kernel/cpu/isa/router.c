/* The router: E dot products a token, all in float32, and a softmax. E is too small for a matrix library to be fast, so
 * these are register tiles of a few tokens by a few experts. A tile that hangs over the edge repeats the last token or
 * expert and does not keep what it got for the repetition. */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/lanes_math.h"
#include "kernel/cpu/isa/routing.h"
#include "kernel/cpu/isa/rows.h"
#include <math.h>

/* As many sums as there are registers for: AVX-512 has 32, AVX2 16. */
enum { TILE_TOKENS = LANES == 16 ? 4 : 2, TILE_EXPERTS = 4, TILE_VECTORS = LANES == 16 ? 4 : 2 };
/* Tokens whose products are summed before they are added to dW: keeps the error of long sums down. */
enum { SUM_TOKENS = 512 };

/* logits[n, e] = x[n] · w[e] for a tile that starts at token n and expert e */
static inline void logits_tile(float *logits, const act *x, const float *w, int64_t n, int64_t e, int64_t N, int64_t d,
                               int64_t E) {
    const act *token[TILE_TOKENS];
    const float *expert[TILE_EXPERTS];
    lanes sum[TILE_TOKENS][TILE_EXPERTS];
    for (int i = 0; i < TILE_TOKENS; i++) token[i] = x + least(n + i, N - 1) * d;
    for (int j = 0; j < TILE_EXPERTS; j++) expert[j] = w + least(e + j, E - 1) * d;
    for (int i = 0; i < TILE_TOKENS; i++)
        for (int j = 0; j < TILE_EXPERTS; j++) sum[i][j] = lanes_all(0);
    for (int64_t c = 0; c < d; c += LANES) {
        lanes in[TILE_TOKENS];
        for (int i = 0; i < TILE_TOKENS; i++) in[i] = act_get(token[i] + c, d - c);
        for (int j = 0; j < TILE_EXPERTS; j++) {
            lanes weights = lanes_get(expert[j] + c, d - c);
            for (int i = 0; i < TILE_TOKENS; i++) sum[i][j] = lanes_multiply_add(in[i], weights, sum[i][j]);
        }
    }
    for (int i = 0; i < TILE_TOKENS && n + i < N; i++)
        for (int j = 0; j < TILE_EXPERTS && e + j < E; j++) logits[(n + i) * E + e + j] = lanes_sum(sum[i][j]);
}

static void softmax_row(float *p, int64_t E) {
    float largest = p[0], sum = 0;
    for (int64_t e = 1; e < E; e++) largest = p[e] > largest ? p[e] : largest;
    for (int64_t e = 0; e < E; e += LANES) {
        lanes power = lanes_keep(lanes_exp(lanes_get(p + e, E - e) - lanes_all(largest)), E - e);
        lanes_put(p + e, power, E - e);
        sum += lanes_sum(power);
    }
    for (int64_t e = 0; e < E; e += LANES) lanes_put(p + e, lanes_get(p + e, E - e) / lanes_all(sum), E - e);
}

static void router(float *logits, float *probs, const void *x, const float *w, int64_t N, int64_t d, int64_t E) {
#pragma omp parallel for schedule(static) if (N * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n += TILE_TOKENS) {
        int64_t count = least(N - n, TILE_TOKENS);
        for (int64_t e = 0; e < E; e += TILE_EXPERTS) logits_tile(probs, x, w, n, e, N, d, E);
        if (logits) memcpy(logits + n * E, probs + n * E, count * E * sizeof(float));
        for (int64_t i = 0; i < count; i++) softmax_row(probs + (n + i) * E, E);
    }
}

/* A normal number for each place: splitmix64's output function on a counter (Steele, Lea & Flood 2014), then Box–Muller. */
static float noise_at(uint64_t seed, uint64_t place) {
    uint64_t z = seed + place * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    float radius = ((float)(z >> 40) + 1) * 0x1p-24f, angle = (float)(z & 0xffffff) * 0x1p-24f; /* (0, 1], [0, 1) */
    return sqrtf(-2 * logf(radius)) * cosf(6.2831853f * angle);
}

static void router_noise(float *logits, float *probs, float std, uint64_t seed, int64_t N, int64_t E) {
#pragma omp parallel for schedule(static) if (N * E > 4096)
    for (int64_t n = 0; n < N; n++) {
        for (int64_t e = 0; e < E; e++) logits[n * E + e] += std * noise_at(seed, (uint64_t)(n * E + e));
        memcpy(probs + n * E, logits + n * E, E * sizeof(float));
        softmax_row(probs + n * E, E);
    }
}

static void router_mask(float *logits, float *probs, float *scores, const float *mask, const float *bias,
                        int64_t rows_a_mask, int64_t N, int64_t E) {
    for (int64_t n = 0; n < N; n++) {
        const float *m = mask + n / rows_a_mask * E;
        for (int64_t e = 0; e < E; e++) logits[n * E + e] += m[e];
        memcpy(probs + n * E, logits + n * E, E * sizeof(float));
        softmax_row(probs + n * E, E);
        for (int64_t e = 0; scores && e < E; e++) scores[n * E + e] = probs[n * E + e] + bias[e] + m[e];
    }
}

/* dx[n] (+)= Σ_e dlogits[n, e] w[e] */
static void router_backward_input(grad_out dx, const float *dlogits, const float *w, int64_t N, int64_t d, int64_t E) {
#pragma omp parallel for schedule(static) if (N * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n += TILE_TOKENS) {
        const float *given[TILE_TOKENS];
        for (int i = 0; i < TILE_TOKENS; i++) given[i] = dlogits + least(n + i, N - 1) * E;
        for (int64_t c = 0; c < d; c += LANES) {
            lanes sum[TILE_TOKENS];
            for (int i = 0; i < TILE_TOKENS; i++) sum[i] = lanes_all(0);
            for (int64_t e = 0; e < E; e++) {
                lanes weights = lanes_get(w + e * d + c, d - c);
                for (int i = 0; i < TILE_TOKENS; i++)
                    sum[i] = lanes_multiply_add(lanes_all(given[i][e]), weights, sum[i]);
            }
            for (int i = 0; i < TILE_TOKENS; i++)
                if (n + i < N) grad_put(dx, (n + i) * d + c, sum[i], d - c);
        }
    }
}

/* dw[e, c…] += Σ_n dlogits[n, e] x[n, c…] for a tile of experts and channels and the tokens from `from` to `to` */
static inline void weight_tile(float *dw, const float *dlogits, const act *x, int64_t e, int64_t c, int64_t from,
                               int64_t to, int64_t d, int64_t E) {
    int64_t expert[TILE_EXPERTS];
    lanes sum[TILE_EXPERTS][TILE_VECTORS];
    for (int j = 0; j < TILE_EXPERTS; j++) expert[j] = least(e + j, E - 1);
    for (int j = 0; j < TILE_EXPERTS; j++)
        for (int i = 0; i < TILE_VECTORS; i++) sum[j][i] = lanes_all(0);
    for (int64_t n = from; n < to; n++) {
        lanes in[TILE_VECTORS];
        for (int i = 0; i < TILE_VECTORS; i++) in[i] = act_get(x + n * d + c + i * LANES, d - c - i * LANES);
        for (int j = 0; j < TILE_EXPERTS; j++) {
            lanes given = lanes_all(dlogits[n * E + expert[j]]);
            for (int i = 0; i < TILE_VECTORS; i++) sum[j][i] = lanes_multiply_add(given, in[i], sum[j][i]);
        }
    }
    for (int j = 0; j < TILE_EXPERTS && e + j < E; j++) {
        for (int i = 0; i < TILE_VECTORS; i++) {
            float *out = dw + (e + j) * d + c + i * LANES;
            int64_t left = d - c - i * LANES;
            lanes_put(out, lanes_get(out, left) + sum[j][i], left);
        }
    }
}

/* Every tile of dW has one owner, who adds in the order of the tokens: the result does not depend on the threads. */
static void router_backward_weight(float *dw, const float *dlogits, const act *x, int64_t N, int64_t d, int64_t E) {
#pragma omp parallel for collapse(2) schedule(static) if (N * d > PARALLEL_ELEMENTS)
    for (int64_t c = 0; c < d; c += TILE_VECTORS * LANES)
        for (int64_t e = 0; e < E; e += TILE_EXPERTS)
            for (int64_t n = 0; n < N; n += SUM_TOKENS)
                weight_tile(dw, dlogits, x, e, c, n, least(n + SUM_TOKENS, N), d, E);
}

static void router_backward(grad_out dx, float *dw, const float *dlogits, const void *x, const float *w, int64_t N,
                            int64_t d, int64_t E) {
    if (dx.data) router_backward_input(dx, dlogits, w, N, d, E);
    if (dw) router_backward_weight(dw, dlogits, x, N, d, E);
}

void KERNEL(fill_router)(kernels *table) {
    table->router = router;
    table->router_backward = router_backward;
    table->router_noise = router_noise;
    table->router_mask = router_mask;
}

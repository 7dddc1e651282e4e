/* From a router's probabilities to gates and back. Arrays are [N, E]: small beside the activations. */
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/scratch.h"
#include <math.h>

static float chosen_sum(const float *probs, const int32_t *chosen, int k) {
    float sum = 0;
    for (int j = 0; j < k; j++) sum += probs[chosen[j]];
    return sum;
}

/* Those of nobody stand behind the others. */
static int choices(const int32_t *chosen, int k) {
    while (k > 0 && chosen[k - 1] < 0) k--;
    return k;
}

static void gate(float *gates, const float *probs, const int32_t *chosen, int renormalize, int64_t N, int64_t E,
                 int k) {
#pragma omp parallel for schedule(static) if (N * k > 4096)
    for (int64_t n = 0; n < N; n++) {
        const int own = choices(chosen + n * k, k);
        float divisor = renormalize > 0 && own >= renormalize ? chosen_sum(probs + n * E, chosen + n * k, own) : 1;
        for (int j = 0; j < k; j++) gates[n * k + j] = j < own ? probs[n * E + chosen[n * k + j]] / divisor : 0;
    }
}

/* With g_j = p_j / S over the chosen: d/dp_j = (dg_j − Σ_i dg_i g_i) / S; then the softmax: dl_e = p_e (dp_e − Σ_i p_i dp_i). */
static void gate_backward(float *dlogits, const float *dgates, const int32_t *first_counts, float balance,
                          const float *probs, const int32_t *chosen, bool renormalize, int64_t N, int64_t E, int k) {
    float of_count = balance * (float)E / ((float)N * (float)N); /* E · f_e / N with f_e = count / N */
#pragma omp parallel for schedule(static) if (N * E > 4096)
    for (int64_t n = 0; n < N; n++) {
        const float *p = probs + n * E, *dg = dgates + n * k;
        const int32_t *picks = chosen + n * k;
        float *dl = dlogits + n * E, sum = 1, mean = 0;
        if (renormalize) {
            sum = chosen_sum(p, picks, k);
            for (int j = 0; j < k; j++) mean += dg[j] * p[picks[j]] / sum;
        }
        for (int64_t e = 0; e < E; e++) dl[e] = balance != 0 ? of_count * (float)first_counts[e] : 0;
        for (int j = 0; j < k; j++) dl[picks[j]] += (dg[j] - mean) / sum;
        float dot = 0;
        for (int64_t e = 0; e < E; e++) dot += p[e] * dl[e];
        for (int64_t e = 0; e < E; e++) dl[e] = p[e] * (dl[e] - dot);
    }
}

/* ---- what a pass through a router did ---- */

/* log Σ exp, from the largest on */
static float log_sum(const float *logits, int64_t E) {
    float largest = logits[0], sum = 0;
    for (int64_t e = 1; e < E; e++) largest = logits[e] > largest ? logits[e] : largest;
    for (int64_t e = 0; e < E; e++) sum += expf(logits[e] - largest);
    return largest + logf(sum);
}

/* Over some tokens: Σ p of each expert, then Σ of their entropies, then Σ (log Σ exp)² */
static void sum_piece(double *sums, const float *logits, const float *probs, int64_t count, int64_t E) {
    double entropy = 0, z = 0;
    for (int64_t e = 0; e < E; e++) sums[e] = 0;
    for (int64_t n = 0; n < count; n++) {
        for (int64_t e = 0; e < E; e++) {
            float p = probs[n * E + e];
            sums[e] += p;
            if (p > 0) entropy -= p * logf(p);
        }
        double of_token = logits ? log_sum(logits + n * E, E) : 0;
        z += of_token * of_token;
    }
    sums[E] = entropy;
    sums[E + 1] = z;
}

enum { PIECE_TOKENS = 256 }; /* are summed by one thread, whatever their number; the pieces are added in order */

static void routing_statistics(double *sums, const float *logits, const float *probs, const int32_t *pair_counts,
                               const int32_t *first_counts, int64_t N, int64_t E, int k) {
    int64_t pieces = (N + PIECE_TOKENS - 1) / PIECE_TOKENS, width = E + 2;
    double of_token = N > 0 ? 1 / (double)N : 0;
    double *parts = KERNEL(scratch)(SCRATCH_SHARED, (size_t)(pieces * width) * sizeof(double));
#pragma omp parallel for schedule(static) if (N * E > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < pieces; i++) {
        int64_t from = i * PIECE_TOKENS;
        sum_piece(parts + i * width, logits ? logits + from * E : NULL, probs + from * E, least(N - from, PIECE_TOKENS),
                  E);
    }
    for (int64_t i = 1; i < pieces; i++)
        for (int64_t j = 0; j < width; j++) parts[j] += parts[i * width + j];
    for (int64_t e = 0; e < E && N > 0; e++) {
        double first = first_counts[e] * of_token, mean = parts[e] * of_token;
        sums[e] += pair_counts[e] * of_token / k;
        sums[E + e] += first;
        sums[2 * E + e] += mean;
        sums[3 * E + 2] += first * mean;
    }
    for (int i = 0; i < 2 && N > 0; i++) sums[3 * E + i] += parts[E + i] * of_token;
}

/* ---- what is not a choice ---- */

static void choose_all(int32_t *chosen, int64_t N, int64_t E) {
    for (int64_t n = 0; n < N; n++)
        for (int64_t e = 0; e < E; e++) chosen[n * E + e] = (int32_t)e;
}

static void gate_one_hot(float *gates, const int32_t *first, int64_t N, int64_t E) {
    for (int64_t n = 0; n < N; n++)
        for (int64_t e = 0; e < E; e++) gates[n * E + e] = e == first[n];
}

static void count_first(int32_t *counts, const int32_t *chosen, int64_t N, int64_t E, int k) {
    for (int64_t e = 0; e < E; e++) counts[e] = 0;
    for (int64_t n = 0; n < N; n++) counts[chosen[n * k]]++;
}

/* ---- the z-loss ---- */

/* d(z²)/dl_e = 2 z p_e */
static void router_z_backward(float *dlogits, const float *logits, const float *probs, float weight, int64_t N,
                              int64_t E) {
#pragma omp parallel for schedule(static) if (N * E > 4096)
    for (int64_t n = 0; n < N; n++) {
        float slope = 2 * weight / (float)N * log_sum(logits + n * E, E);
        for (int64_t e = 0; e < E; e++) dlogits[n * E + e] += slope * probs[n * E + e];
    }
}

static void softmax_backward(float *dlogits, const float *dprobs, const float *probs, int64_t N, int64_t E) {
#pragma omp parallel for schedule(static) if (N * E > 4096)
    for (int64_t n = 0; n < N; n++) {
        const float *p = probs + n * E, *dp = dprobs + n * E;
        float dot = 0;
        for (int64_t e = 0; e < E; e++) dot += p[e] * dp[e];
        for (int64_t e = 0; e < E; e++) dlogits[n * E + e] = p[e] * (dp[e] - dot);
    }
}

void KERNEL(fill_gate)(kernels *table) {
    table->choose_all = choose_all;
    table->gate_one_hot = gate_one_hot;
    table->count_first = count_first;
    table->router_z_backward = router_z_backward;
    table->softmax_backward = softmax_backward;
    table->gate = gate;
    table->gate_backward = gate_backward;
    table->routing_statistics = routing_statistics;
}

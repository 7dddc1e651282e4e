/* From a router's probabilities to gates and back. Arrays are [N, E] with E ≤ 64: small beside the activations. */
#include "kernel/cpu/variant.h"

#include <math.h>

static float chosen_sum(const float *probs, const int32_t *chosen, int k) {
    float sum = 0;
    for (int j = 0; j < k; j++) sum += probs[chosen[j]];
    return sum;
}

static void gate(float *gates, const float *probs, const int32_t *chosen, bool renormalize, int64_t N, int64_t E,
                 int k) {
#pragma omp parallel for schedule(static) if (N * k > 4096)
    for (int64_t n = 0; n < N; n++) {
        float divisor = renormalize ? chosen_sum(probs + n * E, chosen + n * k, k) : 1;
        for (int j = 0; j < k; j++) gates[n * k + j] = probs[n * E + chosen[n * k + j]] / divisor;
    }
}

/* With g_j = p_j / S over the chosen: d/dp_j = (dg_j − Σ_i dg_i g_i) / S; then the softmax: dl_e = p_e (dp_e − Σ_i p_i dp_i). */
static void gate_backward(float *dlogits, const float *dgates, const float *dprobs, const float *probs,
                          const int32_t *chosen, bool renormalize, int64_t N, int64_t E, int k) {
#pragma omp parallel for schedule(static) if (N * E > 4096)
    for (int64_t n = 0; n < N; n++) {
        const float *p = probs + n * E, *dg = dgates + n * k;
        const int32_t *picks = chosen + n * k;
        float *dl = dlogits + n * E, sum = 1, mean = 0;
        if (renormalize) {
            sum = chosen_sum(p, picks, k);
            for (int j = 0; j < k; j++) mean += dg[j] * p[picks[j]] / sum;
        }
        for (int64_t e = 0; e < E; e++) dl[e] = dprobs[e];
        for (int j = 0; j < k; j++) dl[picks[j]] += (dg[j] - mean) / sum;
        float dot = 0;
        for (int64_t e = 0; e < E; e++) dot += p[e] * dl[e];
        for (int64_t e = 0; e < E; e++) dl[e] = p[e] * (dl[e] - dot);
    }
}

static void routing_statistics(double *mean_probs, double *entropy, const float *probs, int64_t N, int64_t E) {
    double total = 0;
    for (int64_t e = 0; e < E; e++) mean_probs[e] = 0;
    for (int64_t n = 0; n < N; n++) {
        for (int64_t e = 0; e < E; e++) {
            float p = probs[n * E + e];
            mean_probs[e] += p;
            if (p > 0) total -= p * logf(p);
        }
    }
    for (int64_t e = 0; e < E; e++) mean_probs[e] /= N > 0 ? (double)N : 1;
    *entropy = N > 0 ? total / (double)N : 0;
}

void KERNEL(fill_gate)(kernels *table) {
    table->gate = gate;
    table->gate_backward = gate_backward;
    table->routing_statistics = routing_statistics;
}

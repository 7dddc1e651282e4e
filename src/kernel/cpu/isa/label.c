/* Tokens whose expert is known: the router is taught it, and may be overruled by it. */
#include "kernel/cpu/isa/routing.h"
#include "kernel/cpu/isa/rows.h"
#include <float.h>
#include <math.h>

static void router_force(float *logits, float *probs, const int32_t *labels, int64_t N, int64_t E) {
    for (int64_t n = 0; n < N; n++) {
        if (labels[n] < 0) continue;
        for (int64_t e = 0; e < E; e++) {
            if (e != labels[n]) logits[n * E + e] = -INFINITY;
            probs[n * E + e] = e == labels[n];
        }
    }
}

/* d(−log p_l)/d logits_e = p_e − [e = l] */
static void router_label_backward(float *dlogits, const float *probs, const int32_t *labels, float weight, int64_t N,
                                  int64_t E) {
    const float scale = weight / (float)N;
#pragma omp parallel for schedule(static) if (N * E > 4096)
    for (int64_t n = 0; n < N; n++) {
        if (labels[n] < 0) continue;
        for (int64_t e = 0; e < E; e++) dlogits[n * E + e] += scale * (probs[n * E + e] - (e == labels[n]));
    }
}

/* Whether no expert is more probable; of equals the first one is chosen. */
static bool is_chosen(const float *p, int64_t label, int64_t E) {
    for (int64_t e = 0; e < E; e++)
        if (p[e] > p[label] || (p[e] == p[label] && e < label)) return false;
    return true;
}

static void label_statistics(double *sums, const float *probs, const int32_t *labels, int64_t N, int64_t E) {
    double nll = 0, right = 0, labelled = 0;
    for (int64_t n = 0; n < N; n++) {
        if (labels[n] < 0) continue;
        const float *p = probs + n * E;
        nll -= log((double)fmaxf(p[labels[n]], FLT_MIN));
        right += is_chosen(p, labels[n], E);
        labelled++;
    }
    for (int i = 0; i < 3 && N > 0; i++) sums[i] += (i == 0 ? nll : i == 1 ? right : labelled) / (double)N;
}

void KERNEL(fill_label)(kernels *table) {
    table->router_force = router_force;
    table->router_label_backward = router_label_backward;
    table->label_statistics = label_statistics;
}

/* The largest log-probabilities of a row and what is left for the others.
 *
 * With the k + 1 largest capped logits z₁ ≥ … ≥ z_k ≥ s: R = Σ over all but the first k of e^(z − s) lies in [1, V], whatever the logits are,
 * so the rest's logarithm s + log R is as exact where it is 10⁻³⁰ as where it is ½; log Σ eᶻ = log(Σ_j e^(z_j) + e^s R). */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/lanes_math.h"
#include "kernel/cpu/isa/rows.h"

#include <math.h>

enum { GROUP = 4 * LANES };

typedef struct best_list {
    int count, most;
    float value[TOP_LOG_PROBS_MOST + 1]; /* falling; of equal ones the first in the row comes first */
    int32_t id[TOP_LOG_PROBS_MOST + 1];
} best_list;

static void offer(best_list *b, int32_t id, float value) {
    if (b->count == b->most && !(value > b->value[b->most - 1])) return;
    int place = b->count < b->most ? b->count++ : b->most - 1;
    for (; place > 0 && value > b->value[place - 1]; place--) {
        b->value[place] = b->value[place - 1];
        b->id[place] = b->id[place - 1];
    }
    b->value[place] = value;
    b->id[place] = id;
}

static float group_largest(const float *z) {
    const lanes a = lanes_max(lanes_get(z, LANES), lanes_get(z + LANES, LANES));
    const lanes b = lanes_max(lanes_get(z + 2 * LANES, LANES), lanes_get(z + 3 * LANES, LANES));
    return lanes_largest(lanes_max(a, b));
}

/* Few groups have one that enters the list: about k ln(V / k) of V / GROUP. */
static void find_best(best_list *b, const float *z, int64_t V) {
    int64_t v = 0;
    for (; v + GROUP <= V; v += GROUP) {
        if (b->count == b->most && !(group_largest(z + v) > b->value[b->most - 1])) continue;
        for (int i = 0; i < GROUP; i++) offer(b, (int32_t)(v + i), z[v + i]);
    }
    for (; v < V; v++) offer(b, (int32_t)v, z[v]);
}

static void cap_row(float *logits, float cap, int64_t V) {
    if (cap <= 0) return;
    const lanes inverse = lanes_all(1 / cap);
    for (int64_t v = 0; v < V; v += LANES)
        lanes_put(logits + v, lanes_all(cap) * lanes_tanh(lanes_get(logits + v, V - v) * inverse), V - v);
}

static float exp_sum(const float *z, float shift, int64_t V) {
    lanes sum[2] = {lanes_all(0), lanes_all(0)};
    int64_t v = 0;
    for (; v + 2 * LANES <= V; v += 2 * LANES) {
        sum[0] += lanes_exp(lanes_get(z + v, LANES) - lanes_all(shift));
        sum[1] += lanes_exp(lanes_get(z + v + LANES, LANES) - lanes_all(shift));
    }
    for (; v < V; v += LANES) sum[0] += lanes_keep(lanes_exp(lanes_get(z + v, V - v) - lanes_all(shift)), V - v);
    return lanes_sum(sum[0] + sum[1]);
}

static void top_row(int32_t *ids, float *log_probs, float *rest, float *z, float cap, int64_t V, int k) {
    best_list best = {.most = k + 1};
    cap_row(z, cap, V);
    find_best(&best, z, V);
    for (int i = 0; i < k; i++) z[best.id[i]] = -INFINITY; /* e⁻⁸⁷ each, which is nothing beside 1 */
    const double shift = best.value[k], largest = best.value[0];
    const double log_rest = shift + log((double)exp_sum(z, best.value[k], V));
    double sum = exp(log_rest - largest);
    for (int i = 0; i < k; i++) sum += exp(best.value[i] - largest);
    const double log_sum = largest + log(sum);
    for (int i = 0; i < k; i++) {
        ids[i] = best.id[i];
        log_probs[i] = (float)(best.value[i] - log_sum);
    }
    *rest = (float)(log_rest - log_sum);
}

static void top_log_probs(int32_t *ids, float *log_probs, float *rest, float *logits, float cap, int64_t N, int64_t V,
                          int k) {
#pragma omp parallel for schedule(static) if (N * V > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) top_row(ids + n * k, log_probs + n * k, rest + n, logits + n * V, cap, V, k);
}

void KERNEL(fill_top_log_probs)(kernels *table) {
    table->top_log_probs = top_log_probs;
}

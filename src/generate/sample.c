#include "generate/sampler.h"

#include "base/memory.h"
#include "generate/sample.h"
#include <math.h>
#include <stdlib.h>

/* Largest logit first; equal ones by id, so that the order is the same everywhere and no two are equal. */
static bool before(const candidate *a, const candidate *b) {
    return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

static void swap(candidate *a, candidate *b) {
    candidate c = *a;
    *a = *b;
    *b = c;
}

/* Puts what comes before c[pivot] in front of it and everything else behind; returns its new place. */
static int partition(candidate *c, int count, int pivot, double *mass_before) {
    int at = 0;
    *mass_before = 0;
    swap(&c[pivot], &c[count - 1]);
    for (int i = 0; i < count - 1; i++)
        if (before(&c[i], &c[count - 1])) {
            *mass_before += c[i].weight;
            swap(&c[i], &c[at++]);
        }
    swap(&c[at], &c[count - 1]);
    return at;
}

/* The least n ≥ 1 for which the n candidates that come first weigh `mass` together, in time proportional to their number
 * (quickselect, Hoare 1961). They are c[0 .. n) then, the last of them at c[n − 1], without order otherwise. The pivots are
 * pseudo-random, so that no logits make it slow. */
static int first_of_mass(candidate *c, int count, double mass) {
    int low = 0, high = count; /* c[low .. high) is still to be divided */
    uint32_t random = 1;
    while (high - low > 1) {
        double left;
        random = random * 1664525 + 1013904223;
        int at = low + partition(c + low, high - low, (int)((uint64_t)random * (uint32_t)(high - low) >> 32), &left);
        if (left >= mass && at > low) {
            high = at;
        } else if (left + c[at].weight >= mass) {
            return at + 1;
        } else {
            mass -= left + c[at].weight;
            low = at + 1;
        }
    }
    return low < high ? low + 1 : low; /* the latter where rounding kept the sum under `mass` */
}

static int32_t likeliest(const float *logits, int vocab_size) {
    int32_t best = 0;
    for (int32_t i = 1; i < vocab_size; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* weight = exp((logit − largest) / temperature); returns their sum. */
static double weigh(candidate *c, int count, float largest, float temperature) {
    double sum = 0;
    for (int i = 0; i < count; i++) sum += c[i].weight = expf((c[i].logit - largest) / temperature);
    return sum;
}

/* Those of the first n that are at least min_p times as probable as the likeliest, whose weight is 1. */
static int drop_improbable(candidate *c, int count, float min_p) {
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (c[i].weight >= min_p) c[kept++] = c[i];
    return kept;
}

/* How many candidates stay, the first ones: top_k of them, of those the fewest whose probabilities reach top_p, and of
 * those the ones that min_p lets through. Returns what they weigh together. */
static double keep(const sampler *s, candidate *c, int *count, float largest) {
    if (s->top_k > 0 && s->top_k < *count) *count = first_of_mass(c, *count, s->top_k); /* each weighs 1 */
    double sum = weigh(c, *count, largest, s->temperature);
    if (s->top_p >= 1 && s->min_p <= 0) return sum;
    if (s->top_p < 1) *count = first_of_mass(c, *count, s->top_p * sum);
    if (s->min_p > 0) *count = drop_improbable(c, *count, s->min_p);
    sum = 0;
    for (int i = 0; i < *count; i++) sum += c[i].weight;
    return sum;
}

int32_t sample_among(const sampler *s, const float *logits, int vocab_size, candidate *c, rng *r) {
    const int32_t best = likeliest(logits, vocab_size);
    if (s->temperature <= 0 || !(logits[best] > -INFINITY)) return best;
    int count = 0;
    for (int32_t i = 0; i < vocab_size; i++)
        if (logits[i] > -INFINITY) c[count++] = (candidate){.logit = logits[i], .weight = 1, .id = i};
    double sum = keep(s, c, &count, logits[best]);
    return c[first_of_mass(c, count, rng_uniform(r) * sum) - 1].id;
}

int32_t sample(const sampler *s, const float *logits, int vocab_size, rng *r) {
    candidate *c = xmalloc((size_t)vocab_size * sizeof *c);
    const int32_t id = sample_among(s, logits, vocab_size, c, r);
    free(c);
    return id;
}

double top_probabilities(const float *logits, int vocab, int count, token_probability *top) {
    float largest = -INFINITY;
    double sum = 0;
    int found = 0;
    for (int32_t i = 0; i < vocab; i++) {
        largest = logits[i] > largest ? logits[i] : largest;
        if (count == 0 || (found == count && logits[i] <= top[count - 1].log_prob)) continue;
        int place = found < count ? found++ : count - 1;
        for (; place > 0 && top[place - 1].log_prob < logits[i]; place--) top[place] = top[place - 1];
        top[place] = (token_probability){i, logits[i]};
    }
    for (int32_t i = 0; i < vocab; i++) sum += expf(logits[i] - largest);
    const double log_sum = largest + log(sum);
    for (int i = 0; i < found; i++) top[i].log_prob = (float)(top[i].log_prob - log_sum);
    return log_sum;
}

bool logits_are_finite(const float *logits, int vocab) {
    for (int i = 0; i < vocab; i++)
        if (!isfinite(logits[i])) return false;
    return true;
}

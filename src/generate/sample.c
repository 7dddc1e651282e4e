#include "base/memory.h"
#include "generate/generate.h"
#include <math.h>
#include <stdlib.h>

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

/* Largest logit first; equal ones by id, so that the order is the same everywhere. */
static int by_logit(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static int32_t likeliest(const float *logits, int vocab_size) {
    int32_t best = 0;
    for (int32_t i = 1; i < vocab_size; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* How many of the sorted candidates stay: top_k of them, and of those the fewest whose probabilities reach top_p. Turns
 * logits into weights exp((logit − largest) / temperature) and returns their sum over what stays. */
static double keep(const sampler *s, candidate *c, int vocab_size, int *kept) {
    int count = s->top_k > 0 && s->top_k < vocab_size ? s->top_k : vocab_size;
    float largest = c[0].logit;
    double sum = 0, reached = 0;
    for (int i = 0; i < count; i++) {
        c[i].logit = expf((c[i].logit - largest) / s->temperature);
        sum += c[i].logit;
    }
    for (*kept = 0; *kept < count; (*kept)++) {
        if (*kept > 0 && reached >= s->top_p * sum) break;
        reached += c[*kept].logit;
    }
    return reached;
}

int32_t sample(const sampler *s, const float *logits, int vocab_size, rng *r) {
    if (s->temperature <= 0) return likeliest(logits, vocab_size);
    candidate *c = xmalloc((size_t)vocab_size * sizeof *c);
    for (int32_t i = 0; i < vocab_size; i++) c[i] = (candidate){.logit = logits[i], .id = i};
    qsort(c, (size_t)vocab_size, sizeof *c, by_logit);
    int kept;
    double draw = rng_uniform(r) * keep(s, c, vocab_size, &kept);
    int at = 0;
    while (at + 1 < kept && (draw -= c[at].logit) >= 0) at++;
    int32_t id = c[at].id;
    free(c);
    return id;
}

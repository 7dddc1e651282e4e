#include "eval/document_routing.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

int likeliest_expert(const double *probs, int experts) {
    int best = 0;
    for (int e = 1; e < experts; e++)
        if (probs[e] > probs[best]) best = e;
    return best;
}

void token_routing_read(token_routing *t, const moe_choice *c, int64_t n) {
    const int32_t *chosen = c->chosen + n * c->k;
    const float *gates = c->gates + n * c->k;
    double sum = 0;
    for (int e = 0; e < c->experts; e++) {
        t->probs[e] = (double)c->probs[n * c->experts + e];
        t->gates[e] = 0;
    }
    for (int i = 0; i < c->k; i++) sum += (double)gates[i];
    for (int i = 0; i < c->k; i++) t->gates[chosen[i]] += sum > 0 ? (double)gates[i] / sum : 1.0 / c->k;
    t->first = c->k == c->experts ? likeliest_expert(t->probs, c->experts) : chosen[0];
}

static double *grow(double *sums, int64_t before, int64_t after) {
    sums = xrealloc(sums, (size_t)after * sizeof *sums);
    memset(sums + before, 0, (size_t)(after - before) * sizeof *sums);
    return sums;
}

void document_routing_reserve(document_routing *r, int64_t documents) {
    if (documents <= r->room) return;
    int64_t room = r->room ? r->room : 16;
    while (room < documents) room *= 2;
    const int64_t before = r->room * r->experts, after = room * r->experts;
    r->first = grow(r->first, before, after);
    r->gates = grow(r->gates, before, after);
    r->probs = grow(r->probs, before, after);
    r->room = room;
}

void document_routing_add(document_routing *r, int64_t document, const token_routing *t) {
    document_routing_reserve(r, document + 1);
    double *gates = r->gates + document * r->experts, *probs = r->probs + document * r->experts;
    r->first[document * r->experts + t->first]++;
    for (int e = 0; e < r->experts; e++) {
        gates[e] += t->gates[e];
        probs[e] += t->probs[e];
    }
}

void document_routing_free(document_routing *r) {
    free(r->first);
    free(r->gates);
    free(r->probs);
    *r = (document_routing){0};
}

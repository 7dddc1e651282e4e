/* The causal bigram blend. Counts live in a hash table from (previous, token) to how often that pair was scored. */
#include "base/memory.h"
#include "eval/bpb.h"
#include <math.h>
#include <stdlib.h>

typedef struct pair_count {
    uint64_t key; /* previous · V + token + 1; 0: empty */
    uint32_t count;
} pair_count;

struct bigram_blend {
    int vocab_size;
    double lambda;
    uint32_t *totals; /* [V]: how often a token was the previous one */
    pair_count *pairs;
    uint64_t capacity, used; /* capacity: a power of two, at most half full */
};

static pair_count *find(pair_count *pairs, uint64_t capacity, uint64_t key) {
    for (uint64_t at = key * 0x9e3779b97f4a7c15u >> 17;; at++) {
        pair_count *p = &pairs[at & (capacity - 1)];
        if (p->key == 0 || p->key == key) return p;
    }
}

bigram_blend *bigram_blend_create(int vocab_size, double lambda) {
    bigram_blend *b = xcalloc(1, sizeof *b);
    *b = (bigram_blend){.vocab_size = vocab_size, .lambda = lambda, .capacity = 1 << 12};
    b->totals = xcalloc((size_t)vocab_size, sizeof *b->totals);
    b->pairs = xcalloc(b->capacity, sizeof *b->pairs);
    return b;
}

void bigram_blend_destroy(bigram_blend *b) {
    if (!b) return;
    free(b->totals);
    free(b->pairs);
    free(b);
}

static void grow(bigram_blend *b) {
    uint64_t capacity = 2 * b->capacity;
    pair_count *pairs = xcalloc(capacity, sizeof *pairs);
    for (uint64_t i = 0; i < b->capacity; i++)
        if (b->pairs[i].key) *find(pairs, capacity, b->pairs[i].key) = b->pairs[i];
    free(b->pairs);
    b->pairs = pairs;
    b->capacity = capacity;
}

double bigram_blend_score(bigram_blend *b, int32_t prev, int32_t token, double nll) {
    uint64_t key = (uint64_t)prev * (uint64_t)b->vocab_size + (uint64_t)token + 1;
    pair_count *pair = find(b->pairs, b->capacity, key);
    double total = b->totals[prev], confidence = total / (total + 10);
    double bigram = (pair->count + 1.0) / (total + b->vocab_size), weight = b->lambda * confidence;
    double blended = -log((1 - weight) * exp(-nll) + weight * bigram);
    if (pair->key == 0) b->used++;
    pair->key = key;
    pair->count++;
    b->totals[prev]++;
    if (2 * b->used > b->capacity) grow(b);
    return blended;
}

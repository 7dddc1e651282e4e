/* A Feistel network of four rounds permutes the smallest power of four that holds all numbers; what lands beyond the last one
 * is sent through it again until it falls inside (cycle walking), which keeps it one-to-one. */
#include "text/permutation.h"
#include "base/random.h"

static uint64_t mix(uint64_t x) { /* splitmix64's finaliser */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t feistel(uint64_t value, int half_bits, const uint64_t keys[4]) {
    uint64_t mask = (UINT64_C(1) << half_bits) - 1, left = value >> half_bits, right = value & mask;
    for (int round = 0; round < 4; round++) {
        uint64_t next = left ^ (mix(right ^ keys[round]) & mask);
        left = right;
        right = next;
    }
    return left << half_bits | right;
}

int64_t permuted(uint64_t seed, uint64_t epoch, int64_t count, uint64_t index) {
    rng r = rng_seed(seed ^ mix(epoch + 1));
    uint64_t keys[4], value = index;
    for (int i = 0; i < 4; i++) keys[i] = rng_next(&r);
    int half_bits = 1;
    while ((UINT64_C(1) << 2 * half_bits) < (uint64_t)count) half_bits++;
    do value = feistel(value, half_bits, keys);
    while (value >= (uint64_t)count);
    return (int64_t)value;
}

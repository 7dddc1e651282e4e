#include "base/random.h"
#include <math.h>

/* splitmix64 (Steele, Lea & Flood, 2014): spreads one word over the 256 bits of state, which must not be all zero. */
static uint64_t splitmix64(uint64_t *x) {
    uint64_t z = *x += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t rotate_left(uint64_t x, int bits) {
    return x << bits | x >> (64 - bits);
}

rng rng_seed(uint64_t seed) {
    rng r;
    for (int i = 0; i < 4; i++) r.state[i] = splitmix64(&seed);
    return r;
}

rng rng_named(uint64_t seed, const char *name) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a, 64 bits */
    for (const char *c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    return rng_seed(splitmix64(&seed) ^ splitmix64(&hash));
}

uint64_t rng_next(rng *r) {
    uint64_t *s = r->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, carry = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= carry;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double rng_uniform(rng *r) {
    return (double)(rng_next(r) >> 11) * 0x1p-53;
}

/* Lemire's multiplication with rejection (2019): the high word of next·bound is unbiased once low words under
 * 2^64 mod bound are drawn again. */
uint64_t rng_below(rng *r, uint64_t bound) {
    if (bound < 2) return 0;
    uint64_t threshold = -bound % bound;
    for (;;) {
        unsigned __int128 product = (unsigned __int128)rng_next(r) * bound;
        if ((uint64_t)product >= threshold) return (uint64_t)(product >> 64);
    }
}

void rng_normal(rng *r, float *out, size_t count, float std) {
    for (size_t i = 0; i < count; i += 2) {
        double radius = std * sqrt(-2 * log(1 - rng_uniform(r))); /* 1 - u is in (0, 1] */
        double angle = 2 * M_PI * rng_uniform(r);
        out[i] = (float)(radius * cos(angle));
        if (i + 1 < count) out[i + 1] = (float)(radius * sin(angle));
    }
}

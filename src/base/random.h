/* One random number generator for the whole program: xoshiro256**, seeded by splitmix64 (Blackman & Vigna, 2018).
 * The state is plain data, so a checkpoint stores it and a resumed run draws the same numbers. */
#ifndef MOEC_BASE_RANDOM_H
#define MOEC_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct rng {
    uint64_t state[4];
} rng;

rng rng_seed(uint64_t seed);
/* A generator for one purpose (a tensor's name, a layer) that does not depend on the order of the draws before it. */
rng rng_named(uint64_t seed, const char *name);
uint64_t rng_next(rng *r);
double rng_uniform(rng *r);                                   /* [0, 1) with 53 random bits */
uint64_t rng_below(rng *r, uint64_t bound);                   /* 0 … bound-1 without bias */
void rng_normal(rng *r, float *out, size_t count, float std); /* Box–Muller, in double */

#endif

/* Pseudo-random permutations of 0 … count − 1 that need no memory, another one for each seed and epoch. */
#ifndef MOEC_TEXT_PERMUTATION_H
#define MOEC_TEXT_PERMUTATION_H

#include <stdint.h>

/* Where `index` (below count) goes. */
int64_t permuted(uint64_t seed, uint64_t epoch, int64_t count, uint64_t index);

#endif

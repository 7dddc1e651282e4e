/* One block of device memory for what many parameters have: their values, their gradients, what accompanies them. A parameter
 * lies in all of them at its own offset, so that one call zeroes, adds up, averages or saves everything. */
#ifndef MOEC_GRAD_ARENA_H
#define MOEC_GRAD_ARENA_H

#include "grad/param.h"

typedef struct arena {
    const kernels *k;
    float *data; /* NULL: empty */
    int64_t count;
} arena;
status arena_create(arena *a, const kernels *k, int64_t count); /* zeroed */
void arena_destroy(arena *a);
void arena_zero(arena *a);

/* Where parameters lie: first those that are trained, then the other ones that are stored, then the derived ones, each at
 * a multiple of 16 floats (the gaps are 0 in every arena). An array for the trained ones alone is the beginning of one for
 * all. */
typedef struct arena_layout {
    int64_t trained, stored, total; /* floats up to the end of each kind */
} arena_layout;
/* Sets the offsets of the parameters that have values. */
arena_layout arena_lay_out(param *const *params, int count, bool (*has_values)(const param *));

#endif

/* Drop-upcycling's draws for one expert (upcycle.h has the rule). */
#ifndef MOEC_SURGERY_DROP_H
#define MOEC_SURGERY_DROP_H

#include "nn/weight_source.h"

typedef struct normal_law {
    double mean, deviation;
} normal_law;

/* Which of an expert's hidden units are drawn anew, and from what. */
typedef struct dropped {
    int64_t hidden;
    bool *unit;                /* [hidden] */
    normal_law gate, up, down; /* of the dropped units' weights; gate is fc's law where the MLP is not gated */
} dropped;

/* round(part · hidden) units by a draw that depends on seed, layer and expert alone; laws from the parent's MLP of that layer. */
status drop_choose(dropped *d, const weight_source *parent, int layer, int expert, double part, uint64_t seed);
void drop_free(dropped *d);
/* Rows first … of the expert's fc or proj (spec.role), which hold the original's values: what is dropped becomes new. */
void drop_apply(const dropped *d, const param_spec *spec, int64_t first, int64_t rows, uint64_t seed, float *values);

#endif

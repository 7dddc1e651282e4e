/* What runs of a sweep differ by from its first one, seed by seed.
 *
 * Runs of one seed begin with the same drawings and read the same text in the same order, and are scored on the same text: their
 * difference varies less than they do. Over n seeds it is mean ± t s/√n, with the sample's standard deviation s and the 97.5 % quantile t of
 * Student's distribution with n − 1 degrees of freedom: an interval that holds the true difference in 95 of 100 such experiments if
 * differences are normal. It speaks of trainings, not of other texts. */
#ifndef MOEC_STUDY_SWEEP_DIFFERENCE_H
#define MOEC_STUDY_SWEEP_DIFFERENCE_H

#include <cjson/cJSON.h>
#include <stdio.h>

struct sweep;

typedef struct seed_difference {
    int seeds;
    double mean, half; /* of the interval; NaN: no seed, fewer than two */
} seed_difference;

seed_difference seed_difference_of(const double *differences, int count);
/* "better", "worse", or "even" where 0 is in the interval; "" where there is none. */
const char *seed_difference_verdict(const seed_difference *d);

/* The table for results.md: bits per byte of the live weights, in all and by domain. Nothing of fewer than two runs, or of runs whose
 * steps differ. results: of results.jsonl. */
void sweep_differences_print(const struct sweep *s, const cJSON *results, FILE *out);

#endif

/* How a loss falls with size (tokens that were seen, parameters), as two laws through the same runs:
 *
 *   saturating  L(D) = E + A · D^−α     Hoffmann et al. 2022 (arXiv 2203.15556, eq. 2) in one size: E is what no size reaches
 *   power       L(D) = A · D^−α         Kaplan et al. 2020 (arXiv 2001.08361): the same with E = 0
 *
 * Both minimise Σ (log L(D) − log loss)² over the runs, with E ≥ 0 and 0 < α ≤ 4, from a grid of starts as Hoffmann et al. do;
 * squares, not their Huber loss: a dozen runs are too few to call one of them an outlier.
 *
 * Intervals are of 95 % over the seeds: each draw takes as many runs of every size as there are, with replacement. Few seeds would
 * give too narrow ones, so a run's distance from its size's mean is widened by √(n / (n − 1)). Draws are seeded: the same runs
 * give the same bits. What intervals do not hold is a law that is wrong beyond the data. */
#ifndef MOEC_STUDY_SCALING_H
#define MOEC_STUDY_SCALING_H

#include "base/status.h"
#include <stdint.h>

enum { SCALING_LEAST_SIZES = 3, SCALING_DRAWS = 500 };

typedef struct scaling_point {
    double size, loss; /* above 0; runs of equal size are seeds of one */
} scaling_point;

typedef struct scaling_law {
    double E, A, alpha; /* A in units of the loss · size^α */
} scaling_law;
double scaling_at(const scaling_law *law, double size);

typedef struct scaling_range {
    double low, high; /* NaN: no size has two runs */
} scaling_range;

typedef struct scaling_fit {
    scaling_law law;
    scaling_range E, A, alpha;
    double error; /* root of the mean squared distance of log loss: 0.01 is 1 % */
    double aicc;  /* n ln(Σ squares / n) + 2k + 2k(k + 1) / (n − k − 1), k with the variance; NaN: too few runs */
    double left_out; /* the same as `error` for the mean of each size, predicted from the others; NaN: too few sizes */
    double ahead;    /* log of predicted over found for the largest size, from the smaller ones; NaN: too few sizes */
    scaling_law *draws; /* [SCALING_DRAWS]; NULL: no size has two runs */
} scaling_fit;

typedef struct scaling {
    scaling_fit saturating, power;
    int runs, sizes;
    double least, most; /* size */
} scaling;

/* count runs in any order; fewer than SCALING_LEAST_SIZES sizes are refused. To be freed either way. */
status scaling_fit_laws(scaling *s, const scaling_point *points, int count, uint64_t seed);
void scaling_free(scaling *s);
scaling_range scaling_range_at(const scaling_fit *f, double size);
/* How far beyond the runs a size is, in spans of theirs: log(size / most) / log(most / least). */
double scaling_beyond(const scaling *s, double size);

#endif

/* The average that #2102's script packs, as far as a run's checkpoints tell it. The script keeps it in bf16, but for
 * experts that came at the upcycling, and begins anew there, as a copy of the live weights: at step s
 *     a ← bf16(bf16(d a) + (1 − d) w),   d = min(decay, (s + 1) / (s + 10))
 * An update of 0.35 % of the distance is mostly less than half of bf16's last place, and is lost: a stays about where it
 * began.
 *
 * What is true of it here: the arithmetic, element by element and step by step, and where it begins and ends. What is
 * not: the live weights between two checkpoints, which are taken from one to the other on a straight line. Its matrices
 * alone are in bf16; vectors are averaged in float32. The beginning is the run's oldest checkpoint that has the
 * parameters of the last one, so one of before an upcycling is passed over. */
#ifndef MOEC_STUDY_FROZEN_AVERAGE_H
#define MOEC_STUDY_FROZEN_AVERAGE_H

#include "nn/model.h"
#include "store/checkpoint.h"
#include "train/average_config.h"

typedef struct frozen_average {
    int points;          /* checkpoints that the way leads by; under 2 there is none, and nothing was changed */
    int64_t first, last; /* their steps */
} frozen_average;

/* m, which has the parameters of checkpoint `saved`, gets this average of its run, seen from that step. */
status frozen_average_set(frozen_average *out, model *m, const checkpoint *saved, const average_config *config);

/* One stretch of the way for some numbers: a is moved through the steps after `from` up to `to`, while the weights go
 * from w to next. bf16: rounded as said above, else a ← a + (1 − d) (w − a). */
void frozen_average_walk(float *a, const float *w, const float *next, int64_t count, int64_t from, int64_t to,
                         double decay, bool bf16);

#endif

/* What the losses ask of a row of logits. */
#ifndef MOEC_KERNEL_CPU_ISA_LOGITS_H
#define MOEC_KERNEL_CPU_ISA_LOGITS_H

#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/lanes_math.h"

#include <math.h>

static inline float capped(float logit, float cap) {
    return cap > 0 ? cap * tanhf(logit / cap) : logit;
}

static inline float row_largest(const float *logits, int64_t V) {
    lanes largest = lanes_all(logits[0]);
    int64_t v = 0;
    for (; v + LANES <= V; v += LANES) largest = lanes_max(lanes_get(logits + v, LANES), largest);
    float result = lanes_largest(largest);
    for (; v < V; v++) result = fmaxf(result, logits[v]);
    return result;
}

#endif

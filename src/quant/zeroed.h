/* Sums over a text that begin at zero. */
#ifndef MOEC_QUANT_ZEROED_H
#define MOEC_QUANT_ZEROED_H

#include "kernel/kernel.h"

/* Device memory: `count` floats, all 0. */
static inline status zeroed_floats(const kernels *k, float **array, int64_t count) {
    TRY(k->alloc((void **)array, (size_t)count * sizeof **array));
    k->zero(*array, (size_t)count * sizeof **array);
    return STATUS_OK;
}

#endif

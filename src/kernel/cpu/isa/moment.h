/* An optimiser's running means in memory: float32, or bf16 rounded at random.
 *
 * A mean that moves by less than a bf16 step would stand still if it were rounded to the nearest; rounded up as often as it lies
 * nearer to the upper one, it is right on average (Gupta et al. 2015, stochastic rounding). What is random is a hash of the
 * step's seed and the element's index, so that threads and their number change nothing. */
#ifndef MOEC_KERNEL_CPU_ISA_MOMENT_H
#define MOEC_KERNEL_CPU_ISA_MOMENT_H

#include <stdint.h>
#include <string.h>

/* 32 bits that look random (lowbias32, Wellons 2018). */
static inline uint32_t moment_random(uint32_t seed, uint32_t index) {
    uint32_t x = seed + index * 0x9e3779b9u;
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

static inline float moment_get(uint16_t moment) {
    uint32_t bits = (uint32_t)moment << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* random: 16 bits. x is finite. */
static inline uint16_t moment_put(float x, uint32_t random) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)((bits + random) >> 16);
}

#endif

/* 16-bit floats to float32 and back, to nearest even. */
#ifndef MOEC_BASE_HALF_H
#define MOEC_BASE_HALF_H

#include <stdint.h>
#include <string.h>

/* IEEE binary16: 1 sign, 5 exponent (bias 15), 10 mantissa bits; infinity beyond its range. */
uint16_t half_from_float(float x);
float half_to_float(uint16_t half);

/* bfloat16: the upper half of a float32. A NaN stays one. */
static inline float bfloat_to_float(uint16_t bfloat) {
    const uint32_t bits = (uint32_t)bfloat << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline uint16_t bfloat_from_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16) | 0x40 : rounded >> 16);
}
/* The nearest bfloat16, as a float. */
static inline float bfloat_round(float x) {
    return bfloat_to_float(bfloat_from_float(x));
}

#endif

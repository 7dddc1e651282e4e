#include "base/half.h"

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* value / 2^shift to nearest, ties to even */
static uint32_t shift_to_even(uint32_t value, int shift) {
    const uint32_t half = 1u << (shift - 1), kept = value >> shift, rest = value & ((1u << shift) - 1);
    return kept + (rest > half || (rest == half && (kept & 1)));
}

uint16_t half_from_float(float x) {
    const uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffff;
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7f800000) return sign | 0x7e00; /* not a number */
    const int exponent = (int)(magnitude >> 23) - 127;
    if (exponent > 15) return sign | 0x7c00;
    if (exponent >= -14) /* may round up into the next exponent, and from 65520 on into infinity, as it should */
        return (uint16_t)(sign | shift_to_even(magnitude - (112u << 23), 13));
    if (exponent < -25) return sign;
    return (uint16_t)(sign | shift_to_even((magnitude & 0x7fffff) | 0x800000, -exponent - 1));
}

float half_to_float(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 1023;
    if (exponent == 31) return float_of(sign | 0x7f800000 | mantissa << 13);
    if (exponent > 0) return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
    const float small = (float)mantissa * 0x1p-24f;
    return sign ? -small : small;
}

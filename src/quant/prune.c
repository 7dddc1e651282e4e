#include "quant/prune.h"
#include "base/memory.h"
#include "nn/specs.h"
#include <stdlib.h>
#include <string.h>

bool prune_concerns_component(component c) {
    return c == COMPONENT_ATTENTION || c == COMPONENT_MLP || c == COMPONENT_SHARED || c == COMPONENT_EXPERTS;
}

bool prune_concerns(const param *p) {
    return prune_concerns_component(role_component(p->role)) && p->is_matrix && !p->derived;
}

enum { DIGITS = 1 << 16 };

/* |w| as an integer: float32's bits without the sign grow with the value. */
static uint32_t magnitude(float w) {
    uint32_t bits;
    memcpy(&bits, &w, sizeof bits);
    return bits & 0x7fffffffu;
}

/* The digit in which the element of rank *rank (from 0) lies; *rank becomes its rank among those of that digit. */
static uint32_t digit_of_rank(const int64_t *histogram, int64_t *rank) {
    uint32_t digit = 0;
    for (; *rank >= histogram[digit]; digit++) *rank -= histogram[digit];
    return digit;
}

/* The magnitude of rank *rank, found digit by digit (16 bits each); *rank becomes its rank among equal magnitudes. */
static uint32_t magnitude_of_rank(const float *w, int64_t count, int64_t *rank) {
    int64_t *histogram = xcalloc(DIGITS, sizeof *histogram);
    for (int64_t i = 0; i < count; i++) histogram[magnitude(w[i]) >> 16]++;
    const uint32_t high = digit_of_rank(histogram, rank);
    memset(histogram, 0, DIGITS * sizeof *histogram);
    for (int64_t i = 0; i < count; i++)
        if (magnitude(w[i]) >> 16 == high) histogram[magnitude(w[i]) & (DIGITS - 1)]++;
    const uint32_t low = digit_of_rank(histogram, rank);
    free(histogram);
    return high << 16 | low;
}

int64_t prune_smallest(uint8_t **mask, const float *w, int64_t count, double fraction) {
    const int64_t target = (int64_t)(fraction * (double)count);
    *mask = xcalloc((size_t)count, 1);
    if (target == 0) return 0;
    int64_t equal = target - 1; /* rank of the largest weight that goes */
    const uint32_t threshold = magnitude_of_rank(w, count, &equal);
    equal++; /* of those that are as large, this many go */
    for (int64_t i = 0; i < count; i++) {
        const uint32_t size = magnitude(w[i]);
        (*mask)[i] = size < threshold || (size == threshold && equal-- > 0);
    }
    return target;
}

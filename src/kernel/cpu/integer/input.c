#include "kernel/cpu/integer/input.h"

#include "base/half.h"
#include "kernel/cpu/integer/vectors.h"
#include "kernel/cpu/isa/scratch.h"
#include <math.h>

static bool same_scales(const packed_weight *a, const packed_weight *b) {
    if (!a->input_scale || !b->input_scale) return a->input_scale == b->input_scale;
    return memcmp(a->input_scale, b->input_scale, (size_t)a->cols * sizeof *a->input_scale) == 0;
}

bool KERNEL(same_input)(const packed_weight *a, const packed_weight *b) {
    return a->cols == b->cols && a->depth == b->depth && a->segment == b->segment && a->zero == b->zero &&
           packed_spreads(a) == packed_spreads(b) && (!packed_spreads(a) || a->group == b->group) && same_scales(a, b);
}

void KERNEL(place_input)(packed_input *x, const packed_weight *kind, int64_t N, uintptr_t *at) {
    const int64_t blocks = kind->depth / kind->segment;
    *x = (packed_input){.kind = kind, .N = N, .blocks = blocks};
    x->q = scratch_take(at, (size_t)(N * kind->depth));
    x->scale = scratch_take(at, (size_t)(N * blocks) * sizeof(float));
    x->start = scratch_take(at, (size_t)(N * blocks) * sizeof(int32_t));
    x->sum = scratch_take(at, (size_t)(N * blocks) * sizeof(float));
}

/* The largest magnitude, compared as bits: a NaN is above infinity, and both above all numbers. */
static inline float largest(const float *x, int count) {
    int32_t most = 0;
    for (int i = 0; i < count; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    float result;
    memcpy(&result, &most, sizeof result);
    return result;
}

/* Below this the quotient 127 / max would be infinite. */
#define SMALLEST 1e-36f

static inline __attribute__((always_inline)) void round_block(const packed_input *x, int64_t at,
                                                              const float *values, const int count) {
    const float most = largest(values, count);
    const float inverse = most < SMALLEST ? 0 : 127 / most, scale = most < SMALLEST ? 0 : most / 127;
    int8_t *q = x->q + at * count;
    int32_t sum = 0;
    for (int i = 0; i < count; i++) {
        const int32_t code = (int32_t)rintf(values[i] * inverse);
        q[i] = (int8_t)code;
        sum += code;
    }
    x->scale[at] = scale;
    x->start[at] = -x->kind->zero * sum;
    x->sum[at] = scale * (float)sum;
    if (DOT_IS_SIGNED && x->kind->bits == 8) x->start[at] = 0;
}

/* Columns first … of a row, as floats; 0 beyond it. */
static inline void get_values(float *out, const void *row, dtype type, int64_t first, int64_t count, int64_t wanted) {
    if (type == DTYPE_F32)
        memcpy(out, (const float *)row + first, (size_t)count * sizeof *out);
    else
        for (int64_t i = 0; i < count; i++) out[i] = bfloat_to_float(((const uint16_t *)row)[first + i]);
    for (int64_t i = count; i < wanted; i++) out[i] = 0;
}

void KERNEL(round_input)(const packed_input *x, int64_t n, const void *rows, dtype type) {
    const packed_weight *w = x->kind;
    const char *row = (const char *)rows + (size_t)(n * w->cols) * dtype_bytes(type);
    float values[INPUT_BLOCK];
    const int64_t of_group = w->width / w->segment, rows_there = input_rows(x, n);
    int64_t at = input_place(x, n);
    for (int64_t b = 0; b < x->blocks; b++, at += rows_there) {
        /* where the block begins among the columns as they come, and how many of it there are */
        const int64_t within = b % of_group * w->segment, first = b / of_group * w->group + within;
        const int64_t left = w->group - within, count = left < 0 ? 0 : left < w->segment ? left : w->segment;
        get_values(values, row, type, first, count, w->segment);
        for (int64_t i = 0; i < count && w->input_scale; i++) values[i] *= w->input_scale[first + i];
        if (w->segment == INPUT_BLOCK)
            round_block(x, at, values, INPUT_BLOCK); /* a known count: vectors */
        else
            round_block(x, at, values, (int)w->segment);
    }
}

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

static void place_part(input_part *p, int64_t columns, int64_t blocks, uintptr_t *at) {
    p->q = scratch_take(at, (size_t)columns);
    p->scale = scratch_take(at, (size_t)blocks * sizeof(float));
    p->start = scratch_take(at, (size_t)blocks * sizeof(int32_t));
    p->sum = scratch_take(at, (size_t)blocks * sizeof(float));
}

void KERNEL(place_input)(packed_input *x, uintptr_t *at) {
    x->blocks = x->kind->depth / x->kind->segment;
    place_part(&x->high, x->N * x->kind->depth, x->N * x->blocks, at);
    if (x->fine) place_part(&x->low, x->N * x->kind->depth, x->N * x->blocks, at);
}

/* The largest magnitude, compared as bits: a NaN is above infinity, and both above all numbers. */
static inline float largest(const float x[INPUT_BLOCK]) {
    ints most = ints_all(0);
    for (int i = 0; i < INPUT_BLOCK; i += INT_LANES) most = ints_max(most, ints_magnitude(floats_get(x + i)));
    const int32_t bits = ints_largest(most);
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* Below this the quotient 127 / max would be infinite. */
#define SMALLEST 1e-36f

/* Where a block's sum of unsigned codes begins. */
static inline int32_t start_of(const packed_weight *w, int32_t sum) {
    return DOT_IS_SIGNED && w->bits == 8 ? 0 : -w->zero * sum;
}

/* A block with a NaN or an infinity: what is multiplied with it is NaN. */
static void round_nothing(const input_part *p, int64_t at, int count) {
    memset(p->q + at * count, 0, (size_t)count);
    p->scale[at] = p->sum[at] = NAN;
    p->start[at] = 0;
}

/* What the high part of a value leaves, in steps of scale / 256. */
static inline ints low_of(floats steps, ints high) {
    const floats rest = floats_multiply(floats_subtract(steps, floats_of(high)), floats_all(256));
    return ints_max(ints_min(ints_of(rest), ints_all(127)), ints_all(-127));
}

static inline void put_part(const input_part *p, const packed_weight *w, int64_t at, const int8_t *bytes, int count,
                            int32_t sum) {
    memcpy(p->q + at * count, bytes, (size_t)count);
    p->start[at] = start_of(w, sum);
}

/* values: 0 from `count` on. */
static inline __attribute__((always_inline)) void round_block(const packed_input *x, int64_t at,
                                                              const float values[INPUT_BLOCK], const int count) {
    const float most = largest(values);
    if (!isfinite(most)) {
        round_nothing(&x->high, at, count);
        if (x->fine) round_nothing(&x->low, at, count);
        return;
    }
    const float inverse = most < SMALLEST ? 0 : 127 / most, scale = most < SMALLEST ? 0 : most / 127;
    int8_t high_bytes[INPUT_BLOCK], low_bytes[INPUT_BLOCK];
    ints high_sum = ints_all(0), low_sum = ints_all(0);
    for (int i = 0; i < INPUT_BLOCK; i += INT_LANES) {
        const floats steps = floats_multiply(floats_get(values + i), floats_all(inverse));
        const ints high = ints_of(steps);
        ints_put_bytes(high_bytes + i, high);
        high_sum = ints_add(high_sum, high);
        if (!x->fine) continue;
        const ints low = low_of(steps, high);
        ints_put_bytes(low_bytes + i, low);
        low_sum = ints_add(low_sum, low);
    }
    put_part(&x->high, x->kind, at, high_bytes, count, ints_sum(high_sum));
    x->high.scale[at] = scale;
    x->high.sum[at] = scale * (float)ints_sum(high_sum);
    if (!x->fine) return;
    put_part(&x->low, x->kind, at, low_bytes, count, ints_sum(low_sum));
    x->low.scale[at] = scale / 256;
    x->low.sum[at] = scale / 256 * (float)(256 * ints_sum(high_sum) + ints_sum(low_sum));
}

/* Columns first … of a row, as floats; 0 beyond it. */
static inline void get_values(float *out, const void *row, dtype type, int64_t first, int64_t count) {
    if (type == DTYPE_F32)
        memcpy(out, (const float *)row + first, (size_t)count * sizeof *out);
    else
        for (int64_t i = 0; i < count; i++) out[i] = bfloat_to_float(((const uint16_t *)row)[first + i]);
    for (int64_t i = count; i < INPUT_BLOCK; i++) out[i] = 0;
}

void KERNEL(round_input)(const packed_input *x, int64_t n, int64_t from, int64_t to, const void *rows, dtype type) {
    const packed_weight *w = x->kind;
    const char *row = (const char *)rows + (size_t)(n * w->cols) * dtype_bytes(type);
    float values[INPUT_BLOCK];
    const int64_t of_group = w->width / w->segment, rows_there = input_rows(x, n);
    int64_t at = input_place(x, n) + from * rows_there;
    for (int64_t b = from; b < to; b++, at += rows_there) {
        /* where the block begins among the columns as they come, and how many of it there are */
        const int64_t within = b % of_group * w->segment, first = b / of_group * w->group + within;
        const int64_t left = w->group - within, count = left < 0 ? 0 : left < w->segment ? left : w->segment;
        get_values(values, row, type, first, count);
        for (int64_t i = 0; i < count && w->input_scale; i++) values[i] *= w->input_scale[first + i];
        if (w->segment == INPUT_BLOCK)
            round_block(x, at, values, INPUT_BLOCK); /* a known count */
        else
            round_block(x, at, values, (int)w->segment);
    }
}

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
    p->q = scratch_take(at, (size_t)columns * sizeof *p->q);
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

/* A block with a NaN or an infinity: what is multiplied with it is NaN. */
static void round_nothing(const input_part *p, int64_t at, int count) {
    memset(p->q + at * count, 0, (size_t)count * sizeof *p->q);
    p->scale[at] = p->sum[at] = NAN;
    p->start[at] = 0;
}

/* What the high part of a value leaves, in steps of scale / 256. */
static inline ints low_of(floats steps, ints high) {
    const floats rest = floats_multiply(floats_subtract(steps, floats_of(high)), floats_all(256));
    return ints_max(ints_min(ints_of(rest), ints_all(127)), ints_all(-127));
}

static inline void put_part(const input_part *p, const packed_weight *w, int64_t at, const input_code *q, int count,
                            int32_t sum) {
    memcpy(p->q + at * count, q, (size_t)count * sizeof *q);
    p->start[at] = -w->zero * sum;
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
    input_code high_part[INPUT_BLOCK], low_part[INPUT_BLOCK];
    ints high_sums = ints_all(0), low_sums = ints_all(0);
    for (int i = 0; i < INPUT_BLOCK; i += INT_LANES) {
        const floats steps = floats_multiply(floats_get(values + i), floats_all(inverse));
        const ints high = ints_of(steps);
        inputs_put(high_part + i, high);
        high_sums = ints_add(high_sums, high);
        if (!x->fine) continue;
        const ints low = low_of(steps, high);
        inputs_put(low_part + i, INPUT_IS_WIDE ? ints_of_high(high, low) : low);
        low_sums = ints_add(low_sums, low);
    }
    const int32_t high_sum = ints_sum(high_sums);
    put_part(&x->high, x->kind, at, high_part, count, high_sum);
    x->high.scale[at] = scale;
    x->high.sum[at] = scale * (float)high_sum;
    if (!x->fine) return;
    const int32_t low_sum = ints_sum(low_sums), both = 256 * high_sum + low_sum;
    put_part(&x->low, x->kind, at, low_part, count, INPUT_IS_WIDE ? both : low_sum);
    x->low.scale[at] = scale / 256;
    x->low.sum[at] = scale / 256 * (float)both;
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

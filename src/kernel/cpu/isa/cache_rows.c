/* Rows of keys and values to a cache, and back to activations where many queries look at them. */
#include "kernel/cpu/isa/cache_rows.h"

#include "base/half.h"
#include "kernel/cpu/isa/rows.h"
#include <float.h>
#include <math.h>

/* One head of one row. A head with a NaN or an infinity has scale NaN, so that it is not lost. */
static void put_int8(int8_t *q, float *scale, const act *x, int64_t count) {
    enum { LEVELS = 127 };
    float top = 0, sum = 0;
    for (int64_t c = 0; c < count; c++) {
        const float value = act_load(x[c]);
        top = fmaxf(top, fabsf(value));
        sum += value * 0;
    }
    *scale = sum != 0 || isnan(sum) ? NAN : top / LEVELS;
    const float inverse = *scale >= FLT_MIN ? 1 / *scale : 0;
    if (inverse == 0) {
        memset(q, 0, (size_t)count);
        return;
    }
    for (int64_t c = 0; c < count; c++) q[c] = (int8_t)rintf(act_load(x[c]) * inverse);
}

static void put_bf16(uint16_t *to, const act *x, int64_t count) {
    for (int64_t c = 0; c < count; c++) to[c] = bfloat_from_float(act_load(x[c]));
}

void KERNEL(cache_put)(void *rows, cache_type type, const void *x, int64_t N, int heads, int head_dim) {
    const int64_t width = (int64_t)heads * head_dim;
    const size_t stride = cache_row_bytes(type, ACT_DTYPE, heads, head_dim);
    const act *from = x;
    if (type == CACHE_ACT) {
        memcpy(rows, x, (size_t)N * stride);
        return;
    }
#pragma omp parallel for schedule(static) if (N * width > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        char *row = (char *)rows + (size_t)n * stride;
        float *scales = (float *)(row + stride) - heads;
        if (type == CACHE_BF16) put_bf16((uint16_t *)row, from + n * width, width);
        for (int h = 0; type == CACHE_INT8 && h < heads; h++)
            put_int8((int8_t *)row + h * head_dim, scales + h, from + n * width + h * head_dim, head_dim);
    }
}

static inline __attribute__((always_inline)) void expand(act *x, cache_head h, cache_type type, int64_t from,
                                                         int64_t count, int64_t head_dim) {
    for (int64_t at = 0, run; at < count; at += run) {
        const int64_t row = cache_table_row(h.table, from + at);
        run = cache_table_run(h.table, from + at, count - at);
        for (int64_t n = 0; n < run; n++) {
            const char *numbers = cache_numbers(h, row + n);
            act *to = x + (at + n) * head_dim;
            if (type == CACHE_ACT) {
                memcpy(to, numbers, (size_t)head_dim * sizeof *to);
                continue;
            }
            const lanes scale = lanes_all(type == CACHE_INT8 ? cache_scale(h, row + n) : 1);
            for (int64_t c = 0; c < head_dim; c += LANES)
                act_put(to + c, cache_get(numbers, c, head_dim - c, type) * scale, head_dim - c);
        }
    }
}

void KERNEL(cache_expand)(act *x, cache_head h, cache_type type, int64_t from, int64_t count, int64_t head_dim) {
    if (type == CACHE_INT8)
        expand(x, h, CACHE_INT8, from, count, head_dim);
    else if (type == CACHE_BF16)
        expand(x, h, CACHE_BF16, from, count, head_dim);
    else
        expand(x, h, CACHE_ACT, from, count, head_dim);
}

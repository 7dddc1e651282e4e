/* y = x Wᵀ for a weight on a grid. A few rows of x read the codes as they lie, which costs no more than their bytes; for
 * many, a panel of PANEL rows of W at a time is expanded and multiplied out of the cache. Scales of columns go to x there, to W
 * here. */
#include "kernel/cpu/products.h"

#include "kernel/cpu/isa/block_product.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/scratch.h"
#include "kernel/cpu/isa/stream.h"
#include "kernel/cpu/packed.h"

enum { FEW_ROWS = 4, CODE_ROWS = 4 }; /* of x; of W that are summed side by side */

static lanes lanes_from_codes(const int8_t *p, int64_t left) {
#ifdef __AVX512F__
    __m128i codes = left >= LANES ? _mm_loadu_si128((const __m128i *)p) : _mm_maskz_loadu_epi8(lanes_mask(left), p);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes));
#else
    int8_t bytes[LANES] = {0};
    memcpy(bytes, p, (size_t)least(left, LANES));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)bytes)));
#endif
}

static void put_result(void *y, dtype type, int64_t at, float value) {
    if (type == DTYPE_F32)
        ((float *)y)[at] = value;
    else
        ((act *)y)[at] = act_store(value);
}

/* ---- a few rows ---- */

/* Σ over a group's columns of x[n] · codes of up to CODE_ROWS rows of W, for up to FEW_ROWS rows of x; x is float32. */
static inline __attribute__((always_inline)) void dot_codes(float sums[FEW_ROWS][CODE_ROWS], const float *x,
                                                            int64_t x_stride, const int8_t *codes, int64_t stride,
                                                            int64_t count, const int N, const int rows) {
    lanes sum[FEW_ROWS][CODE_ROWS];
    for (int n = 0; n < N; n++)
        for (int r = 0; r < rows; r++) sum[n][r] = lanes_all(0);
    for (int64_t c = 0; c < count; c += LANES) {
        lanes in[FEW_ROWS];
        for (int n = 0; n < N; n++) in[n] = lanes_get(x + n * x_stride + c, count - c);
        for (int r = 0; r < rows; r++) {
            lanes code = lanes_from_codes(codes + r * stride + c, count - c);
            for (int n = 0; n < N; n++) sum[n][r] = lanes_multiply_add(in[n], code, sum[n][r]);
        }
    }
    for (int n = 0; n < N; n++)
        for (int r = 0; r < rows; r++) sums[n][r] = lanes_sum(sum[n][r]);
}

/* Rows `row` … of y, all groups. */
static inline __attribute__((always_inline)) void few_rows(void *y, dtype type, const float *x, const quantized *q,
                                                           int64_t row, const int N, const int rows) {
    int64_t groups = quantized_groups(q);
    float total[FEW_ROWS][CODE_ROWS] = {{0}}, part[FEW_ROWS][CODE_ROWS];
    for (int64_t g = 0; g < groups; g++) {
        dot_codes(part, x + g * q->group, q->cols, q->q + row * q->cols + g * q->group, q->cols, q->group, N, rows);
        for (int n = 0; n < N; n++)
            for (int r = 0; r < rows; r++) total[n][r] += part[n][r] * q->scale[(row + r) * groups + g];
    }
    for (int n = 0; n < N; n++)
        for (int r = 0; r < rows; r++) put_result(y, type, n * q->rows + row + r, total[n][r]);
}

/* N is known where few_rows is inlined, so that the sums are registers. */
static void few_rows_of(void *y, dtype type, const float *x, const quantized *q, int64_t row, int N) {
    bool whole = q->rows - row >= CODE_ROWS;
#define ROWS(n)                                                                                                        \
    case n:                                                                                                            \
        for (int64_t r = row; !whole && r < q->rows; r++) few_rows(y, type, x, q, r, n, 1);                            \
        if (whole) few_rows(y, type, x, q, row, n, CODE_ROWS);                                                         \
        break;
    switch (N) { ROWS(1) ROWS(2) ROWS(3) ROWS(4) }
#undef ROWS
}

static void multiply_few(void *y, dtype type, const act *x, const quantized *q, int64_t N) {
    float *in = KERNEL(scratch)(SCRATCH_SHARED, (size_t)(N * q->cols) * sizeof(float));
    for (int64_t i = 0; i < N * q->cols; i++) in[i] = act_load(x[i]);
    for (int64_t n = 0; n < N && q->input_scale; n++)
        for (int64_t c = 0; c < q->cols; c++) in[n * q->cols + c] *= q->input_scale[c];
#pragma omp parallel for schedule(static) if (q->rows * q->cols > PARALLEL_ELEMENTS)
    for (int64_t row = 0; row < q->rows; row += CODE_ROWS) few_rows_of(y, type, in, q, row, (int)N);
}

/* ---- many rows ---- */

static lanes input_lanes(const quantized *q, int64_t c) {
    return q->input_scale ? lanes_get(q->input_scale + c, q->cols - c) : lanes_all(1);
}

/* PANEL rows of W, expanded and packed: [depth / STEP][PANEL][STEP] behind `expanded` [PANEL, depth] */
static act *pack_panel(act *expanded, const quantized *q, int64_t row, int64_t depth) {
    int64_t rows = least(q->rows - row, PANEL), groups = quantized_groups(q);
    for (int64_t r = 0; r < rows; r++) {
        const int8_t *codes = q->q + (row + r) * q->cols;
        for (int64_t c = 0; c < q->cols; c += LANES) {
            /* a group's columns are a multiple of LANES, or the vector is taken element by element */
            const float *scale = q->scale + (row + r) * groups;
            if (q->group % LANES == 0 || groups == 1)
                act_put(expanded + r * depth + c,
                        lanes_from_codes(codes + c, q->cols - c) * lanes_all(scale[c / q->group]) * input_lanes(q, c),
                        q->cols - c);
            else
                for (int64_t i = c; i < least(c + LANES, q->cols); i++)
                    expanded[r * depth + i] =
                        act_store((float)codes[i] * scale[i / q->group] * (q->input_scale ? q->input_scale[i] : 1));
        }
        for (int64_t c = q->cols; c < depth; c++) expanded[r * depth + c] = act_store(0);
    }
    act *panel = expanded + PANEL * depth;
    KERNEL(pack_transposed)(panel, expanded, depth, rows, depth);
    return panel;
}

static void put_tile(void *y, dtype type, const float *tile, int64_t n, int64_t rows, int64_t row, const quantized *q) {
    int64_t width = least(q->rows - row, PANEL);
    for (int64_t i = 0; i < rows; i++) {
        const float *from = tile + i * PANEL;
        for (int64_t c = 0; c < width; c += LANES) {
            lanes value = lanes_get(from + c, width - c);
            int64_t at = (n + i) * q->rows + row + c;
            if (type == DTYPE_F32)
                lanes_put((float *)y + at, value, width - c);
            else
                act_put((act *)y + at, value, width - c);
        }
    }
}

/* The last row of x may end within a STEP: it is read from a copy that is padded. */
static void multiply_many(void *y, dtype type, const act *x, const quantized *q, int64_t N) {
    int64_t depth = round_up(q->cols, LANES * STEP), stride = q->cols;
    if (depth != q->cols) { /* rows of x become as long as the panels are deep */
        act *padded = KERNEL(scratch)(SCRATCH_SHARED, (size_t)(N * depth) * sizeof(act));
        memset(padded, 0, (size_t)(N * depth) * sizeof(act));
        for (int64_t n = 0; n < N; n++) memcpy(padded + n * depth, x + n * q->cols, (size_t)q->cols * sizeof(act));
        x = padded;
        stride = depth;
    }
    size_t own = (size_t)(2 * PANEL * depth) * sizeof(act);
    KERNEL(scratch_reserve)(own);
#pragma omp parallel for schedule(dynamic) if (N * q->rows > PARALLEL_ELEMENTS / 64)
    for (int64_t row = 0; row < q->rows; row += PANEL) {
        _Alignas(64) float tile[TILE_ROWS * PANEL];
        act *panel = pack_panel(KERNEL(scratch)(SCRATCH_OWN, own), q, row, depth);
        for (int64_t n = 0; n < N; n += TILE_ROWS) {
            int64_t rows = least(N - n, TILE_ROWS);
            KERNEL(tile_product)(tile, PANEL, x + n * stride, stride, panel, depth, (int)rows, PANEL / LANES, false);
            put_tile(y, type, tile, n, rows, row, q);
        }
    }
}

/* ---- all kinds of weights ---- */

static void linear(void *y, dtype y_type, const void *x, const weight *w, int64_t N) {
    if (w->packed)
        packed_taken->several(&y, y_type, x, ACT_DTYPE, (const packed_weight *const *)&w->packed, 1, N);
    else if (!w->quantized)
        dense_linear(y, y_type, x, w, N);
    else if (N <= FEW_ROWS)
        multiply_few(y, y_type, x, w->quantized, N);
    else
        multiply_many(y, y_type, x, w->quantized, N);
}

static void linear_several(void *const *y, const void *x, const weight *const *w, int64_t count, int64_t N) {
    const packed_weight *packed[LINEAR_SEVERAL_MOST];
    for (int64_t i = 0; i < count; i++) packed[i] = w[i]->packed;
    packed_taken->several(y, ACT_DTYPE, x, ACT_DTYPE, packed, count, N);
}

static void grouped_packed(void *y, const void *x, const weight *const *w, const int32_t *start, int64_t E) {
    const packed_weight **packed = KERNEL(scratch)(SCRATCH_SHARED, (size_t)E * sizeof *packed);
    for (int64_t e = 0; e < E; e++) packed[e] = w[e]->packed;
    packed_taken->grouped(y, x, ACT_DTYPE, packed, start, E);
}

/* Experts of one layer may be kept in several forms: a recipe says which is rotated, or stays a float. */
static bool all_packed(const weight *const *w, int64_t E) {
    for (int64_t e = 0; e < E; e++)
        if (!w[e]->packed) return false;
    return true;
}

static bool all_plain(const weight *const *w, int64_t E) {
    for (int64_t e = 0; e < E; e++)
        if (w[e]->packed || w[e]->quantized) return false;
    return true;
}

static void grouped_linear(void *y, const void *x, const weight *const *w, const int32_t *start, int64_t E,
                           int64_t most_rows) {
    if (all_packed(w, E)) {
        grouped_packed(y, x, w, start, E);
        return;
    }
    if (all_plain(w, E)) {
        dense_grouped_linear(y, x, w, start, E, most_rows);
        return;
    }
    for (int64_t e = 0; e < E; e++)
        if (start[e + 1] > start[e])
            linear((act *)y + start[e] * w[e]->rows, ACT_DTYPE, (const act *)x + start[e] * w[e]->cols, w[e],
                   start[e + 1] - start[e]);
}

static void weight_values(float *values, const weight *w, int64_t first, int64_t rows) {
    const int64_t cols = w->cols, count = rows * cols;
#pragma omp parallel for schedule(static) if (count > PARALLEL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++) {
        float *out = values + r * cols;
        if (w->packed)
            packed_expand(w->packed, first + r, 0, cols, out);
        else if (w->quantized)
            quantized_expand_row(w->quantized, first + r, out);
        else
            for (int64_t c = 0; c < cols; c++) out[c] = act_load(((const act *)w->plain)[(first + r) * cols + c]);
    }
}

void KERNEL(fill_quantized)(kernels *table) {
    table->linear = linear;
    table->grouped_linear = grouped_linear;
    table->linear_several = linear_several;
    table->weight_values = weight_values;
}

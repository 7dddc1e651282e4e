#include "kernel/cpu/isa/block_product.h"

#include "kernel/cpu/isa/rows.h"

enum { VECTORS = PANEL / LANES };

#ifdef ACT_BF16
typedef __m512bh factor;

static inline factor broadcast_step(const act *a) {
    int32_t word;
    memcpy(&word, a, sizeof word);
    return (factor)_mm512_set1_epi32(word);
}
static inline factor get_steps(const act *b) {
    return (factor)_mm512_loadu_si512(b);
}
static inline lanes multiply_steps(lanes sum, factor a, factor b) {
    return _mm512_dpbf16_ps(sum, a, b);
}
#else
typedef lanes factor;

static inline factor broadcast_step(const act *a) {
    return lanes_all(*a);
}
static inline factor get_steps(const act *b) {
    return lanes_get(b, LANES);
}
static inline lanes multiply_steps(lanes sum, factor a, factor b) {
    return lanes_multiply_add(a, b, sum);
}
#endif

/* rows and vectors are constants wherever this is inlined, so that `sum` lives in registers. */
static inline __attribute__((always_inline)) void fixed_tile(float *c, int64_t c_stride, const act *a, int64_t a_stride,
                                                             const act *b, int64_t depth, bool add, const int rows,
                                                             const int vectors) {
    lanes sum[TILE_ROWS][VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sum[r][v] = add ? lanes_get(c + r * c_stride + v * LANES, LANES) : lanes_all(0);
    for (int64_t k = 0; k < depth; k += STEP, a += STEP, b += PANEL * STEP) {
        factor column[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) column[v] = get_steps(b + v * LANES * STEP);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            factor row = broadcast_step(a + r * a_stride);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) sum[r][v] = multiply_steps(sum[r][v], row, column[v]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) lanes_put(c + r * c_stride + v * LANES, sum[r][v], LANES);
}

#define TILE(r, v)                                                                                                     \
    case (r)*VECTORS + (v)-1:                                                                                          \
        fixed_tile(c, c_stride, a, a_stride, b, depth, add, r, v);                                                     \
        break;
#if defined __AVX512F__
#define TILES(r) TILE(r, 1) TILE(r, 2) TILE(r, 3) TILE(r, 4)
#else
#define TILES(r) TILE(r, 1) TILE(r, 2)
#endif

void KERNEL(tile_product)(float *c, int64_t c_stride, const act *a, int64_t a_stride, const act *b, int64_t depth,
                          int rows, int vectors, bool add) {
    switch (rows * VECTORS + vectors - 1) { TILES(1) TILES(2) TILES(3) TILES(4) TILES(5) TILES(6) }
}

void KERNEL(pack_transposed)(act *panel, const act *x, int64_t stride, int64_t count, int64_t depth) {
    for (int64_t i = 0; i < depth; i += STEP, panel += PANEL * STEP) {
        for (int64_t j = 0; j < count; j++) memcpy(panel + j * STEP, x + j * stride + i, STEP * sizeof(act));
        memset(panel + count * STEP, 0, (PANEL - count) * STEP * sizeof(act));
    }
}

void KERNEL(pack_rows)(act *panels, int64_t panel_stride, const act *x, int64_t stride, int64_t count,
                       int64_t padded_count, int64_t columns) {
    for (int64_t first = 0; first < columns; first += PANEL, panels += panel_stride) {
        int64_t width = least(columns - first, PANEL);
        for (int64_t i = 0; i < padded_count; i++) {
            act *out = panels + i / STEP * PANEL * STEP + i % STEP;
            const act *row = x + i * stride + first;
            int64_t kept = i < count ? width : 0;
            for (int64_t j = 0; j < kept; j++) out[j * STEP] = row[j];
            for (int64_t j = kept; j < PANEL; j++) out[j * STEP] = 0;
        }
    }
}

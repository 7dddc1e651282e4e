#include "kernel/cpu/isa/block_product.h"

#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/transpose.h"

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
                                                             const int64_t a_step, const act *b, int64_t depth,
                                                             bool add, const int rows, const int vectors) {
    lanes sum[TILE_ROWS][VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sum[r][v] = add ? lanes_get(c + r * c_stride + v * LANES, LANES) : lanes_all(0);
    for (int64_t k = 0; k < depth; k += STEP, a += a_step, b += PANEL * STEP) {
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
        fixed_tile(c, c_stride, a, a_stride, STEP, b, depth, add, r, v);                                               \
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

#define OUTER_TILE(r)                                                                                                  \
    case r:                                                                                                            \
        fixed_tile(c, c_stride, a, STEP, PANEL *STEP, b, depth, false, r, VECTORS);                                    \
        break;

void KERNEL(outer_tile)(float *c, int64_t c_stride, const act *a, const act *b, int64_t depth, int rows) {
    switch (rows) { OUTER_TILE(1) OUTER_TILE(2) OUTER_TILE(3) OUTER_TILE(4) OUTER_TILE(5) OUTER_TILE(6) }
}

/* Steps are words of 32 bits, whatever act is; they travel as floats. */
void KERNEL(pack_transposed)(act *panel, const act *x, int64_t stride, int64_t count, int64_t depth) {
    for (int64_t j = 0; j < PANEL; j += LANES) {
        for (int64_t i = 0; i < depth; i += LANES * STEP) {
            lanes block[LANES];
            int64_t words = least((depth - i) / STEP, LANES);
            for (int r = 0; r < LANES; r++)
                block[r] = j + r < count ? lanes_get((const float *)(x + (j + r) * stride + i), words) : lanes_all(0);
            transpose_lanes(block);
            act *out = panel + i * PANEL + j * STEP;
            for (int w = 0; w < words; w++) lanes_put((float *)(out + w * PANEL * STEP), block[w], LANES);
        }
    }
}

/* LANES columns of one step of the depth; the rows that are missing count as 0. */
static inline void pack_step(act *out, const act *row, const act *next, int64_t left) {
#ifdef ACT_BF16
    __mmask16 mask = lanes_mask(least(left, LANES));
    __m512i low = _mm512_cvtepu16_epi32(row ? _mm256_maskz_loadu_epi16(mask, row) : _mm256_setzero_si256());
    __m512i high = _mm512_cvtepu16_epi32(next ? _mm256_maskz_loadu_epi16(mask, next) : _mm256_setzero_si256());
    _mm512_storeu_si512(out, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
#else
    (void)next;
    lanes_put(out, row ? lanes_get(row, left) : lanes_all(0), LANES);
#endif
}

void KERNEL(pack_rows)(act *panels, int64_t panel_stride, const act *x, int64_t stride, int64_t count,
                       int64_t padded_count, int64_t columns) {
    for (int64_t i = 0; i < padded_count; i += STEP) {
        const act *row = i < count ? x + i * stride : NULL, *next = i + 1 < count ? x + (i + 1) * stride : NULL;
        for (int64_t c = 0; c < columns; c += LANES)
            pack_step(panels + c / PANEL * panel_stride + i * PANEL + c % PANEL * STEP, row ? row + c : NULL,
                      next ? next + c : NULL, columns - c);
    }
}

/* Per block of an input and lane: y = fma(float(Σ q · code) · input scale, weight scale, y) and, with offsets,
 * y = fma(offset, sum of the inputs, y), block after block: the same operations for any number of rows of x, and on any instruction set. */
#include "kernel/cpu/integer/tile.h"

#include "base/half.h"
#include "kernel/cpu/integer/vectors.h"

/* Of few rows of x codes come from memory, and as far ahead they are asked for: 35 GB/s become 47 (inputs of 16 bits, two cores). */
enum { AHEAD_BYTES = 4096, AHEAD_TOKENS = 4 };
enum { STEP_BYTES = TILE * STEP_CODES, PART_CODES = INPUT_IS_WIDE ? STEP_CODES / 2 : STEP_CODES };

/* How many vectors of a tile's rows are multiplied at a time, so that an input that is fetched meets as many of codes. */
#define VECTORS(tokens) ((tokens) <= FOUR_TOKENS ? 4 : 2)
enum { MOST_VECTORS = FOUR_TOKENS > 0 ? 4 : 2, MOST_SUMS = 2 * MOST_TOKENS };

typedef struct tile_part {
    const packed_weight *w;
    const uint8_t *codes; /* of the first row of the part, in the tile */
    const char *scales;
} tile_part;

static inline floats get_scale(const tile_part *t, int64_t index, int vector) {
    const int64_t at = index * TILE + vector * INT_LANES;
    return t->w->half ? floats_of_half((const uint16_t *)t->scales + at) : floats_load((const float *)t->scales + at);
}

/* The input's PART_CODES columns in every lane. */
static inline ints get_input(const input_code *q) {
    int32_t all;
    memcpy(&all, q, sizeof all);
    return ints_all(all);
}

/* One step of codes, which are fetched, times `tokens` rows' inputs, `stride` apart. Sums, here and below: of row n of x and vector v of
 * codes at n · VECTORS(tokens) + v. */
static inline __attribute__((always_inline)) void add_step(ints *sum, const ints *codes, const input_code *q,
                                                           const int stride, const int tokens, const int bits) {
    const int parts = (bits == 8 ? 1 : 2) * STEP_CODES / PART_CODES, vectors = VECTORS(tokens);
    for (int p = 0; p < parts; p++) {
        ints part[MOST_VECTORS];
        for (int v = 0; v < vectors; v++) part[v] = code_part(codes[v], p, bits);
        for (int n = 0; n < tokens; n++) {
            const ints x = get_input(q + n * stride + p * PART_CODES);
            for (int v = 0; v < vectors; v++) sum[n * vectors + v] = dot_part(sum[n * vectors + v], part[v], x);
        }
    }
}

/* sum += Σ q · code of one block: q of `tokens` rows, one behind the other; and low += Σ r · code where there is a low. */
static inline __attribute__((always_inline)) void add_block(ints *sum, ints *low, const uint8_t *codes,
                                                            const input_code *q, const input_code *r, const int count,
                                                            const int tokens, const int bits) {
    const int step = bits == 8 ? STEP_CODES : 2 * STEP_CODES, vectors = VECTORS(tokens);
#pragma GCC unroll 8
    for (int c = 0; c < count; c += step, codes += STEP_BYTES) {
        ints all[MOST_VECTORS];
        for (int v = 0; v < vectors; v++) all[v] = ints_load(codes + v * INT_LANES * STEP_CODES);
        for (int b = 0; b < STEP_BYTES && tokens <= AHEAD_TOKENS; b += 64)
            _mm_prefetch((const char *)codes + AHEAD_BYTES + b, _MM_HINT_T0);
        add_step(sum, all, q + c, count, tokens, bits);
        if (low) add_step(low, all, r + c, count, tokens, bits);
    }
}

static inline __attribute__((always_inline)) void begin_sums(ints *sum, const int32_t *start, const int tokens) {
    for (int n = 0; n < tokens; n++)
        for (int v = 0; v < VECTORS(tokens); v++) sum[n * VECTORS(tokens) + v] = ints_all(start[n]);
}

/* The place of a block in an input: its first part, and that of 16 bits. */
typedef struct block_place {
    const input_code *q, *low_q;
    const int32_t *start, *low_start;
} block_place;

/* sum = Σ input · code of one block. Inputs of 16 bits, where fine, are one sum where the instructions take them, else
 * 256 Σ q · code + Σ r · code, whose codes are fetched once where the registers hold both sums. */
static inline __attribute__((always_inline)) void sum_block(ints *sum, const uint8_t *codes, const block_place *at,
                                                            bool fine, const int count, const int tokens,
                                                            const int bits) {
    const int sums = tokens * VECTORS(tokens);
    if (INPUT_IS_WIDE) {
        begin_sums(sum, at->low_start, tokens);
        add_block(sum, NULL, codes, at->low_q, NULL, count, tokens, bits);
        return;
    }
    begin_sums(sum, at->start, tokens);
    if (!fine) {
        add_block(sum, NULL, codes, at->q, NULL, count, tokens, bits);
    } else if (2 * tokens <= MOST_TOKENS) {
        ints low[MOST_SUMS];
        begin_sums(low, at->low_start, tokens);
        add_block(sum, low, codes, at->q, at->low_q, count, tokens, bits);
        for (int i = 0; i < sums; i++) sum[i] = ints_of_high(sum[i], low[i]);
    } else {
        add_block(sum, NULL, codes, at->q, NULL, count, tokens, bits);
        for (int i = 0; i < sums; i++) sum[i] = ints_of_high(sum[i], ints_all(at->low_start[i / VECTORS(tokens)]));
        add_block(sum, NULL, codes, at->low_q, NULL, count, tokens, bits);
    }
}

/* Where products go: rows of x `stride` numbers apart. */
typedef struct output {
    float *at;
    int64_t stride;
} output;

/* fixed: the segment where it is known, else 0. */
static inline __attribute__((always_inline)) void multiply(output out, const tile_part *t, const packed_input *x,
                                                           int64_t first, const int tokens, const int bits,
                                                           const int fixed) {
    const packed_weight *w = t->w;
    const int segment = fixed ? fixed : (int)w->segment, vectors = VECTORS(tokens);
    const int64_t of_group = w->width / segment, block_bytes = (int64_t)segment * TILE * bits / 8;
    const int64_t rows = input_rows(x, first), place = input_place(x, first);
    const int scales = w->has_offset ? 2 : 1;
    const input_part *part = w->fine ? &x->low : &x->high;
    const float *input_scale = part->scale + place, *input_sum = part->sum + place;
    block_place at = {.q = x->high.q + place * segment,
                      .low_q = part->q + place * segment,
                      .start = x->high.start + place,
                      .low_start = part->start + place};
    const uint8_t *codes = t->codes;
    floats y[MOST_SUMS];
    for (int i = 0; i < tokens * vectors; i++) y[i] = floats_all(0);
    for (int64_t g = 0; g < w->groups; g++) {
        for (int64_t s = 0; s < of_group; s++) {
            ints sum[MOST_SUMS];
            sum_block(sum, codes, &at, w->fine, segment, tokens, bits);
            for (int v = 0; v < vectors; v++) {
                const floats scale = get_scale(t, g * scales, v);
                for (int n = 0, i = v; n < tokens; n++, i += vectors)
                    y[i] = floats_multiply_add(floats_multiply(floats_of(sum[i]), floats_all(input_scale[n])), scale,
                                               y[i]);
            }
            for (int v = 0; v < vectors && w->has_offset; v++) {
                const floats offset = get_scale(t, g * scales + 1, v);
                for (int n = 0, i = v; n < tokens; n++, i += vectors)
                    y[i] = floats_multiply_add(offset, floats_all(input_sum[n]), y[i]);
            }
            codes += block_bytes;
            at.q += rows * segment, at.low_q += rows * segment;
            at.start += rows, at.low_start += rows, input_scale += rows, input_sum += rows;
        }
    }
    for (int n = 0, i = 0; n < tokens; n++)
        for (int v = 0; v < vectors; v++, i++) floats_put(out.at + n * out.stride + v * INT_LANES, y[i]);
}

/* The number of rows of x is known where multiply is inlined, so that the sums are registers. */
#define MULTIPLY(n)                                                                                                    \
    case n:                                                                                                            \
        if (t->w->segment != INPUT_BLOCK && t->w->bits == 8)                                                           \
            multiply(out, t, x, first, n, 8, 0);                                                                       \
        else if (t->w->segment != INPUT_BLOCK)                                                                         \
            multiply(out, t, x, first, n, 4, 0);                                                                       \
        else if (t->w->bits == 8)                                                                                      \
            multiply(out, t, x, first, n, 8, INPUT_BLOCK);                                                             \
        else                                                                                                           \
            multiply(out, t, x, first, n, 4, INPUT_BLOCK);                                                             \
        break;
static void multiply_tokens(output out, const tile_part *t, const packed_input *x, int64_t first, int tokens) {
    switch (tokens) {
        MULTIPLY(1)
        MULTIPLY(2)
        MULTIPLY(3)
#if MOST_TOKENS > 3
        MULTIPLY(4)
#endif
#if MOST_TOKENS > 4
        MULTIPLY(5)
        MULTIPLY(6)
#endif
    }
}

/* From rows of `width` numbers, which are those of the weight's rows `row` …, to y. */
static void put_rows(void *y, dtype type, const packed_weight *w, int64_t row, int64_t width, const float *from,
                     int64_t first, int64_t count) {
    const int64_t left = w->rows - row, rows = left < width ? left : width;
    for (int64_t n = 0; n < count; n++) {
        const int64_t at = (first + n) * w->rows + row;
        if (type == DTYPE_F32)
            memcpy((float *)y + at, from + n * width, (size_t)rows * sizeof(float));
        else
            for (int64_t r = 0; r < rows; r++) ((uint16_t *)y)[at + r] = bfloat_from_float(from[n * width + r]);
    }
}

void KERNEL(tile_rows)(const packed_weight *w, int64_t tile, const packed_input *x, int64_t first, int64_t count,
                       void *y, dtype type) {
    float apart[MOST_SUMS * INT_LANES]; /* of numbers that are not stored as they are, or too few */
    const uint8_t *codes = w->codes + tile * packed_tile_codes(w);
    const char *scales = (const char *)w->scales + tile * packed_tile_scales(w);
    const int64_t pieces = (count + MOST_TOKENS - 1) / MOST_TOKENS; /* of even sizes: none is slow for being alone */
    const int64_t width = VECTORS(count) * INT_LANES;
    for (int64_t part = 0; part < TILE && tile * TILE + part < w->rows; part += width) {
        const int64_t row = tile * TILE + part;
        const bool direct = type == DTYPE_F32 && row + width <= w->rows;
        const tile_part t = {.w = w, .codes = codes + part * STEP_CODES, .scales = scales + part * (w->half ? 2 : 4)};
        for (int64_t i = 0; i < pieces; i++) {
            const int64_t from = first + count * i / pieces, to = first + count * (i + 1) / pieces;
            const output out = direct ? (output){(float *)y + from * w->rows + row, w->rows} : (output){apart, width};
            multiply_tokens(out, &t, x, from, (int)(to - from));
            if (!direct) put_rows(y, type, w, row, width, apart, from, to - from);
        }
    }
}

#include "kernel/cpu/packed.h"

#include "base/half.h"
#include "base/memory.h"
#include "kernel/weight_room.h"
#include <stdlib.h>
#include <string.h>

const packed_products *packed_taken = &packed_products_int8_avx2;

/* ---- the layout ---- */

static int64_t up(int64_t count, int64_t multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

static int64_t largest_segment(int64_t width) {
    int64_t segment = INPUT_BLOCK;
    while (width % segment != 0) segment /= 2;
    return segment;
}

static bool all_half(const float *values, int64_t count) {
    for (int64_t i = 0; values && i < count; i++)
        if (half_to_float(half_from_float(values[i])) != values[i]) return false; /* NaN too */
    return true;
}

/* What follows from rows, columns and groups alone. */
static packed_weight with_widths(int64_t rows, int64_t cols, int64_t group) {
    packed_weight w = {.rows = rows, .cols = cols, .group = group, .groups = cols / group};
    w.width = up(group, w.groups == 1 ? INPUT_BLOCK : STEP_CODES);
    w.depth = w.width * w.groups;
    w.segment = largest_segment(w.width);
    return w;
}

static bool holds_nibbles(const packed_weight *w) {
    return w->segment % (2 * STEP_CODES) == 0;
}

static packed_weight lay_out(const quantized *q) {
    const int64_t groups = quantized_groups(q);
    packed_weight w = with_widths(q->rows, q->cols, q->group);
    int least;
    const bool nibbles = quantized_is_nibbles(q, &least);
    w.bits = nibbles && holds_nibbles(&w) ? 4 : 8;
    w.zero = w.bits == 4 ? -least : 128;
    w.has_offset = q->offset != NULL;
    w.half = all_half(q->scale, q->rows * groups) && all_half(q->offset, q->rows * groups);
    return w;
}

/* ---- filling it ---- */

static int64_t packed_column(const packed_weight *w, int64_t c) {
    return packed_spreads(w) ? c / w->group * w->width + c % w->group : c;
}

/* Where the code of a row's packed column lies, and whether it is the high half of its byte. */
static uint8_t *place(const packed_weight *w, int64_t row, int64_t column, bool *high) {
    const int64_t step = column / STEP_CODES;
    uint8_t *tile = w->codes + row / TILE * packed_tile_codes(w);
    *high = w->bits == 4 && step % 2;
    return tile + ((w->bits == 4 ? step / 2 : step) * TILE + row % TILE) * STEP_CODES + column % STEP_CODES;
}

static void put_code(packed_weight *w, int64_t row, int64_t column, int code) {
    bool high;
    uint8_t *to = place(w, row, column, &high);
    if (w->bits == 8)
        *to = (uint8_t)(code + w->zero);
    else
        *to |= (uint8_t)((code + w->zero) << (high ? 4 : 0));
}

static void put_scale(packed_weight *w, int64_t row, int64_t group, int which, float value) {
    char *tile = (char *)w->scales + row / TILE * packed_tile_scales(w);
    const int64_t at = (group * (w->has_offset ? 2 : 1) + which) * TILE + row % TILE;
    if (w->half)
        ((uint16_t *)tile)[at] = half_from_float(value);
    else
        ((float *)tile)[at] = value;
}

/* Four codes side by side; a signed byte + 128 is the byte with its first bit turned, and of 4 bits + 8 the same. */
static inline uint32_t four_codes(const int8_t *q, uint32_t zeros) {
    uint32_t codes;
    memcpy(&codes, q, sizeof codes);
    return codes ^ zeros;
}

/* A row whose columns lie as they come: whole steps; returns the columns that are done. */
static int64_t fill_steps(packed_weight *w, const int8_t *q, int64_t row) {
    bool high;
    uint8_t *to = place(w, row, 0, &high);
    const uint32_t zeros = (uint32_t)w->zero * 0x01010101u, nibbles = 0x0f0f0f0fu;
    const int64_t step = w->bits == 8 ? STEP_CODES : 2 * STEP_CODES, whole = w->cols / step * step;
    for (int64_t c = 0; c < whole; c += step, to += TILE * STEP_CODES) {
        uint32_t codes = four_codes(q + c, zeros);
        if (w->bits == 4) codes = (codes & nibbles) | (four_codes(q + c + STEP_CODES, zeros) & nibbles) << 4;
        memcpy(to, &codes, sizeof codes);
    }
    return whole;
}

static void fill_row(packed_weight *w, const quantized *q, int64_t row) {
    const int8_t *codes = q->q + row * w->cols;
    const int64_t done = packed_spreads(w) ? 0 : fill_steps(w, codes, row);
    for (int64_t c = done; c < w->cols; c++) put_code(w, row, packed_column(w, c), codes[c]);
    for (int64_t g = 0; g < w->groups; g++) {
        put_scale(w, row, g, 0, q->scale[row * w->groups + g]);
        if (w->has_offset) put_scale(w, row, g, 1, q->offset[row * w->groups + g]);
    }
}

static status alloc_parts(packed_weight *w, size_t codes, size_t scales, size_t inputs) {
    const kernels *k = kernels_for(DTYPE_F32);
    TRY(weight_room_take(w->room, k, (void **)&w->codes, codes));
    TRY(weight_room_take(w->room, k, &w->scales, scales));
    return inputs ? weight_room_take(w->room, k, (void **)&w->input_scale, inputs) : STATUS_OK;
}

packed_weight *packed_create(const quantized *q, int input_bits, weight_room *room, int64_t *bytes) {
    packed_weight *w = memory_allows() ? malloc(sizeof *w) : NULL;
    if (!w) return NULL;
    *w = lay_out(q);
    w->fine = input_bits == 16;
    w->room = room;
    const int64_t tiles = packed_tiles(w), codes = packed_tile_codes(w), scales = packed_tile_scales(w);
    const size_t inputs = q->input_scale ? (size_t)w->cols * sizeof *q->input_scale : 0;
    if (alloc_parts(w, (size_t)(tiles * codes), (size_t)(tiles * scales), inputs) != STATUS_OK) {
        packed_destroy(w);
        return NULL;
    }
    if (inputs) memcpy(w->input_scale, q->input_scale, inputs);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tiles; t++) {
        const bool whole = (t + 1) * TILE <= w->rows && w->depth == w->cols; /* nothing is padded */
        if (!whole) memset(w->codes + t * codes, 0, (size_t)codes);
        if (!whole) memset((char *)w->scales + t * scales, 0, (size_t)scales);
        for (int64_t r = t * TILE; r < (t + 1) * TILE && r < w->rows; r++) fill_row(w, q, r);
    }
    *bytes = tiles * (codes + scales) + (int64_t)inputs;
    return w;
}

/* ---- what is there already ---- */

static int64_t inputs_bytes(const packed_weight *w) {
    return w->cols * (int64_t)sizeof *w->input_scale;
}

void packed_describe(const packed_weight *w, stored_weight *out) {
    *out = (stored_weight){.kind = STORED_PACKED,
                           .rows = w->rows,
                           .cols = w->cols,
                           .group = w->group,
                           .bits = w->bits,
                           .zero = w->zero,
                           .half = w->half,
                           .has_offset = w->has_offset,
                           .fine = w->fine,
                           .array = {w->codes, w->scales, w->input_scale},
                           .bytes = {packed_tiles(w) * packed_tile_codes(w), packed_tiles(w) * packed_tile_scales(w),
                                     w->input_scale ? inputs_bytes(w) : 0}};
}

static bool numbers_are_sound(const stored_weight *s) {
    if (s->rows < 1 || s->rows > STORED_MOST_SIDE || s->cols < 1 || s->cols > STORED_MOST_SIDE) return false;
    if (s->group < 1 || s->group > s->cols || s->cols % s->group != 0) return false;
    return s->bits == 8 ? s->zero == 128 : s->bits == 4 && (s->zero == 0 || s->zero == 8);
}

static bool arrays_are_sound(const packed_weight *w, const stored_weight *s) {
    for (int i = 0; i < STORED_ARRAYS; i++)
        if ((uintptr_t)s->array[i] % STORED_ALIGNMENT != 0 || (s->bytes[i] > 0 && !s->array[i])) return false;
    return s->bytes[0] == packed_tiles(w) * packed_tile_codes(w) &&
           s->bytes[1] == packed_tiles(w) * packed_tile_scales(w) &&
           (s->bytes[2] == 0 || s->bytes[2] == inputs_bytes(w));
}

status packed_adopt(packed_weight **out, const stored_weight *s, weight_room *room, int64_t *bytes) {
    if (!numbers_are_sound(s))
        return fail("codes of %lld x %lld in groups of %lld, %d bits from %d on: they do not go together",
                    (long long)s->rows, (long long)s->cols, (long long)s->group, s->bits, -s->zero);
    packed_weight w = with_widths(s->rows, s->cols, s->group);
    w.bits = s->bits;
    w.zero = s->zero;
    w.half = s->half;
    w.has_offset = s->has_offset;
    w.fine = s->fine;
    w.room = room;
    if ((w.bits == 4 && !holds_nibbles(&w)) || !arrays_are_sound(&w, s))
        return fail("codes of %lld x %lld in groups of %lld, %d bits: expected other arrays for them than %lld, %lld "
                    "and %lld bytes",
                    (long long)s->rows, (long long)s->cols, (long long)s->group, s->bits, (long long)s->bytes[0],
                    (long long)s->bytes[1], (long long)s->bytes[2]);
    w.codes = (uint8_t *)s->array[0];
    w.scales = (void *)s->array[1];
    w.input_scale = s->bytes[2] > 0 ? (float *)s->array[2] : NULL;
    *out = memory_allows() ? malloc(sizeof **out) : NULL;
    if (!*out) return fail("out of memory for a packed weight");
    **out = w;
    *bytes = s->bytes[0] + s->bytes[1] + s->bytes[2];
    return STATUS_OK;
}

void packed_destroy(packed_weight *w) {
    if (!w) return;
    const kernels *k = kernels_for(DTYPE_F32);
    weight_room_give(w->room, k, w->codes);
    weight_room_give(w->room, k, w->scales);
    weight_room_give(w->room, k, w->input_scale);
    free(w);
}

/* ---- reading it ---- */

static float get_scale(const packed_weight *w, int64_t row, int64_t group, int which) {
    const char *tile = (const char *)w->scales + row / TILE * packed_tile_scales(w);
    const int64_t at = (group * (w->has_offset ? 2 : 1) + which) * TILE + row % TILE;
    return w->half ? half_to_float(((const uint16_t *)tile)[at]) : ((const float *)tile)[at];
}

static int get_code(const packed_weight *w, int64_t row, int64_t column) {
    bool high;
    const int byte = *place(w, row, column, &high);
    return (w->bits == 8 ? byte : high ? byte >> 4 : byte & 15) - w->zero;
}

void packed_expand(const packed_weight *w, int64_t row, int64_t first, int64_t count, float *out) {
    float scale = 0, offset = 0;
    for (int64_t c = first, group = -1; c < first + count; c++) {
        if (group != c / w->group) {
            group = c / w->group;
            scale = get_scale(w, row, group, 0);
            offset = w->has_offset ? get_scale(w, row, group, 1) : 0;
        }
        out[c - first] = (float)get_code(w, row, packed_column(w, c)) * scale + offset;
        if (w->input_scale) out[c - first] *= w->input_scale[c];
    }
}

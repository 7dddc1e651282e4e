/* Weights of integer products: how their codes lie in memory, and who multiplies with them.
 *
 * TILE rows stand side by side, so that one vector holds STEP codes of each of its lanes' rows, which vpdpbusd sums into one number a
 * lane. The instruction wants one unsigned factor: code + zero is what lies here, and Σ (code + zero) x − zero Σ x is exact.
 *
 *   codes   [tiles][depth / STEP][TILE][STEP]           8 bits: code + 128
 *           [tiles][depth / (2 STEP)][TILE][STEP]       4 bits: the low halves of the bytes are the first STEP columns, the high ones
 *                                                       the next
 *   scales  [tiles][groups][1 or 2][TILE]               the groups' scales and, where there are some, their offsets
 *
 * depth = groups · width columns: a group is padded to `width`, a multiple of the STEP, and one a row to a multiple of BLOCK. Rows that are
 * missing in the last tile have scale 0; columns that are missing meet inputs of 0. */
#ifndef MOEC_KERNEL_CPU_PACKED_H
#define MOEC_KERNEL_CPU_PACKED_H

#include "kernel/kernel.h"

enum { TILE = 32, STEP_CODES = 4, INPUT_BLOCK = 32 };

/* Of what lies in the arrays; another one whenever the order or the meaning of their bytes changes, which files of an older one then know. */
enum { PACKED_VERSION = 1 };

struct packed_weight {
    int64_t rows, cols, group;
    int64_t width, depth, groups;
    int64_t
        segment; /* columns that are summed as integers and share an input's scale: divides width, at most INPUT_BLOCK */
    int bits;    /* 8 or 4 */
    int zero;    /* 128; or, of 4 bits, 8 or 0 */
    bool half;   /* scales and offsets are float16, which holds all of them exactly; else float32 */
    bool has_offset;
    bool fine;         /* inputs have 16 bits, else 8 */
    weight_room *room; /* that the arrays lie in, or NULL */
    uint8_t *codes;
    void *scales;
    float *input_scale; /* [cols], what x is multiplied with before it is rounded; NULL: 1 */
};

static inline int64_t packed_tiles(const packed_weight *w) {
    return (w->rows + TILE - 1) / TILE;
}
/* Bytes of one tile's codes and scales. */
static inline int64_t packed_tile_codes(const packed_weight *w) {
    return TILE * w->depth * w->bits / 8;
}
static inline int64_t packed_tile_scales(const packed_weight *w) {
    return TILE * w->groups * (w->has_offset ? 2 : 1) * (w->half ? 2 : 4);
}
/* Whether an input's columns lie otherwise than they come. */
static inline bool packed_spreads(const packed_weight *w) {
    return w->width != w->group && w->groups > 1;
}

/* NULL: no memory. */
packed_weight *packed_create(const quantized *q, int input_bits, weight_room *room, int64_t *bytes);
/* The same of arrays that are there, in memory of the room (kernel_list.h, weight_adopt), and back. */
status packed_adopt(packed_weight **out, const stored_weight *s, weight_room *room, int64_t *bytes);
void packed_describe(const packed_weight *w, stored_weight *out);
void packed_destroy(packed_weight *w); /* NULL is fine */
/* Columns first … of a row. */
void packed_expand(const packed_weight *w, int64_t row, int64_t first, int64_t count, float *out);

/* Products of x, N rows of `type`, for one instruction set. */
typedef struct packed_products {
    const char *name;
    /* y[i] [N, rows_i] of y_type, for count weights */
    void (*several)(void *const *y, dtype y_type, const void *x, dtype type, const packed_weight *const *w,
                    int64_t count, int64_t N);
    /* y and x of `type`, rows grouped by expert (kernel_list.h) */
    void (*grouped)(void *y, const void *x, dtype type, const packed_weight *const *w, const int32_t *start, int64_t E);
} packed_products;
extern const packed_products packed_products_int8_avx2, packed_products_int8_avxvnni, packed_products_int8_avx512vnni;

/* Those that linear and its like use, for all tables; before anything is multiplied. */
extern const packed_products *packed_taken;

#endif

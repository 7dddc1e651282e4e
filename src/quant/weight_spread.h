/* How large the next integer of a matrix is expected to be, from those before it: a row and a column each have their own spread.
 *
 * Every column keeps a mean of |k|, with its rows' factors divided out, and every row a factor: what it has shown so far, over
 * what its columns led to expect. The product is the expected |k| at a place, and its class, in eighths of an octave, is the
 * context of everything that the entropy coder says about that place (weight_model.h). Integers only: a file decodes the
 * same everywhere. Sizes are in 1/256 of a step; where a weight is predicted, |k| is the distance from the prediction.
 *
 * Whoever chooses integers with the coder's rates in mind walks the matrix as the coder will, row after row:
 *     weight_spread_row(&s);
 *     for each column c: class = weight_spread_class(&s, c); choose k; weight_spread_seen(&s, c, |k| << 8); */
#ifndef MOEC_QUANT_WEIGHT_SPREAD_H
#define MOEC_QUANT_WEIGHT_SPREAD_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SPREAD_ONE = 1 << 8,     /* a step */
    SPREAD_CLASSES = 8 * 13, /* eighths of an octave from 1/64 of a step up */
    SPREAD_ROW_WEIGHT = 200, /* a row begins as if it had so many weights of the expected size */
    SPREAD_MOST_ROWS = 150,  /* a column's mean moves by 1/(rows + 2.5), and at least by 1/152.5 */
    SPREAD_REFRESH = 8,      /* a row's factor is computed anew every 8 columns */
    SPREAD_MOST_SIZE = 1 << 16
};

typedef struct weight_spread {
    uint32_t start;          /* the matrix's mean size, 1 … SPREAD_MOST_SIZE */
    uint32_t *column;        /* [cols] means, in 1/65536 steps */
    uint64_t seen, expected; /* in the row: sums of sizes */
    uint32_t factor;         /* of the row, 1/65536ths: seen / expected */
    uint32_t inverse;        /* expected / seen, 1/65536ths */
    uint32_t rate;           /* of the columns' means, 1/65536ths */
    int rows;                /* before this one, up to SPREAD_MOST_ROWS */
} weight_spread;

void weight_spread_start(weight_spread *s, int64_t cols, uint32_t mean);
void weight_spread_end(weight_spread *s);
void weight_spread_row(weight_spread *s); /* a row that is coded begins */

static inline void weight_spread_refresh(weight_spread *s) {
    enum { LEAST = 1 << 8, MOST = 1 << 24 };
    const uint64_t factor = (s->seen << 16) / s->expected, inverse = (s->expected << 16) / s->seen;
    s->factor = (uint32_t)(factor < LEAST ? LEAST : factor > MOST ? MOST : factor);
    s->inverse = (uint32_t)(inverse < LEAST ? LEAST : inverse > MOST ? MOST : inverse);
}

/* ⌊8 log2 x⌋ − 16, about, cut to the classes. */
static inline int spread_class_of(uint64_t x) {
    static const uint8_t fraction[32] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4,
                                         4, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7};
    if (x < 4) return 0;
    const int octave = 63 - __builtin_clzll(x);
    const uint64_t mantissa = octave >= 5 ? x >> (octave - 5) : x << (5 - octave);
    const int class = 8 * octave + fraction[mantissa & 31] - 16;
    return class < SPREAD_CLASSES ? class : SPREAD_CLASSES - 1;
}

static inline int weight_spread_class(weight_spread *s, int64_t c) {
    if (c % SPREAD_REFRESH == 0) weight_spread_refresh(s);
    return spread_class_of((uint64_t)s->column[c] * s->factor >> 24);
}

/* The place's size is known. */
static inline void weight_spread_seen(weight_spread *s, int64_t c, uint32_t size) {
    enum { MOST = 128 << 16, LEAST = 1 << 8 };
    const uint64_t alone = (uint64_t)size * s->inverse >> 8; /* without the row's factor */
    const int64_t target = alone > MOST ? MOST : (int64_t)alone;
    s->seen += size;
    s->expected += s->column[c] >> 8;
    const int64_t moved = s->column[c] + ((target - s->column[c]) * s->rate >> 16);
    s->column[c] = (uint32_t)(moved < LEAST ? LEAST : moved);
}

#endif

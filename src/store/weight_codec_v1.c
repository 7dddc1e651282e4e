/* The coder of version 1's artifacts, as far as it is needed to read them.
 *
 * Let r and c be running means of |q| along the row and down the column, a that of the whole matrix. A weight is expected to be
 * about r·c/a large; its class is that, in quarters of an octave, and each class learns its own frequencies, beginning with a
 * bell curve of that width. */
#include "store/weight_codec_v1.h"

#include "base/memory.h"
#include "store/range_coder.h"
#include <stdlib.h>
#include <string.h>

/* ---- frequencies of up to 256 symbols, in 1/32768ths ---- */

enum { TABLE_BITS = 15, TABLE_TOTAL = 1 << TABLE_BITS, TABLE_MAX_SYMBOLS = 256, TABLE_LOOKUP_BITS = 8 };

typedef struct frequency_table {
    int symbols;
    uint32_t total;                             /* Σ count */
    uint32_t until_rebuild, interval;           /* symbols until the table is recomputed, and how many that was */
    uint32_t count[TABLE_MAX_SYMBOLS];          /* COUNT_STEP a symbol seen, plus the prior */
    uint16_t cumulative[TABLE_MAX_SYMBOLS + 1]; /* symbol s owns [cumulative[s], cumulative[s + 1]) */
    uint8_t lookup[1 << TABLE_LOOKUP_BITS];     /* the symbol that owns the first value of each 128th */
} frequency_table;

enum { COUNT_STEP = 16 };
enum {
    FIRST_INTERVAL = 16,            /* symbols before the first recomputation; it doubles ... */
    LAST_INTERVAL = 1024,           /* ... up to this */
    MOST_COUNTED = COUNT_STEP << 16 /* above it all counts are halved, so that old symbols fade */
};

/* Every symbol gets 1/32768 and the rest is shared by count. */
static void table_rebuild(frequency_table *t) {
    if (t->total > MOST_COUNTED) {
        t->total = 0;
        for (int s = 0; s < t->symbols; s++) t->total += t->count[s] = (t->count[s] + 1) / 2;
    }
    const uint64_t factor = ((uint64_t)(TABLE_TOTAL - t->symbols) << 32) / t->total;
    uint64_t sum = 0;
    for (int s = 0; s < t->symbols; s++) {
        t->cumulative[s] = (uint16_t)(((sum * factor) >> 32) + (uint64_t)s);
        sum += t->count[s];
    }
    t->cumulative[t->symbols] = TABLE_TOTAL;
    for (int i = 0, s = 0; i < 1 << TABLE_LOOKUP_BITS; i++) {
        while (t->cumulative[s + 1] <= i << (TABLE_BITS - TABLE_LOOKUP_BITS)) s++;
        t->lookup[i] = (uint8_t)s;
    }
    t->until_rebuild = t->interval;
    if (t->interval < LAST_INTERVAL) t->interval *= 2;
}

static void table_start(frequency_table *t, int symbols, const uint32_t *count) {
    t->symbols = symbols;
    t->interval = FIRST_INTERVAL;
    t->total = 0;
    for (int s = 0; s < symbols; s++) t->total += t->count[s] = count[s];
    if (t->total == 0) t->total = t->count[0] = 1;
    table_rebuild(t);
}

static inline void table_count(frequency_table *t, int symbol) {
    t->count[symbol] += COUNT_STEP;
    t->total += COUNT_STEP;
    if (--t->until_rebuild == 0) table_rebuild(t);
}

typedef struct table_decoder {
    range_decoder d;
    bool damaged; /* a value that no encoder writes was seen */
} table_decoder;

static int table_decode(table_decoder *t, frequency_table *f) {
    range_decoder *d = &t->d;
    const uint64_t unit = d->range >> TABLE_BITS;
    uint64_t value = d->code / unit;
    if (value >= TABLE_TOTAL) {
        t->damaged = true;
        d->code = 0;
        value = 0;
    }
    int symbol = f->lookup[value >> (TABLE_BITS - TABLE_LOOKUP_BITS)];
    while (f->cumulative[symbol + 1] <= value) symbol++;
    d->code -= unit * f->cumulative[symbol];
    d->range = unit * (uint64_t)(f->cumulative[symbol + 1] - f->cumulative[symbol]);
    while (d->range <= UINT32_MAX) {
        d->code = d->code << 32 | range_decoder_word(d);
        d->range <<= 32;
    }
    table_count(f, symbol);
    return symbol;
}

/* ---- contexts ---- */

enum {
    MEAN_ONE = 1 << 8,    /* the means' unit: 1/256 of a step */
    ROW_SHIFT = 6,        /* a mean moves 1/64 of the way to each new |q| along a row, */
    COLUMN_SHIFT = 6,     /* 1/64 down a column */
    OVERALL_SHIFT = 10,   /* and 1/1024 over all */
    LOG_STEPS = 16,       /* logarithms are in 1/16 octaves */
    CLASS_STEPS = 4,      /* a class is 1/4 octave wide */
    CLASS_FLOOR = 5 * 16, /* log2(32/256): class 0 holds means up to 1/8 of a step */
    CLASSES = 40,         /* 10 octaves: up to a mean of 128 */
    PRIOR_WEIGHT = 6      /* the bell curve counts as much as 6 sightings of every symbol */
};

/* 16 log2(x), x ≥ 1, cut to a whole number. */
static inline int log_sixteenths(uint32_t x) {
    static const uint8_t fraction[16] = {0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15};
    const int octave = 31 - __builtin_clz(x);
    const uint32_t mantissa = octave >= 4 ? x >> (octave - 4) : x << (4 - octave);
    return octave * LOG_STEPS + fraction[mantissa & 15];
}

typedef struct weight_model {
    int64_t cols;
    int levels, symbols;   /* symbol = q + levels */
    uint32_t row, overall; /* means, > 0 */
    uint32_t *column;      /* [cols] */
    int overall_log;       /* of the overall mean, taken at each row's start */
    frequency_table *table[CLASSES];
} weight_model;

/* A bell curve as integers: (1 + q²/(16σ²))^−8, close to exp(−q²/2σ²) with a little more tail. */
static void class_prior(uint32_t *count, int class, int levels) {
    /* The class's middle as a mean of |q| in 1/256 steps: 2^(log/16) by whole octaves and linear between them. */
    const int log = CLASS_FLOOR + class * CLASS_STEPS + CLASS_STEPS / 2, octave = log / LOG_STEPS;
    const uint64_t mean = ((uint64_t)(LOG_STEPS + log % LOG_STEPS) << octave) / LOG_STEPS;
    const uint64_t variance = mean * mean * 11 / 7 + MEAN_ONE * MEAN_ONE / 12; /* σ² = mean² · π/2 of a bell curve */
    uint64_t weight[2 * 127 + 1], total = 0;
    for (int q = -levels; q <= levels; q++) {
        const uint64_t square = (uint64_t)(q * q) * MEAN_ONE * MEAN_ONE;
        uint64_t w = (variance << 16) * 16 / (16 * variance + square); /* 2^16 / (1 + q²/16σ²) */
        for (int i = 0; i < 3; i++) w = w * w >> 16;
        total += weight[q + levels] = w;
    }
    for (int s = 0; s <= 2 * levels; s++)
        count[s] = (uint32_t)(weight[s] * PRIOR_WEIGHT * (2 * (unsigned)levels + 1) * COUNT_STEP / (total ? total : 1));
    count[levels]++;
}

static void model_start(weight_model *m, int64_t cols, int levels, uint32_t mean) {
    *m = (weight_model){.cols = cols, .levels = levels, .symbols = 2 * levels + 1, .row = mean, .overall = mean};
    m->column = xmalloc((size_t)cols * sizeof *m->column);
    for (int64_t c = 0; c < cols; c++) m->column[c] = mean;
}

static void model_end(weight_model *m) {
    free(m->column);
    for (int i = 0; i < CLASSES; i++) free(m->table[i]);
}

static frequency_table *new_table(weight_model *m, int class) {
    uint32_t prior[2 * 127 + 1];
    class_prior(prior, class, m->levels);
    m->table[class] = xmalloc(sizeof(frequency_table));
    table_start(m->table[class], m->symbols, prior);
    return m->table[class];
}

static void model_row(weight_model *m) {
    m->overall_log = log_sixteenths(m->overall);
    m->row = m->overall;
}

static inline frequency_table *model_table(weight_model *m, int64_t c) {
    int class = (log_sixteenths(m->row) + log_sixteenths(m->column[c]) - m->overall_log - CLASS_FLOOR) / CLASS_STEPS;
    class = class < 0 ? 0 : class >= CLASSES ? CLASSES - 1 : class;
    frequency_table *t = m->table[class];
    return t ? t : new_table(m, class);
}

/* mean += (size − mean) / 2^shift, never below 1. */
static inline uint32_t mean_moved(uint32_t mean, uint32_t size, int shift) {
    const uint32_t moved = mean + (size >> shift) - (mean >> shift);
    return moved ? moved : 1;
}

static inline void model_seen(weight_model *m, int64_t c, int q) {
    const uint32_t size = (uint32_t)(q < 0 ? -q : q) * MEAN_ONE;
    m->row = mean_moved(m->row, size, ROW_SHIFT);
    m->column[c] = mean_moved(m->column[c], size, COLUMN_SHIFT);
    m->overall = mean_moved(m->overall, size, OVERALL_SHIFT);
}

enum { STREAM_HEADER = 2 }; /* the matrix's mean |q|, little-endian */

status weights_decode_v1(quantized *q, const uint8_t *bytes, size_t count) {
    if (count < STREAM_HEADER) return fail("expected at least %d bytes of codes, found %zu", STREAM_HEADER, count);
    const uint32_t mean = bytes[0] | (uint32_t)bytes[1] << 8;
    if (mean == 0 || mean > 127 * MEAN_ONE)
        return fail("expected a mean size of 1 to %d, found %u", 127 * MEAN_ONE, mean);
    weight_model m;
    table_decoder d = {.damaged = false};
    model_start(&m, q->cols, q->levels, mean);
    range_decoder_start(&d.d, bytes + STREAM_HEADER, count - STREAM_HEADER);
    for (int64_t r = 0; r < q->rows && !d.damaged; r++) {
        if (q->scale[r] == 0) {
            memset(q->q + r * q->cols, 0, (size_t)q->cols);
            continue;
        }
        model_row(&m);
        for (int64_t c = 0; c < q->cols; c++) {
            const int value = table_decode(&d, model_table(&m, c)) - q->levels;
            q->q[r * q->cols + c] = (int8_t)value;
            model_seen(&m, c, value);
        }
    }
    model_end(&m);
    return d.damaged ? fail("the codes are damaged") : STATUS_OK;
}

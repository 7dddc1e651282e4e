/* Contexts. Let r and c be running means of |q| along the row and down the column, a that of the whole matrix. A weight is
 * expected to be about r·c/a large; its class is that, in quarters of an octave, and each class learns its own
 * frequencies, beginning with a bell curve of that width. All of it is integer arithmetic. */
#include "store/weight_codec.h"

#include "base/memory.h"
#include "store/range_coder.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* The stream begins with the matrix's mean |q|, so that the first row is coded well: 2 bytes, little-endian. */
enum { STREAM_HEADER = 2 };

static uint32_t mean_size(const quantized *q) {
    uint64_t sum = 0, count = 0;
    for (int64_t r = 0; r < q->rows; r++) {
        if (q->scale[r] == 0) continue;
        count += (uint64_t)q->cols;
        for (int64_t c = 0; c < q->cols; c++) sum += (uint64_t)abs(q->q[r * q->cols + c]);
    }
    const uint64_t mean = count ? sum * MEAN_ONE / count : 0;
    return mean ? (uint32_t)mean : 1;
}

void weights_encode(const quantized *q, uint8_t **bytes, size_t *count) {
    weight_model m;
    range_encoder e;
    const uint32_t mean = mean_size(q);
    model_start(&m, q->cols, q->levels, mean);
    range_encoder_start(&e);
    for (int64_t r = 0; r < q->rows; r++) {
        if (q->scale[r] == 0) continue;
        model_row(&m);
        for (int64_t c = 0; c < q->cols; c++) {
            const int value = q->q[r * q->cols + c];
            range_encode(&e, model_table(&m, c), value + q->levels);
            model_seen(&m, c, value);
        }
    }
    range_encoder_finish(&e);
    model_end(&m);
    *count = e.count + STREAM_HEADER;
    *bytes = xmalloc(*count);
    (*bytes)[0] = (uint8_t)mean;
    (*bytes)[1] = (uint8_t)(mean >> 8);
    if (e.count) memcpy(*bytes + STREAM_HEADER, e.bytes, e.count);
    free(e.bytes);
}

status weights_decode(quantized *q, const uint8_t *bytes, size_t count) {
    if (count < STREAM_HEADER) return fail("expected at least %d bytes of codes, found %zu", STREAM_HEADER, count);
    const uint32_t mean = bytes[0] | (uint32_t)bytes[1] << 8;
    if (mean == 0 || mean > 127 * MEAN_ONE)
        return fail("expected a mean size of 1 to %d, found %u", 127 * MEAN_ONE, mean);
    weight_model m;
    range_decoder d;
    model_start(&m, q->cols, q->levels, mean);
    range_decoder_start(&d, bytes + STREAM_HEADER, count - STREAM_HEADER);
    for (int64_t r = 0; r < q->rows && !d.damaged; r++) {
        if (q->scale[r] == 0) {
            memset(q->q + r * q->cols, 0, (size_t)q->cols);
            continue;
        }
        model_row(&m);
        for (int64_t c = 0; c < q->cols; c++) {
            const int value = range_decode(&d, model_table(&m, c)) - q->levels;
            q->q[r * q->cols + c] = (int8_t)value;
            model_seen(&m, c, value);
        }
    }
    model_end(&m);
    return d.damaged ? fail("the codes are damaged") : STATUS_OK;
}

double weights_entropy(const quantized *q) {
    int64_t seen[256] = {0}, total = 0;
    for (int64_t r = 0; r < q->rows; r++) {
        if (q->scale[r] == 0) continue;
        total += q->cols;
        for (int64_t c = 0; c < q->cols; c++) seen[q->q[r * q->cols + c] + 128]++;
    }
    double bits = 0;
    for (int i = 0; i < 256; i++)
        if (seen[i]) bits -= (double)seen[i] * log2((double)seen[i] / (double)total);
    return bits;
}

/* An adaptive range coder (Martin 1979; 64-bit, words of 32 bits, carries propagated into what was written).
 *
 * A frequency_table holds the probabilities of up to 256 symbols in 1/32768ths. They are learned: both sides count the
 * symbols and recompute the table from the counts at the same moments, seldom enough that a symbol costs a division and a
 * look-up. Everything is integer arithmetic, so a file decodes the same everywhere. */
#ifndef MOEC_STORE_RANGE_CODER_H
#define MOEC_STORE_RANGE_CODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TABLE_BITS = 15, TABLE_TOTAL = 1 << TABLE_BITS, TABLE_MAX_SYMBOLS = 256, TABLE_LOOKUP_BITS = 8 };

typedef struct frequency_table {
    int symbols;
    uint32_t total;                             /* Σ count */
    uint32_t until_rebuild, interval;           /* symbols until the table is recomputed, and how many that was */
    uint32_t count[TABLE_MAX_SYMBOLS];          /* COUNT_STEP a symbol seen, plus the prior */
    uint16_t cumulative[TABLE_MAX_SYMBOLS + 1]; /* symbol s owns [cumulative[s], cumulative[s + 1]) */
    uint8_t lookup[1 << TABLE_LOOKUP_BITS];     /* the symbol that owns the first value of each 128th */
} frequency_table;

/* count[0 … symbols) is what is believed before anything is seen; COUNT_STEP is worth one symbol. */
enum { COUNT_STEP = 16 };
void table_start(frequency_table *t, int symbols, const uint32_t *count);

typedef struct range_encoder {
    uint64_t low, range;
    uint8_t *bytes; /* malloc'ed; the caller's after range_encoder_finish */
    size_t count, capacity;
} range_encoder;
void range_encoder_start(range_encoder *e);
void range_encode(range_encoder *e, frequency_table *t, int symbol);
void range_encoder_finish(range_encoder *e); /* bytes and count are the stream, without trailing zeros */

typedef struct range_decoder {
    uint64_t code, range; /* code: the stream's value minus the encoder's low */
    const uint8_t *next, *end;
    bool damaged; /* a value that no encoder writes was seen */
} range_decoder;
void range_decoder_start(range_decoder *d, const uint8_t *bytes, size_t count); /* zeros follow the last byte */
int range_decode(range_decoder *d, frequency_table *t);

#endif

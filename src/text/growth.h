/* How long a text may become where a tokenizer's steps rewrite it. They come from files of others, and one after another they could make
 * gigabytes of a few bytes. Unicode's normal forms make at most 18 bytes of one, characters that stand for bytes make 2. */
#ifndef MOEC_TEXT_GROWTH_H
#define MOEC_TEXT_GROWTH_H

#include "base/status.h"
#include <stddef.h>

enum { GROWTH_BYTES = 8192, GROWTH_FACTOR = 64 };

/* A text of `from` bytes is to become one of `bytes`. */
static inline status check_growth(size_t bytes, size_t from) {
    if (bytes <= GROWTH_BYTES + GROWTH_FACTOR * from) return STATUS_OK;
    return fail("tokenizer: a text of %zu bytes grows beyond %zu where its steps rewrite it", from,
                GROWTH_BYTES + GROWTH_FACTOR * from);
}

#endif

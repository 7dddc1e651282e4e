/* A dictionary for LZMA that holds all of `count` bytes finds what a larger one does, without the tables of the larger one, which are
 * cleared for every stream (10 times the dictionary: most of the time that a small stream takes). A power of two within the bounds. */
#ifndef MOEC_BASE_LZMA_DICTIONARY_H
#define MOEC_BASE_LZMA_DICTIONARY_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t lzma_dictionary(size_t count, uint32_t least, uint32_t most) {
    uint32_t bytes = least;
    while (bytes < count && bytes < most) bytes *= 2;
    return bytes;
}

#endif

/* Numbers of bytes as people write them. */
#ifndef MOEC_BASE_BYTE_COUNT_H
#define MOEC_BASE_BYTE_COUNT_H

#include <stdbool.h>
#include <stdint.h>

/* For messages and help. */
#define BYTE_COUNT_EXAMPLES "16000000, 150M, 1.5GB or 64KiB"

/* Digits, perhaps with a decimal fraction, and a unit right behind them, in letters of either case: K, M, G, T, with or without a B, are
 * powers of 1000; KiB, MiB, GiB, TiB of 1024; B or nothing are bytes, of which there is no fraction. *bytes is rounded to the nearest.
 * false, with *bytes as it was: something else, or more than INT64_MAX. */
bool byte_count_parse(const char *text, int64_t *bytes);

#endif

/* The scales of grids: bfloat16 as integers, so that equal differences are nearly equal ratios. The scales of a matrix lie around a
 * mean; those of an expert that was copied lie where its twin's do. What is coded is the distance from that. */
#ifndef MOEC_STORE_SCALE_CODEC_H
#define MOEC_STORE_SCALE_CODEC_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Offsets of groups (quantized_offset) are coded like scales, as OFFSET_ZERO + z; factors are a correction's. Version 2 of
 * the artifact has neither, version 3 no factors. */
enum { SCALES_OF_ROWS, SCALES_OF_COLUMNS, SCALE_OFFSETS, SCALES_OF_FACTORS, SCALE_KINDS };
enum { OFFSET_ZERO = 32768 };

/* The scales of one matrix, a part of an array of all. */
typedef struct scale_run {
    size_t first, count;
    int kind;
    bool has_twin;
    size_t twin; /* first of another run of as many, before this one */
} scale_run;

/* *bytes is malloc'ed. */
void scales_encode(const uint16_t *scales, const scale_run *runs, size_t run_count, uint8_t **bytes, size_t *count);
/* Fills scales. Any bytes decode to something, except where they are fewer than a stream begins with. */
status scales_decode(uint16_t *scales, const scale_run *runs, size_t run_count, const uint8_t *bytes, size_t count);

#endif

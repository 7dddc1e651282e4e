/* A matrix on a grid: w = q · scale + offset, with integers |q| ≤ levels, and a scale (and an offset) for each row or each group of a
 * row's columns; where columns have their own steps (quant/dependent.h), times a scale for each column, so that
 * y = (q · scale + offset) (input_scale ⊙ x). Host memory, or device memory where a weight has it (kernel/kernel.h). */
#ifndef MOEC_TENSOR_QUANTIZED_H
#define MOEC_TENSOR_QUANTIZED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct quantized {
    int64_t rows, cols;
    int64_t group;      /* columns that share a scale: cols for one a row; divides cols */
    int levels;         /* 31 for int6 */
    int8_t *q;          /* [rows, cols] */
    float *scale;       /* [rows, cols / group]; 0 where all of the group is 0 */
    float *offset;      /* the same, added to all of a group; NULL: 0 */
    float *input_scale; /* [cols], > 0; NULL: 1 */
    int trellis;        /* states of the one whose paths the rows are (trellis.h); 0: none */
    uint32_t
        rotation; /* seed of a transform of the columns that has to be undone (rotation.h), which expanding does; 0: none */
    /* A B of low rank (quant/low_rank.h), which expanding adds when everything else is done: a grid [rank, rows + cols]
     * with a scale a row, whose row k holds column k of A and then row k of B. Owned; NULL: none. */
    struct quantized *correction;
} quantized;

enum { QUANTIZED_MOST_RANK = 1024 }; /* of a correction */

/* Offsets as artifacts have them: quarters of a step, |z| ≤ QUANTIZED_MOST_ZERO. */
enum { QUANTIZED_MOST_ZERO = 127 };
static inline float quantized_offset(float scale, int quarters) {
    return 0.25f * scale * (float)quarters;
}
static inline int64_t quantized_groups(const quantized *q) {
    return q->cols / q->group;
}
/* Without values: rows and cols as said; xmalloc'ed. */
quantized quantized_alloc(int64_t rows, int64_t cols, int64_t group, bool has_offset);
void quantized_free(quantized *q);                     /* of host memory */
quantized quantized_copy(const quantized *q);          /* with memory of its own */
void quantized_expand(const quantized *q, float *out); /* out[rows, cols], with all scales */
void quantized_expand_row(const quantized *q, int64_t row, float *out);

/* ---- 4 bits: 16 codes side by side ---- */

/* Whether all codes lie in `least` … least + 15, least being 0 or −8. */
bool quantized_is_nibbles(const quantized *q, int *least);

/* ---- rounding floats to codes, as a model is loaded ---- */

/* Columns that share a scale where floats are rounded: 32, or where that does not divide cols the largest multiple of 8 up to 32
 * that does, or cols. */
int64_t quantized_group_for(int64_t cols);
/* `rows` rows of values become the rows first … of q (made by quantized_alloc; with offsets for 4 bits, without for 8).
 *   8 bits: scale = max |w| / 127, q = round(w / scale)
 *   4 bits: q in 0 … 15; scale and offset begin at the group's range and are fitted by least squares to the codes, twice
 * Scales and offsets are rounded to float16 before codes are chosen, so that they can be kept in 16 bits. A group with a NaN or an
 * infinity has scale NaN. */
void quantized_round_rows(quantized *q, int bits, int64_t first, int64_t rows, const float *values);

#endif

/* Rows of activations rounded to 8 or 16 bits in blocks, in the order and with the sums that products of one kind of weight want. */
#ifndef MOEC_KERNEL_CPU_INTEGER_INPUT_H
#define MOEC_KERNEL_CPU_INTEGER_INPUT_H

#include "kernel/cpu/packed.h"
#include "kernel/cpu/variant.h"

/* The rows lie in chunks of INPUT_ROWS (the last one of what is left), and in a chunk block by block, so that rows that are multiplied
 * together are neighbours: what a kernel reads of them is at fixed distances from one pointer. */
enum { INPUT_ROWS = 48 };

/* With VNNI products read 8 bits, twice where an input has 16. Without it they read 16 bits of either, whose products of pairs vpmaddwd sums without
 * saturating, and of every four columns 0 and 2 come before 1 and 3: what a shift by 8 leaves of four codes side by side. */
#if defined __AVX512VNNI__ || defined __AVXVNNI__
typedef int8_t input_code;
enum { INPUT_IS_WIDE = 0 };
#else
typedef int16_t input_code;
enum { INPUT_IS_WIDE = 1 };
#endif

/* What products read of rounded rows. */
typedef struct input_part {
    input_code *q;  /* [chunks][blocks][rows][segment], 0 in what is padded */
    float *scale;   /* [chunks][blocks][rows]: of the block's sum */
    int32_t *start; /* the same: −zero Σ q, where that sum begins */
    float *sum;     /* the same: the block's inputs summed, what an offset meets */
} input_part;

typedef struct packed_input {
    const packed_weight *kind; /* any of the weights that it is for */
    int64_t first, N;          /* rows first … first + N − 1 of the product's */
    int64_t blocks;            /* of a row: depth / segment */
    bool fine;                 /* one of them wants 16 bits */
    input_part high;           /* x ≈ scale · q */
    input_part low;            /* where fine: x ≈ scale · (256 high.q + q), or scale · q where wide; sum of both */
} packed_input;

/* How many rows the chunk of row n has. Rows n, here and below, are the product's. */
static inline int64_t input_rows(const packed_input *x, int64_t n) {
    const int64_t left = x->N - (n - x->first) / INPUT_ROWS * INPUT_ROWS;
    return left < INPUT_ROWS ? left : INPUT_ROWS;
}
/* The place of row n's first block in scale, start and sum, and · segment in q; the next block is input_rows further on. */
static inline int64_t input_place(const packed_input *x, int64_t n) {
    const int64_t own = n - x->first;
    return own / INPUT_ROWS * INPUT_ROWS * x->blocks + own % INPUT_ROWS;
}

/* Whether weights of kind b can read what was rounded for a. */
bool KERNEL(same_input)(const packed_weight *a, const packed_weight *b);
/* Take the arrays' places from *at (isa/scratch.h); kind, fine, first and N are there. */
void KERNEL(place_input)(packed_input *x, uintptr_t *at);
/* The blocks from … to − 1 of row n of x, from its place in an array of rows of `type`. */
void KERNEL(round_input)(const packed_input *x, int64_t n, int64_t from, int64_t to, const void *rows, dtype type);

#endif

/* What a matrix costs at several rates: bytes as the coder measures them, and error, measured too. Between measured rates bytes are
 * taken as linear and the error's logarithm as linear in the rate. */
#ifndef MOEC_QUANT_CANDIDATES_H
#define MOEC_QUANT_CANDIDATES_H

#include "quant/quantizer.h"

typedef struct candidate {
    double rate;  /* nominal, bits a weight */
    double bytes; /* codes and scales */
    double error; /* matrix_error: with sensitivities the loss's increase, nats a token */
} candidate;

enum { CANDIDATES_MOST = 32 };
typedef struct candidate_curve {
    int count;
    candidate at[CANDIDATES_MOST]; /* by rising rate */
} candidate_curve;

/* The rates that are measured first. */
extern const double candidate_rates[];
extern const int candidate_rate_count;

/* Adds what was measured, in the place of an older one of this rate. A full curve is left as it is. */
void curve_add(candidate_curve *c, candidate added);
candidate curve_at(const candidate_curve *c, double rate); /* beyond the ends bytes and error are the end's */
/* The rate at which it has about these bytes, within the curve's. */
double curve_rate_of_bytes(const candidate_curve *c, double bytes);

/* Bytes of a quantised matrix in the file without its correction: of rows' codes and scales, and of what they share. */
typedef struct coded_size {
    double rows, columns;
} coded_size;
typedef coded_size (*coded_bytes)(const quantized *q);
/* Quantises and measures at one rate. Matrices of more than CANDIDATE_ELEMENTS weights (candidates_measure: `sample`, unless it is 0) are
 * measured on rows at equal distances. */
enum { CANDIDATE_ELEMENTS = 1 << 20 };
status candidate_measure(candidate *out, quantizer q, const matrix_problem *p, double rate, coded_bytes bytes);

/* The ranks that a correction may have (low_rank.h), rising, each a candidate of its own. */
enum { CANDIDATE_RANKS = 3 };
typedef struct candidate_ranks {
    int count, rank[CANDIDATE_RANKS];
    int bits; /* of the factors */
} candidate_ranks;
/* `most`, a quarter and a sixteenth of it, as far as they are ranks; most is cut to low_rank_most. */
candidate_ranks candidate_ranks_up_to(int most, int bits, int64_t rows, int64_t cols);
/* Without a correction, out[0], and with one of each rank, out[1 … ranks->count]; the matrix is quantised once, p->rank
 * is not asked. Where there are ranks all rows are measured: one of some rows is far better there than on all. */
status candidates_measure(candidate *out, quantizer q, const matrix_problem *p, const candidate_ranks *ranks,
                          double rate, coded_bytes bytes, int64_t sample);

#endif

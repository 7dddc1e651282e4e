/* Dependent quantisation (trellis-coded quantisation, Marcellin and Fischer 1990, in the form of the Neural Network Coding standard,
 * ISO/IEC 15938-17): two scalar quantisers with the step 2δ, of which a state machine says the one that the next weight of a row has:
 *     Q0: 2k·δ            Q1: (2k − sgn k)·δ
 * so that the codes k of a row are paths through a trellis, and the points that a row can take are packed more densely than those of
 * one quantiser. Each row begins in state 0. With s the state, its lowest bit is the quantiser, and the parity of k leads to
 *     s' = (s >> 1) ⊕ (s & 1 ? h⁰ >> 1 : 0) ⊕ (k & 1 ? h¹ >> 1 : 0)
 * which is the encoder of the convolutional code with parity checks h⁰, h¹ (Ungerboeck 1982, table I; in octal 5, 2 for 4 states; 13, 4;
 * 23, 4; 45, 10; 103, 24 for 64).
 *
 * A matrix is run as r = 2k − q·sgn k, ordinary integers with the step δ (quantized.q); what is stored are the k, half as large. */
#ifndef MOEC_TENSOR_TRELLIS_H
#define MOEC_TENSOR_TRELLIS_H

#include <stdbool.h>
#include <stdint.h>

enum { TRELLIS_MOST_STATES = 64 };

typedef struct trellis {
    int states;
    uint8_t next[TRELLIS_MOST_STATES][2];   /* [state][k & 1] */
    uint8_t quantizer[TRELLIS_MOST_STATES]; /* 0 or 1 */
} trellis;

/* 4, 8, 16, 32 or 64 states; NULL for any other number. */
const trellis *trellis_of(int states);

static inline int trellis_point(int k, int quantizer) {
    return 2 * k - quantizer * ((k > 0) - (k < 0));
}

/* One row's codes k to its points r, and back; k and r may be one array. trellis_codes is false where r is no path. */
void trellis_points(const trellis *t, const int8_t *k, int64_t cols, int8_t *r);
bool trellis_codes(const trellis *t, const int8_t *r, int64_t cols, int8_t *k);

#endif

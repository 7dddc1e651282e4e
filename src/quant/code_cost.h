/* What a code costs an adaptive entropy coder, before there is one: the weight is taken as Gaussian with a known spread, which the
 * contexts of store/weight_codec.h estimate from what was coded so far.
 *     bits(k) = −log₂ (Φ(above) − Φ(below)), above and below the borders of the points that k has
 * in units of δ. With two quantisers Q0 has its borders at the odd numbers, Q1 half way between 0, ±1, ±3, … */
#ifndef MOEC_QUANT_CODE_COST_H
#define MOEC_QUANT_CODE_COST_H

#include <stdbool.h>

enum { COST_CODES = 128, COST_CLASSES = 64 };

typedef struct code_cost {
    float bits[COST_CLASSES][2][COST_CODES]; /* [spread][quantiser][|k|], the sign included */
} code_cost;

/* dependent: two quantisers of step 2; else one of step 1. */
void code_cost_fill(code_cost *c, bool dependent);

enum { COST_CLASSES_AN_OCTAVE = 4, COST_CLASS_OF_ONE = 24 };
/* octaves: log₂ of the weight's spread, in units of δ */
static inline const float (*code_cost_at(const code_cost *c, float octaves))[COST_CODES] {
    float at = COST_CLASSES_AN_OCTAVE * octaves + COST_CLASS_OF_ONE + 0.5f;
    at = at < 0 ? 0 : at > COST_CLASSES - 1 ? COST_CLASSES - 1 : at;
    return c->bits[(int)at];
}

#endif

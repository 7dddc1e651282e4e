#include "quant/code_cost.h"

#include <math.h>

static const double least_probability = 1e-6; /* of one code: a coder never believes that it is certain */

/* The probability that |x| lies beyond a, for deviation σ. */
static double beyond(double a, double sigma) {
    return erfc(a / (sigma * sqrt(2)));
}

/* Upper border of |k|'s cell. */
static double border(int k, int quantizer, bool dependent) {
    if (!dependent) return k + 0.5;
    if (!quantizer) return 2 * k + 1;
    return k == 0 ? 0.5 : 2 * k;
}

void code_cost_fill(code_cost *c, bool dependent) {
    for (int spread = 0; spread < COST_CLASSES; spread++) {
        const double sigma = exp2((spread - COST_CLASS_OF_ONE) / (double)COST_CLASSES_AN_OCTAVE);
        for (int quantizer = 0; quantizer < 2; quantizer++)
            for (int k = 0; k < COST_CODES; k++) {
                const double below = k ? beyond(border(k - 1, quantizer, dependent), sigma) : 1;
                const double p = below - beyond(border(k, quantizer, dependent), sigma);
                c->bits[spread][quantizer][k] = (float)((k ? 1 : 0) - log2(fmax(p, least_probability)));
            }
    }
}

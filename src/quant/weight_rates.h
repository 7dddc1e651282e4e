/* What the entropy coder (store/weight_codec.h) would pay for each integer of a matrix: for quantisers that weigh error against bits, and
 * for allocation, which wants sizes without coding. Without predictions: of column means and twins a quantiser knows nothing. */
#ifndef MOEC_QUANT_WEIGHT_RATES_H
#define MOEC_QUANT_WEIGHT_RATES_H

#include "quant/weight_model.h"

enum { RATE_CODES = 128 };

typedef struct weight_rates {
    float bits[2][SPREAD_CLASSES][RATE_CODES]; /* [quantiser][class][|k|], the sign included */
    double total; /* Σ over the matrix, as its probabilities were when each integer came */
} weight_rates;

/* After the coder has seen q: the probabilities that it then has, or begins with in classes that did
 * not occur. The class of a place is weight_spread_class of what was coded before (weight_spread.h: rows are walked from
 * `mean`, the mean |k| in 1/256 steps, which is returned). False where q is no path of its trellis. */
bool weight_rates_of(weight_rates *out, const quantized *q, uint32_t *mean);

#endif

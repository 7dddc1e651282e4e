/* How large an artifact will be, before there is anything to pack.
 *
 * A row of a trained matrix is taken as Gaussian with deviation σ. A symmetric grid q·Δ, |q| ≤ levels = 2^(bits−1) − 1, gets
 * the step that the quantisers look for, the one of least mean squared error:
 *     D(Δ) = Σ_q ∫ (x − qΔ)² φ(x) dx over q's cell; the outermost cells reach to ±∞
 * and an ideal entropy coder then spends
 *     H = −Σ_q p_q log₂ p_q bits a weight,  p_q = Φ((q + ½)Δ/σ) − Φ((q − ½)Δ/σ)
 * H is 5.3 of 6 bits, 7.1 of 8. Where the options ask for coarser steps (least_step, in σ), the step is that one; where they
 * prune, what lies below the quantile of |x| counts as q = 0. Every quantised row has a float16 scale beside; tensors that
 * products do not read and those of at most keep_float_elements stay float16. */
#ifndef MOEC_QUANT_ESTIMATE_H
#define MOEC_QUANT_ESTIMATE_H

#include "nn/budget.h"
#include "quant/options.h"

typedef struct gaussian_grid {
    double step;    /* Δ / σ */
    double error;   /* D / σ² */
    double entropy; /* H, bits a weight */
} gaussian_grid;
gaussian_grid gaussian_grid_best(int bits); /* 2 … 8 */
/* The same with no step finer than least_step · σ. */
gaussian_grid gaussian_grid_from(int bits, double least_step);
/* H of this grid with `bits` when the fraction of least |x| has become 0 */
double pruned_entropy(const gaussian_grid *g, int bits, double fraction);

typedef struct size_estimate {
    double bytes[COMPONENTS];
    double total; /* weights alone: without tokenizer and config */
} size_estimate;
size_estimate size_estimate_of(const model_config *c, const quant_options *options);
/* Bits a weight that the options' grids need before pruning: of matrices in blocks, and of the embeddings and the head. */
double estimate_bits(const quant_options *options);
double estimate_embed_bits(const quant_options *options);

#endif

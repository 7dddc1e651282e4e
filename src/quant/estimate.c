#include "quant/estimate.h"
#include "quant/prune.h"
#include <math.h>

static double density(double x) {
    return exp(-x * x / 2) / sqrt(2 * M_PI);
}
static double below(double x) {
    return erfc(-x / M_SQRT2) / 2;
}

/* ∫ (x − c)² φ(x) dx up to b: with ∫xφ = −φ and ∫x²φ = Φ − xφ it is (1 + c²) Φ(b) + (2c − b) φ(b). */
static double error_up_to(double b, double c) {
    if (isinf(b)) return b > 0 ? 1 + c * c : 0;
    return (1 + c * c) * below(b) + (2 * c - b) * density(b);
}

/* Both D and H of the grid with this step, σ = 1. */
static gaussian_grid grid_with_step(double step, int levels) {
    gaussian_grid g = {.step = step};
    for (int q = -levels; q <= levels; q++) {
        double low = q == -levels ? -INFINITY : (q - 0.5) * step, high = q == levels ? INFINITY : (q + 0.5) * step;
        double p = below(high) - below(low);
        g.error += error_up_to(high, q * step) - error_up_to(low, q * step);
        if (p > 0) g.entropy -= p * log2(p);
    }
    return g;
}

/* Golden-section search; D has one minimum between a grid that clips everything and one that is coarser than σ. */
gaussian_grid gaussian_grid_best(int bits) {
    int levels = (1 << (bits - 1)) - 1;
    const double ratio = (sqrt(5) - 1) / 2;
    double low = 0.5 / levels, high = 8.0 / levels;
    for (int i = 0; i < 60; i++) {
        double left = high - ratio * (high - low), right = low + ratio * (high - low);
        if (grid_with_step(left, levels).error < grid_with_step(right, levels).error)
            high = right;
        else
            low = left;
    }
    return grid_with_step((low + high) / 2, levels);
}

gaussian_grid gaussian_grid_from(int bits, double least_step) {
    gaussian_grid best = gaussian_grid_best(bits);
    return best.step >= least_step ? best : grid_with_step(least_step, (1 << (bits - 1)) - 1);
}

/* b with 2Φ(b) − 1 = fraction: |x| is below it for that fraction of a Gaussian. */
static double magnitude_below(double fraction) {
    double low = 0, high = 10;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (2 * below(middle) - 1 < fraction)
            low = middle;
        else
            high = middle;
    }
    return high;
}

double pruned_entropy(const gaussian_grid *g, int bits, double fraction) {
    int levels = (1 << (bits - 1)) - 1;
    double least = magnitude_below(fraction), entropy = 0, rest = 1;
    for (int q = 1; q <= levels; q++) { /* and −q, which is as likely */
        double low = fmax((q - 0.5) * g->step, least), high = q == levels ? INFINITY : (q + 0.5) * g->step;
        double p = high > low ? below(high) - below(low) : 0;
        rest -= 2 * p;
        if (p > 0) entropy -= 2 * p * log2(p);
    }
    return entropy - rest * log2(rest);
}

typedef struct estimator {
    size_estimate estimate;
    double entropy, pruned, embed_entropy; /* bits a weight */
    int64_t keep_float_elements;
} estimator;

static void add_spec(void *context, const param_spec *spec) {
    estimator *s = context;
    if (role_is_derived(spec->role)) return;
    double elements = (double)param_spec_count(spec), rows = (double)param_spec_rows(spec);
    component c = role_component(spec->role);
    bool kept = !role_is_matrix(spec->role) || param_spec_count(spec) <= s->keep_float_elements;
    double entropy = role_is_table(spec->role)     ? s->embed_entropy
                     : prune_concerns_component(c) ? s->pruned
                                                   : s->entropy;
    double bits = kept ? 16 * elements : entropy * elements + 16 * rows;
    s->estimate.bytes[c] += bits / 8;
    s->estimate.total += bits / 8;
}

double estimate_bits(const quant_options *options) {
    return gaussian_grid_from(options->bits, options->least_step).entropy;
}

double estimate_embed_bits(const quant_options *options) {
    int bits = quant_embed_bits(options);
    return gaussian_grid_from(bits, options->embed_least_step).entropy;
}

size_estimate size_estimate_of(const model_config *c, const quant_options *options) {
    gaussian_grid grid = gaussian_grid_from(options->bits, options->least_step);
    estimator s = {.entropy = grid.entropy,
                   .pruned = pruned_entropy(&grid, options->bits, options->prune_fraction),
                   .embed_entropy = estimate_embed_bits(options),
                   .keep_float_elements = options->keep_float_elements};
    model_specs_visit(c, add_spec, &s);
    return s.estimate;
}

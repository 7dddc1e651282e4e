#include "pack/estimate.h"
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

typedef struct estimator {
    size_estimate estimate;
    double entropy, embed_entropy; /* bits a weight */
    int64_t keep_float_elements;
} estimator;

static void add_entry(void *context, const budget_entry *e) {
    estimator *s = context;
    int64_t elements = e->rows * e->cols;
    bool kept = !e->is_matrix || elements <= s->keep_float_elements;
    bool embedding =
        e->component == COMPONENT_EMBEDDING || e->component == COMPONENT_BIGRAM || e->component == COMPONENT_HEAD;
    double bits = kept ? 16.0 * (double)elements
                       : (embedding ? s->embed_entropy : s->entropy) * (double)elements + 16.0 * (double)e->rows;
    s->estimate.bytes[e->component] += (double)e->count * bits / 8;
    s->estimate.total += (double)e->count * bits / 8;
}

size_estimate size_estimate_of(const model_config *c, int bits, int embed_bits, int64_t keep_float_elements) {
    estimator s = {.entropy = gaussian_grid_best(bits).entropy, .keep_float_elements = keep_float_elements};
    s.embed_entropy = embed_bits ? gaussian_grid_best(embed_bits).entropy : s.entropy;
    model_budget_visit(c, add_entry, &s);
    return s.estimate;
}

/* The Gaussian grid against published quantisers, and against what the quantiser itself makes of Gaussian rows. */
#include "test.h"

#include "base/random.h"
#include "quant/estimate.h"
#include "quant/prune.h"
#include "quant/quantize.h"
#include <math.h>

/* J. Max 1960, "Quantizing for Minimum Distortion", table II: uniform quantisers of a unit Gaussian. */
static void published_grids(void **state) {
    (void)state;
    gaussian_grid three = gaussian_grid_best(2), seven = gaussian_grid_best(3);
    assert_true(fabs(three.step - 1.224) < 5e-4);
    assert_true(fabs(three.error - 0.1902) < 5e-5);
    assert_true(fabs(three.entropy - 1.536) < 5e-4);
    assert_true(fabs(seven.step - 0.6508) < 5e-5);
    assert_true(fabs(seven.error - 0.04686) < 5e-6);
}

enum { ROWS = 64, COLS = 2048 };

static double entropy_of(const quantized *q) {
    double counts[256] = {0}, entropy = 0;
    for (int64_t i = 0; i < q->rows * q->cols; i++) counts[q->q[i] + 128]++;
    for (int i = 0; i < 256; i++)
        if (counts[i] > 0) entropy -= counts[i] / (ROWS * COLS) * log2(counts[i] / (ROWS * COLS));
    return entropy;
}

static void like_the_quantiser(void **state) {
    (void)state;
    float *w = xmalloc(sizeof *w * ROWS * COLS);
    rng r = rng_seed(7);
    rng_normal(&r, w, ROWS * COLS, 0.05f);
    for (int bits = 3; bits <= 8; bits++) {
        quantized q;
        assert_ok(quantize_round(&q, w, ROWS, COLS, &(grid_options){.bits = bits}));
        double expected = gaussian_grid_best(bits).entropy, found = entropy_of(&q);
        /* A row of 2048 has no weight beyond 3.5 σ or so: the widest grids gain from a finer step than the Gaussian's. */
        if (fabs(found - expected) > (bits < 8 ? 0.1 : 0.2))
            fail_msg("%d bits: estimated %.3f, found %.3f", bits, expected, found);
        quantized_free(&q);
    }
    free(w);
}

/* Nothing pruned leaves the entropy; everything pruned leaves none; in between it is that of the rounded numbers. */
static void pruned(void **state) {
    (void)state;
    gaussian_grid g = gaussian_grid_best(5);
    assert_true(fabs(pruned_entropy(&g, 5, 0) - g.entropy) < 1e-9);
    assert_true(pruned_entropy(&g, 5, 0.999999) < 1e-3);
    enum { COUNT = 1 << 20 };
    float *x = xmalloc(sizeof *x * COUNT);
    uint8_t *mask;
    rng r = rng_seed(8);
    rng_normal(&r, x, COUNT, 1);
    assert_int_equal(prune_smallest(&mask, x, COUNT, 0.4375), COUNT / 16 * 7);
    double counts[31] = {0}, entropy = 0;
    for (int i = 0; i < COUNT; i++) counts[mask[i] ? 15 : (int)fmax(0, fmin(30, 15 + nearbyint(x[i] / g.step)))]++;
    for (int i = 0; i < 31; i++)
        if (counts[i] > 0) entropy -= counts[i] / COUNT * log2(counts[i] / COUNT);
    assert_true(fabs(pruned_entropy(&g, 5, 0.4375) - entropy) < 5e-3);
    free(mask);
    free(x);
}

static void sizes(void **state) {
    (void)state;
    model_config c = model_config_default();
    quant_options o = {.bits = 6, .embed_bits = 8, .keep_float_elements = 65536};
    size_estimate six = size_estimate_of(&c, &o);
    o.bits = 5;
    size_estimate five = size_estimate_of(&c, &o);
    o.prune_fraction = 0.5;
    size_estimate half = size_estimate_of(&c, &o);
    assert_true(half.bytes[COMPONENT_MLP] < 0.8 * five.bytes[COMPONENT_MLP]);
    assert_true(half.bytes[COMPONENT_EMBEDDING] == five.bytes[COMPONENT_EMBEDDING]);
    assert_true(half.bytes[COMPONENT_GATES] == five.bytes[COMPONENT_GATES]);
    double embedding = (gaussian_grid_best(8).entropy * 512 + 16) * 8192 / 8;
    assert_true(fabs(six.bytes[COMPONENT_EMBEDDING] - embedding) < 1);
    assert_true(five.bytes[COMPONENT_EMBEDDING] == six.bytes[COMPONENT_EMBEDDING]);
    assert_true(five.bytes[COMPONENT_MLP] < six.bytes[COMPONENT_MLP]);
    assert_true(six.bytes[COMPONENT_GATES] == 2.0 * (double)model_budget_count(&c).of[COMPONENT_GATES]);
    /* bigram_proj [512, 128] has exactly 65,536 elements and stays float16; one element less and it is quantised. */
    o = (quant_options){.bits = 6, .embed_bits = 8, .keep_float_elements = 65535};
    size_estimate strict = size_estimate_of(&c, &o);
    assert_true(strict.bytes[COMPONENT_BIGRAM] < six.bytes[COMPONENT_BIGRAM]);
    double sum = 0;
    for (int i = 0; i < COMPONENTS; i++) sum += six.bytes[i];
    assert_true(fabs(sum - six.total) < 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_grids), cmocka_unit_test(like_the_quantiser),
                                       cmocka_unit_test(pruned), cmocka_unit_test(sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

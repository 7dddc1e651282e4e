#include "test.h"

#include "generate/generate.h"
#include <math.h>

static void test_sampling(void **state) {
    (void)state;
    float logits[4] = {0, 3, 1, 2};
    rng r = rng_seed(1);
    sampler greedy = {.temperature = 0}, top2 = {.temperature = 1, .top_k = 2, .top_p = 1};
    sampler nucleus = {.temperature = 1, .top_p = 0.6f}, all = {.temperature = 1, .top_p = 1};
    int seen[4] = {0};
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(sample(&greedy, logits, 4, &r), 1);
        int32_t id = sample(&top2, logits, 4, &r);
        assert_true(id == 1 || id == 3);
        assert_int_equal(sample(&nucleus, logits, 4, &r), 1); /* p(1) = 0.64 alone reaches 0.6 */
        seen[sample(&all, logits, 4, &r)]++;
    }
    double sum = 0;
    for (int i = 0; i < 4; i++) sum += exp((double)logits[i]);
    for (int i = 0; i < 4; i++) assert_float_equal(seen[i] / 20000.0, exp((double)logits[i]) / sum, 0.015);
}

typedef struct ranked {
    float logit;
    int32_t id;
} ranked;

static int by_logit(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The definition: all of the vocabulary in order, cut by top_k and by top_p, then the draw along what is left. */
static int32_t sample_by_sorting(const sampler *s, const float *logits, int vocab_size, rng *r) {
    ranked *c = xmalloc((size_t)vocab_size * sizeof *c);
    for (int32_t i = 0; i < vocab_size; i++) c[i] = (ranked){logits[i], i};
    qsort(c, (size_t)vocab_size, sizeof *c, by_logit);
    int count = s->top_k > 0 && s->top_k < vocab_size ? s->top_k : vocab_size, kept = 0, at = 0;
    float largest = c[0].logit;
    double sum = 0, reached = 0;
    for (int i = 0; i < count; i++) sum += c[i].logit = expf((c[i].logit - largest) / s->temperature);
    while (kept < count && (kept == 0 || reached < s->top_p * sum)) reached += c[kept++].logit;
    double draw = rng_uniform(r) * reached;
    while (at + 1 < kept && (draw -= c[at].logit) >= 0) at++;
    int32_t id = c[at].id;
    free(c);
    return id;
}

static void selecting_draws_what_sorting_draws(void **state) {
    (void)state;
    enum { MOST = 5000 };
    static const int sizes[] = {1, 2, 3, 17, 257, MOST}, top_k[] = {0, 1, 2, 40, 256, 4999};
    static const float top_p[] = {0, 0.3f, 0.95f, 0.9999f, 1}, temperatures[] = {0.05f, 0.8f, 1, 30};
    static float logits[MOST];
    rng values = rng_seed(3), selecting = rng_seed(4), sorting = rng_seed(4);
    for (int round = 0; round < 3000; round++) {
        int vocab_size = sizes[round % 6];
        const sampler s = {
            .temperature = temperatures[round % 4], .top_k = top_k[round / 6 % 6], .top_p = top_p[round / 36 % 5]};
        for (int i = 0; i < vocab_size; i++) {
            float drawn = 12 * (float)rng_uniform(&values);
            logits[i] = round % 7 == 0 ? floorf(drawn) : round % 7 == 1 ? (float)i : drawn; /* ties; in order; any */
        }
        assert_int_equal(sample(&s, logits, vocab_size, &selecting),
                         sample_by_sorting(&s, logits, vocab_size, &sorting));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(selecting_draws_what_sorting_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The largest log-probabilities and the rest against naive ones in double precision. */
#include "operation.h"

static kernels tables[MAX_TABLES];
static int table_count;

typedef struct row {
    double log_prob;
    int32_t id;
} row;

static int by_falling_probability(const void *a, const void *b) {
    const row *x = a, *y = b;
    if (x->log_prob != y->log_prob) return x->log_prob < y->log_prob ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

/* All log-probabilities of a row, sorted; *rest: of all but the first k. */
static void naive(row *sorted, double *rest, const float *logits, double cap, int64_t V, int k) {
    double largest = -INFINITY, sum = 0, left = 0;
    for (int64_t v = 0; v < V; v++) {
        sorted[v] = (row){cap > 0 ? cap * tanh(logits[v] / cap) : logits[v], (int32_t)v};
        largest = fmax(largest, sorted[v].log_prob);
    }
    qsort(sorted, (size_t)V, sizeof *sorted, by_falling_probability);
    for (int64_t v = 0; v < V; v++) sum += exp(sorted[v].log_prob - largest);
    for (int64_t v = k; v < V; v++) left += exp(sorted[v].log_prob - sorted[k].log_prob);
    *rest = sorted[k].log_prob + log(left) - largest - log(sum);
    for (int64_t v = 0; v < V; v++) sorted[v].log_prob -= largest + log(sum);
}

static void check(const kernels *k, int64_t N, int64_t V, int top, double cap, double reach) {
    float *logits = zeros(N * V, sizeof *logits), *copy = zeros(N * V, sizeof *copy);
    float *log_probs = zeros(N * top, sizeof *log_probs), *rest = zeros(N, sizeof *rest);
    int32_t *ids = zeros(N * top, sizeof *ids);
    row *sorted = zeros(V, sizeof *sorted);
    for (int64_t i = 0; i < N * V; i++) /* the last row falls, the one before rises: none and all enter the list */
        copy[i] = logits[i] = i / V == N - 1   ? (float)(reach - 2 * reach * (double)(i % V) / (double)V)
                              : i / V == N - 2 ? (float)(2 * reach * (double)(i % V) / (double)V - reach)
                                               : (float)(reach * (double)(random_below(2000001) - 1000000) / 1e6);
    k->top_log_probs(ids, log_probs, rest, logits, (float)cap, N, V, top);
    for (int64_t n = 0; n < N; n++) {
        double left;
        naive(sorted, &left, copy + n * V, cap, V, top);
        const double error = 4e-6 + 4e-7 * fmax(reach, fabs(left));
        if (!(fabs(rest[n] - left) <= error)) fail_msg("%s: the rest is %.9g, not %.9g", k->name, rest[n], left);
        for (int j = 0; j < top; j++) {
            const float got = log_probs[n * top + j];
            if (!(fabs(got - sorted[j].log_prob) <= error))
                fail_msg("%s: log-probability %d is %.9g, not %.9g", k->name, j, got, sorted[j].log_prob);
            if (cap > 0) continue; /* neighbours may be equal when they are capped */
            assert_int_equal(ids[n * top + j], sorted[j].id);
        }
    }
    free(logits), free(copy), free(log_probs), free(rest), free(ids), free(sorted);
}

static void test_top(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {
        /* N, V, k */ {1, 2, 1}, {3, 17, 16}, {4, 300, 20}, {5, 1000, 1}, {3, 4099, 256}, {40, 1031, 20}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int cap = 0; cap <= 30; cap += 15) {
                check(&tables[t], shapes[s][0], shapes[s][1], (int)shapes[s][2], cap, 6);
                check(&tables[t], shapes[s][0], shapes[s][1], (int)shapes[s][2], cap, 100);
            }
}

/* Of equal logits the first ones; and a rest that 1 − Σ would lose. */
static void test_ties_and_small_rests(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        float logits[200] = {0}, log_probs[3], rest;
        int32_t ids[3];
        tables[t].top_log_probs(ids, log_probs, &rest, logits, 0, 1, 200, 3);
        for (int i = 0; i < 3; i++) assert_true(ids[i] == i && fabs(log_probs[i] + log(200)) < 1e-6);
        assert_true(fabs(rest - log(197.0 / 200)) < 1e-6);
        for (int i = 0; i < 200; i++) logits[i] = i == 150 ? 0 : -500;
        tables[t].top_log_probs(ids, log_probs, &rest, logits, 0, 1, 200, 1);
        assert_true(ids[0] == 150 && log_probs[0] == 0);
        assert_true(fabs(rest - (-500 + log(199))) < 1e-3);
    }
}

static void test_what_is_not_finite_is_seen(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY};
    for (int t = 0; t < table_count; t++)
        for (int where = 0; where < 200; where++)
            for (int b = 0; b < 2; b++) {
                float logits[200], log_probs[3], rest;
                int32_t ids[3];
                bool seen = false;
                for (int i = 0; i < 200; i++) logits[i] = (float)(i * 37 % 200) / 10;
                logits[where] = bad[b];
                tables[t].top_log_probs(ids, log_probs, &rest, logits, 0, 1, 200, 3);
                for (int i = 0; i < 3; i++) seen = seen || !isfinite(log_probs[i]);
                if (!seen && isfinite(rest)) fail_msg("%s: %g at %d is not seen", tables[t].name, bad[b], where);
            }
}

int main(void) {
    table_count = test_tables(tables, fill_top_log_probs_avx2_f32, fill_top_log_probs_avx512_f32,
                              fill_top_log_probs_avx512bf16_bf16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top),
        cmocka_unit_test(test_ties_and_small_rests),
        cmocka_unit_test(test_what_is_not_finite_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Scores, choices, groups and the rows' way there and back against naive ones, and backward passes against finite
 * differences. Gates are in test_gate.c. */
#include "operation.h"

static kernels tables[MAX_TABLES];
static int table_count;

/* ---- router ------------------------------------------------------------------------------------------------------ */

static void naive_router(operation *op) {
    for (int64_t i = 0; i < op->N * op->E; i++) {
        const double *x = op->in[0] + i / op->E * op->d, *w = op->in[1] + i % op->E * op->d;
        op->out[i] = 0;
        for (int64_t c = 0; c < op->d; c++) op->out[i] += x[c] * w[c];
    }
}

static double *naive_softmax(const double *logits, int64_t N, int64_t E) {
    double *probs = zeros(N * E, sizeof(double));
    for (int64_t n = 0; n < N; n++) {
        double sum = 0;
        for (int64_t e = 0; e < E; e++) sum += exp(logits[n * E + e]);
        for (int64_t e = 0; e < E; e++) probs[n * E + e] = exp(logits[n * E + e]) / sum;
    }
    return probs;
}

static void check_router(const kernels *k, int64_t N, int64_t d, int64_t E) {
    operation op = {.forward = naive_router, .N = N, .d = d, .E = E};
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, E * d, 1);
    operation_run(&op, N * E);
    double *want = naive_softmax(op.out, N, E), *dlogits = random_array(k, N * E, 1);
    void *x = act_array(k, op.in[0], N * d);
    float *w = float_array(op.in[1], E * d), *given = float_array(dlogits, N * E);
    float *logits = float_array(NULL, N * E), *probs = float_array(NULL, N * E);
    k->router(logits, probs, x, w, N, d, E);
    assert_floats(k, "router logits", logits, op.out, N * E);
    assert_floats(k, "router probs", probs, want, N * E);
    float *again = float_array(NULL, N * E);
    k->router(NULL, again, x, w, N, d, E);
    assert_memory_equal(again, probs, N * E * sizeof(float));
    for (gradient_mode mode = OVERWRITE; mode <= UNWANTED; mode++) {
        gradient dx = gradient_of_act(k, &op, 0, mode), dw = gradient_of_param(k, &op, 1);
        k->router_backward(gradient_out(dx, mode), dw.data, given, x, w, N, d, E);
        gradient_check(k, &op, "router_backward dx", 0, dx, dlogits);
        gradient_check(k, &op, "router_backward dw", 1, dw, dlogits);
    }
    free(want), free(dlogits), free(x), free(w), free(given), free(logits), free(probs), free(again);
    operation_free(&op);
}

static void test_router(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {/* N, d, E */ {0, 16, 4},
                                        {1, 1, 1},
                                        {1, 64, 2},
                                        {5, 37, 3},
                                        {3, 130, 8},
                                        {7, 65, 17},
                                        {2, 20, 64},
                                        {33, 515, 5},
                                        {530, 33, 4}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            check_router(&tables[t], shapes[s][0], shapes[s][1], shapes[s][2]);
}

static void test_router_does_not_overflow(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        double in[1] = {1000};
        float w[3] = {1, -1, 0.999f}, probs[3];
        void *x = act_array(k, in, 1);
        k->router(NULL, probs, x, w, 1, 1, 3);
        double one = 1 / (1 + exp(-0.001 * act_read(k, x, 0)));
        assert_true(fabs(probs[0] - one) < 1e-4 && probs[1] < 1e-30 && fabs(probs[2] - (1 - one)) < 1e-4);
        free(x);
    }
}

/* Normal with the wanted deviation, a function of seed and place, and probabilities of the noisy logits. */
static void test_noise(void **state) {
    (void)state;
    enum { N = 2000, E = 8 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        float *a = zeros(N * E, sizeof(float)), *b = zeros(N * E, sizeof(float)), *probs = zeros(N * E, sizeof(float));
        k->router_noise(a, probs, 0.5f, 7, N, E);
        k->router_noise(b, probs, 0.5f, 7, N, E);
        assert_memory_equal(a, b, N * E * sizeof(float));
        double sum = 0, squares = 0, fourth = 0;
        for (int i = 0; i < N * E; i++) {
            sum += (double)a[i];
            squares += pow((double)a[i], 2);
            fourth += pow((double)a[i], 4);
        }
        double variance = squares / (N * E);
        assert_float_equal(sum / (N * E), 0, 0.02);
        assert_float_equal(variance, 0.25, 0.01);
        assert_float_equal(fourth / (N * E) / variance / variance, 3, 0.2);
        for (int n = 0; n < N; n++) {
            float total = 0;
            for (int e = 0; e < E; e++) total += probs[n * E + e];
            assert_float_equal(total, 1, 1e-5);
        }
        memset(b, 0, N * E * sizeof(float));
        k->router_noise(b, probs, 0.5f, 8, N, E);
        assert_memory_not_equal(a, b, N * E * sizeof(float));
        free(a), free(b), free(probs);
    }
}

/* ---- top_k ------------------------------------------------------------------------------------------------------- */

static void naive_top_k(int32_t *chosen, const float *scores, const float *bias, int64_t E, int k) {
    bool taken[64] = {false};
    for (int j = 0; j < k; j++) {
        int64_t best = -1;
        for (int64_t e = 0; e < E; e++) {
            if (taken[e]) continue;
            if (best < 0 || scores[e] + (bias ? bias[e] : 0) > scores[best] + (bias ? bias[best] : 0)) best = e;
        }
        taken[best] = true;
        chosen[j] = (int32_t)best;
    }
}

static void test_top_k(void **state) {
    (void)state;
    enum { N = 300 };
    static const int experts[][2] = {/* E, k */ {1, 1}, {2, 1}, {2, 2}, {5, 3}, {8, 2}, {64, 6}, {7, 7}};
    for (int t = 0; t < table_count; t++) {
        for (size_t s = 0; s < sizeof experts / sizeof *experts; s++) {
            int E = experts[s][0], k = experts[s][1];
            float *scores = zeros(N * E, sizeof(float)), bias[64];
            for (int i = 0; i < N * E; i++) scores[i] = (float)random_below(4) / 4; /* many ties */
            for (int e = 0; e < E; e++) bias[e] = (float)random_below(3) / 4;
            int32_t *got = zeros(N * k, sizeof *got), want[64];
            for (int biased = 0; biased < 2; biased++) {
                tables[t].top_k(got, scores, biased ? bias : NULL, N, E, k);
                for (int n = 0; n < N; n++) {
                    naive_top_k(want, scores + n * E, biased ? bias : NULL, E, k);
                    assert_memory_equal(got + n * k, want, k * sizeof *want);
                }
            }
            free(scores), free(got);
        }
    }
}

static void test_top_k_of_nan_is_an_expert(void **state) {
    (void)state;
    float scores[4] = {NAN, NAN, 1, NAN};
    for (int t = 0; t < table_count; t++) {
        int32_t chosen[2] = {-7, -7};
        tables[t].top_k(chosen, scores, NULL, 1, 4, 2);
        for (int j = 0; j < 2; j++) assert_in_range(chosen[j], 0, 3);
        assert_true(chosen[0] != chosen[1]);
    }
}

/* ---- group ------------------------------------------------------------------------------------------------------- */

enum { SPARE_ROWS = 3 }; /* behind the last: arrays are as long as the most that there can be */

typedef struct grouping {
    int64_t N, E, R;
    int k;
    int32_t counts[64], start[65], *chosen, *slot, *source;
} grouping;

/* Random choices; expert 1 gets nobody where there are enough others. */
static grouping group_randomly(const kernels *table, int64_t N, int k, int64_t E, int64_t align) {
    int64_t most = N * k + E * (align - 1) + SPARE_ROWS;
    grouping g = {.N = N, .E = E, .k = k, .chosen = zeros(N * k, 4), .slot = zeros(N * k, 4), .source = zeros(most, 4)};
    for (int64_t n = 0; n < N; n++) {
        int64_t e = random_below(E);
        for (int j = 0; j < k; j++, e++) {
            if (E > k && e % E == 1) e++;
            g.chosen[n * k + j] = (int32_t)(e % E);
        }
    }
    memset(g.counts, 0x55, sizeof g.counts);
    memset(g.start, 0x55, sizeof g.start);
    table->group(g.slot, g.source, g.counts, g.start, g.chosen, N, k, E, align);
    g.R = g.start[E];
    for (int64_t row = g.R; row < most; row++) g.source[row] = -1; /* what reads further finds rows of nobody */
    return g;
}

static void grouping_free(grouping *g) {
    free(g->chosen), free(g->slot), free(g->source);
}

static void check_group(const kernels *table, int64_t N, int k, int64_t E, int64_t align) {
    grouping g = group_randomly(table, N, k, E, align);
    int64_t used = 0, want = 0;
    assert_true(g.R <= N * k + E * (align - 1));
    for (int64_t e = 0; e < E; e++) {
        int64_t count = 0, last = -1;
        for (int64_t pair = 0; pair < N * k; pair++) count += g.chosen[pair] == e;
        assert_int_equal(g.counts[e], count);
        assert_int_equal(g.start[e], want);
        want += (count + align - 1) / align * align;
        for (int64_t row = g.start[e]; row < g.start[e + 1]; row++) {
            if (row >= g.start[e] + count) {
                assert_int_equal(g.source[row], -1);
                continue;
            }
            assert_true(g.source[row] > last); /* in the order of the tokens, nobody twice */
            last = g.source[row];
            assert_int_equal(g.chosen[last], e);
            assert_int_equal(g.slot[last], row);
            used++;
        }
    }
    assert_int_equal(used, N * k);
    assert_int_equal(g.R, want);
    grouping_free(&g);
}

static void test_group(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        for (int64_t align = 1; align <= 64; align *= align == 1 ? 16 : 4) {
            check_group(&tables[t], 0, 1, 4, align);
            check_group(&tables[t], 1, 1, 1, align);
            check_group(&tables[t], 1, 2, 4, align);
            check_group(&tables[t], 129, 1, 2, align);
            check_group(&tables[t], 100, 3, 8, align);
            check_group(&tables[t], 65, 2, 64, align);
        }
    }
}

/* ---- gather and combine: how many rows there are is read on the device, start[E] --------------------------------- */

static void naive_gather(operation *op) {
    for (int64_t i = 0; i < op->R * op->d; i++) {
        int32_t pair = op->source[i / op->d];
        op->out[i] = pair < 0 ? 0 : op->in[0][pair / op->k * op->d + i % op->d];
    }
}

static void assert_spare_rows_untouched(const kernels *k, const void *rows, int64_t R, int64_t d) {
    for (int64_t i = R * d; i < (R + SPARE_ROWS) * d; i++) assert_true(isnan(act_read(k, rows, i)));
}

static void check_gather(const kernels *k, const grouping *g, int64_t d) {
    operation op = {.forward = naive_gather, .N = g->N, .R = g->R, .d = d, .k = g->k, .source = g->source};
    operation_input(k, &op, g->N * d, 1);
    operation_run(&op, g->R * d);
    double *drows = random_array(k, g->R * d, 1);
    void *x = act_array(k, op.in[0], g->N * d), *rows = act_array(k, NULL, (g->R + SPARE_ROWS) * d);
    void *given = act_array(k, drows, g->R * d);
    k->gather(rows, x, g->source, g->k, &g->start[g->E], d);
    assert_acts(k, "gather", rows, op.out, g->R * d);
    assert_spare_rows_untouched(k, rows, g->R, d);
    for (gradient_mode mode = OVERWRITE; mode <= UNWANTED; mode++) {
        gradient dx = gradient_of_act(k, &op, 0, mode);
        k->gather_backward(gradient_out(dx, mode), given, g->slot, g->k, g->N, d);
        gradient_check(k, &op, "gather_backward", 0, dx, drows);
    }
    free(drows), free(x), free(rows), free(given);
    operation_free(&op);
}

static void naive_combine(operation *op) {
    for (int64_t i = 0; i < op->N * op->d; i++) {
        op->out[i] = 0;
        for (int64_t j = i / op->d * op->k; j < (i / op->d + 1) * op->k; j++)
            op->out[i] += op->in[1][j] * op->in[0][op->slot[j] * op->d + i % op->d];
    }
}

static void check_combine(const kernels *k, const grouping *g, int64_t d) {
    operation op = {.forward = naive_combine, .N = g->N, .R = g->R, .d = d, .k = g->k, .slot = g->slot};
    operation_input(k, &op, g->R * d, 1);
    operation_input(k, &op, g->N * g->k, 1);
    operation_run(&op, g->N * d);
    double *dy = random_array(k, g->N * d, 1);
    void *rows = act_array(k, op.in[0], g->R * d), *y = act_array(k, NULL, g->N * d);
    void *given = act_array(k, dy, g->N * d);
    float *gates = float_array(op.in[1], g->N * g->k);
    k->combine(y, rows, gates, g->slot, g->k, g->N, d);
    assert_acts(k, "combine", y, op.out, g->N * d);
    gradient drows = gradient_of_act(k, &op, 0, OVERWRITE), dgates = {.before = zeros(g->N * g->k, sizeof(double))};
    dgates.data = float_array(NULL, g->N * g->k); /* overwritten, unlike a parameter's */
    free(drows.data);
    drows.data = act_array(k, NULL, (g->R + SPARE_ROWS) * d);
    k->combine_backward(drows.data, dgates.data, given, rows, gates, g->slot, g->source, g->k, g->N, &g->start[g->E],
                        d);
    assert_spare_rows_untouched(k, drows.data, g->R, d);
    for (int64_t r = 0; r < g->R; r++) /* rows of nobody: exactly 0, the padding goes through matrix products */
        for (int64_t c = 0; g->source[r] < 0 && c < d; c++) assert_true(act_read(k, drows.data, r * d + c) == 0);
    gradient_check(k, &op, "combine_backward drows", 0, drows, dy);
    gradient_check(k, &op, "combine_backward dgates", 1, dgates, dy);
    free(dy), free(rows), free(y), free(given), free(gates);
    operation_free(&op);
}

static void test_gather_and_combine(void **state) {
    (void)state;
    static const int64_t shapes[][5] = {/* N, k, E, align, d */ {0, 1, 4, 16, 16},
                                        {1, 1, 1, 1, 1},
                                        {1, 2, 4, 16, 64},
                                        {19, 1, 3, 1, 37},
                                        {17, 2, 5, 16, 20},
                                        {9, 3, 8, 64, 33},
                                        {70, 2, 4, 16, 515}};
    for (int t = 0; t < table_count; t++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            grouping g = group_randomly(&tables[t], shapes[s][0], (int)shapes[s][1], shapes[s][2], shapes[s][3]);
            check_gather(&tables[t], &g, shapes[s][4]);
            check_combine(&tables[t], &g, shapes[s][4]);
            grouping_free(&g);
        }
    }
}

/* Choices of nobody take no row, and what is behind them in a token's list counts for nothing. */
static void test_choices_of_nobody(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        const int32_t most[4] = {1, 3, 2, 1};
        int32_t chosen[12] = {2, 0, 1, 1, 2, 0, 0, 2, 1, 2, 1, 0}, slot[12], source[12], counts[3], start[4];
        tables[t].limit_choices(chosen, most, 4, 3);
        const int32_t limited[12] = {2, -1, -1, 1, 2, 0, 0, 2, -1, 2, -1, -1};
        assert_memory_equal(chosen, limited, sizeof limited);
        tables[t].group(slot, source, counts, start, chosen, 4, 3, 3, 1);
        const int32_t count_of[3] = {2, 1, 4}, starts[4] = {0, 2, 3, 7},
                      slots[12] = {3, -1, -1, 2, 4, 0, 1, 5, -1, 6, -1, -1};
        assert_memory_equal(counts, count_of, sizeof count_of);
        assert_memory_equal(start, starts, sizeof starts);
        assert_memory_equal(slot, slots, sizeof slots);
        double values[7] = {1, 2, 4, 8, 16, 32, 64};
        const float gates[12] = {1, 9, 9, 1, 0.5f, 0.25f, 2, 1, 9, 0.5f, 9, 9};
        void *rows = act_array(&tables[t], values, 7), *y = act_array(&tables[t], NULL, 4);
        tables[t].combine(y, rows, gates, slot, 3, 4, 1);
        const double sums[4] = {8, 4 + 8 + 0.25, 4 + 32, 32};
        for (int n = 0; n < 4; n++) assert_float_equal(act_read(&tables[t], y, n), sums[n], 1e-6);
        free(rows), free(y);
    }
}

int main(void) {
    table_count = test_tables(tables, fill_routing_avx2_f32, fill_routing_avx512_f32, fill_routing_avx512bf16_bf16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_router),
        cmocka_unit_test(test_router_does_not_overflow),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_top_k),
        cmocka_unit_test(test_top_k_of_nan_is_an_expert),
        cmocka_unit_test(test_group),
        cmocka_unit_test(test_gather_and_combine),
        cmocka_unit_test(test_choices_of_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* From probabilities to gates and back, the losses of routers and their statistics, against naive ones and finite
 * differences. */
#include "operation.h"

static kernels tables[MAX_TABLES];
static int table_count;

static void naive_softmax(double *probs, const double *logits, int64_t E) {
    double sum = 0;
    for (int64_t e = 0; e < E; e++) sum += exp(logits[e]);
    for (int64_t e = 0; e < E; e++) probs[e] = exp(logits[e]) / sum;
}

static void naive_softmax_rows(operation *op) {
    for (int64_t n = 0; n < op->N; n++) naive_softmax(op->out + n * op->E, op->in[0] + n * op->E, op->E);
}

static double naive_log_sum(const double *logits, int64_t E) {
    double sum = 0;
    for (int64_t e = 0; e < E; e++) sum += exp(logits[e]);
    return log(sum);
}

/* k experts for each token, none twice; the higher ones are rarely first. */
static int32_t *random_choices(int64_t N, int64_t E, int k) {
    int32_t *chosen = zeros(N * k, sizeof *chosen);
    for (int64_t n = 0; n < N; n++) {
        int64_t e = random_below(1 + random_below(E));
        for (int j = 0; j < k; j++) chosen[n * k + j] = (int32_t)((e + j) % E);
    }
    return chosen;
}

static int32_t *count_choices(const int32_t *chosen, int64_t count, int64_t step, int64_t E) {
    int32_t *counts = zeros(E, sizeof *counts);
    for (int64_t i = 0; i < count; i += step) counts[chosen[i]]++;
    return counts;
}

/* ---- gate and the balance loss ----------------------------------------------------------------------------------- */

/* From logits: the gates [N, k], and behind them the balance loss E · Σ_e f_e p̄_e of constant f. */
static void naive_gate(operation *op) {
    double *probs = zeros(op->N * op->E, sizeof(double)), balance = 0;
    for (int64_t n = 0; n < op->N; n++) {
        double *p = probs + n * op->E, sum = 0;
        naive_softmax(p, op->in[0] + n * op->E, op->E);
        for (int j = 0; j < op->k; j++) sum += p[op->chosen[n * op->k + j]];
        for (int j = 0; j < op->k; j++)
            op->out[n * op->k + j] = p[op->chosen[n * op->k + j]] / (op->renormalize ? sum : 1);
        for (int64_t e = 0; e < op->E; e++) balance += op->counts[e] / (double)op->N * p[e];
    }
    op->out[op->N * op->k] = op->N ? (double)op->E * balance / (double)op->N : 0;
    free(probs);
}

static void check_gate(const kernels *k, int64_t N, int64_t E, int choices, bool renormalize, double balance) {
    operation op = {.forward = naive_gate, .N = N, .E = E, .k = choices, .renormalize = renormalize};
    int32_t *chosen = random_choices(N, E, choices), *first = count_choices(chosen, N * choices, choices, E);
    op.chosen = chosen, op.counts = first;
    operation_input(k, &op, N * E, 3);
    operation_run(&op, N * choices + 1);
    double *exact = zeros(N * E, sizeof(double)), *dgates = random_array(k, N * choices + 1, 1);
    for (int64_t n = 0; n < N; n++) naive_softmax(exact + n * E, op.in[0] + n * E, E);
    dgates[N * choices] = balance;
    float *probs = float_array(exact, N * E), *gates = float_array(NULL, N * choices);
    float *given = float_array(dgates, N * choices);
    k->gate(gates, probs, chosen, renormalize, N, E, choices);
    assert_floats(k, "gate", gates, op.out, N * choices);
    gradient dlogits = {.before = zeros(N * E, sizeof(double)), .data = float_array(NULL, N * E)}; /* overwritten */
    k->gate_backward(dlogits.data, given, balance != 0 ? first : NULL, (float)balance, probs, chosen, renormalize, N, E,
                     choices);
    gradient_check(k, &op, "gate_backward", 0, dlogits, dgates);
    free(chosen), free(first), free(exact), free(dgates), free(probs), free(gates), free(given);
    operation_free(&op);
}

static void test_gate(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {
        /* N, E, k */ {0, 4, 2}, {1, 1, 1}, {5, 3, 2}, {7, 4, 4}, {30, 8, 1}, {90, 64, 6}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int renormalize = 0; renormalize < 2; renormalize++) {
                int64_t N = shapes[s][0], E = shapes[s][1];
                int choices = (int)shapes[s][2];
                /* one choice, renormalised, is a gate of 1: the gradient is what rounding leaves of 0 */
                if (choices > 1 || !renormalize) check_gate(&tables[t], N, E, choices, renormalize, 0);
                check_gate(&tables[t], N, E, choices, renormalize, 40);
            }
}

/* ---- the z-loss and the softmax ---------------------------------------------------------------------------------- */

static void naive_z(operation *op) {
    op->out[0] = 0;
    for (int64_t n = 0; n < op->N; n++)
        op->out[0] += pow(naive_log_sum(op->in[0] + n * op->E, op->E), 2) / (double)op->N;
}

static void check_router_backward(const kernels *k, int64_t N, int64_t E) {
    operation z = {.forward = naive_z, .N = N, .E = E}, softmax = {.forward = naive_softmax_rows, .N = N, .E = E};
    operation_input(k, &z, N * E, 3);
    operation_run(&z, 1);
    softmax.in[softmax.inputs] = z.in[0];
    softmax.count[softmax.inputs++] = N * E;
    operation_run(&softmax, N * E);
    double *dprobs = random_array(k, N * E, 1), weight = 0.25;
    float *logits = float_array(z.in[0], N * E), *probs = float_array(softmax.out, N * E);
    float *given = float_array(dprobs, N * E);
    gradient dlogits = gradient_of_param(k, &z, 0); /* added to, as behind gate_backward */
    k->router_z_backward(dlogits.data, logits, probs, (float)weight, N, E);
    gradient_check(k, &z, "router_z_backward", 0, dlogits, &weight);
    gradient through = {.before = zeros(N * E, sizeof(double)), .data = float_array(NULL, N * E)};
    k->softmax_backward(through.data, given, probs, N, E);
    gradient_check(k, &softmax, "softmax_backward", 0, through, dprobs);
    free(dprobs), free(logits), free(probs), free(given), free(softmax.out);
    operation_free(&z);
}

static void test_router_backward(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        check_router_backward(&tables[t], 0, 4);
        check_router_backward(&tables[t], 1, 1);
        check_router_backward(&tables[t], 7, 3);
        check_router_backward(&tables[t], 90, 64);
    }
}

static void test_z_does_not_overflow(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        float logits[2] = {1000, 999}, probs[2] = {0.75f, 0.25f}, dlogits[2] = {0};
        tables[t].router_z_backward(dlogits, logits, probs, 1, 1, 2);
        assert_float_equal(dlogits[0], 2 * 1000.3133 * 0.75, 0.01);
        assert_float_equal(dlogits[1], 2 * 1000.3133 * 0.25, 0.01);
    }
}

/* Rows of fewer choices are divided by the sum of their own, from that number of choices on. */
static void test_gates_of_fewer_choices(void **state) {
    (void)state;
    const float probs[6] = {0.5f, 0.3f, 0.2f, 0.1f, 0.6f, 0.3f};
    const int32_t chosen[4] = {0, -1, 1, 2};
    const float expected[3][4] = {{0.5f, 0, 0.6f, 0.3f}, {1, 0, 2 / 3.f, 1 / 3.f}, {0.5f, 0, 2 / 3.f, 1 / 3.f}};
    for (int t = 0; t < table_count; t++)
        for (int from = 0; from < 3; from++) {
            float gates[4];
            tables[t].gate(gates, probs, chosen, from, 2, 3, 2);
            for (int i = 0; i < 4; i++) assert_float_equal(gates[i], expected[from][i], 1e-6);
        }
}

/* ---- statistics -------------------------------------------------------------------------------------------------- */

/* sums += what kernels.routing_statistics promises, in the order of its comment */
static void naive_statistics(double *sums, const double *logits, const float *probs, const int32_t *chosen, int64_t N,
                             int64_t E, int k) {
    double *first = zeros(E, sizeof(double)), *mean = zeros(E, sizeof(double)), tokens = (double)N;
    for (int64_t i = 0; i < N * k; i++) {
        sums[chosen[i]] += 1 / (tokens * k);
        if (i % k == 0) first[chosen[i]] += 1 / tokens;
    }
    for (int64_t i = 0; i < N * E; i++) {
        double p = probs[i];
        mean[i % E] += p / tokens;
        if (p > 0) sums[3 * E] -= p * log(p) / tokens;
    }
    for (int64_t n = 0; logits && n < N; n++) sums[3 * E + 1] += pow(naive_log_sum(logits + n * E, E), 2) / tokens;
    for (int64_t e = 0; e < E; e++) {
        sums[E + e] += first[e];
        sums[2 * E + e] += mean[e];
        sums[3 * E + 2] += first[e] * mean[e];
    }
    free(first), free(mean);
}

static void check_statistics(const kernels *k, int64_t N, int64_t E, int choices, bool with_logits) {
    int64_t count = ROUTING_SUMS(E);
    double *logits = random_array(k, N * E, 4), *exact = zeros(N * E, sizeof(double));
    double *got = random_array(k, count, 1), *want = zeros(count, sizeof(double));
    for (int64_t n = 0; n < N; n++) naive_softmax(exact + n * E, logits + n * E, E);
    if (N > 0 && E > 1) exact[1] += exact[0], exact[0] = 0; /* 0 log 0 is 0 */
    int32_t *chosen = random_choices(N, E, choices), *pairs = count_choices(chosen, N * choices, 1, E);
    int32_t *first = count_choices(chosen, N * choices, choices, E);
    float *scores = float_array(logits, N * E), *probs = float_array(exact, N * E);
    memcpy(want, got, (size_t)count * sizeof *want);
    for (int pass = 0; pass < 2; pass++) { /* the second pass is added to the first */
        k->routing_statistics(got, with_logits ? scores : NULL, probs, pairs, first, N, E, choices);
        naive_statistics(want, with_logits ? logits : NULL, probs, chosen, N, E, choices);
    }
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <= 1e-6 * (1 + fabs(want[i]))))
            fail_msg("%s: sum %ld of %ld experts is %.9g, should be %.9g", k->name, (long)i, (long)E, got[i], want[i]);
    free(logits), free(exact), free(got), free(want), free(chosen), free(pairs), free(first), free(scores), free(probs);
}

/* No token, one, less and more than one thread sums up, several of them. */
static void test_statistics(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {/* N, E, k */ {0, 4, 2},
                                        {1, 1, 1},
                                        {7, 3, 2},
                                        {255, 5, 1},
                                        {257, 4, 4},
                                        {3001, 8, 2},
                                        {300, 64, 6}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int with_logits = 0; with_logits < 2; with_logits++)
                check_statistics(&tables[t], shapes[s][0], shapes[s][1], (int)shapes[s][2], with_logits);
}

static void test_statistics_are_reproducible(void **state) {
    (void)state;
    enum { N = 5000, E = 8 };
    for (int t = 0; t < table_count; t++) {
        double *values = random_array(&tables[t], N * E, 4), sums[2][ROUTING_SUMS(E)] = {{0}};
        float *logits = float_array(values, N * E), *probs = float_array(values, N * E);
        int32_t counts[E] = {N};
        for (int64_t i = 0; i < N * E; i++) probs[i] = fabsf(probs[i]);
        for (int run = 0; run < 2; run++)
            tables[t].routing_statistics(sums[run], logits, probs, counts, counts, N, E, 1);
        assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
        free(values), free(logits), free(probs);
    }
}

/* ---- every expert, and the first choices ------------------------------------------------------------------------- */

static void test_every_expert(void **state) {
    (void)state;
    enum { N = 3, E = 4 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        int32_t chosen[N * E], first[N] = {2, 0, 2};
        float gates[N * E];
        k->choose_all(chosen, N, E);
        k->gate_one_hot(gates, first, N, E);
        for (int i = 0; i < N * E; i++) {
            assert_int_equal(chosen[i], i % E);
            assert_true(gates[i] == (i % E == first[i / E]));
        }
    }
}

static void test_count_first(void **state) {
    (void)state;
    enum { N = 1000, E = 7 };
    for (int t = 0; t < table_count; t++)
        for (int choices = 1; choices <= E; choices += 3) {
            int32_t *chosen = random_choices(N, E, choices), *want = count_choices(chosen, N * choices, choices, E);
            int32_t counts[E + 1] = {-5, -5, -5, -5, -5, -5, -5, -5}; /* overwritten, and no more than E */
            tables[t].count_first(counts, chosen, N, E, choices);
            assert_memory_equal(counts, want, E * sizeof *want);
            assert_int_equal(counts[E], -5);
            free(chosen), free(want);
        }
}

int main(void) {
    table_count = test_tables(tables, fill_gate_avx2_f32, fill_gate_avx512_f32, fill_gate_avx512bf16_bf16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_gates_of_fewer_choices),
        cmocka_unit_test(test_router_backward),
        cmocka_unit_test(test_z_does_not_overflow),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_statistics_are_reproducible),
        cmocka_unit_test(test_every_expert),
        cmocka_unit_test(test_count_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

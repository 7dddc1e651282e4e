/* Softcap and cross-entropy against naive ones in double precision, and the gradient against finite differences. */
#include "operation.h"

static kernels tables[MAX_TABLES];
static int table_count;

static double naive_cap(double logit, double cap) {
    return cap > 0 ? cap * tanh(logit / cap) : logit;
}

static void naive_cross_entropy(operation *op) {
    int64_t V = op->E;
    for (int64_t n = 0; n < op->N; n++) {
        const double *logits = op->in[0] + n * V;
        double largest = -INFINITY, sum = 0;
        for (int64_t v = 0; v < V; v++) largest = fmax(largest, naive_cap(logits[v], op->cap));
        for (int64_t v = 0; v < V; v++) sum += exp(naive_cap(logits[v], op->cap) - largest);
        op->out[n] = op->ids[n] < 0 ? 0 : log(sum) + largest - naive_cap(logits[op->ids[n]], op->cap);
    }
}

static void check_cross_entropy(const kernels *k, int64_t N, int64_t V, double cap, double reach) {
    int32_t *targets = zeros(N, sizeof *targets);
    for (int64_t n = 0; n < N; n++) targets[n] = n % 4 == 3 ? -1 : (int32_t)random_below(V);
    operation op = {.forward = naive_cross_entropy, .N = N, .E = V, .cap = cap, .ids = targets};
    operation_input(k, &op, N * V, reach);
    operation_run(&op, N);
    float *logits = float_array(op.in[0], N * V), *nll = float_array(NULL, N), *alone = float_array(NULL, N);
    double *weights = zeros(N, sizeof(double));
    for (int64_t n = 0; n < N; n++) weights[n] = 0.125;
    gradient g = gradient_of_act(k, &op, 0, OVERWRITE);
    k->softcap_cross_entropy(nll, g.data, logits, targets, (float)cap, 0.125f, N, V);
    k->softcap_cross_entropy(alone, NULL, logits, targets, (float)cap, 0.125f, N, V);
    /* z itself is only known to float32's precision */
    for (int64_t n = 0; n < N; n++) {
        double error = 4e-6 + 4e-7 * fmax(reach, fabs(op.out[n]));
        if (!(fabs(nll[n] - op.out[n]) <= error)) fail_msg("%s: nll is %.9g, not %.9g", k->name, nll[n], op.out[n]);
    }
    assert_memory_equal(nll, alone, N * sizeof(float));
    for (int64_t n = 3; n < N; n += 4) {
        assert_true(nll[n] == 0);
        for (int64_t v = 0; v < V; v++) assert_true(act_read(k, g.data, n * V + v) == 0);
    }
    for (int64_t n = 0; n < N && n < 12; n++) { /* the target and some other tokens */
        for (int i = 0; i < 6; i++) {
            int64_t at = n * V + (i > 0 || targets[n] < 0 ? random_below(V) : targets[n]);
            double want = operation_slope(&op, 0, at, weights);
            assert_near(k, true, "dlogits", at, act_read(k, g.data, at), want, 0.125);
        }
    }
    free(g.before), free(g.data);
    free(targets), free(logits), free(nll), free(alone), free(weights);
    operation_free(&op);
}

static void test_cross_entropy(void **state) {
    (void)state;
    static const double caps[] = {0, 15, 30, 100};
    static const int64_t shapes[][2] = {/* N, V */ {0, 8}, {1, 1}, {1, 2}, {5, 17}, {6, 1000}, {40, 515}};
    for (int t = 0; t < table_count; t++) {
        for (size_t c = 0; c < sizeof caps / sizeof *caps; c++) {
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
                check_cross_entropy(&tables[t], shapes[s][0], shapes[s][1], caps[c], 6);
            check_cross_entropy(&tables[t], 4, 1031, caps[c], 60);
        }
    }
}

/* d nll / d logits sums to 0 over a row where nothing is capped. */
static void test_extreme_logits(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        float logits[4] = {1e4f, -1e4f, 9999, -INFINITY}, nll;
        int32_t target = 2;
        void *gradient = act_array(k, NULL, 4);
        k->softcap_cross_entropy(&nll, gradient, logits, &target, 0, 1, 1, 4);
        double p = 1 / (1 + exp(-1)); /* of logit 0 against logit 2 */
        assert_true(fabs(nll - (1 + log(1 + exp(-1)))) < 1e-5);
        assert_true(fabs(act_read(k, gradient, 0) - p) < 0.004 && fabs(act_read(k, gradient, 2) + p) < 0.004);
        assert_true(fabs(act_read(k, gradient, 1)) < 1e-30 && fabs(act_read(k, gradient, 3)) < 1e-30);
        k->softcap_cross_entropy(&nll, gradient, logits, &target, 30, 1, 1, 4);
        assert_true(fabs(nll - log(2)) < 1e-5); /* both at the cap, the others 60 below */
        for (int v = 0; v < 4; v++) assert_true(fabs(act_read(k, gradient, v)) < 1e-6);
        free(gradient);
    }
}

/* A loss that is not a number has to be seen: training stops there. */
static void test_nan_stays(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        for (int where = 0; where < 40; where += 13) {
            float logits[40] = {0}, nll = 0;
            int32_t target = 1;
            logits[where] = NAN;
            for (float cap = 0; cap <= 30; cap += 30) {
                tables[t].softcap_cross_entropy(&nll, NULL, logits, &target, cap, 1, 1, 40);
                assert_true(isnan(nll));
            }
        }
    }
}

static void test_softcap(void **state) {
    (void)state;
    enum { COUNT = 40003 };
    for (int t = 0; t < table_count; t++) {
        float *got = zeros(COUNT, sizeof(float)), *logits = zeros(COUNT, sizeof(float));
        for (int i = 0; i < COUNT; i++) logits[i] = (float)((i % 2 ? -1 : 1) * exp(-14 + 20.0 * i / COUNT));
        memcpy(got, logits, COUNT * sizeof(float));
        tables[t].softcap(got, 0, COUNT);
        assert_memory_equal(got, logits, COUNT * sizeof(float));
        tables[t].softcap(got, 30, COUNT);
        for (int i = 0; i < COUNT; i++) {
            double want = naive_cap(logits[i], 30);
            if (!(fabs(got[i] - want) <= 5e-7 * fabs(want)))
                fail_msg("%s: softcap(%.9g) is %.9g, not %.9g", tables[t].name, logits[i], got[i], want);
            assert_true(fabsf(got[i]) <= 30);
        }
        free(got), free(logits);
    }
}

int main(void) {
    table_count = test_tables(tables, fill_loss_avx2_f32, fill_loss_avx512_f32, fill_loss_avx512bf16_bf16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_extreme_logits),
        cmocka_unit_test(test_nan_stays),
        cmocka_unit_test(test_softcap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

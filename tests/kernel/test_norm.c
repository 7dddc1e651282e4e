/* The RMS norm of rows against a naive one, and its backward pass against finite differences. */
#include "operation.h"

static kernels tables[MAX_TABLES];
static int table_count;

static double naive_rstd(const double *x, int64_t d, double eps) {
    double sum = 0;
    for (int64_t c = 0; c < d; c++) sum += x[c] * x[c];
    return 1 / sqrt(sum / (double)d + eps);
}

/* A second input is the weight. */
static void naive_rms_norm(operation *op) {
    for (int64_t n = 0; n < op->N; n++) {
        double factor = op->scale * naive_rstd(op->in[0] + n * op->d, op->d, op->eps);
        for (int64_t c = 0; c < op->d; c++)
            op->out[n * op->d + c] = factor * op->in[0][n * op->d + c] * (op->inputs > 1 ? op->in[1][c] : 1);
    }
}

static void check_rms_norm(const kernels *k, int64_t N, int64_t d, bool weighted, double eps) {
    operation op = {.forward = naive_rms_norm, .N = N, .d = d, .scale = 0.7, .eps = eps};
    operation_input(k, &op, N * d, 2);
    if (weighted) operation_input(k, &op, d, 2);
    operation_run(&op, N * d);
    double *dy = random_array(k, N * d, 1);
    void *x = act_array(k, op.in[0], N * d), *y = act_array(k, NULL, N * d), *given = act_array(k, dy, N * d);
    float *rstd = float_array(NULL, N), *weight = weighted ? float_array(op.in[1], d) : NULL;
    k->rms_norm(y, rstd, x, weight, 0.7f, (float)eps, N, d);
    assert_acts(k, "rms_norm", y, op.out, N * d);
    for (int64_t n = 0; n < N; n++) assert_near(k, false, "rstd", n, rstd[n], naive_rstd(op.in[0] + n * d, d, eps), 0);
    for (gradient_mode mode = OVERWRITE; mode <= UNWANTED; mode++)
        for (int trained = 0; trained <= weighted; trained++) {
            gradient dx = gradient_of_act(k, &op, 0, mode), dweight = {0};
            if (trained) dweight = gradient_of_param(k, &op, 1);
            k->rms_norm_backward(gradient_out(dx, mode), dweight.data, given, x, rstd, weight, 0.7f, N, d);
            gradient_check(k, &op, "rms_norm_backward dx", 0, dx, dy);
            if (trained) gradient_check(k, &op, "rms_norm_backward dweight", 1, dweight, dy);
        }
    free(x), free(y), free(given), free(dy), free(rstd), free(weight);
    operation_free(&op);
}

/* Not one channel without eps: its norm is its sign, the gradient what rounding leaves of 0. */
static void test_rms_norm(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{0, 16}, {1, 2}, {1, 64}, {3, 5}, {7, 37}, {33, 515}, {17, 1030}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int weighted = 0; weighted < 2; weighted++) {
                check_rms_norm(&tables[t], sizes[s][0], sizes[s][1], weighted, 1e-6);
                check_rms_norm(&tables[t], sizes[s][0], sizes[s][1], weighted, 0.25);
            }
}

/* As small as a fresh embedding, where eps counts; and of nothing but zeros. */
static void test_small_rows(void **state) {
    (void)state;
    enum { N = 300, D = 77 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        operation op = {.forward = naive_rms_norm, .N = N, .d = D, .scale = 1, .eps = 1e-5};
        operation_input(k, &op, N * D, 0.005);
        for (int c = 0; c < D; c++) op.in[0][c] = 0;
        operation_run(&op, N * D);
        void *x = act_array(k, op.in[0], N * D), *y = act_array(k, NULL, N * D);
        float *rstd = float_array(NULL, N);
        k->rms_norm(y, rstd, x, NULL, 1, 1e-5f, N, D);
        assert_acts(k, "rms_norm", y, op.out, N * D);
        free(x), free(y), free(rstd);
        operation_free(&op);
    }
}

static void test_dweight_is_reproducible(void **state) {
    (void)state;
    enum { N = 701, D = 130 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        double *values = random_array(k, N * D, 1);
        void *x = act_array(k, values, N * D);
        float *weight = float_array(values, D), *rstd = float_array(values, N), *sums[2];
        for (int run = 0; run < 2; run++) {
            sums[run] = zeros(D, sizeof(float));
            k->rms_norm_backward((grad_out){0}, sums[run], x, x, rstd, weight, 1, N, D);
        }
        assert_memory_equal(sums[0], sums[1], D * sizeof(float));
        assert_true(sums[0][0] != 0);
        free(values), free(x), free(weight), free(rstd), free(sums[0]), free(sums[1]);
    }
}

int main(void) {
    table_count = test_tables(tables, fill_stream_avx2_f32, fill_stream_avx512_f32, fill_stream_avx512bf16_bf16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_small_rows),
        cmocka_unit_test(test_dweight_is_reproducible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The residual stream's kernels against naive ones, and their backward passes against finite differences. */
#include "operation.h"

static kernels tables[MAX_TABLES];
static int table_count;

/* Rows and channels: none, one, tails of vectors, more than a block of 1024 channels, enough for threads. */
static const int64_t sizes[][2] = {{0, 16}, {1, 1}, {1, 64}, {3, 5}, {7, 37}, {33, 515}, {17, 1030}};
enum { SIZES = sizeof sizes / sizeof *sizes };

typedef void (*check)(const kernels *k, int64_t N, int64_t d);

static void at_every_size(check run) {
    for (int t = 0; t < table_count; t++)
        for (int s = 0; s < SIZES; s++) run(&tables[t], sizes[s][0], sizes[s][1]);
}

/* ---- embedding --------------------------------------------------------------------------------------------------- */

static void naive_embed(operation *op) {
    for (int64_t i = 0; i < op->N * op->d; i++) op->out[i] = op->in[0][op->ids[i / op->d] * op->d + i % op->d];
}

static void check_embed(const kernels *k, int64_t N, int64_t d) {
    enum { V = 11 };
    int32_t *ids = zeros(N, sizeof *ids);
    for (int64_t n = 0; n < N; n++) ids[n] = (int32_t)random_below(V);
    operation op = {.forward = naive_embed, .N = N, .d = d, .ids = ids};
    operation_input(k, &op, V * d, 1);
    operation_run(&op, N * d);
    double *dy = random_array(k, N * d, 1);
    void *y = act_array(k, NULL, N * d), *given = act_array(k, dy, N * d);
    weight table = {.rows = V, .cols = d, .plain = act_array(k, op.in[0], V * d)};
    k->embed(y, &table, ids, N);
    assert_acts(k, "embed", y, op.out, N * d);
    gradient g = gradient_of_param(k, &op, 0);
    k->embed_backward(g.data, given, ids, N, d, V);
    gradient_check(k, &op, "embed_backward", 0, g, dy);
    free(table.plain), free(y), free(given), free(dy), free(ids);
    operation_free(&op);
}

static void test_embed(void **state) {
    (void)state;
    at_every_size(check_embed);
}

/* Rows of codes with `groups` scales each, one of them 0. */
static void check_quantized_embed(const kernels *k, int64_t N, int64_t group, int64_t groups) {
    enum { V = 7 };
    int64_t d = group * groups;
    quantized q = {.rows = V, .cols = d, .group = group, .levels = 31};
    q.q = zeros(V * d, 1);
    q.scale = zeros(V * groups, sizeof(float));
    for (int64_t i = 0; i < V * d; i++) q.q[i] = (int8_t)(random_below(63) - 31);
    for (int64_t i = 1; i < V * groups; i++) q.scale[i] = (float)random_value();
    int32_t *ids = zeros(N, sizeof *ids);
    for (int64_t n = 0; n < N; n++) ids[n] = (int32_t)((n * 3 + V - 1) % V); /* the last row first */
    operation op = {.forward = naive_embed, .N = N, .d = d, .ids = ids, .inputs = 1, .count = {V * d}};
    op.in[0] = zeros(V * d, sizeof(double));
    for (int64_t i = 0; i < V * d; i++) op.in[0][i] = (double)q.q[i] * q.scale[i / d * groups + i % d / group];
    operation_run(&op, N * d);
    weight table = {.rows = V, .cols = d, .quantized = &q};
    void *y = act_array(k, NULL, N * d);
    k->embed(y, &table, ids, N);
    assert_acts(k, "embed of codes", y, op.out, N * d);
    free(y), free(ids), quantized_free(&q);
    operation_free(&op);
}

static void test_quantized_embed(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {/* N, group, groups */ {0, 16, 1},
                                        {1, 1, 1},
                                        {9, 37, 1},
                                        {9, 32, 3},
                                        {20, 5, 7},
                                        {40, 64, 8}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            check_quantized_embed(&tables[t], shapes[s][0], shapes[s][1], shapes[s][2]);
}

/* ---- mix, scale_add, gated_skip ---------------------------------------------------------------------------------- */

static void naive_mix(operation *op) {
    for (int64_t i = 0; i < op->N * op->d; i++) {
        const double *mix = op->in[2] + i % op->d;
        op->out[i] = mix[0] * op->in[0][i] + mix[op->d] * op->in[1][i];
    }
}

static void check_mix(const kernels *k, int64_t N, int64_t d) {
    operation op = {.forward = naive_mix, .N = N, .d = d};
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, 2 * d, 1);
    operation_run(&op, N * d);
    double *dy = random_array(k, N * d, 1);
    void *x = act_array(k, op.in[0], N * d), *x0 = act_array(k, op.in[1], N * d), *given = act_array(k, dy, N * d);
    void *y = act_array(k, NULL, N * d);
    float *mix = float_array(op.in[2], 2 * d);
    k->mix(y, x, x0, mix, N, d);
    assert_acts(k, "mix", y, op.out, N * d);
    for (gradient_mode mode = OVERWRITE; mode <= UNWANTED; mode++) {
        gradient dx = gradient_of_act(k, &op, 0, mode), dx0 = gradient_of_act(k, &op, 1, mode);
        gradient dmix = gradient_of_param(k, &op, 2);
        k->mix_backward(gradient_out(dx, mode), gradient_out(dx0, mode), dmix.data, given, x, x0, mix, N, d);
        gradient_check(k, &op, "mix_backward dx", 0, dx, dy);
        gradient_check(k, &op, "mix_backward dx0", 1, dx0, dy);
        gradient_check(k, &op, "mix_backward dmix", 2, dmix, dy);
    }
    free(x), free(x0), free(given), free(y), free(mix), free(dy);
    operation_free(&op);
}

static void test_mix(void **state) {
    (void)state;
    at_every_size(check_mix);
}

static void naive_scale_add(operation *op) {
    for (int64_t i = 0; i < op->N * op->d; i++)
        op->out[i] = op->in[0][i] + (op->inputs == 3 ? op->in[2][i % op->d] : 1) * op->in[1][i];
}

static void check_scale_add_with(const kernels *k, int64_t N, int64_t d, bool scaled) {
    operation op = {.forward = naive_scale_add, .N = N, .d = d};
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, N * d, 1);
    if (scaled) operation_input(k, &op, d, 1);
    operation_run(&op, N * d);
    double *dy = random_array(k, N * d, 1);
    void *x = act_array(k, op.in[0], N * d), *z = act_array(k, op.in[1], N * d), *given = act_array(k, dy, N * d);
    void *y = act_array(k, NULL, N * d);
    float *s = scaled ? float_array(op.in[2], d) : NULL;
    k->scale_add(y, x, z, s, N, d);
    assert_acts(k, "scale_add", y, op.out, N * d);
    for (gradient_mode mode = OVERWRITE; mode <= UNWANTED; mode++) {
        gradient dx = gradient_of_act(k, &op, 0, mode), dz = gradient_of_act(k, &op, 1, mode), ds = {0};
        if (scaled) ds = gradient_of_param(k, &op, 2);
        k->scale_add_backward(gradient_out(dx, mode), gradient_out(dz, mode), ds.data, given, z, s, N, d);
        gradient_check(k, &op, "scale_add_backward dx", 0, dx, dy);
        gradient_check(k, &op, "scale_add_backward dz", 1, dz, dy);
        if (scaled) gradient_check(k, &op, "scale_add_backward ds", 2, ds, dy);
    }
    k->scale_add(x, x, z, s, N, d); /* in place, as gradients are added up */
    for (int64_t i = 0; i < N * d; i++) assert_true(act_read(k, x, i) == act_read(k, y, i));
    free(x), free(z), free(given), free(y), free(s), free(dy);
    operation_free(&op);
}

static void check_scale_add(const kernels *k, int64_t N, int64_t d) {
    check_scale_add_with(k, N, d, true);
    check_scale_add_with(k, N, d, false);
}

static void test_scale_add(void **state) {
    (void)state;
    at_every_size(check_scale_add);
}

static void naive_gated_skip(operation *op) {
    for (int64_t i = 0; i < op->N * op->d; i++) {
        double gate = 1 / (1 + exp(-op->in[3][i % op->d]));
        op->out[i] = gate * op->in[0][i] + (1 - gate) * op->in[2][i % op->d] * op->in[1][i];
    }
}

static void check_gated_skip(const kernels *k, int64_t N, int64_t d) {
    operation op = {.forward = naive_gated_skip, .N = N, .d = d};
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, d, 1);
    operation_input(k, &op, d, 3);
    operation_run(&op, N * d);
    double *dy = random_array(k, N * d, 1);
    void *x = act_array(k, op.in[0], N * d), *skip = act_array(k, op.in[1], N * d), *given = act_array(k, dy, N * d);
    void *y = act_array(k, NULL, N * d);
    float *w = float_array(op.in[2], d), *g = float_array(op.in[3], d);
    k->gated_skip(y, x, skip, w, g, N, d);
    assert_acts(k, "gated_skip", y, op.out, N * d);
    for (gradient_mode mode = OVERWRITE; mode <= UNWANTED; mode++) {
        gradient dx = gradient_of_act(k, &op, 0, mode), dskip = gradient_of_act(k, &op, 1, mode);
        gradient dw = gradient_of_param(k, &op, 2), dg = gradient_of_param(k, &op, 3);
        k->gated_skip_backward(gradient_out(dx, mode), gradient_out(dskip, mode), dw.data, dg.data, given, x, skip, w,
                               g, N, d);
        gradient_check(k, &op, "gated_skip_backward dx", 0, dx, dy);
        gradient_check(k, &op, "gated_skip_backward dskip", 1, dskip, dy);
        gradient_check(k, &op, "gated_skip_backward dw", 2, dw, dy);
        gradient_check(k, &op, "gated_skip_backward dg", 3, dg, dy);
    }
    free(x), free(skip), free(given), free(y), free(w), free(g), free(dy);
    operation_free(&op);
}

static void test_gated_skip(void **state) {
    (void)state;
    at_every_size(check_gated_skip);
}

/* ---- smear ------------------------------------------------------------------------------------------------------- */

static void naive_smear(operation *op) {
    for (int64_t i = 0; i < op->N * op->d; i++) {
        int64_t n = i / op->d, t = n % op->T, c = i % op->d;
        double now = op->in[0][i], before = 0;
        if (t == 0 && op->carry && c < op->width) before = op->carry[n / op->T * op->width + c];
        if (t > 0 && !(op->first && op->first[n] == t)) before = op->in[0][i - op->d];
        op->out[i] = c < op->width ? now + (before - now) / (1 + exp(-op->in[1][c])) : now;
    }
}

/* Documents of random lengths: first[n] is where the document of row n begins in its sequence. */
static int32_t *random_documents(int64_t B, int64_t T) {
    int32_t *first = zeros(B * T, sizeof *first);
    for (int64_t n = 0; n < B * T; n++) {
        int32_t t = (int32_t)(n % T);
        if (t > 0) first[n] = random_below(3) == 0 ? t : first[n - 1];
    }
    return first;
}

static void check_smear(const kernels *k, int64_t B, int64_t T, int64_t d, int64_t width, bool documents) {
    int32_t *first = documents ? random_documents(B, T) : NULL;
    int64_t N = B * T;
    operation op = {.forward = naive_smear, .N = N, .d = d, .B = B, .T = T, .width = width, .first = first};
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, width, 2);
    operation_run(&op, N * d);
    double *dy = random_array(k, N * d, 1), *before = random_array(k, B * width, 1);
    void *x = act_array(k, op.in[0], N * d), *y = act_array(k, NULL, N * d), *given = act_array(k, dy, N * d);
    void *carry = act_array(k, before, B * width);
    float *w = float_array(op.in[1], width);
    k->smear(y, x, w, NULL, first, B, T, d, width);
    assert_acts(k, "smear", y, op.out, N * d);
    for (gradient_mode mode = OVERWRITE; mode <= UNWANTED; mode++) {
        gradient dx = gradient_of_act(k, &op, 0, mode), dw = gradient_of_param(k, &op, 1);
        k->smear_backward(gradient_out(dx, mode), dw.data, given, x, w, first, B, T, d, width);
        gradient_check(k, &op, "smear_backward dx", 0, dx, dy);
        gradient_check(k, &op, "smear_backward dw", 1, dw, dy);
    }
    op.carry = before;
    op.forward(&op);
    k->smear(y, x, w, carry, first, B, T, d, width);
    assert_acts(k, "smear with carry", y, op.out, N * d);
    free(x), free(y), free(given), free(carry), free(w), free(dy), free(before), free(first);
    operation_free(&op);
}

static void test_smear(void **state) {
    (void)state;
    static const int64_t shapes[][4] = {/* B, T, d, width */
                                        {0, 4, 16, 12},   {1, 1, 64, 12},    {2, 5, 37, 12},    {3, 16, 5, 5},
                                        {2, 9, 20, 0},    {2, 17, 515, 12},  {2, 10, 1030, 12}, {2, 10, 1030, 1027},
                                        {2, 3, 2100, 40}, {1, 1, 1030, 1030}};
    for (int t = 0; t < table_count; t++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            check_smear(&tables[t], shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3], false);
            check_smear(&tables[t], shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3], true);
        }
    }
}

/* ---- biases ------------------------------------------------------------------------------------------------------ */

static void naive_bias_add(operation *op) {
    for (int64_t i = 0; i < op->N * op->d; i++) op->out[i] = op->in[0][i] + op->in[1][i % op->d];
}

static void check_bias_add(const kernels *k, int64_t N, int64_t d) {
    operation op = {.forward = naive_bias_add, .N = N, .d = d};
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, d, 1);
    operation_run(&op, N * d);
    double *dy = random_array(k, N * d, 1);
    void *y = act_array(k, op.in[0], N * d), *given = act_array(k, dy, N * d);
    float *bias = float_array(op.in[1], d);
    k->bias_add(y, bias, N, d);
    assert_acts(k, "bias_add", y, op.out, N * d);
    gradient dbias = gradient_of_param(k, &op, 1);
    k->bias_add_backward(dbias.data, given, N, d);
    gradient_check(k, &op, "bias_add_backward", 1, dbias, dy);
    free(dy), free(y), free(given), free(bias);
    operation_free(&op);
}

static void test_bias_add(void **state) {
    (void)state;
    at_every_size(check_bias_add);
}

static void check_add_column_squares(const kernels *k, int64_t N, int64_t d) {
    double *values = random_array(k, N * d, 1);
    void *y = act_array(k, values, N * d);
    float *sums = zeros(d, sizeof *sums);
    for (int64_t c = 0; c < d; c++) sums[c] = 0.5f; /* they are added to */
    k->add_column_squares(sums, y, N, d);
    for (int64_t c = 0; c < d; c++) {
        double expected = 0.5;
        for (int64_t n = 0; n < N; n++) expected += values[n * d + c] * values[n * d + c];
        assert_float_equal(sums[c], expected, 1e-5 * expected);
    }
    free(values), free(y), free(sums);
}

static void test_add_column_squares(void **state) {
    (void)state;
    at_every_size(check_add_column_squares);
}

/* ---- activations ------------------------------------------------------------------------------------------------- */

static void naive_activate(operation *op) {
    for (int64_t i = 0; i < op->N * op->width; i++) {
        int64_t n = i / op->width, c = i % op->width;
        if (op->f == ACTIVATION_SWIGLU) {
            const double *a = op->in[0] + 2 * n * op->width + c;
            op->out[i] = a[0] / (1 + exp(-a[0])) * a[op->width];
        } else {
            double u = op->in[0][i], v = u > 0 ? u : op->f == ACTIVATION_RELU2 ? 0 : u / 2;
            op->out[i] = v * v;
        }
    }
}

static void check_activate(const kernels *k, int64_t N, int64_t width) {
    for (activation f = ACTIVATION_RELU2; f <= ACTIVATION_SWIGLU; f++) {
        operation op = {.forward = naive_activate, .N = N, .width = width, .f = f};
        int64_t in = N * width * (f == ACTIVATION_SWIGLU ? 2 : 1);
        operation_input(k, &op, in, 3);
        operation_run(&op, N * width);
        double *dh = random_array(k, N * width, 1);
        void *u = act_array(k, op.in[0], in), *h = act_array(k, NULL, N * width), *given = act_array(k, dh, N * width);
        k->activate(h, u, f, NULL, N, width);
        assert_acts(k, "activate", h, op.out, N * width);
        gradient du = gradient_of_act(k, &op, 0, OVERWRITE);
        k->activate_backward(du.data, given, u, f, NULL, N, width);
        gradient_check(k, &op, "activate_backward", 0, du, dh);
        free(u), free(h), free(given), free(dh);
        operation_free(&op);
    }
}

static void test_activate(void **state) {
    (void)state;
    at_every_size(check_activate);
}

/* Experts' rows: the device knows how many of the N there are, and the others are neither read nor written. */
static void test_activate_counted_rows(void **state) {
    (void)state;
    enum { N = 40, ROWS = 23, WIDTH = 37 };
    static const int32_t counts[] = {ROWS, 0, N};
    for (int t = 0; t < table_count; t++)
        for (int c = 0; c < 3; c++)
            for (activation f = ACTIVATION_RELU2; f <= ACTIVATION_SWIGLU; f++) {
                const kernels *k = &tables[t];
                int64_t in = WIDTH * (f == ACTIVATION_SWIGLU ? 2 : 1), rows = counts[c];
                double *values = random_array(k, N * in, 3);
                void *u = act_array(k, values, N * in), *dh = act_array(k, values, N * WIDTH);
                void *h = act_array(k, NULL, N * WIDTH), *du = act_array(k, NULL, N * in);
                void *h_want = act_array(k, NULL, N * WIDTH), *du_want = act_array(k, NULL, N * in);
                k->activate(h, u, f, &counts[c], N, WIDTH);
                k->activate(h_want, u, f, NULL, rows, WIDTH);
                assert_memory_equal(h, h_want, N * WIDTH * act_bytes(k));
                k->activate_backward(du, dh, u, f, &counts[c], N, WIDTH);
                k->activate_backward(du_want, dh, u, f, NULL, rows, WIDTH);
                assert_memory_equal(du, du_want, N * in * act_bytes(k));
                free(values), free(u), free(dh), free(h), free(du), free(h_want), free(du_want);
            }
}

/* a σ(a) for a ≪ 0 is a eᵃ: shows the relative error of the exponential. */
static void test_exp_is_accurate(void **state) {
    (void)state;
    enum { COUNT = 20001 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        if (k->act != DTYPE_F32) continue;
        float *u = zeros(2 * COUNT, sizeof(float)), *h = zeros(COUNT, sizeof(float));
        for (int i = 0; i < COUNT; i++) u[i] = (float)(-80 + 100.0 * i / (COUNT - 1)), u[COUNT + i] = 1;
        k->activate(h, u, ACTIVATION_SWIGLU, NULL, 1, COUNT);
        for (int i = 0; i < COUNT; i++) {
            double want = (double)u[i] / (1 + exp(-(double)u[i]));
            if (!(fabs(h[i] - want) <= 5e-7 * fabs(want)))
                fail_msg("%s: silu(%g) is %.9g, not %.9g", k->name, u[i], h[i], want);
        }
        free(u), free(h);
    }
}

static void test_nan_stays(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        double values[2] = {NAN, 1};
        for (activation f = ACTIVATION_RELU2; f <= ACTIVATION_SWIGLU; f++) {
            void *u = act_array(k, values, 2), *h = act_array(k, values + 1, 1);
            k->activate(h, u, f, NULL, 1, 1);
            assert_true(isnan(act_read(k, h, 0)));
            free(u), free(h);
        }
    }
}

/* ---- the same bits every time ------------------------------------------------------------------------------------ */

static void test_sums_are_reproducible(void **state) {
    (void)state;
    enum { N = 701, D = 130, V = 9 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        double *values = random_array(k, N * D, 1);
        void *x = act_array(k, values, N * D);
        int32_t ids[N];
        for (int n = 0; n < N; n++) ids[n] = (int32_t)random_below(V);
        float *w = float_array(values, 2 * D), *sums[2];
        for (int run = 0; run < 2; run++) {
            float *s = sums[run] = zeros(7 * D + V * D, sizeof(float));
            k->mix_backward((grad_out){0}, (grad_out){0}, s, x, x, x, w, N, D);
            k->scale_add_backward((grad_out){0}, (grad_out){0}, s + 2 * D, x, x, w, N, D);
            k->gated_skip_backward((grad_out){0}, (grad_out){0}, s + 3 * D, s + 4 * D, x, x, x, w, w + D, N, D);
            k->smear_backward((grad_out){0}, s + 5 * D, x, x, w, NULL, 1, N, D, D);
            k->bias_add_backward(s + 6 * D, x, N, D);
            k->embed_backward(s + 7 * D, x, ids, N, D, V);
        }
        assert_memory_equal(sums[0], sums[1], (7 * D + V * D) * sizeof(float));
        assert_true(sums[0][0] != 0);
        free(sums[0]), free(sums[1]), free(w), free(x), free(values);
    }
}

int main(void) {
    table_count = test_tables(tables, fill_stream_avx2_f32, fill_stream_avx512_f32, fill_stream_avx512bf16_bf16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_quantized_embed),
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_scale_add),
        cmocka_unit_test(test_gated_skip),
        cmocka_unit_test(test_smear),
        cmocka_unit_test(test_bias_add),
        cmocka_unit_test(test_add_column_squares),
        cmocka_unit_test(test_activate),
        cmocka_unit_test(test_activate_counted_rows),
        cmocka_unit_test(test_exp_is_accurate),
        cmocka_unit_test(test_nan_stays),
        cmocka_unit_test(test_sums_are_reproducible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Learned gains against naive ones and finite differences, for each instruction set. */
#include "operation.h"

static kernels tables[MAX_TABLES];
static int table_count;

/* ---- y = x + s z ------------------------------------------------------------------------------------------------- */

static void naive_scalar_add(operation *op) {
    for (int64_t i = 0; i < op->N * op->d; i++) op->out[i] = op->in[0][i] + op->in[2][0] * op->in[1][i];
}

static void check_scalar_add(const kernels *k, int64_t N, int64_t d) {
    operation op = {.forward = naive_scalar_add, .N = N, .d = d};
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, 1, 1);
    operation_run(&op, N * d);
    double *dy = random_array(k, N * d, 1);
    void *x = act_array(k, op.in[0], N * d), *z = act_array(k, op.in[1], N * d), *y = act_array(k, NULL, N * d);
    void *given = act_array(k, dy, N * d);
    float *s = float_array(op.in[2], 1);
    k->scalar_add(y, x, z, s, N, d);
    assert_acts(k, "scalar_add", y, op.out, N * d);
    for (gradient_mode mode = OVERWRITE; mode <= UNWANTED; mode++) {
        gradient dz = gradient_of_act(k, &op, 1, mode), ds = gradient_of_param(k, &op, 2);
        k->scalar_add_backward(gradient_out(dz, mode), ds.data, given, z, s, N, d);
        gradient_check(k, &op, "scalar_add_backward dz", 1, dz, dy);
        gradient_check(k, &op, "scalar_add_backward ds", 2, ds, dy);
    }
    free(dy), free(x), free(z), free(y), free(given), free(s);
    operation_free(&op);
}

static void test_scalar_add(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{1, 1}, {3, 37}, {7, 64}, {40, 515}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            check_scalar_add(&tables[t], shapes[s][0], shapes[s][1]);
}

/* ---- gain and gated chunks --------------------------------------------------------------------------------------- */

/* The chunk of channel c: the first width mod E chunks have one channel more. */
static int64_t chunk_of(int64_t c, int64_t width, int64_t E) {
    int64_t e = 0;
    for (int64_t end = width / E + (width % E > 0); c >= end; end += width / E + (e < width % E)) e++;
    return e;
}

static void naive_chunk_gate(operation *op) {
    for (int64_t i = 0; i < op->N * op->width; i++) {
        int64_t n = i / op->width, c = i % op->width;
        op->out[i] = op->in[1][c] * op->in[2][n * op->E + chunk_of(c, op->width, op->E)] * op->in[0][i];
    }
}

static void check_chunk_gate(const kernels *k, int64_t N, int64_t width, int64_t E) {
    operation op = {.forward = naive_chunk_gate, .N = N, .width = width, .E = E};
    operation_input(k, &op, N * width, 1);
    operation_input(k, &op, width, 1);
    operation_input(k, &op, N * E, 1);
    operation_run(&op, N * width);
    double *dy = random_array(k, N * width, 1);
    void *u = act_array(k, op.in[0], N * width), *y = act_array(k, NULL, N * width),
         *given = act_array(k, dy, N * width);
    float *gain = float_array(op.in[1], width), *gates = float_array(op.in[2], N * E);
    k->chunk_gate(y, u, gain, gates, N, width, E);
    assert_acts(k, "chunk_gate", y, op.out, N * width);
    for (gradient_mode mode = OVERWRITE; mode <= UNWANTED; mode++) {
        gradient du = gradient_of_act(k, &op, 0, mode), dgain = gradient_of_param(k, &op, 1);
        gradient dgates = {.before = zeros(N * E, sizeof(double)), .data = float_array(NULL, N * E)};
        k->chunk_gate_backward(gradient_out(du, mode), dgain.data, dgates.data, given, u, gain, gates, N, width, E);
        gradient_check(k, &op, "chunk_gate_backward du", 0, du, dy);
        gradient_check(k, &op, "chunk_gate_backward dgain", 1, dgain, dy);
        gradient_check(k, &op, "chunk_gate_backward dgates", 2, dgates, dy); /* overwritten, unlike a parameter's */
    }
    free(dy), free(u), free(y), free(given), free(gain), free(gates);
    operation_free(&op);
}

/* Chunks beyond a block of 1024 channels, of unequal sizes, and as many as channels. */
static void test_chunk_gate(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {/* N, h, E */ {1, 1, 1},
                                        {3, 37, 1},
                                        {5, 22, 4},
                                        {2, 8, 8},
                                        {9, 128, 3},
                                        {6, 2500, 2},
                                        {40, 515, 64}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            check_chunk_gate(&tables[t], shapes[s][0], shapes[s][1], shapes[s][2]);
}

/* Without a gain, or without gates: as with ones. */
static void test_chunk_gate_of_ones(void **state) {
    (void)state;
    enum { N = 6, H = 45, E = 2 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        double *values = random_array(k, N * H, 1), *gates = random_array(k, N * E, 1);
        void *u = act_array(k, values, N * H), *a = act_array(k, NULL, N * H), *b = act_array(k, NULL, N * H);
        float ones[H], *g = float_array(gates, N * E);
        for (int i = 0; i < H; i++) ones[i] = 1;
        k->chunk_gate(a, u, NULL, g, N, H, E);
        k->chunk_gate(b, u, ones, g, N, H, E);
        assert_memory_equal(a, b, N * H * act_bytes(k));
        k->chunk_gate(a, u, NULL, NULL, N, H, 1);
        assert_memory_equal(a, u, N * H * act_bytes(k));
        free(values), free(gates), free(u), free(a), free(b), free(g);
    }
}

/* ---- y = σ(x0 · w) x --------------------------------------------------------------------------------------------- */

static double naive_open(const operation *op, int64_t n) {
    double sum = 0;
    for (int64_t c = 0; c < op->d; c++) sum += op->in[1][n * op->d + c] * op->in[2][c];
    return 1 / (1 + exp(-sum));
}

static void naive_sigmoid_gate(operation *op) {
    for (int64_t n = 0; n < op->N; n++) {
        double g = naive_open(op, n);
        for (int64_t i = n * op->d; i < (n + 1) * op->d; i++) op->out[i] = g * op->in[0][i];
    }
}

static void check_sigmoid_gate_backward(const kernels *k, operation *op, const void *x, const void *x0, const float *w,
                                        const float *g) {
    double *dy = random_array(k, op->N * op->d, 1);
    void *given = act_array(k, dy, op->N * op->d);
    for (gradient_mode mode = OVERWRITE; mode <= UNWANTED; mode++) {
        gradient_mode other = (mode + 1) % 3; /* of dx0: the two do not depend on one another */
        gradient dx = gradient_of_act(k, op, 0, mode), dx0 = gradient_of_act(k, op, 1, other), dw = {0};
        if (mode != ADD) dw = gradient_of_param(k, op, 2);
        k->sigmoid_gate_backward(gradient_out(dx, mode), gradient_out(dx0, other), dw.data, given, g, x, x0, w, op->N,
                                 op->d);
        gradient_check(k, op, "sigmoid_gate_backward dx", 0, dx, dy);
        gradient_check(k, op, "sigmoid_gate_backward dx0", 1, dx0, dy);
        gradient_check(k, op, "sigmoid_gate_backward dw", 2, dw, dy);
    }
    free(dy), free(given);
}

static void check_sigmoid_gate(const kernels *k, int64_t N, int64_t d) {
    operation op = {.forward = naive_sigmoid_gate, .N = N, .d = d};
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, N * d, 1);
    operation_input(k, &op, d, 3 / sqrt((double)d)); /* some gates open, some closed */
    operation_run(&op, N * d);
    void *x = act_array(k, op.in[0], N * d), *x0 = act_array(k, op.in[1], N * d), *y = act_array(k, NULL, N * d);
    float *w = float_array(op.in[2], d), *g = float_array(NULL, N);
    k->sigmoid_gate(y, g, x, x0, w, N, d);
    assert_acts(k, "sigmoid_gate", y, op.out, N * d);
    for (int64_t n = 0; n < N; n++) assert_near(k, false, "sigmoid_gate g", n, g[n], naive_open(&op, n), 0);
    check_sigmoid_gate_backward(k, &op, x, x0, w, g);
    free(x), free(x0), free(y), free(w), free(g);
    operation_free(&op);
}

static void test_sigmoid_gate(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{0, 16}, {1, 1}, {3, 37}, {7, 64}, {40, 515}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            check_sigmoid_gate(&tables[t], shapes[s][0], shapes[s][1]);
}

/* Far from 0 a gate is 0 or 1, not a NaN. */
static void test_sigmoid_gate_does_not_overflow(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        double values[2] = {-1000, 1000};
        float w = 1, g[2];
        void *x = act_array(k, values, 2), *y = act_array(k, NULL, 2);
        k->sigmoid_gate(y, g, x, x, &w, 2, 1);
        assert_true(g[0] == 0 && g[1] == 1 && act_read(k, y, 0) == 0 && act_read(k, y, 1) == act_read(k, x, 1));
        free(x), free(y);
    }
}

static void test_sums_are_reproducible(void **state) {
    (void)state;
    enum { N = 701, D = 130 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        double *values = random_array(k, N * D, 1);
        void *x = act_array(k, values, N * D);
        float *w = float_array(values, N), *gates = float_array(values, N), *sums[2];
        for (int run = 0; run < 2; run++) {
            float *s = sums[run] = zeros(2 * D + 1, sizeof(float));
            k->sigmoid_gate_backward((grad_out){0}, (grad_out){0}, s, x, gates, x, x, w, N, D);
            k->chunk_gate_backward((grad_out){0}, s + D, NULL, x, x, w, NULL, N, D, 1);
            k->scalar_add_backward((grad_out){0}, s + 2 * D, x, x, w, N, D);
        }
        assert_memory_equal(sums[0], sums[1], (2 * D + 1) * sizeof(float));
        assert_true(sums[0][0] != 0 && sums[0][D] != 0 && sums[0][2 * D] != 0);
        free(values), free(x), free(w), free(gates), free(sums[0]), free(sums[1]);
    }
}

int main(void) {
    table_count = test_tables(tables, fill_routing_avx2_f32, fill_routing_avx512_f32, fill_routing_avx512bf16_bf16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalar_add),
        cmocka_unit_test(test_chunk_gate),
        cmocka_unit_test(test_chunk_gate_of_ones),
        cmocka_unit_test(test_sigmoid_gate),
        cmocka_unit_test(test_sigmoid_gate_does_not_overflow),
        cmocka_unit_test(test_sums_are_reproducible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

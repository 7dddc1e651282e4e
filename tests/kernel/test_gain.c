/* Learned gains, the router's losses and noise, against naive ones and finite differences, for each instruction set. */
#include "operation.h"

static kernels tables[MAX_TABLES];
static int table_count;

/* ---- y = x + s z ---------------------------------------------------------------------------------------------------- */

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

/* ---- gain and gated chunks ------------------------------------------------------------------------------------------ */

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

/* ---- the router's losses, noise and one-hot gates ------------------------------------------------------------------- */

static void naive_z(operation *op) {
    double total = 0;
    for (int64_t n = 0; n < op->N; n++) {
        double sum = 0;
        for (int64_t e = 0; e < op->E; e++) sum += exp(op->in[0][n * op->E + e]);
        total += log(sum) * log(sum);
    }
    op->out[0] = total / (double)op->N;
}

static void naive_softmax(operation *op) {
    for (int64_t n = 0; n < op->N; n++) {
        double sum = 0;
        for (int64_t e = 0; e < op->E; e++) sum += exp(op->in[0][n * op->E + e]);
        for (int64_t e = 0; e < op->E; e++) op->out[n * op->E + e] = exp(op->in[0][n * op->E + e]) / sum;
    }
}

static void check_router_backward(const kernels *k, int64_t N, int64_t E) {
    operation z = {.forward = naive_z, .N = N, .E = E}, softmax = {.forward = naive_softmax, .N = N, .E = E};
    operation_input(k, &z, N * E, 3);
    operation_run(&z, 1);
    softmax.in[softmax.inputs] = z.in[0];
    softmax.count[softmax.inputs++] = N * E;
    operation_run(&softmax, N * E);
    double *dprobs = random_array(k, N * E, 1), weight = 0.25;
    float *logits = float_array(z.in[0], N * E), *probs = float_array(softmax.out, N * E);
    float *given = float_array(dprobs, N * E);
    double value = k->router_z(logits, N, E);
    assert_float_equal(value, z.out[0], 1e-5 * (1 + z.out[0]));
    gradient dlogits = gradient_of_param(k, &z, 0);
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
        check_router_backward(&tables[t], 1, 1);
        check_router_backward(&tables[t], 7, 3);
        check_router_backward(&tables[t], 90, 64);
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

static void test_every_expert(void **state) {
    (void)state;
    enum { N = 3, E = 4 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        int32_t chosen[N * E], first[N] = {2, 0, 2};
        float gates[N * E];
        int64_t counts[E];
        k->choose_all(chosen, N, E);
        k->gate_one_hot(gates, first, N, E);
        for (int i = 0; i < N * E; i++) {
            assert_int_equal(chosen[i], i % E);
            assert_true(gates[i] == (i % E == first[i / E]));
        }
        k->count_first(counts, chosen, N, E, E);
        assert_int_equal(counts[0], N);
        assert_int_equal(counts[1] + counts[2] + counts[3], 0);
        k->count_first(counts, first, N, E, 1);
        assert_true(counts[0] == 1 && counts[1] == 0 && counts[2] == 2 && counts[3] == 0);
    }
}

static void fill_avx2(kernels *table) {
    fill_routing_avx2_f32(table);
    fill_gate_avx2_f32(table);
}
static void fill_avx512(kernels *table) {
    fill_routing_avx512_f32(table);
    fill_gate_avx512_f32(table);
}
static void fill_bf16(kernels *table) {
    fill_routing_avx512bf16_bf16(table);
    fill_gate_avx512bf16_bf16(table);
}

int main(void) {
    table_count = test_tables(tables, fill_avx2, fill_avx512, fill_bf16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalar_add),
        cmocka_unit_test(test_chunk_gate),
        cmocka_unit_test(test_chunk_gate_of_ones),
        cmocka_unit_test(test_router_backward),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_every_expert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

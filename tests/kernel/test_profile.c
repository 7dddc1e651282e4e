/* The table that counts passes every call on, whatever it returns, and counts the operations of the formulas. */
#include "kernel/profile.h"
#include "test.h"

static profile counted;
static const kernels *k; /* what computes */
static kernels timed;

static void expect_every_kernel(const char *table_name, const kernels *table) {
#define KERNEL(name, parameters, arguments, flops)                                                                     \
    if (!table->name) fail_msg("%s lacks %s", table_name, #name);
#define KERNEL_STATUS KERNEL
#include "kernel/kernel_list.h"
#undef KERNEL
#undef KERNEL_STATUS
}

static void test_no_kernel_is_missing(void **state) {
    (void)state;
    expect_every_kernel("f32", kernels_for(DTYPE_F32));
    if (kernels_for(DTYPE_BF16)) expect_every_kernel("bf16", kernels_for(DTYPE_BF16));
    expect_every_kernel("the profile", &timed);
}

static const profile_entry *entry(const char *name) {
    for (int i = 0; i < KERNELS; i++)
        if (strcmp(kernel_name((kernel_id)i), name) == 0) return &counted.entries[i];
    fail_msg("no kernel is called %s", name);
    return NULL;
}

static void expect(const char *name, int64_t calls, double flops) {
    const profile_entry *e = entry(name);
    if (e->calls != calls || e->flops != flops || (calls > 0) != (e->seconds > 0))
        fail_msg("%s: %lld calls of %g operations in %g s, expected %lld of %g", name, (long long)e->calls, e->flops,
                 e->seconds, (long long)calls, flops);
}

static void test_calls(void **state) {
    (void)state;
    profile_clear(&counted);
    float in[5] = {1, 2, 3, 4, 5}, out[5] = {0}, *device;
    assert_ok(timed.alloc((void **)&device, sizeof in));
    timed.upload(device, in, sizeof in);
    timed.lerp(device, device, 0.5f, 5);
    timed.lerp(device, device, 0.5f, 5);
    timed.download(out, device, sizeof out);
    timed.release(device);
    for (int i = 0; i < 5; i++) assert_true(out[i] == in[i]);
    expect("alloc", 1, 0), expect("upload", 1, 0), expect("lerp", 2, 0), expect("download", 1, 0);
    expect("release", 1, 0), expect("zero", 0, 0), expect("linear", 0, 0);
    memory_fail_after(0);
    status s = timed.alloc((void **)&device, 64);
    memory_fail_after(-1);
    assert_int_equal(s, STATUS_FAILED);
    expect("alloc", 2, 0);
    profile_clear(&counted);
    expect("alloc", 0, 0);
}

static int64_t calls_of_product(product_kind kind, int64_t N) {
    for (int i = 0; i < counted.product_count; i++) {
        const profile_product *p = &counted.products[i];
        if (p->kind == kind && p->N == N && p->rows == 3 && p->cols == 4) return p->calls;
    }
    return 0;
}

/* W [3, 4]; each size and direction is listed once, with its number of calls. */
static void test_products(void **state) {
    (void)state;
    float values[12] = {1}, x[5 * 4] = {2}, y[5 * 3], dw[12] = {0}, *dws[2] = {dw, dw};
    int32_t start[3] = {0, 2, 5};
    weight w;
    profile_clear(&counted);
    assert_ok(timed.weight_create(&w, 3, 4, NULL));
    const weight *both[2] = {&w, &w};
    timed.weight_update(&w, values, 0, w.rows);
    timed.linear(y, DTYPE_F32, x, &w, 5);
    assert_true(y[0] == 2);
    timed.linear(y, DTYPE_F32, x, &w, 5);
    timed.linear(y, DTYPE_F32, x, &w, 2);
    timed.linear_backward_input((grad_out){.data = x}, y, &w, 5);
    timed.linear_backward_weight(dw, y, x, &w, 5);
    timed.grouped_linear(y, x, both, start, 2, 5);
    timed.grouped_linear_backward_weight(dws, y, x, both, start, 2, 5);
    timed.weight_destroy(&w);
    expect("linear", 3, 2 * 12 * (5 + 5 + 2));
    expect("linear_backward_input", 1, 2 * 12 * 5);
    expect("linear_backward_weight", 1, 2 * 12 * 5);
    expect("grouped_linear", 1, 2 * 12 * 5);
    assert_int_equal(calls_of_product(PRODUCT_FORWARD, 5), 2);
    assert_int_equal(calls_of_product(PRODUCT_FORWARD, 2), 1);
    assert_int_equal(calls_of_product(PRODUCT_BACKWARD_INPUT, 5), 1);
    assert_int_equal(calls_of_product(PRODUCT_BACKWARD_WEIGHT, 5), 1);
    assert_int_equal(calls_of_product(PRODUCT_GROUPED, 5), 2);
    assert_int_equal(counted.product_count, 5);
    assert_true(profile_flops(&counted) == 2 * 12 * (12 + 5 + 5 + 5 + 5));
}

/* Pairs of a query and a key that it sees, times two products: 3 queries that see 3, 4 and 5 keys. */
static void test_attention_and_muon(void **state) {
    (void)state;
    enum { HEADS = 2, D = 8, KEYS = 5, QUERIES = 3 };
    float q[QUERIES * HEADS * D] = {0}, kv[KEYS * HEADS * D] = {0}, y[QUERIES * HEADS * D];
    float w[6 * 4] = {0}, buffer[6 * 4] = {0}, grad[6 * 4] = {1};
    attention_shape shape = {.batch = 1,
                             .queries = QUERIES,
                             .keys = KEYS,
                             .heads = HEADS,
                             .kv_heads = HEADS,
                             .head_dim = D,
                             .q_stride = HEADS * D,
                             .kv_stride = HEADS * D,
                             .kv_batch_stride = KEYS * HEADS * D};
    muon_args args = {.lr = 1, .newton_schulz_steps = 5};
    profile_clear(&counted);
    timed.attention(y, NULL, q, kv, kv, NULL, &shape);
    timed.muon(w, buffer, grad, NULL, 6, 4, &args);
    expect("attention", 1, 2.0 * 2 * HEADS * D * (3 + 4 + 5));
    expect("muon", 1, 5 * 2.0 * (2 * 4 * 4 * 6 + 4 * 4 * 4)); /* X Xᵀ, A A and B X a step, on the short side */
}

int main(void) {
    if (kernels_check() != STATUS_OK) return 1;
    k = kernels_for(DTYPE_F32);
    timed = profile_kernels(&counted, k);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_kernel_is_missing),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_attention_and_muon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

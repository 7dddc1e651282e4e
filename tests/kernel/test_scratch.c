/* Memory that runs out inside a kernel: the call is given up as a whole, whichever thread was without, and the next one
 * works. */
#include "operation.h"

#include <omp.h>

static kernels tables[MAX_TABLES];
static int table_count;

enum {
    N = 600,
    HEADS = 4,
    SMALL = 32,
    LARGE = 256
}; /* head dims: large ones need more scratch; rows for all threads */

typedef struct rotation {
    const kernels *k;
    head_args args;
    const void *x;
    void *y;
} rotation;

static status run(void *context) {
    rotation *r = context;
    r->k->head_rotate(r->y, NULL, r->x, &r->args, N);
    return STATUS_OK;
}

/* Rotations by no angle and no norm: y is x. `allocations` succeed before one fails; −1: all do. */
static status rotate(const kernels *k, int head_dim, int64_t allocations) {
    static int32_t positions[N];
    static const float values[2] = {1, 0};
    rotary_table table = {.values = values, .positions = 1, .dims = 2};
    rotation r = {.k = k, .args = {.heads = HEADS, .head_dim = head_dim, .rotary = &table, .positions = positions}};
    int64_t count = N * HEADS * head_dim;
    double *values_of_x = random_array(k, count, 1);
    void *x = act_array(k, values_of_x, count);
    r.x = x, r.y = act_array(k, NULL, count);
    memory_fail_after(allocations);
    status s = memory_guarded(run, &r);
    memory_fail_after(-1);
    if (s == STATUS_OK) assert_memory_equal(x, r.y, count * act_bytes(k));
    free(values_of_x), free(x), free(r.y);
    return s;
}

/* A failure leaves some threads without what they had: they must be asked again, before the parallel region. */
static void test_memory_out(void **state) {
    (void)state;
    omp_set_num_threads(2);
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        for (int64_t allocations = 0; allocations < 2; allocations++) {
            assert_int_equal(rotate(k, SMALL, -1), STATUS_OK);
            assert_int_equal(rotate(k, SMALL, 0), STATUS_OK); /* nothing new is needed */
            assert_int_equal(rotate(k, LARGE << allocations, allocations), STATUS_FAILED);
            assert_non_null(strstr(error_message(), "out of memory"));
            assert_int_equal(rotate(k, SMALL, 0), STATUS_FAILED);
            assert_int_equal(rotate(k, SMALL, -1), STATUS_OK);
            assert_int_equal(rotate(k, LARGE << allocations, -1), STATUS_OK);
        }
    }
}

int main(void) {
    table_count =
        test_tables(tables, fill_attention_avx2_f32, fill_attention_avx512_f32, fill_attention_avx512bf16_bf16);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

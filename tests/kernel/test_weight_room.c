/* Memory that the matrices of one model share: pieces that do not touch, products that do not know it, memory that runs out. */
#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "kernel/weight_room.h"
#include <omp.h>

enum { BLOCK = 1 << 16, PIECES = 200 };

static int by_place(const void *a, const void *b) {
    const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

/* Each piece is filled with its own number, and still has it when all are there; they lie side by side. */
static void pieces_do_not_touch(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    weight_room *r;
    uint8_t *piece[PIECES];
    size_t bytes[PIECES], all = 0;
    uintptr_t places[PIECES];
    assert_ok(weight_room_create(&r, k, BLOCK, false));
    bool done = true;
#pragma omp parallel for num_threads(4) reduction(&& : done)
    for (int i = 0; i < PIECES; i++) {
        bytes[i] = i == 77 ? 3 * BLOCK + 5 : (size_t)(i * 37 % 900 + 1);
        done = done && weight_room_take(r, k, (void **)&piece[i], bytes[i]) == STATUS_OK;
        if (done) memset(piece[i], i, bytes[i]);
    }
    assert_true(done);
    int64_t near = 0;
    for (int i = 0; i < PIECES; i++) {
        assert_int_equal((uintptr_t)piece[i] % 64, 0);
        for (size_t j = 0; j < bytes[i]; j++) assert_int_equal(piece[i][j], i);
        places[i] = (uintptr_t)piece[i];
        all += (bytes[i] + 63) / 64 * 64;
    }
    qsort(places, PIECES, sizeof *places, by_place);
    for (int i = 1; i < PIECES; i++) near += places[i] - places[i - 1] <= 960;
    assert_true(near >= PIECES - 6);  /* a few blocks */
    weight_room_give(r, k, piece[3]); /* stays */
    assert_int_equal(piece[3][0], 3);
    weight_room_destroy(r);
    weight_room_destroy(NULL);
    assert_true(all > 2 * BLOCK);
}

enum { ROWS = 40, COLS = 64, N = 5 };

static void run(const weight *w, const void *x, float *y) {
    const kernels *k = kernels_for(DTYPE_F32);
    k->linear(y, DTYPE_F32, x, w, N);
}

static void products_are_the_same(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    float values[ROWS * COLS], x[N * COLS], own[N * ROWS], shared[N * ROWS];
    rng random = rng_seed(4);
    rng_normal(&random, values, ROWS * COLS, 1);
    rng_normal(&random, x, N * COLS, 1);
    quantized q = quantized_alloc(ROWS, COLS, 32, false);
    quantized_round_rows(&q, 8, 0, ROWS, values);
    weight_room *r;
    assert_ok(weight_room_create(&r, k, 100, true)); /* every matrix has a block of its own */
    for (int kind = 0; kind < 3; kind++) {
        for (int in_room = 0; in_room < 2; in_room++) {
            weight w;
            weight_room *room = in_room ? r : NULL;
            if (kind == 0) assert_ok(k->weight_create(&w, ROWS, COLS, room));
            if (kind == 0) k->weight_update(&w, values, 0, ROWS);
            if (kind == 1) assert_ok(k->weight_quantized(&w, &q, room));
            if (kind == 2) assert_ok(k->weight_packed(&w, &q, 16, room));
            run(&w, x, in_room ? shared : own);
            k->weight_destroy(&w);
        }
        assert_memory_equal(own, shared, sizeof own);
    }
    weight_room_destroy(r);
    quantized_free(&q);
}

static void memory_runs_out(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    weight_room *r;
    void *piece;
    assert_ok(weight_room_create(&r, k, BLOCK, false));
    for (int64_t left = 0; left < 3; left++) {
        memory_fail_after(left);
        const status s = weight_room_take(r, k, &piece, 8);
        memory_fail_after(-1);
        assert_int_equal(s, STATUS_FAILED);
        assert_null(piece);
    }
    assert_ok(weight_room_take(r, k, &piece, 8));
    weight_room_destroy(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_do_not_touch),
        cmocka_unit_test(products_are_the_same),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

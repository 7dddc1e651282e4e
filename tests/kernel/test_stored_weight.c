/* Weights as files keep them: described, copied elsewhere and adopted they give the same bits; numbers and arrays that do not go together
 * are refused, and what a room adopts goes with the room. */
#include "test.h"

#include "base/random.h"
#include "kernel/weight_room.h"

enum { N = 3, MOST = 2 << 20 };

static void note_release(void *owner) {
    ++*(int *)owner;
}

/* Bytes at a page of their own that a room owns; *released counts. */
static weight_room *room_of(uint8_t *memory, int *released) {
    weight_room *r;
    assert_ok(weight_room_create(&r, kernels_for(DTYPE_F32), 4096, true));
    *released = 0;
    assert_ok(weight_room_adopt(r, memory, MOST, note_release, released));
    return r;
}

static uint8_t *page_memory(void) {
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, 4096, MOST), 0);
    memset(memory, 0xab, MOST);
    return memory;
}

/* The arrays, copied one behind another. */
static stored_weight copy_to(uint8_t *memory, const stored_weight *s) {
    stored_weight copy = *s;
    size_t at = 0;
    for (int a = 0; a < STORED_ARRAYS; a++) {
        assert_true(at + (size_t)s->bytes[a] <= MOST);
        copy.array[a] = s->bytes[a] ? memory + at : NULL;
        if (s->bytes[a]) memcpy(memory + at, s->array[a], (size_t)s->bytes[a]);
        at += ((size_t)s->bytes[a] + 63) / 64 * 64;
    }
    return copy;
}

static void assert_equal_weights(const weight *a, const weight *b) {
    const kernels *k = kernels_for(DTYPE_F32);
    const int64_t values = a->rows * a->cols;
    float *first = xmalloc((size_t)values * sizeof *first), *second = xmalloc((size_t)values * sizeof *second);
    k->weight_values(first, a, 0, a->rows);
    k->weight_values(second, b, 0, b->rows);
    assert_memory_equal(first, second, (size_t)values * sizeof *first);
    free(first), free(second);
    float *x = xmalloc((size_t)(N * a->cols) * sizeof *x), *y = xmalloc((size_t)(2 * N * a->rows) * sizeof *y);
    rng r = rng_seed(3);
    rng_normal(&r, x, (size_t)(N * a->cols), 1);
    k->linear(y, DTYPE_F32, x, a, N);
    k->linear(y + N * a->rows, DTYPE_F32, x, b, N);
    assert_memory_equal(y, y + N * a->rows, (size_t)(N * a->rows) * sizeof *y);
    free(x), free(y);
}

typedef struct shape {
    int64_t rows, cols, group;
    int bits, input_bits;
    bool input_scale;
} shape;
static const shape shapes[] = {{40, 64, 32, 8, 16, false}, {33, 96, 32, 4, 8, false},   {1, 50, 50, 8, 16, true},
                               {70, 24, 6, 8, 8, false},   {64, 576, 32, 4, 16, false}, {32, 18, 18, 4, 16, false}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static weight packed_of(const shape *s) {
    float *values = xmalloc((size_t)(s->rows * s->cols) * sizeof *values);
    rng r = rng_seed(5);
    rng_normal(&r, values, (size_t)(s->rows * s->cols), 1);
    quantized q = quantized_alloc(s->rows, s->cols, s->group, s->bits == 4);
    quantized_round_rows(&q, s->bits, 0, s->rows, values);
    if (s->input_scale) {
        q.input_scale = xmalloc((size_t)s->cols * sizeof *q.input_scale);
        for (int64_t c = 0; c < s->cols; c++) q.input_scale[c] = 0.5f + (float)rng_uniform(&r);
    }
    weight w;
    assert_ok(kernels_for(DTYPE_F32)->weight_packed(&w, &q, s->input_bits, NULL));
    quantized_free(&q);
    free(values);
    return w;
}

static void packed_weights_come_back(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    uint8_t *memory = page_memory();
    for (int i = 0; i < SHAPES; i++) {
        weight own = packed_of(&shapes[i]), adopted;
        stored_weight s, again;
        int released;
        weight_room *room = room_of(memory, &released);
        k->weight_describe(&s, &own);
        assert_int_equal(s.kind, STORED_PACKED);
        assert_int_equal(s.bytes[0] + s.bytes[1] + s.bytes[2], own.packed_bytes);
        const stored_weight copy = copy_to(memory, &s);
        assert_ok(k->weight_adopt(&adopted, &copy, room));
        assert_int_equal(adopted.packed_bytes, own.packed_bytes);
        assert_equal_weights(&own, &adopted);
        k->weight_describe(&again, &adopted);
        for (int a = 0; a < STORED_ARRAYS; a++) assert_ptr_equal(again.array[a], copy.array[a]); /* nothing is copied */
        k->weight_destroy(&adopted);
        weight_room_empty(room); /* what was adopted is not taken from */
        void *piece;
        assert_ok(weight_room_take(room, k, &piece, 64));
        assert_false((uint8_t *)piece >= memory && (uint8_t *)piece < memory + MOST);
        assert_int_equal(released, 0);
        weight_room_destroy(room);
        assert_int_equal(released, 1);
        k->weight_destroy(&own);
    }
    free(memory);
}

static void plain_weights_come_back(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    enum { ROWS = 40, COLS = 64 };
    float values[ROWS * COLS];
    uint8_t *memory = page_memory();
    int released;
    weight own, adopted;
    stored_weight s;
    rng r = rng_seed(4);
    rng_normal(&r, values, ROWS * COLS, 1);
    assert_ok(k->weight_create(&own, ROWS, COLS, NULL));
    k->weight_update(&own, values, 0, ROWS);
    k->weight_describe(&s, &own);
    assert_int_equal(s.kind, STORED_PLAIN);
    weight_room *room = room_of(memory, &released);
    stored_weight copy = copy_to(memory, &s);
    assert_ok(k->weight_adopt(&adopted, &copy, room));
    assert_equal_weights(&own, &adopted);
    k->weight_destroy(&adopted);
    copy.type = DTYPE_BF16;
    assert_fails(k->weight_adopt(&adopted, &copy, room), "another type");
    copy = copy_to(memory, &s);
    copy.bytes[0]--;
    assert_fails(k->weight_adopt(&adopted, &copy, room), "other arrays");
    copy = copy_to(memory, &s);
    copy.rows = -1;
    assert_fails(k->weight_adopt(&adopted, &copy, room), "-1 x 64");
    copy = copy_to(memory, &s);
    assert_fails(k->weight_adopt(&adopted, &copy, NULL), "expected a room");
    copy.kind = STORED_NOTHING;
    assert_fails(k->weight_adopt(&adopted, &copy, room), "found neither");
    weight_room_destroy(room);
    k->weight_destroy(&own);
    free(memory);
}

/* Each number with each of some values that it might have: refused, or its arrays are large enough for all that is read. */
static void numbers_must_go_together(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    const int64_t values[] = {INT64_MIN, -1, 0,  1,  2,   3,   4,       8,         16,
                              31,        32, 33, 64, 128, 255, 1 << 20, INT32_MAX, INT64_MAX};
    enum { VALUES = sizeof values / sizeof *values, FIELDS = 9 };
    uint8_t *memory = page_memory();
    int64_t refused = 0, tried = 0;
    for (int i = 0; i < SHAPES; i++) {
        weight own = packed_of(&shapes[i]), w;
        stored_weight s;
        int released;
        weight_room *room = room_of(memory, &released);
        k->weight_describe(&s, &own);
        for (int field = 0; field < FIELDS; field++)
            for (int v = 0; v < VALUES; v++) {
                stored_weight copy = copy_to(memory, &s);
                int64_t *const wide[] = {&copy.rows,     &copy.cols,     &copy.group,
                                         &copy.bytes[0], &copy.bytes[1], &copy.bytes[2]};
                if (field < 6) *wide[field] = values[v];
                if (field == 6) copy.bits = (int)values[v];
                if (field == 7) copy.zero = (int)values[v];
                if (field == 8) copy.has_offset = !copy.has_offset;
                tried++;
                if (k->weight_adopt(&w, &copy, room) != STATUS_OK) {
                    refused++;
                    continue;
                }
                assert_true(w.packed_bytes <= own.packed_bytes);
                float *row = xmalloc((size_t)w.cols * sizeof *row);
                k->weight_values(row, &w, w.rows - 1, 1);
                free(row);
                k->weight_destroy(&w);
            }
        stored_weight askew = copy_to(memory, &s);
        askew.array[0] = (const char *)askew.array[0] + 1;
        assert_fails(k->weight_adopt(&w, &askew, room), "expected other arrays");
        weight_room_destroy(room);
        k->weight_destroy(&own);
    }
    assert_true(refused > tried * 3 / 4 && refused < tried);
    free(memory);
}

static void memory_runs_out(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    uint8_t *memory = page_memory();
    int released = 0;
    weight_room *room;
    weight own = packed_of(&shapes[0]), w;
    stored_weight s;
    k->weight_describe(&s, &own);
    const stored_weight copy = copy_to(memory, &s);
    assert_ok(weight_room_create(&room, k, 4096, true));
    memory_fail_after(0);
    assert_int_equal(weight_room_adopt(room, memory, MOST, note_release, &released), STATUS_FAILED);
    memory_fail_after(-1);
    assert_ok(weight_room_adopt(room, memory, MOST, note_release, &released));
    memory_fail_after(0);
    assert_int_equal(k->weight_adopt(&w, &copy, room), STATUS_FAILED);
    memory_fail_after(-1);
    assert_ok(k->weight_adopt(&w, &copy, room));
    k->weight_destroy(&w);
    weight_room_destroy(room);
    assert_int_equal(released, 1);
    k->weight_destroy(&own);
    free(memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_weights_come_back),
        cmocka_unit_test(plain_weights_come_back),
        cmocka_unit_test(numbers_must_go_together),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

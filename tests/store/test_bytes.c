/* Byte planes, LZMA, the reader and the tokenizer's score filter. */
#include "test.h"

#include "base/random.h"
#include "store/bytes.h"
#include "store/score_filter.h"
#include <lzma.h>

static void planes_and_lzma_come_back(void **state) {
    (void)state;
    uint32_t values[100], back[100];
    for (uint32_t i = 0; i < 100; i++) values[i] = 0x01000000 * 7 + i * i;
    byte_buffer planes = {0}, packed = {0};
    planes_split(&planes, values, 100, 4);
    assert_int_equal(planes.count, 400);
    assert_int_equal(planes.bytes[1], 1);   /* the second value's lowest byte */
    assert_int_equal(planes.bytes[300], 7); /* the highest bytes come last */
    assert_ok(lzma_pack(planes.bytes, planes.count, &packed));
    assert_true(packed.count < 250);
    uint8_t *unpacked;
    assert_ok(lzma_unpack(packed.bytes, packed.count, 400, &unpacked));
    planes_join(back, unpacked, 100, 4);
    assert_memory_equal(values, back, sizeof values);
    free(unpacked);
    assert_fails(lzma_unpack(packed.bytes, packed.count, 399, &unpacked), "expected 399 bytes");
    assert_fails(lzma_unpack(packed.bytes, packed.count, 401, &unpacked), "expected 401 bytes");
    assert_fails(lzma_unpack(packed.bytes, packed.count - 6, 400, &unpacked), "LZMA");
    free(planes.bytes);
    free(packed.bytes);
}

/* Of any length, shorter and longer than what the dictionary may be; and as files have them that always took 8 MiB of it. */
static void lzma_comes_back(void **state) {
    (void)state;
    static const size_t counts[] = {1, 4095, 4096, 4097, 70000, (8 << 20) + 5000};
    uint8_t *bytes = xmalloc(counts[5]), *unpacked;
    rng r = rng_seed(4);
    for (size_t i = 0; i < counts[5]; i++) bytes[i] = i < 6000 ? (uint8_t)rng_next(&r) : bytes[i - 5000];
    for (int i = 0; i < 6; i++) {
        byte_buffer packed = {0};
        assert_ok(lzma_pack(bytes, counts[i], &packed));
        assert_ok(lzma_unpack(packed.bytes, packed.count, counts[i], &unpacked));
        assert_memory_equal(unpacked, bytes, counts[i]);
        free(unpacked);
        free(packed.bytes);
    }
    lzma_options_lzma options;
    lzma_lzma_preset(&options, 9 | LZMA_PRESET_EXTREME);
    options.dict_size = 8 << 20, options.lc = 3, options.lp = 0, options.pb = 0;
    const lzma_filter filters[] = {{LZMA_FILTER_LZMA1, &options}, {LZMA_VLI_UNKNOWN, NULL}};
    uint8_t packed[9000];
    size_t used = 0;
    assert_int_equal(lzma_raw_buffer_encode(filters, NULL, bytes, 70000, packed, &used, sizeof packed), LZMA_OK);
    assert_ok(lzma_unpack(packed, used, 70000, &unpacked));
    assert_memory_equal(unpacked, bytes, 70000);
    free(unpacked);
    free(bytes);
}

static void the_reader_stops_at_the_end(void **state) {
    (void)state;
    const uint8_t bytes[] = {1, 2, 3, 4, 5};
    byte_reader r = {.next = bytes, .left = sizeof bytes};
    assert_int_equal(reader_number(&r, 2), 0x0201);
    assert_int_equal(reader_number(&r, 4), 0);
    assert_true(r.overrun);
    assert_null(reader_take(&r, 1)); /* though a byte is there */
}

static void add_piece(byte_buffer *b, const char *text, float score) {
    const size_t length = strlen(text);
    buffer_add_number(b, 0x0a, 1);
    buffer_add_number(b, length + 7, 1);
    buffer_add_number(b, 0x0a, 1);
    buffer_add_number(b, length, 1);
    buffer_add(b, text, length);
    buffer_add_number(b, 0x15, 1);
    buffer_add(b, &score, sizeof score);
}

static void scores_are_filtered_and_come_back(void **state) {
    (void)state;
    byte_buffer b = {0};
    add_piece(&b, "<s>", 0);
    for (int i = 0; i < 50; i++) add_piece(&b, i % 2 ? "ab" : "c", (float)-i);
    uint8_t *changed = xmalloc(b.count);
    memcpy(changed, b.bytes, b.count);
    score_filter_apply(changed, b.count);
    const uint32_t last = 0;
    assert_memory_equal(changed + b.count - 4, &last, 4); /* −49 follows −48 */
    score_filter_undo(changed, b.count);
    assert_memory_equal(changed, b.bytes, b.count);
    rng r = rng_seed(3); /* any bytes come back, whole or cut off, sensible or not */
    for (int trial = 0; trial < 2000; trial++) {
        const size_t count = rng_below(&r, b.count + 1);
        uint8_t *part = xmalloc(count + 1), *kept = xmalloc(count + 1);
        memcpy(part, b.bytes, count);
        for (int i = 0; count && i < trial % 8; i++) part[rng_below(&r, count)] = (uint8_t)rng_next(&r);
        memcpy(kept, part, count);
        score_filter_apply(part, count);
        score_filter_undo(part, count);
        assert_memory_equal(part, kept, count);
        free(part);
        free(kept);
    }
    free(changed);
    free(b.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planes_and_lzma_come_back),
        cmocka_unit_test(lzma_comes_back),
        cmocka_unit_test(the_reader_stops_at_the_end),
        cmocka_unit_test(scores_are_filtered_and_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

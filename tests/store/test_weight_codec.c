/* The entropy coder: exact round trips, sizes close to or below the entropy, and bytes that no encoder wrote. */
#include "test.h"

#include "base/file.h"
#include "base/random.h"
#include "quant/quantize.h"
#include "store/range_coder.h"
#include "store/weight_bits.h"
#include "store/weight_codec.h"
#include <math.h>

/* rows × cols of q ~ round(N(0, 1) · size · row's factor · column's factor). */
static quantized random_codes(int64_t rows, int64_t cols, int bits, float size, float spread, uint64_t seed) {
    quantized q;
    assert_int_equal(quantized_create(&q, rows, cols, bits), STATUS_OK);
    rng r = rng_seed(seed);
    float *w = xmalloc((size_t)cols * sizeof *w), *column = xmalloc((size_t)cols * sizeof *column), row;
    rng_normal(&r, column, (size_t)cols, spread);
    for (int64_t i = 0; i < rows; i++) {
        rng_normal(&r, w, (size_t)cols, size);
        rng_normal(&r, &row, 1, spread);
        q.scale[i] = 1;
        for (int64_t c = 0; c < cols; c++)
            q.q[i * cols + c] = (int8_t)grid_nearest(w[c] * expf(row + column[c]), 1, (float)q.levels);
    }
    free(w);
    free(column);
    return q;
}

/* Encodes, decodes, compares; returns bits a weight. */
static double round_trip_with(const quantized *q, const quantized *twin) {
    uint8_t *bytes;
    size_t count;
    assert_ok(weights_encode(q, twin, &bytes, &count));
    quantized back = *q;
    back.q = xmalloc((size_t)(q->rows * q->cols));
    assert_ok(weights_decode(&back, twin, bytes, count));
    assert_memory_equal(back.q, q->q, q->rows * q->cols);
    if (weights_need_twin(bytes, count)) assert_fails(weights_decode(&back, NULL, bytes, count), "twin");
    free(back.q);
    free(bytes);
    return 8.0 * (double)count / (double)(q->rows * q->cols);
}

static double round_trip(const quantized *q) {
    return round_trip_with(q, NULL);
}

static void every_shape_comes_back(void **state) {
    (void)state;
    const int64_t shapes[][2] = {{1, 1}, {1, 1000}, {1000, 1}, {37, 91}};
    const float sizes[] = {0.01f, 1, 8, 60, 500};
    for (int bits = 2; bits <= 8; bits++)
        for (size_t i = 0; i < 4; i++)
            for (size_t k = 0; k < 5; k++) {
                quantized q = random_codes(shapes[i][0], shapes[i][1], bits, sizes[k], 0.3f, 100 * i + k);
                q.scale[q.rows / 2] = 0; /* a row that is not coded */
                memset(q.q + q.rows / 2 * q.cols, 0, (size_t)q.cols);
                round_trip(&q);
                quantized_free(&q);
            }
}

static void equal_rows_cost_their_entropy(void **state) {
    (void)state;
    for (int bits = 3; bits <= 8; bits++) {
        quantized q = random_codes(256, 512, bits, (float)(1 << (bits - 1)) / 3.3f, 0, 1);
        const double entropy = weights_entropy(&q) / (256.0 * 512);
        assert_true(round_trip(&q) < entropy + (bits == 8 ? 0.03 : 0.015));
        quantized_free(&q);
    }
}

static void unequal_rows_and_columns_cost_less(void **state) {
    (void)state;
    quantized q = random_codes(512, 512, 6, 7, 0.4f, 1);
    const double entropy = weights_entropy(&q) / (512.0 * 512);
    assert_true(round_trip(&q) < entropy - 0.1);
    quantized_free(&q);
}

/* Columns with means of their own, as embeddings have. */
static void columns_with_means_cost_less(void **state) {
    (void)state;
    quantized q = random_codes(512, 128, 6, 4, 0, 1);
    const double without = round_trip(&q);
    for (int64_t i = 0; i < q.rows * q.cols; i++) {
        const int moved = q.q[i] + (int)(i % q.cols % 7) - 3;
        q.q[i] = (int8_t)(moved > q.levels ? q.levels : moved < -q.levels ? -q.levels : moved);
    }
    assert_true(weights_entropy(&q) / (512.0 * 128) > without + 0.05);
    assert_true(round_trip(&q) < without + 0.05);
    quantized_free(&q);
}

/* An expert that was copied, trained on a little, and quantised with steps of its own; some of its rows were drawn anew. */
static void a_twin_helps_where_it_is_one(void **state) {
    (void)state;
    quantized twin = random_codes(256, 128, 6, 5, 0.2f, 1), q = random_codes(256, 128, 6, 5, 0.2f, 2);
    const double alone = round_trip(&q);
    assert_true(fabs(round_trip_with(&q, &twin) - alone) < 1e-9); /* a stranger: not used */
    rng r = rng_seed(3);
    for (int64_t i = 0; i < q.rows; i++) {
        q.scale[i] = 1.25f;
        for (int64_t c = 0; c < q.cols && i % 8; c++) {
            float noise;
            rng_normal(&r, &noise, 1, 0.4f);
            q.q[i * q.cols + c] =
                (int8_t)grid_nearest((float)twin.q[i * q.cols + c] / 1.25f + noise, 1, (float)q.levels);
        }
    }
    assert_true(round_trip_with(&q, &twin) < round_trip(&q) - 1);
    twin.input_scale = xmalloc((size_t)twin.cols * sizeof(float));
    for (int64_t c = 0; c < twin.cols; c++) { /* the same weights from other steps of columns */
        twin.input_scale[c] = c % 2 ? 0.5f : 1;
        for (int64_t i = 0; i < twin.rows && c % 2; i++)
            twin.q[i * twin.cols + c] = (int8_t)grid_nearest(2.0f * twin.q[i * twin.cols + c], 1, (float)twin.levels);
    }
    assert_true(round_trip_with(&q, &twin) < round_trip(&q) - 1);
    memcpy(twin.q, q.q, (size_t)(q.rows * q.cols));
    memcpy(twin.scale, q.scale, (size_t)q.rows * sizeof(float));
    for (int64_t c = 0; c < twin.cols; c++) twin.input_scale[c] = 1;
    assert_true(round_trip_with(&q, &twin) < 0.1);
    quantized_free(&q), quantized_free(&twin);
}

/* Points of random paths: what a row may hold, and its codes are half as large. */
static void paths_of_a_trellis_come_back(void **state) {
    (void)state;
    for (int states = 4; states <= 64; states *= 2) {
        const trellis *t = trellis_of(states);
        quantized q = random_codes(64, 256, 8, 2, 0.2f, (uint64_t)states), twin = q;
        q.trellis = states;
        for (int64_t i = 0; i < q.rows; i++) trellis_points(t, q.q + i * q.cols, q.cols, q.q + i * q.cols);
        q.levels = 127;
        const double bits = round_trip_with(&q, NULL);
        assert_true(bits < weights_entropy(&q) / (64.0 * 256) -
                               0.3); /* the points alone do not tell which ones are possible */
        twin.q = xmalloc((size_t)(q.rows * q.cols));
        for (int64_t i = 0; i < q.rows * q.cols; i++) twin.q[i] = (int8_t)(q.q[i] > 120 ? 120 : q.q[i] + i % 2);
        assert_true(round_trip_with(&q, &twin) < bits - 1);
        free(twin.q);
        q.q[q.cols + 3] = (int8_t)(q.q[q.cols + 3] ? 0 : 1);
        uint8_t *bytes;
        size_t count;
        status s = weights_encode(&q, NULL, &bytes, &count);
        if (s == STATUS_OK) free(bytes); /* another path */
        q.q[0] = 1;                      /* state 0 has even points alone */
        assert_fails(weights_encode(&q, NULL, &bytes, &count), "row 0: expected points of a trellis");
        quantized_free(&q);
    }
}

static void groups_with_scales_come_back(void **state) {
    (void)state;
    quantized q = random_codes(16, 64, 4, 2, 0.2f, 1);
    q.group = 16;
    free(q.scale);
    q.scale = xcalloc(16 * 4, sizeof(float));
    for (int i = 0; i < 64; i++)
        q.scale[i] = i / 4 == 3 ? 0 : (float)(i % 4); /* row 3 is zero, the first group of each too */
    memset(q.q + 3 * 64, 0, 64);
    round_trip_with(&q, &q);
    quantized_free(&q);
}

/* Artifacts outlive the program: the same integers are the same bytes, on every machine and from then on. */
static void the_stream_is_fixed(void **state) {
    (void)state;
    quantized q = {.rows = 48, .cols = 40, .group = 40, .levels = 31};
    q.q = xmalloc(48 * 40);
    q.scale = xmalloc(48 * sizeof(float));
    rng r = rng_seed(17);
    for (int i = 0; i < 48 * 40; i++) {
        int sum = -30;
        for (int k = 0; k < 10; k++) sum += (int)rng_below(&r, 7);
        q.q[i] = (int8_t)(sum * (1 + i % 3) / 2);
    }
    for (int i = 0; i < 48; i++) q.scale[i] = 1;
    uint8_t *bytes;
    size_t count;
    assert_ok(weights_encode(&q, NULL, &bytes, &count));
    assert_int_equal(crc64(0, bytes, count), UINT64_C(0x961b7249ec76b096));
    free(bytes);
    quantized_free(&q);
}

/* The coder itself, with probabilities that drive it into carries and its smallest ranges. */
static void extreme_probabilities(void **state) {
    (void)state;
    static const uint32_t p[] = {1, 2, 100, 32768, 65000, 65534, 65535};
    for (uint64_t seed = 0; seed < 200; seed++) {
        rng r = rng_seed(seed);
        uint8_t bits[3000];
        range_encoder e;
        range_encoder_start(&e);
        for (size_t i = 0; i < sizeof bits; i++) {
            bits[i] = rng_below(&r, 1 + seed) ? p[i % 7] > 40000 : (uint8_t)rng_below(&r, 2);
            range_encode_bit(&e, p[i % 7], bits[i]);
        }
        range_encoder_finish(&e);
        range_decoder d;
        range_decoder_start(&d, e.bytes, e.count);
        for (size_t i = 0; i < sizeof bits; i++) assert_int_equal(range_decode_bit(&d, p[i % 7]), bits[i]);
        free(e.bytes);
    }
}

static void any_bytes_decode_to_something_or_fail(void **state) {
    (void)state;
    rng r = rng_seed(9);
    quantized q = random_codes(20, 50, 6, 7, 0.2f, 2), twin = random_codes(20, 50, 6, 7, 0.2f, 3);
    for (int trial = 0; trial < 500; trial++) {
        uint8_t bytes[200];
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = trial % 3 ? (uint8_t)rng_next(&r) : 0xff;
        if (trial % 7) bytes[0] = (uint8_t)(trial % PREDICT_COUNT);
        const size_t count = rng_below(&r, sizeof bytes);
        q.trellis = trial % 2 ? 8 : 0;
        if (weights_decode(&q, trial % 5 ? &twin : NULL, bytes, count) != STATUS_OK)
            assert_true(strlen(error_message()) > 0);
        for (int64_t i = 0; i < q.rows * q.cols; i++) assert_true(abs(q.q[i]) <= q.levels);
    }
    q.trellis = 0;
    assert_fails(weights_decode(&q, NULL, (const uint8_t *)"", 0), "expected at least 3 bytes");
    assert_fails(weights_decode(&q, NULL, (const uint8_t *)"\0\0\0\0", 4), "mean size");
    assert_fails(weights_decode(&q, NULL, (const uint8_t *)"\3\1\0\0", 4), "prediction below 3");
    quantized_free(&twin);
    quantized_free(&q);
}

/* The stream as docs/formats.md tells it, one weight after another and bit by bit. */
static bool decode_plainly(quantized *q, const quantized *twin, const uint8_t *bytes, size_t count) {
    weight_model m;
    range_decoder d;
    bool good = true;
    weight_model_start(&m, q, (weight_prediction)bytes[0], twin, bytes[1] | (uint32_t)bytes[2] << 8);
    range_decoder_start(&d, bytes + WEIGHTS_HEADER, count - WEIGHTS_HEADER);
    for (int64_t r = 0; r < q->rows && good; r++) {
        int8_t *row = q->q + r * q->cols;
        memset(row, 0, (size_t)q->cols);
        if (weight_row_is_zero(q, r)) continue;
        weight_model_row(&m, q, r);
        for (int64_t c = 0, state = 0; c < q->cols && good; c++) {
            const int quantizer = m.trellis ? m.trellis->quantizer[state] : 0;
            const weight_place p = weight_model_place(&m, c, quantizer);
            const int k = get_code(&d, &p, m.prediction != PREDICT_ZERO, m.rate);
            const int point = m.trellis ? trellis_point(k, quantizer) : k;
            good = abs(point) <= q->levels;
            if (!good) break;
            weight_model_seen(&m, c, &p, k, point);
            row[c] = (int8_t)point;
            if (m.trellis) state = m.trellis->next[state][k & 1];
        }
    }
    weight_model_end(&m);
    return good;
}

/* Decoders agree on q's own stream, shortened and damaged, whether they find integers or not. */
static void agree_on(quantized *q, const quantized *twin, rng *r) {
    uint8_t *bytes;
    size_t count;
    assert_ok(weights_encode(q, twin, &bytes, &count));
    quantized plain = *q, fast = *q;
    plain.q = xmalloc((size_t)(q->rows * q->cols));
    fast.q = xmalloc((size_t)(q->rows * q->cols));
    for (int trial = 0; trial < 40; trial++) {
        const size_t kept = trial < 2 ? count : WEIGHTS_HEADER + rng_below(r, count - WEIGHTS_HEADER + 1);
        uint8_t *stream = xmalloc(kept); /* of its own size, so that a sanitizer sees what is read beyond */
        memcpy(stream, bytes, kept);
        if (trial % 2 && kept > WEIGHTS_HEADER)
            for (int i = 0; i < 8; i++)
                stream[WEIGHTS_HEADER + rng_below(r, kept - WEIGHTS_HEADER)] =
                    trial % 4 == 1 ? 0 : (uint8_t)rng_next(r);
        const bool good = decode_plainly(&plain, twin, stream, kept);
        assert_int_equal(weights_decode(&fast, twin, stream, kept) == STATUS_OK, good);
        if (good) assert_memory_equal(fast.q, plain.q, q->rows * q->cols);
        free(stream);
    }
    free(plain.q), free(fast.q), free(bytes);
}

static void decoding_is_what_the_format_says(void **state) {
    (void)state;
    rng r = rng_seed(11);
    for (int bits = 2; bits <= 8; bits++)
        for (int64_t cols = 1; cols < 80; cols += 13) /* whole runs of columns, and parts of one */
            for (int kind = 0; kind < 4; kind++) {
                const float size = (float)(1 << bits) / 6;
                quantized q = random_codes(33, cols, bits, size, 0.5f, (uint64_t)(100 * bits + kind)), twin = q;
                const bool paths = kind == 2 && bits > 2;
                if (paths) {
                    q.trellis = 8;
                    for (int64_t i = 0; i < q.rows * cols; i++) q.q[i] /= 2;
                    for (int64_t i = 0; i < q.rows; i++)
                        trellis_points(trellis_of(8), q.q + i * cols, cols, q.q + i * cols);
                }
                twin.q = xmalloc((size_t)(q.rows * cols));
                memcpy(twin.q, q.q, (size_t)(q.rows * cols));
                for (int64_t i = 0; i < q.rows * cols && kind == 1; i += 5) twin.q[i] = (int8_t)(twin.q[i] / 2);
                for (int64_t i = 0; i < q.rows * cols && kind == 3; i++) /* columns with means */
                    q.q[i] = (int8_t)(i % cols % 5 && q.q[i] < q.levels ? q.q[i] + 1 : q.q[i]);
                q.scale[5] = 0;
                memset(q.q + 5 * cols, 0, (size_t)cols);
                agree_on(&q, kind == 1 || bits % 2 ? &twin : NULL, &r);
                free(twin.q);
                quantized_free(&q);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_is_what_the_format_says),
        cmocka_unit_test(every_shape_comes_back),
        cmocka_unit_test(equal_rows_cost_their_entropy),
        cmocka_unit_test(unequal_rows_and_columns_cost_less),
        cmocka_unit_test(columns_with_means_cost_less),
        cmocka_unit_test(a_twin_helps_where_it_is_one),
        cmocka_unit_test(paths_of_a_trellis_come_back),
        cmocka_unit_test(groups_with_scales_come_back),
        cmocka_unit_test(the_stream_is_fixed),
        cmocka_unit_test(extreme_probabilities),
        cmocka_unit_test(any_bytes_decode_to_something_or_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

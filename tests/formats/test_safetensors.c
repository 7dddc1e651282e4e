#include "test.h"

#include "formats/safetensors.h"
#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const char parity[] = "tests/parity/looped"; /* written by Hugging Face's library */

/* ---- files made by hand ---- */

/* A file of the given header and `data_bytes` bytes of data 0, 1, 2, …; free() it. */
static uint8_t *make(const char *header, size_t data_bytes, size_t *count) {
    uint64_t length = strlen(header);
    *count = 8 + length + data_bytes;
    uint8_t *bytes = xmalloc(*count);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++) bytes[8 + length + i] = (uint8_t)i;
    return bytes;
}

static status parse(const char *header, size_t data_bytes) {
    size_t count;
    uint8_t *bytes = make(header, data_bytes, &count);
    safetensors s;
    status result = safetensors_parse(&s, "x.safetensors", bytes, count);
    if (result == STATUS_OK) safetensors_close(&s);
    free(bytes);
    return result;
}

static void good_headers(void **state) {
    (void)state;
    assert_ok(parse("{}", 0));
    assert_ok(parse("{}      ", 0));
    assert_ok(parse("{\"__metadata__\":{\"format\":\"pt\"}}", 0));
    assert_ok(parse("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4));
    assert_ok(parse("{\"a\":{\"dtype\":\"U8\",\"shape\":[2,0],\"data_offsets\":[3,3]},"
                    "\"b\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[0,3]}}",
                    3));
}

static void bad_headers(void **state) {
    (void)state;
    const struct {
        const char *header;
        size_t data_bytes;
        const char *part;
    } cases[] = {
        {"", 0, "not valid JSON"},
        {"[]", 0, "not a JSON object"},
        {"{} {}", 0, "not valid JSON"},
        {"{", 0, "not valid JSON"},
        {"{\"a\":3}", 0, "tensor a: expected a JSON object"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor a: no \"dtype\""},
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "tensor a: expected dtype F32"},
        {"{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "found f32"},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "tensor a: no \"shape\""},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, "dimension 0"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1.5],\"data_offsets\":[0,1]}}", 1, "dimension 1"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1e300],\"data_offsets\":[0,1]}}", 1, "dimension 0"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[\"1\"],\"data_offsets\":[0,1]}}", 1, "dimension 0"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "dimension 1"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, "more than 4 dimensions"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "\"data_offsets\" are not two sizes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "\"data_offsets\" are not two sizes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[-1,0]}}", 1, "\"data_offsets\" are not two sizes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 1, "expected offsets within 1 bytes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1, "found [1, 0]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, "needs 4 bytes, its offsets hold 2"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
         3, "tensor b: expected its data at offset 2, found 1 (an overlap)"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
         3, "tensor b: expected its data at offset 1, found 2 (a gap)"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 3, "expected 1 bytes of data, found 3"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         2, "tensor a: the name occurs twice"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"dtype\":\"I8\"}}", 1,
         "tensor a: \"dtype\" occurs twice"},
        {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor a: no \"dtype\""},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":7,\"data_offsets\":[0,1]}}", 1, "tensor a: no \"shape\""},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1, "\"data_offsets\" are not two sizes"},
        {"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "not valid JSON (at byte 9)"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},}", 1, "not valid JSON"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}", 1, "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_fails(parse(cases[i].header, cases[i].data_bytes), cases[i].part);
        assert_non_null(strstr(error_message(), "x.safetensors: "));
    }
}

/* `count` times the pattern, with a number for its "#", between `head` and `tail`; free() it. */
static char *repeat(const char *head, const char *pattern, const char *tail, int count) {
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    fputs(head, out);
    for (int i = 0; i < count; i++)
        for (const char *c = pattern; *c; c++) *c == '#' ? fprintf(out, "%x", (unsigned)i) : fputc(*c, out);
    fputs(tail, out);
    fclose(out);
    return text;
}

/* Bytes that this process has had in memory at most, the file's pages apart. */
static size_t peak_memory(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

/* Some 8 MB of header, in whichever way that is hardest. Time is bounded by the test's own limit: each takes a moment. */
static void large_headers_are_bounded(void **state) {
    (void)state;
    const struct {
        const char *head, *pattern, *tail, *part; /* part NULL: a good header */
        int count;
    } cases[] = {
        {"{", "\"#\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},",
         "\"\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", NULL, 130000},
        {"{\"__metadata__\":{", "\"#\":{},", "\"\":0}}", "expected 0 bytes of data, found 1", 600000},
        {"{\"a\":{\"x\":[", "[],", "0]}}", "no \"dtype\"", 2500000},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1],\"shape\":[", "1,", "1]}}", "more than 4 dimensions",
         4000000},
        {"{", "\"#\":0,", "\"\":0}", "tensor 0: expected a JSON object", 800000},
        {"{\"", "\\u20ac", "\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", NULL, 1250000},
        {"", "[", "", "not valid JSON", 8000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *header = repeat(cases[i].head, cases[i].pattern, cases[i].tail, cases[i].count);
        size_t count, length = strlen(header);
        uint8_t *bytes = make(header, 1, &count);
        free(header);
        safetensors s;
        pid_t child = fork(); /* the peak is a process's, and that of making the header must not hide it */
        if (child == 0) {
            size_t before = peak_memory();
            status outcome = safetensors_parse(&s, "x.safetensors", bytes, count);
            size_t used = peak_memory() - before;
            if (outcome != STATUS_OK && (!cases[i].part || !strstr(error_message(), cases[i].part))) _exit(1);
            if (outcome == STATUS_OK && cases[i].part) _exit(2);
            _exit(used > 5 * length / 2 ? 3 : 0);
        }
        int result;
        assert_int_equal(waitpid(child, &result, 0), child);
#ifdef __SANITIZE_ADDRESS__ /* has memory of its own for each byte */
        if (WEXITSTATUS(result) == 3) result = 0;
#endif
        if (result != 0) fail_msg("case %zu: outcome %d", i, result >> 8);
        free(bytes);
    }
}

static void bad_header_lengths(void **state) {
    (void)state;
    size_t count;
    uint8_t *bytes = make("{}", 0, &count);
    const uint64_t lengths[] = {3, 1 << 20, 100000001, UINT64_MAX, UINT64_MAX - 7};
    for (int i = 0; i < 5; i++) {
        safetensors s;
        memcpy(bytes, &lengths[i], 8);
        assert_fails(safetensors_parse(&s, "x", bytes, count), "expected a header of at most 2 bytes");
    }
    free(bytes);
}

/* ---- writing and reading back ---- */

static const float weights[6] = {0, -1.5f, 3.25f, INFINITY, 1e-42f, 7};
static const int32_t tokens[4] = {1, -2, 2147483647, 4};
static const uint16_t bf16[3] = {0x3f80, 0xc000, 0x7f80}; /* 1, -2, infinity */
static const uint16_t f16[6] = {0x3c00, 0xc000, 0x7c00, 0x0001, 0x83ff, 0x7bff};
static const uint8_t codes[5] = {9, 8, 7, 6, 5};

static const safetensor examples[] = {
    {"codes", DTYPE_U8, 1, {5}, codes, 5},         {"half \"quoted\"\n", DTYPE_F16, 2, {2, 3}, f16, 12},
    {"brain", DTYPE_BF16, 1, {3}, bf16, 6},        {"none", DTYPE_F32, 2, {0, 8}, NULL, 0},
    {"tokens", DTYPE_I32, 2, {2, 2}, tokens, 16},  {"blocks.0.w", DTYPE_F32, 2, {2, 3}, weights, 24},
    {"scalar", DTYPE_F32, 0, {0}, weights + 5, 4},
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

static void assert_same(const safetensors *s) {
    assert_int_equal(s->count, EXAMPLES);
    for (int i = 0; i < EXAMPLES; i++) {
        const safetensor *expected = &examples[i], *found = safetensors_find(s, expected->name);
        assert_non_null(found);
        assert_int_equal(found->type, expected->type);
        assert_int_equal(found->ndim, expected->ndim);
        for (int d = 0; d < found->ndim; d++) assert_int_equal(found->shape[d], expected->shape[d]);
        assert_int_equal(found->bytes, expected->bytes);
        if (found->bytes) assert_memory_equal(found->data, expected->data, found->bytes);
        if (i) assert_true(strcmp(s->tensors[i - 1].name, s->tensors[i].name) < 0);
    }
}

static void round_trip(void **state) {
    char *path = path_join(*state, "m.safetensors");
    uint64_t crc;
    assert_ok(safetensors_write(path, examples, EXAMPLES, &crc));
    safetensors s;
    assert_ok(safetensors_open(&s, path));
    assert_same(&s);
    assert_true(crc == crc64(0, s.map.bytes, s.map.count));
    for (int i = 0; i < s.count; i++) /* in place, each is aligned to its type */
        assert_int_equal((uintptr_t)s.tensors[i].data % dtype_bytes(s.tensors[i].type), 0);
    safetensors_close(&s);
    assert_ok(safetensors_write(path, NULL, 0, NULL));
    assert_ok(safetensors_open(&s, path));
    assert_int_equal(s.count, 0);
    assert_null(safetensors_find(&s, "brain"));
    safetensors_close(&s);
    free(path);
}

static void numbers_are_converted(void **state) {
    char *path = path_join(*state, "m.safetensors");
    assert_ok(safetensors_write(path, examples, EXAMPLES, NULL));
    safetensors s;
    assert_ok(safetensors_open(&s, path));
    float out[6];
    int32_t integers[4];
    assert_ok(safetensors_read_f32(&s, "brain", 1, (int64_t[]){3}, out));
    assert_true(out[0] == 1 && out[1] == -2 && out[2] == INFINITY);
    assert_ok(safetensors_read_f32(&s, "half \"quoted\"\n", 2, (int64_t[]){2, 3}, out));
    const float halves[6] = {1, -2, INFINITY, 0x1p-24f, -1023 * 0x1p-24f, 65504};
    assert_memory_equal(out, halves, sizeof halves);
    assert_ok(safetensors_read_f32(&s, "blocks.0.w", 2, (int64_t[]){2, 3}, out));
    assert_memory_equal(out, weights, sizeof weights);
    assert_ok(safetensors_read_i32(&s, "tokens", 2, (int64_t[]){2, 2}, integers));
    assert_memory_equal(integers, tokens, sizeof tokens);
    assert_ok(safetensors_read_f32(&s, "scalar", 0, NULL, out));
    assert_true(out[0] == 7);
    assert_fails(safetensors_read_f32(&s, "brains", 1, (int64_t[]){3}, out), "m.safetensors: no tensor brains");
    assert_fails(safetensors_read_f32(&s, "brain", 1, (int64_t[]){4}, out),
                 "tensor brain: expected shape [4], found [3]");
    assert_fails(safetensors_read_f32(&s, "brain", 2, (int64_t[]){3, 1}, out), "expected shape [3, 1]");
    assert_fails(safetensors_read_f32(&s, "codes", 1, (int64_t[]){5}, out), "tensor codes: expected F32");
    assert_fails(safetensors_read_i32(&s, "brain", 1, (int64_t[]){3}, integers),
                 "tensor brain: expected I32, found BF16");
    safetensors_close(&s);
    free(path);
}

static void every_truncation_is_refused(void **state) {
    char *path = path_join(*state, "m.safetensors");
    uint8_t *bytes;
    size_t count;
    assert_ok(safetensors_write(path, examples, EXAMPLES, NULL));
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    for (size_t length = 0; length < count; length++) {
        uint8_t *part = xmalloc(length); /* of its own, so that AddressSanitizer sees a read beyond it */
        memcpy(part, bytes, length);
        safetensors s;
        assert_fails(safetensors_parse(&s, "cut", part, length), "cut: ");
        free(part);
    }
    assert_ok(file_write_whole(path, bytes, 100));
    safetensors s;
    assert_fails(safetensors_open(&s, path), path);
    assert_ok(file_write_whole(path, "", 0));
    assert_fails(safetensors_open(&s, path), "found only 0 bytes");
    free(bytes);
    free(path);
}

/* A changed byte of the header is either refused or gives tensors that lie within the file. */
static void changed_headers_stay_within_the_file(void **state) {
    char *path = path_join(*state, "m.safetensors");
    uint8_t *bytes;
    size_t count;
    uint64_t header;
    assert_ok(safetensors_write(path, examples, EXAMPLES, NULL));
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    memcpy(&header, bytes, 8);
    for (size_t i = 0; i < 8 + header; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (uint8_t)(1 << bit);
            safetensors s;
            if (safetensors_parse(&s, "x", bytes, count) == STATUS_OK) {
                for (int t = 0; t < s.count; t++) {
                    const uint8_t *data = s.tensors[t].data;
                    assert_true(data >= bytes + 8 + header && data + s.tensors[t].bytes <= bytes + count);
                }
                safetensors_close(&s);
            }
            bytes[i] ^= (uint8_t)(1 << bit);
        }
    free(bytes);
    free(path);
}

static void wrong_tensors_are_not_written(void **state) {
    char *path = path_join(*state, "m.safetensors");
    safetensor twice[] = {{"a", DTYPE_U8, 1, {5}, codes, 5},
                          {"b", DTYPE_F32, 1, {6}, weights, 24},
                          {"a", DTYPE_F32, 1, {6}, weights, 24}};
    safetensor reserved = {"__metadata__", DTYPE_U8, 1, {5}, codes, 5}, uneven = {"a", DTYPE_F32, 1, {5}, weights, 24};
    assert_fails(safetensors_write(path, twice, 3, NULL), "tensor a: the name occurs twice");
    assert_fails(safetensors_write(path, &reserved, 1, NULL), "reserved");
    assert_fails(safetensors_write(path, &uneven, 1, NULL), "needs 20 bytes, 24 were given");
    assert_false(path_exists(path));
    free(path);
}

/* ---- files of other programs ---- */

static void files_of_hugging_face(void **state) {
    (void)state;
    const char *names[] = {"model.safetensors", "io.safetensors", "grads.safetensors"};
    for (int f = 0; f < 3; f++) {
        char *path = path_join(parity, names[f]);
        safetensors s;
        assert_ok(safetensors_open(&s, path));
        assert_true(s.count > 3);
        for (int i = 0; i < s.count; i++) {
            const safetensor *t = &s.tensors[i];
            if (t->type == DTYPE_I32) continue;
            float *values = xmalloc(t->bytes / dtype_bytes(t->type) * sizeof *values);
            assert_ok(safetensors_read_f32(&s, t->name, t->ndim, t->shape, values));
            for (size_t k = 0; k < t->bytes / dtype_bytes(t->type); k++) assert_true(isfinite(values[k]));
            free(values);
        }
        if (f == 1) {
            const safetensor *input = safetensors_find(&s, "input_ids"), *logits = safetensors_find(&s, "logits");
            assert_non_null(input);
            assert_non_null(logits);
            assert_int_equal(input->type, DTYPE_I32);
            assert_int_equal(logits->ndim, 3);
            assert_int_equal(logits->shape[0], input->shape[0]);
            assert_int_equal(logits->shape[1], input->shape[1]);
        }
        safetensors_close(&s);
        free(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_headers),
        cmocka_unit_test(bad_headers),
        cmocka_unit_test(bad_header_lengths),
        cmocka_unit_test(large_headers_are_bounded),
        in_scratch(round_trip),
        in_scratch(numbers_are_converted),
        in_scratch(every_truncation_is_refused),
        in_scratch(changed_headers_stay_within_the_file),
        in_scratch(wrong_tensors_are_not_written),
        cmocka_unit_test(files_of_hugging_face),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

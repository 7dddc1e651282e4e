/* gzip and zstd: whole, in pieces, cut, damaged, and bombs. */
#include "fetch/unpack.h"
#include "packed.h"

enum { BYTES = 200000 };

static char *some_text(void) {
    char *text = malloc(BYTES + 1);
    unsigned x = 1;
    for (int i = 0; i < BYTES; i++) {
        x = x * 1103515245 + 12345;
        text[i] = "abcdefgh ijk\n"[(x >> 16) % 13];
    }
    text[BYTES] = '\0';
    return text;
}

static status read_all(const char *path, char *out, size_t room, size_t *count) {
    unpacker *u;
    size_t got = 1;
    *count = 0;
    status s = unpack_open(&u, path);
    while (s == STATUS_OK && got > 0) {
        s = unpack_read(u, out + *count, room - *count, &got);
        if (s == STATUS_OK) *count += got;
        if (*count == room) break;
    }
    unpack_close(u);
    return s;
}

static void write_bytes(const char *path, const void *bytes, size_t count) {
    unlink(path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, count, f), count);
    fclose(f);
}

typedef uint8_t *packer(const void *bytes, size_t count, size_t *packed);

static void check_packing(const char *folder, packer *pack) {
    char *path = path_join(folder, "file"), *text = some_text(), *found = malloc(3 * BYTES);
    size_t packed, count;
    uint8_t *bytes = pack(text, BYTES, &packed), *twice = malloc(2 * packed);
    write_bytes(path, bytes, packed);
    assert_ok(read_all(path, found, 3 * BYTES, &count));
    assert_int_equal(count, BYTES);
    assert_memory_equal(found, text, BYTES);
    memcpy(twice, bytes, packed); /* a stream behind the other, as both formats allow */
    memcpy(twice + packed, bytes, packed);
    write_bytes(path, twice, 2 * packed);
    assert_ok(read_all(path, found, 3 * BYTES, &count));
    assert_int_equal(count, 2 * BYTES);
    assert_memory_equal(found + BYTES, text, BYTES);
    for (size_t at = 4; at < packed; at += at < 100 || at > packed - 100 ? 1 : 997) {
        write_bytes(path, bytes, at);
        assert_fails(read_all(path, found, 3 * BYTES, &count), "truncated");
        bytes[at] ^= 0x20; /* checksums find it, or it meant nothing (a file's date) */
        write_bytes(path, bytes, packed);
        if (read_all(path, found, 3 * BYTES, &count) == STATUS_OK) {
            assert_int_equal(count, BYTES);
            assert_memory_equal(found, text, BYTES);
        }
        bytes[at] ^= 0x20;
    }
    free(twice);
    free(bytes);
    free(found);
    free(text);
    free(path);
}

static void test_gzip(void **state) {
    check_packing(*state, gzip_of);
}

static void test_zstd(void **state) {
    check_packing(*state, zstd_of);
}

static void check_bomb(const char *folder, packer *pack) {
    char *path = path_join(folder, "bomb"), *zeros = calloc(1, 200 << 20), *piece = malloc(1 << 16);
    size_t packed, got = 1, total = 0;
    uint8_t *bytes = pack(zeros, 200 << 20, &packed);
    unpacker *u;
    write_bytes(path, bytes, packed);
    assert_ok(unpack_open(&u, path));
    status s = STATUS_OK;
    while (s == STATUS_OK && got) {
        s = unpack_read(u, piece, 1 << 16, &got);
        total += got;
    }
    assert_fails(s, "expected text, at most 250 times its packed bytes");
    assert_true(total < UNPACK_FREE_BYTES + (2 << 20));
    unpack_close(u);
    free(bytes);
    free(piece);
    free(zeros);
    free(path);
}

static void test_bombs(void **state) {
    check_bomb(*state, gzip_of);
    check_bomb(*state, zstd_of);
}

static void check_lines(const char *path, const char *text, int count, const char *const *lines) {
    unpacker *u;
    char *line;
    size_t bytes;
    write_bytes(path, text, strlen(text));
    assert_ok(unpack_open(&u, path));
    for (int i = 0; i < count; i++) {
        assert_ok(unpack_line(u, &line, &bytes));
        assert_string_equal(line, lines[i]);
        assert_int_equal(bytes, strlen(lines[i]));
    }
    assert_ok(unpack_line(u, &line, &bytes));
    assert_null(line);
    assert_ok(unpack_line(u, &line, &bytes));
    assert_null(line);
    unpack_close(u);
}
#define check_lines(path, text, ...)                                                                                   \
    check_lines(path, text, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *const[]){__VA_ARGS__})

static void test_lines(void **state) {
    char *path = path_join(*state, "lines"), *many = malloc(300001), *found, *longer;
    check_lines(path, "a\nbc\r\n\nd", "a", "bc", "", "d");
    check_lines(path, "a\n", "a");
    check_lines(path, "\n\n", "", "");
    memset(many, 'x', 300000);
    many[300000] = '\0';
    longer = xasprintf("%s\n%s\ny", many, many);
    check_lines(path, longer, many, many, "y");
    unpacker *u;
    size_t bytes;
    write_bytes(path, "", 0);
    assert_ok(unpack_open(&u, path));
    assert_ok(unpack_line(u, &found, &bytes));
    assert_null(found);
    unpack_close(u);
    char *huge = malloc(UNPACK_MAX_LINE + (1 << 20));
    memset(huge, 'x', UNPACK_MAX_LINE + (1 << 20));
    write_bytes(path, huge, UNPACK_MAX_LINE + (1 << 20));
    assert_ok(unpack_open(&u, path));
    assert_fails(unpack_line(u, &found, &bytes), "expected lines of at most");
    unpack_close(u);
    free(huge);
    free(longer);
    free(many);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {in_scratch(test_gzip), in_scratch(test_zstd), in_scratch(test_bombs),
                                       in_scratch(test_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

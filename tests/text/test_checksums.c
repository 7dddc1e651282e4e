#include "test.h"

#include "base/json_seal.h"
#include "base/random.h"
#include "text/checksums.h"
#include "text/documents.h"
#include "text/loader.h"
#include "text/sentencepiece.h"
#include <stdio.h>
#include <utime.h>

enum { TOKENS = 60 };
static const char *const names[] = {"x_train_000000.bin", "x_train_000000.docs.tsv", "tokenizer.model"};

static bool next_line(void *context, const char **text, size_t *bytes) {
    int *left = context;
    *text = "a line of text to train on, and another one";
    *bytes = strlen(*text);
    return (*left)-- > 0;
}

/* A folder with a shard, its table, a tokenizer and a data.json that knows them all. */
static int create(void **state) {
    char *folder = scratch_create(), *paths[3];
    for (int i = 0; i < 3; i++) paths[i] = path_join(folder, names[i]);
    int32_t tokens[TOKENS];
    for (int i = 0; i < TOKENS; i++) tokens[i] = i % 7;
    uint64_t crc[3];
    assert_ok(shard_write(paths[0], tokens, TOKENS, 300, &crc[0]));
    assert_ok(file_write_whole(paths[1], "0\t60\t90\tcode\ta.py\n", 18));
    tokenizer *t;
    int lines = 5;
    const void *bytes;
    size_t count;
    assert_ok(sentencepiece_train(&t, 300, next_line, &lines, 1));
    tokenizer_bytes(t, &bytes, &count);
    assert_ok(file_write_whole(paths[2], bytes, count));
    tokenizer_close(t);
    cJSON *root = cJSON_CreateObject(), *files = cJSON_AddObjectToObject(root, "files");
    for (int i = 0; i < 3; i++) {
        if (i > 0) assert_ok(file_crc64(paths[i], &crc[i]));
        checksums_add(files, paths[i], crc[i]);
        free(paths[i]);
    }
    json_seal(root);
    char *path = path_join(folder, DATA_JSON);
    assert_ok(json_write_file(path, root));
    free(path);
    cJSON_Delete(root);
    *state = folder;
    return 0;
}

/* What a training opens. */
static status open_all(const char *folder) {
    loader *l;
    tokenizer *t;
    char *path = path_join(folder, "tokenizer.model");
    status s = tokenizer_open(&t, path);
    free(path);
    TRY(s);
    tokenizer_close(t);
    TRY(loader_open(&l, folder, 300, -1, 1, 8, false, 1));
    loader_close(l);
    return STATUS_OK;
}

/* As a fault of the disk does it: no write, no new time. */
static void flip(const char *path, uint64_t bit) {
    FILE *f = fopen(path, "r+be");
    assert_non_null(f);
    fseek(f, (long)(bit / 8), SEEK_SET);
    int byte = fgetc(f);
    fseek(f, (long)(bit / 8), SEEK_SET);
    fputc(byte ^ 1 << bit % 8, f);
    fclose(f);
}

static void every_changed_bit_is_noticed(void **state) {
    rng r = rng_seed(1);
    for (int file = 0; file < 3; file++) {
        char *path = path_join(*state, names[file]);
        uint8_t *bytes;
        size_t count;
        assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
        free(bytes);
        for (int i = 0; i < 40; i++) {
            uint64_t bit = rng_below(&r, 8 * count);
            flip(path, bit);
            assert_fails(open_all(*state), path);
            assert_non_null(strstr(error_message(), "truncated or corrupted: expected CRC-64"));
            flip(path, bit);
        }
        assert_ok(open_all(*state));
        free(path);
    }
}

/* A bit of data.json that means something is noticed; white space means nothing. */
static void data_json_is_sealed(void **state) {
    char *path = path_join(*state, DATA_JSON);
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    size_t refused = 0;
    for (uint64_t bit = 0; bit < 8 * count; bit++) {
        flip(path, bit);
        status s = open_all(*state);
        if (s != STATUS_OK) {
            refused++;
            assert_non_null(strstr(error_message(), path));
        } else {
            assert_true(bytes[bit / 8] <= ' ');
        }
        flip(path, bit);
    }
    assert_true(refused > 7 * count);
    assert_ok(open_all(*state));
    free(bytes);
    free(path);
}

static void a_shard_that_is_gone_is_missed(void **state) {
    char *path = path_join(*state, names[0]), *other = path_join(*state, "x_train_000001.bin"), **listed;
    size_t count;
    assert_ok(checksums_names(*state, &listed, &count));
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(listed[i], names[i]);
        free(listed[i]);
    }
    free(listed);
    assert_int_equal(rename(path, other), 0);
    assert_fails(open_all(*state), path);
    assert_non_null(strstr(error_message(), "data.json lists"));
    free(path);
    free(other);
}

static void other_folders_are_not_checked(void **state) {
    char *path = path_join(*state, DATA_JSON), *shard_path = path_join(*state, names[0]);
    flip(shard_path, 8 * 1025);                                                  /* a token */
    assert_ok(file_write_whole(path, "{\"seed\": 1, \"heldout\": 0.05}\n", 29)); /* an older moec's */
    assert_ok(open_all(*state));
    assert_int_equal(remove(path), 0);
    assert_ok(open_all(*state));
    assert_ok(file_write_whole(path, "{\"files\": {}}\n", 14)); /* checksums, and nobody vouches for them */
    assert_fails(open_all(*state), "data.json: \"crc64\": expected a string");
    free(path);
    free(shard_path);
}

/* It is checked once in a process, but a changed file is another file. */
static void a_file_may_change_later(void **state) {
    char *path = path_join(*state, names[0]);
    assert_ok(open_all(*state));
    flip(path, 8 * 1025);
    const struct utimbuf later = {.actime = 2000000000, .modtime = 2000000000};
    assert_int_equal(utime(path, &later), 0);
    assert_fails(open_all(*state), "truncated or corrupted");
    free(path);
}

#define with_folder(test) cmocka_unit_test_setup_teardown(test, create, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        with_folder(every_changed_bit_is_noticed),   with_folder(data_json_is_sealed),
        with_folder(a_shard_that_is_gone_is_missed), with_folder(other_folders_are_not_checked),
        with_folder(a_file_may_change_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "test.h"

#include "text/kept_rows.h"
#include "text/loader.h"

enum { T = 4, BOS = 1 };

/* A folder with two training shards of the tokens 0 … 9 and 10 … 26 (26 targets are six rows of four and two left over),
 * and a held-out one that must not be read. */
static int create(void **state) {
    char *folder = scratch_create();
    int32_t tokens[27];
    for (int i = 0; i < 27; i++) tokens[i] = i;
    const char *names[3] = {"x_train_000000.bin", "x_train_000001.bin", "x_val_000000.bin"};
    const int start[3] = {0, 10, 0}, count[3] = {10, 17, 27};
    for (int i = 0; i < 3; i++) {
        char *path = path_join(folder, names[i]);
        assert_ok(shard_write(path, tokens + start[i], count[i], 27, NULL));
        free(path);
    }
    *state = folder;
    return 0;
}

static void rows_in_order_across_shards_and_epochs(void **state) {
    loader *l;
    assert_ok(loader_open(&l, *state, 27, -1, 2, T, false, 0));
    assert_int_equal(loader_tokens(l), 27);
    for (int pass = 0; pass < 2; pass++)
        for (int start = 0; start < 24; start += 2 * T) { /* B·T + 1 contiguous tokens */
            batch b;
            assert_ok(loader_next(l, &b));
            assert_int_equal(b.batch, 2);
            assert_int_equal(b.length, T);
            for (int i = 0; i < 2 * T; i++) {
                assert_int_equal(b.input_ids[i], start + i);
                assert_int_equal(b.target_ids[i], start + i + 1);
                assert_int_equal(b.first[i], 0);
            }
        }
    assert_int_equal(loader_tell(l).epoch, 2);
    assert_int_equal(loader_tell(l).window, 0);
    loader_close(l);
}

/* Rows are known by their first token, 0, 4, … 20. */
static void read_epoch(loader *l, int first_tokens[6]) {
    for (int i = 0; i < 6; i++) {
        batch b;
        assert_ok(loader_next(l, &b));
        first_tokens[i] = b.input_ids[0];
        for (int t = 0; t < T; t++) assert_int_equal(b.target_ids[t], first_tokens[i] + t + 1);
    }
}

static void shuffling_visits_every_row_once_an_epoch(void **state) {
    loader *l, *same, *other;
    assert_ok(loader_open(&l, *state, 27, -1, 1, T, true, 5));
    assert_ok(loader_open(&same, *state, 27, -1, 1, T, true, 5));
    assert_ok(loader_open(&other, *state, 27, -1, 1, T, true, 6));
    int changed_by_epoch = 0, changed_by_seed = 0, before[6] = {0};
    for (int epoch = 0; epoch < 20; epoch++) {
        int rows[6], same_rows[6], other_rows[6], seen[6] = {0};
        read_epoch(l, rows);
        read_epoch(same, same_rows);
        read_epoch(other, other_rows);
        assert_memory_equal(rows, same_rows, sizeof rows);
        for (int i = 0; i < 6; i++) seen[rows[i] / T]++;
        for (int i = 0; i < 6; i++) assert_int_equal(seen[i], 1);
        changed_by_seed += memcmp(rows, other_rows, sizeof rows) != 0;
        changed_by_epoch += memcmp(rows, before, sizeof rows) != 0;
        memcpy(before, rows, sizeof rows);
    }
    assert_true(changed_by_seed > 15 && changed_by_epoch > 15);
    loader_close(l);
    loader_close(same);
    loader_close(other);
}

static void seeking_gives_the_same_rows(void **state) {
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        loader *l, *resumed;
        assert_ok(loader_open(&l, *state, 27, BOS, 4, T, shuffle, 9));
        assert_ok(loader_open(&resumed, *state, 27, BOS, 4, T, shuffle, 9));
        for (int i = 0; i < 8; i++) { /* a batch of four rows begins in one epoch and ends in the next */
            loader_seek(resumed, loader_tell(l));
            batch a, b;
            assert_ok(loader_next(l, &a));
            assert_ok(loader_next(resumed, &b));
            assert_memory_equal(a.input_ids, b.input_ids, 4 * T * sizeof(int32_t));
            assert_memory_equal(a.target_ids, b.target_ids, 4 * T * sizeof(int32_t));
            assert_memory_equal(a.first, b.first, 4 * T * sizeof(int32_t));
        }
        assert_int_equal(loader_tell(l).epoch, 32 / 6);
        assert_int_equal(loader_tell(l).window, 32 % 6);
        loader_close(l);
        loader_close(resumed);
    }
}

static void documents_start_at_bos(void **state) {
    (void)state;
    const int32_t ids[8] = {5, 6, BOS, 7, BOS, BOS, 8, 9}, expected[8] = {0, 0, 2, 2, 4, 5, 5, 5}, one[8] = {0};
    int32_t first[8];
    document_starts(ids, 8, BOS, first);
    assert_memory_equal(first, expected, sizeof first);
    document_starts(ids, 8, -1, first);
    assert_memory_equal(first, one, sizeof first);
}

static void first_counts_within_the_row(void **state) {
    loader *l;
    batch b;
    assert_ok(loader_open(&l, *state, 27, 6, 2, T, false, 0)); /* the token 6 stands third in row 1 */
    assert_ok(loader_next(l, &b));
    const int32_t expected[2 * T] = {0, 0, 0, 0, 0, 0, 2, 2};
    assert_memory_equal(b.first, expected, sizeof expected);
    loader_close(l);
}

/* x_train_000000.bin has 10 tokens, x_train_000001.bin 17. */
static void write_table(const char *folder, const char *name, const char *text) {
    char *path = path_join(folder, name);
    assert_ok(file_write_whole(path, text, strlen(text)));
    free(path);
}

static void the_domain_is_the_target_s(void **state) {
    enum { CODE, BIBLE, MATHS };
    loader *l;
    batch b;
    int count;
    assert_ok(loader_open(&l, *state, 27, -1, 3, T, false, 0));
    assert_ok(loader_next(l, &b));
    assert_null(b.domain); /* no table anywhere */
    loader_domains(l, &count);
    assert_int_equal(count, 0);
    loader_close(l);
    write_table(*state, "x_train_000001.docs.tsv", "0\t1\t9\tmaths\ta\n1\t6\t4\tbible\tb\n7\t10\t0\tmaths\tc\n");
    assert_ok(loader_open(&l, *state, 27, -1, 3, T, false, 0));
    const int32_t unknown = NO_DOMAIN;
    assert_ok(loader_next(l, &b)); /* targets 1 … 12; the first shard has no table */
    for (int i = 0; i < 9; i++) assert_int_equal(b.domain[i], unknown);
    const int32_t half[3] = {0, 1, 1};
    assert_memory_equal(b.domain + 9, half, sizeof half);
    loader_close(l);
    write_table(*state, "x_train_000000.docs.tsv", "0\t3\t9\tcode\ta\n3\t2\t4\tbible\tb\n5\t5\t0\tcode\tc\n");
    assert_ok(loader_open(&l, *state, 27, -1, 3, T, false, 0));
    const char *const *names = loader_domains(l, &count);
    assert_int_equal(count, 3);
    assert_string_equal(names[CODE], "code");
    assert_string_equal(names[BIBLE], "bible");
    assert_string_equal(names[MATHS], "maths");
    static const int32_t of_token[27] = {CODE,  CODE,  CODE,  BIBLE, BIBLE, CODE,  CODE,  CODE,  CODE,
                                         CODE,  MATHS, BIBLE, BIBLE, BIBLE, BIBLE, BIBLE, BIBLE, MATHS,
                                         MATHS, MATHS, MATHS, MATHS, MATHS, MATHS, MATHS, MATHS, MATHS};
    for (int pass = 0; pass < 3; pass++) { /* once around and on */
        assert_ok(loader_next(l, &b));
        for (int i = 0; i < 3 * T; i++) assert_int_equal(b.domain[i], of_token[b.target_ids[i]]);
    }
    loader_close(l);
    write_table(*state, "x_train_000000.docs.tsv", "0\t3\t9\tcode\ta\n");
    assert_fails(loader_open(&l, *state, 27, -1, 3, T, false, 0), "x_train_000000.docs.tsv");
}

enum { LONG = 5001, ROWS = 1000, LONG_T = 5 }; /* a text of 1,000 rows whose tokens are their positions */

static void write_long(const char *folder, char **path) {
    int32_t *ids = xmalloc(LONG * sizeof *ids);
    for (int i = 0; i < LONG; i++) ids[i] = i;
    *path = path_join(folder, "long.bin");
    assert_ok(shard_write(*path, ids, LONG, LONG, NULL));
    free(ids);
}

/* Two epochs of the rows, by their first token; batches of three. */
static int read_rows(loader *l, int *rows, int rows_an_epoch) {
    int count = 0;
    while (count < 2 * rows_an_epoch) {
        batch b;
        assert_ok(loader_next(l, &b));
        for (int i = 0; i < 3; i++) rows[count++] = b.input_ids[i * LONG_T] / LONG_T;
    }
    return count;
}

static void kept_rows_are_passed_over_and_the_others_keep_their_order(void **state) {
    enum { KEPT = 8 }; /* ⌈40 / 5⌉ */
    char *path;
    write_long(*state, &path);
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        loader *l, *whole;
        bool kept[ROWS] = {false};
        assert_ok(loader_open(&l, path, LONG, -1, 3, LONG_T, shuffle, 5));
        assert_ok(loader_open(&whole, path, LONG, -1, 3, LONG_T, shuffle, 5));
        assert_int_equal(loader_keep(l, 36), KEPT);
        batch b;
        for (int64_t first = 0; loader_kept(l, first, &b) == STATUS_OK && b.batch > 0; first += b.batch) {
            assert_int_equal(b.batch, first == 6 ? 2 : 3);
            for (int64_t i = 0; i < b.batch; i++) {
                const int row = b.input_ids[i * LONG_T] / LONG_T;
                assert_int_equal(row / (ROWS / KEPT), first + i); /* one in each eighth of the text */
                kept[row] = true;
                for (int t = 0; t < LONG_T; t++) assert_int_equal(b.target_ids[i * LONG_T + t], row * LONG_T + t + 1);
            }
        }
        int rows[2 * ROWS + 3], all[2 * ROWS + 3];
        const int count = read_rows(l, rows, ROWS - KEPT), all_count = read_rows(whole, all, ROWS);
        for (int i = 0, next = 0; i < all_count && next < count; i++)
            if (!kept[all[i]]) assert_int_equal(rows[next++], all[i]);
        for (int i = 0; i < count; i++) assert_false(kept[rows[i]]);
        loader_close(l);
        loader_close(whole);
    }
    free(path);
}

static void seeking_passes_over_kept_rows_too(void **state) {
    char *path;
    write_long(*state, &path);
    loader *l, *resumed;
    assert_ok(loader_open(&l, path, LONG, -1, 7, LONG_T, true, 2));
    assert_ok(loader_open(&resumed, path, LONG, -1, 7, LONG_T, true, 2));
    assert_int_equal(loader_keep(l, 10000), ROWS / KEPT_ROWS_SHARE);
    assert_int_equal(loader_keep(resumed, 10000), ROWS / KEPT_ROWS_SHARE);
    for (int i = 0; i < 300; i++) {
        batch a, b;
        loader_seek(resumed, loader_tell(l));
        assert_ok(loader_next(l, &a));
        assert_ok(loader_next(resumed, &b));
        assert_memory_equal(a.input_ids, b.input_ids, 7 * LONG_T * sizeof(int32_t));
    }
    loader_close(l);
    loader_close(resumed);
    free(path);
}

static void little_text_keeps_nothing(void **state) {
    loader *l;
    batch b;
    assert_ok(loader_open(&l, *state, 27, -1, 1, T, false, 0));
    assert_int_equal(loader_keep(l, 1000), 0);
    assert_ok(loader_kept(l, 0, &b));
    assert_int_equal(b.batch, 0);
    loader_close(l);
}

static void patterns(void **state) {
    char *folder = *state, *glob = path_join(folder, "*_train_*1.bin"), *one = path_join(folder, "x_val_000000.bin");
    loader *l;
    assert_ok(loader_open(&l, glob, 27, -1, 1, T, false, 0));
    assert_int_equal(loader_tokens(l), 17);
    loader_close(l);
    assert_ok(loader_open(&l, one, 27, -1, 1, 26, false, 0));
    assert_int_equal(loader_tokens(l), 27);
    loader_close(l);
    assert_fails(loader_open(&l, one, 27, -1, 1, 27, false, 0), "expected at least 28 tokens");
    assert_fails(loader_open(&l, folder, 20, -1, 1, T, false, 0), "x_train_000001.bin: expected token ids below");
    assert_fails(loader_open(&l, "/nowhere/*.bin", 27, -1, 1, T, false, 0), "/nowhere/*.bin");
    assert_fails(loader_open(&l, folder, 27, -1, 0, T, false, 0), "found 0 rows");
    char *empty = scratch_create();
    assert_fails(loader_open(&l, empty, 27, -1, 1, T, false, 0), "*_train_*.bin");
    scratch_remove(empty);
    free(glob);
    free(one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_in_order_across_shards_and_epochs),
        cmocka_unit_test(shuffling_visits_every_row_once_an_epoch),
        cmocka_unit_test(seeking_gives_the_same_rows),
        cmocka_unit_test(documents_start_at_bos),
        cmocka_unit_test(first_counts_within_the_row),
        cmocka_unit_test(kept_rows_are_passed_over_and_the_others_keep_their_order),
        cmocka_unit_test(seeking_passes_over_kept_rows_too),
        cmocka_unit_test(little_text_keeps_nothing),
        cmocka_unit_test(patterns),
        cmocka_unit_test(the_domain_is_the_target_s), /* last: the folder has tables then */
    };
    return cmocka_run_group_tests(tests, create, scratch_teardown);
}

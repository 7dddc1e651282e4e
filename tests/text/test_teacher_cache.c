/* A teacher's cache: what was written comes back, and what was begun goes on. */
#include "teacher_files.h"

#include "base/half.h"
#include "letters_tokenizer.h"
#include <math.h>

static float rounded(float x) {
    return half_to_float(half_from_float(x));
}

static void assert_record(int64_t i, const teacher_facts *f, const int32_t *ids, const float *log_probs, float rest) {
    int32_t want[TEACHER_MAX_TOP];
    float log_want[TEACHER_MAX_TOP], rest_want;
    record_of(i, f->k, f->vocab_size, want, log_want, &rest_want);
    for (int j = 0; j < f->k; j++) {
        assert_int_equal(ids[j], want[j]);
        assert_true(log_probs[j] == (want[j] < 0 ? -INFINITY : rounded(log_want[j])));
    }
    assert_true(rest == rounded(rest_want));
}

static void every_record_comes_back(void **state) {
    static const int shapes[][2] = {{K, VOCAB}, {1, 301}, {20, 151936}, {256, 65536}, {3, 1 << 24}};
    for (int i = 0; i < 5; i++) {
        const teacher_facts facts = facts_of(shapes[i][0], shapes[i][1]);
        char *folder = xasprintf("%s/%d", (const char *)*state, i);
        write_cache(folder, &facts, TOKENS);
        shard s = shard_of(TOKENS);
        teacher_cache *c;
        assert_ok(teacher_cache_open(&c, folder, &s, 1, 11, facts.vocab_size));
        assert_memory_equal(teacher_cache_facts(c), &facts, sizeof facts);
        int32_t *ids = xmalloc((size_t)(TOKENS * facts.k) * sizeof *ids);
        float *log_probs = xmalloc((size_t)(TOKENS * facts.k) * sizeof *log_probs), rest[TOKENS];
        for (int64_t first = 650; first >= 0; first -= 130) { /* backwards, over the blocks' ends */
            assert_ok(teacher_cache_read(c, 0, first, 50, ids, log_probs, rest));
            for (int j = 0; j < 50; j++)
                assert_record(first + j, &facts, ids + j * facts.k, log_probs + j * facts.k, rest[j]);
        }
        assert_ok(teacher_cache_read(c, 0, 0, TOKENS, ids, log_probs, rest));
        for (int j = 0; j < TOKENS; j++) assert_record(j, &facts, ids + j * facts.k, log_probs + j * facts.k, rest[j]);
        teacher_cache_close(c);
        shard_close(&s);
        free(ids);
        free(log_probs);
        free(folder);
    }
}

static void twenty_of_qwen_s_are_at_most_90_bytes(void **state) {
    (void)state;
    const teacher_facts f = facts_of(20, 151936);
    assert_int_equal(teacher_record_bytes(20, 151936), 87);
    assert_true((double)teacher_file_bytes(&f, 1000000) / 1e6 < 87.1);
    assert_true((double)teacher_file_bytes(&f, 1000) / 1e3 < 90);
    assert_int_equal(teacher_record_bytes(1, 2), 1 + 4);
    assert_int_equal(teacher_record_bytes(20, 65536), 40 + 42);
    assert_int_equal(teacher_record_bytes(20, 65537), 43 + 42);
}

/* The smallest float16 is −65504: what is less probable is there all the same. */
static void the_ends_of_float16(void **state) {
    const teacher_facts f = facts_of(2, 10);
    const int32_t ids[2] = {9, 0};
    const float log_probs[2] = {5e-4f, -1e30f};
    uint8_t record[16];
    int32_t back[2];
    float logs[2], rest;
    (void)state;
    teacher_record_pack(record, &f, ids, log_probs, -INFINITY);
    assert_true(teacher_record_unpack(record, &f, 10, back, logs, &rest));
    assert_memory_equal(back, ids, sizeof ids);
    assert_true(logs[0] == 0 && logs[1] == -65504 && rest == -INFINITY);
}

static void what_the_reader_cannot_say_is_the_rest(void **state) {
    const teacher_facts f = facts_of(3, 1000);
    const int32_t ids[3] = {999, 5, 998};
    const float log_probs[3] = {logf(0.5f), logf(0.25f), logf(0.125f)};
    uint8_t record[16];
    int32_t back[3];
    float logs[3], rest;
    (void)state;
    teacher_record_pack(record, &f, ids, log_probs, logf(0.125f));
    assert_true(teacher_record_unpack(record, &f, 998, back, logs, &rest));
    assert_int_equal(back[0], 5);
    assert_int_equal(back[1], -1);
    assert_int_equal(back[2], -1);
    assert_float_equal(expf(logs[0]), 0.25, 1e-3);
    assert_float_equal(expf(rest), 0.75, 1e-3);
    assert_true(logs[1] == -INFINITY);
}

/* ---- going on ---- */

static void assert_same_files(const char *a, const char *b) {
    uint8_t *x, *y;
    size_t n, m;
    assert_ok(file_read(a, FILE_ANY_SIZE, &x, &n));
    assert_ok(file_read(b, FILE_ANY_SIZE, &y, &m));
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void cut_file(const char *from, const char *to, size_t bytes) {
    uint8_t *all;
    size_t count;
    assert_ok(file_read(from, FILE_ANY_SIZE, &all, &count));
    assert_ok(file_write_whole(to, all, bytes < count ? bytes : count));
    free(all);
}

static void whatever_a_kill_left_goes_on_to_the_same_bytes(void **state) {
    const teacher_facts facts = facts_of(K, VOCAB);
    const int64_t block = teacher_block_bytes(&facts, TEACHER_BLOCK_RECORDS);
    char *whole_folder = path_join(*state, "whole"), *folder = path_join(*state, "cut");
    write_cache(whole_folder, &facts, TOKENS);
    char *whole = file_of(whole_folder, ""), *part = file_of(folder, ".part"), *done = file_of(folder, "");
    assert_ok(folder_create(folder));
    const int64_t lengths[] = {0, 1, block - 1, block, block + 1, 2 * block - 8, 2 * block, 2 * block + 100, 1 << 20};
    for (int i = 0; i < 9; i++) {
        cut_file(whole, part, (size_t)(TEACHER_HEADER_BYTES + lengths[i]));
        shard s = shard_of(TOKENS);
        teacher_writer *w;
        assert_ok(teacher_writer_open(&w, folder, &s, &facts));
        const int64_t blocks = lengths[i] / block < 2 ? lengths[i] / block : 2;
        assert_int_equal(teacher_writer_count(w), blocks * TEACHER_BLOCK_RECORDS);
        add_records(w, K, VOCAB, TOKENS - 1); /* a stop before the end */
        assert_ok(teacher_writer_close(w));
        assert_false(path_exists(done));
        teacher_cache *c;
        assert_fails(teacher_cache_open(&c, folder, &s, 1, 11, VOCAB), "x_train_000000.teacher.part: unfinished");
        assert_ok(teacher_writer_open(&w, folder, &s, &facts));
        assert_int_equal(teacher_writer_count(w), 2 * TEACHER_BLOCK_RECORDS);
        add_records(w, K, VOCAB, TOKENS);
        assert_ok(teacher_writer_close(w));
        assert_same_files(whole, done);
        assert_false(path_exists(part));
        assert_ok(teacher_writer_open(&w, folder, &s, &facts)); /* there is nothing left to do */
        assert_int_equal(teacher_writer_count(w), TOKENS);
        assert_ok(teacher_writer_close(w));
        assert_same_files(whole, done);
        assert_int_equal(remove(done), 0);
        shard_close(&s);
    }
    free(whole), free(part), free(done), free(whole_folder), free(folder);
}

static void a_damaged_last_block_is_made_again(void **state) {
    const teacher_facts facts = facts_of(K, VOCAB);
    write_cache(*state, &facts, TOKENS);
    char *path = file_of(*state, ""), *part = file_of(*state, ".part");
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    assert_int_equal(remove(path), 0);
    bytes[TEACHER_HEADER_BYTES + 2 * teacher_block_bytes(&facts, TEACHER_BLOCK_RECORDS) - 20] ^= 1;
    assert_ok(file_write_whole(part, bytes, count));
    shard s = shard_of(TOKENS);
    teacher_writer *w;
    assert_ok(teacher_writer_open(&w, *state, &s, &facts));
    assert_int_equal(teacher_writer_count(w), TEACHER_BLOCK_RECORDS);
    assert_ok(teacher_writer_close(w));
    shard_close(&s);
    free(bytes), free(path), free(part);
}

/* Records of one block, wherever it lies. */
static void add_block(teacher_writer *w, int64_t block) {
    const int64_t end = (block + 1) * TEACHER_BLOCK_RECORDS;
    assert_ok(teacher_writer_seek(w, block));
    assert_int_equal(teacher_writer_count(w), block * TEACHER_BLOCK_RECORDS);
    add_records(w, K, VOCAB, end < TOKENS ? end : TOKENS);
}

/* Several write, each its own blocks; whoever goes on after a kill finds those that are there, and makes what lacks. */
static void blocks_come_in_any_order(void **state) {
    const teacher_facts facts = facts_of(K, VOCAB);
    char *whole_folder = path_join(*state, "whole"), *folder = path_join(*state, "several");
    write_cache(whole_folder, &facts, TOKENS);
    char *whole = file_of(whole_folder, ""), *done = file_of(folder, ""), *part = file_of(folder, ".part");
    shard s = shard_of(TOKENS);
    teacher_writer *first, *second, *third;
    assert_int_equal(teacher_blocks(TOKENS), 3);
    assert_ok(teacher_writer_open(&first, folder, &s, &facts));
    assert_ok(teacher_writer_join(&second, folder, &s, &facts));
    add_block(second, 2);
    assert_ok(teacher_writer_close(second)); /* beyond the file's end */
    assert_false(path_exists(done));
    assert_fails(teacher_writer_check(first), "x_train_000000.teacher.part: tokens 0 to 255: expected a whole block");
    assert_ok(teacher_writer_close(first));

    assert_ok(
        teacher_writer_open(&first, folder, &s, &facts)); /* the last one is made again: it is not of full length */
    assert_int_equal(teacher_writer_count(first), 0);
    assert_int_equal(teacher_writer_lacks(first, 0), 0);
    assert_ok(teacher_writer_join(&second, folder, &s, &facts));
    add_block(second, 1);
    assert_ok(teacher_writer_close(second));
    assert_ok(teacher_writer_close(first));

    assert_ok(teacher_writer_open(&first, folder, &s, &facts)); /* a hole in front */
    assert_int_equal(teacher_writer_count(first), 0);
    assert_int_equal(teacher_writer_lacks(first, 0), 0);
    assert_int_equal(teacher_writer_lacks(first, 1), 2);
    assert_int_equal(teacher_writer_lacks(first, 3), 3);
    assert_ok(teacher_writer_join(&second, folder, &s, &facts));
    assert_ok(teacher_writer_join(&third, folder, &s, &facts));
    add_block(third, 2);
    add_block(second, 0);
    assert_ok(teacher_writer_close(third));
    assert_ok(teacher_writer_close(second));
    assert_false(path_exists(done));
    assert_ok(teacher_writer_check(first));
    assert_ok(teacher_writer_close(first));
    assert_false(path_exists(part));
    assert_same_files(whole, done);

    teacher_facts other = facts;
    other.teacher++;
    assert_int_equal(rename(done, part), 0);
    assert_fails(teacher_writer_join(&second, folder, &s, &other), "by another teacher");
    assert_ok(teacher_writer_open(&first, folder, &s, &facts));
    add_block(first, 2); /* backwards, by one */
    assert_ok(teacher_writer_close(first));
    assert_same_files(whole, done);
    shard_close(&s);
    free(whole), free(done), free(part), free(whole_folder), free(folder);
}

static void within_a_block_nobody_seeks(void **state) {
    const teacher_facts facts = facts_of(K, VOCAB);
    shard s = shard_of(TOKENS);
    teacher_writer *w;
    assert_ok(teacher_writer_open(&w, *state, &s, &facts));
    add_records(w, K, VOCAB, 300);
    assert_fails(teacher_writer_seek(w, 0), "token 300: expected a whole block, found a part of one");
    assert_ok(teacher_writer_close(w));
    shard_close(&s);
}

static void another_teaching_is_refused(void **state) {
    const teacher_facts facts = facts_of(K, VOCAB);
    write_cache(*state, &facts, TOKENS);
    static const char *const says[] = {"another tokenizer", "has the top 5 of each token, expected the top 6",
                                       "with a vocabulary of 1000, expected one of 1001", "windows of 64 by 32",
                                       "by another teacher (runs/big, other weights"};
    shard s = shard_of(TOKENS);
    teacher_writer *w;
    for (int i = 0; i < 5; i++) {
        teacher_facts other = facts;
        other.tokenizer += i == 0;
        other.k += i == 1;
        other.vocab_size += i == 2;
        other.seq += i == 3;
        other.teacher += i == 4;
        assert_fails(teacher_writer_open(&w, *state, &s, &other), says[i]);
        assert_non_null(strstr(error_message(), "cannot go on with this cache: "));
    }
    shard shorter = shard_of(TOKENS - 1);
    assert_fails(teacher_writer_open(&w, *state, &shorter, &facts), "made for 700 tokens, but data/x_train_000000.bin "
                                                                    "has 699");
    ((int32_t *)s.tokens)[5] = 999;
    assert_fails(teacher_writer_open(&w, *state, &s, &facts), "made for another text");
    shard_close(&shorter);
    shard_close(&s);
    teacher_facts wrong = facts;
    s = shard_of(TOKENS);
    wrong.k = 0;
    assert_fails(teacher_writer_open(&w, *state, &s, &wrong), "expected the top 1 to 256 of a vocabulary of 1000");
    wrong.k = 10, wrong.vocab_size = 10;
    assert_fails(teacher_writer_open(&w, *state, &s, &wrong),
                 "expected the top 1 to 9 of a vocabulary of 10, found 10");
    shard_close(&s);
}

static void what_is_no_probability_is_refused_and_the_rest_stays(void **state) {
    const teacher_facts facts = facts_of(2, VOCAB);
    static const struct {
        int32_t ids[2];
        float log_probs[2], rest;
        const char *says;
    } bad[] = {{{1, 2}, {NAN, -1}, -1, "token 300: expected log-probabilities of the teacher, found nan"},
               {{1, 2}, {-1, -INFINITY}, -1, "expected log-probabilities of the teacher, found -inf"},
               {{1, 2}, {0.5f, -1}, -1, "expected log-probabilities of the teacher, found 0.5"},
               {{1, 2}, {-2, -1}, -1, "expected falling log-probabilities, found -1 behind -2"},
               {{1, VOCAB}, {-1, -2}, -1, "expected the teacher's tokens to be below 1000, found 1000"},
               {{1, -1}, {-1, NAN}, NAN, "expected a log-probability for the rest, found nan"}};
    shard s = shard_of(TOKENS);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        teacher_writer *w;
        assert_ok(teacher_writer_open(&w, *state, &s, &facts));
        add_records(w, 2, VOCAB, 300);
        assert_fails(teacher_writer_add(w, bad[i].ids, bad[i].log_probs, bad[i].rest), bad[i].says);
        assert_ok(teacher_writer_close(w));
        assert_ok(teacher_writer_open(&w, *state, &s, &facts));
        assert_int_equal(teacher_writer_count(w), TEACHER_BLOCK_RECORDS);
        assert_ok(teacher_writer_close(w));
    }
    shard_close(&s);
}

static void a_fingerprint_is_of_what_ids_stand_for(void **state) {
    (void)state;
    tokenizer *a = letters_tokenizer(27), *same = letters_tokenizer(27), *more = letters_tokenizer(28);
    assert_true(tokenizer_fingerprint(a) == tokenizer_fingerprint(same));
    assert_true(tokenizer_fingerprint(a) != tokenizer_fingerprint(more));
    tokenizer_close(a);
    tokenizer_close(same);
    tokenizer_close(more);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(every_record_comes_back),
        cmocka_unit_test(twenty_of_qwen_s_are_at_most_90_bytes),
        cmocka_unit_test(the_ends_of_float16),
        cmocka_unit_test(what_the_reader_cannot_say_is_the_rest),
        in_scratch(whatever_a_kill_left_goes_on_to_the_same_bytes),
        in_scratch(a_damaged_last_block_is_made_again),
        in_scratch(blocks_come_in_any_order),
        in_scratch(within_a_block_nobody_seeks),
        in_scratch(another_teaching_is_refused),
        in_scratch(what_is_no_probability_is_refused_and_the_rest_stays),
        cmocka_unit_test(a_fingerprint_is_of_what_ids_stand_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

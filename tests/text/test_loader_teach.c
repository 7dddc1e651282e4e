/* The teacher's column of batches: that of each target, wherever in the shards the target comes from. */
#include "test.h"

#include "base/half.h"
#include "letters_tokenizer.h"
#include "text/loader.h"
#include "text/teacher_cache.h"
#include <math.h>

enum { T = 16, SHARDS = 3, TOKENS = 600, VOCAB = 4096, BOS = 4000, K = 3, DOCUMENT = 25 };

/* Token i of shard s is 600 s + i, and its record says so: k tokens from itself on, with logarithms that follow from it. */
static int32_t token_at(int s, int64_t i) {
    return s * TOKENS + (int32_t)i;
}

static float log_prob_of(int32_t token, int j) {
    return half_to_float(half_from_float(-0.1f - (float)(token % 97) / 50 - (float)j));
}

static float rest_of(int32_t token) {
    return half_to_float(half_from_float(-0.5f - (float)(token % 31) / 8));
}

static void teach_shard(const char *cache, const shard *s, int number, const teacher_facts *facts) {
    teacher_writer *w;
    assert_ok(teacher_writer_open(&w, cache, s, facts));
    for (int64_t i = 0; i < s->count; i++) {
        const int32_t token = token_at(number, i), ids[K] = {token, token + 1, token + 2};
        float log_probs[K];
        for (int j = 0; j < K; j++) log_probs[j] = log_prob_of(token, j);
        assert_ok(teacher_writer_add(w, ids, log_probs, rest_of(token)));
    }
    assert_ok(teacher_writer_close(w));
}

/* Documents of 25 tokens of two domains in turn: every row of a mix comes from several places. */
static void write_shard(const char *folder, int number) {
    int32_t tokens[TOKENS];
    char *path = xasprintf("%s/x_train_%06d.bin", folder, number), *text = xstrdup("");
    char *table = xasprintf("%s/x_train_%06d.docs.tsv", folder, number);
    for (int i = 0; i < TOKENS; i++) tokens[i] = token_at(number, i);
    for (int d = 0; d < TOKENS / DOCUMENT; d++) {
        char *longer = xasprintf("%s%d\t%d\t9\t%s\tfile\n", text, d * DOCUMENT, DOCUMENT, d % 2 ? "odd" : "even");
        free(text);
        text = longer;
    }
    assert_ok(shard_write(path, tokens, TOKENS, VOCAB, NULL));
    assert_ok(file_write_whole(table, text, strlen(text)));
    free(path), free(text), free(table);
}

static char *cache_of(const char *folder) {
    return path_join(folder, "cache");
}

static int create(void **state) {
    char *folder = scratch_create(), *cache = cache_of(folder);
    tokenizer *tok = letters_tokenizer(27);
    const teacher_facts facts = {.k = K, .vocab_size = VOCAB, .tokenizer = tokenizer_fingerprint(tok), .name = "t"};
    for (int i = 0; i < SHARDS; i++) {
        write_shard(folder, i);
        char *path = xasprintf("%s/x_train_%06d.bin", folder, i);
        shard s;
        assert_ok(shard_open(&s, path, VOCAB));
        teach_shard(cache, &s, i, &facts);
        shard_close(&s);
        free(path);
    }
    tokenizer_close(tok);
    free(cache);
    *state = folder;
    return 0;
}

static void assert_taught(const batch *b) {
    assert_non_null(b->teacher);
    assert_int_equal(b->teacher->k, K);
    for (int64_t n = 0; n < b->batch * b->length; n++) {
        const int32_t target = b->target_ids[n];
        for (int j = 0; j < K; j++) {
            assert_int_equal(b->teacher->ids[n * K + j], target + j);
            assert_true(b->teacher->log_probs[n * K + j] == log_prob_of(target, j));
        }
        assert_true(b->teacher->rest[n] == rest_of(target));
    }
}

static loader *open_taught(const char *folder, bool shuffle, bool mixed) {
    loader *l;
    tokenizer *tok = letters_tokenizer(27);
    char *cache = cache_of(folder);
    named_weight items[] = {{(char *)"odd", 2}, {(char *)"even", 1}};
    const weight_list weights = {.items = items, .count = 2};
    int k;
    assert_ok(loader_open(&l, folder, VOCAB, BOS, 4, T, shuffle, 5));
    if (mixed) assert_ok(loader_mix(l, &weights));
    assert_ok(loader_teach(l, cache, tok, &k));
    assert_int_equal(k, K);
    tokenizer_close(tok);
    free(cache);
    return l;
}

static void every_target_has_its_own_record(void **state) {
    for (int way = 0; way < 4; way++) { /* in order and shuffled, with a mix and without */
        loader *l = open_taught(*state, way & 1, way & 2);
        batch b;
        assert_int_equal(loader_keep(l, 40), 2);
        assert_ok(loader_kept(l, 0, &b));
        assert_int_equal(b.batch, 2);
        assert_taught(&b);
        for (int i = 0; i < 80; i++) { /* some epochs */
            assert_ok(loader_next(l, &b));
            assert_taught(&b);
        }
        loader_seek(l, (loader_position){.epoch = 3, .window = 17});
        assert_ok(loader_next(l, &b));
        assert_taught(&b);
        loader_close(l);
    }
}

static void without_a_teacher_there_is_no_column(void **state) {
    loader *l;
    batch b;
    assert_ok(loader_open(&l, *state, VOCAB, BOS, 4, T, true, 5));
    assert_ok(loader_next(l, &b));
    assert_null(b.teacher);
    loader_close(l);
}

static void one_shard_of_the_folder_is_enough(void **state) {
    char *pattern = path_join(*state, "x_train_000001.bin");
    char *cache = cache_of(*state);
    tokenizer *tok = letters_tokenizer(27);
    loader *l;
    batch b;
    assert_ok(loader_open(&l, pattern, VOCAB, BOS, 4, T, true, 5));
    assert_ok(loader_teach(l, cache, tok, NULL));
    assert_ok(loader_next(l, &b));
    assert_taught(&b);
    loader_close(l);
    tokenizer_close(tok);
    free(cache);
    free(pattern);
}

/* ---- refusals: they change the folder, so each has its own ---- */

static void assert_refused(const char *folder, int letters, const char *says) {
    loader *l;
    char *cache = cache_of(folder);
    tokenizer *tok = letters_tokenizer(letters);
    assert_ok(loader_open(&l, folder, VOCAB, BOS, 4, T, true, 5));
    assert_fails(loader_teach(l, cache, tok, NULL), says);
    assert_null(strchr(error_message(), '\n'));
    loader_close(l);
    tokenizer_close(tok);
    free(cache);
}

static void what_does_not_fit_is_refused(void **state) {
    const char *folder = *state;
    char *second = xasprintf("%s/cache/x_train_000001.teacher", folder), *part = xasprintf("%s.part", second);
    char *shard = xasprintf("%s/x_train_000002.bin", folder);
    uint8_t *bytes;
    size_t count;
    assert_refused(folder, 26, "x_train_000000.teacher: made with another tokenizer");
    assert_ok(file_read(second, FILE_ANY_SIZE, &bytes, &count));
    assert_ok(file_write_whole(second, bytes, count - 1));
    assert_refused(folder, 27, "x_train_000001.teacher: truncated: expected ");
    assert_int_equal(rename(second, part), 0);
    assert_refused(folder, 27, "x_train_000001.teacher.part: unfinished");
    assert_int_equal(remove(part), 0);
    assert_refused(folder, 27, "expected the teacher's file of ");
    assert_ok(file_write_whole(second, bytes, count));
    free(bytes);
    assert_ok(file_read(shard, FILE_ANY_SIZE, &bytes, &count));
    bytes[count - 2] ^= 1;
    assert_ok(file_write_whole(shard, bytes, count));
    assert_refused(folder, 27, "x_train_000002.teacher: made for another text");
    free(bytes), free(second), free(part), free(shard);
}

static void another_k_in_one_file_is_refused(void **state) {
    char *path = path_join(*state, "x_train_000002.bin"), *cache = cache_of(*state);
    char *old = xasprintf("%s/x_train_000002.teacher", cache);
    tokenizer *tok = letters_tokenizer(27);
    const teacher_facts facts = {.k = K + 1, .vocab_size = VOCAB, .tokenizer = tokenizer_fingerprint(tok)};
    shard s;
    teacher_writer *w;
    assert_int_equal(remove(old), 0);
    assert_ok(shard_open(&s, path, VOCAB));
    assert_ok(teacher_writer_open(&w, cache, &s, &facts));
    for (int i = 0; i < TOKENS; i++)
        assert_ok(teacher_writer_add(w, (int32_t[K + 1]){1, 2, 3, 4}, (float[K + 1]){-1, -2, -3, -4}, -1));
    assert_ok(teacher_writer_close(w));
    assert_refused(*state, 27, "x_train_000002.teacher: has the top 4 of each token, expected the top 3");
    shard_close(&s);
    tokenizer_close(tok);
    free(path), free(cache), free(old);
}

/* Damage is found when it is read, and the error is that of the batch. */
static void damage_is_an_error_of_the_batch(void **state) {
    char *path = xasprintf("%s/cache/x_train_000000.teacher", (const char *)*state);
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    bytes[count - 40] ^= 1; /* in its third block, from token 512 on */
    assert_ok(file_write_whole(path, bytes, count));
    loader *l = open_taught(*state, false, false);
    batch b;
    for (int i = 0; i < 512 / (4 * T) - 1; i++) assert_ok(loader_next(l, &b));
    assert_fails(loader_next(l, &b), "x_train_000000.teacher: corrupted: the checksum of tokens 512 to 767");
    loader_close(l);
    free(bytes), free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_target_has_its_own_record, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(without_a_teacher_there_is_no_column, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(one_shard_of_the_folder_is_enough, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_refused, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(another_k_in_one_file_is_refused, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(damage_is_an_error_of_the_batch, create, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Files of a teacher's cache that are cut, changed, or of another text or tokenizer. */
#include "teacher_files.h"

static void every_truncation_is_refused(void **state) {
    const teacher_facts facts = facts_of(2, VOCAB);
    write_cache(*state, &facts, 3);
    char *path = file_of(*state, "");
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    teacher_file f;
    for (size_t cut = 0; cut < count; cut++)
        assert_fails(teacher_file_parse(&f, "cut", bytes, cut), "cut: truncated: expected ");
    assert_ok(teacher_file_parse(&f, "whole", bytes, count));
    teacher_file_close(&f);
    bytes = xrealloc(bytes, count + 1);
    assert_fails(teacher_file_parse(&f, "long", bytes, count + 1), "long: too long: expected ");
    free(bytes);
    free(path);
}

static void every_flipped_bit_is_found(void **state) {
    const teacher_facts facts = facts_of(2, VOCAB);
    write_cache(*state, &facts, 5);
    char *path = file_of(*state, "");
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    int32_t ids[10];
    float log_probs[10], rest[5];
    for (size_t bit = 0; bit < 8 * count; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        teacher_file f;
        status s = teacher_file_parse(&f, "bad", bytes, count);
        if (s == STATUS_OK) {
            s = teacher_file_read(&f, 0, 5, VOCAB, ids, log_probs, rest);
            teacher_file_close(&f);
        }
        assert_fails(s, "bad: ");
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(bytes);
    free(path);
}

/* Damage is found where it is read, and blocks may not change places. */
static void damage_in_a_block_is_named(void **state) {
    const teacher_facts facts = facts_of(K, VOCAB);
    const size_t size = (size_t)teacher_block_bytes(&facts, TEACHER_BLOCK_RECORDS);
    write_cache(*state, &facts, TOKENS);
    char *path = file_of(*state, "");
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    int32_t ids[K];
    float log_probs[K], rest;
    teacher_file f;
    uint8_t *first = bytes + TEACHER_HEADER_BYTES;
    first[size + 7] ^= 4;
    assert_ok(teacher_file_parse(&f, "bad", bytes, count));
    assert_ok(teacher_file_read(&f, 255, 1, VOCAB, ids, log_probs, &rest));
    assert_fails(teacher_file_read(&f, 300, 1, VOCAB, ids, log_probs, &rest),
                 "bad: corrupted: the checksum of tokens 256 to 511 does not hold");
    assert_ok(teacher_file_read(&f, 512, 1, VOCAB, ids, log_probs, &rest));
    teacher_file_close(&f);
    first[size + 7] ^= 4;
    uint8_t *held = xmalloc(size);
    memcpy(held, first, size);
    memmove(first, first + size, size);
    memcpy(first + size, held, size);
    assert_ok(teacher_file_parse(&f, "bad", bytes, count));
    assert_fails(teacher_file_read(&f, 0, 1, VOCAB, ids, log_probs, &rest), "tokens 0 to 255");
    teacher_file_close(&f);
    free(held), free(bytes), free(path);
}

static void what_does_not_belong_is_refused(void **state) {
    const teacher_facts facts = facts_of(K, VOCAB);
    write_cache(*state, &facts, TOKENS);
    shard s = shard_of(TOKENS);
    teacher_cache *c;
    assert_fails(teacher_cache_open(&c, *state, &s, 1, 12, VOCAB),
                 "x_train_000000.teacher: made with another tokenizer");
    ((int32_t *)s.tokens)[699] = 7;
    assert_fails(teacher_cache_open(&c, *state, &s, 1, 11, VOCAB), "made for another text");
    shard_close(&s);
    s = shard_of(TOKENS);
    free(s.path);
    s.path = xstrdup("data/y_train_000000.bin");
    assert_fails(teacher_cache_open(&c, *state, &s, 1, 11, VOCAB), "expected the teacher's file of "
                                                                   "data/y_train_000000.bin, found nothing");
    assert_fails(teacher_cache_open(&c, "/nowhere", &s, 1, 11, VOCAB), "/nowhere: expected a teacher's cache");
    shard_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(every_truncation_is_refused),
        in_scratch(every_flipped_bit_is_found),
        in_scratch(damage_in_a_block_is_named),
        in_scratch(what_does_not_belong_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

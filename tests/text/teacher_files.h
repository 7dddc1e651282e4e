/* A small teacher's cache whose records anyone can compute. */
#ifndef MOEC_TESTS_TEXT_TEACHER_FILES_H
#define MOEC_TESTS_TEXT_TEACHER_FILES_H

#include "test.h"

#include "base/random.h"
#include "text/teacher_format.h"

enum { TOKENS = 700, K = 5, VOCAB = 1000 }; /* two blocks and a part of a third */

static inline teacher_facts facts_of(int k, int vocab_size) {
    return (teacher_facts){
        .k = k, .vocab_size = vocab_size, .tokenizer = 11, .teacher = 22, .seq = 64, .stride = 32, .name = "runs/big"};
}

/* Record i of any cache here: k falling logarithms of distinct tokens; every seventh has one token only. */
static inline void record_of(int64_t i, int k, int vocab_size, int32_t *ids, float *log_probs, float *rest) {
    rng r = rng_seed(100 + (uint64_t)i);
    float log_prob = -0.001f;
    for (int j = 0; j < k; j++) {
        ids[j] = i % 7 == 3 && j > 0 ? -1 : (int32_t)((rng_below(&r, (uint64_t)vocab_size / 300) * 300 + (uint64_t)j));
        log_probs[j] = log_prob -= (float)(0.01 + rng_uniform(&r));
    }
    *rest = -(float)rng_uniform(&r) - 0.01f;
}

static inline shard shard_of(int64_t tokens) {
    static int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++) ids[i] = i % 50;
    return shard_of_ids("data/x_train_000000.bin", ids, tokens);
}

static inline void add_records(teacher_writer *w, int k, int vocab_size, int64_t until) {
    int32_t ids[TEACHER_MAX_TOP];
    float log_probs[TEACHER_MAX_TOP], rest;
    for (int64_t i = teacher_writer_count(w); i < until; i++) {
        record_of(i, k, vocab_size, ids, log_probs, &rest);
        assert_ok(teacher_writer_add(w, ids, log_probs, rest));
    }
}

static inline void write_cache(const char *folder, const teacher_facts *facts, int64_t tokens) {
    shard s = shard_of(tokens);
    teacher_writer *w;
    assert_ok(teacher_writer_open(&w, folder, &s, facts));
    add_records(w, facts->k, facts->vocab_size, tokens);
    assert_ok(teacher_writer_close(w));
    shard_close(&s);
}

static inline char *file_of(const char *folder, const char *suffix) {
    return xasprintf("%s/x_train_000000.teacher%s", folder, suffix);
}

#endif

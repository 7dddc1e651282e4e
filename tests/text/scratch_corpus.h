/* Corpora of files in a scratch folder, for test_corpus.c and test_jsonl.c. */
#ifndef MOEC_TESTS_TEXT_SCRATCH_CORPUS_H
#define MOEC_TESTS_TEXT_SCRATCH_CORPUS_H

#include "test.h"

#include "text/corpus.h"

static char *folder; /* scratch of each test */

static inline int create(void **state) {
    (void)state;
    folder = scratch_create();
    return 0;
}

static inline int destroy(void **state) {
    (void)state;
    scratch_remove(folder);
    return 0;
}

static inline void write_bytes(const char *name, const char *bytes, size_t count) {
    char *path = path_join(folder, name);
    assert_ok(file_write_whole(path, bytes, count));
    free(path);
}

static inline void write_text(const char *name, const char *text) {
    write_bytes(name, text, strlen(text));
}

static inline corpus *make(double heldout, int64_t max_bytes, const char *fields) {
    corpus_options options = {.fields = fields, .heldout = heldout, .max_bytes = max_bytes, .seed = 3};
    return corpus_create(&options);
}

/* Adds folder/name as a domain; "" is the folder itself. */
static inline status add(corpus *c, const char *domain, const char *name) {
    char *path = *name ? path_join(folder, name) : xstrdup(folder);
    status s = corpus_add_domain(c, domain, path);
    free(path);
    return s;
}

#define with_folder(test) cmocka_unit_test_setup_teardown(test, create, destroy)

#endif

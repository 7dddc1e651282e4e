/* SentencePiece runs out of memory. What fails here are allocations of some size, which are those that fail in practice;
 * protobuf, which it stands on, does not survive the loss of its smallest. */
#include "test.h"

#include "text/sentencepiece.h"

enum { SMALLEST = 1024 };
static long allowed = -1; /* further allocations of SMALLEST bytes and more; −1: any number */

/* C++'s operators new and delete, by the names that its compilers give them. */
void _ZSt17__throw_bad_allocv(void);
void *_Znwm(size_t bytes);
void _ZdlPv(void *pointer);
void _ZdlPvm(void *pointer, size_t bytes);

void *_Znwm(size_t bytes) {
    if (bytes >= SMALLEST && allowed == 0) _ZSt17__throw_bad_allocv();
    if (bytes >= SMALLEST && allowed > 0) allowed--;
    return xmalloc(bytes);
}
void _ZdlPv(void *pointer) {
    free(pointer);
}
void _ZdlPvm(void *pointer, size_t bytes) {
    (void)bytes;
    free(pointer);
}

static bool next_line(void *context, const char **text, size_t *bytes) {
    int *left = context;
    *text = "a line of text to train on, and another one, and words of many kinds: 1, 2, 3";
    *bytes = strlen(*text);
    return (*left)-- > 0;
}

/* "WHERE: out of memory", or the words of a library of SentencePiece's. */
static bool names_memory(const char *where) {
    const char *message = error_message();
    return strncmp(message, where, strlen(where)) == 0 &&
           (strstr(message, "out of memory") || strstr(message, "bad_alloc"));
}

static tokenizer *trained(void) {
    tokenizer *t;
    int lines = 5;
    assert_ok(sentencepiece_train(&t, 300, next_line, &lines, 1));
    return t;
}

/* Each allocation of the call fails once; each failure is a status, and the call succeeds when all are allowed. */

static void opening(void **state) {
    (void)state;
    tokenizer *t = trained(), *again = NULL;
    const void *model;
    size_t count;
    tokenizer_bytes(t, &model, &count);
    int failures = 0;
    for (; !again; failures++) {
        allowed = failures;
        status s = tokenizer_parse(&again, model, count, "t.model");
        allowed = -1;
        if (s != STATUS_OK) assert_true(names_memory("t.model: "));
    }
    assert_true(failures > 3);
    tokenizer_close(again);
    tokenizer_close(t);
}

static void encoding(void **state) {
    (void)state;
    tokenizer *t = trained();
    char text[4000];
    memset(text, 'x', sizeof text);
    memcpy(text + 5, "\xE2\x96\x81", 3);
    int32_t *ids = NULL;
    size_t count;
    int failures = 0;
    for (; !ids; failures++) {
        allowed = failures;
        status s = tokenizer_encode(t, text, sizeof text, &ids, &count);
        allowed = -1;
        if (s != STATUS_OK) assert_true(names_memory("tokenizer: "));
    }
    assert_true(failures > 5);
    free(ids);
    tokenizer_close(t);
}

static void training(void **state) { /* a child fails, and where SentencePiece cannot throw it aborts */
    (void)state;
    for (int allowance = 0; allowance < 10; allowance++) {
        tokenizer *t;
        int lines = 5;
        allowed = allowance;
        status s = sentencepiece_train(&t, 300, next_line, &lines, 1);
        allowed = -1;
        assert_int_not_equal(s, STATUS_OK);
        assert_true(names_memory("tokenizer: ") ||
                    strstr(error_message(), "tokenizer: its process was ended by signal"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening),
        cmocka_unit_test(encoding),
        cmocka_unit_test(training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

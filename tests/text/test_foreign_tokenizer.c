/* A SentencePiece model that others trained, with options that moec's own never have: the records' (../shared). */
#include "scratch_corpus.h"
#include "stream_check.h"

static const char foreign[] = "../shared/data/fineweb_8192_bpe.model";

/* The record scripts' tables for a foreign vocabulary, computed here from the pieces themselves. */
static int reference_bytes(const tokenizer *t, int32_t id, int32_t prev) {
    const char *piece = tokenizer_piece(t, id);
    if (strcmp(piece, "<pad>") == 0 || strcmp(piece, "<s>") == 0 || strcmp(piece, "</s>") == 0 ||
        strcmp(piece, "<unk>") == 0)
        return 0;
    if (strncmp(piece, "<0x", 3) == 0 && strlen(piece) == 6) return 1;
    bool space = strncmp(piece, "\xE2\x96\x81", 3) == 0, prev_is_boundary = prev < 4;
    return (int)strlen(piece) - (space ? 3 : 0) + (space && !prev_is_boundary);
}

static void it_counts_bytes_as_the_scripts_do(void **state) {
    (void)state;
    skip_without(foreign);
    tokenizer *t;
    assert_ok(tokenizer_open(&t, foreign));
    assert_int_equal(tokenizer_vocab_size(t), 8192);
    assert_int_equal(tokenizer_bos(t), 1);
    for (int32_t id = 0; id < 8192; id++) {
        assert_int_equal(tokenizer_token_bytes(t, id, 100), reference_bytes(t, id, 100));
        assert_int_equal(tokenizer_token_bytes(t, id, 1), reference_bytes(t, id, 1));
    }
    const char *text = "The quick brown fox's 42 caf\xC3\xA9s \xF0\x9F\x98\x80 jump.";
    int32_t *ids;
    size_t count;
    assert_ok(tokenizer_encode(t, text, strlen(text), &ids, &count));
    assert_int_equal(counted_bytes(t, ids, count), strlen(text));
    check_stream(t, ids, count, text, strlen(text));
    free(ids);
    tokenizer_close(t);
}

static void it_may_change_text(void **state) {
    (void)state;
    skip_without(foreign);
    for (int i = 0; i < 10; i++) {
        char *name = xasprintf("%d.txt", i), *text = xasprintf("document number %d\nhas two lines\n", i);
        write_text(name, text);
        free(name), free(text);
    }
    corpus *c = make(0.3, 0, "text");
    assert_ok(add(c, "one", ""));
    assert_ok(corpus_split(c));
    tokenizer *t;
    assert_ok(tokenizer_open(&t, foreign));
    assert_ok(corpus_write(c, t, folder, "d", false));
    assert_true(c->heldout_count > 0);
    assert_int_equal(c->inexact, c->heldout_count); /* it turns line ends into spaces */
    assert_fails(corpus_write(c, t, folder, "d", true), "expected the tokenizer to give back all");
    tokenizer_close(t);
    corpus_destroy(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_counts_bytes_as_the_scripts_do),
        with_folder(it_may_change_text),
    };
    return run_skippable_tests(tests, NULL, NULL);
}

/* Texts to score: of a data folder, of one with another tokenizer's tokens, of files. */
#include "test.h"

#include "eval/scored_text.h"
#include "text/corpus.h"
#include "text/sentencepiece.h"

typedef struct fixture {
    char *folder, *data; /* data: a corpus for scoring, of two domains */
    tokenizer *own, *other;
} fixture;

static bool next_line(void *context, const char **text, size_t *bytes) {
    static const char line[] = "other words for another vocabulary of pieces, and numbers 5 6 7 8 9\n";
    int *left = context;
    *text = line;
    *bytes = sizeof line - 1;
    return (*left)-- > 0;
}

static void put(const fixture *f, const char *name, const char *text) {
    char *path = path_join(f->folder, name);
    assert_ok(file_write_whole(path, text, strlen(text)));
    free(path);
}

static void add(const fixture *f, corpus *c, const char *domain, const char *file) {
    char *path = path_join(f->folder, file);
    assert_ok(corpus_add_domain(c, domain, path));
    free(path);
}

static int create(void **state) {
    fixture *f = xcalloc(1, sizeof *f);
    int lines = 20;
    f->folder = scratch_create();
    f->data = path_join(f->folder, "data");
    put(f, "a.txt", "The first text of the first domain.\n\nAnd its second paragraph: 12345.\n");
    put(f, "b.txt", "A text of the second domain, with other words in it.\n");
    corpus_options options = {.fields = "text", .heldout = 1, .seed = 9};
    corpus *c = corpus_create(&options);
    add(f, c, "first", "a.txt");
    add(f, c, "second", "b.txt");
    assert_ok(corpus_split(c));
    assert_ok(corpus_train_tokenizer(c, &f->own, 300));
    assert_ok(folder_create(f->data));
    assert_ok(corpus_write(c, f->own, f->data, "data", true));
    assert_ok(corpus_write_summary(c, f->own, NULL, f->data));
    corpus_destroy(c);
    assert_ok(sentencepiece_train(&f->other, 310, next_line, &lines, 1));
    *state = f;
    return 0;
}

static int destroy(void **state) {
    fixture *f = *state;
    tokenizer_close(f->own);
    tokenizer_close(f->other);
    scratch_remove(f->folder);
    free(f->data);
    free(f);
    return 0;
}

/* Each document is BOS and the tokens of its text, and they tile the shard. */
static void assert_tokens(const scored_text *t, const tokenizer *tok) {
    int64_t at = 0, bytes = 0;
    for (int64_t i = 0; i < t->documents.count; i++) {
        const document *d = &t->documents.documents[i];
        int32_t *ids;
        size_t count;
        assert_int_equal(d->start, at);
        assert_int_equal(shard_token(&t->s, at), tokenizer_bos(tok));
        assert_ok(tokenizer_encode(tok, (const char *)t->text + bytes, (size_t)d->bytes, &ids, &count));
        assert_int_equal(d->count, count + 1);
        for (size_t n = 0; n < count; n++) assert_int_equal(shard_token(&t->s, at + 1 + (int64_t)n), ids[n]);
        free(ids);
        at += d->count;
        bytes += d->bytes;
    }
    assert_int_equal(at, t->s.count);
    assert_int_equal(bytes, t->bytes);
}

static void a_data_folder(void **state) {
    fixture *f = *state;
    scored_text whole, own, other;
    assert_ok(scored_text_open(&whole, f->data, tokenizer_vocab_size(f->own)));
    assert_null(whole.ids);
    assert_int_equal(whole.seed, 9);
    assert_tokens(&whole, f->own);
    assert_ok(scored_text_open_for(&own, f->data, f->own, tokenizer_vocab_size(f->own)));
    assert_null(own.ids); /* the tokens that lie there */
    assert_ok(scored_text_open_for(&other, f->data, f->other, tokenizer_vocab_size(f->other)));
    assert_non_null(other.ids);
    assert_int_equal(other.seed, 9);
    assert_int_equal(other.documents.count, whole.documents.count);
    assert_tokens(&other, f->other);
    double by_own[2], by_other[2], total;
    assert_ok(scored_text_xz(&own, &total, by_own));
    assert_ok(scored_text_xz(&other, &total, by_other));
    assert_memory_equal(by_own, by_other, sizeof by_own);
    scored_text_close(&whole), scored_text_close(&own), scored_text_close(&other);

    char *shard = path_join(f->data, "data_val_000000.bin"), *text = path_join(f->data, "heldout.txt");
    assert_fails(scored_text_open_for(&other, shard, f->other, 0), "another tokenizer"); /* it has no text */
    assert_ok(scored_text_open_for(&own, shard, f->own, 0));
    scored_text_close(&own);
    assert_ok(folder_remove(text));
    assert_fails(scored_text_open_for(&other, f->data, f->other, 0), "no heldout.txt");
    free(shard), free(text);
}

static status open_files(scored_text *t, const fixture *f, const char *const *names, int count) {
    char *paths[4];
    for (int i = 0; i < count; i++) paths[i] = path_join(f->folder, names[i]);
    status s = scored_text_of_files(t, (const char *const *)paths, count, f->own);
    for (int i = 0; i < count; i++) free(paths[i]);
    return s;
}

static void files_are_domains(void **state) {
    fixture *f = *state;
    scored_text t;
    static const char *const two[] = {"a.txt", "b.txt"}, *const same[] = {"a.txt", "sub/a.txt"};
    assert_ok(open_files(&t, f, two, 2));
    assert_int_equal(t.documents.domain_count, 2);
    assert_string_equal(t.documents.domains[0], "a.txt");
    assert_string_equal(t.documents.domains[1], "b.txt");
    assert_int_equal(t.inexact, 0);
    assert_tokens(&t, f->own);
    bpb_result r = {.whole = true, .domain_count = 2, .total = {.bytes = 1}, .domain = {{.bytes = 1}, {.bytes = 0}}};
    scored_text_count_bytes(&t, &r);
    assert_int_equal(r.domain[0].bytes, t.documents.documents[0].bytes);
    assert_int_equal(r.domain[1].bytes, t.documents.documents[1].bytes);
    assert_int_equal(r.total.bytes, t.bytes);
    r = (bpb_result){.domain_count = 2, .total = {.bytes = 1}};
    scored_text_count_bytes(&t, &r); /* of a sample the tokens' bytes are all that is known */
    assert_int_equal(r.total.bytes, 1);
    scored_text_close(&t);

    char *sub = path_join(f->folder, "sub");
    assert_ok(folder_create(sub));
    put(f, "sub/a.txt", "Another file of the same name.");
    assert_ok(open_files(&t, f, same, 2));
    assert_non_null(strstr(t.documents.domains[1], "/sub/a.txt"));
    scored_text_close(&t);
    free(sub);
}

static void bad_files(void **state) {
    fixture *f = *state;
    scored_text t;
    static const char *const twice[] = {"a.txt", "a.txt"}, *const empty[] = {"empty"}, *const bad[] = {"a.txt", "bad"};
    static const char *const none[] = {"nowhere"};
    put(f, "empty", "");
    put(f, "bad", "abc\xff");
    assert_fails(open_files(&t, f, twice, 2), "a.txt: is given twice");
    assert_fails(open_files(&t, f, empty, 1), "empty: expected text to score, found an empty file");
    assert_fails(open_files(&t, f, bad, 2), "bad: expected UTF-8 text, found the byte 0xFF at byte offset 3");
    assert_fails(open_files(&t, f, none, 1), "nowhere: ");
    assert_fails(scored_text_of_files(&t, NULL, 0, f->own), "expected 1 to 256 files");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_data_folder, create, destroy),
        cmocka_unit_test_setup_teardown(files_are_domains, create, destroy),
        cmocka_unit_test_setup_teardown(bad_files, create, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

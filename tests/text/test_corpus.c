#include "scratch_corpus.h"

#include "base/json.h"
#include "text/documents.h"
#include "text/shard.h"
#include "text/utf8.h"
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void utf8(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t valid;
    } cases[] = {
        {"plain", 5},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9},
        {"ab\xFFz", 2},                      /* no such byte */
        {"ab\x80", 2},                       /* no lead */
        {"a\xC3", 1},                        /* cut */
        {"a\xE2\x82", 1},                    /* cut */
        {"\xC0\xAF", 0},                     /* overlong */
        {"\xE0\x9F\xBF", 0},                 /* overlong */
        {"\xF0\x8F\xBF\xBF", 0},             /* overlong */
        {"\xED\xA0\x80", 0},                 /* surrogate */
        {"\xF4\x90\x80\x80", 0},             /* beyond U+10FFFF */
        {"\xED\x9F\xBF\xF4\x8F\xBF\xBF", 7}, /* just within */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_valid_prefix(cases[i].text, strlen(cases[i].text)), cases[i].valid);
    assert_int_equal(utf8_valid_prefix("ab\0c", 4), 2);
}

static void lines_are_cleaned(void **state) {
    (void)state;
    static const struct {
        const char *dirty, *clean;
    } cases[] = {
        {"a\r\nb\rc\n", "a\nb\nc\n"}, {"a \t\nb  ", "a\nb"}, {"  a\n \t \n\tb\n", "  a\n\n\tb\n"},
        {"\xEF\xBB\xBFmark", "mark"}, {"a  \r\n", "a\n"},    {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        strcpy(text, cases[i].dirty);
        text[clean_lines(text, strlen(text))] = '\0';
        assert_string_equal(text, cases[i].clean);
    }
}

static void long_text_is_cut_at_blank_lines(void **state) {
    (void)state;
    static char text[3 * CORPUS_PART_BYTES];
    memset(text, 'x', sizeof text);
    memcpy(text + 10000, "\n\n", 2);
    memcpy(text + 12000, "\n", 1);
    assert_int_equal(first_part(text, sizeof text, false), 10002);
    text[10001] = 'x';
    assert_int_equal(first_part(text, sizeof text, false), 12001);
    text[10000] = text[12000] = 'x';
    memcpy(text + CORPUS_PART_BYTES - 1, "\xC3\xA9", 2); /* not through a character */
    assert_int_equal(first_part(text, sizeof text, false), CORPUS_PART_BYTES - 1);
    assert_int_equal(first_part(text, CORPUS_PART_BYTES, false), CORPUS_PART_BYTES);
}

static void wikitext_is_cut_at_titles(void **state) {
    (void)state;
    const char *text = " = One =\n\n text = of one =\n = = Part = =\n more\n = Two =\n\n text of the second article\n";
    assert_true(is_wikitext(text, strlen(text)));
    assert_int_equal(first_part(text, strlen(text), true), strstr(text, " = Two =") - text);
    assert_false(is_wikitext(text, 20));
    write_text("wiki.txt", text);
    corpus *c = make(0, 0, "text");
    assert_ok(add(c, "wiki", "wiki.txt"));
    assert_int_equal(c->count, 2);
    assert_string_equal(c->documents[1].text, " = Two =\n\n text of the second article\n");
    assert_non_null(strstr(c->documents[1].source, "wiki.txt#2"));
    corpus_destroy(c);
}

static void copies_and_scraps_are_dropped(void **state) {
    (void)state;
    write_text("a.txt", "\n\nThe same document, word by word.  \r\n\n");
    write_text("b.txt", "The same document, word by word.\n");
    write_text("c.txt", "too short\n");
    write_text("d.txt", "Another document, quite another.");
    write_text("e.txt", "");
    write_bytes("f.bin", "binary\0files are no text, whatever they say", 40);
    write_text(".hidden.txt", "This document is hidden from sight.");
    corpus *c = make(0, 0, "text");
    assert_ok(add(c, "x", ""));
    assert_int_equal(c->count, 2);
    assert_string_equal(c->documents[0].text, "The same document, word by word.\n");
    assert_string_equal(c->documents[1].text, "Another document, quite another.\n");
    assert_int_equal(c->documents[0].bytes, strlen(c->documents[0].text));
    const corpus_domain *d = &c->domains[0];
    assert_int_equal(d->files, 4);
    assert_int_equal(d->skipped_files, 2);
    assert_int_equal(d->duplicates, 1);
    assert_int_equal(d->short_documents, 1);
    /* A copy in another domain would carry held-out text into training. */
    char *second = path_join(folder, "second");
    assert_ok(folder_create(second));
    free(second);
    write_text("second/a.txt", "The same document, word by word.");
    write_text("second/b.txt", "A document of the second domain.");
    assert_ok(add(c, "y", "second"));
    assert_int_equal(c->count, 3);
    assert_int_equal(c->domains[1].duplicates, 1);
    corpus_destroy(c);
}

static void named_files_must_be_text(void **state) {
    (void)state;
    write_text("empty.txt", "");
    write_text("latin.txt", "A caf\xE9 in Latin-1 encoding, not UTF-8");
    write_text("scrap.txt", "scrap");
    corpus *c = make(0, 0, "text");
    assert_fails(add(c, "a", "empty.txt"), "empty.txt: expected text, found an empty file");
    assert_fails(add(c, "b", "latin.txt"), "latin.txt: expected UTF-8 text, found the byte 0xE9 at byte offset 5");
    assert_fails(add(c, "c", "scrap.txt"), "found none in 1 files");
    assert_fails(add(c, "d", "absent.txt"), "absent.txt");
    assert_fails(add(c, "a", "latin.txt"), "given twice");
    assert_int_equal(add(c, "no/name", "latin.txt"), STATUS_USAGE);
    corpus_destroy(c);
}

/* Two domains of 40 documents of some 500 to 900 bytes, with code, emoji and SentencePiece's own space among them. */
static void write_documents(void) {
    static const char *words[] = {"river",        "stone",        "return",           "while", "apple",
                                  "\xE2\x96\x81", "na\xC3\xAFve", "\xF0\x9F\x98\x80", "(x)",   "    if"};
    for (int i = 0; i < 80; i++) {
        char *name = xasprintf("%s/%d.txt", i < 40 ? "one" : "two", i), text[2048];
        size_t bytes = 0;
        unsigned number = (unsigned)i;
        for (int word = 0; word < 100 + i % 7; word++) {
            number = number * 1664525u + 1013904223u;
            bytes += (size_t)sprintf(text + bytes, "%s%c", words[(number >> 16) % 10], word % 9 ? ' ' : '\n');
        }
        sprintf(text + bytes, "%d\n", i);
        write_text(name, text);
        free(name);
    }
}

static corpus *read_documents(double heldout, int64_t max_bytes) {
    corpus *c = make(heldout, max_bytes, "text");
    assert_ok(add(c, "one", "one"));
    assert_ok(add(c, "two", "two"));
    assert_ok(corpus_split(c));
    return c;
}

static void make_documents(void) {
    for (int i = 0; i < 2; i++) {
        char *path = path_join(folder, i ? "two" : "one");
        assert_ok(folder_create(path));
        free(path);
    }
    write_documents();
}

/* The shard's text, document by document, is that of heldout.txt, and the table and the tokens' bytes say the same. */
static void check_heldout(const corpus *c, const tokenizer *t, const char *out) {
    char *shard_path = path_join(out, "d_val_000000.bin"), *text_path = path_join(out, "heldout.txt");
    shard s;
    document_table table;
    uint8_t *expected;
    size_t expected_bytes, at = 0;
    assert_ok(shard_open(&s, shard_path, tokenizer_vocab_size(t)));
    assert_ok(document_table_read(&table, shard_path, s.count));
    assert_ok(file_read(text_path, FILE_ANY_SIZE, &expected, &expected_bytes));
    assert_int_equal(table.count, c->heldout_count);
    for (int64_t i = 0; i < table.count; i++) {
        const document *d = &table.documents[i];
        int32_t ids[4096];
        for (int64_t k = 0; k < d->count; k++) ids[k] = shard_token(&s, d->start + k);
        assert_int_equal(ids[0], tokenizer_bos(t));
        char *text;
        size_t bytes;
        int64_t counted = 0;
        assert_ok(tokenizer_decode(t, ids, (size_t)d->count, &text, &bytes));
        for (int64_t k = 1; k < d->count; k++) counted += tokenizer_token_bytes(t, ids[k], ids[k - 1]);
        assert_int_equal(bytes, d->bytes);
        assert_int_equal(counted, d->bytes);
        assert_memory_equal(text, expected + at, bytes);
        assert_string_equal(table.domains[d->domain], c->domains[c->documents[c->heldout[i]].domain].name);
        at += bytes;
        free(text);
    }
    assert_int_equal(at, expected_bytes);
    document_table_free(&table);
    shard_close(&s);
    free(expected);
    free(shard_path);
    free(text_path);
}

static void split_is_by_document_and_seeded(void **state) {
    (void)state;
    make_documents();
    corpus *c = read_documents(0.2, 0), *same = read_documents(0.2, 0);
    assert_int_equal(c->train_count + c->heldout_count, 80);
    assert_int_equal(same->train_count, c->train_count);
    assert_memory_equal(same->train, c->train, (size_t)c->train_count * sizeof *c->train);
    assert_memory_equal(same->heldout, c->heldout, (size_t)c->heldout_count * sizeof *c->heldout);
    for (int i = 0; i < 2; i++) {
        const corpus_domain *d = &c->domains[i];
        double share = (double)d->heldout.bytes / (double)(d->heldout.bytes + d->train.bytes);
        assert_true(share > 0.15 && share <= 0.2);
        assert_int_equal(d->train.documents + d->heldout.documents, 40);
    }
    int changes = 0, disorder = 0; /* held-out domains stand one after another, training ones are mixed */
    for (int64_t i = 1; i < c->heldout_count; i++)
        changes += c->documents[c->heldout[i]].domain != c->documents[c->heldout[i - 1]].domain;
    for (int64_t i = 1; i < c->train_count; i++)
        disorder += c->documents[c->train[i]].domain != c->documents[c->train[i - 1]].domain;
    assert_int_equal(changes, 1);
    assert_true(disorder > 10);
    corpus_destroy(c);
    corpus_destroy(same);
}

static void split_keeps_to_its_limits(void **state) {
    (void)state;
    make_documents();
    corpus *c = read_documents(0.2, 5000);
    for (int i = 0; i < 2; i++) {
        int64_t bytes = c->domains[i].train.bytes + c->domains[i].heldout.bytes;
        assert_true(bytes > 4000 && bytes <= 5000);
        assert_int_equal(c->domains[i].train.documents + c->domains[i].heldout.documents + c->domains[i].unchosen, 40);
        assert_true(c->domains[i].heldout.documents >= 1);
    }
    corpus_destroy(c);
    c = read_documents(0.0001, 0); /* no document is that small: one is held out all the same */
    assert_int_equal(c->domains[0].heldout.documents, 1);
    corpus_destroy(c);
    c = read_documents(0, 0);
    assert_int_equal(c->heldout_count, 0);
    corpus_destroy(c);
    c = read_documents(1, 5000); /* a corpus that is only for scoring */
    assert_int_equal(c->train_count, 0);
    assert_int_equal(c->domains[0].heldout.documents, 40 - c->domains[0].unchosen);
    tokenizer *t;
    assert_ok(corpus_train_tokenizer(c, &t, 330));
    assert_ok(corpus_write(c, t, folder, "d", true));
    check_heldout(c, t, folder);
    char *train = path_join(folder, "d_train_000000.bin");
    assert_false(path_exists(train));
    free(train);
    tokenizer_close(t);
    corpus_destroy(c);
    c = make(0.1, 0, "text");
    assert_ok(add(c, "single", "one/3.txt"));
    assert_fails(corpus_split(c), "expected at least 2 documents");
    corpus_destroy(c);
}

static void shards_hold_the_text(void **state) {
    (void)state;
    make_documents();
    corpus *c = read_documents(0.2, 0);
    char *summary = path_join(folder, "data.json");
    tokenizer *t;
    assert_ok(corpus_train_tokenizer(c, &t, 330));
    assert_ok(corpus_write(c, t, folder, "d", true));
    assert_int_equal(c->inexact, 0);
    check_heldout(c, t, folder);
    shard train;
    char *train_path = path_join(folder, "d_train_000000.bin");
    assert_ok(shard_open(&train, train_path, 330));
    assert_int_equal(train.count, c->domains[0].train.tokens + c->domains[1].train.tokens);
    shard_close(&train);
    assert_ok(corpus_write_summary(c, t, NULL, folder));
    cJSON *json;
    int64_t pieces;
    assert_ok(json_read_file(summary, &json));
    assert_ok(json_get_int(cJSON_GetObjectItem(json, "tokenizer"), summary, "pieces", &pieces));
    assert_int_equal(pieces, 330);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "domains")), 2);
    cJSON_Delete(json);
    tokenizer_close(t);
    free(summary);
    free(train_path);
    corpus_destroy(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8),
        cmocka_unit_test(lines_are_cleaned),
        cmocka_unit_test(long_text_is_cut_at_blank_lines),
        with_folder(wikitext_is_cut_at_titles),
        with_folder(copies_and_scraps_are_dropped),
        with_folder(named_files_must_be_text),
        with_folder(split_is_by_document_and_seeded),
        with_folder(split_keeps_to_its_limits),
        with_folder(shards_hold_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Files of a data set's repository as rows. */
#include "command.h"
#include "fake_hub.h"
#include "fetch/dataset_files.h"
#include "packed.h"

typedef struct fixture {
    hub_fixture *h;
    http_client c;
    row_form form;
    dataset_request q;
    char *out;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->h = hub_start();
    f->h->count = 0;
    assert_ok(http_open(&f->c, f->h->s.url, NULL));
    f->c.pause_seconds = 0.01;
    f->out = path_join(f->h->scratch, "new/rows.jsonl");
    f->q = (dataset_request){.dataset = "org/name", .form = &f->form, .out = f->out};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    row_form_close(&f->form);
    http_close(&f->c);
    hub_stop(f->h);
    free(f->out);
    free(f);
    return 0;
}

static void add(fixture *f, const char *name, const char *text) {
    hub_add(f->h, name, text, strlen(text), false);
}

static void gives(fixture *f, const char *pattern, const char *lines) {
    dataset_result r;
    assert_ok(dataset_files_fetch(&f->c, &f->q, "main", pattern, &r));
    char *found = text_of(f->out);
    assert_string_equal(found, lines);
    free(found);
    assert_int_equal(unlink(f->out), 0);
    row_form_close(&f->form);
}

static void refuses(fixture *f, const char *pattern, const char *part) {
    dataset_result r;
    assert_fails(dataset_files_fetch(&f->c, &f->q, "main", pattern, &r), part);
    assert_false(path_exists(f->out));
    row_form_close(&f->form);
}

static void test_kinds(void **state) {
    fixture *f = *state;
    static const char rows[] = "{\"text\": \"one\"}\n\n{\"text\": \"t\\u0000wo\xff\"}\r\n{\"text\": \"\"}\n";
    static const char wanted[] = "{\"text\": \"one\"}\n{\"text\": \"t\uFFFDwo?\"}\n";
    size_t gzip_bytes, zstd_bytes;
    uint8_t *gzip = gzip_of(rows, strlen(rows), &gzip_bytes), *zstd = zstd_of(rows, strlen(rows), &zstd_bytes);
    add(f, "a.jsonl", rows);
    hub_add(f->h, "b.jsonl.gz", (char *)gzip, gzip_bytes, true);
    hub_add(f->h, "c.json.zst", (char *)zstd, zstd_bytes, true);
    add(f, "d.csv", "id,text\r\n1,\"a \"\"b\"\"\nc\"\r\n2,d\r\n");
    add(f, "e.txt", "line one\r\nline two\n\nmore");
    gives(f, "a.*", wanted);
    gives(f, "b.*", wanted);
    gives(f, "c.*", wanted);
    gives(f, "d.*", "{\"text\": \"a \\\"b\\\"\\nc\"}\n{\"text\": \"d\"}\n");
    gives(f, "e.*", "{\"text\": \"line one\\nline two\\n\\nmore\\n\"}\n");
    f->q.rows = 3;
    gives(f, "[ad].*", "{\"text\": \"one\"}\n{\"text\": \"t\uFFFDwo?\"}\n"); /* the third is empty */
    free(gzip);
    free(zstd);
}

static void test_long_text(void **state) {
    fixture *f = *state;
    char *text = malloc(200001);
    for (int i = 0; i < 200000; i++) text[i] = i % 1000 == 999 || i % 1000 == 998 ? '\n' : 'x';
    text[200000] = '\0';
    add(f, "long.txt", text);
    dataset_result r;
    assert_ok(dataset_files_fetch(&f->c, &f->q, "main", "*.txt", &r));
    assert_int_equal(r.lines, 4); /* 66, 66, 66 and 2 thousand bytes */
    free(text);
}

static void test_refusals(void **state) {
    fixture *f = *state;
    add(f, "a.parquet", "PAR1");
    add(f, "b.jsonl", "{\"text\": \"good\"}\n{\"text\": ");
    add(f, "c.csv", "text\n\"open\n");
    add(f, "d.jsonl.gz", "\x1f\x8b\x08");
    add(f, "e.bin", "x");
    add(f, "f.jsonl", "[1]");
    refuses(f, "*.parquet", "a.parquet: Parquet is not read");
    refuses(f, "*.bin", "e.bin: expected .jsonl, .csv or .txt");
    assert_int_equal(f->h->downloads, 0);
    refuses(f, "b.*", "b.jsonl:2: expected a JSON object");
    refuses(f, "c.*", "c.csv:2: expected a closing quote");
    refuses(f, "d.*", "truncated");
    refuses(f, "f.*", "f.jsonl:1: expected a JSON object");
    refuses(f, "g.*", "expected files that match g.*, found a.parquet");
    assert_ok(folder_create(f->out));
    dataset_result r;
    assert_fails(dataset_files_fetch(&f->c, &f->q, "main", "b.*", &r), "is there: choose another -o");
}

static void test_command(void **state) {
    fixture *f = *state;
    setenv("HF_ENDPOINT", f->h->s.url, 1);
    add(f, "data/x.csv", "q,a\n1+1,2\n");
    command_gives(f->h->scratch, 0, "", "fetch", "--dataset", "org/name", "--file", "data/*.csv", "--field", "q,a",
                  "-o", f->out);
    char *found = text_of(f->out);
    assert_string_equal(found, "{\"text\": \"1+1\\n2\", \"q\": \"1+1\", \"a\": \"2\"}\n");
    free(found);
    command_gives(f->h->scratch, 2, "--file: has no --config", "fetch", "--dataset", "org/name", "--file", "x",
                  "--config", "y", "-o", "z");
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {served(test_kinds), served(test_long_text), served(test_refusals),
                                       served(test_command)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

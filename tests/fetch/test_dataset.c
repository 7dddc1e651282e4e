/* Rows from a viewer that behaves well, badly and hostile. */
#include "base/progress.h"
#include "command.h"
#include "fetch/dataset.h"
#include "server.h"

typedef enum fault { WELL, CUT, STALLS, BUSY, HTML, REPEATS, NONE, TOO_MANY, NO_TOTAL, SHORTENED } fault;

typedef struct fixture {
    server s;
    http_client c;
    char *scratch, *out;
    dataset_request q;
    row_form form;
    int rows; /* of the split */
    fault faults[8];
    int next, fault_count, pages;
    char last[512]; /* the last path */
    const char *splits;
} fixture;

static void say_page(fixture *f, int fd, int offset, int length, fault what) {
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    fprintf(out, "{\"features\": [{\"name\": \"text\", \"type\": {}}], \"rows\": [");
    if (what == REPEATS && offset) offset--;
    if (what == TOO_MANY) length = 101;
    for (int i = offset; what != NONE && i < offset + length && i < f->rows; i++)
        fprintf(out,
                "%s{\"row_idx\": %d, \"row\": {\"text\": \"row %d\\u0000\", \"n\": %d}, \"truncated_cells\": [%s]}",
                i > offset ? "," : "", i, i, i, what == SHORTENED && i % 10 == 0 ? "\"text\"" : "");
    fprintf(out, "]");
    if (what != NO_TOTAL) fprintf(out, ", \"num_rows_per_page\": 100, \"num_rows_total\": %d", f->rows);
    fprintf(out, ", \"partial\": false}");
    fclose(out);
    if (what == CUT || what == STALLS) {
        char *head = xasprintf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", bytes);
        say_text(fd, head);
        say(fd, text, bytes / 2);
        if (what == STALLS) stall(&f->s, fd);
        free(head);
    } else {
        say_whole(fd, "200 OK", "", text, bytes);
    }
    free(text);
}

static void answer(server *s, int fd, const char *request) {
    fixture *f = s->context;
    const char *offset, *length;
    asked_path(request, f->last, sizeof f->last);
    if (strncmp(f->last, "/splits?", 8) == 0) {
        say_whole(fd, "200 OK", "", f->splits, strlen(f->splits));
        return;
    }
    offset = strstr(f->last, "&offset=");
    length = strstr(f->last, "&length=");
    const fault what = f->next < f->fault_count ? f->faults[f->next++] : WELL;
    f->pages++;
    if (what == BUSY)
        say_whole(fd, "429 Slow", "", "", 0);
    else if (what == HTML)
        say_whole(fd, "200 OK", "", "<html>", 6);
    else if (offset && length)
        say_page(f, fd, atoi(offset + 8), atoi(length + 8), what);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->scratch = scratch_create();
    f->out = path_join(f->scratch, "deep/rows.jsonl");
    f->rows = 250;
    f->splits =
        "{\"splits\": [{\"dataset\": \"org/name\", \"config\": \"default\", \"split\": \"train\"}], \"pending\": []}";
    server_start(&f->s, answer, f);
    assert_ok(http_open(&f->c, f->s.url, NULL));
    f->c.stall_seconds = 0.2;
    f->c.pause_seconds = 0.01;
    f->c.attempts = 3;
    f->q = (dataset_request){.dataset = "org/name", .form = &f->form, .out = f->out};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    row_form_close(&f->form);
    http_close(&f->c);
    server_stop(&f->s);
    scratch_remove(f->scratch);
    free(f->out);
    free(f);
    return 0;
}

static void go_wrong(fixture *f, int count, const fault *faults) {
    memcpy(f->faults, faults, (size_t)count * sizeof *faults);
    f->next = f->pages = 0;
    f->fault_count = count;
}
#define go_wrong(f, ...) go_wrong(f, sizeof((fault[]){__VA_ARGS__}) / sizeof(fault), (fault[]){__VA_ARGS__})

/* Rows 0 … count-1, each once and whole. */
static void check_rows(fixture *f, int count) {
    char *text = text_of(f->out), *next = text;
    for (int i = 0; i < count; i++) {
        char *wanted = xasprintf("{\"text\": \"row %d\uFFFD\"}\n", i);
        if (strncmp(next, wanted, strlen(wanted)) != 0) fail_msg("row %d is %.40s", i, next);
        next += strlen(wanted);
        free(wanted);
    }
    assert_string_equal(next, "");
    free(text);
}

static void fetches(fixture *f, int count) {
    dataset_result r;
    row_form_close(&f->form);
    assert_ok(dataset_fetch(&f->c, &f->q, &r));
    assert_int_equal(r.lines, count);
    check_rows(f, count);
}

static void refuses(fixture *f, const char *part) {
    dataset_result r;
    row_form_close(&f->form);
    assert_fails(dataset_fetch(&f->c, &f->q, &r), part);
}

static void test_rows(void **state) {
    fixture *f = *state;
    f->q.rows = 120;
    fetches(f, 120);
    assert_non_null(strstr(f->last, "/rows?dataset=org%2Fname&config=default&split=train&offset=100&length=20"));
    const int before = f->s.requests;
    fetches(f, 120); /* nothing to ask */
    assert_int_equal(f->s.requests, before);
    f->q.rows = 0;
    fetches(f, 250);
    assert_int_equal(f->s.requests, before + 2);
    fetches(f, 250);
    assert_int_equal(f->s.requests, before + 2);
}

static void test_goes_on(void **state) {
    fixture *f = *state;
    go_wrong(f, WELL, CUT, STALLS, BUSY);
    refuses(f, "given up after 3 attempts");
    check_rows(f, 100);
    assert_ok(file_append(f->out, "{\"text\": \"half a li", 19)); /* as if killed between the lines and their state */
    go_wrong(f, BUSY, CUT, WELL);
    fetches(f, 250);
    assert_int_equal(f->pages, 4);
}

static void test_wrong_answers(void **state) {
    fixture *f = *state;
    go_wrong(f, WELL, HTML);
    refuses(f, "expected JSON, an object");
    go_wrong(f, REPEATS);
    refuses(f, "expected row 100, found row 99");
    go_wrong(f, NONE);
    refuses(f, "expected row 100 of 250, found no rows");
    go_wrong(f, TOO_MANY);
    refuses(f, "expected at most 100 rows");
    go_wrong(f, NO_TOTAL);
    refuses(f, "\"rows\" and \"num_rows_total\"");
    check_rows(f, 100);
    fetches(f, 250);
}

static void test_shortened(void **state) {
    fixture *f = *state;
    dataset_result r;
    go_wrong(f, SHORTENED, SHORTENED, SHORTENED);
    assert_ok(dataset_fetch(&f->c, &f->q, &r));
    assert_int_equal(r.cut, 25);
    assert_int_equal(r.lines, 225);
    assert_int_equal(r.mended, 250);
}

static void test_other_requests(void **state) {
    fixture *f = *state;
    char *state_path = xasprintf("%s.fetch.json", f->out);
    f->q.rows = 10;
    fetches(f, 10);
    f->q.split = "test";
    refuses(f, "holds rows of split `train`, not `test`");
    f->q.split = NULL;
    row_form_close(&f->form);
    assert_ok(row_form_open(&f->form, "n"));
    dataset_result r;
    assert_fails(dataset_fetch(&f->c, &f->q, &r), "holds rows of fields `text`, not `n`");
    assert_int_equal(truncate(f->out, 5), 0);
    refuses(f, "expected at least the 210 bytes that ");
    assert_int_equal(unlink(state_path), 0);
    refuses(f, "is there, without a ");
    assert_ok(file_write_whole(state_path, "{}", 2));
    refuses(f, state_path);
    free(state_path);
}

static void test_splits(void **state) {
    fixture *f = *state;
    f->splits = "{\"splits\": [{\"config\": \"a\", \"split\": \"x\"}, {\"config\": \"b\", \"split\": \"y\"}, "
                "{\"config\": \"b\", "
                "\"split\": \"z\"}]}";
    refuses(f, "Choose with --config among a, b");
    f->q.config = "b";
    refuses(f, "Choose with --split among y, z");
    f->q.config = "c";
    refuses(f, "none of that config");
    f->q.config = "a";
    f->q.rows = 10;
    fetches(f, 10);
    assert_non_null(strstr(f->last, "&config=a&split=x&"));
    assert_int_equal(unlink(f->out), 0);
    f->splits = "<html>";
    f->q.config = NULL;
    f->q.out = "/dev/null";
    refuses(f, "/dev/null: expected a file to append to or nothing");
}

static void test_command(void **state) {
    fixture *f = *state;
    setenv("HF_DATASETS_SERVER", f->s.url, 1);
    setenv("HF_TOKEN", "hf_secret", 1);
    go_wrong(f, SHORTENED);
    command_gives(f->scratch, 0, "note: 1 rows that the server had shortened were left out", "fetch", "--dataset",
                  "org/name", "--rows", "10", "--field", "text,n", "-o", f->out);
    char *text = text_of(f->out);
    assert_memory_equal(text, "{\"text\": \"row 1\uFFFD\", \"n\": 1}\n", 26);
    free(text);
    command_gives(f->scratch, 2, "--template: expected none, found `chatml`", "fetch", "--dataset", "org/name",
                  "--template", "chatml", "-o", "x");
    command_gives(f->scratch, 2, "--dataset: expected -o", "fetch", "--dataset", "org/name");
    command_gives(f->scratch, 2, "expected --dataset", "fetch", "org/name", "--rows", "5");
    command_gives(f->scratch, 2, "--rows: expected an integer", "fetch", "--dataset", "org/name", "--rows", "x", "-o",
                  "y");
}

static void test_recipe_command(void **state) {
    fixture *f = *state;
    setenv("HF_DATASETS_SERVER", f->s.url, 1);
    char *recipe = path_join(f->scratch, "recipe.yaml"), *local = path_join(f->scratch, "local"),
         *out = path_join(f->scratch, "out"), *stdout_path = path_join(f->scratch, "stdout"),
         *text = xasprintf("a: {dataset: org/name, rows: 20, licence: MIT}\nb: {path: %s, made_by: make it}\n", local);
    assert_ok(file_write_whole(recipe, text, strlen(text)));
    command_gives(f->scratch, 1, "is absent; this makes it: make it", "fetch", "--recipe", recipe, "-o", out);
    assert_ok(folder_create(local));
    command_gives(f->scratch, 0, "a: org/name, licence: MIT", "fetch", "--recipe", recipe, "-o", out);
    free(f->out);
    f->out = path_join(out, "a.jsonl");
    check_rows(f, 20);
    free(text);
    text = text_of(stdout_path);
    char *wanted = xasprintf("moec data '%s/shards' --domain a='%s/a.jsonl' --domain b='%s'\n", out, out, local);
    assert_string_equal(text, wanted);
    command_gives(f->scratch, 2, "--recipe: expected -o DIR", "fetch", "--recipe", recipe);
    free(wanted);
    free(text);
    free(stdout_path);
    free(out);
    free(local);
    free(recipe);
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {served(test_rows),      served(test_goes_on),        served(test_wrong_answers),
                                       served(test_shortened), served(test_other_requests), served(test_splits),
                                       served(test_command),   served(test_recipe_command)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

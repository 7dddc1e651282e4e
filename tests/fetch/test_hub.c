/* Models from a hub that behaves well, badly and hostile. */
#include "base/progress.h"
#include "fake_hub.h"
#include "fetch/hub.h"

typedef struct fixture {
    hub_fixture *h;
    http_client c;
    hub_request q;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->h = hub_start();
    assert_ok(http_open(&f->c, f->h->s.url, NULL));
    f->c.stall_seconds = 0.2;
    f->c.pause_seconds = 0.01;
    f->c.attempts = 3;
    f->q = (hub_request){.repo = "org/name", .revision = "main"};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    http_close(&f->c);
    hub_stop(f->h);
    free(f);
    return 0;
}

static void go_wrong(fixture *f, int count, const fault *faults) {
    memcpy(f->h->faults, faults, (size_t)count * sizeof *faults);
    f->h->next = f->h->downloads = 0;
    f->h->fault_count = count;
    memset(f->h->ranges, 0, sizeof f->h->ranges);
    memset(f->h->conditions, 0, sizeof f->h->conditions);
}
#define go_wrong(f, ...) go_wrong(f, sizeof((fault[]){__VA_ARGS__}) / sizeof(fault), (fault[]){__VA_ARGS__})

static void check_whole(const char *folder, const char *name, const char *bytes, size_t count) {
    uint8_t *found;
    size_t found_count;
    char *path = path_join(folder, name);
    assert_ok(file_read(path, 1 << 20, &found, &found_count));
    assert_int_equal(found_count, count);
    assert_memory_equal(found, bytes, count);
    free(found);
    free(path);
}

/* The usual files, and no trace of how they came. */
static void fetches(fixture *f) {
    hub_result r;
    char **names;
    size_t count;
    assert_ok(hub_fetch(&f->c, &f->q, &r));
    assert_null(r.unreached);
    assert_int_equal(r.files, 2);
    check_whole(r.folder, "config.json", f->h->files[1].bytes, f->h->files[1].count);
    check_whole(r.folder, "model.safetensors", f->h->weights, WEIGHTS);
    assert_ok(folder_list(r.folder, &names, &count));
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
    hub_result_free(&r);
}

static char *weights_path(fixture *f) {
    return xasprintf("%s/moec/hub/models--org--name/" COMMIT "/model.safetensors", f->h->scratch);
}

static void refuses(fixture *f, const char *part) {
    hub_result r;
    char *path = weights_path(f);
    assert_fails(hub_fetch(&f->c, &f->q, &r), part);
    assert_false(path_exists(path));
    free(path);
    hub_result_free(&r);
}

static void test_fetch(void **state) {
    fixture *f = *state;
    hub_result r;
    fetches(f);
    assert_int_equal(f->h->s.requests, 3);
    fetches(f); /* only the list is asked for */
    assert_int_equal(f->h->s.requests, 4);
    f->q.revision = COMMIT; /* what it is never changes */
    fetches(f);
    assert_int_equal(f->h->s.requests, 4);
    assert_ok(hub_fetch(&f->c, &f->q, &r));
    char *expected = xasprintf("%s/moec/hub/models--org--name/" COMMIT, f->h->scratch);
    assert_string_equal(r.folder, expected);
    assert_int_equal(r.bytes, WEIGHTS + 23);
    assert_int_equal(r.fetched, 0);
    free(expected);
    hub_result_free(&r);
}

static void test_include_and_folder(void **state) {
    fixture *f = *state;
    hub_result r;
    const char *patterns[] = {"*.onnx", "READ*"};
    char *folder = path_join(f->h->scratch, "out/deep"), *readme = path_join(folder, "README.md");
    f->q.include = patterns;
    f->q.include_count = 2;
    f->q.folder = folder;
    assert_ok(hub_fetch(&f->c, &f->q, &r));
    assert_int_equal(r.fetched, 2);
    check_whole(folder, "onnx/model.onnx", "onnx", 4);
    hub_result_free(&r);
    assert_ok(file_write_whole(readme, "# A model", 9)); /* somebody's own, as long as the hub's */
    assert_ok(hub_fetch(&f->c, &f->q, &r));
    assert_int_equal(r.fetched, 1);
    check_whole(folder, "README.md", "# a model", 9);
    hub_result_free(&r);
    patterns[0] = patterns[1] = "*.gguf";
    assert_fails(hub_fetch(&f->c, &f->q, &r), "expected files that match *.gguf");
    assert_non_null(strstr(error_message(), "README.md, config.json, model.safetensors"));
    hub_result_free(&r);
    free(readme);
    free(folder);
}

static void test_offline(void **state) {
    fixture *f = *state;
    hub_result r;
    const char *patterns[] = {"*"};
    fetches(f);
    f->h->listing_code = "503 Gone";
    assert_ok(hub_fetch(&f->c, &f->q, &r));
    assert_non_null(strstr(r.unreached, "HTTP status 503"));
    assert_int_equal(r.files, 2);
    hub_result_free(&r);
    f->q.include = patterns;
    f->q.include_count = 1;
    assert_fails(hub_fetch(&f->c, &f->q, &r), "3 of 5 files are not in ");
    hub_result_free(&r);
    f->q.revision = "other";
    assert_fails(hub_fetch(&f->c, &f->q, &r), "HTTP status 503");
    hub_result_free(&r);
    f->h->listing_code = "404 Not Found"; /* it was reached, and says no */
    f->q.revision = "main";
    assert_fails(hub_fetch(&f->c, &f->q, &r), "is absent, private or gated; a token for it goes into HF_TOKEN");
    hub_result_free(&r);
}

static void test_goes_on(void **state) {
    fixture *f = *state;
    go_wrong(f, WELL, CUT, CUT, STALLS);
    refuses(f, "given up after 3 attempts");
    assert_string_equal(f->h->ranges[1], "");
    assert_string_equal(f->h->ranges[2], "bytes=150000-");
    assert_string_equal(f->h->conditions[2], "\"v1\"");
    assert_string_equal(f->h->ranges[3], "bytes=225000-");
    go_wrong(f, BUSY, ERROR_500, WELL);
    fetches(f); /* another call, from where the first stopped */
    assert_string_equal(f->h->ranges[2], "bytes=262500-");
}

static void test_goes_on_with_what_differs(void **state) {
    static const fault second[] = {WHOLE, OTHER_ETAG, BEYOND, WRONG};
    fixture *f = *state;
    for (size_t i = 0; i < sizeof second / sizeof *second; i++) {
        char *path = weights_path(f);
        go_wrong(f, CUT, second[i], WELL);
        if (i == 0) go_wrong(f, WELL, CUT, second[i], WELL); /* the first time, config.json too */
        fetches(f);
        unlink(path);
        free(path);
    }
    go_wrong(f, CUT, OTHER_RANGE);
    refuses(f, "expected a range from byte 150000 on, found another one");
    go_wrong(f, WELL);
    fetches(f);
}

static void test_wrong_bytes(void **state) {
    fixture *f = *state;
    go_wrong(f, WELL, WRONG);
    refuses(f, "expected SHA-256 ");
    assert_int_equal(f->h->downloads, 2);
    fetches(f);
}

static void test_wrong_answers(void **state) {
    fixture *f = *state;
    go_wrong(f, WELL, LONGER);
    refuses(f, "expected 300000 bytes, found a file of 300001");
    go_wrong(f, HTML);
    refuses(f, "expected 300000 bytes, found a file of 26");
    go_wrong(f, ENDLESS);
    refuses(f, "expected 300000 bytes, found a file of ");
    go_wrong(f, OTHER_COMMIT);
    refuses(f, "expected the file of commit " COMMIT);
    go_wrong(f, TO_FILE);
    refuses(f, "the redirect: expected a URL that begins with http:// or https://");
    go_wrong(f, CHUNKED);
    fetches(f);
}

static void test_small_file_wrong(void **state) {
    fixture *f = *state;
    go_wrong(f, WRONG);
    refuses(f, "expected git blob ");
}

/* A hub that says nothing of its files: what the transfer says is all that there is. */
static void test_bare(void **state) {
    fixture *f = *state;
    f->h->bare = true;
    go_wrong(f, WELL, CUT, WELL);
    fetches(f);
    assert_string_equal(f->h->ranges[2], "bytes=150000-");
    char *path = weights_path(f);
    unlink(path);
    go_wrong(f, CUT, OTHER_ETAG, WELL); /* no checksum would tell that two versions were mixed */
    fetches(f);
    assert_string_equal(f->h->ranges[1], "bytes=150000-");
    assert_string_equal(f->h->ranges[2], "");
    assert_int_equal(f->h->downloads, 3);
    unlink(path);
    f->h->weak = true;
    go_wrong(f, CUT, WELL);
    fetches(f);
    assert_string_equal(f->h->ranges[1], "");
    unlink(path);
    go_wrong(f, UNENDED);
    refuses(f, "expected a size or a checksum to know a whole file by, found neither");
    go_wrong(f, CHUNKED);
    fetches(f);
    free(path);
}

static char *with_files(const char *files) {
    return xasprintf("{\"sha\": \"" COMMIT "\", \"siblings\": [%s]}", files);
}

static void test_listings(void **state) {
    static const struct {
        const char *files, *message;
    } names[] = {{"../x.safetensors", "one with the part . or .."},
                 {"a/../../x.safetensors", "one with the part . or .."},
                 {"./x.safetensors", "one with the part . or .."},
                 {"/etc/x.safetensors", "an absolute one"},
                 {"a//x.safetensors", "one with an empty part"},
                 {"a/", "one with an empty part"},
                 {"", "an empty one"},
                 {"a\\\\b", "a control character or a backslash"},
                 {"a\\u001bb", "a control character or a backslash"},
                 {".moec-fetch/lock", "one that moec keeps for itself"},
                 {"a\\u0000b", "expected a file's name"}};
    static const struct {
        const char *answer, *message;
    } others[] = {
        {"<!DOCTYPE html><html>", "expected JSON, an object"},
        {"", "expected JSON"},
        {"[]", "expected JSON, an object"},
        {"{}", "\"sha\": expected a commit"},
        {"{\"sha\": \"main\", \"siblings\": []}", "\"sha\": expected a commit"},
        {"{\"sha\": \"" COMMIT "\"}", "\"siblings\": expected the list of files"},
        {"{\"sha\": \"" COMMIT "\", \"siblings\": [{}]}", "\"rfilename\""},
        {"{\"sha\": \"" COMMIT "\", \"siblings\": []}", "expected *.safetensors (pickles are not fetched), found no"},
        {"{\"sha\": \"" COMMIT "\", \"siblings\": [{\"rfilename\": \"a.gguf\"}]}",
         "--include '*NAME.gguf' among a.gguf"},
        {"{\"sha\": \"" COMMIT "\", \"siblings\": [{\"rfilename\": \"a\"}, {\"rfilename\": \"a\"}]}", "found a twice"},
        {"{\"sha\": \"" COMMIT "\", \"siblings\": [{\"rfilename\": \"a\", \"size\": 1e400}]}", "a size of at most"}};
    fixture *f = *state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *file = xasprintf("{\"rfilename\": \"%s\"}", names[i].files), *answer = with_files(file);
        f->h->listing = answer;
        refuses(f, names[i].message);
        free(file);
        free(answer);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        f->h->listing = others[i].answer;
        refuses(f, others[i].message);
    }
    assert_int_equal(f->h->downloads, 0);
}

static void test_a_million_files(void **state) {
    fixture *f = *state;
    const size_t million = 1000000, each = strlen("{\"rfilename\":\"0000000\"},");
    char *files = malloc(million * each + 1);
    for (size_t i = 0; i < million; i++) sprintf(files + i * each, "{\"rfilename\":\"%07zu\"},", i);
    files[million * each - 1] = '\0';
    char *answer = with_files(files);
    f->h->listing = answer;
    f->c.attempts = 1;
    const double before = clock_seconds();
    refuses(f, "expected at most 100000 files, found more");
    assert_true(clock_seconds() - before < 30); /* a sanitizer and a loaded machine included */
    free(files);
    free(answer);
}

static void test_names_on_the_command_line(void **state) {
    static const char *const wrong[] = {"",     "/", "a/",  "/a",    "a/b/c", "../b",
                                        "a/..", ".", "a b", "a/b?c", "a/b#c", "a%2fb"};
    fixture *f = *state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        f->q.repo = wrong[i];
        refuses(f, "expected a repository as ORG/NAME");
    }
    f->q.repo = "org/name";
    f->q.revision = "..";
    refuses(f, "expected the name of a revision");
    f->q.revision = "refs/pr/1";
    fetches(f);
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        served(test_fetch),         served(test_include_and_folder),        served(test_offline),
        served(test_goes_on),       served(test_goes_on_with_what_differs), served(test_wrong_bytes),
        served(test_wrong_answers), served(test_small_file_wrong),          served(test_bare),
        served(test_listings),      served(test_a_million_files),           served(test_names_on_the_command_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

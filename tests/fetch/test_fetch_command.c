/* moec fetch as a whole: what it prints, how it ends, and what it leaves when it is stopped. */
#include "command.h"
#include "fake_hub.h"

static int setup(void **state) {
    hub_fixture *h = hub_start();
    setenv("HF_ENDPOINT", h->s.url, 1);
    setenv("HF_TOKEN", "hf_secret", 1);
    setenv("MOEC_FETCH_STALL", "30", 1);
    setenv("MOEC_FETCH_PAUSE", "0.01", 1);
    unsetenv("MOEC_FAIL_WRITE_AFTER");
    *state = h;
    return 0;
}

static int teardown(void **state) {
    hub_stop(*state);
    return 0;
}

static void prints(hub_fixture *h, const char *format) {
    char *path = path_join(h->scratch, "stdout"), *out = text_of(path), *wanted = xasprintf(format, h->scratch);
    assert_string_equal(out, wanted);
    free(path);
    free(out);
    free(wanted);
}

static void test_prints_the_folder(void **state) {
    hub_fixture *h = *state;
    char *folder = path_join(h->scratch, "mine");
    command_gives(h->scratch, 0, "fetch done", "fetch", "org/name");
    prints(h, "%s/moec/hub/models--org--name/" COMMIT "\n");
    command_gives(h->scratch, 0, "", "fetch", "org/name", "-o", folder, "--include", "*.onnx", "--include=*.json");
    prints(h, "%s/mine\n");
    h->listing_code = "503 Gone";
    command_gives(h->scratch, 0, "HTTP status 503; using what was fetched before", "fetch", "org/name");
    prints(h, "%s/moec/hub/models--org--name/" COMMIT "\n");
    h->listing_code = "401 No";
    command_gives(h->scratch, 1, "the token in HF_TOKEN does not open it", "fetch", "org/name");
    prints(h, "");
    free(folder);
}

static void test_command_line(void **state) {
    hub_fixture *h = *state;
    command_gives(h->scratch, 2, "expected at least 1 argument", "fetch");
    command_gives(h->scratch, 2, "found `b/c` too", "fetch", "a/b", "b/c");
    command_gives(h->scratch, 2, "expected a repository as ORG/NAME, found `https://x`", "fetch", "https://x");
    command_gives(h->scratch, 2, "unknown option --revison; the nearest is --revision", "fetch", "a/b", "--revison",
                  "x");
    setenv("HF_ENDPOINT", "file:///etc", 1);
    command_gives(h->scratch, 1, "the endpoint: expected a URL that begins with http", "fetch", "a/b");
    assert_int_equal(h->s.requests, 0);
}

static char *partial(hub_fixture *h) {
    char hex[DIGEST_HEX];
    digest_bytes("model.safetensors", 17, DIGEST_SHA256, hex);
    return xasprintf("%s/moec/hub/models--org--name/" COMMIT "/.moec-fetch/%.16s.partial", h->scratch, hex);
}

static void test_interrupt_and_go_on(void **state) {
    hub_fixture *h = *state;
    char *path = partial(h),
         *final = xasprintf("%s/moec/hub/models--org--name/" COMMIT "/model.safetensors", h->scratch);
    h->faults[0] = WELL;
    h->faults[1] = STALLS;
    h->fault_count = 2;
    command_run c = command_start(h->scratch, (const char *const[]){"fetch", "org/name", NULL});
    /* What is buffered is on its way to the file at the latest when it ends. */
    for (int i = 0; i < 400 && h->downloads < 2; i++) usleep(10000);
    usleep(200000);
    kill(c.process, SIGINT);
    const double before = clock_seconds();
    assert_int_equal(command_wait(&c), STATUS_INTERRUPTED);
    assert_true(clock_seconds() - before < 2);
    char *err = text_of(c.err);
    assert_non_null(strstr(err, "interrupted"));
    assert_false(path_exists(final));
    assert_true(path_exists(path));
    command_gives(h->scratch, 0, "fetch done  1 file, 0.1 MB", "fetch", "org/name"); /* the missing half */
    assert_string_equal(h->ranges[2], "bytes=150000-");
    assert_true(path_exists(final));
    free(err);
    free(final);
    free(path);
    command_end(&c);
}

static void test_full_disk(void **state) {
    hub_fixture *h = *state;
    setenv("MOEC_FAIL_WRITE_AFTER", "100000", 1);
    command_gives(h->scratch, 1, "No space left on device", "fetch", "org/name");
    unsetenv("MOEC_FAIL_WRITE_AFTER");
    command_gives(h->scratch, 0, "fetch done  1 file", "fetch", "org/name");
    assert_true(strtoul(h->ranges[2] + 6, NULL, 10) > 50000); /* what was written is not fetched again */
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {served(test_prints_the_folder), served(test_command_line),
                                       served(test_interrupt_and_go_on), served(test_full_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

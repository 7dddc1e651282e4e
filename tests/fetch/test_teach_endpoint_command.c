/* moec teach --endpoint as a whole: what it prints, how it ends, what a kill leaves, and that the key is nowhere in it. */
#include "command.h"
#include "fake_teacher.h"

typedef struct fixture {
    fake_teacher *t;
    char *scratch, *prompts, *out, *code;
} fixture;

static int setup(void **state) {
    static const char text[] = "domains: {code: {prompts: [One, Two, Three]}, prose: {prompts: [Four]}}\n";
    fixture *f = calloc(1, sizeof *f);
    f->t = teacher_start();
    f->scratch = scratch_create();
    f->prompts = path_join(f->scratch, "prompts.yaml");
    f->out = path_join(f->scratch, "taught");
    f->code = path_join(f->out, "code.jsonl");
    assert_ok(file_write_whole(f->prompts, text, strlen(text)));
    setenv("OPENAI_API_KEY", "hf_secret", 1);
    setenv("MOEC_FETCH_PAUSE", "0.01", 1);
    unsetenv("MOEC_API_KEY");
    unsetenv("MOEC_FAIL_WRITE_AFTER");
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    teacher_stop(f->t);
    scratch_remove(f->scratch);
    free(f->prompts);
    free(f->out);
    free(f->code);
    free(f);
    return 0;
}

#define teaches(f, code, part, ...)                                                                                    \
    command_gives((f)->scratch, code, part, "teach", "--endpoint", (f)->t->s.url, "--prompts", (f)->prompts, "-o",     \
                  (f)->out, __VA_ARGS__)

static char *printed(const fixture *f) {
    char *path = path_join(f->scratch, "stdout"), *text = text_of(path);
    free(path);
    return text;
}

/* None of the files that it leaves has the key in it. */
static void check_files(const fixture *f) {
    char **names;
    size_t count;
    assert_ok(folder_list(f->out, &names, &count));
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(f->out, names[i]), *text = text_of(path);
        assert_null(strstr(text, "hf_secret"));
        free(text);
        free(path);
        free(names[i]);
    }
    free(names);
}

static void test_table(void **state) {
    fixture *f = *state;
    teaches(f, 0, "teach done  4 answers, 4 requests", "--parallel", "2");
    assert_string_equal(f->t->authorized, "Bearer hf_secret");
    char *table = printed(f);
    assert_non_null(
        strstr(table, "code                         3         3         3         3         0          21\n"));
    free(table);
    setenv("MOEC_API_KEY", "hf_secret_of_moec", 1);
    teaches(f, 0, "results in ", "--json", "--per-prompt", "2", "--requests", "3");
    assert_string_equal(f->t->authorized, "Bearer hf_secret_of_moec");
    char *text = printed(f);
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    assert_int_equal(cJSON_GetObjectItem(json, "open")->valueint, 1);
    assert_int_equal(cJSON_GetObjectItem(json, "requests")->valueint, 3);
    const cJSON *code = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "domains"), "code");
    assert_int_equal(cJSON_GetObjectItem(code, "texts")->valueint + 1, 6);
    cJSON_Delete(json);
    free(text);
    teaches(f, 0, "note: the budget of requests (1) is spent; answers missing: 4", "--per-prompt", "3", "--requests",
            "1", "--seed", "0", "--max-tokens", "512", "--model", "tiny", "--json");
    check_files(f);
}

static void test_command_line(void **state) {
    fixture *f = *state;
    command_gives(f->scratch, 2,
                  "teach: expected --endpoint URL, -o FOLDER and one of --prompts FILE.yaml and --data PATH", "teach",
                  "--endpoint", f->t->s.url);
    command_gives(f->scratch, 2, "teach: expected at least 1 argument, found 0", "teach");
    teaches(f, 2, "unknown option --tempature; the nearest is --temperature", "--tempature", "1");
    teaches(f, 2, "--parallel: expected an integer from 1 to 256, found `0`", "--parallel", "0");
    teaches(f, 2, "--temperature: expected a number from 0 to 10, found `nan`", "--temperature", "nan");
    teaches(f, 2, "--per-prompt: expected 1 where --temperature is 0", "--temperature", "0", "--per-prompt", "2");
    teaches(f, 2, "--top: is of --data, not of --prompts", "--top", "3");
    teaches(f, 2, "one of --prompts FILE.yaml and --data PATH", "--data", "x");
    command_gives(f->scratch, 2, "--seed: is of --prompts, not of --data", "teach", "--endpoint", f->t->s.url, "--data",
                  "x", "-o", "y", "--seed", "1");
    command_gives(f->scratch, 2, "--stride: expected at most 8", "teach", "--endpoint", f->t->s.url, "--data", "x",
                  "-o", "y", "--seq", "8", "--stride", "9");
    command_gives(f->scratch, 2, "tokenizer.model: is absent; --tokenizer names", "teach", "--endpoint", f->t->s.url,
                  "--data", f->scratch, "-o", "y");
    command_gives(f->scratch, 1, "no-data: expected a folder, a shard or a pattern of shards, found nothing", "teach",
                  "--endpoint", f->t->s.url, "--data", "no-data", "-o", "y");
    teaches(f, 2, "--endpoint: expected a URL without ? and #", "--endpoint", "http://x/?key=hf_secret");
    teaches(f, 1, "the endpoint: expected a URL that begins with http", "--endpoint", "file:///etc");
    teaches(f, 1, "the endpoint: expected a URL with a host, and a port up to 65535 where it has one", "--endpoint",
            "http://127.0.0.1:99999");
    setenv("OPENAI_API_KEY", "hf_secret\nX: y", 1);
    teaches(f, 1, "the token: expected printable ASCII", "--json");
    assert_int_equal(f->t->s.requests, 0);
}

static void test_key_stays_out(void **state) {
    fixture *f = *state;
    teacher_go_wrong(f->t, BROKEN, SAYS_ERROR, UNAUTHORIZED);
    teaches(f, 1, "note: http://127.0.0.1", "--parallel", "1");
    teacher_go_wrong(f->t, BROKEN, SAYS_ERROR, UNAUTHORIZED);
    teaches(f, 1, "code, prompt 1: http://127.0.0.1", "--parallel", "1");
    unsetenv("OPENAI_API_KEY");
    teacher_go_wrong(f->t, UNAUTHORIZED);
    command_run c = command_start(f->scratch, (const char *const[]){"teach", "--endpoint", f->t->s.url, "--prompts",
                                                                    f->prompts, "-o", f->out, NULL});
    assert_int_equal(command_wait(&c), 1);
    char *err = text_of(c.err);
    assert_non_null(strstr(err, "a key for it goes into MOEC_API_KEY or OPENAI_API_KEY"));
    free(err);
    command_end(&c);
}

/* Stopped while the third answer does not come: the first two are there, and the rest comes later. */
static void stop_and_go_on(fixture *f, int signal_number, int code) {
    teacher_go_wrong(f->t, WELL, WELL, STALLS);
    command_run c = command_start(f->scratch, (const char *const[]){"teach", "--endpoint", f->t->s.url, "--prompts",
                                                                    f->prompts, "-o", f->out, "--parallel", "1", NULL});
    for (int i = 0; i < 400 && f->t->asked < 3; i++) usleep(10000);
    kill(c.process, signal_number);
    const double before = clock_seconds();
    assert_int_equal(command_wait(&c), code);
    assert_true(clock_seconds() - before < 2);
    char *kept = text_of(f->code);
    assert_non_null(strstr(kept, "{\"prompt\": \"One\""));
    assert_null(strstr(kept, "Three"));
    teaches(f, 0, "teach done  2 answers, 2 requests", "--parallel", "1");
    char *whole = text_of(f->code);
    assert_memory_equal(whole, kept, strlen(kept));
    check_files(f);
    free(whole);
    free(kept);
    command_end(&c);
}

static void test_interrupt(void **state) {
    stop_and_go_on(*state, SIGINT, STATUS_INTERRUPTED);
}

static void test_kill(void **state) {
    stop_and_go_on(*state, SIGKILL, -1);
}

static void test_full_disk(void **state) {
    fixture *f = *state;
    setenv("MOEC_FAIL_WRITE_AFTER", "600", 1);
    teaches(f, 1, "No space left on device", "--parallel", "1");
    unsetenv("MOEC_FAIL_WRITE_AFTER");
    teaches(f, 0, "teach done  ", "--parallel", "1");
    assert_in_range(f->t->asked, 5, 6); /* what could not be written is asked again, and nothing else */
}

static void test_data_reads_it(void **state) {
    fixture *f = *state;
    teacher_go_wrong(f->t, NO_TEXT);
    teaches(f, 0, "", "--per-prompt", "40");
    char *data = path_join(f->scratch, "data"), *code = xasprintf("code=%s", f->code),
         *prose = xasprintf("prose=%s/prose.jsonl", f->out);
    command_gives(f->scratch, 0, "", "data", data, "--domain", code, "--domain", prose, "--field", "text", "--vocab",
                  "300");
    free(prose);
    free(code);
    free(data);
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {served(test_table),        served(test_command_line), served(test_key_stays_out),
                                       served(test_interrupt),    served(test_kill),         served(test_full_disk),
                                       served(test_data_reads_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

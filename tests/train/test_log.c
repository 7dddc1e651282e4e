#include "test.h"

#include "train/log.h"

static const char header[] = "{\"record\":\"header\",\"steps\":9}\n";
#define STEP(n) "{\"record\":\"step\",\"step\":" #n ",\"loss\":0.5}\n"
#define RESUMED(n) "{\"record\":\"resume\",\"from_step\":" #n "}\n"

static void assert_content(const char *path, const char *expected) {
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    assert_string_equal((char *)bytes, expected);
    assert_int_equal(count, strlen(expected));
    free(bytes);
}

static void put(const char *path, const char *text, size_t bytes) {
    assert_ok(file_write_whole(path, text, bytes));
}

/* Goes on behind `step`, writes one more record; what the file is then. */
static void assert_goes_on(const char *path, int64_t step, const char *expected, bool noted) {
    run_log *log;
    char *note, *whole = xasprintf("%s" STEP(9), expected);
    cJSON *record = cJSON_Parse(STEP(9));
    assert_ok(run_log_continue(&log, path, step, &note));
    assert_int_equal(note != NULL, noted);
    if (note) assert_non_null(strstr(note, "damaged"));
    assert_ok(run_log_write(log, record));
    run_log_close(log);
    assert_content(path, whole);
    free(whole);
    free(note);
}

static void later_records_go(void **state) {
    char *path = path_join(*state, "log.jsonl"), *expected = xasprintf("%s" STEP(1) STEP(2), header);
    const char *const behind[] = {
        "", STEP(3) STEP(4), STEP(3) "{\"record\":\"st", "{\"rec", RESUMED(5), "{\"record\":\"step\"", "\x01"};
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++) {
        char *text = xasprintf("%s%s", expected, behind[i]);
        put(path, text, strlen(text));
        assert_goes_on(path, 2, expected, false);
        free(text);
    }
    assert_ok(folder_remove(path));
    assert_goes_on(path, 2, "", false); /* none was there */
    free(expected), free(path);
}

/* A damaged line takes no other with it, and the file as it was is kept. */
static void damaged_lines_are_set_aside(void **state) {
    char *path = path_join(*state, "log.jsonl"), *aside = xasprintf("%s.damaged", path), *text, *expected;
    char *next = xasprintf("%s-2", aside);
    const char *const damages[] = {"{\"record\":\"step\",\"st#p\"2,\"loss\":0.5}\n", "\n", "[]\n", "{} {}\n",
                                   "{\"record\":\"step\",\"step\":2,\"lo"}; /* grown together with the next */
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        const char *third = i + 1 < sizeof damages / sizeof *damages ? STEP(3) : "";
        text = xasprintf("%s" STEP(1) "%s" STEP(3) RESUMED(3) STEP(4) STEP(5), header, damages[i]);
        expected = xasprintf("%s" STEP(1) "%s" RESUMED(3) STEP(4), header, third);
        put(path, text, strlen(text));
        assert_goes_on(path, 4, expected, true);
        assert_content(aside, text);
        assert_ok(folder_remove(aside));
        free(expected), free(text);
    }
    put(aside, "older", 5); /* is not written over */
    put(path, "{}\0{}\n" STEP(1), strlen(STEP(1)) + 6);
    assert_goes_on(path, 1, STEP(1), true);
    assert_content(aside, "older");
    assert_true(path_exists(next));
    free(next), free(aside), free(path);
}

/* As an editor leaves it. */
static void a_last_record_without_its_line_end_is_one(void **state) {
    char *path = path_join(*state, "log.jsonl"), *expected = xasprintf("%s" STEP(1), header);
    put(path, expected, strlen(expected) - 1);
    assert_goes_on(path, 1, expected, false);
    free(expected), free(path);
}

static void a_record_gets_its_look(void **state) {
    char *path = path_join(*state, "log.jsonl");
    char *text =
        xasprintf("%s" STEP(1) "{\"record\":\"step\",\"step\":2,\"loss\":0.25,\"val_bpb\":1.5}\n" RESUMED(2), header);
    char *expected = xasprintf("%s" STEP(1) "{\"record\":\"step\",\"step\":2,\"loss\":0.25,\"val_bpb\":1.5,"
                                            "\"val_bpb_ema\":1.25}\n" RESUMED(2) STEP(3),
                               header);
    step_record *s = xcalloc(1, sizeof *s);
    run_log *log;
    char *note;
    cJSON *found;
    put(path, text, strlen(text));
    assert_ok(run_log_continue(&log, path, 2, &note));
    assert_ok(run_log_find(path, 3, &found));
    assert_null(found);
    assert_ok(run_log_find(path, 2, &found));
    assert_true(cJSON_GetObjectItem(found, "loss")->valuedouble == 0.25);
    cJSON_Delete(found);
    *s = (step_record){.step = 2, .has_val = true, .val_bpb = 1.5, .has_val_ema = true, .val_bpb_ema = 1.25};
    assert_ok(run_log_amend(log, s));
    assert_ok(run_log_write(log, cJSON_Parse(STEP(3)))); /* goes into the new file */
    assert_ok(run_log_sync(log));
    run_log_close(log);
    assert_content(path, expected);
    free(s), free(expected), free(text), free(path);
}

static void only_a_log_is_replaced(void **state) {
    char *path = path_join(*state, "log.jsonl");
    assert_ok(run_log_check(path));
    put(path, "", 0);
    assert_ok(run_log_check(path));
    put(path, header, strlen(header));
    assert_ok(run_log_check(path));
    put(path, "{\"mine\":1}\n", 11);
    assert_fails(run_log_check(path), "log.jsonl: expected nothing or the log of an older run");
    put(path, "dear diary\n", 11);
    assert_fails(run_log_check(path), "log.jsonl: expected nothing or the log of an older run");
    assert_fails(run_log_check(*state), "found a folder");
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(later_records_go),
        in_scratch(damaged_lines_are_set_aside),
        in_scratch(a_last_record_without_its_line_end_is_one),
        in_scratch(a_record_gets_its_look),
        in_scratch(only_a_log_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
